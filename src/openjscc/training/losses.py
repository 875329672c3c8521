"""What a training step minimises: per-image losses, float32 ``(B,)``, and the table that recipes choose from."""

from __future__ import annotations

from collections.abc import Callable

import torch

LOG_FLOOR = 1e-5
"""Added to the MSE inside the logarithm (50 dB), so that a flat crop does not outweigh the rest of the batch."""


def mean_squared_error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """MSE per image of ``(B, 3, H, W)`` on the scale [0, 1], ``(B,)``."""
    return (x.float() - y.float()).square().flatten(1).mean(1)


def log_mean_squared_error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """ln(MSE + 1e-5) per image, ``(B,)``: its mean is the mean per-image PSNR times -ln(10)/10, but for the floor."""
    return (mean_squared_error(x, y) + LOG_FLOOR).log()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": mean_squared_error,
    "log_mse": log_mean_squared_error,
}
