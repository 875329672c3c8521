"""A small data set in VOC's layout, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from openjscc.classes import VOID, voc_palette


def save_mask(path: Path, numbers: np.ndarray, mode: str = "P") -> None:
    """Class numbers ``(H, W)`` as a palette PNG with VOC's colours."""
    image = Image.fromarray(numbers.astype(np.uint8), "L")
    if mode == "P":
        image = Image.fromarray(numbers.astype(np.uint8), "P")
        image.putpalette([value for colour in voc_palette() for value in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert(mode).save(path)


def voc_folder(
    folder: Path, names: tuple[str, ...] = ("a", "b", "c"), size: tuple[int, int] = (16, 24), lists: str = "ImageSets"
) -> dict[str, np.ndarray]:
    """Pictures whose left part is dark and background, whose right part is bright and a person, with a void column between.

    All of them are in train.txt and val.txt. Returns the masks by name.
    """
    rng = np.random.default_rng(0)
    masks = {}
    for number, name in enumerate(names):
        edge = size[1] // 2 + number
        mask = np.zeros(size, np.uint8)
        mask[:, edge:] = 15
        mask[:, edge] = VOID
        values = np.where(mask[..., None] == 15, 220, 40) + rng.integers(-15, 15, (*size, 3))
        (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        save_mask(folder / "SegmentationClass" / f"{name}.png", mask)
        masks[name] = mask
    (folder / lists).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        (folder / lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return masks
