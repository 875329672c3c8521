"""Released weights of task networks: the same files as the codecs', tested by the scores on the bundled probe picture."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import weightfile
from ..configuration import build
from ..errors import IntegrityError, MissingError, OpenJSCCError, unknown_name
from ..weightfile import ENVIRONMENT, LICENCE, TASK, WeightFacts
from .classifier import CONFIGS, Classifier, ClassifierConfig

ARCHITECTURES = {"classifier": CONFIGS}
"""Named configurations of every architecture; its default tag is the first."""
SELF_TEST_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class TaskWeight(WeightFacts):
    """The facts of a task network's weight file, as its header has them.

    Attributes:
        role: `openjscc.weightfile.TASK`.
        kind: of the task.
        classes: names, by number.
        input_size: ``[H, W]`` that it was trained on.
    """

    role: str
    kind: str
    classes: list[str]
    input_size: list[int]


def create(arch: str, config: str | ClassifierConfig) -> Classifier:
    """A task network with untrained parameters. Raises UsageError for an unknown architecture or configuration."""
    if arch not in ARCHITECTURES:
        raise unknown_name("task network", arch, ARCHITECTURES)
    if isinstance(config, str):
        if config not in ARCHITECTURES[arch]:
            raise unknown_name(f"configuration of {arch}", config, ARCHITECTURES[arch])
        config = ARCHITECTURES[arch][config]
    return Classifier(config)


def weight_files() -> dict[str, Path]:
    """Task networks' weight files at hand by name: the package's, and those that ``OPENJSCC_WEIGHTS`` names."""
    return weightfile.weight_files(TASK)


def list_weights() -> list[TaskWeight]:
    """All released weights that are at hand. Raises as `read_info` does, for the first file that cannot be read."""
    return [read_info(path) for _, path in sorted(weight_files().items())]


def read_info(path: str | os.PathLike[str]) -> TaskWeight:
    """The facts in a weight file's header; the parameters are not read.

    Raises:
        MissingError: no such file. IntegrityError: not a safetensors file, or none of ours. UsageError: a codec.
    """
    return weightfile.read_facts(TaskWeight, path, TASK)


def released_names() -> set[str]:
    """All names that a release has or may have: bare architectures, those with a tag, and the files at hand."""
    return {*ARCHITECTURES, *(f"{arch}.{tag}" for arch, tags in ARCHITECTURES.items() for tag in tags), *weight_files()}


def weight_path(name: str) -> Path:
    """The file of a released name; a bare architecture means its default tag.

    Raises:
        MissingError: a known name without a file.
    """
    files = weight_files()
    full = f"{name}.{next(iter(ARCHITECTURES[name]))}" if name in ARCHITECTURES else name
    if full not in files:
        raise MissingError(
            f"the task network {full} has no weight at hand",
            f"train it: openjscc train {full.replace('.', '-')}; or point {ENVIRONMENT} at a folder with {full}.safetensors; "
            "or name another one, e.g. --task-network resnet20.th",
        )
    return files[full]


def load(path: str | os.PathLike[str], verify: bool = True) -> Classifier:
    """A task network from an exported ``.safetensors`` file, in evaluation mode, frozen, float32, on the CPU.

    Args:
        path: the file.
        verify: run the file's self-test; other scores are an error, not a worse accuracy.

    Raises:
        MissingError: no such file. IntegrityError: damaged, foreign, or failing its self-test. UsageError: a codec.
    """
    info = read_info(path)
    tensors = weightfile.read_tensors(info)  # checks the facts too, before anything is built from them
    if info.arch not in ARCHITECTURES:
        raise IntegrityError(f"{path} is of an unknown architecture {info.arch!r}", f"known: {', '.join(ARCHITECTURES)}")
    try:
        network = create(info.arch, build(ClassifierConfig, info.config, f"{path}: config"))
        network.load_state_dict(tensors)
    except (OpenJSCCError, RuntimeError):
        raise IntegrityError(
            f"{path} does not fit this version's {info.arch}", "it was made by another version of openjscc"
        ) from None
    network = network.eval().requires_grad_(False)
    network.name, network.weight = info.name, info
    if verify:
        _run_self_test(network, info)
    return network


def export(
    network: Classifier,
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
        tag: the weight's tag; its name is ``classifier.tag``.
        training: facts of the training (see `openjscc.weightfile.WeightFacts`).
        reference: measured results.
        licence: of the weight.

    Raises:
        UsageError: a path without the suffix, a folder that cannot be written, or parameters that half precision cannot hold.
    """
    weightfile.weight_path(path)
    tensors = weightfile.half_precision(network.state_dict())
    rounded = Classifier(network.config).eval()
    rounded.load_state_dict(weightfile.single_precision(tensors))
    about = {
        "format": weightfile.FORMAT,
        "role": TASK,
        "name": f"classifier.{tag}",
        "arch": "classifier",
        "tag": tag,
        "kind": network.kind,
        "classes": list(network.classes),
        "input_size": list(network.config.input_size),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "config": json.loads(json.dumps(asdict(network.config))),
        "training": dict(training),
        "paper": weightfile.citation(Classifier),
        "licence": licence,
        "reference": reference or [],
        "self_test": self_test(rounded),
    }
    weightfile.write_weight(path, about, tensors)
    return read_info(path)


def self_test(network: Classifier) -> dict[str, Any]:
    """The scores of every class on the middle of the bundled probe picture, cut to the network's input size."""
    x = weightfile.probe()
    height, width = (min(side, most) for side, most in zip(network.config.input_size, x.shape[-2:], strict=True))
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    with torch.no_grad():
        scores = network(x[:, :, top : top + height, left : left + width])[0]
    return {
        "picture": "probe.png, its middle",
        "scores": {name: round(float(score), 4) for name, score in zip(network.classes, scores, strict=True)},
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _run_self_test(network: Classifier, info: TaskWeight) -> None:
    measured = self_test(network)["scores"]
    for name, value in info.self_test["scores"].items():
        if not abs(measured.get(name, math.nan) - value) <= SELF_TEST_TOLERANCE:
            raise IntegrityError(
                f"{info.name} fails its self-test: a score of {measured.get(name)} for {name}, expected {value}",
                "get the file again; if it is intact, report that this version of torch computes otherwise than "
                f"{info.self_test['torch']}",
            )
