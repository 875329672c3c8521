"""Recordings: frames as complex samples in files, between a transmitter and a receiver that are two programs.

Three forms, told apart by the name:

- ``NAME.sigmf-meta`` with ``NAME.sigmf-data`` beside it: one SigMF recording, an annotation for each frame.
- ``NAME.sigmf``, and ``-`` for a pipe: a SigMF archive (tar) with a recording for each frame, so that it can be written
  and read as a stream.
- ``NAME.npy``: complex64 samples and nothing else, one frame after another.

Samples are ``cf32_le``. Under fading a second channel of the recording holds the gain of every symbol, or the
annotation holds one gain for the frame. docs/recordings.md describes the fields of the ``openjscc`` extension.

A recording comes from a stranger. Types and bounds of all that is used are checked, a frame is read when it is asked for,
and nothing of an archive is written to the disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UsageError
from ..files import cannot_write, check_target, sweep
from .archive import read_archive, read_archive_file, write_archive
from .array import read_array, write_array
from .burst import ARCHIVE, ARRAY, DATA, META, PIPE, Burst, check_file
from .sigmf import metadata, read_recording, write_recording

__all__ = [
    "ARCHIVE",
    "ARRAY",
    "DATA",
    "META",
    "PIPE",
    "Burst",
    "check_recording",
    "check_writable",
    "load_frame",
    "load_frames",
    "save_frames",
]


def check_recording(path: str | os.PathLike[str]) -> str:
    """The suffix that says the form of a recording. Raises UsageError for another one."""
    text = os.fspath(path)
    if text == PIPE:
        return PIPE
    suffix = Path(text).suffix.lower()
    if suffix == DATA:
        return META
    if suffix not in (META, ARCHIVE, ARRAY) or "\0" in text:
        raise UsageError(f"{text} is no recording", f"name a {META}, {ARCHIVE} or {ARRAY} file, or - for a pipe")
    return suffix


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
    """The files that a recording will be, none for a pipe; cheap, so call it before the long work.

    Raises:
        UsageError: another suffix, files that exist, no such folder, a terminal.
    """
    form = check_recording(path)
    if form == PIPE:
        if sys.stdout.isatty():
            raise UsageError(
                "samples to a terminal", f"name a file with -o, e.g. -o frame{META}, or pipe them to another program"
            )
        return []
    target = Path(path)
    files = [target.with_suffix(META), target.with_suffix(DATA)] if form == META else [target]
    for file in files:
        check_target(file, overwrite, [file.suffix.lower()])
    return files


def save_frames(path: str | os.PathLike[str], bursts: Burst | Iterable[Burst], overwrite: bool = False) -> int:
    """Write a recording, frame by frame. `openjscc.save_frame` is this function.

    Args:
        path: ``NAME.sigmf-meta`` (and ``NAME.sigmf-data`` beside it), ``NAME.sigmf`` or ``NAME.npy``; ``-`` is standard output.
        bursts: one frame, or several; they may be made while they are written.
        overwrite: replace files that exist.

    Returns:
        The number of frames.

    Raises:
        UsageError: another suffix, files that exist, a folder that cannot be written to, gains in a ``.npy`` file.
        MissingError: the package sigmf is not installed. OpenJSCCError: the disk is full.
    """
    files = check_writable(path, overwrite)
    bursts = [bursts] if isinstance(bursts, Burst) else bursts
    if check_recording(path) != ARRAY:
        metadata([], 1)  # what the writing needs is missing, or loaded, before frames are made or come through a pipe
    if not files:
        return write_archive(sys.stdout.buffer, bursts)
    temporary = [file.with_name(f".{file.name[:100]}.{secrets.token_hex(4)}.tmp") for file in files]
    for file in files:
        sweep(file.parent, file.name[:100])
    try:
        if len(files) == 2:
            count = write_recording(temporary[0], temporary[1], bursts)
        elif files[0].suffix.lower() == ARCHIVE:
            with temporary[0].open("xb") as stream:
                count = write_archive(stream, bursts)
        else:
            count = write_array(temporary[0], bursts)
        for file, written in reversed(list(zip(files, temporary, strict=True))):  # the metadata last: with it all is there
            os.replace(written, file)
    except OSError as error:
        raise cannot_write(Path(path), error) from None
    finally:
        for file in temporary:
            with contextlib.suppress(OSError):
                file.unlink()
    return count


def load_frames(path: str | os.PathLike[str]) -> Iterator[Burst]:
    """Read a recording, frame by frame.

    Args:
        path: as `save_frames` has it; ``-`` is standard input.

    Raises (some while the frames are read):
        UsageError: another suffix or type of samples, a file that may not be read. MissingError: no such file.
        IntegrityError: a truncated or damaged recording.
    """
    form = check_recording(path)
    if form == PIPE:
        return read_archive(sys.stdin.buffer, "standard input")
    target = Path(path)
    if form == META:
        target = target.with_suffix(META)
    check_file(target, "recording", "name one that `openjscc tx` or `openjscc channel` wrote")
    if form == ARCHIVE:
        return read_archive_file(target)
    return read_array(target) if form == ARRAY else read_recording(target)


def load_frame(path: str | os.PathLike[str]) -> list[Burst]:
    """All frames of a recording. Arguments and errors as `load_frames`, which reads one at a time."""
    return list(load_frames(path))
