"""SigMF archives: a plain tar file with a recording for each frame, written and read as a stream."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import IntegrityError, UsageError
from .burst import ARRAY, DATA, LARGEST_FRAME, LARGEST_META, META, SAMPLE, Burst, samples_of
from .sigmf import annotation_of, bursts_of, metadata, parse, sample_count

BLOCK = tarfile.BLOCKSIZE


def write_archive(stream: IO[bytes], bursts: Iterable[Burst]) -> int:
    count = 0
    for count, burst in enumerate(bursts, start=1):
        samples = samples_of(burst)
        if samples.nbytes > LARGEST_FRAME:
            raise UsageError(f"a frame of {len(samples)} samples in an archive", f"write a {ARRAY} file")
        annotation = {"core:sample_start": 0, "core:sample_count": len(samples)} | annotation_of(burst)
        name = f"frame-{count:06}/frame-{count:06}"
        for suffix, content in ((META, metadata([annotation], samples.shape[1])), (DATA, samples.tobytes())):
            member = tarfile.TarInfo(name + suffix)
            member.size = len(content)
            stream.write(member.tobuf() + content + bytes(-len(content) % BLOCK))
        stream.flush()
    stream.write(bytes(2 * BLOCK))  # the end, which a stream that breaks off has not
    stream.flush()
    return count


def read_archive_file(path: Path) -> Iterator[Burst]:
    with path.open("rb") as stream:
        yield from read_archive(stream, str(path))


def read_archive(stream: IO[bytes], name: str) -> Iterator[Burst]:
    half: tuple[str, str, bytes] | None = None  # of a recording, the one that comes first
    count = 0
    for member, content in _members(stream, name):
        stem, dot, kind = member.rpartition(".")
        if dot + kind not in (META, DATA):
            continue
        if half is None:
            half = stem, dot + kind, content
            continue
        if half[0] != stem or half[1] == dot + kind:
            break
        meta, data = (half[2], content) if half[1] == META else (content, half[2])
        half, place = None, f"{name}: {_printable(stem)}"
        samples = np.frombuffer(data, dtype=SAMPLE, count=sample_count(len(data), place))
        yield from bursts_of(
            parse(meta, place), lambda start, count, all=samples: all[start : start + count], len(samples), place
        )
        count += 1
    if half is not None:
        what = "samples" if half[1] == META else "metadata"
        raise IntegrityError(f"{name}: {_printable(half[0])} has no {what}", "the archive is damaged")
    if not count:
        raise IntegrityError(f"{name} holds no recording", "`openjscc tx -o -` writes one")


def _members(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a plain tar archive, each as soon as it is there.

    The tarfile module would take a damaged header for the end of the archive, and read extended headers of any size.
    """
    path, first = "", True
    while True:
        header = stream.read(BLOCK)
        if header and not any(header):
            stream.read(tarfile.RECORDSIZE)  # more zeros; whoever writes them should not meet a closed pipe
            return
        if not header and first:
            raise IntegrityError(f"{name} holds no recording", "`openjscc tx -o -` writes one")
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            if len(header) < BLOCK and not first:
                raise IntegrityError(f"{name} is truncated", "get it again") from None
            what = "is no SigMF archive" if first else f"is damaged ({error})"
            raise IntegrityError(f"{name} {what}", "a SigMF archive is a plain tar file, as `openjscc tx -o -` writes") from None
        first = False
        path = path or member.name
        limit = LARGEST_META if member.type not in tarfile.REGULAR_TYPES or path.endswith(META) else LARGEST_FRAME
        known = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, *EXTENDED)
        if not known or not 0 <= member.size <= limit:
            kind = f"{member.size} bytes" if known else f"of type {member.type!r}"
            raise IntegrityError(f"{name}: {_printable(path)}, {kind}", "that is no part of a recording")
        content = stream.read(member.size)
        if len(content) < member.size or len(stream.read(-member.size % BLOCK)) < -member.size % BLOCK:
            raise IntegrityError(f"{name} is truncated in {_printable(path)}", "get it again")
        if member.type in EXTENDED:  # of the next member, of which only the name counts
            found = re.search(rb"\d path=([^\n]*)\n", content)
            if b"GNU.sparse." in content:
                raise IntegrityError(f"{name} has a sparse file", "write the archive without --sparse")
            text = content.rstrip(b"\0") if member.type == tarfile.GNUTYPE_LONGNAME else found[1] if found else b""
            path = text.decode("utf-8", "surrogateescape") if member.type != tarfile.XGLTYPE else ""
            continue
        if member.type != tarfile.DIRTYPE:
            yield path, content
        path = ""


EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)


def _printable(name: str) -> str:
    return repr(name[-80:])[1:-1]
