"""Where networks compute: the device that a user names, and arithmetic that does not depend on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import UsageError

NAMES = "cpu, cuda, cuda:N (number N) or auto (cuda where there is one)"


def find_device(name: str) -> torch.device:
    """The device that a name means; one that is there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: ``cuda`` where there is one, else ``cpu``. Of several processes that
            torchrun started on a machine, each gets one in turn by ``cuda`` without a number.

    Raises:
        UsageError: another name, or a device that is not there.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda", "auto") or (colon and not (kind == "cuda" and number.isdecimal() and number.isascii())):
        raise UsageError(f"device {name!r}", f"choose {NAMES}")
    count = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise UsageError(f"device {name!r}: there is no CUDA device", "leave --device out to compute on the CPU, or choose auto")
    index = int(number) if colon else int(os.environ.get("LOCAL_RANK", "0")) % count
    if index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"device {name!r} is not there", f"there is {there}")
    return torch.device("cuda", index)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Products of float32 are computed in float32 inside. CUDA's TF32, the default of convolutions, would move the fourth digit.

    These are settings of the whole process: enter it around the threads that work, not in them.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
