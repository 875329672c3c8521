"""Training state on disk: exact checkpoints, written atomically, and compact ones to travel with. Both have a checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..configuration import build, read_json
from ..errors import IntegrityError, MissingError, UsageError
from ..files import write_atomically
from ..weightfile import digest, load_pickled

CHECKPOINT = "last.ckpt"
FORMAT = 1
PART_BYTES = 15 * 2**20
_MANIFEST = "travel.json"


@dataclass
class TrainingState:
    """Everything that a run needs to go on.

    Attributes:
        step: updates done.
        seconds: training time so far, over all sittings.
        recipe: the recipe as plain values.
        tensors: ``model.*``, ``ema.*`` and ``optimizer.<index>.*``; of a further network NAME, ``NAME.*`` and
            ``NAME-optimizer.<index>.*``. Of a run that goes on in this process they are the run's own, not copies. Without an
            average, ``ema.*`` are ``model.*``.
        compute: what it ran on, one line a sitting, for the card.
        exact: False after travelling in half precision.
        images: training images seen.
        checked: its checksum was right; False where the file has none, as those of older versions.

    Raises:
        UsageError: a negative number, or something else than tensors.
    """

    step: int
    seconds: float
    recipe: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    compute: list[str]
    exact: bool = True
    images: int = 0
    checked: bool = True

    def __post_init__(self) -> None:
        for key in ("step", "seconds", "images"):
            if getattr(self, key) < 0:
                raise UsageError(f"{key} {getattr(self, key)}", "a number from 0 up")
        if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in self.tensors.items()):
            raise UsageError("tensors of another kind", "a tensor for every name")

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under ``prefix``, without it."""
        return {key[len(prefix) + 1 :]: value for key, value in self.tensors.items() if key.startswith(prefix + ".")}


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Write the exact state as ``folder/last.ckpt``. A run killed while it writes leaves the previous one untouched."""
    about = _about(state)
    content = {"format": FORMAT, "about": json.dumps(about), "sha256": digest(about, state.tensors), "tensors": state.tensors}
    path = folder / CHECKPOINT
    for leftover in folder.glob(f".{CHECKPOINT}.*.tmp"):
        leftover.unlink(missing_ok=True)
    write_atomically(path, lambda file: torch.save(content, file))  # straight to the disk: it may be as large as the memory
    return path


def load_checkpoint(folder: Path) -> TrainingState:
    """Read ``folder/last.ckpt`` (no pickled code is run), or the travelling state if that is what the folder holds.

    Raises:
        MissingError: neither is there.
        IntegrityError: it is damaged (its checksum is wrong, say) or of another format.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        if (folder / _MANIFEST).exists():
            return _load_travel(folder)
        raise MissingError(f"no checkpoint in {folder}", "start without --resume")
    try:
        content = load_pickled(path)
        if content["format"] != FORMAT:
            raise ValueError("format")
        about, tensors, checksum = read_json(content["about"]), content["tensors"], content.get("sha256")
        state = _state(about, tensors, checksum is not None)
        if checksum not in (None, digest(about, tensors)):
            raise ValueError("checksum")
        return state
    except Exception as error:  # torch.load raises many kinds for a damaged file
        raise IntegrityError(
            f"{path} is not a readable checkpoint ({_reason(error)})", "take a copy of it, or delete it and start again"
        ) from None


def save_travel(folder: Path, state: TrainingState) -> list[Path]:
    """Write a compact state in parts of at most 15 MiB: parameters in half precision, Adam's moments in bfloat16.

    Resuming from it is approximate: rounding the state changes the run slightly.
    """
    from safetensors.torch import save

    def compact(key: str, value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point() or value.ndim == 0:
            return value.clone()
        small = value.to(torch.bfloat16 if key.split(".", 1)[0].endswith("optimizer") else torch.float16).contiguous()
        return small if bool(torch.isfinite(small).all()) else value.clone(memory_format=torch.contiguous_format)

    data = save({key: compact(key, value) for key, value in state.tensors.items()})
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [memoryview(data)[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    paths = [folder / f"travel-{state.step}-{index:02d}.part" for index in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        write_atomically(path, piece)
    about = _about(state)
    manifest = {
        "format": FORMAT,
        "parts": [path.name for path in paths],
        "sha256": hashlib.sha256(data).hexdigest(),
        "about": about,
        "about_sha256": digest(about, {}),
    }
    write_atomically(folder / _MANIFEST, json.dumps(manifest, indent=1).encode())
    for old in set(folder.glob("travel-*.part")) - set(paths):  # only now: a kill leaves this state or the one before
        old.unlink()
    return [*paths, folder / _MANIFEST]


def _load_travel(folder: Path) -> TrainingState:
    from safetensors.torch import load

    try:
        manifest = read_json((folder / _MANIFEST).read_text("utf-8"))
        data = b"".join((folder / Path(name).name).read_bytes() for name in manifest["parts"])
        if manifest["format"] != FORMAT or hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise ValueError("checksum")
        about, checksum = manifest["about"], manifest.get("about_sha256")
        if checksum not in (None, digest(about, {})):
            raise ValueError("checksum")
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in load(data).items()}
        return _state({**about, "exact": False}, tensors, checksum is not None)
    except Exception as error:
        raise IntegrityError(
            f"{folder} does not hold a complete travelling state ({_reason(error)})",
            "copy all travel-*.part files and travel.json",
        ) from None


def _state(about: dict[str, Any], tensors: Any, checked: bool) -> TrainingState:
    return build(TrainingState, {**about, "tensors": tensors, "checked": checked}, "state")


def _reason(error: Exception) -> str:
    return str(error) if str(error) in ("format", "checksum") else getattr(error, "message", type(error).__name__)


def _about(state: TrainingState) -> dict[str, Any]:
    return {key: getattr(state, key) for key in ("step", "seconds", "recipe", "compute", "exact", "images")}
