"""Released weights of codecs: one file each, which says what it is and tests itself when it is loaded."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import weightfile
from ..codec import CodecInfo, Conditions, Received, Reconstruction
from ..configuration import build
from ..errors import IntegrityError, MissingError, OpenJSCCError, UsageError, unknown_name
from ..header import SCALE_BITS, identity_of, index_bits
from ..units import SNR_LIMIT_DB, format_ratio, noise_var_from_snr, psnr_from_mse
from ..weightfile import ENVIRONMENT, LICENCE, WeightFacts, is_path
from ._base import RATIO_TOLERANCE, CodecConfig, LearnedCodec
from ._registry import ARCHITECTURES, create
from ._renamed import renamed

SELF_TEST_SNR_DB = 10.0
SELF_TEST_TOLERANCE_DB = 0.02
SELF_TEST_TOLERANCE = 0.02
"""Of class scores, relative to those above 1."""
COST_LIMIT = 2e8
"""Most multiply-accumulates per pixel of a network in a configuration that is not registered; the papers' have less than 3e6."""


@dataclass(frozen=True, kw_only=True)
class WeightInfo(WeightFacts):
    """The facts of a codec's weight file, as its header has them.

    The ``reference`` records have data, channel, snr_db, ratio, metric, mean; ``self_test`` what `self_test` gives.

    Attributes:
        ratios: bandwidth ratios that it serves.
        default_ratio: the one used when nobody asks and the codec does not choose for itself (`default_rate`).
    """

    ratios: list[float]
    default_ratio: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ratios or not all(0 < ratio <= 10 for ratio in self.ratios) or self.default_ratio not in self.ratios:
            raise UsageError(f"ratios {self.ratios[:10]}, default {self.default_ratio}", "bandwidth ratios in (0, 10]")
        promised = [self.self_test.get("psnr_db"), self.self_test.get("scores", {})]
        if not all(isinstance(part, dict) for part in promised) or not any(promised):
            raise UsageError("its self-test tests nothing", "openjscc train --export writes the test")

    @property
    def default_rate(self) -> str:
        """What is sent at when nobody asks, in words."""
        known = ARCHITECTURES.get(self.arch)
        return "chosen for each picture" if known is not None and known.cls.has_policy else format_ratio(self.default_ratio)


def list_models() -> list[WeightInfo]:
    """All released weights that are at hand. A file that cannot be read is left out, with a warning."""
    return weightfile.readable(read_info, weight_files())


def resolve(name: str, ratio: float | None = None, data: str | None = None, also: Iterable[str] = ()) -> str:
    """The full name ``arch.tag`` (or the path) that a user's ``name`` means.

    Args:
        name: ``arch``, ``arch.tag``, or the path of a weight file.
        ratio: where given, a bare architecture means a weight that serves this bandwidth ratio.
        data: where given, a bare architecture prefers the tag of that name (``cifar10``).
        also: names that mean something elsewhere, for the hint.

    Raises:
        UsageError: unknown name (with near misses), or no weight of the architecture serves the ratio.
        MissingError: a known architecture without any weight.
    """
    files = weight_files()
    if name in files or is_path(name):
        return name
    if name not in ARCHITECTURES:
        arch = name.partition(".")[0]
        known = (
            [*files, *ARCHITECTURES, *also]
            if arch not in ARCHITECTURES
            else [file for file in files if file.startswith(arch + ".")]
        )
        more = f"(or point {ENVIRONMENT} at a folder that has it)" if arch in ARCHITECTURES else ""
        raise unknown_name("model", name, known, more=more)
    tags = [file.partition(".")[2] for file in files if file.partition(".")[0] == name]
    if not tags:
        raise MissingError(
            f"{name} has no released weight", f"train one: openjscc train --list; or point {ENVIRONMENT} at a folder"
        )
    preferred = [tag for tag in (data, ARCHITECTURES[name].default_tag, *sorted(tags)) if tag in tags]
    if ratio is None:
        return f"{name}.{preferred[0]}"
    # What the name means must be readable. Of the others, those that are count.
    infos = {preferred[0]: read_info(files[f"{name}.{preferred[0]}"])}
    others = {f"{name}.{tag}": files[f"{name}.{tag}"] for tag in preferred[1:]}
    infos |= {info.tag: info for info in weightfile.readable(read_info, others)}
    for tag in dict.fromkeys(preferred):
        if tag in infos and _serves(infos[tag], ratio):
            return f"{name}.{tag}"
    served = "; ".join(
        f"{name}.{tag}: " + ", ".join(format_ratio(known) for known in info.ratios) for tag, info in sorted(infos.items())
    )
    raise UsageError(f"no weight of {name} has the bandwidth ratio {format_ratio(ratio or 0)}", served)


def load(name: str | os.PathLike[str], verify: bool = True) -> LearnedCodec:
    """A released codec, ready to transmit (evaluation mode, float32, on the CPU).

    Args:
        name: ``arch.tag``, a bare architecture (its default tag), or the path of an exported ``.safetensors`` file.
        verify: run the file's self-test; an image that comes out differently is an error, not a worse image.

    Raises:
        UsageError: unknown name. MissingError: no such file. IntegrityError: damaged, foreign, or failing its self-test.
    """
    path = _path(name)
    info = read_info(path)
    tensors = weightfile.read_tensors(info)  # checks the facts too, before anything is built from them
    codec = _build(info, tensors)
    codec = codec.to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
    codec.requires_grad_(False)
    codec.name, codec.weight = info.name, info
    codec.header = dataclasses.replace(codec.header, identity=identity_of(info.sha256))
    if verify:
        _run_self_test(codec, info)
    return codec


def verify(name: str | os.PathLike[str]) -> WeightInfo:
    """Load a weight with all its checks and return its facts. Raises as `load` does."""
    codec = load(name)
    assert codec.weight is not None
    return codec.weight


def export(
    codec: LearnedCodec,
    path: str | os.PathLike[str],
    *,
    tag: str,
    training: Mapping[str, Any],
    reference: list[dict[str, Any]] | None = None,
    licence: str = LICENCE,
) -> WeightInfo:
    """Write a codec as a release file: half precision, self-describing, self-testing.

    Args:
        codec: trained codec; what is stored is its parameters rounded to float16.
        path: ``.safetensors`` file to write (replaced if it exists, atomically).
        tag: the weight's tag; its name is ``arch.tag``.
        training: facts of the training (see `WeightInfo.training`).
        reference: measured results.
        licence: of the weight.

    Raises:
        UsageError: a path without the suffix, a folder that cannot be written, or parameters that half precision cannot hold.
    """
    weightfile.weight_path(path)
    tensors = weightfile.half_precision(codec.state_dict())
    rounded = create(codec.arch, codec.config)
    rounded.load_state_dict(weightfile.single_precision(tensors))
    rounded.to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]
    about = {
        "format": weightfile.FORMAT,
        "name": f"{codec.arch}.{tag}",
        "arch": codec.arch,
        "tag": tag,
        "parameters": sum(parameter.numel() for parameter in codec.parameters()),
        "config": json.loads(json.dumps(dataclasses.asdict(codec.config))),
        "ratios": list(codec.ratios),
        "default_ratio": codec.default_ratio,
        "training": dict(training),
        "paper": weightfile.citation(type(codec)),
        "licence": licence,
        "reference": reference or [],
        "self_test": self_test(rounded),
    }
    weightfile.write_weight(path, about, tensors)
    return read_info(path)


def read_info(path: str | os.PathLike[str]) -> WeightInfo:
    """The facts in a weight file's header; the parameters are not read.

    Raises:
        MissingError: no such file. IntegrityError: not a safetensors file, or none of ours. UsageError: a task network.
    """
    return weightfile.read_facts(WeightInfo, path, None)


def self_test(codec: LearnedCodec) -> dict[str, Any]:
    """What comes out of the bundled probe image at 10 dB, on a fixed draw of noise, at every ratio of every task.

    ``psnr_db``: PSNR of the image in dB; ``scores``, for a codec that segments: every class's mean score over the pixels.
    """
    x = weightfile.probe()
    decibels: dict[str, float] = {}
    scores: dict[str, list[float]] = {}
    for task in codec.tasks:
        for ratio in CodecInfo(codec).task_ratios(task):
            result = _through_noise(codec, x, ratio, task)
            if result.image is not None:
                error = ((result.image * 255).round() / 255 - x).square().mean()
                decibels[format_ratio(ratio)] = round(float(psnr_from_mse(error)), 4)
            if result.segmentation is not None:
                scores[format_ratio(ratio)] = [round(float(score), 4) for score in result.segmentation[0].mean((1, 2))]
    return {
        "picture": "probe.png",
        "snr_db": SELF_TEST_SNR_DB,
        "psnr_db": decibels,
        **({"scores": scores} if scores else {}),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _through_noise(codec: LearnedCodec, x: torch.Tensor, ratio: float, task: str) -> Reconstruction:
    """The payload over white noise; the header is no part of this test.

    The payload meets the noise that it met behind the first version's header (a symbol a bit), so that a file's reference values
    outlive the header.
    """
    noise_var = noise_var_from_snr(torch.tensor([SELF_TEST_SNR_DB]))
    with torch.no_grad():
        frame = codec.encode(x, Conditions(snr_db=torch.tensor([SELF_TEST_SNR_DB]), ratio=ratio, task=task))
        side = frame.side
        head, before = codec.header.uses(side.height, side.width, SELF_TEST_SNR_DB), _first_header_uses(codec, x)
        payload = frame.symbols.shape[1] - head
        draw = torch.randn(1, before + payload, 2, generator=torch.Generator().manual_seed(0))
        noise = torch.view_as_complex(draw)[:, before:] * math.sqrt(float(noise_var) / 2)
        noisy = torch.cat([frame.symbols[:, :head], frame.symbols[:, head:] + noise], dim=1)
        return codec.decode_payload(Received(noisy, noise_var, None, frame.length), side)


def _first_header_uses(codec: LearnedCodec, x: torch.Tensor) -> int:
    """Channel uses of the header of version 0: a flag where a size is agreed, 2 x 16 bits of size unless it is that one, rate,
    task, and 10 bits of scale."""
    form = codec.header
    size = 32 if form.agreed_size is None else 1 if tuple(x.shape[-2:]) == tuple(form.agreed_size) else 33
    return size + index_bits(form.rates) + index_bits(len(form.tasks)) + (SCALE_BITS if form.scale else 0)


def _run_self_test(codec: LearnedCodec, info: WeightInfo) -> None:
    expected = info.self_test
    try:
        measured = self_test(codec)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _failed(info, f"it cannot be run ({type(error).__name__})") from None
    promised, results = ([facts["psnr_db"], facts.get("scores", {})] for facts in (expected, measured))
    made = [[facts.get(key) for key in ("picture", "snr_db")] for facts in (expected, measured)]
    if made[0] != made[1] or not all(map(_alike, promised, results)):
        raise IntegrityError(
            f"{info.name} has no self-test of everything that it serves: CBR {', '.join(map(format_ratio, codec.ratios))}",
            "get the file again; openjscc train --export writes the test",
        )
    for ratio, value in promised[0].items():
        found = measured["psnr_db"][ratio]
        if not abs(found - value) <= SELF_TEST_TOLERANCE_DB:
            raise _failed(info, f"{found} dB at CBR {ratio}, expected {value} dB")
    for ratio, values in promised[1].items():
        for number, (one, other) in enumerate(zip(measured["scores"][ratio], values, strict=True)):
            if not abs(one - other) <= SELF_TEST_TOLERANCE * max(1.0, abs(other)):
                raise _failed(info, f"a mean score of {one} for class {number} at CBR {ratio}, expected {other}")


def _alike(promised: Any, measured: Any) -> bool:
    """Whether a promise is of the kind of what is measured: a number, as many numbers, or as much under the same keys."""
    if isinstance(measured, dict):
        return promised.keys() == measured.keys() and all(_alike(promised[key], measured[key]) for key in measured)
    if isinstance(measured, list):
        return isinstance(promised, list) and len(promised) == len(measured) and all(map(_alike, promised, measured))
    return isinstance(promised, (int, float)) and not isinstance(promised, bool)


def _failed(info: WeightInfo, what: str) -> IntegrityError:
    return IntegrityError(
        f"{info.name} fails its self-test: {what}",
        "get the file again; if it is intact, report that this version of torch computes otherwise than "
        f"{str(info.self_test.get('torch'))[:40]}",
    )


def _build(info: WeightInfo, tensors: Mapping[str, torch.Tensor]) -> LearnedCodec:
    """The codec that the file says, once it is known to be of the size of its parameters."""
    if info.arch not in ARCHITECTURES:
        raise IntegrityError(
            f"{info.path} is of an unknown architecture {info.arch!r}", f"known: {', '.join(sorted(ARCHITECTURES))}"
        )
    known = ARCHITECTURES[info.arch]
    kind = type(next(iter(known.configs.values())))
    try:
        config: CodecConfig = build(kind, renamed(info.arch, info.config), "config")
        if config not in known.configs.values():
            _check_config(info, config)
        codec = weightfile.fitted(lambda: create(info.arch, config), tensors, info.parameters)
        if config not in known.configs.values():
            _check_cost(codec)
    except (ArithmeticError, LookupError, OpenJSCCError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{info.path} does not fit this version's {info.arch} ({getattr(error, 'message', error)})",
            "the file was made by another version of openjscc",
        ) from None
    if (list(codec.ratios), codec.default_ratio) != (info.ratios, info.default_ratio):
        raise IntegrityError(f"{info.path} says other bandwidth ratios than its configuration", "get the file again")
    return codec


def _check_config(info: WeightInfo, config: CodecConfig) -> None:
    """Raises ValueError for what no network can be made of."""
    weightfile.check_sizes(info.config)
    low, high = config.snr_range
    if not -SNR_LIMIT_DB <= low <= high <= SNR_LIMIT_DB:
        raise ValueError(f"snr_range {list(config.snr_range)}")
    if config.agreed_size is not None and min(config.agreed_size) < 1:
        raise ValueError(f"agreed_size {list(config.agreed_size)}")
    if not -len(config.rates) <= config.default_rate < len(config.rates):
        raise ValueError(f"default_rate {config.default_rate} of {len(config.rates)}")


def _check_cost(codec: LearnedCodec) -> None:
    """Raises ValueError where images would be padded to a multiple of very much, or cost very much."""
    from ._complexity import SIDE

    try:
        cost = max(codec.macs_per_pixel(task) for task in codec.tasks) if 1 <= codec.stride <= SIDE else math.inf
    except (ArithmeticError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"it cannot be run: {type(error).__name__}") from None
    if cost > COST_LIMIT:
        raise ValueError(f"{cost:.3g} multiply-accumulates per pixel")


def weight_files() -> dict[str, Path]:
    """Codecs' weight files at hand by name: the package's, and those in the folder that ``OPENJSCC_WEIGHTS`` names."""
    return weightfile.weight_files(None)


def _path(name: str | os.PathLike[str]) -> Path:
    if isinstance(name, os.PathLike) or is_path(name):
        return Path(name)
    full = resolve(name)
    path = weight_files()[full]
    if read_info(path).name != full:
        raise IntegrityError(f"{path} holds {read_info(path).name}", "give the file the name that it says, or use its path")
    return path


def _serves(info: WeightInfo, ratio: float) -> bool:
    return any(abs(ratio / known - 1) <= RATIO_TOLERANCE for known in info.ratios)
