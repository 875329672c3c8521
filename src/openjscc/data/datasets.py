"""Data sets of images, read from where the user keeps them.

A data set is a name of `DATASETS`, a folder of images, or an npz file. Named ones are looked for in ``--data-dir``, else in
the folder that the environment variable ``OPENJSCC_DATA`` names, in the layouts they are published in.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..errors import IntegrityError, MissingError, UsageError, unknown_name
from .cifar import ARCHIVE_FOLDER, CLASSES, read_npz, read_python_archive
from .decoding import is_image
from .images import middle
from .pictures import PictureDataset
from .voc import LISTS, PICTURES, is_voc, listed

SPLITS = ("train", "test")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
)
"""Files that a folder of images is made of: those of all formats that `read_image` reads."""
_UNREAD = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".exr")
"""Images that a system may have no MIME type of."""
_NAMED = 5
"""So many of the files that are left out are named."""

ENVIRONMENT = "OPENJSCC_DATA"


@dataclass(frozen=True)
class DatasetInfo:
    """One line of the table.

    Attributes:
        name: as users write it.
        description: what it is.
        terms: under which it may be used.
        layouts: where it is looked for, relative to the data folder.
        source: where to get it.
        splits: what it has.
    """

    name: str
    description: str
    terms: str
    layouts: str
    source: str
    splits: tuple[str, ...]


DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            "kodak",
            "the 24 lossless Kodak photographs, 768x512 and 512x768; for testing only",
            "released by Kodak for unrestricted use",
            "kodak/kodim01.png ... kodim24.png, or a data folder that holds these",
            "https://r0k.us/graphics/kodak/",
            ("test",),
        ),
        DatasetInfo(
            "div2k",
            "DIV2K photographs (2K): the 100 of its validation set for testing, the 800 of its training set for training",
            "academic research only",
            "div2k/valid_crops256/*.png (256x256 centre crops), DIV2K_valid_HR/*.png, DIV2K_train_HR/*.png",
            "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
            ("train", "test"),
        ),
        DatasetInfo(
            "div2k-224",
            "the middle 224x224 pixels of each of DIV2K's 100 validation photographs",
            "academic research only",
            "for div2k (div2k-224 is cut from its pictures)",
            "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
            ("test",),
        ),
        DatasetInfo(
            "cifar10",
            "CIFAR-10: 50,000 training and 10,000 test pictures of 32x32, ten classes",
            "research",
            "cifar10/cifar10.npz, cifar-10-batches-py/, cifar-10-python.tar.gz, cifar10/cifar10_mini.npz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            ("train", "test"),
        ),
        DatasetInfo(
            "voc",
            "PASCAL VOC 2012, the photographs of its segmentation task: train for training, val for testing",
            "Flickr terms, research",
            "voc/ or VOCdevkit/VOC2012/ with JPEGImages/ and ImageSets/Segmentation/ (or ImageSets/) train.txt, val.txt",
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
            ("train", "test"),
        ),
        DatasetInfo(
            "voc-224",
            "the middle square of each of VOC's photographs and masks, scaled to 224x224 pixels",
            "Flickr terms, research",
            "for voc (voc-224 is made from its pictures)",
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
            ("train", "test"),
        ),
        DatasetInfo(
            "photos",
            "training photographs of your choice; the released weights used 1,311 of ImageNet, BSDS and free wallpapers",
            "those of the photographs",
            "photos/ with pictures at any depth",
            "any collection of photographs, e.g. DIV2K_train_HR or BSDS500",
            ("train",),
        ),
    )
}


def open_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    limit: int | None = None,
    *,
    exclude: Sequence[str] = (),
    cache_mib: float = 4096,
) -> PictureDataset:
    """Open a data set by name, or a folder of images (at any depth, sorted by path), or an npz file.

    A folder in VOC's layout is opened as VOC: the images of the split's list, with masks. The `note` of the
    data set names what may be an image and is left out: linked folders, files that cannot be read, other formats.

    Args:
        name: a key of `DATASETS`, a folder, or an ``.npz`` file with the keys ``x_train``, ``y_train``, ``x_test``, ``y_test``.
        data_dir: where named data sets are kept; default: the environment variable ``OPENJSCC_DATA``.
        split: ``train`` or ``test``.
        limit: only the first so many images.
        exclude: leave out images whose file name (or id, in an array) starts with one of these; before ``limit``.
        cache_mib: images are decoded once and kept as uint8 up to this much memory, later ones decoded at each access.

    Raises:
        MissingError: the data set is not there; the hint says where it was looked for and how to get it.
        UsageError: unknown name, a split that it does not have, no image left.
        IntegrityError: a damaged archive.
    """
    name = os.fspath(name)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}", "use at least one picture")
    if name in DATASETS:
        if split not in DATASETS[name].splits:
            raise UsageError(f"{name} has no {split} pictures", f"it is for {'testing' if split == 'train' else 'training'} only")
        dataset = _OPENERS[name](_data_root(name, data_dir), split)
    elif name.lower().endswith(".npz"):
        if not Path(name).is_file():
            raise UsageError(f"no file {name}", "check the path")
        dataset = _from_arrays(name, split, Path(name), *read_npz(Path(name), split))
    elif os.path.isdir(name):
        dataset = _from_voc_folder(name, split, Path(name)) if is_voc(Path(name)) else _from_folder(name, split, Path(name))
    elif os.sep in name or os.path.exists(name):
        raise UsageError(f"{name} is no folder of pictures", f"name a folder, an .npz file, or one of {', '.join(DATASETS)}")
    else:
        raise unknown_name("data set", name, DATASETS, more="(or the path of a folder of pictures)")
    return _selected(dataset, exclude, limit, cache_mib)


def _selected(dataset: PictureDataset, exclude: Sequence[str], limit: int | None, cache_mib: float) -> PictureDataset:
    names = [Path(item).name for item in dataset.ids]
    keep = [i for i, item in enumerate(names) if not item.startswith(tuple(exclude))][:limit]
    if not keep:
        raise UsageError(f"{dataset.name}: no picture left", "exclude fewer prefixes")
    return dataset.some(keep, cache_mib)


def _data_root(name: str, data_dir: str | os.PathLike[str] | None) -> Path:
    given = os.fspath(data_dir) if data_dir is not None else os.environ.get(ENVIRONMENT, "")
    if not given:
        raise _missing(name, f"no data folder is set, so {name} cannot be looked for")
    root = Path(given).expanduser()
    if not root.is_dir():
        raise _missing(name, f"the data folder {root} does not exist")
    return root


def _missing(name: str, message: str) -> MissingError:
    info = DATASETS[name]
    hint = f"get it from {info.source}, lay it out as {info.layouts}, and name the data folder with --data-dir or {ENVIRONMENT}"
    hint += "; or name a folder of your own images in its place"
    return MissingError(message, hint)


def _not_found(name: str, split: str, root: Path) -> MissingError:
    return _missing(name, f"{name} ({split}) is not in {root}")


def _listing(folder: Path) -> tuple[list[Path], list[str]]:
    """Image files at any depth, sorted by their path within the folder, and the names of what is left out.

    Hidden files and folders are in neither. Linked folders are left out: they may lead anywhere.
    """
    found: list[Path] = []
    left: dict[Path, str] = {}

    def unreadable(error: OSError) -> None:
        left[Path(error.filename)] = (error.strerror or "cannot be read").lower()

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [item for item in folders if not item.startswith((".", "__MACOSX"))]
        inner = [Path(parent, item) for item in folders]
        left |= {path: "a linked folder" for path in inner if path.is_symlink()}
        for item in (item for item in files if not item.startswith(".")):
            path = Path(parent, item)
            if reason := _unfit(path):
                left[path] = reason
            elif item.lower().endswith(SUFFIXES):
                found.append(path)
    order = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
    names = ((path.relative_to(folder).as_posix(), reason) for path, reason in left.items())
    return order, [f"{name} ({reason})" for name, reason in sorted(names)]


def _unfit(path: Path) -> str:
    """Why a file that may be an image is left out; empty if it is an image to read, or something else."""
    if not path.name.lower().endswith(SUFFIXES):
        kind, _ = mimetypes.guess_type(path.name)
        if path.suffix.lower() in _UNREAD or (kind or "").startswith("image/"):
            return "of a format that is not read"
        return "an image without the suffix of one" if kind is None and is_image(path) else ""
    if not path.exists():
        return "a link to nothing"
    if not path.is_file():
        return "not an ordinary file"
    return "" if os.access(path, os.R_OK) else "permission denied"


def _left_out(left: Sequence[str]) -> str:
    named = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
    return f"{len(left)} left out: {named}" if left else ""


def _from_folder(
    name: str, split: str, folder: Path, *, paths: Sequence[Path] | None = None, masks: Sequence[Path] | None = None,
    side: int | None = None, note: str = "",
) -> PictureDataset:  # fmt: skip
    left = ""
    if paths is None:
        paths, others = _listing(folder)
        left = _left_out(others)
    if not paths:
        message = f"{folder} holds no pictures{f'; {left}' if left else ''}"
        raise UsageError(message, f"looked for {' '.join(SUFFIXES)} at any depth")
    note = "; ".join(part for part in (note, left) if part)
    ids = [path.relative_to(folder).as_posix() for path in paths]
    return PictureDataset(name, split, ids, paths=paths, masks=masks, side=side, note=note)


def _from_voc_folder(name: str, split: str, folder: Path) -> PictureDataset:
    found = listed(folder, split)
    if found is None:
        raise MissingError(
            f"{folder} is laid out as VOC, but has no list of its {split} pictures",
            f"write their names, one a line, to {folder / 'ImageSets' / 'Segmentation' / LISTS[split]}",
        )
    return _from_folder(name, split, folder / PICTURES, paths=found[0], masks=found[1])


def _from_arrays(
    name: str, split: str, path: Path, pictures: np.ndarray, labels: np.ndarray | None, numbers: np.ndarray | None
) -> PictureDataset:
    if name == "cifar10" and labels is not None and int(labels.max()) >= CLASSES:
        message = f"{path} has class number {labels.max()}"
        raise IntegrityError(message, f"CIFAR-10 has {CLASSES} classes: get the file again")
    note = ""
    if name == "cifar10" and len(pictures) < {"train": 50_000, "test": 10_000}[split]:
        note = f"{len(pictures):,}-image miniature of CIFAR-10"
    ids = [f"{split}-{int(number):05d}" for number in (range(len(pictures)) if numbers is None else numbers)]
    classes = None if labels is None else torch.from_numpy(labels)
    return PictureDataset(name, split, ids, array=pictures, labels=classes, note=note)


def _open_kodak(root: Path, split: str) -> PictureDataset:
    for folder in (root / "kodak", root / "Kodak", root):
        paths = sorted(folder.glob("kodim*.png"))
        if paths:
            note = "" if len(paths) == 24 else f"{len(paths)} of Kodak's 24 images"
            return _from_folder("kodak", split, folder, paths=paths, note=note)
    raise _not_found("kodak", split, root)


def _open_div2k(root: Path, split: str, name: str = "div2k") -> PictureDataset:
    wanted = ("DIV2K_train_HR",) if split == "train" else ("valid_crops256", "DIV2K_valid_HR")
    for layout in wanted:
        for folder in (root / "div2k" / layout, root / "DIV2K" / layout, root / layout, root):
            if folder.name == layout and folder.is_dir():
                note = "256x256 centre crops of DIV2K's validation images" if layout == "valid_crops256" else ""
                return _from_folder("div2k", split, folder, note=note)
    raise _not_found(name, split, root)


def _open_div2k_224(root: Path, split: str) -> PictureDataset:
    whole = _open_div2k(root, split, "div2k-224")
    pixels = np.stack([middle(whole[i], 224).permute(1, 2, 0).numpy() for i in range(len(whole))])
    return PictureDataset("div2k-224", split, whole.ids, array=pixels)


def _open_cifar10(root: Path, split: str) -> PictureDataset:
    folders = (root / "cifar10", root)
    layouts = {"cifar10.npz": read_npz, ARCHIVE_FOLDER: read_python_archive, "cifar-10-python.tar.gz": read_python_archive}
    candidates = [
        (folder / item, read) for item, read in (layouts | {"cifar10_mini.npz": read_npz}).items() for folder in folders
    ]
    for path, read in [*candidates, *([(root, read_python_archive)] if root.name == ARCHIVE_FOLDER else [])]:
        if path.is_file() or path.is_dir():
            return _from_arrays("cifar10", split, path, *read(path, split))
    raise _not_found("cifar10", split, root)


def _open_voc(root: Path, split: str, name: str = "voc", side: int | None = None) -> PictureDataset:
    for folder in (root / "voc", root / "VOCdevkit" / "VOC2012", root / "voc" / "VOCdevkit" / "VOC2012", root / "VOC2012", root):
        if found := listed(folder, split):
            return _from_folder(name, split, folder / PICTURES, paths=found[0], masks=found[1], side=side)
    raise _not_found(name, split, root)


def _open_photos(root: Path, split: str) -> PictureDataset:
    if (root / "photos").is_dir():
        return _from_folder("photos", split, root / "photos")
    raise _not_found("photos", split, root)


_OPENERS: dict[str, Callable[[Path, str], PictureDataset]] = {
    "kodak": _open_kodak,
    "div2k": _open_div2k,
    "div2k-224": _open_div2k_224,
    "cifar10": _open_cifar10,
    "voc": _open_voc,
    "voc-224": partial(_open_voc, name="voc-224", side=224),
    "photos": _open_photos,
}
