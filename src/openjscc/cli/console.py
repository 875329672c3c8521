"""How the command line speaks: data to stdout, everything else to stderr, one line an error."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any


def say(text: str) -> None:
    """A line for the person at the terminal: to stderr, control characters escaped. Of several processes the first speaks.

    That nobody can be told (stderr ends in a full disk, or in nothing) ends no command.
    """
    if os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError):
            print(one_line(text), file=sys.stderr, flush=True)


def report_error(message: str, hint: str, code: int) -> int:
    """``error: ...`` in one line, then ``hint: ...``; returns ``code``."""
    say(f"error: {' '.join(message.split())}")
    if hint:
        say(f"hint: {' '.join(hint.split())}")
    return code


def frames_in_words(count: int) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count} frame{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """``text`` with everything that is not printable (line ends, escape codes, undecodable bytes) shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def print_json(value: Any) -> None:
    """To stdout; NaN and infinity, which JSON does not have, become null."""
    print(json.dumps(finite(value), indent=2, allow_nan=False))


def finite(value: Any) -> Any:
    """``value`` (nested lists, tuples and dicts) with None for every float that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def print_reports(reports: Sequence[dict[str, Any]]) -> None:
    """One report to stdout as a JSON object, several as a list."""
    print_json(reports if len(reports) > 1 else reports[0])


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, aligned by spaces, never cut to a terminal's width."""
    lines = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """`aligned`, to stdout."""
    print(*aligned(header, rows), sep="\n")


class Bar:
    """Of `progress`. Call it with a number to advance it."""

    def __call__(self, count: int) -> None:
        """So many more are done."""

    def extend(self, count: int) -> None:
        """So many more are to be done than was said."""


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Bar]:
    """A bar with rate and remaining time on stderr if that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)

        class Shown(Bar):
            def __call__(self, count: int) -> None:
                bar.advance(task, count)

            def extend(self, count: int) -> None:
                bar.update(task, total=(bar.tasks[0].total or 0) + count)

        yield Shown()
