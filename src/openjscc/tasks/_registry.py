"""Every task network by the name that users write."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

from .. import plugins
from ..errors import UsageError, unknown_name
from ..metrics.backbones import weight_folders
from ..weightfile import SUFFIX
from . import _weights
from ._base import KINDS, TaskNetwork
from .resnet import STATE_SUFFIXES, load_resnet

GROUP = "openjscc.task_networks"


def load_task_network(name: str | os.PathLike[str]) -> TaskNetwork:
    """A task network, in evaluation mode, frozen, on the CPU.

    Args:
        name: a released name (``classifier`` or ``classifier.cifar10``), an exported ``.safetensors`` file, a state dict of a
            CIFAR ResNet (``.th``, ``.pt``, ``.pth``; `openjscc.tasks.resnet.load_resnet`), or a network of another package
            (`other_task_networks`). A state dict without a folder, with or without suffix, is also looked for where published
            weights are (`openjscc.metrics.backbones.weight_folders`, and the folders in them).

    Raises:
        UsageError: an unknown name, with near misses; a codec's weight; a network of another package that breaks the contract.
        MissingError: no such file, or no weight of that name at hand.
        IntegrityError: a damaged file, or one that fails its self-test.
    """
    name = os.fspath(name)
    released = _weights.released_names()
    taken = name in released or name.partition(".")[0] in _weights.ARCHITECTURES or name.endswith((SUFFIX, *STATE_SUFFIXES))
    if (entry := plugins.meant(GROUP, name, "task network", taken=taken)) is not None:
        return _make_other(entry)
    if name.endswith(SUFFIX):
        return _weights.load(name)
    if name in released:
        return _weights.load(_weights.weight_path(name))
    if (path := _state_file(name)) is not None:
        return load_resnet(path)
    more = f"(or a {SUFFIX}, {', '.join(STATE_SUFFIXES)} file)"
    raise unknown_name("task network", name, {*released, *other_task_networks()}, more=more)


def _state_file(name: str) -> Path | None:
    """The state dict that a name means; None where it means something else."""
    stated = name.lower().endswith(STATE_SUFFIXES)
    if os.sep not in name and not (stated and os.path.exists(name)):
        for folder in weight_folders():
            if folder.is_dir():
                for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
                    for candidate in [name] if stated else [name + suffix for suffix in STATE_SUFFIXES]:
                        if (place / candidate).is_file():
                            return place / candidate
    return Path(name) if stated else None


def other_task_networks() -> dict[str, Callable[[], TaskNetwork]]:
    """Task networks of other packages: entry points of the group ``openjscc.task_networks``, each a function that makes one.

    In the other package's ``pyproject.toml``::

        [project.entry-points."openjscc.task_networks"]
        mynet = "mypackage:make_network"

    Raises:
        UsageError: when it is called, for an entry that cannot be imported or makes no `TaskNetwork`. `load_task_network` leaves
            one out whose name has a meaning here, and refuses one that two packages have.
    """
    return {entry.name: partial(_make_other, entry) for entry in plugins.entries(GROUP)}


def _make_other(entry: EntryPoint) -> TaskNetwork:
    network = plugins.make(entry, "task network")
    if not isinstance(network, TaskNetwork):
        raise UsageError(
            f"task network {entry.name!r} is a {type(network).__name__}",
            "its entry point must make a openjscc.tasks.TaskNetwork",
        )
    if network.kind not in KINDS or not network.classes:
        raise UsageError(
            f"task network {entry.name!r} is of kind {network.kind!r} with {len(network.classes)} classes",
            f"it must set kind (one of {', '.join(KINDS)}) and classes",
        )
    network.name = entry.name
    return network.eval().requires_grad_(False)
