"""Every system by the name that users write: a learned codec's weight, a digital system with its options, or one of these with
a task network at the receiver (``CODEC+NETWORK``)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import torch
from torch import nn

from . import plugins
from .codec import TASKS, Codec
from .composite import SEPARATOR, CompositeCodec
from .digital import DIGITAL_SYSTEMS, is_digital, make_digital
from .errors import UsageError, unknown_name
from .models import ARCHITECTURES, LearnedCodec, resolve
from .models import load as load_weight
from .tasks import TaskNetwork, load_task_network

GROUP = "openjscc.systems"
CPU = torch.device("cpu")

DEFAULT_SYSTEM = "adjscc"
"""What sends an image where nobody names a system."""

MULTI_TASK_SYSTEM = "mtgsc"
"""The same, where the task is asked for in words or by name, or is another than reconstruction."""

CLASSIFIED_SYSTEM, CLASSIFIED_SIZE = "spjscc.distilled", (32, 32)
"""The same, where a task network for images of this size looks at received ones that have it."""


def default_system(task: str, *, requested: bool = False, classified: bool = False) -> str:
    """The system for a task, where nobody names one.

    Args:
        task: one of `openjscc.codec.TASKS`.
        requested: the task was asked for, in words or by name.
        classified: a task network looks at the received images; they have, and it was made for, `CLASSIFIED_SIZE`.

    Raises:
        UsageError: an unknown task.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if requested or task != "reconstruction":
        return MULTI_TASK_SYSTEM
    return CLASSIFIED_SYSTEM if classified else DEFAULT_SYSTEM


def load(
    name: str | os.PathLike[str],
    ratio: float | None = None,
    data: str | None = None,
    *,
    verify: bool = True,
    device: torch.device | str = CPU,
) -> Codec:
    """A system, ready to transmit.

    Args:
        name: ``arch``, ``arch.tag`` or a ``.safetensors`` file (`openjscc.models.resolve`), with options such as
            ``mtgsc:steps=10`` where the codec has some, or a digital system such as ``bpg-ldpc:mcs=16qam-3/4-n1944``
            (`openjscc.digital.make_digital`), or a system of another package (`other_systems`);
            or ``CODEC+NETWORK``: any of these, and a task network for segmentation (`openjscc.tasks.load_task_network`).
        ratio: bandwidth ratio that the weight must serve, where the name leaves the tag open.
        data: name of the data set that the weight should be for, where the name leaves the tag open.
        verify: run a weight's self-test, on the CPU.
        device: where networks compute; digital links are on the CPU.

    Raises:
        UsageError: unknown name or option, or no weight of that ratio.
        MissingError: something that has to be installed or got first.
        IntegrityError: a damaged weight, or one that fails its self-test.
    """
    name = os.fspath(name)
    if (parts := composite_parts(name)) is not None:
        network = _network(*parts)
        return _placed(CompositeCodec(load(parts[0], ratio, data, verify=verify), network), device)
    if (other := _other(name)) is not None:
        return _placed(other(), device)
    if is_digital(name):
        return make_digital(name)
    name, options = split_options(name)
    codec = load_weight(resolve(name, ratio, data, also=_also()), verify=verify)
    codec.set_options(options)
    return _placed(codec, device)


def check_name(name: str, data: str | None = None) -> None:
    """Refuse a system's name that means nothing, without loading a weight or another package.

    Args:
        name: as in `load`.
        data: as in `load`.

    Raises:
        UsageError, MissingError: as `load`, as far as the name tells.
    """
    if (parts := composite_parts(name)) is not None:
        if all(parts):
            check_name(parts[0], data)
    elif _other(name) is None:
        if is_digital(name):
            make_digital(name)
        else:
            resolve(split_options(name)[0], None, data, also=_also())


def _placed(codec: Codec, device: torch.device | str) -> Codec:
    """With its networks on that device."""
    return codec.to(device) if isinstance(codec, nn.Module) else codec


def split_options(name: str) -> tuple[str, list[str]]:
    """``mtgsc:steps=10`` as ``mtgsc`` and its options, ``steps=10``; of a file's name the options after it.

    Raises:
        UsageError: an option without a system.
    """
    if os.path.exists(name):
        return name, []
    system, *options = name.split(":")
    if "=" in system:
        raise UsageError(f"no system {name!r}", "join the options of one by colons, e.g. mtgsc:steps=10:seed=1")
    return system, options


def composite_parts(name: str) -> tuple[str, str] | None:
    """Codec and task network of ``CODEC+NETWORK`` (the last ``+`` counts); None for another name, or a file's."""
    if SEPARATOR not in name or os.path.exists(name) or name in {entry.name for entry in plugins.entries(GROUP)}:
        return None
    codec, _, network = name.rpartition(SEPARATOR)
    return codec, network


def has_digital_codec(name: str) -> bool:
    """Whether a system's codec is a digital one, with a task network or without."""
    return is_digital((composite_parts(name) or (name,))[0])


def _network(codec: str, network: str) -> TaskNetwork:
    if not (codec and network):
        raise UsageError(f"the system {codec}{SEPARATOR}{network}", "write CODEC+NETWORK, e.g. jpeg-ldpc+fcn")
    return load_task_network(network)


def other_systems() -> dict[str, Callable[[], Codec]]:
    """Systems of other packages: entry points of the group ``openjscc.systems``, each a function that makes a codec.

    In the other package's ``pyproject.toml``::

        [project.entry-points."openjscc.systems"]
        mycodec = "mypackage:make_codec"

    A name that has a meaning here (an architecture, a digital system) keeps it: `load` and `load_all` leave the entry point out,
    with a `openjscc.plugins.PlugInWarning`.

    Raises:
        UsageError: when it is called, for an entry that cannot be imported or makes no codec. `load` and `load_all` also refuse
            a name that two packages have.
    """
    return {entry.name: partial(_make_other, entry) for entry in plugins.entries(GROUP)}


def _other(name: str) -> Callable[[], Codec] | None:
    """What makes the system of another package that a name means; None where it means none."""
    own = name.split(":")[0].strip().lower() if is_digital(name) else name
    entry = plugins.meant(GROUP, own, "system", taken=is_digital(name) or name.partition(".")[0] in ARCHITECTURES)
    return None if entry is None else partial(_make_other, entry)


def _make_other(entry: EntryPoint) -> Codec:
    codec = plugins.make(entry, "system")
    if not isinstance(codec, Codec):
        raise UsageError(f"system {entry.name!r} is a {type(codec).__name__}", "its entry point must make a openjscc.codec.Codec")
    wrong = [
        field
        for field, fits in (
            ("name", isinstance(codec.name, str)),
            ("tasks", _all_are(codec.tasks, lambda task: task in TASKS)),
            ("ratios", _all_are(codec.ratios, lambda ratio: isinstance(ratio, int | float) and 0 < ratio < math.inf)),
        )
        if not fits
    ]
    if wrong:
        value = repr(getattr(codec, wrong[0]))[:100]
        raise UsageError(f"system {entry.name!r} has {wrong[0]} {value}", "see openjscc.codec.Codec; check_codec tests it")
    return codec


def _all_are(values: object, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0 and all(map(fits, values))


def _also() -> list[str]:
    return [*DIGITAL_SYSTEMS, *(entry.name for entry in plugins.entries(GROUP))]


def load_all(
    names: Iterable[str],
    ratios: Sequence[float | None] = (None,),
    data: str | None = None,
    device: torch.device | str = CPU,
) -> list[tuple[str, Codec, tuple[float | None, ...]]]:
    """Several systems, each with the ratios that it is asked for.

    An architecture whose ratios are spread over several weights gives an entry for each of them.

    Args:
        names: as in `load`.
        ratios: nominal bandwidth ratios; None: a system's default.
        data: name of the data set that weights should be for.
        device: where networks compute; digital links are on the CPU.

    Returns:
        (name, codec, ratios) in the order of the names.

    Raises:
        As `load`, and UsageError for a ratio that a system does not have.
    """
    systems: list[tuple[str, Codec, tuple[float | None, ...]]] = []
    for name in names:
        if (parts := composite_parts(name)) is not None:
            network = _network(*parts)
            alone = load_all(parts[:1], ratios, data)
            systems += [(name, _placed(CompositeCodec(codec, network), device), served) for _, codec, served in alone]
            continue
        if (other := _other(name)) is not None:
            systems.append((name, _placed(other(), device), tuple(ratios)))
            continue
        if is_digital(name):
            systems.append((name, make_digital(name), tuple(ratios)))
            continue
        base, options = split_options(name)
        weights: dict[str, list[float | None]] = {}
        for ratio in ratios:
            weights.setdefault(resolve(base, ratio, data, also=_also()), []).append(ratio)
        for weight, served in weights.items():
            codec: LearnedCodec = load_weight(weight)
            codec.set_options(options)
            for ratio in served:
                codec.rate_index(ratio, 1, CPU)  # raises for one that it does not have
            systems.append((name, _placed(codec, device), tuple(served)))
    return systems
