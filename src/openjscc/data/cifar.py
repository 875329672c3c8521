"""CIFAR-10 in its public layouts: an npz file, the python archive, or the archive's unpacked folder."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IntegrityError, UsageError
from .pickled import read_plain_pickle

ARCHIVE_FOLDER = "cifar-10-batches-py"
CLASSES = 10
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}

_MOST_BATCH = 64 * 2**20
_MOST_ARCHIVE = 256 * 2**20
_MOST_MEMBERS = 100
_MOST_ARRAYS = 512 * 2**20
_MOST_IMAGES = 2**21
_MOST_NUMBER = 2**31 - 1
"""Bounds on bytes, files, images and class numbers. A batch has 30 MiB, the archive 178 MiB
unpacked, all images have 146 MiB."""


def read_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Images of an npz file with the keys ``x_train``, ``y_train``, ``x_test``, ``y_test`` (labels may be left out).

    Returns:
        Images uint8 ``(N, H, W, 3)``, labels int64 ``(N,)`` or None, and the images' numbers in the full data set
        (keys ``i_train``, ``i_test``) or None.

    Raises:
        UsageError: another content. IntegrityError: damaged, or it needs pickle to be read.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            if f"x_{split}.npy" not in archive.namelist():
                raise UsageError(f"{path} has no array x_{split}", "expected the keys x_train, y_train, x_test, y_test")
            room = max(_MOST_ARRAYS, path.stat().st_size)
            found: list[np.ndarray | None] = []
            for key in "xyi":
                found.append(_array(path, archive, f"{key}_{split}.npy", room))
                room -= 0 if found[-1] is None else found[-1].nbytes
            pictures, labels, numbers = found
    except (UsageError, IntegrityError):
        raise
    except Exception as error:  # zip, zlib and numpy raise almost anything on damaged data
        message = f"{path} cannot be read as an npz file: {_line(error)}"
        raise IntegrityError(message, "get the file again") from None
    assert pictures is not None
    return _checked(path, pictures, labels, numbers)


def _array(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray | None:
    """An array of an npz file, whose size is checked before room is made for it. None: not there.

    Raises:
        UsageError: too large. ValueError: it needs pickle, or is compressed as numpy does not.
    """
    if name not in archive.namelist():
        return None
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed as numpy does not")
    with archive.open(name) as file:
        header = np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(file) == (1, 0) else None
        shape, _, kind = (header or np.lib.format.read_array_header_2_0)(file)
    size = kind.itemsize
    for side in shape:
        size *= side
    if size > most:
        message = f"{path}: {name} claims {size // 2**20:,} MiB, and there is room for {most // 2**20:,}"
        raise UsageError(message, "use a folder of image files, or store the array without compression")
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_python_archive(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Images of ``cifar-10-python.tar.gz`` or its unpacked folder. Returns and raises as `read_npz`.

    The batches are pickles. They are not unpickled: `openjscc.data.pickled` reads plain data only.
    """
    pictures, labels = [], []
    for name, content in (_folder_batches if path.is_dir() else _archive_batches)(path, split).items():
        try:
            batch = read_plain_pickle(content)
            pictures.append(_pixels(batch))
            labels.append(_labels(batch, len(pictures[-1])))
        except Exception as error:  # a damaged pickle raises almost anything
            message = f"{path}: {name} is no CIFAR-10 batch: {_line(error)}"
            raise IntegrityError(message, "get the archive again") from None
    return _checked(path, np.ascontiguousarray(np.concatenate(pictures)), np.concatenate(labels), None)


def _pixels(batch: Mapping[str, Any]) -> np.ndarray:
    data = batch["data"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise ValueError("its data are no table of bytes")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _labels(batch: Mapping[str, Any], count: int) -> np.ndarray:
    labels = batch["labels"]
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not (isinstance(labels, list) and all(type(x) is int and 0 <= x < CLASSES for x in labels)):
        raise ValueError(f"its labels are no list of numbers from 0 to {CLASSES - 1}")
    if len(labels) != count:
        raise ValueError(f"it has {len(labels)} labels for {count} images")
    return np.array(labels, dtype=np.int64)


def _folder_batches(path: Path, split: str) -> dict[str, bytes]:
    found = {}
    for name in _BATCHES[split]:
        try:
            if not (path / name).is_file():
                raise OSError("no such file")
            with open(path / name, "rb") as file:
                found[name] = file.read(_MOST_BATCH + 1)
        except OSError as error:
            message = f"{path}: cannot read {name} ({_line(error)})"
            raise IntegrityError(message, "get the archive again") from None
        if len(found[name]) > _MOST_BATCH:
            raise IntegrityError(f"{path}: {name} is too large for a CIFAR-10 batch", "get the archive again")
    return found


def _archive_batches(path: Path, split: str) -> dict[str, bytes]:
    """The batches of the archive, which is unpacked once and as far as it may be large."""
    wanted = {f"{ARCHIVE_FOLDER}/{name}": name for name in _BATCHES[split]}
    found: dict[str, bytes] = {}
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            content = file.read(_MOST_ARCHIVE + 1)
        if len(content) > _MOST_ARCHIVE:
            raise ValueError(f"it unpacks to more than {_MOST_ARCHIVE // 2**20} MiB")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for count, member in enumerate(archive):
                if count == _MOST_MEMBERS or len(found) == len(wanted):
                    break
                if member.name in wanted and member.isreg() and member.size <= _MOST_BATCH:
                    file = archive.extractfile(member)
                    assert file is not None
                    found[wanted[member.name]] = file.read()
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read: {_line(error)}", "get the archive again") from None
    if len(found) < len(wanted):
        gone = min(set(wanted.values()) - set(found))
        raise IntegrityError(f"{path}: cannot read {gone} (it is not there)", "get the archive again")
    return {name: found[name] for name in _BATCHES[split]}


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:160]
    return "".join(c for c in text if c.isprintable()) or type(error).__name__


def _checked(
    path: Path, pictures: np.ndarray, labels: np.ndarray | None, numbers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or 0 in pictures.shape:
        raise UsageError(f"{path}: pictures of shape {pictures.shape} and type {pictures.dtype}", "expected uint8 (N, H, W, 3)")
    if len(pictures) > _MOST_IMAGES:
        message = f"{path} has {len(pictures):,} pictures; at most {_MOST_IMAGES:,} are read"
        raise UsageError(message, "use a folder of image files")
    for extra in (labels, numbers):
        if extra is not None and (extra.shape != (len(pictures),) or extra.dtype.kind not in "iu"):
            message = f"{path}: {len(pictures)} pictures, but labels of shape {extra.shape} and type {extra.dtype}"
            raise UsageError(message, "expected one whole number per picture")
        if extra is not None and not 0 <= int(extra.min()) <= int(extra.max()) <= _MOST_NUMBER:
            message = f"{path}: labels or numbers of pictures from {extra.min()} to {extra.max()}"
            raise IntegrityError(message, "they count from 0: get the file again")
    return pictures, None if labels is None else labels.astype(np.int64), numbers
