"""What a network is told beside its input, as numbers of about 1."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def condition_count(rates: int, scale: bool) -> int:
    """Number of values that `told` gives: the SNR, one for each of several rates, the scale."""
    return 1 + (rates if rates > 1 else 0) + (1 if scale else 0)


def told(
    snr_db: torch.Tensor,
    snr_range: tuple[float, float],
    rate: torch.Tensor | None = None,
    rates: int = 1,
    scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Conditions float32 ``(B, condition_count)``.

    Args:
        snr_db: ``(B,)`` in dB; ``snr_range`` is mapped to [-1, 1].
        snr_range: lowest and highest SNR in dB that the network is made for.
        rate: index ``(B,)`` of one of ``rates``, told one-hot where there are several.
        rates: how many there are.
        scale: ``(B,)`` of the latent, told as its logarithm; None: not told.
    """
    low, high = snr_range
    values = [(2 * (snr_db - low) / max(high - low, 1e-6) - 1)[:, None]]
    if rates > 1 and rate is not None:
        values.append(F.one_hot(rate, rates).float())
    if scale is not None:
        values.append(scale.log()[:, None])
    return torch.cat(values, dim=1)
