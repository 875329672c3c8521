"""The file of a released weight: safetensors in half precision, with a header that says what it is and guards it.

What is in a codec's header, and how one is tested, is in `openjscc.models`; a task network's in `openjscc.tasks`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickletools
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_buffer_registration_hook, register_module_parameter_registration_hook

from .configuration import build, read_json
from .errors import IntegrityError, MissingError, OpenJSCCError, UsageError
from .files import write_atomically

FORMAT = 1
SUFFIX = ".safetensors"
PACKAGED = Path(str(resources.files("openjscc") / "weights"))
"""Where the package's own weight files lie."""
KEY = "openjscc"
ENVIRONMENT = "OPENJSCC_WEIGHTS"
LICENCE = "Apache-2.0"
TASK = "task"
"""The ``role`` in the header of a task network; a codec's header has none."""
HEADER_LIMIT = 2**22
"""Largest header that is read, in bytes; those of released weights have less than 40,000."""
NAME_LIMIT = 200
"""Longest name, tag and licence in a header, in characters."""
SIZE_LIMIT = 2**16
"""Largest number in the configuration of a network that a file brings along."""
_DTYPES = (torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool)
_PICKLED = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    *(
        f"{module} {kind}Storage"
        for module in ("torch", "torch.cuda")
        for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
    ),
}
"""What a state dict is pickled with."""

Network = TypeVar("Network", bound=nn.Module)


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
        self_test: what comes out on the bundled probe image, and how it is made.
        sha256: of all these facts and the parameters, checked when loading.
        format: version of this layout.

    Raises:
        UsageError: a name that is not ``arch.tag``, is too long or cannot be printed, or a number of parameters out of range.
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

    def __post_init__(self) -> None:
        for key in ("arch", "tag", "name", "licence"):
            text = getattr(self, key)
            if len(text) > NAME_LIMIT or not text.isprintable():
                raise UsageError(f"{key} {text[:40]!r}...", f"at most {NAME_LIMIT} printable characters")
        if self.name != f"{self.arch}.{self.tag}":
            raise UsageError(f"name {self.name!r}", f"it is {self.arch}.{self.tag}")
        if not 0 <= self.parameters < 2**40:
            raise UsageError(f"parameters {self.parameters}", "their number, below 2^40")


Facts = TypeVar("Facts", bound=WeightFacts)


def weight_files(role: str | None) -> dict[str, Path]:
    """Weight files at hand by name: the package's, and those in the folder that ``OPENJSCC_WEIGHTS`` names.

    Args:
        role: `TASK`, or None for codecs; a file that cannot be read counts as a codec's.
    """
    found: dict[str, Path] = {}
    for folder in (PACKAGED, Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None):
        if folder is not None and folder.is_dir():
            found |= {path.name.removesuffix(SUFFIX): path for path in folder.glob(f"*{SUFFIX}") if role_of(path) == role}
    return found


def packaged_sha256(name: str) -> str | None:
    """Of the package's own weight of this name, of either role; None: it has none."""
    path = PACKAGED / f"{name}{SUFFIX}"
    return _header(path).get("sha256") if path.exists() else None


def role_of(path: Path) -> str | None:
    """The ``role`` in a weight file's header; None for a codec, and for a file that cannot be read."""
    try:
        return _header(path).get("role")
    except (IntegrityError, MissingError):
        return None


def readable(read: Callable[[Path], Facts], files: Mapping[str, Path]) -> list[Facts]:
    """The facts of these files in the order of their names, without those that cannot be read: a warning names each."""
    found = []
    for _, path in sorted(files.items()):
        try:
            found.append(read(path))
        except OpenJSCCError as error:
            warnings.warn(f"left out: {error.message}", stacklevel=3)
    return found


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
    except UsageError as error:
        raise _damaged(path, error.message.removeprefix(f"{path}: ")) from None


def _header(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingError(f"no weight file {path}", "openjscc models list shows what there is")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if HEADER_LIMIT < length <= path.stat().st_size:
            raise _damaged(path, f"{length:,} bytes long")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path} is not a readable safetensors file ({error})", "get the file again") from None
    if KEY not in metadata:
        raise IntegrityError(
            f"{path} is not an openjscc weight", "it has no 'openjscc' metadata: export one with openjscc train --export"
        )
    try:
        about = read_json(metadata[KEY])
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(about, dict) or "format" not in about:
        raise _damaged(path, "it says no format")
    if about["format"] != FORMAT:
        raise IntegrityError(
            f"{path} has weight format {str(about['format'])[:20]}, this version reads {FORMAT}", "update openjscc"
        )
    return about


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(f"{path} has a damaged header ({what})", "get the file again")


def read_tensors(facts: WeightFacts) -> dict[str, torch.Tensor]:
    """The parameters, in single precision, after a look at the checksum of facts and parameters.

    Raises:
        IntegrityError: truncated, damaged, values of another type than `half_precision` gives, or a wrong checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(facts.path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{facts.path} is truncated or damaged ({error})", "get the file again") from None
    for key, value in tensors.items():
        if value.dtype not in _DTYPES:
            raise IntegrityError(f"{facts.path}: {key[:80]!r} is of the type {value.dtype}", "weights are stored as float16")
    about = {key: value for key, value in asdict(facts).items() if key not in ("path", "file_bytes", "sha256")}
    if digest(about, tensors) != facts.sha256:
        raise IntegrityError(f"{facts.path}: its checksum is wrong", "get the file again")
    return single_precision(tensors)


def fitted(make: Callable[[], Network], tensors: Mapping[str, torch.Tensor], parameters: int | None = None) -> Network:
    """The network that ``make`` makes, with ``tensors`` as its parameters and buffers, on the CPU.

    It is made without memory first, and only as far as the tensors reach. So a small file cannot make a
    large network.

    Args:
        make: makes the network, untrained.
        tensors: its state dict.
        parameters: what the file says that their number is.

    Raises:
        ValueError: it has other parameters or buffers, or cannot be made.
    """
    shapes = {key: value.shape for key, value in tensors.items()}
    with torch.device("meta"), _no_more_than(len(shapes), sum(value.numel() for value in tensors.values())):
        try:
            planned = make().state_dict()
        except (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError) as error:
            raise ValueError(f"it cannot be made: {type(error).__name__}") from None
    if {key: value.shape for key, value in planned.items()} != shapes:
        raise ValueError("it has other parameters")
    network = make()
    network.load_state_dict(tensors)
    if parameters not in (None, found := sum(parameter.numel() for parameter in network.parameters())):
        raise ValueError(f"it has {found:,} parameters, not {parameters:,}")
    return network


@contextlib.contextmanager
def _no_more_than(count: int, values: int) -> Iterator[None]:
    """Limits the parameters, and the buffers, and the values in them, of all modules that this thread makes meanwhile.

    Buffers have a limit of their own: those that are not stored (``persistent=False``) come on top of what a file holds.
    """
    thread = threading.get_ident()

    def counter() -> Callable[[nn.Module, str, torch.Tensor | None], None]:
        left = [count, values]

        def counted(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
            if tensor is not None and threading.get_ident() == thread:
                left[0], left[1] = left[0] - 1, left[1] - tensor.numel()
                if min(left) < 0:
                    raise ValueError("it has more parameters")

        return counted

    hooks = [register_module_parameter_registration_hook(counter()), register_module_buffer_registration_hook(counter())]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_sizes(values: Any) -> None:
    """Raises ValueError where plain values have a number beyond `SIZE_LIMIT`."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        for value in values:
            check_sizes(value)
    elif isinstance(values, (int, float)) and not abs(values) <= SIZE_LIMIT:
        raise ValueError(f"{values} is beyond {SIZE_LIMIT}")


def load_pickled(path: Path) -> Any:
    """What ``torch.save`` wrote of tensors and plain values, on the CPU. No code in the file is run. Its size bounds
    what it allocates.

    Raises:
        Exception: of many kinds, for a damaged or a foreign file.
    """
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise ValueError("a compressed archive")
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        with archive.open(name) as pickled:
                            _check_pickle(pickled)
        else:
            file.seek(0)
            for _ in range(5):  # magic number, version, system, content, keys of the storages
                _check_pickle(file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_pickle(file: Any) -> None:
    """Raises ValueError for a pickle that calls more than what rebuilds tensors (a bytearray of any size, say)."""
    for code, argument, _ in pickletools.genops(file):
        unknown = code.name == "GLOBAL" and argument not in _PICKLED
        if unknown or code.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
            raise ValueError(f"pickled {argument}")


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
    """The bundled probe image, float32 ``(1, 3, H, W)`` in [0, 1], read as a file of the package."""
    import numpy as np
    from PIL import Image

    with (resources.files("openjscc.data") / "samples" / "probe.png").open("rb") as file, Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
