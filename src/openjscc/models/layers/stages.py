"""Convolutions one after another, with attention between them: the form of encoders and decoders."""

from __future__ import annotations

import torch
from torch import nn

from . import tiling


class Stages(nn.Module):
    """Layers one after another. A layer with a method ``scale_and_shift`` (`ChannelAttention`) weighs the channels by the
    conditions, and ends a stage.

    A stage is local (convolutions only). What looks at the whole image sits between two stages. So an image that is too large
    for the memory goes through each stage in tiles (`openjscc.models.layers.tiling`), unless gradients are kept.

    Args:
        layers: in their order. ``scale_and_shift(x, conditions)`` gives them, ``(B, C, 1, 1)``, each or None.
        stride: pixels of the image per position of the input, along a side.

    Shapes: x ``(B, C, H, W)``, conditions ``(B, conditions)``.
    """

    def __init__(self, *layers: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        stages: list[list[nn.Module]] = [[]]
        attention: list[nn.Module] = []
        for layer in layers:
            if hasattr(layer, "scale_and_shift"):
                attention.append(layer)
                stages.append([])
            else:
                stages[-1].append(layer)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.attention = nn.ModuleList(attention)

    @property
    def last(self) -> nn.Module:
        """The last layer."""
        return self.stages[-1][-1]  # pyright: ignore[reportIndexIssue, reportReturnType]

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        width = x.shape[-1] * self.stride
        if x.shape[-2] * self.stride * width > tiling.WHOLE and not torch.is_grad_enabled():
            return self._in_tiles(x, conditions, width)
        for index, stage in enumerate(self.stages):
            x = self.attention[index - 1](x, conditions) if index else x
            x = stage(x)
        return x

    def _in_tiles(self, x: torch.Tensor, conditions: torch.Tensor, width: int) -> torch.Tensor:
        for index, stage in enumerate(self.stages):
            between = self.attention[index - 1].scale_and_shift if index else _nothing
            scale, shift = between(x, conditions)  # pyright: ignore[reportCallIssue]
            x = tiling.run_in_tiles(stage, x, scale, shift, tile=tiling.TILE * x.shape[-1] // width)
        return x


def _nothing(x: torch.Tensor, conditions: torch.Tensor) -> tuple[None, None]:
    return None, None
