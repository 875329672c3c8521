"""One SigMF recording: metadata with an annotation for each frame, and samples in a file beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IntegrityError, MissingError, UsageError
from .burst import (
    ARCHIVE,
    DATA,
    DATATYPE,
    EXTENSION,
    LARGEST_FRAME,
    LARGEST_META,
    LONGEST_LABEL,
    LONGEST_TEXT,
    SAMPLE,
    Burst,
    check_file,
    samples_of,
)


def write_recording(meta: Path, data: Path, bursts: Iterable[Burst]) -> int:
    annotations: list[dict[str, Any]] = []
    start, channels = 0, 1
    with data.open("xb") as stream:
        for number, burst in enumerate(bursts):
            samples, annotation = samples_of(burst), annotation_of(burst)
            if number and samples.shape[1] != channels:
                raise UsageError("frames with a gain for every symbol and others in one recording", "write them to two")
            channels = samples.shape[1]
            stream.write(samples.tobytes())
            annotations.append({"core:sample_start": start, "core:sample_count": len(samples)} | annotation)
            start += len(samples)
    content = metadata(annotations, channels)
    if len(content) > LARGEST_META:
        raise UsageError(f"{len(annotations)} frames in one recording", f"write a {ARCHIVE} file: it holds any number")
    meta.write_bytes(content)
    return len(annotations)


def read_recording(path: Path) -> Iterator[Burst]:
    if path.stat().st_size > LARGEST_META:
        raise IntegrityError(f"{path} is too large for metadata", "name the .sigmf-meta file of a recording")
    content = parse(path.read_bytes(), str(path))
    data = path.with_suffix(DATA)
    check_file(data, "samples", f"keep {data.name} beside {path.name}")
    size = sample_count(data.stat().st_size, str(data))
    whole = None if content["annotations"] else np.memmap(data, dtype=SAMPLE, mode="r")

    def read(start: int, count: int) -> np.ndarray:
        return np.fromfile(data, SAMPLE, count, offset=start * SAMPLE.itemsize) if whole is None else whole

    yield from bursts_of(content, read, size, str(path))


def sample_count(size: int, name: str) -> int:
    """Samples in so many bytes."""
    if size == 0 or size % SAMPLE.itemsize:
        raise IntegrityError(f"{name} has {size} bytes", f"{DATATYPE} samples have 8 bytes each: the file is truncated")
    return size // SAMPLE.itemsize


def metadata(annotations: list[dict[str, Any]], channels: int) -> bytes:
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


def parse(content: bytes, name: str) -> dict[str, Any]:
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


def bursts_of(content: dict[str, Any], read: Callable[[int, int], np.ndarray], size: int, name: str) -> Iterator[Burst]:
    """The frames that the annotations name; without any the whole recording, whose frames the receiver must find.

    Args:
        content: of `parse`.
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


def annotation_of(burst: Burst) -> dict[str, Any]:
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


def _library() -> Any:
    try:
        import sigmf
    except ImportError:
        raise MissingError("SigMF recordings need the package sigmf", "pip install 'openjscc[radio]', or write .npy") from None
    return sigmf
