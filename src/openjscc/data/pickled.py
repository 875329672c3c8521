"""Pickles of plain data, read without unpickling: dictionaries, lists, texts, numbers, arrays.

A pickle is a program. Python's unpickler runs all of it: it calls names, claims memory, hashes keys. Here the
standard library takes the program apart (`pickletools.genops`), and a small interpreter knows the few
instructions that plain data needs. It calls nothing, and imports nothing.
"""

from __future__ import annotations

import math
import pickletools
import re
from typing import Any

import numpy as np

_STEPS = 200_000
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_NDARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
_WHOLE = re.compile(r"[iu][1248]")
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
"""Instructions that bring a value."""

_MARK = object()


class _Name(str):
    """What a pickle wants to import."""


class _Type:
    """A numpy type: `spec` such as ``u1``, and its byte order."""

    def __init__(self, spec: Any) -> None:
        if not (isinstance(spec, str) and _WHOLE.fullmatch(spec)):
            kind = spec[:20] if isinstance(spec, str) else type(spec).__name__
            raise ValueError(f"an array of type {kind!r} is not one of whole numbers")
        self.spec, self.order = spec, "<"

    def build(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|"):
            raise ValueError("an unknown byte order")
        self.order = state[1]


class _Array:
    """A numpy array: `value` is there once its state is."""

    value: np.ndarray | None = None

    def build(self, state: Any) -> None:
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


def read_plain_pickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle; its values are lists, texts, numbers, or arrays of whole numbers.

    Raises:
        ValueError: damaged, no dictionary, or more than plain data. Damaged data may raise other errors as
            well, such as IndexError and TypeError.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for count, (code, argument, _) in enumerate(pickletools.genops(content)):
        if count > _STEPS:
            raise ValueError(f"it has more than {_STEPS:,} instructions")
        _step(code.name, argument, stack, memo)
    (found,) = stack
    if not isinstance(found, dict):
        raise ValueError("it holds no dictionary")
    return {key: value.value if isinstance(value, _Array) else value for key, value in found.items()}


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    match name:
        case "PROTO" | "FRAME" | "STOP":
            pass
        case "MARK":
            stack.append(_MARK)
        case "EMPTY_DICT":
            stack.append({})
        case "EMPTY_LIST":
            stack.append([])
        case "EMPTY_TUPLE":
            stack.append(())
        case "NONE" | "NEWTRUE" | "NEWFALSE":
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        case "GET" | "BINGET" | "LONG_BINGET":
            stack.append(memo[argument])
        case "APPEND":
            value = stack.pop()
            _of(stack, list).append(value)
        case "APPENDS":
            values = _marked(stack)
            _of(stack, list).extend(values)
        case "LIST":
            stack.append(_marked(stack))
        case "TUPLE":
            stack.append(tuple(_marked(stack)))
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        case "DICT":
            stack.append(_paired(_marked(stack)))
        case "SETITEM":
            pair = [stack.pop(), stack.pop()][::-1]
            _of(stack, dict).update(_paired(pair))
        case "SETITEMS":
            pairs = _paired(_marked(stack))
            _of(stack, dict).update(pairs)
        case "GLOBAL":
            stack.append(_Name(argument))
        case "STACK_GLOBAL":
            stack[-2:] = [_Name(" ".join(stack[-2:]))]
        case "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_made(called, arguments))
        case "BUILD":
            state = stack.pop()
            _of(stack, _Array, _Type).build(state)
        case _ if name in _VALUES:
            stack.append(argument)
        case _:
            raise ValueError(f"the instruction {name} is not one of plain data")


def _of(stack: list[Any], *kinds: type) -> Any:
    if not isinstance(stack[-1], kinds):
        raise ValueError("an instruction for another kind of value")
    return stack[-1]


def _marked(stack: list[Any]) -> list[Any]:
    """What lies above the last mark, taken off with it."""
    at = len(stack) - 1
    while stack[at] is not _MARK:
        at -= 1  # IndexError where there is none
    values = stack[at + 1 :]
    del stack[at:]
    return values


def _paired(values: list[Any]) -> dict[str, Any]:
    keys = values[::2]
    if not all(type(key) is str for key in keys):
        raise ValueError("a key that is no text")
    return dict(zip(keys, values[1::2], strict=True))


def _made(called: Any, arguments: Any) -> Any:
    """What the few names stand for that arrays, and bytes in old protocols, are written with."""
    if not isinstance(called, _Name):
        raise ValueError("something is called that has no name")
    if called in _RECONSTRUCT and arguments[0] == _NDARRAY:
        return _Array()
    if called == _DTYPE:
        return _Type(arguments[0])
    if called == _ENCODE and arguments[1:] == ("latin1",):
        return arguments[0].encode("latin-1")
    asked = ".".join(called.split())[:80]
    raise ValueError(f"it asks for {asked}, an array of whole numbers needs no such thing")
