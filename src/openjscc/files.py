"""Writing files so that nobody ever sees half of one, and folders that one process at a time writes to."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

from .errors import UsageError


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the target, flush to the disk, then rename: a reader sees the old file or the new one, never a torn one.

    Raises:
        UsageError: where the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"cannot write {path}: {error.strerror}", "choose a folder that you may write to and that has room"
        ) from None


LOCK = ".lock"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes out of an existing folder, if they ask for it in the same way. The system itself ends the
    lock of a process that dies.

    Raises:
        UsageError: another process has it; names that process.
    """
    path = folder / LOCK
    try:
        file = _locked(path)
    except BlockingIOError:
        owner = path.read_text("utf-8", "replace")[:80] if path.exists() else "?"
        raise UsageError(
            f"{folder} is in use by {owner or 'another process'}", "wait until that one has ended, or choose another folder"
        ) from None
    except OSError:  # a file system without locks, or a folder that cannot be written: what is written next says so
        file = None
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            os.close(file)


def _locked(path: Path) -> int | None:
    while fcntl is not None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):  # else its owner has just removed it
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    return None
