"""Every system by the name that users write: a learned codec's weight, or a digital system with its options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import torch

from .codec import Codec
from .digital import DIGITAL_SYSTEMS, is_digital, make_digital
from .models import LearnedCodec, resolve
from .models import load as load_weight


def load(name: str | os.PathLike[str], ratio: float | None = None, data: str | None = None, *, verify: bool = True) -> Codec:
    """A system, ready to transmit.

    Args:
        name: ``arch``, ``arch.tag`` or a ``.safetensors`` file (`openjscc.models.resolve`), or a digital system such as
            ``bpg-ldpc:mcs=16qam-3/4-n1944`` (`openjscc.digital.make_digital`).
        ratio: bandwidth ratio that the weight must serve, where the name leaves the tag open.
        data: name of the data set that the weight should be for, where the name leaves the tag open.
        verify: run a weight's self-test.

    Raises:
        UsageError: unknown name or option, or no weight of that ratio.
        MissingError: something that has to be installed or got first.
        IntegrityError: a damaged weight, or one that fails its self-test.
    """
    name = os.fspath(name)
    if is_digital(name):
        return make_digital(name)
    return load_weight(resolve(name, ratio, data, also=DIGITAL_SYSTEMS), verify=verify)


def load_all(
    names: Iterable[str], ratios: Sequence[float | None] = (None,), data: str | None = None
) -> list[tuple[str, Codec, tuple[float | None, ...]]]:
    """Several systems, each with the ratios that it is asked for.

    An architecture whose ratios are spread over several weights gives an entry for each of them.

    Args:
        names: as in `load`.
        ratios: nominal bandwidth ratios; None: a system's default.
        data: name of the data set that weights should be for.

    Returns:
        (name, codec, ratios) in the order of the names.

    Raises:
        As `load`, and UsageError for a ratio that a system does not have.
    """
    systems: list[tuple[str, Codec, tuple[float | None, ...]]] = []
    for name in names:
        if is_digital(name):
            systems.append((name, make_digital(name), tuple(ratios)))
            continue
        weights: dict[str, list[float | None]] = {}
        for ratio in ratios:
            weights.setdefault(resolve(name, ratio, data, also=DIGITAL_SYSTEMS), []).append(ratio)
        for weight, served in weights.items():
            codec: LearnedCodec = load_weight(weight)
            for ratio in served:
                codec.rate_index(ratio, 1, torch.device("cpu"))  # raises for one that it does not have
            systems.append((name, codec, tuple(served)))
    return systems
