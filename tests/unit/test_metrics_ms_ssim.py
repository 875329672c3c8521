"""MS-SSIM against torchmetrics, against its definition, and where it is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.functional.image.ssim import _ssim_update

from helpers import quantize
from openjscc.errors import UsageError
from openjscc.metrics import fidelity, ms_ssim, ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(*shape: int, noise: float = 0.1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 1 + shape[2] // 8, 1 + shape[3] // 8, generator=generator)
    x = F.interpolate(coarse, size=shape[2:], mode="bilinear", align_corners=False)
    return x, (x + noise * torch.randn(shape, generator=generator)).clamp(0, 1)


def reference(x: torch.Tensor, y: torch.Tensor, halve) -> torch.Tensor:
    """From torchmetrics' maps in float64, channel by channel, only windows within the picture."""
    a, b = (quantize(z).double().flatten(0, 1)[:, None] for z in (x, y))
    value = torch.ones(len(a), dtype=torch.float64)
    for scale, weight in enumerate(WEIGHTS):
        _, structure = _ssim_update(b, a, data_range=1.0, return_contrast_sensitivity=True)
        if scale == 4:
            _, full = _ssim_update(b, a, data_range=1.0, return_full_image=True)
            structure = full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
        value *= structure.clamp_min(0) ** weight
        a, b = halve(a), halve(b)
    return value.reshape(len(x), 3).mean(dim=1)


def halve_evenly(z: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(z, 2)


def halve_by_hand(z: torch.Tensor) -> torch.Tensor:
    """Means of (i, i+1) at even i; beyond the border the last row and column again."""
    rows, columns = (torch.arange(0, size, 2) for size in z.shape[-2:])
    below, right = (rows + 1).clamp(max=z.shape[-2] - 1), (columns + 1).clamp(max=z.shape[-1] - 1)
    return (z[..., rows, :] + z[..., below, :])[..., columns] / 4 + (z[..., rows, :] + z[..., below, :])[..., right] / 4


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_agrees_with_torchmetrics(noise: float) -> None:
    x, y = pair(2, 3, 176, 208, noise=noise)
    ours = ms_ssim(x, y)
    assert 0.02 < float(ours.min()) < 0.9999
    assert torch.allclose(ours.double(), reference(x, y, halve_evenly), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(161, 161), (161, 190), (177, 175)])
def test_odd_sides(size: tuple[int, int]) -> None:
    x, y = pair(1, 3, *size)
    assert torch.allclose(ms_ssim(x, y).double(), reference(x, y, halve_by_hand), rtol=0, atol=1e-5)


def test_close_to_torchmetrics_own_figure() -> None:
    """Which mirrors the border at the last scale, so it can only be close."""
    x, y = pair(1, 3, 256, 256)
    channels = (quantize(z).flatten(0, 1)[:, None] for z in (y, x))
    theirs = multiscale_structural_similarity_index_measure(*channels, data_range=1.0, reduction="none").mean()
    assert ms_ssim(x, y).item() == pytest.approx(theirs.item(), abs=0.01)


def test_identical_and_inverted() -> None:
    x, _ = pair(1, 3, 161, 161)
    assert ms_ssim(x, x).item() == pytest.approx(1.0, abs=1e-6)
    assert ms_ssim(x, 1 - x).item() == 0.0  # a negative covariance counts as 0


@pytest.mark.parametrize("size", [(160, 161), (161, 160), (32, 32)])
def test_small_pictures_are_refused(size: tuple[int, int]) -> None:
    x, y = pair(1, 3, *size)
    with pytest.raises(UsageError) as caught:
        ms_ssim(x, y)
    assert f"{size[1]}x{size[0]}" in caught.value.message
    assert "161" in caught.value.hint


def test_rounded_detached_and_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pair(3, 3, 170, 165)
    whole = ms_ssim(x, y)
    assert torch.equal(whole, ms_ssim(quantize(x).requires_grad_(), quantize(y)))
    assert torch.equal(whole[1:2], ms_ssim(x[1:2], y[1:2]))
    assert torch.allclose(whole, ms_ssim(y, x))
    monkeypatch.setattr(fidelity, "_STRIP_VALUES", 3 * 165 * 20)
    assert torch.allclose(whole, ms_ssim(x, y), rtol=1e-6, atol=0)
    y[1, 0, 3, 3] = math.nan
    broken = ms_ssim(x, y)
    assert torch.isnan(broken).tolist() == [False, True, False]
    assert torch.equal(broken[[0, 2]], ms_ssim(x, y)[[0, 2]])


def test_finer_scales_weigh_less_than_in_ssim() -> None:
    """Pixel noise is what MS-SSIM forgives most."""
    x, y = pair(1, 3, 176, 176)
    assert float(ms_ssim(x, y)) > float(ssim(x, y)) + 0.1
