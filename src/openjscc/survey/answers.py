"""What the participants of a questionnaire answered: CSV or JSON lines, read strictly, and turned into a table.

One answer a line: ``participant`` (any text), ``pair`` (its id), ``choice`` (``left`` or ``right``; empty: skipped), and, where a
page measured it, ``seconds``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import read_json
from ..errors import UsageError, unknown_name
from .questionnaire import Key

COLUMNS = ("participant", "pair", "choice", "seconds")
SUFFIXES = {".csv": "CSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines"}
CHOICES = ("left", "right")


@dataclass(frozen=True)
class Answers:
    """All answers as a table, a row a participant and a column a pair of the key.

    Attributes:
        participants: those who answered something, sorted.
        prefers: ``(participants, pairs)``: 1 where the system that is asked about was chosen, 0 the other one, NaN no answer.
        left: the same, 1 where the left image was chosen.
        seconds: of all answers that have them.
        skipped: lines without a choice.
        repeated: lines that say again what a line before said; counted once.
        sha256: of the file.
    """

    participants: tuple[str, ...]
    prefers: np.ndarray
    left: np.ndarray
    seconds: tuple[float, ...]
    skipped: int
    repeated: int
    sha256: str

    @property
    def count(self) -> int:
        """Number of answers."""
        return int(np.isfinite(self.prefers).sum())

    @property
    def missing(self) -> int:
        """Pairs that a participant gave no answer to, summed over the participants."""
        return self.prefers.size - self.count


def read_answers(path: Path, key: Key) -> Answers:
    """The answers in a file, by its suffix.

    Args:
        path: ``.csv`` with a header line, or ``.jsonl`` (``.ndjson``) with an object a line; UTF-8.
        key: of the questionnaire.

    Raises:
        UsageError: no such file; an unknown column, id or choice; a participant with two different choices for one pair; no
            answer at all. The message names the line.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is not .csv or .jsonl", "answers are CSV with a header line, or JSON lines")
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", "save it as UTF-8") from None
    columns = {pair.id: number for number, pair in enumerate(key.pairs)}
    chosen: dict[tuple[str, str], tuple[str, int]] = {}
    seconds: list[float] = []
    skipped = repeated = 0
    for line, row in (_csv_rows if path.suffix.lower() == ".csv" else _json_rows)(path, text):
        where = f"{path}, line {line}"
        participant, pair, choice, time = _fields(row, where)
        if pair not in columns:
            problem = unknown_name("pair", pair, columns)
            near = problem.hint if problem.hint.startswith("did you mean") else "are these the answers to another questionnaire?"
            raise UsageError(f"{where}: {problem.message}", near)
        if not choice:
            skipped += 1
            continue
        before, there = chosen.setdefault((participant, pair), (choice, line))
        if there != line:
            if before != choice:
                message = f"{where}: {participant} chose {choice} for {pair}, and {before} in line {there}"
                raise UsageError(message, "keep one answer of each participant to each pair")
            repeated += 1
        elif time is not None:
            seconds.append(time)
    if not chosen:
        raise UsageError(f"{path} has no answers", f"a line each: {','.join(COLUMNS)}")
    participants = sorted({participant for participant, _ in chosen})
    rows = {participant: number for number, participant in enumerate(participants)}
    left = np.full((len(rows), len(columns)), math.nan)
    for (participant, pair), (choice, _) in chosen.items():
        left[rows[participant], columns[pair]] = choice == "left"
    of_left = np.array([pair.left.role == "of" for pair in key.pairs])
    digest = hashlib.sha256(content).hexdigest()
    return Answers(tuple(participants), np.where(of_left, left, 1 - left), left, tuple(seconds), skipped, repeated, digest)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, values by column)."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in row]
                if set(header) - set(COLUMNS) or set(COLUMNS[:3]) - set(header) or len(set(header)) < len(header):
                    raise UsageError(f"{path} has the columns {', '.join(header)}", f"its first line must be {','.join(COLUMNS)}")
            elif len(row) != len(header):
                raise UsageError(f"{path}, line {reader.line_num}: {len(row)} values, not {len(header)}", f"{','.join(header)}")
            else:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}", "save it as CSV with commas") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, values by key)."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number} is no JSON object", '{"participant": "p1", "pair": "...", "choice": "left"}')
        if unknown := set(row) - set(COLUMNS):
            raise UsageError(f"{path}, line {number}: unknown key {min(unknown)!r}", f"known: {', '.join(COLUMNS)}")
        yield number, row


def _fields(row: Mapping[str, Any], where: str) -> tuple[str, str, str, float | None]:
    """Participant, pair, choice (empty: skipped) and seconds of a line."""
    values = {name: "" if row.get(name) is None else row[name] for name in COLUMNS}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise UsageError(f"{where}: {name} is {value!r}", "expected a text or a number")
    participant, pair, choice, time = (str(value).strip() for value in values.values())
    if not participant:
        raise UsageError(f"{where} has no participant", "give each participant a name or a number")
    choice = choice.lower()
    if choice not in (*CHOICES, ""):
        raise UsageError(f"{where}: choice {choice!r}", "left or right; nothing where the pair was skipped")
    try:
        seconds = float(time) if time else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not 0 <= seconds < math.inf:
        raise UsageError(f"{where}: seconds {time!r}", "a number from 0 up, or nothing")
    return participant, pair, choice, seconds
