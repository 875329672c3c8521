"""Crops of received pictures side by side: a row per condition, a column per system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from ..data.images import read_image
from ..data.sheets import side_by_side, stamped
from ..errors import UsageError, unknown_name
from ..units import parse_numbers
from .layout import in_words
from .pictures import KeptPicture, read_kept
from .selection import Value, in_order, matching

CONDITIONS = ("channel", "snr_db", "ratio", "told_snr_db")

SMALLEST_STAMPED = 96
"""A smaller crop is enlarged, letters in it too: the caption says that the picture was lost."""

Crop = tuple[int, int, int, int]


def parse_crop(text: str) -> Crop:
    """``X,Y,W,H`` in pixels from the upper left corner."""
    values = parse_numbers(text, "crop")
    if len(values) != 4 or any(value != int(value) or value < 0 for value in values) or not all(values[2:]):
        raise UsageError(f"crop {text!r}", "write X,Y,W,H in whole pixels, e.g. 100,50,128,128")
    x, y, width, height = (int(value) for value in values)
    return x, y, width, height


def strip(
    folder: Path,
    picture: str,
    crop: Crop | None = None,
    *,
    systems: Sequence[str] | None = None,
    where: Mapping[str, Sequence[Value]] | None = None,
    source: Path | None = None,
    names: Mapping[str, str] | None = None,
) -> Image.Image:
    """Received versions of one picture, each under its system and PSNR.

    Args:
        folder: with the index of kept pictures.
        picture: which one; the suffix may be left out.
        crop: what part is shown; None: all.
        systems: which, in this order; None: all.
        where: conditions on channel, snr_db, ratio and told_snr_db.
        source: file of the sent picture, shown first.
        names: of systems, for the captions.

    Raises:
        UsageError: unknown picture or system, conditions that nothing meets, a crop outside the picture.
        MissingError: no pictures were kept. IntegrityError: a damaged file.
    """
    everything = read_kept(folder)
    kept = [item for item in everything if picture in (item.picture, Path(item.picture).stem)]
    if not kept:
        raise unknown_name("picture", picture, {item.picture for item in everything})
    for column, values in (where or {}).items():
        if column not in CONDITIONS:
            raise unknown_name("condition", column, CONDITIONS)
        kept = matching(kept, column, values, "kept picture")
    known = list(dict.fromkeys(item.system for item in kept))
    for system in systems or ():
        if system not in known:
            raise unknown_name("system", system, known)
    shown_systems = list(systems or known)
    rows: dict[tuple, dict[str, KeptPicture]] = {}
    for item in kept:
        row = rows.setdefault(tuple(getattr(item, name) for name in CONDITIONS), {})
        if item.system in row:
            hint = f"files: {row[item.system].file}, {item.file}"
            raise UsageError(f"{item.system} has several pictures {picture!r} at one condition", hint)
        row[item.system] = item
    orders = {name: in_order(getattr(item, name) for item in kept) for name in CONDITIONS}
    varying = [name for name, values in orders.items() if len(values) > 1]
    cells: list[tuple[str, torch.Tensor]] = []
    original = None if source is None else _cropped(source, crop)
    for place in sorted(rows, key=lambda key: [orders[name].index(value) for name, value in zip(CONDITIONS, key, strict=True)]):
        words = [in_words(name, value) for name, value in zip(CONDITIONS, place, strict=True) if name in varying]
        condition = "".join(f"\n{word}" for word in [", ".join(word for word in words if word)] if word)
        if original is not None:
            cells.append(("sent", original))
        for system in shown_systems:
            item, label = rows[place].get(system), (names or {}).get(system, system)
            if item is None:
                cells.append((f"{label}{condition}\nnot kept", torch.full((3, 1, 1), 255, dtype=torch.uint8)))
                continue
            pixels = _cropped(folder / item.file, crop)
            large = min(pixels.shape[1:]) >= SMALLEST_STAMPED
            cells.append((f"{label}{condition}\n{_value(item)}", pixels if item.ok or not large else stamped(pixels, "lost")))
    return side_by_side(cells, columns=len(shown_systems) + (original is not None))


def _value(item: KeptPicture) -> str:
    if not item.ok:
        return "lost"
    return "identical" if item.psnr is None else f"PSNR {item.psnr:.2f} dB"


def _cropped(path: Path, crop: Crop | None) -> torch.Tensor:
    pixels = read_image(path).pixels
    if crop is None:
        return pixels
    x, y, width, height = crop
    if x + width > pixels.shape[2] or y + height > pixels.shape[1]:
        size = f"{pixels.shape[2]}x{pixels.shape[1]}"
        raise UsageError(f"crop {x},{y},{width},{height} reaches beyond the {size} picture", f"stay within {size}")
    return pixels[:, y : y + height, x : x + width]
