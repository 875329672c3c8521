"""The file of a released weight: safetensors in half precision, with a header that says what it is and guards it.

What is in a codec's header, and how one is tested, is in `openjscc.models`; a task network's in `openjscc.tasks`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch

from .configuration import build
from .errors import IntegrityError, MissingError, UsageError
from .files import write_atomically

FORMAT = 1
SUFFIX = ".safetensors"
KEY = "openjscc"
ENVIRONMENT = "OPENJSCC_WEIGHTS"
LICENCE = "Apache-2.0"
TASK = "task"
"""The ``role`` in the header of a task network; a codec's header has none."""


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """What every weight file's header has.

    Attributes:
        name: ``arch.tag``.
        arch: architecture.
        tag: which weight of that architecture.
        path: the file.
        parameters: number of parameters.
        file_bytes: size of the file.
        config: the architecture's configuration.
        training: steps, images, seconds, compute, data, terms, recipe.
        paper: citation of the architecture.
        licence: of the weight.
        reference: measured results, one record each.
        self_test: what comes out on the bundled probe picture, and how it is made.
        sha256: of all these facts and the parameters, checked when loading.
        format: version of this layout.
    """

    name: str
    arch: str
    tag: str
    path: str
    parameters: int
    file_bytes: int
    config: dict[str, Any]
    training: dict[str, Any]
    paper: str
    licence: str
    reference: list[dict[str, Any]]
    self_test: dict[str, Any]
    sha256: str
    format: int = FORMAT


Facts = TypeVar("Facts", bound=WeightFacts)


def weight_files(role: str | None) -> dict[str, Path]:
    """Weight files at hand by name: the package's, and those in the folder that ``OPENJSCC_WEIGHTS`` names.

    Args:
        role: `TASK`, or None for codecs; a file that cannot be read counts as a codec's.
    """
    found: dict[str, Path] = {}
    packaged = resources.files("openjscc") / "weights"
    for folder in (Path(str(packaged)), Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None):
        if folder is not None and folder.is_dir():
            found |= {path.name.removesuffix(SUFFIX): path for path in folder.glob(f"*{SUFFIX}") if role_of(path) == role}
    return found


def role_of(path: Path) -> str | None:
    """The ``role`` in a weight file's header; None for a codec, and for a file that cannot be read."""
    try:
        return _header(path).get("role")
    except (IntegrityError, MissingError):
        return None


def is_path(name: str) -> bool:
    """Whether a user's ``name`` is meant as a file."""
    return name.endswith(SUFFIX) or os.sep in name


def read_facts(kind: type[Facts], path: str | os.PathLike[str], role: str | None) -> Facts:
    """The facts in a weight file's header; the parameters are not read.

    Args:
        kind: what they are made into.
        path: the file.
        role: what the file must be for.

    Raises:
        MissingError: no such file. IntegrityError: not a safetensors file, or none of ours. UsageError: of another role.
    """
    path = Path(path)
    about = _header(path)
    if about.get("role") != role:
        raise UsageError(
            f"{path} is a {'task network' if role is None else 'codec'}, not a {'codec' if role is None else 'task network'}",
            "name it with --task-network" if role is None else "name it with --model",
        )
    try:
        return build(kind, about | {"path": str(path), "file_bytes": path.stat().st_size}, str(path))
    except (TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _header(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingError(f"no weight file {path}", "openjscc models list shows what there is")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} is not a readable safetensors file ({error})", "get the file again") from None
    if KEY not in metadata:
        raise IntegrityError(
            f"{path} is not an openjscc weight", "it has no 'openjscc' metadata: export one with openjscc train --export"
        )
    try:
        about = json.loads(metadata[KEY])
        written = about["format"]
        about.get("role")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if written != FORMAT:
        raise IntegrityError(f"{path} has weight format {written}, this version reads {FORMAT}", "update openjscc")
    return about


def _damaged(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(f"{path} has a damaged header ({error.args[0] if error.args else error})", "get the file again")


def read_tensors(facts: WeightFacts) -> dict[str, torch.Tensor]:
    """The parameters, in single precision, after a look at the checksum of facts and parameters.

    Raises:
        IntegrityError: truncated, damaged, or a wrong checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(facts.path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{facts.path} is truncated or damaged ({error})", "get the file again") from None
    about = {key: value for key, value in asdict(facts).items() if key not in ("path", "file_bytes", "sha256")}
    if digest(about, tensors) != facts.sha256:
        raise IntegrityError(f"{facts.path}: its checksum is wrong", "get the file again")
    return single_precision(tensors)


def half_precision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict as it is stored: floating point as float16, plain layout, on the CPU.

    Raises:
        UsageError: for values that half precision cannot hold.
    """
    plain = torch.contiguous_format
    tensors = {}
    for key, value in state.items():
        kept = value.detach().cpu()
        tensors[key] = (kept.to(torch.float16) if kept.is_floating_point() else kept).clone(memory_format=plain)
        if not bool(torch.isfinite(tensors[key]).all()):
            raise UsageError(f"{key} is not finite in half precision", "the training has diverged; take an earlier checkpoint")
    return tensors


def single_precision(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating point as float32, the rest as it is."""
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def write_weight(path: str | os.PathLike[str], about: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a weight file (atomically, replacing one that exists) of `half_precision` tensors and facts without checksum.

    Raises:
        UsageError: a folder that cannot be written.
    """
    from safetensors.torch import save

    facts = {**about, "sha256": digest(about, tensors)}
    write_atomically(weight_path(path), save(dict(tensors), {KEY: json.dumps(facts)}))


def weight_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file to write. Raises UsageError for one without the suffix."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UsageError(f"{path} does not end in {SUFFIX}", f"name it {path.stem}{SUFFIX}")
    return path


def digest(facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 (hex) over the facts (but for path, size and checksum) and the parameters."""
    result = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for key in sorted(tensors):
        result.update(f"{key}{tuple(tensors[key].shape)}{tensors[key].dtype}".encode())
        result.update(tensors[key].numpy().tobytes())  # in logical order, whatever the strides
    return result.hexdigest()


def citation(cls: type) -> str:
    """The second paragraph of a class docstring: where the paper is named."""
    paragraphs = (cls.__doc__ or "").split("\n\n")
    return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""


def probe() -> torch.Tensor:
    """The bundled probe picture, float32 ``(1, 3, H, W)`` in [0, 1], read as a file of the package."""
    import numpy as np
    from PIL import Image

    with (resources.files("openjscc.data") / "samples" / "probe.png").open("rb") as file, Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
