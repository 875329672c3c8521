"""Images beside one another, with captions: for looking at, not for measuring."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..classes import voc_palette
from ..errors import UsageError
from .images import to_pil, to_uint8


def side_by_side(
    pictures: Sequence[tuple[str, torch.Tensor]], columns: int | None = None, beside: Sequence[str] | None = None
) -> Image.Image:
    """Images in rows, each over its caption, e.g. ``sent | received``. Between rows is more room than above a caption.

    Images under 128 pixels are shown enlarged by a whole factor (each pixel a square), those over 2048 reduced to 2048
    (long side of the largest image, one factor for all): made for looking at, not for measuring.

    Args:
        pictures: caption and ``(3, H, W)`` pixels each, float in [0, 1] or uint8; sizes may differ. A line that is wider than
            its image is broken; nothing is cut.
        columns: images in a row; None: all of them.
        beside: a text for each row, to the left of it.
    """
    if not pictures:
        raise UsageError("no pictures to show", "give at least one")
    scale = _viewing_scale(max(max(pixels.shape[-2:]) for _, pixels in pictures))
    images = [_scaled(to_pil(pixels), scale) for _, pixels in pictures]
    font, captions = _fitted([caption for caption, _ in pictures], images)
    gap = max(4, round(_box("x", font)[1] / 2))
    across = min(columns or len(images), len(images))
    boxes = [_box(caption, font) for caption in captions]
    cells = [max(image.width, wide) for image, (wide, _) in zip(images, boxes, strict=True)]
    widths = [max(cells[column::across]) for column in range(across)]
    down = [image.height + (gap + high if high else 0) for image, (_, high) in zip(images, boxes, strict=True)]
    named = [_box(text, font) for text in beside or ()]
    starts = range(0, len(images), across)
    heights = [max(down[start : start + across]) for start in starts]
    heights = [max(sizes) for sizes in zip(heights, (high for _, high in named), strict=True)] if named else heights
    margin = gap + max((wide + 2 * gap for wide, _ in named), default=0)
    between = 4 * gap if any(captions) else gap
    size = (margin + sum(widths) + gap * across, sum(heights) + between * (len(heights) - 1) + 2 * gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, start in enumerate(starts):
        above = gap + sum(heights[:row]) + between * row
        if named:
            tallest = max(image.height for image in images[start : start + across])
            middle = above + max(0, (tallest - named[row][1]) // 2)
            draw.multiline_text((gap, middle), (beside or ())[row], fill="black", font=font)
        for column, number in enumerate(range(start, min(start + across, len(images)))):
            left, image = margin + sum(widths[:column]) + gap * column, images[number]
            sheet.paste(image, (left, above))
            draw.multiline_text((left, above + image.height + gap), captions[number], fill="black", font=font)
    return sheet


HEAT = np.array([(0, 32, 77), (124, 123, 120), (255, 234, 70)], dtype=np.float64)
"""Dark blue over grey to yellow: told apart by readers with any colour vision, and ever lighter in grey print."""


def heat(values: torch.Tensor) -> torch.Tensor:
    """A map ``(H, W)`` of numbers from 0 (dark blue) to 1 (yellow) as an image uint8 ``(3, H, W)``."""
    places = values.detach().cpu().double().clamp(0, 1).numpy()
    stops = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(places, stops, HEAT[:, channel]) for channel in range(3)]
    return torch.from_numpy(np.rint(np.stack(channels)).astype(np.uint8))


OVERLAY = 0.6
"""Share of the classes' colours in an overlay; the rest is the image."""


def overlay(pixels: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """An image ``(3, H, W)`` with its segments (class numbers, uint8 ``(H, W)``) in VOC's colours and white edges between them;
    class 0, the background, keeps the image, in grey. uint8."""
    shown = to_uint8(pixels).double()
    colours = torch.tensor(voc_palette(), dtype=torch.float64)[numbers.long()].permute(2, 0, 1)
    grey = shown.mean(0, keepdim=True)
    mixed = torch.where(numbers == 0, 0.5 * grey + 64, (1 - OVERLAY) * grey + OVERLAY * colours)
    edge = torch.zeros_like(numbers, dtype=torch.bool)
    edge[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    edge[1:] |= numbers[1:] != numbers[:-1]
    return mixed.masked_fill(edge, 255.0).round().to(torch.uint8)


def with_legend(sheet: Image.Image, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """A sheet with rows of names and their colours under it."""
    if not entries:
        return sheet
    font = _font(max(12, min(20, sheet.width // 48)))
    line = max(_box(name, font)[1] for name, _ in entries) + 8
    places, left, row = [], 0, 0
    for name, _ in entries:
        wide = 2 * line + _box(name, font)[0]
        if left and left + wide > sheet.width:
            left, row = 0, row + 1
        places.append((left, sheet.height + 8 + row * line))
        left += wide
    width = max(sheet.width, *(2 * line + _box(name, font)[0] for name, _ in entries))
    whole = Image.new("RGB", (width, sheet.height + 8 + (row + 1) * line), "white")
    whole.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(whole)
    for (name, colour), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 2, x + line - 6, y + line - 4), fill=colour, outline="black")
        draw.text((x + line, y), name, fill="black", font=font)
    return whole


def stamped(pixels: torch.Tensor, text: str) -> torch.Tensor:
    """An image ``(3, H, W)`` with a text across its middle, as large as fits; uint8."""
    image = to_pil(pixels)
    draw = ImageDraw.Draw(image)
    for size in range(max(8, image.width // 6), 5, -1):
        font = _font(size)
        if draw.textlength(text, font=font) <= 0.9 * image.width:
            break
    draw.text((image.width / 2, image.height / 2), text, fill="white", font=font, anchor="mm")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _viewing_scale(longest: int) -> float:
    if longest < 128:
        return -(-128 // max(1, longest))
    return min(1.0, 2048 / longest)


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if scale > 1:
        return image.resize(size, Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def _box(text: str, font: Font) -> tuple[int, int]:
    """(width, height) of a text; (0, 0) of none."""
    if not text:
        return 0, 0
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    return math.ceil(box[2]) + 1, math.ceil(box[3]) + 1


def _fitted(captions: Sequence[str], images: Sequence[Image.Image]) -> tuple[Font, list[str]]:
    """The largest font, 12 pixels at least, with which every word fits its image; the captions in lines that do."""
    for size in range(max(14, round(max(max(image.size) for image in images) / 32)), 11, -1):
        font = _font(size)
        lines = [_in_lines(caption, image.width, font) for caption, image in zip(captions, images, strict=True)]
        if all(_box(text, font)[0] <= image.width for text, image in zip(lines, images, strict=True)):
            break
    return font, lines


def _in_lines(text: str, width: int, font: Font) -> str:
    """A text, its lines broken at spaces where they are wider."""
    lines: list[str] = []
    for line in text.split("\n"):
        words = line.split(" ")
        lines.append(words[0])
        for word in words[1:]:
            if _box(f"{lines[-1]} {word}", font)[0] <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return "\n".join(lines)


def _font(size: int) -> Font:
    try:
        return ImageFont.load_default(size)
    except ImportError:  # a Pillow without FreeType has one small font
        return ImageFont.load_default()
