"""Writing files so that nobody ever sees half of one, and work that one process at a time does, or several share."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

from .errors import OpenJSCCError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LEFT_OVER_SECONDS = 3600.0
"""A temporary file that nobody has written to for so long is of a run that was killed."""


def write_atomically(path: Path, data: bytes | memoryview | Callable[[IO[bytes]], object]) -> None:
    """Write beside the target, flush to the disk, then rename: a reader sees the old file or the new one, never a torn one.

    What killed runs left of the same file is removed.

    Args:
        path: the file.
        data: its content, or what writes it to an open file.

    Raises:
        UsageError: where the folder cannot be written. OpenJSCCError: the disk is full or broken (exit code 1).
    """
    name = path.name[:100]
    sweep(path.parent, name)
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether the work that a lock file stands for is this one's alone until the block ends, among all processes that ask.

    The system lifts the claim of a process that ends, however it does. Where there are no locks (Windows, some network file
    systems), everybody has every claim.

    Args:
        path: the lock file; it is there as long as somebody works or waits.
        wait: for the claim; else the answer may be False.
    """
    held = _locked(path, wait) if fcntl is not None else None
    try:
        yield held is not False
    finally:
        if held:
            with contextlib.suppress(OSError):
                path.unlink()
            held.close()


def _locked(path: Path, wait: bool) -> IO[bytes] | Literal[False] | None:
    """The locked file; False where another one has it, None where there are no locks."""
    assert fcntl is not None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "ab")  # noqa: SIM115
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
            file.close()  # of one that has ended and removed it meanwhile
        except BlockingIOError:
            file.close()
            return False
        except FileNotFoundError:
            file.close()
        except OSError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise


def cannot_write(path: Path, error: OSError) -> OpenJSCCError:
    """The error for a file that the system did not write: a disk that is full or broken is no wrong usage."""
    message = f"{path} cannot be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return OpenJSCCError(message, "make room, or choose another place with -o")
    return UsageError(message, "choose a place that you may write to with -o")


def check_target(path: Path, overwrite: bool, suffixes: Sequence[str], hint: str = "") -> None:
    """Refuse a file that could not be written, before the work that fills it.

    Args:
        path: the file.
        overwrite: it may exist.
        suffixes: one of which it must have.
        hint: for another suffix, instead of a name with the first one.

    Raises:
        UsageError: another suffix, the file exists, or its folder is missing or not writable.
    """
    try:
        if path.suffix.lower() not in suffixes:
            message = f"{path} does not end in {' or '.join(filter(None, suffixes))}"
            raise UsageError(message, hint or f"name it {path.stem or 'result'}{suffixes[0]}")
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'not an ordinary file'}", "name a file with -o")
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{path} exists", "add -f to replace it (in Python overwrite=True), or name another file with -o")
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise UsageError(f"{path}: no folder {folder}", f"make it first: mkdir -p {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{path}: no permission to write in {folder}", "choose another place with -o")
    except OSError as error:
        raise cannot_write(path, error) from None
    except UsageError:
        raise
    except ValueError:  # a NUL character in the path
        raise UsageError(f"{str(path)!r} is not a file name", "name a file with -o") from None


def check_folder(folder: Path) -> None:
    """Refuse a folder that can neither be made nor be written to, before the work. Raises UsageError."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        what = f"{folder} is a file" if there == folder else f"{folder} cannot be made: {there} is a file"
        raise UsageError(what, "choose another place with -o")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: no permission to write in {there}", "choose another place with -o")


def make_folder(folder: Path) -> None:
    """A folder for results, made with all above it. Raises UsageError where it cannot be."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove temporary files of `write_atomically` and `openjscc.data.images.write_png` that killed runs left in a folder.

    One that was written to in the last `LEFT_OVER_SECONDS` may be at work, here or on another machine, and stays.

    Args:
        folder: may be missing.
        name: only those of the file of this name; None: of any, for folders that nobody else writes to.
    """
    of_name = ".+" if name is None else re.escape(name)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if re.fullmatch(rf"\.{of_name}\.[0-9a-f]+\.tmp", entry.name):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_OVER_SECONDS:
                        os.unlink(entry.path)


LOCK = ".lock"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes out of an existing folder, if they ask for it in the same way (`claimed`).

    Raises:
        UsageError: another process has it; names that process.
    """
    path = folder / LOCK
    with claimed(path, wait=False) as alone:
        if not alone:
            try:
                owner = path.read_text("utf-8", "replace")[:80]
            except OSError:
                owner = ""
            raise UsageError(
                f"{folder} is in use by {owner or 'another process'}", "wait until that one has ended, or choose another folder"
            )
        with contextlib.suppress(OSError):
            path.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
