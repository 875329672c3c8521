"""Changes to training images that leave their class as it is, drawn per sample (see `openjscc.training.draws`)."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from .draws import uniforms

STREAM_AUGMENT, STREAM_JPEG = 7, 14


def shifted_and_cut(x: torch.Tensor, index: torch.Tensor, seed: int, *, shift: int, cut: int) -> torch.Tensor:
    """Images moved by a few pixels, with a hole.

    Args:
        x: ``(B, C, H, W)`` in [0, 1].
        index: int64 ``(B,)``, global sample index of each.
        seed: of the run.
        shift: moved by up to so many pixels each way, fewer than there are; what lies beyond the border is mirrored in.
        cut: side of a square hole of the constant 0.5, whose middle lies anywhere in the image; 0: none.

    Returns:
        As ``x``.
    """
    batch, _, height, width = x.shape
    draws = uniforms(seed, STREAM_AUGMENT, index.to(x.device), 4)
    rows = torch.arange(height, device=x.device).expand(batch, height)
    columns = torch.arange(width, device=x.device).expand(batch, width)
    down, right = ((draws[:, place, None] * (2 * shift + 1)).long() for place in (0, 1))
    which = torch.arange(batch, device=x.device)[:, None, None]
    padded = F.pad(x, (shift,) * 4, mode="reflect").permute(0, 2, 3, 1)
    moved = padded[which, (rows + down)[:, :, None], (columns + right)[:, None, :]]
    hole = _span(rows, draws[:, 2], cut)[:, :, None] & _span(columns, draws[:, 3], cut)[:, None, :]
    return torch.where(hole[..., None], 0.5, moved).permute(0, 3, 1, 2)


def compressed(x: torch.Tensor, index: torch.Tensor, seed: int, *, share: float, quality: tuple[int, int]) -> torch.Tensor:
    """Images of which some have been through JPEG (4:2:0).

    Args:
        x: ``(B, 3, H, W)`` in [0, 1].
        index: int64 ``(B,)``, global sample index of each.
        seed: of the run.
        share: of the images that are compressed.
        quality: lowest and highest, 1 to 95, drawn evenly.

    Returns:
        As ``x``; what was compressed is rounded to 8 bits first.
    """
    draws = uniforms(seed, STREAM_JPEG, index.cpu(), 2)
    pictures = []
    for picture, (chosen, place) in zip(x, draws.tolist(), strict=True):
        if chosen < share:
            buffer = io.BytesIO()
            pixels = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=quality[0] + int(place * (quality[1] - quality[0] + 1)))
            with Image.open(buffer) as file:
                decoded = torch.from_numpy(np.array(file.convert("RGB")))
            picture = decoded.permute(2, 0, 1).to(x) / 255.0
        pictures.append(picture)
    return torch.stack(pictures)


def _span(places: torch.Tensor, draw: torch.Tensor, length: int) -> torch.Tensor:
    """Which places ``(B, size)`` lie in an interval of that length around one of them."""
    start = (draw * places.shape[1]).long()[:, None] - length // 2
    return (places >= start) & (places < start + length)
