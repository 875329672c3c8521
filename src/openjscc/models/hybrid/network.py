"""The network at the receiver: from base, analog estimate and what is known of its errors to the image."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...units import snr_from_noise_var
from .base import Base
from .residual import BLOCK, COEFFICIENTS, Plan, estimate, inverse

GROUPS = 3
"""Groups of frequencies whose remaining error the network is told, for each of three components."""
PLANES = 3 * GROUPS
"""Maps of expected errors, one value a block."""
TOLD = 2
"""Numbers that are the same everywhere: SNR and QP of the base."""
BLUR = 5
"""Side in pixels of the square whose mean is taken off to see fine structure."""
CLIPS = 3.0, 15.0
"""Fine structure is shown clipped, in units of the expected error."""


class Residual(nn.Module):
    """y + conv3(ReLU(conv3(y))), starting near the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, width, H, W)`` to the same shape."""
        return x + self.second(F.relu(self.first(x)))


class Restorer(nn.Module):
    """A U-Net of two scales that adds a correction to the linear estimate.

    ::

        base, rest --[pixels / 2]--+--[conv3]--[block x n]--+--[/ 2]--[block x m]--[x 2]--+--[block x n]--[conv3]--> correction
        errors, SNR, QP -----------+                        +-----------------------------+

    All that the network sees of rest and fine structure, and its correction, is in units of the expected error (RMS over the
    image). So an image of 25 dB and one of 40 dB look alike to it, and both teach it as much.

    Args:
        width: channels at 1/2 and 1/4 of the image's size.
        blocks: residual blocks before, at and after the lower scale.
    """

    def __init__(self, width: tuple[int, int], blocks: tuple[int, int, int]) -> None:
        super().__init__()
        wide, deep = width
        self.head = nn.Conv2d(5 * 12 + PLANES + TOLD + 1, wide, 3, padding=1)
        self.before = nn.Sequential(*(Residual(wide) for _ in range(blocks[0])))
        self.down = nn.Conv2d(wide, deep, 2, stride=2)
        self.inner = nn.Sequential(*(Residual(deep) for _ in range(blocks[1])))
        self.up = nn.Conv2d(deep, 4 * wide, 1)
        self.after = nn.Sequential(*(Residual(wide) for _ in range(blocks[2])))
        self.tail = nn.Conv2d(wide, 12, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
        nn.init.zeros_(self.tail.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, base: torch.Tensor, estimate: torch.Tensor, errors: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """The image ``(B, 3, H, W)``, not clipped; sides that 16 divides.

        Args:
            base: ``(B, 3, H, W)`` in [0, 1].
            estimate: base plus the linear estimate of the residual, ``(B, 3, H, W)``.
            errors: log2 of the expected error in 1/255, divided by 4, ``(B, PLANES, H/16, W/16)``.
            told: ``(B, TOLD)``: SNR in dB / 10 - 1, QP / 16 - 2.
        """
        height, width = base.shape[2] // 2, base.shape[3] // 2
        octaves = (4 * errors).exp2().square().mean((1, 2, 3), keepdim=True).log2() / 2
        unit = octaves.exp2() / 255
        maps = F.interpolate(4 * errors - octaves, scale_factor=8.0, mode="nearest")
        constant = torch.cat([told, octaves[:, :, 0, 0] / 2 - 1], dim=1)[:, :, None, None].expand(-1, -1, height, width)
        pixels = [2 * base - 1, (estimate - base) / unit / 2]
        for image, clips in (base, CLIPS[:1]), (estimate, CLIPS):
            fine = (image - F.avg_pool2d(F.pad(image, (BLUR // 2,) * 4, mode="replicate"), BLUR, 1)) / unit
            pixels += [2 * torch.tanh(fine / clip) for clip in clips]
        x = self.before(self.head(torch.cat([*(F.pixel_unshuffle(part, 2) for part in pixels), maps, constant], dim=1)))
        x = x + F.pixel_shuffle(self.up(self.inner(self.down(x))), 2)
        return estimate + unit * F.pixel_shuffle(self.tail(self.after(x)), 2)


def network_inputs(base: Base, plan: Plan, received: np.ndarray, noise: np.ndarray) -> tuple[torch.Tensor, ...]:
    """What `Restorer` is given of one image: base, estimate, errors, told; each with a batch of one.

    Args:
        base: the digital layer.
        plan: of the analog layer.
        received: its real symbols ``(M,)``, scaled as the plan says.
        noise: their noise variances ``(M,)``.
    """
    height, width = base.image.shape[:2]
    values, left = estimate(plan, received.astype(np.float32), noise.astype(np.float32))
    rest = inverse(values.reshape(-1, COEFFICIENTS), height, width)
    errors = np.log2(np.sqrt(left.reshape(-1, COEFFICIENTS) @ _group_means()) + 0.1) / 4
    errors = errors.T.reshape(1, PLANES, height // BLOCK, width // BLOCK)
    snr_db = snr_from_noise_var(float(np.mean(noise))) if len(noise) else 10.0
    told = [min(max(snr_db, -5), 30) / 10 - 1, base.qp / 16 - 2]
    image = torch.from_numpy(base.image).permute(2, 0, 1)[None].float() / 255
    analog = torch.from_numpy(np.ascontiguousarray(rest, dtype=np.float32)).permute(2, 0, 1)[None] / 255
    return image, image + analog, torch.from_numpy(errors.astype(np.float32)), torch.tensor([told], dtype=torch.float32)


@lru_cache(maxsize=1)
def _group_means() -> np.ndarray:
    """Means of a block's coefficients over groups of frequencies, ``(COEFFICIENTS, PLANES)``."""
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).ravel()
    group = np.digitize(frequency, (4, 10))
    means = np.zeros((3, BLOCK * BLOCK, 3, GROUPS), dtype=np.float32)
    for component in range(3):
        for number in range(GROUPS):
            means[component, group == number, component, number] = 1 / (group == number).sum()
    return means.reshape(COEFFICIENTS, PLANES)
