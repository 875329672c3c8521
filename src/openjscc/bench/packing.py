"""Lists of JSON objects as files that a reader of a change can follow: a line an object, and what several share is said once.

{"common": {"data": "kodak", "seed": 0},
"records": [
{"common": {"system": "adjscc", "parameters": 1730156},
"records": [
{"snr_db": 10.0, "mean": 29.95},
{"snr_db": 20.0, "mean": 31.16}
]},
{"system": "witt", "parameters": 1655176, "snr_db": 10.0, "mean": 29.33}
]}
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..configuration import read_json

Written = dict[str, str]
"""An object's values as JSON."""


def pack(rows: Sequence[Mapping[str, Any]], by: Sequence[Sequence[str]] = ()) -> str:
    """The text of such a file.

    Args:
        rows: the objects. Nothing is common to a single one.
        by: groups, the outer ones first: rows in a row that have the same values of these keys.

    Raises:
        ValueError: a number is not finite.
    """
    return _group([{key: json.dumps(value, allow_nan=False) for key, value in row.items()} for row in rows], by) + "\n"


def unpack(text: str) -> list[dict[str, Any]]:
    """The rows of what `pack` wrote, or of a plain JSON list of objects. Raises ValueError: it is something else."""
    content = read_json(text)
    try:
        return _rows(content if _is_group(content) else {"common": {}, "records": content})
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _group(rows: Sequence[Written], by: Sequence[Sequence[str]]) -> str:
    first = rows[0] if len(rows) > 1 else {}
    common = {key: value for key, value in first.items() if all(row.get(key) == value for row in rows)}
    lines = _lines([{key: value for key, value in row.items() if key not in common} for row in rows], by)
    return f'{{"common": {_object(common)},\n"records": [\n' + ",\n".join(lines) + "\n]}"


def _lines(rows: Sequence[Written], by: Sequence[Sequence[str]]) -> list[str]:
    if not by:
        return [_object(row) for row in rows]
    keys, *inner = by
    groups = [list(group) for _, group in itertools.groupby(rows, key=lambda row: [row.get(key) for key in keys])]
    if len(groups) == 1:
        return _lines(rows, inner)
    return [_group(group, inner) if len(group) > 1 else _object(*group) for group in groups]


def _is_group(content: Any) -> bool:
    return isinstance(content, dict) and content.keys() == {"common", "records"}


def _rows(group: dict[str, Any]) -> list[dict[str, Any]]:
    common, records = group["common"], group["records"]
    if not isinstance(common, dict) or not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise ValueError("not a list of objects")
    return [common | row for record in records for row in (_rows(record) if _is_group(record) else [record])]


def _object(written: Written) -> str:
    return "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in written.items()) + "}"
