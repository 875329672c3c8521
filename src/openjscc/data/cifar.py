"""CIFAR-10 in its public layouts: an npz file, the python archive, or the archive's unpacked folder."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IntegrityError, UsageError

ARCHIVE_FOLDER = "cifar-10-batches-py"
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how Python 3 writes bytes for Python 2
}


def read_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Pictures of an npz file with the keys ``x_train``, ``y_train``, ``x_test``, ``y_test`` (labels may be left out).

    Returns:
        Pictures uint8 ``(N, H, W, 3)``, labels int64 ``(N,)`` or None, and the pictures' numbers in the full data set
        (keys ``i_train``, ``i_test``) or None.

    Raises:
        UsageError: another content. IntegrityError: damaged, or it needs pickle to be read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile) or f"x_{split}" not in archive:
                raise UsageError(f"{path} has no array x_{split}", "expected the keys x_train, y_train, x_test, y_test")
            pictures = archive[f"x_{split}"]
            labels = archive.get(f"y_{split}")
            numbers = archive.get(f"i_{split}")
    except UsageError:
        raise
    except Exception as error:  # zip, zlib and numpy raise almost anything on damaged data
        raise IntegrityError(f"{path} cannot be read as an npz file: {error}", "get the file again") from None
    return _checked(path, pictures, labels, numbers)


def read_python_archive(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Pictures of ``cifar-10-python.tar.gz`` or its unpacked folder. Returns and raises as `read_npz`.

    The batches are pickles. They are read by an unpickler that can build numpy arrays and nothing else.
    """
    pictures, labels = [], []
    for name in _BATCHES[split]:
        batch = _load_batch(path, _batch_bytes(path, name))
        try:
            pictures.append(np.asarray(batch["data"]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels.append(np.asarray(batch["labels"]))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path}: {name} is no CIFAR-10 batch ({error})", "get the archive again") from None
    return _checked(path, np.ascontiguousarray(np.concatenate(pictures)), np.concatenate(labels), None)


def _batch_bytes(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with tarfile.open(path) as archive:
            member = archive.extractfile(f"{ARCHIVE_FOLDER}/{name}")
            if member is None:
                raise KeyError(name)
            return member.read()
    except (OSError, KeyError, EOFError, zlib.error, tarfile.TarError) as error:
        raise IntegrityError(f"{path}: cannot read {name} ({error})", "get the archive again") from None


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, a numpy array needs no such thing")
        return super().find_class(module_name, global_name)


def _load_batch(path: Path, content: bytes) -> dict[str, Any]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise IntegrityError(f"{path} is not a CIFAR-10 batch: {error}", "get the archive again") from None
    if not isinstance(batch, dict):
        raise IntegrityError(f"{path} is not a CIFAR-10 batch", "get the archive again")
    return batch


def _checked(
    path: Path, pictures: np.ndarray, labels: np.ndarray | None, numbers: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or 0 in pictures.shape:
        raise UsageError(f"{path}: pictures of shape {pictures.shape} and type {pictures.dtype}", "expected uint8 (N, H, W, 3)")
    for extra in (labels, numbers):
        if extra is not None and (extra.shape != (len(pictures),) or extra.dtype.kind not in "iu"):
            message = f"{path}: {len(pictures)} pictures, but labels of shape {extra.shape} and type {extra.dtype}"
            raise UsageError(message, "expected one whole number per picture")
    return pictures, None if labels is None else labels.astype(np.int64), numbers
