"""Changes to training pictures that leave their class as it is, drawn per sample (see `openjscc.training.draws`)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .draws import uniforms

STREAM_AUGMENT = 7


def shifted_mirrored_cut(x: torch.Tensor, index: torch.Tensor, seed: int, *, shift: int, flip: bool, cut: int) -> torch.Tensor:
    """Pictures moved by a few pixels, half of them mirrored, with a hole.

    Args:
        x: ``(B, C, H, W)``, values that 0.5 is the middle of.
        index: int64 ``(B,)``, global sample index of each.
        seed: of the run.
        shift: moved by up to so many pixels each way; the border is mirrored in.
        flip: mirror half of them.
        cut: side of a square hole of the constant 0.5, whose middle lies anywhere in the picture; 0: none.

    Returns:
        As ``x``.
    """
    batch, _, height, width = x.shape
    draws = uniforms(seed, STREAM_AUGMENT, index.to(x.device), 5)
    rows = torch.arange(height, device=x.device).expand(batch, height)
    columns = torch.arange(width, device=x.device).expand(batch, width)
    mirrored = (draws[:, 2] < 0.5) & flip
    turned = torch.where(mirrored[:, None], columns.flip(1), columns)
    if shift:
        x = F.pad(x, (shift,) * 4, mode="reflect")
    down, right = ((draws[:, place] * (2 * shift + 1)).long() for place in (0, 1))
    which = torch.arange(batch, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[which, (rows + down[:, None])[:, :, None], (turned + right[:, None])[:, None, :]]
    if cut:
        hole = _span(rows, draws[:, 3], height, cut)[:, :, None] & _span(columns, draws[:, 4], width, cut)[:, None, :]
        moved = torch.where(hole[..., None], 0.5, moved)
    return moved.permute(0, 3, 1, 2)


def _span(places: torch.Tensor, draw: torch.Tensor, size: int, length: int) -> torch.Tensor:
    """Which places lie in an interval of that length around one of them, bool ``(B, size)``."""
    start = (draw * size).long() - length // 2
    return (places >= start[:, None]) & (places < start[:, None] + length)
