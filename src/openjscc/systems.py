"""Every system by the name that users write: a learned codec's weight, or a digital system with its options."""

from __future__ import annotations

import os

from .codec import Codec
from .digital import DIGITAL_SYSTEMS, is_digital, make_digital
from .models import load as load_weight
from .models import resolve


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
