"""The opponent of a generator: it says patch by patch whether an image is one that was sent or one that was received."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ..models._base import pad_to_multiple

SLOPE = 0.2
PATCH = 16
"""Side of the patch that one logit stands for, in pixels."""


class PatchDiscriminator(nn.Module):
    """f_d of J. Wang et al.: Perceptual learned source-channel coding, GLOBECOM 2022, section III: a conditional PatchGAN.

    ::

        s' --[conv3, LReLU]--[nearest, up to the image's size]--+
        x or x' --------------------------------------------------+--[conv4 s2, LReLU] x 4--[conv1]--> logits

    The convolutions but the last have spectral normalisation (T. Miyato et al., ICLR 2018), which iterates once a forward in
    training mode; the vectors of that are buffers. The sigmoid is left to the loss.

    Args:
        codeword: channels of the received codeword s'.
        stride: pixels of the image per position of the codeword, along a side.
        condition: channels that the codeword is turned into.
        channels: of the four convolutions.
    """

    def __init__(self, codeword: int, stride: int, condition: int = 12, channels: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.stride = stride
        self.condition = nn.Sequential(_normalized(codeword, condition, 3, 1), nn.LeakyReLU(SLOPE))
        layers: list[nn.Module] = []
        width = 3 + condition
        for wide in channels:
            layers += [_normalized(width, wide, 4, 2), nn.LeakyReLU(SLOPE)]
            width = wide
        self.stages = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def forward(self, x: torch.Tensor, codeword: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, ceil(H/16), ceil(W/16))``, positive for a real image.

        Args:
            x: images ``(B, 3, H, W)`` on the scale of [0, 1].
            codeword: ``(B, C, ceil(H/stride), ceil(W/stride))``.
        """
        told = F.interpolate(self.condition(codeword), scale_factor=self.stride, mode="nearest")
        told = told[:, :, : x.shape[-2], : x.shape[-1]]
        both = torch.cat([(2 * x - 1).to(told.dtype), told], dim=1)  # under autocast: the type that the convolutions work in
        return self.stages(pad_to_multiple(both, PATCH))[:, 0]


def _normalized(width: int, channels: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(width, channels, kernel, stride=stride, padding=1))
