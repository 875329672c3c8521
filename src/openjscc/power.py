"""Transmit power: every image's symbols have mean energy 1 over what that image really sends (never over the batch)."""

from __future__ import annotations

import torch


def sent_mask(length: torch.Tensor, k: int) -> torch.Tensor:
    """Bool ``(B, k)``: True where symbol j of image b is sent, i.e. ``j < length[b]``."""
    return torch.arange(k, device=length.device) < length[:, None]


def mean_power(symbols: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Mean ``|z|^2`` per image, float32 ``(B,)``, over the first ``length[b]`` symbols of complex ``(B, k)``."""
    energy = symbols.real.square() + symbols.imag.square()
    sums = torch.where(sent_mask(length, symbols.shape[1]), energy, 0.0).double().sum(1)
    return (sums / length.clamp(min=1)).to(energy.dtype)


def normalize_power(symbols: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Scale every image's symbols to mean energy 1 and zero those that are not sent.

    Args:
        symbols: complex ``(B, k)``, any scale.
        length: int ``(B,)``, the channel uses of each image, at most k.

    Returns:
        complex ``(B, k)`` with ``mean_power == 1`` per image. An all-zero image becomes a constant ``1+0j``, so that
        the rule holds for it too and nothing divides by zero. Differentiable.
    """
    sent = sent_mask(length, symbols.shape[1])
    power = mean_power(symbols, length)[:, None]
    silent = power <= 1e-20  # not a NaN: that has to show
    scaled = symbols * torch.where(silent, torch.ones_like(power), power).rsqrt()
    scaled = torch.where(silent, torch.ones_like(scaled), scaled)
    return torch.where(sent, scaled, torch.zeros_like(scaled))
