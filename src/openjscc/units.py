"""Units and their conversions, as ``docs/conventions.md`` defines them. Plain arithmetic: floats and tensors alike."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

import torch

from .errors import UsageError

Real = TypeVar("Real", float, torch.Tensor)

SNR_LIMIT_DB = 100.0
"""Largest |SNR| in dB: what networks in single precision can take; anything beyond is a slip of the pen."""


def db_to_linear(value_db: Real) -> Real:
    """Decibels to a power ratio: ``10 ** (value_db / 10)``."""
    return 10.0 ** (value_db / 10.0)  # pyright: ignore[reportReturnType]


def linear_to_db(value: Real) -> Real:
    """A power ratio to decibels."""
    if isinstance(value, torch.Tensor):
        return 10.0 * torch.log10(value)
    return 10.0 * math.log10(value)


def noise_var_from_snr(snr_db: Real) -> Real:
    """Noise variance per **complex** symbol at unit symbol energy: ``10 ** (-snr_db / 10)``; half of it per real dimension."""
    return db_to_linear(-snr_db)  # pyright: ignore[reportReturnType, reportArgumentType]


def snr_from_noise_var(noise_var: Real) -> Real:
    """SNR in dB (Es/N0) for a noise variance per complex symbol, at unit symbol energy."""
    return -linear_to_db(noise_var)  # pyright: ignore[reportReturnType, reportOperatorIssue]


def source_dimension(height: int, width: int) -> int:
    """n = 3*H*W: the real values of the unpadded RGB image."""
    return 3 * height * width


def bandwidth_ratio(channel_uses: float, height: int, width: int) -> float:
    """CBR = k / n: complex channel uses per source value."""
    return channel_uses / source_dimension(height, width)


def channel_uses_per_pixel(ratio: float) -> float:
    """CPP = k / (H*W) = 3 * CBR."""
    return 3.0 * ratio


def psnr_from_mse(mse: Real, peak: float = 1.0) -> Real:
    """PSNR in dB of a mean squared error, for values in ``[0, peak]``."""
    return linear_to_db(peak**2 / mse)  # pyright: ignore[reportReturnType]


def snr_tensor(snr_db: float | Sequence[float] | torch.Tensor, batch: int, device: torch.device | None = None) -> torch.Tensor:
    """One SNR per image.

    Args:
        snr_db: one value for the whole batch, or one per image, in dB.
        batch: number of images B.
        device: where the result lives.

    Returns:
        float32 ``(B,)``.

    Raises:
        UsageError: for NaN, infinite or absurd values, or a length that is not B.
    """
    try:
        value = torch.as_tensor(snr_db, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"SNR {snr_db!r}", "give a number of dB, e.g. 10") from None
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] not in (1, batch)):
        raise UsageError(f"snr_db has shape {tuple(value.shape)} for {batch} images", "give one number, or one per image")
    if not bool(torch.isfinite(value).all()) or bool((value.abs() > SNR_LIMIT_DB).any()):
        shown = value.flatten()[~(value.flatten().abs() <= SNR_LIMIT_DB)][0].item()
        raise UsageError(
            f"SNR of {shown} dB", f"give a finite number of dB between {-SNR_LIMIT_DB:g} and {SNR_LIMIT_DB:g}, e.g. 10"
        )
    return value.expand(batch) if value.ndim == 0 or value.shape[0] == 1 else value


def parse_ratio(text: str) -> float:
    """A bandwidth ratio as people write it: ``1/16`` or ``0.0625``. Must lie in (0, 10]."""
    try:
        value = parse_fraction(text)
    except ValueError:
        raise UsageError(f"bandwidth ratio {text[:80]!r}", "write it as a fraction or a number, e.g. 1/16 or 0.0625") from None
    if not 0 < value <= 10:
        raise UsageError(
            f"bandwidth ratio {text[:80]!r} is outside (0, 10]", "CBR is complex channel uses per source value, e.g. 1/16"
        )
    return value


def parse_fraction(text: str) -> float:
    """``1/16`` or ``0.0625`` as a finite number. Raises ValueError.

    `fractions.Fraction` computes ``1e99999999`` in full, which takes minutes.
    """
    top, slash, bottom = text.strip().partition("/")
    try:
        value = int(top) / int(bottom) if slash else float(top)
    except (ZeroDivisionError, OverflowError):
        raise ValueError(text) from None
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def format_ratio(ratio: float | None) -> str:
    """``0.0625`` as ``1/16`` where that is what it is (to 1e-6), else four significant digits.

    None, a ratio that the codec itself chooses for every image, is `AUTO`.
    """
    if ratio is None:
        return AUTO
    fraction = Fraction(ratio).limit_denominator(512)
    if fraction and abs(float(fraction) - ratio) < 1e-6 * ratio and fraction.numerator <= 8:
        return str(fraction)
    return f"{ratio:.4g}"


AUTO = "auto"
"""Stands for a ratio that nobody asks for: a system's default, or its own choice for every image."""


def parse_ratios(text: str) -> tuple[float | None, ...]:
    """``auto,1/16,1/6`` as ratios without repetitions, None for ``auto``. Raises as `parse_ratio`."""
    parts = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(None if part == AUTO else parse_ratio(part) for part in parts))


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


def parse_numbers(text: str, what: str = "list") -> list[float]:
    """``1,4,7`` or ``0:20:2`` (both ends included) as a list of numbers; the order is kept."""
    values: list[float] = []
    for part in text.split(","):
        pieces = [piece.strip() for piece in part.split(":")]
        if not all(re.fullmatch(_NUMBER, piece) for piece in pieces) or len(pieces) not in (1, 3):
            raise UsageError(f"{what} {text!r}", "write numbers as 1,4,7 or a range as start:stop:step, e.g. 0:20:2")
        numbers = [float(piece) for piece in pieces]
        if not all(math.isfinite(number) for number in numbers):
            raise UsageError(f"{what} {text!r} has a number that is not finite", "e.g. 0:20:2")
        if len(numbers) == 1:
            values += numbers
            continue
        start, stop, step = numbers
        if step == 0 or (stop - start) / step < 0:
            raise UsageError(f"{what} {text!r} never reaches its end", "the step must lead from start to stop, e.g. 0:20:2")
        count = (stop - start) / step
        if count > 10_000:
            raise UsageError(f"{what} {text!r} has {count:.3g} values", "use a larger step; at most 10000 values")
        values += [round(start + i * step, 12) for i in range(math.floor(count + 1e-9) + 1)]  # 0.3, not 0.30000000000000004
    return values
