"""The networks that metrics look through: where their published weights are found or downloaded, and proof that they are genuine.

A weight file is looked for, in this order, in

1. the folder that the environment variable ``OPENJSCC_METRIC_WEIGHTS`` names,
2. ``$OPENJSCC_DATA/weights``,
3. ``~/.cache/openjscc`` (``$XDG_CACHE_HOME/openjscc``), then the folder where torch.hub keeps its downloads,

each with its subfolder (``lpips``, ``dists``, ``vgg16``, ``inception``); else it is downloaded from where its authors publish it
into the cache, unless ``OPENJSCC_OFFLINE=1``. Only the tensors that are used are kept there.

Every file is checked when it is loaded: by the sha256 of the tensors used (so a copy that someone saved again passes), or by that
of the file. Another network under the same name gives another metric under the same name, so it is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import IntegrityError, MissingError, UsageError
from ..files import write_atomically

ENVIRONMENT = "OPENJSCC_METRIC_WEIGHTS"
DATA_ENVIRONMENT = "OPENJSCC_DATA"
OFFLINE = "OPENJSCC_OFFLINE"
TIMEOUT_S = 10.0
"""Without an answer for so long, a download is given up."""


@dataclass(frozen=True)
class Conv:
    """A convolution and its ReLU: the number that its parameters carry in torchvision's ``features``, stride and padding."""

    index: int
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class Plan:
    """A network up to its last convolution.

    Attributes:
        stages: the convolutions; the output of each stage is what metrics compare.
        pooled: numbers of the stages that start with pooling.
        pool: side of the max-pooling window; its stride is 2.
        smallest: the shortest side of an image (pixels) for which every stage has an output.
    """

    stages: tuple[tuple[Conv, ...], ...]
    pooled: tuple[int, ...]
    pool: int
    smallest: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the tensors used, as in torchvision's checkpoints."""
        return tuple(f"features.{conv.index}.{part}" for stage in self.stages for conv in stage for part in ("weight", "bias"))


ALEXNET = Plan(((Conv(0, 4, 2),), (Conv(3, 1, 2),), (Conv(6),), (Conv(8),), (Conv(10),)), pooled=(1, 2), pool=3, smallest=31)
"""Krizhevsky 2014 (arXiv:1404.5997), with the outputs after each ReLU."""

VGG16 = Plan(
    tuple(tuple(map(Conv, indices)) for indices in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))),
    pooled=(1, 2, 3, 4),
    pool=2,
    smallest=16,
)
"""Simonyan and Zisserman 2015 (arXiv:1409.1556), configuration D; outputs relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""

_HEADS = tuple(f"lin{stage}.model.1.weight" for stage in range(5))


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        title: for messages.
        names: file names that are looked for; the first is the one that a download gets.
        folder: subfolder that is also looked into.
        url: where it is published.
        mib: size of the download.
        sha256: of the published file, hex.
        keys: the tensors used; empty: all of them, and the file itself is checked against ``sha256``.
        digest: `tensors_digest` of the tensors used.
        licence: of the weights.
    """

    title: str
    names: tuple[str, ...]
    folder: str
    url: str
    mib: float
    sha256: str
    keys: tuple[str, ...]
    digest: str
    licence: str


_LPIPS_REPOSITORY = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"

WEIGHT_FILES: dict[str, WeightFile] = {
    "alexnet": WeightFile(
        "AlexNet (ImageNet)",
        ("alexnet_features.pth", "alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth"),
        "lpips",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        233,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ALEXNET.keys,
        "8259ebdc8849c887b0b95a9414db11a3694493c318c41902269dfa328697ca4e",
        "BSD-3-Clause (torchvision)",
    ),
    "vgg16": WeightFile(
        "VGG16 (ImageNet)",
        ("vgg16_features.pth", "vgg16-397923af.pth"),
        "vgg16",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        528,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        VGG16.keys,
        "5bef21ad0984dab19c90a6ad10c6bfbbd191d3f3f3ae49d51b0dd0114b767044",
        "BSD-3-Clause (torchvision); the network itself CC-BY-4.0",
    ),
    "lpips-alex": WeightFile(
        "the LPIPS heads v0.1 for AlexNet",
        ("lpips_lin_v0.1_alex.pth", "alex.pth"),
        "lpips",
        f"{_LPIPS_REPOSITORY}/alex.pth",
        0.01,
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        _HEADS,
        "885a51c7aba6f7ccf3321ca5f345fbd72201f3347f0a88e807016be494493f5d",
        "BSD-2-Clause",
    ),
    "lpips-vgg": WeightFile(
        "the LPIPS heads v0.1 for VGG16",
        ("lpips_lin_v0.1_vgg.pth", "vgg.pth"),
        "lpips",
        f"{_LPIPS_REPOSITORY}/vgg.pth",
        0.01,
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        _HEADS,
        "09016f6c713efecd87823d0ac57b392f1c5c47de4e54122e04c71f80cc4650a3",
        "BSD-2-Clause",
    ),
    "dists": WeightFile(
        "the DISTS weights",
        ("alpha_beta.pt", "weights.pt"),
        "dists",
        "https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/weights.pt",
        0.01,
        "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        ("alpha", "beta"),
        "7ee9a2e50edf3e434be2256d5c30445207180d55c83f2fd8d8fe450cec0e7c3e",
        "MIT",
    ),
    "inception": WeightFile(
        "FID's Inception network",
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        "inception",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        91,
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        (),
        "",
        "Apache-2.0",
    ),
}


class Backbone(nn.Module):
    """A network up to its last convolution, frozen: its weights are buffers that no optimiser and no checkpoint sees.

    Args:
        plan: `ALEXNET` or `VGG16`.
        parameters: tensors named as in torchvision's checkpoints (`load_weights`).
        pool: in place of max-pooling, for DISTS.
    """

    def __init__(self, plan: Plan, parameters: dict[str, torch.Tensor], pool: nn.Module | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.pool = pool if pool is not None else nn.MaxPool2d(plan.pool, stride=2)
        for key in plan.keys:
            self.register_buffer(key.replace(".", "_"), parameters[key].detach().clone(), persistent=False)

    def stages(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Outputs of the stages, one after another, so that only what is compared is held.

        Args:
            x: float32 ``(B, 3, H, W)``, normalised as the network expects it.

        Raises:
            UsageError: too small an image.
        """
        if min(x.shape[-2:]) < self.plan.smallest:
            size = f"{x.shape[-1]}x{x.shape[-2]}"
            raise UsageError(
                f"a picture of {size} pixels is too small for the network", f"{self.plan.smallest} is the least side"
            )
        for number, stage in enumerate(self.plan.stages):
            if number in self.plan.pooled:
                x = self.pool(x)
            for conv in stage:
                weight, bias = (self.get_buffer(f"features_{conv.index}_{part}") for part in ("weight", "bias"))
                x = F.relu(F.conv2d(x, weight, bias, stride=conv.stride, padding=conv.padding))
            yield x


Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def frozen(make: Callable[..., Network], device: torch.device, *arguments: str) -> Iterator[Network]:
    """The one instance of a network on that device, to be used without gradients.

    On a GPU one thread uses it at a time, with float32 convolutions: TF32 would move the fourth digit of a metric.
    """
    with _LOCK:
        network: Any = _instance(make, str(device), *arguments)
    with torch.no_grad():
        if device.type == "cuda":
            with _LOCK, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield network
        else:
            yield network


_LOCK = threading.RLock()


@lru_cache(maxsize=8)
def _instance(make: Callable[..., nn.Module], device: str, *arguments: str) -> nn.Module:
    return make(*arguments).to(device).eval()


def load_weights(name: str) -> dict[str, torch.Tensor]:
    """The tensors of a line of `WEIGHT_FILES`, float32 on the CPU; found or downloaded, and verified.

    Raises:
        MissingError: not found, and it cannot be downloaded; the hint says where to get it and where to put it.
        IntegrityError: the file found is damaged, or another network.
        UsageError: ``OPENJSCC_METRIC_WEIGHTS`` names no folder, or the cache cannot be written.
    """
    file = WEIGHT_FILES[name]
    return _read(find_weights(name) or _download(file), file)


def find_weights(name: str) -> Path | None:
    """Where the file of that line is, without any download; None where it is not."""
    file = WEIGHT_FILES[name]
    for folder in weight_folders():
        for place in (folder / file.folder, folder):
            for candidate in file.names:
                if (place / candidate).is_file():
                    return place / candidate
    downloads = Path(torch.hub.get_dir()) / "checkpoints"
    for candidate in file.names:
        if file.sha256[:8] in candidate and (downloads / candidate).is_file():
            return downloads / candidate
    return None


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/openjscc``, by default ``~/.cache/openjscc``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "openjscc"


def tensors_digest(tensors: dict[str, torch.Tensor], keys: Sequence[str]) -> str:
    """sha256 (hex) over name and little-endian float32 values of each tensor in order."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode())
        digest.update(tensors[key].to(torch.float32).contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def weight_folders() -> Iterator[Path]:
    """Where published weights are looked for. Raises UsageError where ``OPENJSCC_METRIC_WEIGHTS`` names no folder."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise UsageError(f"{ENVIRONMENT} is {given}, which is no folder", "name the folder that holds the weight files")
        yield folder
    data = os.environ.get(DATA_ENVIRONMENT)
    if data:
        yield Path(data).expanduser() / "weights"
    yield cache_folder()


def _read(path: Path, file: WeightFile) -> dict[str, torch.Tensor]:
    hint = f"remove it, and get {file.url} instead"
    if not file.keys and _file_digest(path) != file.sha256:
        raise IntegrityError(f"{path} is not {file.title} as published", hint)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {key: content[key] for key in file.keys or content}
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            raise TypeError
        digest = tensors_digest(tensors, file.keys)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except Exception:
        raise IntegrityError(f"{path} is damaged, or does not hold {file.title}", hint) from None
    if file.keys and digest != file.digest:
        raise IntegrityError(f"{path} holds other weights than {file.title}", hint)
    return {key: tensor.to(torch.float32) if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def _download(file: WeightFile) -> Path:
    """Into the cache: to a temporary file, checked, reduced to what is used, renamed."""
    folder = cache_folder()
    hint = f"get {file.url} and put it into {folder}, or into a folder that {ENVIRONMENT} names"
    if os.environ.get(OFFLINE) == "1":
        raise MissingError(f"{file.title}: no weights found, and {OFFLINE}=1 forbids to download them", hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}", "set XDG_CACHE_HOME to a folder with room") from None
    with part:
        print(f"downloading {file.title}: {file.url} ({file.mib:g} MiB)", file=sys.stderr)
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(file.url, timeout=TIMEOUT_S) as answer:
                while block := answer.read(1 << 20):
                    digest.update(block)
                    part.write(block)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise MissingError(f"{file.title}: no weights found, and they cannot be downloaded: {reason}", hint) from None
        if digest.hexdigest() != file.sha256:
            raise IntegrityError(f"{file.url} gave another file than the published one", hint)
        part.seek(0)
        if file.keys:
            content = torch.load(part, map_location="cpu", weights_only=True)
            kept = io.BytesIO()
            torch.save({key: content[key].clone() for key in file.keys}, kept)
            data = kept.getvalue()
        else:
            data = part.read()
    target = folder / file.names[0]
    write_atomically(target, data)
    return target
