"""PSNR and SSIM against other implementations, and against the ways in which they are commonly got wrong."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from helpers import quantize
from openjscc.data.datasets import open_dataset
from openjscc.data.images import to_uint8
from openjscc.errors import UsageError
from openjscc.metrics import METRICS, MetricFunction, fidelity, get_metric, psnr, ssim
from openjscc.units import psnr_from_mse


def pair(*shape: int, noise: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth random picture (so that SSIM is neither 0 nor 1) and a noisy copy."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 1 + shape[2] // 8, 1 + shape[3] // 8, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear", align_corners=False)
    return x, (x + noise * torch.randn(shape, generator=generator)).clamp(0, 1)


# ---------------------------------------------------------------- PSNR


def test_psnr_by_hand() -> None:
    x = torch.zeros(2, 3, 4, 4)
    y = x.clone()
    y[0] += 10 / 255
    y[1, 0, 0, 0] = 1.0
    assert psnr(x, y).tolist() == pytest.approx([20 * math.log10(25.5), 10 * math.log10(48)], abs=1e-4)


def test_psnr_is_of_the_rounded_pictures() -> None:
    """Errors of 0.4/255 vanish when a picture is stored; a PSNR of unrounded floats would say 56 dB."""
    x = torch.full((1, 3, 8, 8), 100 / 255)
    y = x + 0.4 / 255
    unrounded = psnr_from_mse(float((x - y).square().mean()))
    assert 55 < unrounded < 57
    assert psnr(x, y).item() == math.inf
    x, y = pair(1, 3, 32, 32, noise=0.002)
    unrounded = psnr_from_mse(float((x - y).square().mean()))
    rounded = psnr_from_mse(float((quantize(x) - quantize(y)).double().square().mean()))
    assert abs(unrounded - rounded) > 0.5
    assert psnr(x, y).item() == pytest.approx(rounded, abs=1e-4)


def test_psnr_is_per_image_and_not_of_the_mean_error() -> None:
    x = torch.full((2, 3, 8, 8), 0.4)
    y = x.clone()
    y[0] += 1 / 255
    y[1] += 50 / 255
    each = psnr(x, y)
    assert each.shape == (2,)
    mean_of_psnr = float(each.mean())
    psnr_of_mean = psnr_from_mse(float((quantize(x) - quantize(y)).square().mean()))
    assert mean_of_psnr == pytest.approx((20 * math.log10(255) + 20 * math.log10(5.1)) / 2, abs=1e-3)
    assert mean_of_psnr > psnr_of_mean + 10
    assert torch.equal(each, torch.cat([psnr(x[:1], y[:1]), psnr(x[1:], y[1:])]))


def test_identical_pictures_and_clamping() -> None:
    x, _ = pair(1, 3, 12, 12)
    assert psnr(x, x).item() == math.inf
    assert ssim(x, x).item() == pytest.approx(1.0, abs=1e-6)
    over = torch.where(x > 0.5, 1.7, -0.3)
    assert torch.equal(psnr(x, over), psnr(x, over.clamp(0, 1)))


# ---------------------------------------------------------------- SSIM


def torchmetrics_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """torchmetrics' map of the 8-bit pictures in float64, without the 5 pixels at the border whose windows are mirrored."""
    result = structural_similarity_index_measure(
        quantize(y).double(), quantize(x).double(), data_range=1.0, sigma=1.5, return_full_image=True, reduction="none"
    )
    assert isinstance(result, tuple)
    return result[1][..., 5:-5, 5:-5].mean(dim=(1, 2, 3))


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (32, 32), (37, 53), (96, 64)])
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_ssim_agrees_with_torchmetrics(size: tuple[int, int], noise: float) -> None:
    x, y = pair(3, 3, *size, noise=noise)
    ours, theirs = ssim(x, y), torchmetrics_ssim(x, y)
    assert 0.02 < float(ours.min()) < 0.999
    assert torch.allclose(ours.double(), theirs, rtol=0, atol=1e-5)


def reference_ssim(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """The definition, window by window, in float64."""
    positions = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(positions**2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    values = []
    for channel in range(3):
        for top in range(x.shape[1] - size + 1):
            for left in range(x.shape[2] - size + 1):
                a = x[channel, top : top + size, left : left + size]
                b = y[channel, top : top + size, left : left + size]
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                values.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("size", "window"), [((1, 1), 1), ((2, 30), 1), ((3, 3), 3), ((4, 9), 3), ((10, 20), 9), ((20, 10), 9), ((12, 13), 11)]
)
def test_small_pictures_get_the_largest_odd_window(size: tuple[int, int], window: int) -> None:
    x, y = pair(1, 3, *size)
    expected = reference_ssim(quantize(x)[0].double().numpy(), quantize(y)[0].double().numpy(), window)
    assert ssim(x, y).item() == pytest.approx(expected, abs=1e-5)


def test_ssim_is_of_the_rounded_pictures() -> None:
    x, y = pair(1, 3, 24, 24)
    shift = (torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 0.98 / 255
    assert torch.equal(ssim(quantize(x), quantize(y)), ssim(quantize(x) + shift, quantize(y) - shift))


def test_flat_bright_pictures_do_not_lose_their_variance() -> None:
    """Where E[x^2] - E[x]^2 is all cancellation: white paper, one level of noise."""
    generator = torch.Generator().manual_seed(0)
    x = (254 + torch.randint(0, 2, (1, 3, 64, 64), generator=generator)) / 255
    y = (254 + torch.randint(0, 2, (1, 3, 64, 64), generator=generator)) / 255
    assert ssim(x, y).item() == pytest.approx(torchmetrics_ssim(x, y).item(), abs=2e-5)


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("strip", [1, 3 * 50 * 13, 3 * 41 * 50 * 2])
def test_strips_change_nothing(metric: MetricFunction, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pair(5, 3, 41, 50)
    whole = metric(x, y)
    monkeypatch.setattr(fidelity, "_STRIP_VALUES", strip)
    assert torch.allclose(metric(x, y), whole, rtol=1e-6, atol=0)
    assert torch.allclose(metric(x[2:3], y[2:3]), whole[2:3], rtol=1e-6, atol=0)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_symmetric_untouched_and_detached(metric: MetricFunction) -> None:
    x, y = pair(2, 3, 16, 16)
    before = x.clone(), y.clone()
    value = metric(x.requires_grad_(), y)
    assert not value.requires_grad
    assert value.dtype == torch.float32
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert torch.allclose(value, metric(y, x.detach()))
    assert torch.equal(metric(x.detach().half(), y.half()), metric(x.detach().half().float(), y.half().float()))


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_picture_is_nan_and_its_neighbour_is_not(metric: MetricFunction, bad: float) -> None:
    x, y = pair(3, 3, 16, 16)
    good = metric(x, y)
    y[1, 2, 15, 3] = bad
    value = metric(x, y)
    assert math.isnan(value[1].item())
    assert torch.equal(value[[0, 2]], good[[0, 2]])


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_are_checked(metric: MetricFunction) -> None:
    x, _ = pair(1, 3, 8, 8)
    for y in (x[:, :, :7], x[0], x[:, :1], x.expand(2, -1, -1, -1), to_uint8(x), x.numpy(), "x.png"):
        with pytest.raises(UsageError):
            metric(x, y)


@pytest.mark.parametrize("metric", [psnr, ssim, METRICS["ms_ssim"].function])
def test_values_of_another_range_are_refused(metric: MetricFunction) -> None:
    """Clipped, they would give a figure that looks like one (C10)."""
    x, y = pair(2, 3, 161, 161)
    metric(x, 20 * y - 10)  # not clipped by its decoder
    for source, received in ((255 * x, 255 * y), (2 * x - 1, 2 * y - 1), (x, 255 * y)):
        with pytest.raises(UsageError, match=r"values from -?[\d.]+ to [\d.]+") as caught:
            metric(source, received)
        assert "[0, 1]" in caught.value.hint
    y[1] = math.nan
    with pytest.raises(UsageError):
        metric(x, 255 * y)


def test_table() -> None:
    for name in ("psnr", "ssim"):
        metric = get_metric(name)
        assert metric is METRICS[name]
        x, y = pair(2, 3, 16, 16)
        worse = (x + 3 * (y - x)).clamp(0, 1)
        assert bool(((metric.function(x, y) > metric.function(x, worse)) == metric.higher_is_better).all())
    with pytest.raises(UsageError) as caught:
        get_metric("psrn")
    assert "psnr" in caught.value.hint


@pytest.mark.skipif(not os.environ.get("OPENJSCC_DATA"), reason="OPENJSCC_DATA is not set")
def test_on_a_photograph() -> None:
    x = open_dataset("kodak", limit=1)[0][None, :, 128:384, 256:512].float() / 255
    y = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    assert ssim(x, y).item() == pytest.approx(torchmetrics_ssim(x, y).item(), abs=1e-5)
    mse = float((quantize(x) - quantize(y)).double().square().mean())
    assert psnr(x, y).item() == pytest.approx(psnr_from_mse(mse), abs=1e-4)
