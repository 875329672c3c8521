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
import dataclasses
import io
import json
import os
import re
import secrets
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import IntegrityError, MissingError, UsageError
from .files import cannot_write, sweep

META, DATA, ARCHIVE, ARRAY, PIPE = ".sigmf-meta", ".sigmf-data", ".sigmf", ".npy", "-"
DATATYPE = "cf32_le"
SAMPLE = np.dtype("<c8")
EXTENSION = {"name": "openjscc", "version": "1.0.0", "optional": True}
LARGEST_META = 2**23
"""Bytes of metadata: 37,000 frames."""
LARGEST_FRAME = 2**29
"""Bytes of one frame: 67 million samples."""
LONGEST_LABEL, LONGEST_TEXT = 255, 1000
BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Burst:
    """The samples of one frame, and what the recording says about them.

    Attributes:
        symbols: complex64 ``(k,)``.
        gain: complex64 ``(1,)`` or ``(k,)``, the channel's gain as the receiver knows it; None: 1.
        noise_var: noise variance per complex symbol; None: the receiver estimates it.
        label: name of the image.
        system: the system by name. A hint for people, and what both ends agreed on where `agreed`.
        agreed: the header names no system: it is short, or of a plug-in that has none.
        draw: SHA-256 of the sent image, by which simulated channels choose their draw (rule C12).
        channel: what a simulated channel did, as plain values.
        framed: the symbols are one frame; False: they may hold several, one after another, and exact zeros between them.
    """

    symbols: np.ndarray
    gain: np.ndarray | None = None
    noise_var: float | None = None
    label: str = ""
    system: str = ""
    agreed: bool = False
    draw: str = ""
    channel: dict[str, Any] = dataclasses.field(default_factory=dict)
    framed: bool = True

    def replace(self, **changes: Any) -> Burst:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


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
        if os.path.lexists(file) and not overwrite:
            raise UsageError(f"{file} exists", "add -f to replace it (in Python overwrite=True), or name another file")
    if not target.parent.is_dir():
        raise UsageError(f"{path}: no folder {target.parent}", f"make it first: mkdir -p {target.parent}")
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
        _metadata([], 1)  # what the writing needs is missing, or loaded, before frames are made or come through a pipe
    if not files:
        return _write_archive(sys.stdout.buffer, bursts)
    temporary = [file.with_name(f".{file.name[:100]}.{secrets.token_hex(4)}.tmp") for file in files]
    for file in files:
        sweep(file.parent, file.name[:100])
    try:
        if len(files) == 2:
            count = _write_recording(temporary[0], temporary[1], bursts)
        elif files[0].suffix.lower() == ARCHIVE:
            with temporary[0].open("xb") as stream:
                count = _write_archive(stream, bursts)
        else:
            count = _write_array(temporary[0], bursts)
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
        return _read_archive(sys.stdin.buffer, "standard input")
    target = Path(path)
    if form == META:
        target = target.with_suffix(META)
    _check_file(target, "recording", "name one that `openjscc tx` or `openjscc channel` wrote")
    if form == ARCHIVE:
        return _read_archive_file(target)
    return _read_array(target) if form == ARRAY else _read_recording(target)


def load_frame(path: str | os.PathLike[str]) -> list[Burst]:
    """All frames of a recording. Arguments and errors as `load_frames`, which reads one at a time."""
    return list(load_frames(path))


def _check_file(path: Path, kind: str, hint: str) -> None:
    """Raises MissingError where there is none, UsageError for what is no file or may not be read."""
    if not os.path.exists(path):
        raise MissingError(f"no {kind} {path}", hint)
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no ordinary file"
        raise UsageError(f"{path} is {what}", "name a file; of a pipe: openjscc rx - < PIPE")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: no permission to read it", "ask its owner, or copy it")


# -- one SigMF recording


def _write_recording(meta: Path, data: Path, bursts: Iterable[Burst]) -> int:
    annotations: list[dict[str, Any]] = []
    start, channels = 0, 1
    with data.open("xb") as stream:
        for number, burst in enumerate(bursts):
            samples, annotation = _samples(burst), _annotation(burst)
            if number and samples.shape[1] != channels:
                raise UsageError("frames with a gain for every symbol and others in one recording", "write them to two")
            channels = samples.shape[1]
            stream.write(samples.tobytes())
            annotations.append({"core:sample_start": start, "core:sample_count": len(samples)} | annotation)
            start += len(samples)
    content = _metadata(annotations, channels)
    if len(content) > LARGEST_META:
        raise UsageError(f"{len(annotations)} frames in one recording", f"write a {ARCHIVE} file: it holds any number")
    meta.write_bytes(content)
    return len(annotations)


def _read_recording(path: Path) -> Iterator[Burst]:
    if path.stat().st_size > LARGEST_META:
        raise IntegrityError(f"{path} is too large for metadata", "name the .sigmf-meta file of a recording")
    content = _parse(path.read_bytes(), str(path))
    data = path.with_suffix(DATA)
    _check_file(data, "samples", f"keep {data.name} beside {path.name}")
    size = _count(data.stat().st_size, str(data))
    whole = None if content["annotations"] else np.memmap(data, dtype=SAMPLE, mode="r")

    def read(start: int, count: int) -> np.ndarray:
        return np.fromfile(data, SAMPLE, count, offset=start * SAMPLE.itemsize) if whole is None else whole

    yield from _bursts(content, read, size, str(path))


def _count(size: int, name: str) -> int:
    """Samples in so many bytes."""
    if size == 0 or size % SAMPLE.itemsize:
        raise IntegrityError(f"{name} has {size} bytes", f"{DATATYPE} samples have 8 bytes each: the file is truncated")
    return size // SAMPLE.itemsize


def _metadata(annotations: list[dict[str, Any]], channels: int) -> bytes:
    sigmf = _library()
    content = {
        "global": {
            "core:datatype": DATATYPE,
            "core:version": sigmf.__specification__,
            "core:num_channels": channels,
            "core:description": "frames of symbols, one sample a symbol",
            "core:recorder": "openjscc",
            "core:extensions": [EXTENSION],
        },
        "captures": [{"core:sample_start": 0}],
        "annotations": annotations,
    }
    sigmf.SigMFFile(metadata=content).validate()
    return json.dumps(content, indent=1, allow_nan=False).encode()


def _parse(content: bytes, name: str) -> dict[str, Any]:
    """The metadata that is used here: ``channels``, and ``annotations`` of frames in order, their places checked against
    one another. Raises IntegrityError for what is no metadata, UsageError for samples of another type."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is no SigMF metadata", f"its JSON is damaged: {str(error)[:200]}") from None

    def get(facts: Any, key: str, kind: type, *default: Any) -> Any:
        value = facts.get(key, *default) if isinstance(facts, dict) else None
        if type(value) is not kind:
            raise IntegrityError(f"{name}: {key} is {_shown(value)}", "the metadata is damaged, or no SigMF")
        return value

    facts = get(parsed, "global", dict)
    datatype, channels = get(facts, "core:datatype", str), get(facts, "core:num_channels", int, 1)
    if datatype != DATATYPE:
        raise UsageError(f"{name}: samples of type {_shown(datatype)}", f"convert them to {DATATYPE}")
    if channels not in (1, 2):
        raise IntegrityError(f"{name}: {_shown(channels)} channels", "1 of symbols, or a second of their gains")
    if any(get(one, "core:header_bytes", int, 0) for one in get(parsed, "captures", list)):
        raise UsageError(f"{name}: bytes between the samples (core:header_bytes)", "write the samples alone")
    annotations, end = [], 0
    for one in get(parsed, "annotations", list):
        start = get(one, "core:sample_start", int)
        if not any(key.startswith("openjscc:") for key in one):
            continue  # somebody else's
        count = get(one, "core:sample_count", int)
        if start < end or not 0 < count <= LARGEST_FRAME // channels // SAMPLE.itemsize:
            raise IntegrityError(
                f"{name}: a frame of {_shown(count)} samples from {_shown(start)} on",
                f"frames follow one another without overlap and have at most {LARGEST_FRAME // 8} samples",
            )
        annotations.append(one)
        end = start + count
    return {"channels": channels, "annotations": annotations, "end": end}


def _shown(value: object) -> str:
    """A value of unknown type and size, in a few characters."""
    if isinstance(value, (dict, list)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    return repr(value)[:50]


def _bursts(content: dict[str, Any], read: Callable[[int, int], np.ndarray], size: int, name: str) -> Iterator[Burst]:
    """The frames that the annotations name; without any the whole recording, whose frames the receiver must find.

    Args:
        content: of `_parse`.
        read: gives so many samples from there on, all channels interleaved.
        size: all samples.
        name: of the recording.
    """
    channels = content["channels"]
    if size % channels or content["end"] > size // channels:
        raise IntegrityError(
            f"{name} is truncated: {size} samples in {channels} channels, and frames up to {_shown(content['end'])}",
            "get it again, with all of its samples",
        )
    if not content["annotations"]:
        table = read(0, size).reshape(-1, channels)
        yield Burst(table[:, 0], table[:, 1] if channels == 2 else None, framed=False)
    for annotation in content["annotations"]:
        start, count = annotation["core:sample_start"], annotation["core:sample_count"]
        part = read(start * channels, count * channels)
        if len(part) != count * channels:
            raise IntegrityError(f"{name} is truncated: samples were lost while it was read", "get it again")
        table = part.reshape(-1, channels)
        yield _from_annotation(annotation, table[:, 0], table[:, 1] if channels == 2 else None, name)


def _annotation(burst: Burst) -> dict[str, Any]:
    facts: dict[str, Any] = {"core:label": burst.label[:LONGEST_LABEL] or "frame", "openjscc:system": burst.system}
    if burst.agreed:
        facts["openjscc:agreed"] = True
    if not burst.framed:
        facts["openjscc:framed"] = False
    if burst.draw:
        facts["openjscc:draw"] = burst.draw
    if burst.noise_var is not None:
        facts["openjscc:noise_var"] = burst.noise_var
    if burst.gain is not None and len(burst.gain) == 1:
        facts["openjscc:gain"] = [float(burst.gain[0].real), float(burst.gain[0].imag)]
    return facts | {f"openjscc:{key}": value for key, value in burst.channel.items()}


CHANNEL_FACTS = {"channel": str, "snr_db": float, "seed": int, "trial": int}
"""What a simulated channel leaves in an annotation. Nothing at the receiver depends on it."""


def _from_annotation(facts: dict[str, Any], symbols: np.ndarray, gain: np.ndarray | None, name: str) -> Burst:
    def damaged(key: str) -> IntegrityError:
        return IntegrityError(f"{name}: {key} is {_shown(facts[key])}", "the metadata is damaged")

    def get(key: str, kind: type, default: Any) -> Any:
        value = facts.get(key, default)
        if value is default:
            return value
        if not (_is_number(value) if kind is float else type(value) is kind):
            raise damaged(key)
        if isinstance(value, str) and len(value) > LONGEST_TEXT and key != "core:label":
            raise damaged(key)
        return float(value) if kind is float else value

    noise_var, one = get("openjscc:noise_var", float, None), get("openjscc:gain", list, None)
    if noise_var is not None and noise_var < 0:
        raise damaged("openjscc:noise_var")
    if one is not None:
        if len(one) != 2 or not all(map(_is_number, one)):
            raise damaged("openjscc:gain")
        gain = np.array([complex(*one)], dtype=np.complex64)
    channel = {key: get(f"openjscc:{key}", kind, None) for key, kind in CHANNEL_FACTS.items()}
    return Burst(
        symbols,
        gain,
        noise_var,
        label=get("core:label", str, "")[:LONGEST_LABEL],
        system=get("openjscc:system", str, ""),
        agreed=get("openjscc:agreed", bool, False),
        draw=get("openjscc:draw", str, ""),
        channel={key: value for key, value in channel.items() if value is not None},
        framed=get("openjscc:framed", bool, True),
    )


def _is_number(value: object) -> bool:
    """A finite number of reasonable size: what float32 holds with room to spare."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _samples(burst: Burst) -> np.ndarray:
    """complex64 ``(k, 1)``, or ``(k, 2)`` with the gains beside the symbols."""
    symbols = np.ascontiguousarray(burst.symbols, dtype=SAMPLE)
    if symbols.ndim != 1 or not len(symbols):
        raise UsageError(f"a frame of shape {symbols.shape}", "give symbols (k,), one or more")
    if burst.gain is None or len(burst.gain) == 1:
        return symbols[:, None]
    return np.stack([symbols, np.asarray(burst.gain, dtype=SAMPLE)], axis=1)


# -- archives: a recording for each frame


def _write_archive(stream: IO[bytes], bursts: Iterable[Burst]) -> int:
    count = 0
    for count, burst in enumerate(bursts, start=1):
        samples = _samples(burst)
        if samples.nbytes > LARGEST_FRAME:
            raise UsageError(f"a frame of {len(samples)} samples in an archive", f"write a {ARRAY} file")
        annotation = {"core:sample_start": 0, "core:sample_count": len(samples)} | _annotation(burst)
        name = f"frame-{count:06}/frame-{count:06}"
        for suffix, content in ((META, _metadata([annotation], samples.shape[1])), (DATA, samples.tobytes())):
            member = tarfile.TarInfo(name + suffix)
            member.size = len(content)
            stream.write(member.tobuf() + content + bytes(-len(content) % BLOCK))
        stream.flush()
    stream.write(bytes(2 * BLOCK))  # the end, which a stream that breaks off has not
    stream.flush()
    return count


def _read_archive_file(path: Path) -> Iterator[Burst]:
    with path.open("rb") as stream:
        yield from _read_archive(stream, str(path))


def _read_archive(stream: IO[bytes], name: str) -> Iterator[Burst]:
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
        samples = np.frombuffer(data, dtype=SAMPLE, count=_count(len(data), place))
        yield from _bursts(_parse(meta, place), lambda start, count, all=samples: all[start : start + count], len(samples), place)
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


# -- plain arrays


def _write_array(path: Path, bursts: Iterable[Burst]) -> int:
    count, length = 0, 0
    with path.open("xb") as stream:
        stream.write(_array_header(0))
        for burst in bursts:
            if burst.gain is not None:
                raise UsageError(f"gains in a {ARRAY} file", f"it holds symbols alone: write a {META} file")
            stream.write(_samples(burst).tobytes())
            length += len(burst.symbols)
            count += 1
        stream.seek(0)
        stream.write(_array_header(length))
    return count


def _array_header(length: int) -> bytes:
    """The same size for every length: numpy leaves room for the digits of a growing first axis."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": SAMPLE.str, "fortran_order": False, "shape": (length,)})
    return header.getvalue()


def _read_array(path: Path) -> Iterator[Burst]:
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # its header is parsed as Python text, with as many kinds of errors
        raise IntegrityError(f"{path} is no array, or truncated", "numpy.save of complex64 samples writes one") from None
    if not isinstance(samples, np.ndarray) or samples.dtype != SAMPLE or samples.ndim not in (1, 2) or not samples.size:
        kind = f"{samples.dtype} of shape {samples.shape}" if isinstance(samples, np.ndarray) else "several arrays"
        raise UsageError(f"{path}: {kind}", "give complex64 samples (k,), or one frame a row (frames, k)")
    if samples.ndim == 1:
        yield Burst(samples, framed=False)
    else:
        yield from (Burst(row, framed=False) for row in samples)


def _library() -> Any:
    try:
        import sigmf
    except ImportError:
        raise MissingError("SigMF recordings need the package sigmf", "pip install 'openjscc[radio]', or write .npy") from None
    return sigmf
