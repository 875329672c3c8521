"""Pickles of plain data: dictionaries, lists, texts, numbers, arrays.

A pickle is a program that may call any name, and claim any memory. So its instructions are looked at first
(`pickletools.genops`), and the names that arrays are written with stand for the few functions here: nothing else is called.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_STEPS = 200_000
_WHOLE = re.compile(r"[iu][1248]")
_PLAIN = re.compile(
    r"PROTO|FRAME|STOP|MARK|MEMOIZE|(LONG_)?(BIN)?(PUT|GET)|EMPTY_(DICT|LIST|TUPLE)|APPENDS?|LIST|TUPLE[123]?|DICT|SETITEMS?|"
    r"(STACK_)?GLOBAL|REDUCE|BUILD|NONE|NEWTRUE|NEWFALSE|(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE|BYTES)8?"
)
"""Instructions that plain data needs."""


class _Type:
    """A numpy type: `spec` such as ``u1``, and its byte order."""

    def __init__(self, spec: Any) -> None:
        if not (isinstance(spec, str) and _WHOLE.fullmatch(spec)):
            kind = spec[:20] if isinstance(spec, str) else type(spec).__name__
            raise ValueError(f"an array of type {kind!r} is not one of whole numbers")
        self.spec, self.order = spec, "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|"):
            raise ValueError("an unknown byte order")
        self.order = state[1]


class _Array:
    """A numpy array: `value` is there once its state is."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _Type) or not isinstance(content, str | bytes):
            raise ValueError("an array without a type or content")
        if len(shape) > 8 or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
            raise ValueError("an array of no possible shape")
        content = content.encode("latin-1") if isinstance(content, str) else content
        if math.prod(shape) * int(kind.spec[1]) != len(content):
            raise ValueError(f"an array whose shape {tuple(shape)} does not fit its {len(content)} bytes")
        flat = np.frombuffer(content, np.dtype(kind.order + kind.spec))
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _Unpickler(pickle._Unpickler):  # in Python: the compiled one makes room for as many places as a pickle names
    """Calls what stands here for the names of numpy, and nothing else."""

    def find_class(self, module: str, name: str, /) -> Callable[..., Any]:  # new functions each time: a pickle may alter them
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return lambda *_: None
        if (module, name) == ("numpy", "dtype"):
            return lambda spec, *_: _Type(spec)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, coding: text.encode({"latin1": "latin-1"}[coding])
        raise ValueError(f"it asks for {f'{module}.{name}'[:80]}, an array of whole numbers needs no such thing")


def read_plain_pickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle; its values are lists, texts, numbers, or arrays of whole numbers.

    Raises:
        ValueError: damaged, no dictionary, or more than plain data. Damaged data may raise other errors as
            well, such as IndexError and TypeError.
    """
    for count, (code, _, _) in enumerate(pickletools.genops(content)):
        if count > _STEPS:
            raise ValueError(f"it has more than {_STEPS:,} instructions")
        if not _PLAIN.fullmatch(code.name):
            raise ValueError(f"the instruction {code.name} is not one of plain data")
    found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    if not isinstance(found, dict):
        raise ValueError("it holds no dictionary")
    return {key: value.value if isinstance(value, _Array) else value for key, value in found.items()}
