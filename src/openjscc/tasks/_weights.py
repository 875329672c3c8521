"""Released weights of task networks: the same files as the codecs', tested by the scores on the bundled probe image."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import weightfile
from ..configuration import build
from ..errors import IntegrityError, MissingError, OpenJSCCError, UsageError, unknown_name
from ..weightfile import ENVIRONMENT, LICENCE, NAME_LIMIT, TASK, WeightFacts
from . import classifier, fcn
from .classifier import Classifier, ClassifierConfig
from .fcn import FCN, FCNConfig

Config = ClassifierConfig | FCNConfig
Network = Classifier | FCN


@dataclass(frozen=True)
class Architecture:
    """A task network of which there are released weights.

    Attributes:
        make: the network of a configuration.
        configs: named configurations; the first one's name is the default tag.
    """

    make: Callable[[Any], Network]
    configs: Mapping[str, Config]


ARCHITECTURES = {"classifier": Architecture(Classifier, classifier.CONFIGS), "fcn": Architecture(FCN, fcn.CONFIGS)}
SELF_TEST_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class TaskWeight(WeightFacts):
    """The facts of a task network's weight file, as its header has them.

    Attributes:
        role: `openjscc.weightfile.TASK`.
        kind: of the task.
        classes: names, by number.
        input_size: ``[H, W]`` that it was made for; empty: any.
    """

    role: str
    kind: str
    classes: list[str]
    input_size: list[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.classes or not all(len(name) <= NAME_LIMIT and name.isprintable() for name in self.classes):
            raise UsageError(f"{len(self.classes)} classes", f"each has a printable name of at most {NAME_LIMIT} characters")
        scores = self.self_test.get("scores")
        if not isinstance(scores, dict) or scores.keys() != set(self.classes):
            raise UsageError("its self-test does not test every class", "openjscc train --export writes the test")


def create(arch: str, config: str | Config) -> Network:
    """A task network with untrained parameters. Raises UsageError for an unknown architecture or configuration."""
    if arch not in ARCHITECTURES:
        raise unknown_name("task network", arch, ARCHITECTURES)
    known = ARCHITECTURES[arch]
    if isinstance(config, str):
        if config not in known.configs:
            raise unknown_name(f"configuration of {arch}", config, known.configs)
        config = known.configs[config]
    return known.make(config)


def weight_files() -> dict[str, Path]:
    """Task networks' weight files at hand by name: the package's, and those that ``OPENJSCC_WEIGHTS`` names."""
    return weightfile.weight_files(TASK)


def list_weights() -> list[TaskWeight]:
    """All released weights that are at hand. A file that cannot be read is left out, with a warning."""
    return weightfile.readable(read_info, weight_files())


def read_info(path: str | os.PathLike[str]) -> TaskWeight:
    """The facts in a weight file's header; the parameters are not read.

    Raises:
        MissingError: no such file. IntegrityError: not a safetensors file, or none of ours. UsageError: a codec.
    """
    return weightfile.read_facts(TaskWeight, path, TASK)


def released_names() -> set[str]:
    """All names that a release has or may have: bare architectures, those with a tag, and the files at hand."""
    return {*ARCHITECTURES, *(f"{arch}.{tag}" for arch, known in ARCHITECTURES.items() for tag in known.configs), *weight_files()}


def weight_path(name: str) -> Path:
    """The file of a released name; a bare architecture means its default tag.

    Raises:
        MissingError: a known name without a file.
    """
    files = weight_files()
    full = f"{name}.{next(iter(ARCHITECTURES[name].configs))}" if name in ARCHITECTURES else name
    if full not in files:
        raise MissingError(
            f"the task network {full} has no weight at hand",
            f"train it: openjscc train {full.replace('.', '-')}; or point {ENVIRONMENT} at a folder with {full}.safetensors; "
            "or name another one, e.g. --task-network resnet20.th",
        )
    return files[full]


def load(path: str | os.PathLike[str], verify: bool = True) -> Network:
    """A task network from an exported ``.safetensors`` file, in evaluation mode, frozen, float32, on the CPU.

    Args:
        path: the file.
        verify: run the file's self-test; other scores are an error, not a worse figure.

    Raises:
        MissingError: no such file. IntegrityError: damaged, foreign, or failing its self-test. UsageError: a codec.
    """
    info = read_info(path)
    tensors = weightfile.read_tensors(info)  # checks the facts too, before anything is built from them
    if info.arch not in ARCHITECTURES:
        raise IntegrityError(f"{path} is of an unknown architecture {info.arch!r}", f"known: {', '.join(ARCHITECTURES)}")
    try:
        weightfile.check_sizes(info.config)
        config = build(_config_of(info.arch), info.config, "config")
        network = weightfile.fitted(lambda: create(info.arch, config), tensors, info.parameters)
        said = (info.kind, info.classes, info.input_size)
        if said != (network.kind, list(network.classes), list(network.input_size or ())):
            raise ValueError("task, classes or size are others")
    except (ArithmeticError, LookupError, OpenJSCCError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path} does not fit this version's {info.arch} ({getattr(error, 'message', error)})",
            "it was made by another version of openjscc",
        ) from None
    network = network.eval().requires_grad_(False)
    network.name, network.weight = info.name, info
    if verify:
        _run_self_test(network, info)
    return network


def export(
    network: Network,
    path: str | os.PathLike[str],
    *,
    tag: str,
    training: Mapping[str, Any],
    reference: list[dict[str, Any]] | None = None,
    licence: str = LICENCE,
) -> TaskWeight:
    """Write a task network as a release file: half precision, self-describing, self-testing.

    Args:
        network: trained; what is stored is its parameters rounded to float16.
        path: ``.safetensors`` file to write (replaced if it exists, atomically).
        tag: the weight's tag; its name is ``arch.tag``.
        training: facts of the training (see `openjscc.weightfile.WeightFacts`).
        reference: measured results.
        licence: of the weight.

    Raises:
        UsageError: a path without the suffix, a folder that cannot be written, or parameters that half precision cannot hold.
    """
    weightfile.weight_path(path)
    arch = _architecture_of(network)
    tensors = weightfile.half_precision(network.state_dict())
    rounded = create(arch, network.config).eval()
    rounded.load_state_dict(weightfile.single_precision(tensors))
    about = {
        "format": weightfile.FORMAT,
        "role": TASK,
        "name": f"{arch}.{tag}",
        "arch": arch,
        "tag": tag,
        "kind": network.kind,
        "classes": list(network.classes),
        "input_size": list(network.input_size or ()),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "config": json.loads(json.dumps(asdict(network.config))),
        "training": dict(training),
        "paper": weightfile.citation(type(network)),
        "licence": licence,
        "reference": reference or [],
        "self_test": self_test(rounded),
    }
    weightfile.write_weight(path, about, tensors)
    return read_info(path)


def self_test(network: Network) -> dict[str, Any]:
    """The scores of every class on the bundled probe image, or on its middle where the network was made for smaller ones. Of a
    segmentation, the mean over the pixels."""
    x = weightfile.probe()
    sides = network.input_size or x.shape[-2:]
    height, width = (min(side, most) for side, most in zip(sides, x.shape[-2:], strict=True))
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    with torch.no_grad():
        scores = network(x[:, :, top : top + height, left : left + width])[0].flatten(1 if network.kind == "segmentation" else 0)
    means = scores.mean(1) if scores.ndim > 1 else scores
    return {
        "picture": "probe.png, its middle" if (height, width) != tuple(x.shape[-2:]) else "probe.png",
        "scores": {name: round(float(score), 4) for name, score in zip(network.classes, means, strict=True)},
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _architecture_of(network: Network) -> str:
    return next(name for name, known in ARCHITECTURES.items() if type(network) is known.make)


def _config_of(arch: str) -> type[Config]:
    return type(next(iter(ARCHITECTURES[arch].configs.values())))


def _run_self_test(network: Network, info: TaskWeight) -> None:
    try:
        measured, promised = self_test(network), info.self_test["scores"]
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{info.name} fails its self-test: it cannot be run ({type(error).__name__})", "get the file again"
        ) from None
    scores = measured["scores"]
    numbers = all(type(value) in (int, float) for value in promised.values())
    if not numbers or info.self_test.get("picture") != measured["picture"]:
        raise IntegrityError(
            f"{info.name} has a self-test of another kind", "get the file again; openjscc train --export writes the test"
        )
    for name, value in promised.items():
        if not abs(scores[name] - value) <= SELF_TEST_TOLERANCE:
            raise IntegrityError(
                f"{info.name} fails its self-test: a score of {scores[name]} for {name}, expected {value}",
                "get the file again; if it is intact, report that this version of torch computes otherwise than "
                f"{str(info.self_test.get('torch'))[:40]}",
            )
