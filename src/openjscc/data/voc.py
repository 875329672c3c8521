"""Folders laid out as PASCAL VOC: which images and masks a split has."""

from __future__ import annotations

from pathlib import Path

from ..errors import IntegrityError

PICTURES, MASKS = "JPEGImages", "SegmentationClass"
LISTS = {"train": "train.txt", "test": "val.txt"}
"""The list of each split: VOC's own test masks are not public, so its validation set is what is tested on."""


def is_voc(folder: Path) -> bool:
    """Whether a folder has VOC's images and masks, so that it is more than a folder of images."""
    return (folder / PICTURES).is_dir() and (folder / MASKS).is_dir()


def listed(folder: Path, split: str) -> tuple[list[Path], list[Path]] | None:
    """Images, and where their masks should be, in the order of the split's list; None where there is no list, or no image.

    Raises:
        IntegrityError: a list that cannot be read, or with images that are not there.
    """
    for listing in (folder / "ImageSets" / "Segmentation" / LISTS[split], folder / "ImageSets" / LISTS[split]):
        if not (listing.is_file() and (folder / PICTURES).is_dir()):
            continue
        try:
            names = listing.read_text(encoding="utf-8-sig").split()
        except (OSError, UnicodeDecodeError):
            raise IntegrityError(f"{listing} cannot be read", "it has one name a line: unpack the data set again") from None
        pictures = [folder / PICTURES / f"{name}.jpg" for name in names]
        gone = [path for path in pictures if not path.is_file()]
        if gone:
            message = f"{len(gone)} pictures named in {listing} are missing, the first is {gone[0].name}"
            raise IntegrityError(message, "unpack the data set again")
        return pictures, [folder / MASKS / f"{name}.png" for name in names]
    return None
