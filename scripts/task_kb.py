"""The task KB, measured on requests in words: results/task-kb.json, and the tables in docs/task-kb.md.

    python scripts/task_kb.py            # a quarter of a minute
    python scripts/task_kb.py --check    # exit 1 if the file does not have what is measured; writes nothing

The instructions and thresholds are set on tests/data/requests_dev.csv. tests/data/requests_held_out.csv sets nothing: its
requests are counted here, not shown. Another sentence model is measured with --sentence-model NAME, which only prints.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openjscc.tasks.knowledge_base import TaskKB, load_task_kb
from openjscc.tasks.sentences import DEFAULT_SENTENCE_MODEL, SHA256

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "results" / "task-kb.json"
PAGE = ROOT / "docs" / "task-kb.md"
SETS = {"development": "requests_dev.csv", "held out": "requests_held_out.csv"}
NONE = "none"
BLOCK = re.compile(r"(?<=<!-- measured: scripts/task_kb.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--sentence-model", default=DEFAULT_SENTENCE_MODEL, help="print the figures of this one")
    args = parser.parse_args()
    kb = load_task_kb(args.sentence_model)
    record = measure(kb)
    if args.sentence_model != DEFAULT_SENTENCE_MODEL:
        print(tables(record))
        return 0
    text = json.dumps(record, indent=2) + "\n"
    if args.check:
        if RECORD.read_text(encoding="utf-8") == text:
            return 0
        print(f"{RECORD.relative_to(ROOT)} does not have what is measured: run python scripts/task_kb.py", file=sys.stderr)
        return 1
    RECORD.write_text(text, encoding="utf-8")
    page()
    print(tables(record))
    return 0


def page() -> None:
    """Fill the page from the record."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(BLOCK.sub(lambda _: tables(record), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def measure(kb: TaskKB) -> dict[str, Any]:
    """Counts of both sets: (true, decided) pairs, and right ones per register; ``none`` is a refusal."""
    record: dict[str, Any] = {"sentence_model": kb.model.name, "threshold": kb.threshold, "margin": kb.margin}
    if kb.model.name == DEFAULT_SENTENCE_MODEL:
        record["sha256"] = SHA256
    return record | {name: _count(kb, ROOT / "tests" / "data" / file) for name, file in SETS.items()}


def _count(kb: TaskKB, path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    decided = [kb.weigh(row["request"]).task or NONE for row in rows]
    pairs = Counter((row["task"], task) for row, task in zip(rows, decided, strict=True))
    right = Counter(row["register"] for row, task in zip(rows, decided, strict=True) if row["task"] == task)
    names = (*kb.tasks, NONE)
    return {
        "requests": len(rows),
        "right": sum(right.values()),
        "confusion": {true: {found: pairs[true, found] for found in names} for true in names},
        "registers": {name: [right[name], count] for name, count in Counter(row["register"] for row in rows).items()},
    }


def tables(record: dict[str, Any]) -> str:
    """Markdown: decisions on both sets, and what is right per register."""
    names = list(record["held out"]["confusion"])
    lines = _row(["set", "requests for", *(f"decided {name}" if name != NONE else "refused" for name in names)])
    lines += _row(["---", "---", *("---:" for _ in names)])
    for kind in SETS:
        for true, found in record[kind]["confusion"].items():
            lines += _row([kind, true if true != NONE else "none of them", *(str(found[name]) for name in names)])
    registers = [record[kind]["registers"] for kind in SETS]
    lines += ["", *_row(["right of all", *SETS]), *_row(["---", *("---:" for _ in SETS)])]
    for name in registers[0]:
        lines += _row([name, *("{} of {}".format(*counted[name]) for counted in registers)])
    lines += _row(["**all**", *(_share(record[kind]["right"], record[kind]["requests"]) for kind in SETS)])
    for label, select in SUMS.items():
        lines += _row([label, *(_share(*select(record[kind]["confusion"])) for kind in SETS)])
    return "\n".join(lines) + "\n"


def _for_a_task(confusion: dict[str, dict[str, int]]) -> int:
    return sum(sum(found.values()) for true, found in confusion.items() if true != NONE)


SUMS = {
    "requests for a task: refused": lambda c: (sum(found[NONE] for true, found in c.items() if true != NONE), _for_a_task(c)),
    "requests for a task: taken for the other one": lambda c: (
        sum(count for true, found in c.items() for name, count in found.items() if NONE not in (true, name) and name != true),
        _for_a_task(c),
    ),
    "requests for none: taken for a task": lambda c: (sum(c[NONE].values()) - c[NONE][NONE], sum(c[NONE].values())),
}


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)"


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


if __name__ == "__main__":
    sys.exit(main())
