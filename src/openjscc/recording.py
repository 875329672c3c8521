"""Recordings: frames as complex samples in files, between a transmitter and a receiver that are two programs.

Three forms, told apart by the name:

- ``NAME.sigmf-meta`` with ``NAME.sigmf-data`` beside it: one SigMF recording, an annotation for each frame.
- ``NAME.sigmf``, and ``-`` for a pipe: a SigMF archive (tar) with a recording for each frame, so that it can be written and read
  as a stream.
- ``NAME.npy``: complex64 samples and nothing else, one frame after another.

Samples are ``cf32_le``. Under fading a second channel of the recording holds the gain of every symbol, or the annotation holds
one gain for the frame. docs/recordings.md describes the fields of the ``openjscc`` extension.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import IntegrityError, MissingError, OpenJSCCError, UsageError
from .files import cannot_write

META, DATA, ARCHIVE, ARRAY, PIPE = ".sigmf-meta", ".sigmf-data", ".sigmf", ".npy", "-"
DATATYPE = "cf32_le"
SAMPLE = np.dtype("<c8")
EXTENSION = {"name": "openjscc", "version": "1.0.0", "optional": True}
LARGEST_META = 2**28
LARGEST_STREAM = 2**32
"""Bytes of one frame in an archive."""
AT_ONCE = 2**20


@dataclass(frozen=True)
class Burst:
    """The samples of one frame, and what the recording says about them.

    Attributes:
        symbols: complex64 ``(k,)``.
        gain: complex64 ``(1,)`` or ``(k,)``, the channel's gain as the receiver knows it; None: 1.
        noise_var: noise variance per complex symbol; None: the receiver estimates it.
        label: name of the image.
        system: the system by name. A hint for people, and what both ends agreed on where `agreed`.
        agreed: the header is short: it names no system.
        draw: SHA-256 of the sent image, by which simulated channels choose their draw (rule C12).
        channel: what a simulated channel did, as plain values.
        framed: the symbols are one frame; False: they may hold several, one after another.
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
    if suffix not in (META, ARCHIVE, ARRAY):
        raise UsageError(f"{text} is no recording", f"name a {META}, {ARCHIVE} or {ARRAY} file, or - for a pipe")
    return suffix


def save_frames(path: str | os.PathLike[str], bursts: Iterable[Burst], overwrite: bool = False) -> int:
    """Write a recording, frame by frame.

    Args:
        path: as the module says; ``-`` is standard output.
        bursts: the frames; they may be made while they are written.
        overwrite: replace files that exist.

    Returns:
        The number of frames.

    Raises:
        UsageError: another suffix, files that exist, a folder that cannot be written to, gains in a ``.npy`` file.
        MissingError: the package sigmf is not installed.
    """
    form = check_recording(path)
    if form == PIPE:
        return _write_archive(sys.stdout.buffer, bursts)
    target = Path(path)
    files = [target.with_suffix(META), target.with_suffix(DATA)] if form == META else [target]
    for file in files:
        if os.path.lexists(file) and not overwrite:
            raise UsageError(f"{file} exists", "add -f to replace it, or name another file")
    temporary = [file.with_name(f".{file.name}.{os.getpid()}.tmp") for file in files]
    try:
        if form == META:
            count = _write_recording(temporary[0], temporary[1], bursts)
        elif form == ARCHIVE:
            with temporary[0].open("wb") as stream:
                count = _write_archive(stream, bursts)
        else:
            count = _write_array(temporary[0], bursts)
        for file, written in reversed(list(zip(files, temporary, strict=True))):  # the metadata last: with it all is there
            os.replace(written, file)
    except OSError as error:
        raise cannot_write(target, error) from None
    finally:
        for file in temporary:
            file.unlink(missing_ok=True)
    return count


def load_frames(path: str | os.PathLike[str]) -> Iterator[Burst]:
    """Read a recording, frame by frame; samples stay in the file until they are used.

    Raises (some while the frames are read):
        UsageError: another suffix or type of samples. MissingError: no such file.
        IntegrityError: a truncated or damaged recording.
    """
    form = check_recording(path)
    if form == PIPE:
        return _read_archive(sys.stdin.buffer, "standard input")
    target = Path(path)
    if form == META:
        target = target.with_suffix(META)
    if not target.is_file():
        raise MissingError(f"no recording {target}", "name one that `openjscc tx` or `openjscc channel` wrote")
    if form == ARCHIVE:
        return _read_archive_file(target)
    return _read_array(target) if form == ARRAY else _read_recording(target)


# -- one SigMF recording


def _write_recording(meta: Path, data: Path, bursts: Iterable[Burst]) -> int:
    annotations: list[dict[str, Any]] = []
    start, channels = 0, 1
    with data.open("wb") as stream:
        for number, burst in enumerate(bursts):
            samples, annotation = _samples(burst), _annotation(burst)
            if number and samples.shape[1] != channels:
                raise UsageError("frames with a gain for every symbol and others in one recording", "write them to two")
            channels = samples.shape[1]
            stream.write(samples.tobytes())
            annotations.append({"core:sample_start": start, "core:sample_count": len(samples)} | annotation)
            start += len(samples)
    meta.write_bytes(_metadata(annotations, channels))
    return len(annotations)


def _read_recording(path: Path) -> Iterator[Burst]:
    if path.stat().st_size > LARGEST_META:
        raise IntegrityError(f"{path} is too large for metadata", "it is no SigMF file")
    content = _parse(path.read_bytes(), str(path))
    data = path.with_suffix(DATA)
    if not data.is_file():
        raise MissingError(f"no samples {data}", f"keep {data.name} beside {path.name}")
    yield from _bursts(content, _mapped(data, str(data)), str(path))


def _mapped(path: Path, name: str) -> np.ndarray:
    size = path.stat().st_size
    if size == 0 or size % SAMPLE.itemsize:
        raise IntegrityError(f"{name} has {size} bytes", f"{DATATYPE} samples have 8 bytes each: the file is truncated")
    return np.memmap(path, dtype=SAMPLE, mode="r")


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
    return json.dumps(content, indent=1).encode()


def _parse(content: bytes, name: str) -> dict[str, Any]:
    """Valid metadata. Raises IntegrityError for other, UsageError for samples of another type."""
    sigmf = _library()
    try:
        parsed = json.loads(content)
        sigmf.SigMFFile(metadata=parsed).validate()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, sigmf.error.SigMFError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise IntegrityError(f"{name} is no valid SigMF metadata", (reason or ["it is damaged"])[0][:200]) from None
    except Exception as error:  # whatever its JSON schema validator raises
        if type(error).__module__.partition(".")[0] != "jsonschema":
            raise
        reason = str(getattr(error, "message", error)).splitlines()[0][:200]
        raise IntegrityError(f"{name} is no valid SigMF metadata", reason) from None
    datatype = parsed["global"]["core:datatype"]
    if datatype != DATATYPE:
        raise UsageError(f"{name}: samples of type {datatype}", f"convert them to {DATATYPE}")
    return parsed


def _bursts(content: dict[str, Any], samples: np.ndarray, name: str) -> Iterator[Burst]:
    """The frames that the annotations name; without any the whole recording, whose frames the receiver must find."""
    channels = content["global"].get("core:num_channels", 1)
    if channels not in (1, 2) or len(samples) % channels:
        raise IntegrityError(f"{name}: {len(samples)} samples in {channels} channels", "symbols, or symbols and gains")
    table = samples.reshape(-1, channels)
    annotations = [one for one in content.get("annotations", []) if any(key.startswith("openjscc:") for key in one)]
    if not annotations:
        yield Burst(table[:, 0], table[:, 1] if channels == 2 else None, framed=False)
        return
    for annotation in annotations:
        start, count = annotation["core:sample_start"], annotation.get("core:sample_count", 0)
        if count < 1 or start + count > len(table):
            raise IntegrityError(
                f"{name}: a frame of {count} samples from {start} on, of {len(table)}", "the recording is truncated or damaged"
            )
        part = table[start : start + count]
        yield _from_annotation(annotation, part[:, 0], part[:, 1] if channels == 2 else None, name)


def _annotation(burst: Burst) -> dict[str, Any]:
    facts: dict[str, Any] = {"core:label": burst.label or "frame", "openjscc:system": burst.system}
    if burst.agreed:
        facts["openjscc:agreed"] = True
    if burst.draw:
        facts["openjscc:draw"] = burst.draw
    if burst.noise_var is not None:
        facts["openjscc:noise_var"] = burst.noise_var
    if burst.gain is not None and len(burst.gain) == 1:
        facts["openjscc:gain"] = [float(burst.gain[0].real), float(burst.gain[0].imag)]
    return facts | {f"openjscc:{key}": value for key, value in burst.channel.items()}


CHANNEL_FACTS = ("channel", "snr_db", "seed", "trial")
"""What a simulated channel leaves in an annotation."""


def _from_annotation(facts: dict[str, Any], symbols: np.ndarray, gain: np.ndarray | None, name: str) -> Burst:
    def get(key: str, kinds: tuple[type, ...], default: Any) -> Any:
        value = facts.get(f"openjscc:{key}", default)
        if value is not default and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise IntegrityError(f"{name}: openjscc:{key} is {str(value)[:50]!r}", "the metadata is damaged")
        return value

    noise_var, one = get("noise_var", (int, float), None), get("gain", (list,), None)
    numbers = [noise_var or 0.0, *(one or [0.0, 0.0])]
    if len(numbers) != 3 or not all(isinstance(value, (int, float)) and _is_finite(value) for value in numbers) or numbers[0] < 0:
        raise IntegrityError(f"{name}: openjscc:noise_var or openjscc:gain is no number", "the metadata is damaged")
    if one is not None:
        gain = np.array([complex(*one)], dtype=np.complex64)
    channel = {
        key: value for key in CHANNEL_FACTS if (value := get(key, (str, int, float), None)) is not None
    }  # what happened to it; nothing here depends on it
    return Burst(
        symbols,
        gain,
        noise_var,
        str(facts.get("core:label", "")),
        get("system", (str,), ""),
        get("agreed", (bool,), False),
        get("draw", (str,), ""),
        channel,
    )


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value) and abs(value) < 1e30
    except OverflowError:
        return False


def _samples(burst: Burst) -> np.ndarray:
    """complex64 ``(k, 1)``, or ``(k, 2)`` with the gains beside the symbols."""
    symbols = np.ascontiguousarray(burst.symbols, dtype=SAMPLE)
    if burst.gain is None or len(burst.gain) == 1:
        return symbols[:, None]
    return np.stack([symbols, np.asarray(burst.gain, dtype=SAMPLE)], axis=1)


# -- archives: a recording for each frame


def _write_archive(stream: IO[bytes], bursts: Iterable[Burst]) -> int:
    count = 0
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for count, burst in enumerate(bursts, start=1):
            samples = _samples(burst)
            annotation = {"core:sample_start": 0, "core:sample_count": len(samples)} | _annotation(burst)
            name = f"frame-{count:06}/frame-{count:06}"
            for suffix, content in ((META, _metadata([annotation], samples.shape[1])), (DATA, samples.tobytes())):
                member = tarfile.TarInfo(name + suffix)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            stream.flush()
    return count


def _read_archive_file(path: Path) -> Iterator[Burst]:
    with path.open("rb") as stream:
        yield from _read_archive(stream, str(path))


def _read_archive(stream: IO[bytes], name: str) -> Iterator[Burst]:
    meta: dict[str, Any] | None = None
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=AT_ONCE) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                if member.size > (LARGEST_META if member.name.endswith(META) else LARGEST_STREAM):
                    raise IntegrityError(f"{name}: {member.name} claims {member.size} bytes", "it is no recording of ours")
                extracted = archive.extractfile(member)
                content = extracted.read() if extracted is not None else b""
                if len(content) != member.size:
                    raise IntegrityError(f"{name} is truncated in {member.name}", "get it again")
                if member.name.endswith(META):
                    meta = _parse(content, f"{name}: {member.name}")
                elif member.name.endswith(DATA):
                    if meta is None or not content or len(content) % SAMPLE.itemsize:
                        raise IntegrityError(f"{name}: {member.name} without metadata, or truncated", "get it again")
                    yield from _bursts(meta, np.frombuffer(content, dtype=SAMPLE), f"{name}: {member.name}")
                    meta, count = None, count + 1
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        if isinstance(error, OpenJSCCError):
            raise
        raise IntegrityError(f"{name} is no SigMF archive, or damaged", "`openjscc tx -o -` writes one") from None
    if not count:
        raise IntegrityError(f"{name} holds no recording", "`openjscc tx -o -` writes one")


# -- plain arrays


def _write_array(path: Path, bursts: Iterable[Burst]) -> int:
    count, length = 0, 0
    header = io.BytesIO()
    with path.open("wb") as stream:
        stream.write(_array_header(0))
        for burst in bursts:
            if burst.gain is not None:
                raise UsageError(f"gains in a {ARRAY} file", f"it holds symbols alone: write a {META} file")
            stream.write(_samples(burst).tobytes())
            length += len(burst.symbols)
            count += 1
        header.write(_array_header(length))
        stream.seek(0)
        stream.write(header.getvalue())
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
