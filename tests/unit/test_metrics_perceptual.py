"""LPIPS and DISTS: the values that their authors publish, gradients, and small pictures. Skipped where there are no weights."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from PIL import Image

from helpers import quantize
from openjscc.errors import UsageError
from openjscc.metrics import DISTS, LPIPS, MetricFunction, dists, lpips, lpips_vgg
from openjscc.metrics.backbones import VGG16, WEIGHT_FILES, find_weights


def missing(*names: str) -> list[str]:
    return [name for name in names if find_weights(name) is None]


def needs(*names: str):
    return pytest.mark.skipif(bool(missing(*names)), reason=f"no weights of {', '.join(missing(*names))}: see docs/metrics.md")


alex = needs("alexnet", "lpips-alex")
vgg = needs("vgg16", "lpips-vgg")
structure = needs("vgg16", "dists")
METRICS = [
    pytest.param(lpips, lambda: LPIPS("alex"), 31, marks=alex, id="lpips"),
    pytest.param(lpips_vgg, lambda: LPIPS("vgg"), 16, marks=vgg, id="lpips_vgg"),
    pytest.param(dists, DISTS, 32, marks=structure, id="dists"),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")


def example(weights: str, name: str) -> torch.Tensor:
    """A picture that lies beside the weights, ``(1, 3, H, W)``."""
    folder = find_weights(weights)
    path = Path(folder.parent if folder else ".") / name
    if not path.is_file():
        pytest.skip(f"no {name} beside the weights of {weights}")
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float() / 255


def pair(batch: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, height, width, generator=generator)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@alex
def test_lpips_of_the_authors_examples() -> None:
    reference, p0, p1 = (example("lpips-alex", f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    assert lpips(reference, p0).item() == pytest.approx(0.7219, abs=5e-5)
    assert lpips(reference, p1).item() == pytest.approx(0.1376, abs=5e-5)
    assert lpips(reference, reference).item() == 0.0


@vgg
def test_lpips_on_vgg16_prefers_the_same_example() -> None:
    reference, p0, p1 = (example("lpips-vgg", f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    assert lpips_vgg(reference, p0).item() == pytest.approx(0.5686, abs=5e-5)  # what these weights give here, kept from drifting
    assert lpips_vgg(reference, p1).item() == pytest.approx(0.4217, abs=5e-5)
    assert lpips_vgg(reference, reference).item() == 0.0


@structure
def test_dists_of_the_authors_example() -> None:
    r0, r1 = (example("dists", f"{name}.png") for name in ("r0", "r1"))
    assert dists(r0, r1).item() == pytest.approx(0.3347, abs=5e-5)
    assert dists(r0, r0).item() == 0.0


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_heads_are_those_that_torchmetrics_ships(net: str) -> None:
    path = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / f"{net}.pth"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == WEIGHT_FILES[f"lpips-{net}"].sha256


@structure
def test_dists_is_the_papers_sum() -> None:
    """Eqs. 4-7 written out; ours is summed as differences."""
    network = DISTS()
    x, y = pair(2, 48, 40)
    mean, std = network.get_buffer("mean"), network.get_buffer("std")
    stages = zip([x, *network.backbone.stages((x - mean) / std)], [y, *network.backbone.stages((y - mean) / std)], strict=True)
    similarities: list[list[torch.Tensor]] = [[], []]
    for a, b in stages:
        a, b = a.double().flatten(2), b.double().flatten(2)
        m, n = a.mean(2), b.mean(2)
        covariance = (a * b).mean(2) - m * n
        similarities[0].append((2 * m * n + 1e-6) / (m**2 + n**2 + 1e-6))
        similarities[1].append((2 * covariance + 1e-6) / (a.var(2, correction=0) + b.var(2, correction=0) + 1e-6))
    luminance, contrast = (torch.cat(parts, 1) for parts in similarities)
    expected = 1 - luminance @ network.get_buffer("alpha").double() - contrast @ network.get_buffer("beta").double()
    assert torch.allclose(network(x, y).double(), expected, atol=1e-5)


@pytest.mark.parametrize(("metric", "make", "smallest"), METRICS)
def test_metric_is_the_network_on_rounded_pictures(metric: MetricFunction, make, smallest: int) -> None:
    x, y = pair(3, 40, 52)
    network = make()
    value = metric(x, y)
    assert value.shape == (3,)
    assert value.dtype == torch.float32
    assert bool((value > 0.001).all())
    assert torch.allclose(value, network(quantize(x), quantize(y)), atol=1e-5)
    assert torch.equal(
        value, torch.cat([metric(x[i : i + 1], y[i : i + 1]) for i in range(3)])
    )  # bit for bit, whatever the batch
    shifted = quantize(y) + 0.4 / 255
    assert torch.equal(metric(quantize(x), shifted), metric(quantize(x), quantize(y)))
    assert not torch.allclose(network(quantize(x), shifted), network(quantize(x), quantize(y)), atol=1e-6, rtol=0)
    assert not metric(x.requires_grad_(), y).requires_grad


@pytest.mark.parametrize(("metric", "make", "smallest"), METRICS)
def test_gradients_reach_both_pictures_and_nothing_else(metric: MetricFunction, make, smallest: int) -> None:
    network = make()
    assert not list(network.parameters())
    assert not network.state_dict()  # a checkpoint of a model that is trained with it stays small
    x, y = pair(1, 33, 35)
    x[..., :20] = y[..., :20] = 0.0  # black and equal
    x.requires_grad_()
    y.requires_grad_()
    network(x, y).sum().backward()
    for picture in (x, y):
        assert picture.grad is not None
        assert bool(torch.isfinite(picture.grad).all())
        assert bool(picture.grad[..., 30:].any())
    x, y = pair(1, 40, 40)
    y.requires_grad_()
    (slope,) = torch.autograd.grad(network(x, y).sum(), y)
    step = 1e-2 * slope / slope.norm()
    with torch.no_grad():
        measured = (network(x, y + step) - network(x, y - step)) / 2e-2
    assert measured.item() == pytest.approx(slope.norm().item(), rel=0.05)


@pytest.mark.parametrize(("metric", "make", "smallest"), METRICS)
def test_small_and_broken_pictures(metric: MetricFunction, make, smallest: int) -> None:
    x, y = pair(2, smallest, smallest)
    value = metric(x, y)
    assert bool(torch.isfinite(value).all())
    with pytest.raises(UsageError) as caught:
        metric(x[..., 1:], y[..., 1:])
    assert str(smallest) in caught.value.hint
    with pytest.raises(UsageError):
        metric(x, y[:1])
    with pytest.raises(UsageError, match="values from"):
        metric(255 * x, 255 * y)
    y[1, 0, 0, 0] = math.nan
    assert torch.isnan(metric(x, y)).tolist() == [False, True]


def dists_of_known_features(monkeypatch: pytest.MonkeyPatch) -> DISTS:
    """DISTS with the colours alone in the sum, in a VGG16 that only passes them on in its first stage."""
    widths, sources = (64, 128, 256, 512, 512), {}
    channels = 3
    for stage, width in zip(VGG16.stages, widths, strict=True):
        for conv in stage:
            weight = torch.zeros(width, channels, 3, 3)
            if stage is VGG16.stages[0]:
                weight[range(3), range(3), 1, 1] = 1.0
            sources |= {f"features.{conv.index}.weight": weight, f"features.{conv.index}.bias": torch.zeros(width)}
            channels = width
    count = 3 + sum(widths)
    alpha, beta = torch.zeros(1, count, 1, 1), torch.zeros(1, count, 1, 1)
    alpha[:, :3], beta[:, :3] = 0.25, 0.75
    known = {"dists": {"alpha": alpha, "beta": beta}, "vgg16": sources}
    monkeypatch.setattr("openjscc.metrics.perceptual.load_weights", known.__getitem__)
    return DISTS()


def test_constants_of_dists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its weights: where a mean square is as small as c = 1e-6, the similarity of means, and of structure, is 1/2."""
    network = dists_of_known_features(monkeypatch)
    flat = torch.zeros(1, 3, 32, 32)
    checker = 0.5 + 1e-3 * (1 - 2.0 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2)).expand(1, 3, 32, 32)
    assert network(flat, flat + 1e-3).item() == pytest.approx(0.25 * 0.5, rel=1e-4)
    assert network(flat + 0.5, checker).item() == pytest.approx(0.75 * 0.5, rel=1e-3)
    x, _ = pair(1, 32, 32)
    _, first, *_ = network.features(x)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(first[:, :3], ((x - mean) / std).relu(), atol=1e-5)
    pool = network.backbone.pool
    assert torch.allclose(pool(flat), torch.full((1, 3, 16, 16), 1e-6))
    spot = flat.clone()
    spot[..., 8, 8] = 1.0
    window = pool(spot)[0, 0].square()
    assert torch.allclose(window[4, 4], torch.tensor(0.25))
    spot = flat.clone()
    spot[..., 9, 8] = 1.0
    window = pool(spot)[0, 0].square()
    assert torch.allclose(window[4:6, 4], torch.tensor(0.125))


def test_unknown_network() -> None:
    with pytest.raises(UsageError) as caught:
        LPIPS("squeeze")
    assert "alex" in caught.value.hint
