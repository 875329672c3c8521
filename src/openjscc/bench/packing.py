"""Lists of JSON objects as files that a reader of a change can follow: a line an object, and what all share is said once.

{"common": {"data": "kodak", "seed": 0},
"records": [
{"system": "adjscc.photo", "mean": 29.95},
{"system": "witt.photo", "mean": 29.33}
]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def pack(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of such a file. Nothing is common to a single row. Raises ValueError: a number is not finite."""
    written = [{key: json.dumps(value, allow_nan=False) for key, value in row.items()} for row in rows]
    first = written[0] if len(written) > 1 else {}
    common = {key for key, value in first.items() if all(row.get(key) == value for row in written)}
    lines = [_object({key: value for key, value in row.items() if key not in common}) for row in written]
    shared = _object({key: value for key, value in first.items() if key in common})
    return f'{{"common": {shared},\n"records": [\n' + ",\n".join(lines) + "\n]}\n"


def unpack(text: str) -> list[dict[str, Any]]:
    """The rows of what `pack` wrote, or of a plain JSON list of objects. Raises ValueError: it is something else."""
    content = json.loads(text, parse_constant=_refuse)
    common: Any = {}
    if isinstance(content, dict) and content.keys() == {"common", "records"}:
        common, content = content["common"], content["records"]
    if not isinstance(common, dict) or not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError("not a list of objects")
    return [common | row for row in content]


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _object(written: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in written.items()) + "}"
