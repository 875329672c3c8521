"""Large images: a stage of convolutions goes over a map tile by tile, with the same result as in one piece.

A stage is local, so a tile with a margin as wide as the stage's reach gives exactly the pixels of the whole; what looks
at the whole image (pooling, power) stays outside the stages. Zero padding happens at the image's border only,
because a tile with its margin ends there or is cut back.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import nn

from .blocks import Residual

WHOLE = 2_000_000
"""An image of up to so many pixels goes through in one piece."""
TILE = 1024
"""Side of a tile, in pixels of the image."""

_POINTWISE = (nn.BatchNorm2d, nn.PReLU, nn.ReLU, nn.Sigmoid, nn.Identity)


def reach(stage: nn.Module) -> tuple[int, Fraction, int]:
    """How far a stage looks: margin in input positions, output positions per input position, and the input alignment.

    A layer of our own whose output depends on the same position alone says so by an attribute ``pointwise``.

    Raises:
        TypeError: for a layer whose reach is not known.
    """
    margin, step, coarsest = Fraction(0), Fraction(1), Fraction(1)

    def visit(layer: nn.Module) -> None:
        nonlocal margin, step, coarsest
        if isinstance(layer, nn.Conv2d):
            margin += layer.kernel_size[0] // 2 * step
            step *= layer.stride[0]
        elif isinstance(layer, nn.ConvTranspose2d):
            margin += math.ceil(layer.kernel_size[0] / layer.stride[0]) * step
            step /= layer.stride[0]
        elif isinstance(layer, nn.PixelShuffle):
            step /= layer.upscale_factor
        elif isinstance(layer, (nn.Sequential, Residual)):
            for child in layer.children():
                visit(child)
        elif not isinstance(layer, _POINTWISE) and not getattr(layer, "pointwise", False):
            raise TypeError(f"reach of {type(layer).__name__} is not known: see openjscc.models.layers.tiling.reach")
        coarsest = max(coarsest, step)

    visit(stage)
    alignment = math.ceil(coarsest)
    return math.ceil(margin / alignment) * alignment, 1 / step, alignment


def run_in_tiles(
    stage: nn.Module, x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None, tile: int
) -> torch.Tensor:
    """``stage(x * scale + shift)`` with memory for one tile at a time.

    Args:
        stage: local layers (see `reach`).
        x: ``(B, C, H, W)``, H and W multiples of the stage's stride.
        scale: ``(B, C, 1, 1)`` or None.
        shift: ``(B, C, 1, 1)`` or None.
        tile: side of a tile, in positions of the stage's input.
    """
    margin, factor, alignment = reach(stage)
    tile = max(tile // alignment, 1) * alignment
    height, width = x.shape[-2:]
    result = x.new_empty(0)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            outer = (max(top - margin, 0), max(left - margin, 0))
            piece = x[:, :, outer[0] : min(bottom + margin, height), outer[1] : min(right + margin, width)]
            piece = piece if scale is None else piece * scale
            out = stage(piece if shift is None else piece + shift)
            if not result.numel():
                result = out.new_empty(x.shape[0], out.shape[1], int(height * factor), int(width * factor))
            rows = (int(top * factor), int(bottom * factor))
            columns = (int(left * factor), int(right * factor))
            start = (int(outer[0] * factor), int(outer[1] * factor))
            result[:, :, rows[0] : rows[1], columns[0] : columns[1]] = out[
                :, :, rows[0] - start[0] : rows[1] - start[0], columns[0] - start[1] : columns[1] - start[1]
            ]
    return result
