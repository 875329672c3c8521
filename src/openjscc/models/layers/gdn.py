"""Generalised divisive normalisation (Balle, Laparra, Simoncelli: Density modeling of images using a generalized
normalization transformation, ICLR 2016), the only implementation of it in the package."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class _LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient still lets x grow back over the bound."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, bound: float) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.bound) | (grad < 0)), None


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); the inverse (IGDN) multiplies instead.

    beta and gamma are kept positive as squares of the parameters (with a small pedestal, so that gradients do not
    vanish at zero), as in the reference implementation of the paper.

    Args:
        channels: C of the ``(B, C, H, W)`` input.
        inverse: IGDN, for decoders.
    """

    pointwise = True  # see `tiling.reach`
    _PEDESTAL = 2.0**-36
    _BETA_MIN = 1e-6

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        beta, gamma = torch.empty(channels), torch.empty(channels, channels)  # filled in place: see `weightfile.fitted`
        self.beta = nn.Parameter(beta.fill_(math.sqrt(1 + self._PEDESTAL)))
        self.gamma = nn.Parameter(gamma.fill_(self._PEDESTAL**0.5).fill_diagonal_(math.sqrt(0.1 + self._PEDESTAL)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beta = _LowerBound.apply(self.beta, (self._BETA_MIN + self._PEDESTAL) ** 0.5) ** 2 - self._PEDESTAL
        gamma = _LowerBound.apply(self.gamma, self._PEDESTAL**0.5) ** 2 - self._PEDESTAL
        norm = F.conv2d(x * x, gamma[:, :, None, None], beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())

    def extra_repr(self) -> str:
        return f"{self.beta.numel()}, inverse={self.inverse}"
