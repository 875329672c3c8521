"""Undoing a known gain, for receivers that do not use the gain themselves. Perfect knowledge of h at the receiver."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..codec import Received
from ..errors import unknown_name
from ..power import sent_mask

POWER_FLOOR = 1e-20
"""Least ``|h|^2`` that is divided by: a gain of zero gives symbols of zero and a huge noise variance, not NaN."""


def equalize(received: Received, method: str = "mmse") -> Received:
    """The received symbols with the gain undone, and the noise variance that is left.

    Args:
        received: with a gain ``(B, 1)`` or ``(B, k)``; without one it is returned unchanged.
        method: one of `EQUALIZERS`.

            - ``zf`` (zero forcing): ``y / h``, noise variance ``sigma^2 / |h|^2``.
            - ``mmse``: ``w y / b`` with ``w = h* / (|h|^2 + sigma^2)`` and b the mean of ``w h`` over the symbols that the
              frame sends, so that the frame as a whole is unbiased: its mean gain is 1, while a faded symbol is still
              damped, not amplified as by zero forcing. The noise variance is the mean squared error of each symbol at unit
              symbol energy, ``|w h / b - 1|^2 + |w / b|^2 sigma^2``. With one gain per frame ``w h / b = 1``: then
              this **is** zero forcing.

    Returns:
        `Received` with symbols ``(B, k)``, gain None, and noise_var float32 ``(B,)`` for one gain per frame, ``(B, k)``
        for one per symbol. Differentiable in the symbols.

    Raises:
        UsageError: for an unknown method.
    """
    check_equalizer(method)
    if received.gain is None:
        return received
    power = received.gain.abs().double().square().clamp(min=POWER_FLOOR)
    noise_var = received.noise_var.double()
    noise_var = noise_var[:, None] if noise_var.ndim == 1 else noise_var
    # A gain per frame weighs all its symbols alike; one per symbol counts only where a symbol is sent.
    sent = sent_mask(received.length, power.shape[1]) if power.shape[1] > 1 else torch.ones_like(power, dtype=torch.bool)
    scale, left = EQUALIZERS[method](power, noise_var, sent)
    left = left.clamp(max=torch.finfo(torch.float32).max).float()
    symbols = received.symbols * (received.gain.conj() * scale)
    return received.replace(
        symbols=symbols.to(received.symbols.dtype), noise_var=left[:, 0] if left.shape[1] == 1 else left, gain=None
    )


def _zero_forcing(power: torch.Tensor, noise_var: torch.Tensor, sent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return 1 / power, noise_var / power


def _mmse(power: torch.Tensor, noise_var: torch.Tensor, sent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weight = 1 / (power + noise_var)
    bias = torch.where(sent, weight * power, 0.0).sum(1, keepdim=True) / sent.sum(1, keepdim=True).clamp(min=1)
    scale = weight / torch.where(bias > 0, bias, 1.0)
    return scale, (power * scale - 1).square() + power * scale.square() * noise_var


Equalizer = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

EQUALIZERS: dict[str, Equalizer] = {"zf": _zero_forcing, "mmse": _mmse}
"""By name: from ``|h|^2`` ``(B, 1 or k)``, noise_var ``(B, 1 or k)`` and the mask of sent symbols (all float64) to the
real factor s of the equaliser ``s h*`` and the noise variance that it leaves."""


def check_equalizer(name: str) -> None:
    """Raises UsageError for an unknown equaliser."""
    if name not in EQUALIZERS:
        raise unknown_name("equalizer", name, EQUALIZERS)
