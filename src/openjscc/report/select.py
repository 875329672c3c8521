"""Which records are meant: conditions on their columns, as users write them."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from ..bench.records import Record, read_records
from ..errors import UsageError, unknown_name
from ..units import AUTO, parse_fraction
from .columns import Value, listed, shown

Item = TypeVar("Item")

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def load_records(sources: Iterable[Path]) -> list[Record]:
    """The records of files and of benchmark folders, one after the other; equal ones once.

    Raises:
        UsageError: no such file. IntegrityError: a file that does not hold records.
    """
    records: dict[str, Record] = {}
    for source in sources:
        for record in read_records(source):
            records.setdefault(repr(record), record)
    return list(records.values())


@cache
def columns() -> dict[str, type]:
    """The columns of a record that hold one value, with its type."""
    hints = typing.get_type_hints(Record)
    kinds = {field.name: _plain(hints[field.name]) for field in dataclasses.fields(Record)}
    return {name: kind for name, kind in kinds.items() if kind in (str, int, float, bool)}


def _plain(kind: typing.Any) -> typing.Any:
    """The type without ``| None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = [part for part in typing.get_args(kind) if part is not type(None)]
    return kind


def check_column(name: str) -> str:
    """``name``. Raises UsageError where records have no such column."""
    if name not in columns():
        raise unknown_name("column", name, columns())
    return name


def parse_where(text: str) -> dict[str, list[Value]]:
    """``channel=awgn,ratio=1/16,told_snr_db=none`` as allowed values by column.

    A part without ``COLUMN=`` is another value of the column before it: ``channel=awgn,rayleigh:block``.

    Raises:
        UsageError: unknown column, or a value of the wrong type.
    """
    wanted: dict[str, list[Value]] = {}
    column = ""
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if equals and _NAME.fullmatch(name):
            column, text_value = check_column(name), value
        else:
            text_value = part.strip()
        if not column or not text_value:
            raise UsageError(f"condition {part.strip()!r}", "write COLUMN=VALUE, e.g. channel=awgn,ratio=1/16,told_snr_db=none")
        wanted.setdefault(column, []).append(_parse(column, text_value))
    return wanted


def _parse(column: str, text: str) -> Value:
    kind = columns()[column]
    if text.lower() == "none" or (column == "ratio" and text == AUTO):
        return None
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{column}={text}", "write true or false")
        return text.lower() == "true"
    try:
        return parse_fraction(text)
    except ValueError:
        raise UsageError(f"{column}={text[:80]} is no number", "e.g. snr_db=10 or ratio=1/16") from None


def select(records: Sequence[Record], where: Mapping[str, Sequence[Value]], systems: Sequence[str] | None = None) -> list[Record]:
    """The records that meet all conditions; with ``systems``, those of them in that order (as asked for, or the weight).

    Raises:
        UsageError: nothing is left; the hint has the values that there are.
    """
    chosen = list(records)
    for column, values in where.items():
        chosen = matching(chosen, check_column(column), values, "record")
    if systems is None:
        return chosen
    ordered: list[Record] = []
    for system in dict.fromkeys(systems):
        found = [r for r in chosen if r.system == system] or [r for r in chosen if r.weight == system]
        if not found:
            raise unknown_name("system", system, {record.system for record in chosen})
        ordered += found
    return ordered


def matching(items: Sequence[Item], column: str, values: Sequence[Value], what: str) -> list[Item]:
    """Those whose attribute has one of the values. Raises UsageError where none has; the hint has what there is."""
    left = [item for item in items if any(_equal(getattr(item, column), value) for value in values)]
    if not left:
        asked = " or ".join(shown(column, value) for value in values)
        raise UsageError(f"no {what} with {column}={asked}", f"{column}: {listed(items, column)}")
    return left


def _equal(value: Value, wanted: Value) -> bool:
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return math.isclose(value, wanted, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted or (("/" in value) and Path(value).name == wanted)
    return value is wanted
