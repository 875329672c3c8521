"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from pathlib import Path

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
