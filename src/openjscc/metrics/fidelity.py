"""PSNR, SSIM and MS-SSIM, per image, of images rounded to 8 bits. Large images are worked through in strips, to save memory.

Rounding first is part of the definition: a receiver stores 8 bits, and the unrounded figure differs (by up to 3 dB near 50 dB).
The PSNR of a data set is the mean of its images' PSNRs; the PSNR of their mean MSE is another, lower number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn import functional as F

from ..codec import check_image
from ..errors import UsageError

_STRIP_VALUES = 1 << 21
"""Values of one image batch that are worked on at once."""

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, finest first."""
MS_SSIM_SMALLEST = 161
TOLERANCE = 1e-3
"""How far a source may be outside [0, 1], as in `openjscc.link.transmit`."""


def psnr(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, per image: ``-10 log10(mean((x - y)^2))`` over all pixels and channels, peak 1.

    The squared error is summed as whole numbers, so the value does not depend on the batch or on the order of summation.

    Args:
        x: source, float ``(B, 3, H, W)`` in [0, 1].
        y: reconstruction, the same shape.

    Returns:
        float32 ``(B,)``: ``inf`` where the two are identical at 8 bits (JSON records write null), ``nan`` where one holds
        values that are not finite.

    Raises:
        UsageError: shapes that differ or are no images, values outside [0, 1].
    """
    check_values(x, y)
    total = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for images, rows in _strips(x, overlap=0):
        a, b = x[images, :, rows], y[images, :, rows]
        broken[images] |= ~finite(a, b)
        difference = eight_bits(a) - eight_bits(b)  # whole numbers up to 255, exact in float32
        total[images] += difference.square_().to(torch.int32).sum(dim=(1, 2, 3), dtype=torch.int64)
    mse = total.cpu().to(torch.float64) / (255.0**2 * x[0].numel())
    value = -10.0 * torch.log10(mse)
    return value.to(torch.float32).to(x.device).masked_fill(broken, torch.nan)


def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861), per image: the mean of the SSIM map over RGB.

    Gaussian window 11x11 with sigma 1.5, data range 1, K1 0.01, K2 0.03, biased variances. Border rule: only windows that lie
    wholly within the image count, as in the paper's own code and in scikit-image with ``gaussian_weights``. torchmetrics (1.9)
    mirrors the image at its border and counts those windows too: the same map, another mean (by about 0.01 at 32x32).
    An image with a side below 11 pixels gets a window of the largest odd size that fits, with the same sigma, renormalised;
    on a 1x1 image only the luminance term is left. The result does not depend on the strips: the window's sum is taken term
    by term.

    Args:
        x: source, float ``(B, 3, H, W)`` in [0, 1].
        y: reconstruction, the same shape.

    Returns:
        float32 ``(B,)``, at most 1; ``nan`` where an image holds values that are not finite.

    Raises:
        UsageError: shapes that differ or are no images, values outside [0, 1].
    """
    check_values(x, y)
    height, width = x.shape[-2:]
    size = min(WINDOW, height - (height + 1) % 2, width - (width + 1) % 2)
    taps = gaussian_taps(size, SIGMA)
    total = torch.zeros(len(x), dtype=torch.float64)
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for images, rows in _strips(x, overlap=size - 1):
        a, b = x[images, :, rows], y[images, :, rows]
        broken[images] |= ~finite(a, b)
        luminance, structure = _ssim_map(eight_bits(a).div_(255.0), eight_bits(b).div_(255.0), taps)
        total[images] += luminance.mul_(structure).sum(dim=-1).cpu().sum(dim=(1, 2), dtype=torch.float64)
    count = 3 * (height - size + 1) * (width - size + 1)
    return (total / count).to(torch.float32).to(x.device).masked_fill(broken, torch.nan)


def ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Multi-scale SSIM (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216, eq. 7), per image: computed per channel, mean over RGB.

    Five scales, window and constants of `ssim`, `SCALE_WEIGHTS` as exponents. Each scale halves the last one by 2x2 means; a last
    row or column without a partner counts twice. The contrast-structure term of each scale is averaged over the windows that lie
    wholly within the image; the last scale has the luminance in it. A negative mean counts as 0.

    torchmetrics (1.9) averages the three channels before the exponents, drops a last odd row, and mirrors the border at the last
    scale: another value, by up to 0.0001 on a Kodak image and more on smaller ones.

    Args:
        x: source, float ``(B, 3, H, W)`` in [0, 1], sides of at least 161 pixels (11 at the fifth scale).
        y: reconstruction, the same shape.

    Returns:
        float32 ``(B,)``, in [0, 1]; ``nan`` where an image holds values that are not finite.

    Raises:
        UsageError: shapes that differ or are no images, values outside [0, 1]; a side below 161 pixels.
    """
    check_values(x, y)
    if min(x.shape[-2:]) < MS_SSIM_SMALLEST:
        raise UsageError(
            f"MS-SSIM of a picture of {x.shape[-1]}x{x.shape[-2]} pixels",
            f"it has five scales and is defined from {MS_SSIM_SMALLEST} pixels a side; take ssim",
        )
    return torch.cat([_ms_ssim_of_one(a, b) for a, b in zip(x.split(1), y.split(1), strict=True)]).masked_fill(
        ~finite(x, y), torch.nan
    )


def _ms_ssim_of_one(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    taps = gaussian_taps(WINDOW, SIGMA)
    a, b = eight_bits(x).div_(255.0), eight_bits(y).div_(255.0)
    value = torch.ones(3, dtype=torch.float64)
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        total = torch.zeros(3, dtype=torch.float64)
        for _, rows in _strips(a, overlap=WINDOW - 1):
            luminance, structure = _ssim_map(a[:, :, rows], b[:, :, rows], taps)
            term = luminance.mul_(structure) if scale == len(SCALE_WEIGHTS) else structure
            total += term.sum(dim=-1).cpu().sum(dim=(0, 2), dtype=torch.float64)
        count = (a.shape[-2] - WINDOW + 1) * (a.shape[-1] - WINDOW + 1)
        value *= (total / count).clamp_min(0.0) ** weight
        if scale < len(SCALE_WEIGHTS):
            a, b = _halved(a), _halved(b)
    return value.mean(dim=0, keepdim=True).to(torch.float32).to(x.device)


def _halved(x: torch.Tensor) -> torch.Tensor:
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def gaussian_taps(size: int, sigma: float) -> list[float]:
    """``size`` samples of a centred Gaussian, summing to 1."""
    positions = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.exp(-0.5 * (positions / sigma) ** 2)
    return (taps / taps.sum()).tolist()


def _ssim_map(x: torch.Tensor, y: torch.Tensor, taps: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Luminance term and contrast-structure term of each full window; SSIM is their product.

    ``(b, 3, h, w)`` to twice ``(b, 3, h - size + 1, w - size + 1)``.
    """
    x, y = x - 0.5, y - 0.5  # variances do not change, and lose fewer digits
    mean_x, mean_y = _blur(x, taps), _blur(y, taps)
    variance_x = _blur(x * x, taps).sub_(mean_x * mean_x)
    variance_y = _blur(y * y, taps).sub_(mean_y * mean_y)
    covariance = _blur(x * y, taps).sub_(mean_x * mean_y)
    mean_x, mean_y = mean_x.add_(0.5), mean_y.add_(0.5)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    return luminance, (2 * covariance + C2) / (variance_x + variance_y + C2)


def _blur(values: torch.Tensor, taps: list[float]) -> torch.Tensor:
    """Separable window, valid part only. Shifted sums, not a convolution: bit-identical for every strip, batch and device
    kernel, and never in TF32."""
    for dim in (-2, -1):
        length = values.shape[dim] - len(taps) + 1
        blurred = values.narrow(dim, 0, length) * taps[0]
        for offset, tap in enumerate(taps[1:], start=1):
            blurred.add_(values.narrow(dim, offset, length), alpha=tap)
        values = blurred
    return values


def eight_bits(values: torch.Tensor) -> torch.Tensor:
    """Whole numbers 0..255 as float32, rounded as images are when they are stored; a new tensor."""
    return values.detach().to(torch.float32).clamp(0.0, 1.0).mul_(255.0).round_()


def finite(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(a).flatten(1).all(dim=1) & torch.isfinite(b).flatten(1).all(dim=1)


def _strips(x: torch.Tensor, overlap: int) -> Iterator[tuple[slice, slice]]:
    """Image and row ranges that cover the batch, about `_STRIP_VALUES` values each; rows overlap by ``overlap``."""
    batch, channels, height, width = x.shape
    images = max(1, _STRIP_VALUES // (channels * height * width))
    rows = max(1, _STRIP_VALUES // (channels * width * images) - overlap)
    for first in range(0, batch, images):
        for top in range(0, height - overlap, rows):
            yield slice(first, min(first + images, batch)), slice(top, min(top + rows + overlap, height))


def check_pair(x: torch.Tensor, y: torch.Tensor) -> None:
    """Raise UsageError for what are not images, or not of one shape."""
    for image in (x, y):
        if not isinstance(image, torch.Tensor):
            hint = "give tensors (B, 3, H, W) in [0, 1], e.g. openjscc.read_image(path).pixels[None]"
            raise UsageError(f"an image of type {type(image).__name__}", hint)
    check_image(x)
    check_image(y)
    if x.shape != y.shape:
        raise UsageError(f"source {tuple(x.shape)} and reconstruction {tuple(y.shape)}", "compare pictures of one shape")


def check_values(x: torch.Tensor, y: torch.Tensor) -> None:
    """`check_pair`, and raise UsageError for a source outside [0, 1] and a reconstruction that holds values of 0..255."""
    check_pair(x, y)
    low, high = _span(x)
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise UsageError(f"source values from {low:g} to {high:g}", "expected [0, 1]: divide 8-bit values by 255")
    check_range("reconstruction", y)


def check_range(what: str, values: torch.Tensor) -> None:
    """Raise UsageError for values of 0..255. A reconstruction may leave [0, 1] (it is clipped first, rule C10), but one that was
    not clipped does so to both sides."""
    low, high = _span(values)
    if low >= 0 and high > 2:
        raise UsageError(f"{what} values from {low:g} to {high:g}", "expected [0, 1]: divide 8-bit values by 255")


def _span(values: torch.Tensor) -> tuple[float, float]:
    """The least and the largest finite value; 0 and 1 where there is none."""
    values = values.detach()
    low, high = (bound.item() for bound in torch.aminmax(values))
    if not (math.isfinite(low) and math.isfinite(high)):
        left = values[values.isfinite()]
        return _span(left) if left.numel() else (0.0, 1.0)
    return low, high
