"""Swin Transformer parts, against attention written position by position."""

import copy
import itertools
import math

import pytest
import torch

from openjscc.models.layers import swin
from openjscc.models.layers.swin import PatchEmbedding, PatchMerging, SwinBlock, SwinStage, cover, join, partition
from openjscc.models.witt import PatchDivision

CHANNELS, HEADS, WINDOW = 6, 2, 4
SIZES = [(8, 8), (12, 16), (4, 4), (1, 1), (2, 3), (5, 7), (9, 4), (3, 13), (6, 17), (11, 11)]


def block(shifted: bool, channels: int = CHANNELS, heads: int = HEADS, window: int = WINDOW) -> SwinBlock:
    torch.manual_seed(0)
    made = SwinBlock(channels, heads, window, shifted).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def picture(height: int, width: int, channels: int = CHANNELS, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, height, width, channels, generator=torch.Generator().manual_seed(1))


def plain(layer: SwinBlock, x: torch.Tensor) -> torch.Tensor:
    """The block by its definition: for every position a list of those in the same window, no padding and no shifting."""

    def window_of(place: int, size: int) -> int:
        start = layer.window // 2 if layer.shifted and size > layer.window else 0
        return (place - start) // layer.window

    batch, height, width, channels = x.shape
    attention, size = layer.attention, channels // layer.attention.heads
    places = list(itertools.product(range(height), range(width)))
    q, k, v = attention.qkv(layer.norm1(x)).split(channels, dim=-1)
    mixed = torch.zeros_like(x)
    for b, (i, j) in itertools.product(range(batch), places):
        near = [
            (y, u)
            for y, u in places
            if window_of(y, height) == window_of(i, height) and window_of(u, width) == window_of(j, width)
        ]
        for head in range(attention.heads):
            own = slice(head * size, (head + 1) * size)
            scores = [
                float(q[b, i, j, own] @ k[b, y, u, own]) / math.sqrt(size)
                + float(attention.bias[(i - y + layer.window - 1) * (2 * layer.window - 1) + j - u + layer.window - 1, head])
                for y, u in near
            ]
            weights = torch.softmax(torch.tensor(scores), 0)
            mixed[b, i, j, own] = sum(weight * v[b, y, u, own] for weight, (y, u) in zip(weights, near, strict=True))
    x = x + attention.out(mixed)
    return x + layer.mlp(layer.norm2(x))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_block_is_attention_among_the_positions_of_a_window(size: tuple[int, int], shifted: bool) -> None:
    layer, x = block(shifted), picture(*size)
    with torch.no_grad():
        expected = plain(layer, x)
        assert torch.allclose(layer(x), expected, atol=1e-5)
    assert torch.allclose(layer(x), expected, atol=1e-5)  # the way of training


@pytest.mark.parametrize("size", [(9, 10), (7, 15)])
def test_odd_windows_are_shifted_by_half_of_them_rounded_down(size: tuple[int, int]) -> None:
    layer, x = block(True, window=7), picture(*size, batch=1)
    assert [cover(side, 7, True).shift for side in size] == [3 if side > 7 else 0 for side in size]
    with torch.no_grad():
        assert torch.allclose(layer(x), plain(layer, x), atol=1e-5)


@pytest.mark.parametrize("window", [4, 7])
def test_mask_of_whole_windows_is_that_of_the_paper(window: int) -> None:
    """On the rolled map each side has three stretches: up to the last window, what is left of it, and what was rolled over.
    Only positions of one stretch, down and across, see each other (Liu et al. 2021, Fig. 4)."""
    size = (3 * window, 2 * window)
    stretches = []
    for side in size:
        place = torch.arange(side)
        stretches.append((place >= side - window).long() + (place >= side - window // 2).long())
    label = (3 * stretches[0][:, None] + stretches[1])[None, :, :, None]
    whole = [cover(side, window, False) for side in size]
    labels = partition(label, *whole)[0, :, :, 0]
    rows, columns = (cover(side, window, True) for side in size)
    mask = swin.window_mask(rows, columns, 0, rows.count, label.device)
    assert mask is not None
    assert torch.equal(mask, labels[:, :, None] == labels[:, None, :])


@pytest.mark.parametrize("shifted", [False, True])
def test_gradients_are_those_of_plain_attention(shifted: bool) -> None:
    """The fused attention without a gradient for the bias would not show in any value."""
    layer, x = block(shifted).double(), picture(5, 6).double()
    names = ["attention.bias", "attention.qkv.weight", "mlp.0.weight"]
    direction = [torch.randn_like(parameter) for name, parameter in layer.named_parameters() if name in names]
    target = torch.randn_like(x)
    (layer(x) * target).sum().backward()
    parameters = [parameter for name, parameter in layer.named_parameters() if name in names]
    slope = sum(
        (parameter.grad * way).sum() for parameter, way in zip(parameters, direction, strict=True) if parameter.grad is not None
    )

    def moved(amount: float) -> torch.Tensor:
        other = copy.deepcopy(layer)
        with torch.no_grad():
            chosen = [parameter for name, parameter in other.named_parameters() if name in names]
            for parameter, way in zip(chosen, direction, strict=True):
                parameter.add_(amount * way)
            return (other(x) * target).sum()

    assert float(slope) == pytest.approx(float((moved(1e-6) - moved(-1e-6)) / 2e-6), rel=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_padding_is_never_attended_to(shifted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = block(shifted), picture(6, 9)
    with torch.no_grad():
        before = layer(x)
        real = swin.F.pad
        monkeypatch.setattr(swin.F, "pad", lambda x, sides: real(x, sides, value=1e4))
        assert torch.equal(layer(x), before)


@pytest.mark.parametrize(("shifted", "first"), [(False, 0), (True, WINDOW // 2)])
def test_moving_a_map_by_a_window_moves_the_result(shifted: bool, first: int) -> None:
    layer, x = block(shifted), picture(13, 18)
    with torch.no_grad():
        whole, part = layer(x), layer(x[:, WINDOW:, 2 * WINDOW :])
    assert torch.allclose(part[:, first:, first:], whole[:, WINDOW + first :, 2 * WINDOW + first :], atol=1e-5)


def test_a_shifted_block_carries_over_the_windows_of_an_unshifted_one() -> None:
    stage = SwinStage(CHANNELS, 2, HEADS, WINDOW)
    assert [layer.shifted for layer in stage] == [False, True]
    first, second = block(False), block(True)
    x = picture(8, 8, batch=1)
    changed = x.clone()
    changed[:, 3, 3, 0] += 1
    with torch.no_grad():
        before, after = first(x), first(changed)
        once = (before != after).any(-1)[0]
        twice = (second(before) != second(after)).any(-1)[0]
    for touched, reach in ((once, 4), (twice, 6)):  # a window, then all windows that it meets
        assert touched[:reach, :reach].all()
        assert touched.sum() == reach**2


@pytest.mark.parametrize("shifted", [False, True])
def test_partition_and_join_are_inverse(shifted: bool) -> None:
    for height, width in SIZES:
        x = picture(height, width)
        rows, columns = cover(height, WINDOW, shifted), cover(width, WINDOW, shifted)
        windows = partition(x, rows, columns)
        assert windows.shape[1] == math.ceil(height / WINDOW) * math.ceil(width / WINDOW)
        assert torch.equal(join(windows, rows, columns), x)


@pytest.mark.parametrize("shifted", [False, True])
def test_rows_of_windows_at_a_time_give_the_same(shifted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = block(shifted), picture(22, 13)
    kept = x.clone()
    with torch.no_grad():
        whole = layer(x)
        for at_once in (1, 8, 17):
            monkeypatch.setattr(swin, "AT_ONCE", at_once)
            assert torch.allclose(layer(x), whole, atol=1e-5)
        narrow = picture(16, 3)  # its windows are a view of it
        copied = narrow.clone()
        layer(narrow)
        assert torch.equal(narrow, copied)
    assert torch.equal(x, kept)


def test_what_is_kept_can_be_used_for_gradients() -> None:
    layer, x = block(True), picture(9, 9)
    swin.window_mask.cache_clear()
    swin.relative_positions.cache_clear()
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert swin.window_mask.cache_info().hits > 0


def test_bfloat16_is_close() -> None:
    layer, x = block(True, 32, 4, 8), picture(19, 24, 32)
    with torch.no_grad():
        exact = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert (layer(x) - exact).abs().mean() < 0.02 * exact.abs().mean()
    with torch.autocast("cpu", torch.bfloat16):
        assert (layer(x) - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_patches_are_merged_and_divided() -> None:
    torch.manual_seed(0)
    merging, division = PatchMerging(2, 5), PatchDivision(5, 2, factor=3)
    x = picture(4, 6, 2)
    merged = merging(x)
    assert merged.shape == (2, 2, 3, 5)
    four = x[0, 2:4, 4:6].reshape(-1)
    expected = merging.reduction(torch.nn.functional.layer_norm(four, (8,)))
    assert torch.allclose(merged[0, 1, 2], expected, atol=1e-6)
    assert merging(picture(3, 5, 2)).shape == (2, 2, 3, 5)
    divided = division(merged)
    assert divided.shape == (2, 6, 9, 2)
    nine = division.expansion(division.norm(merged[1, 1, 0]))
    assert torch.allclose(divided[1, 3:6, 0:3].reshape(-1), nine, atol=1e-6)
    embedding = PatchEmbedding(3, 7, patch=4)
    y = torch.rand(1, 3, 8, 12)
    embedded = embedding(y)
    assert embedded.shape == (1, 2, 3, 7)
    flat = embedding.projection.weight.flatten(1) @ y[0, :, 4:8, 8:12].reshape(-1) + embedding.projection.bias
    assert torch.allclose(embedded[0, 1, 2], flat, atol=1e-5)
