"""WITT: the paper's network part by part, the ModNets, any picture size, recipes and docs."""

import dataclasses
import doctest
import itertools
import re
from pathlib import Path

import pytest
import torch

from helpers import count, noise_images, untrained
from openjscc.codec import Conditions, Received
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.models import ARCHITECTURES, create, witt
from openjscc.models.layers import swin
from openjscc.models.witt import PHOTO, WITT, ModNet, WITTConfig
from openjscc.testing import check_codec
from openjscc.training.recipe import load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "models" / "witt.md"

# Three levels, patches of 4 and windows of 7, as in the encoders of Swin Transformer; odd windows have shifts of 3.
TINY = WITTConfig(
    rates=(4, 8),
    patch=4,
    channels=(6, 9, 12),
    depths=(2, 2, 2),
    heads=(3, 3, 3),
    window=7,
    expansion=2,
    modulation=2,
)


def on_meta(config: str) -> WITT:
    with torch.device("meta"):
        codec = create("witt", config)
    assert isinstance(codec, WITT)
    return codec


def send(codec: WITT, x: torch.Tensor, snr_db: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Symbols, and the picture that comes out of them without noise at a receiver that believes in that SNR."""
    with torch.no_grad():
        frame = codec.encode(x, Conditions(snr_db))
        image = codec.decode(Received(frame.symbols, 10 ** (-snr_db / 10), None, frame.length)).image
    assert image is not None
    return frame.symbols, image


# The paper's network


def test_parts_of_the_paper_have_as_many_parameters_as_their_layers() -> None:
    """28.2 M in the authors' code."""
    channels, depths, heads, latent = (128, 192, 256, 320), (2, 2, 6, 2), (4, 6, 8, 10), 96

    def linear(narrow: int, wide: int) -> int:
        return narrow * wide + wide

    def block(c: int, h: int) -> int:
        return 2 * 2 * c + linear(c, 3 * c) + linear(c, c) + 15**2 * h + linear(c, 4 * c) + linear(4 * c, c)

    blocks = sum(depth * block(c, h) for c, depth, h in zip(channels, depths, heads, strict=True))
    merging = sum(2 * 4 * c + 4 * c * out for c, out in itertools.pairwise(channels))
    dividing = sum(2 * c + c * 4 * out for c, out in itertools.pairwise((*channels[::-1], 3)))
    modulation = linear(320, 480) + 6 * linear(480, 480) + linear(480, 320) + 7 * (linear(1, 480) + 2 * linear(480, 480))
    codec = on_meta("paper")
    encoder, decoder = codec.encoder, codec.decoder
    assert count(encoder.embedding) == 3 * 128 * 4 + 128 == 1_664
    assert count(encoder.stages) == count(decoder.stages) == blocks == 8_510_552
    assert count(encoder.down) == merging == 627_200
    assert count(decoder.up) == dividing == 625_920
    assert count(encoder.norm) + count(encoder.head) == 2 * 320 + linear(320, latent) == 31_456
    assert count(decoder.head) == linear(latent, 320) == 31_040
    assert count(encoder.modulation) == count(decoder.modulation) == modulation == 4_932_320
    parts = 1_664 + 2 * blocks + merging + dividing + 31_456 + 31_040 + 2 * modulation
    assert count(codec) == parts == 28_203_024
    assert count(on_meta("paper-no-modnet")) == parts - 2 * modulation


def test_paper_sends_96_channels_at_a_sixteenth_of_the_size() -> None:
    codec = on_meta("paper")
    with torch.device("meta"), torch.no_grad():
        rate = torch.zeros(1, dtype=torch.int64)
        latent = codec.analyse(torch.zeros(1, 3, 256, 512), torch.zeros(1), rate)
        image = codec.synthesise(latent, torch.zeros(1), rate, torch.ones(1))
    assert latent.shape == (1, 96, 16, 32)
    assert image.shape == (1, 3, 256, 512)
    assert codec.ratios == (1 / 16,)
    assert [[block.shifted for block in stage] for stage in codec.encoder.stages] == [  # pyright: ignore[reportGeneralTypeIssues]
        [False, True],
        [False, True],
        [False, True] * 3,
        [False, True],
    ]


# Channel ModNet


def test_mod_net_in_closed_form() -> None:
    torch.manual_seed(0)
    net = ModNet(channels=3, conditions=2, steps=2, width=5, modulator=4)
    x, conditions = torch.randn(2, 4, 6, 3), torch.randn(2, 2)
    result = net(x, conditions)
    for b, i, j in ((0, 0, 0), (1, 3, 5), (1, 2, 0)):
        y = x[b, i, j]
        for step, modulator in zip(net.steps, net.modulators, strict=True):
            y = step(y) * torch.sigmoid(modulator(conditions[b]))
        assert torch.allclose(result[b, i, j], x[b, i, j] * torch.sigmoid(net.last(y)), atol=1e-6)


def test_no_gradient_goes_back_through_the_weights_of_the_mod_net() -> None:
    torch.manual_seed(0)
    net = ModNet(3, 1, steps=3, width=5, modulator=16)  # so wide that no layer is dead
    x = torch.randn(1, 2, 2, 3, requires_grad=True)
    result = net(x, torch.ones(1, 1))
    result.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, (result / x).detach(), atol=1e-5)
    assert all(bool(parameter.grad is not None and parameter.grad.any()) for parameter in net.parameters())


def test_the_networks_hear_the_snr_unless_they_have_no_mod_net() -> None:
    x = noise_images(1, 16, 16)
    for config, hears in ((TINY, True), (dataclasses.replace(TINY, modulation=0), False)):
        codec = untrained(WITT, config)
        (low, dark), (high, bright) = (send(codec, x, torch.tensor([snr])) for snr in (1.0, 13.0))
        assert torch.equal(low, high) is not hears
        assert torch.equal(dark, bright) is not hears


# Contract


def test_a_pyramid_of_odd_windows_keeps_the_contract() -> None:
    check_codec(untrained(WITT, TINY), sizes=((1, 1), (17, 40), (150, 33), (113, 131)))


def test_pictures_of_a_batch_do_not_meet() -> None:
    """Not even in windows, which are all in one tensor."""
    codec = untrained(WITT, PHOTO)
    x, snr_db = noise_images(3, 77, 90), torch.tensor([0.0, 7.0, 20.0])
    symbols, images = send(codec, x, snr_db)
    for i in range(3):
        alone, image = send(codec, x[i : i + 1], snr_db[i : i + 1])
        assert torch.allclose(symbols[i], alone[0], atol=1e-5)
        assert torch.allclose(images[i], image[0], atol=1e-5)


def test_odd_sizes_pay_for_their_padding_and_no_more() -> None:
    codec = untrained(WITT, PHOTO)
    for height, width in ((1, 1), (7, 200), (100, 75), (65, 64)):
        x = noise_images(1, height, width)
        result = transmit(codec, "awgn", x, 10.0, ratio=1 / 16)
        assert result.image is not None
        assert result.image.shape == x.shape
        header = codec.header.uses(height, width)
        assert header == 124
        assert int(result.frame.length[0]) == 12 * -(-height // 8) * -(-width // 8) + header


@pytest.mark.parametrize("config", [PHOTO, TINY])
def test_rows_of_windows_at_a_time_give_the_same_picture(config: WITTConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, x, snr_db = untrained(WITT, config), noise_images(1, 230, 175), torch.tensor([7.0])
    symbols, image = send(codec, x, snr_db)
    monkeypatch.setattr(swin, "AT_ONCE", 9)
    by_rows, image_by_rows = send(codec, x, snr_db)
    assert torch.allclose(symbols, by_rows, atol=1e-4)
    assert torch.allclose(image, image_by_rows, atol=1e-4)


# The photo configuration


def test_photo_stays_in_its_budget() -> None:
    codec = on_meta("photo")
    assert count(codec) <= 1_750_000  # as many as adjscc.photo
    assert codec.ratios == create("adjscc", "photo").ratios
    assert codec.macs_per_pixel() == pytest.approx(38_400, rel=0.01)


def test_photo_starts_as_linear_transmission() -> None:
    codec = create("witt", "photo").eval()
    assert isinstance(codec, WITT)
    assert codec.block_analysis is not None
    x, rate = noise_images(2, 64, 48), torch.tensor([0, 4])
    with torch.no_grad():
        latent = codec.analyse(x, torch.tensor([0.0, 20.0]), rate)
        assert torch.equal(latent, codec.block_analysis(2 * x - 1))
        context = torch.zeros(2, 7)
        assert not codec.decoder(latent, context).any()


def test_learning_starts_at_once() -> None:
    """Adam on one picture: no part that starts at zero keeps the others from learning."""
    torch.manual_seed(0)
    codec = create("witt", dataclasses.replace(TINY, shortcut=True, send_scale=True)).train()
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    x, snr_db, losses = (
        torch.nn.functional.interpolate(noise_images(2, 4, 4), 32, mode="bicubic").clamp(0, 1),
        torch.full((2,), 13.0),
        [],
    )
    for _ in range(40):
        frame = codec.encode(x, Conditions(snr_db))
        image = codec.decode(Received(frame.symbols, 10 ** (-snr_db / 10), None, frame.length)).image
        assert image is not None
        loss = (image - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_configuration_that_does_not_fit_is_refused() -> None:
    for wrong in ({"depths": (2, 2)}, {"heads": (4,)}, {"heads": (5, 3, 3)}, {"channels": (), "depths": (), "heads": ()}):
        with pytest.raises(UsageError, match="channels"):
            dataclasses.replace(TINY, **wrong)


# Recipes and docs


def test_photo_trains_on_the_terms_of_the_networks_that_it_is_compared_with() -> None:
    ours = load_recipe("witt-photo")
    for name in ("adjscc-photo", "deepjscc-photo"):
        other = load_recipe(name)
        assert (ours.data, ours.channel, ours.loss, ours.step) == (other.data, other.channel, other.loss, other.step)
        assert dataclasses.replace(ours.optimizer, steps=other.optimizer.steps) == other.optimizer
        assert (ours.run.precision, ours.run.seed) == (other.run.precision, other.run.seed)


def test_page_has_the_counts() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE))
    assert rows == {name: f"{count(on_meta(name)):,}" for name in ARCHITECTURES["witt"].configs}
    codec, text = on_meta("paper"), PAGE.read_text()
    for name, encoder, decoder in (
        ("patches", codec.encoder.embedding, None),
        ("blocks", codec.encoder.stages, codec.decoder.stages),
        ("merging, dividing", codec.encoder.down, codec.decoder.up),
        ("ModNet", codec.encoder.modulation, codec.decoder.modulation),
    ):
        row = f"| {name} | {count(encoder):,} | " + (f"{count(decoder):,} |" if decoder is not None else "|")
        assert row in text, row


def test_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    done = doctest.testmod(witt)
    assert done.attempted == 4
    assert not done.failed
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, PAGE.name, "exec"), {})
    assert "torch.Size([1, 3, 100, 75])" in capsys.readouterr().out
