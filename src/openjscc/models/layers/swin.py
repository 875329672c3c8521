"""Parts of Swin Transformers: attention within windows, shifted in every other block.

Z. Liu, Y. Lin, Y. Cao, H. Hu, Y. Wei, Z. Zhang, S. Lin, B. Guo: Swin Transformer: hierarchical vision transformer using shifted
windows, ICCV 2021.

Maps are ``(B, H, W, C)`` here, any H and W from 1 up. Windows of `window` x `window` positions begin at the top left corner, in
a shifted block half a window further down and to the right; what is left over at the borders makes smaller windows. The padding
that makes all of them equally large in memory is never attended to, nor is what lies in one window in memory only.

Nothing crosses a window within a block, so without gradients a large map goes through a block a few rows of windows at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F

AT_ONCE = 512
"""So many windows are in work together where no gradient is kept."""


@dataclass(frozen=True)
class Windows:
    """How windows cover one side of a map.

    Attributes:
        size: positions along the side.
        window: positions of a whole window.
        shift: the first whole window begins here; 0, or the window before it is that small.
    """

    size: int
    window: int
    shift: int

    @property
    def count(self) -> int:
        """How many windows there are in memory, all of them whole; the two remainders of a shifted side may share one."""
        return math.ceil(self.size / self.window)

    @property
    def padding(self) -> int:
        """Positions that are added to the side."""
        return self.count * self.window - self.size

    @property
    def plain(self) -> bool:
        """Whether all windows are whole."""
        return not self.shift and not self.padding

    def owners(self, device: torch.device) -> torch.Tensor:
        """Which window each position in memory belongs to, ``(count, window)``; -1 is padding."""
        position = (torch.arange(self.count * self.window, device=device) + self.shift) % (self.count * self.window)
        owner = torch.div(position - self.shift, self.window, rounding_mode="floor") + 1
        return torch.where(position < self.size, owner, -1).view(self.count, self.window)


def cover(size: int, window: int, shifted: bool) -> Windows:
    """The windows of a side. One that is not longer than a window is one window, and not shifted."""
    return Windows(size, window, window // 2 if shifted else 0) if size > window else Windows(size, size, 0)


def partition(x: torch.Tensor, rows: Windows, columns: Windows) -> torch.Tensor:
    """Map ``(B, H, W, C)`` to windows ``(B, rows.count * columns.count, rows.window * columns.window, C)``."""
    if rows.padding or columns.padding:
        x = F.pad(x, (0, 0, 0, columns.padding, 0, rows.padding))
    if rows.shift or columns.shift:
        x = x.roll((-rows.shift, -columns.shift), (1, 2))
    x = x.unflatten(2, (columns.count, columns.window)).unflatten(1, (rows.count, rows.window))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join(windows: torch.Tensor, rows: Windows, columns: Windows) -> torch.Tensor:
    """The way back from `partition`."""
    x = windows.unflatten(2, (rows.window, columns.window)).unflatten(1, (rows.count, columns.count))
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if rows.shift or columns.shift:
        x = x.roll((rows.shift, columns.shift), (1, 2))
    return x[:, : rows.size, : columns.size]


@lru_cache(maxsize=32)
def window_mask(rows: Windows, columns: Windows, first: int, last: int, device: torch.device) -> torch.Tensor | None:
    """Who may attend to whom in the windows of the rows ``first`` to ``last`` (excluded): bool ``(windows, N, N)``, N positions
    a window. None: all to all."""
    if rows.plain and columns.plain:
        return None
    with torch.inference_mode(False):  # it is kept, and may be needed for a gradient the next time
        down, across = rows.owners(device)[first:last], columns.owners(device)
        same_row = (down[:, :, None] == down[:, None, :])[:, None, :, None, :, None]
        same_column = (across[:, :, None] == across[:, None, :])[None, :, None, :, None, :]
        return (same_row & same_column).flatten(4, 5).flatten(2, 3).flatten(0, 1)


@lru_cache(maxsize=32)
def relative_positions(window: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Row of the bias table for each pair of positions in a window of ``height`` x ``width``, int64 ``(N, N)``."""
    with torch.inference_mode(False):
        down, across = torch.arange(height, device=device), torch.arange(width, device=device)
        rows = (down[:, None] - down + window - 1)[:, None, :, None]
        columns = (across[:, None] - across + window - 1)[None, :, None, :]
        return (rows * (2 * window - 1) + columns).flatten(2, 3).flatten(0, 1)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, each ``(B, M, heads, N, d)``; bias ``(heads, N, N)`` or ``(M, heads, N, N)``.

    On a CPU the fused attention has no gradient for the bias; what PyTorch falls back to takes three times as long as the
    products written out.
    """
    bias = bias.to(q.dtype)
    if torch.is_grad_enabled() and q.device.type == "cpu":
        return torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2) + bias, dim=-1) @ v
    shape, whole = q.shape, bias.ndim == 3
    q, k, v = (part.flatten(0, 1) if whole else part.flatten(1, 2) for part in (q, k, v))
    bias = bias[None] if whole else bias.flatten(0, 1)[None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).reshape(shape)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each relative position.

    Args:
        channels: C, a multiple of ``heads``.
        heads: how many there are.
        window: positions along a window's side, at most.

    Shapes: x ``(B, M, N, C)``, M windows of ``size = (h, w)``, N = h*w; mask as `window_mask` gives it -> ``(B, M, N, C)``.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(_fill(torch.empty((2 * window - 1) ** 2, heads)))

    def forward(self, x: torch.Tensor, size: tuple[int, int], mask: torch.Tensor | None) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind(0)
        bias = self.bias[relative_positions(self.window, *size, x.device)].permute(2, 0, 1)
        if mask is not None:
            bias = torch.where(mask[:, None], bias, -math.inf)
        return self.out(attend(q, k, v, bias).transpose(2, 3).flatten(3))


class SwinBlock(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)) with one hidden layer and GELU.

    Args:
        channels: C.
        heads: of the attention.
        window: positions along a window's side.
        shifted: windows begin half a window further down and to the right.
        expansion: hidden width of the MLP, over C.

    Shapes: ``(B, H, W, C)`` -> the same.
    """

    def __init__(self, channels: int, heads: int, window: int, shifted: bool, expansion: int = 4) -> None:
        super().__init__()
        self.window, self.shifted = window, shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (cover(side, self.window, self.shifted) for side in x.shape[1:3])
        windows = partition(x, rows, columns)
        step = max(AT_ONCE // (len(x) * columns.count), 1)
        if torch.is_grad_enabled() or step >= rows.count:
            return join(self._inside(windows, rows, columns, 0, rows.count), rows, columns)
        result = torch.empty_like(windows)
        for first in range(0, rows.count, step):
            last = min(first + step, rows.count)
            part = slice(first * columns.count, last * columns.count)
            result[:, part] = self._inside(windows[:, part], rows, columns, first, last)
        del windows
        return join(result, rows, columns)

    def _inside(self, x: torch.Tensor, rows: Windows, columns: Windows, first: int, last: int) -> torch.Tensor:
        """The block on some rows of windows."""
        mask = window_mask(rows, columns, first, last, x.device)
        x = x + self.attention(self.norm1(x), (rows.window, columns.window), mask)
        return x + self.mlp(self.norm2(x))


class SwinStage(nn.Sequential):
    """``depth`` blocks (`SwinBlock`) one after another, every second one shifted: ``(B, H, W, C)`` -> the same."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, expansion: int = 4) -> None:
        super().__init__(*(SwinBlock(channels, heads, window, bool(i % 2), expansion) for i in range(depth)))


class PatchEmbedding(nn.Module):
    """Image ``(B, in_channels, H, W)`` to one vector for every ``patch`` x ``patch`` pixels, ``(B, H/patch, W/patch, C)``. A
    remainder of the image is left out: pad it before."""

    def __init__(self, in_channels: int, channels: int, patch: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, patch, stride=patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projection(x).movedim(1, -1)


class PatchMerging(nn.Module):
    """Four neighbours become one: ``(B, H, W, C)`` -> ``(B, ceil(H/2), ceil(W/2), out)``, by LN and a linear layer. Odd sides are
    padded by zeros."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, out, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
        return self.reduction(self.norm(x))


def start(module: nn.Module) -> None:
    """Linear layers as Swin Transformers start: normal weights of standard deviation 0.02, no bias. Goes to `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        _fill(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _fill(weight: torch.Tensor) -> torch.Tensor:
    """With normal values of standard deviation 0.02; on the meta device, where that would load torch's compiler, nothing."""
    return weight if weight.is_meta else nn.init.normal_(weight, std=0.02)
