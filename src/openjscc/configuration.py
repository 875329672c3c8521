"""Plain data to frozen dataclasses, strictly: an unknown key or a value of the wrong type is an error that names it.

Used for TOML files (recipes, studies), which are found by name in the package or by path, and for the configuration that a
weight file carries. Also what follows a system's name: ``NAME:KEY=VALUE:KEY=VALUE``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, unknown_name

Config = TypeVar("Config")

TOML_LIMIT = 2**20
"""Largest TOML file that is read, in bytes."""


def packaged(package: str, folder: str) -> list[str]:
    """Names of the TOML files in a folder of one of our packages, e.g. of ``openjscc.training`` and ``recipes``."""
    entries = (resources.files(package) / folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def read_toml(name: str, what: str, package: str, folder: str) -> dict[str, Any]:
    """The content of a TOML file that is named as one of `packaged`, or by its path.

    Args:
        name: as the user gave it.
        what: that is, in a word, e.g. ``recipe``.
        package: see `packaged`.
        folder: see `packaged`.

    Raises:
        UsageError: no such file, or TOML that does not parse.
    """
    known, path = packaged(package, folder), Path(name)
    if name in known:
        text = (resources.files(package) / folder / f"{name}.toml").read_text("utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = _text_of(path)
    elif path.suffix == ".toml":
        raise UsageError(f"no file {name}", f"check the path; the packaged ones are {', '.join(known)}")
    else:
        raise unknown_name(what, name, known, more="(or give the path of a .toml file)")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib leaves long integers and deep nesting to Python
        hint = f"see the packaged ones for the layout: {', '.join(known)}"
        raise UsageError(f"{name}: not valid TOML: {_reason(error)}", hint) from None


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > TOML_LIMIT:
            raise UsageError(f"{path} has {path.stat().st_size:,} bytes", f"give a file of at most {TOML_LIMIT:,}")
        return path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def read_json(text: str) -> Any:
    """The content of a JSON text, with or without a byte-order mark. Its numbers are finite, and its texts can be printed.

    Raises:
        ValueError: it is something else, or nested beyond Python's limit.
    """
    try:
        content = json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse, parse_float=_finite)
        json.dumps(content, ensure_ascii=False).encode()  # fails for lone surrogates
    except (ValueError, RecursionError) as error:
        raise ValueError(_reason(error)) from None
    return content


def read_objects(text: str) -> list[dict[str, Any]]:
    """The content of a JSON text that is a list of objects. Raises ValueError as `read_json`, and where it is something else."""
    content = read_json(text)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError("not a list of objects")
    return content


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text[:40])


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "half a character (a lone surrogate)"
    return str(error).partition(";")[0]  # Python's advice on long integers is for programmers


def build(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """An instance of a dataclass from a (nested) mapping.

    Args:
        cls: a dataclass; fields may be nested dataclasses, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``,
            ``dict[str, Any]``, ``X | None``, ``Literal``, ``int``, ``float``, ``bool``, ``str``.
        values: keys are field names; a missing key takes the field's default.
        where: what errors name, e.g. the file and the section.

    Raises:
        UsageError: unknown key, missing key without a default, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            problem = unknown_name("key", key, fields)
            raise UsageError(f"{where}: {problem.message}", problem.hint)
        arguments[key] = convert(hints[key], value, f"{where}: {key}")
    for name, field in fields.items():
        if name not in arguments and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UsageError(f"{where}: key {name!r} is missing", f"add {name} = ...")
    try:
        return cls(**arguments)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None


def convert(kind: Any, value: Any, where: str) -> Any:
    """``value`` as type ``kind`` (see `build`); integers are accepted for floats, nothing else is coerced. Floats are finite,
    integers have at most 64 bits, and texts can be written as UTF-8."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise _wrong(where, value, f"a table of {kind.__name__}")
        return build(kind, value, where)
    if kind is Any:
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a table")
        return dict(value)
    if origin is list:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return [convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return convert(inner, value, where)
    if origin is typing.Literal:
        if value not in arguments or isinstance(value, bool) != any(value is argument for argument in (True, False)):
            raise _wrong(where, value, f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, value, "a list")
        if arguments[-1] is Ellipsis:
            return tuple(convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(value) != len(arguments):
            raise _wrong(where, value, f"a list of {len(arguments)} values")
        return tuple(convert(inner, item, f"{where}[{i}]") for i, (inner, item) in enumerate(zip(arguments, value, strict=True)))
    if type(value) is int and kind in (int, float) and not -(2**63) <= value < 2**63:
        raise _wrong(where, value, "a number of at most 64 bits")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _wrong(where, value, _WORDS[kind])
    if kind is float and not math.isfinite(value):
        raise _wrong(where, value, "a finite number")
    if kind is str and any("\ud800" <= character <= "\udfff" for character in str(value)):
        raise _wrong(where, value, "a text in UTF-8")
    return value


def name_options(name: str, parts: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """The options that follow a system's name, in the order of ``known``.

    Args:
        name: the system.
        parts: ``KEY=VALUE`` each.
        known: which keys there are, and what they mean.

    Raises:
        UsageError: a part that is none, an unknown key, or one that is given twice.
    """
    if parts and not known:
        raise UsageError(f"option {parts[0]!r} of {name}", f"it takes none: write {name}")
    options: dict[str, str] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        key = key.lower()
        if not equals or not value:
            raise UsageError(f"option {part!r} of {name}", f"write KEY=VALUE; it takes {', '.join(known)}")
        if key not in known:
            raise unknown_name(f"option of {name}", key, known)
        if key in options:
            raise UsageError(f"option {key!r} of {name} is given twice", "give it once")
        options[key] = value
    return {key: options[key] for key in known if key in options}


_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}


def _wrong(where: str, value: Any, expected: str) -> UsageError:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a deep list
        text = f"too long a {type(value).__name__}"
    return UsageError(f"{where} is {text if len(text) <= 80 else text[:80] + '...'}", f"expected {expected}")
