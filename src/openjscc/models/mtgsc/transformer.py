"""Parts of diffusion transformers (DiT): blocks whose normalisation is told the time, attention over a whole grid or in windows.

W. Peebles, S. Xie: Scalable diffusion models with transformers, ICCV 2023. Grids are ``(B, H, W, C)`` here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..layers.swin import WindowAttention, cover, join, partition, window_mask


def sinusoids(values: torch.Tensor, channels: int, highest: float = 1.0, lowest: float = 1e-4) -> torch.Tensor:
    """Cosines and sines of values ``(...)`` at ``channels / 2`` angular frequencies from ``highest`` to ``lowest``:
    ``(..., channels)``."""
    half = channels // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float32) / max(half - 1, 1)
    angles = values.float()[..., None] * highest * (lowest / highest) ** steps
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def grid_positions(height: int, width: int, channels: int, device: torch.device) -> torch.Tensor:
    """Fixed position embedding of a grid, ``(H, W, channels)``: half the channels for the row, half for the column."""
    rows = sinusoids(torch.arange(height, device=device), channels // 2)
    columns = sinusoids(torch.arange(width, device=device), channels // 2)
    return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)


class TimeEmbedding(nn.Module):
    """Time ``(B,)`` in [0, 1] and conditions ``(B, K)`` to a vector ``(B, channels)``."""

    FREQUENCIES = 64

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(self.FREQUENCIES, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.conditions = nn.Linear(conditions, channels)

    def forward(self, time: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        waves = sinusoids(time, self.FREQUENCIES, 1000.0, 0.1)
        weight = self.conditions.weight
        return self.time(waves.to(weight.dtype)) + self.conditions(conditions.to(weight.dtype))


class GridAttention(nn.Module):
    """Multi-head self-attention of all positions of a grid.

    Shapes: ``(B, H, W, C)`` -> the same.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor, shifted: bool) -> torch.Tensor:
        q, k, v = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).view_as(x)


class WindowedAttention(WindowAttention):
    """`WindowAttention` on a grid, within windows of ``window`` x ``window`` positions."""

    def forward(self, x: torch.Tensor, shifted: bool) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, columns = (cover(side, self.window, shifted) for side in x.shape[1:3])
        mask = window_mask(rows, columns, 0, rows.count, x.device)
        windows = super().forward(partition(x, rows, columns), (rows.window, columns.window), mask)
        return join(windows, rows, columns)


class DiTBlock(nn.Module):
    """Attention and MLP, each after a layer normalisation whose scale and shift, and before a gate that, come from outside.

    Args:
        channels: C.
        heads: of the attention.
        span: positions along the side of an attention window; 0: attention over the whole grid.
        shifted: windows begin half a window further down and to the right.
        expansion: hidden width of the MLP, over C.

    Shapes: x ``(B, H, W, C)``, modulation ``(B, 6, C)`` -> ``(B, H, W, C)``.
    """

    def __init__(self, channels: int, heads: int, span: int, shifted: bool, expansion: int) -> None:
        super().__init__()
        self.shifted = shifted
        self.attention = WindowedAttention(channels, heads, span) if span else GridAttention(channels, heads)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(approximate="tanh"), nn.Linear(expansion * channels, channels)
        )

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        shift, scale, gate, shift2, scale2, gate2 = modulation[:, :, None, None].unbind(1)
        x = x + gate * self.attention(modulated(x, shift, scale), self.shifted)
        return x + gate2 * self.mlp(modulated(x, shift2, scale2))


def modulated(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Layer normalisation of ``(..., C)`` without parameters of its own, then ``* (1 + scale) + shift``."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class DiT(nn.Module):
    """Blocks one after another; what each is told starts at zero, so that at first they change nothing.

    Args:
        channels: C.
        depth: number of blocks.
        heads: of the attention.
        span: positions along the side of an attention window, every second block's shifted; 0: attention over the whole grid,
            and fixed positions are added to its input.
        expansion: hidden width of the MLPs, over C.
        conditions: number of values that it is told beside the time.
        shared: one layer makes the modulation of all blocks, each of which adds a learned offset (J. Chen et al.: PixArt-alpha,
            ICLR 2024); else each has its own layer, as in the paper.

    Shapes: x ``(B, H, W, C)``, time ``(B,)``, conditions ``(B, K)`` -> ``(B, H, W, C)``, the last normalisation included.
    """

    def __init__(
        self, channels: int, depth: int, heads: int, span: int, expansion: int, conditions: int, shared: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.span = span
        self.embedding = TimeEmbedding(channels, conditions)
        self.blocks = nn.ModuleList(DiTBlock(channels, heads, span, bool(i % 2), expansion) for i in range(depth))
        self.modulations = nn.ModuleList(nn.Linear(channels, 6 * channels) for _ in range(1 if shared else depth))
        self.offsets = nn.Parameter(torch.zeros(depth, 6, channels)) if shared else None
        self.last = nn.Linear(channels, 2 * channels)
        for layer in (*self.modulations, self.last):
            nn.init.zeros_(layer.weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: torch.Tensor, time: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        told = F.silu(self.embedding(time, conditions))
        if not self.span:
            x = x + grid_positions(*x.shape[1:], x.device).to(x.dtype)  # pyright: ignore[reportCallIssue]
        for number, block in enumerate(self.blocks):
            modulation = self.modulations[number if self.offsets is None else 0](told).unflatten(1, (6, -1))
            modulation = modulation if self.offsets is None else modulation + self.offsets[number]
            x = block(x, modulation.to(x.dtype))
        shift, scale = self.last(told).unflatten(1, (2, -1))[:, :, None, None].to(x.dtype).unbind(1)
        return modulated(x, shift, scale)
