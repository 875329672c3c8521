"""All pages and figures, made again from the committed records: ``make results``. Nothing is measured.

`git diff --exit-code` then shows whether the committed ones are those of the records. Images that were received (strips, heat
maps, the README's) are drawn when they are measured and stay as they are.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import cliff_figures
import multitask
import perceptual
import readme
import release
import semantics
import task_kb
import user_study
from marked import fill

from openjscc.bench.records import LINE, RECORDS, Record, read_records
from openjscc.files import write_atomically
from openjscc.models import list_models
from openjscc.report.markdown import table_row
from openjscc.studies.page import draw_study
from openjscc.studies.spec import load_study

ROOT = Path(__file__).resolve().parents[1]
COLUMNS_PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    for folder in sorted(path.parent for path in (ROOT / "results" / "studies").glob(f"*/{RECORDS}")):
        draw_study(folder, load_study(folder.name))
    for info in list_models():
        if (records := ROOT / "results" / f"{info.name}.csv").exists():
            write_atomically(ROOT / "cards" / f"{info.name}.md", release.card(info, read_records(records)).encode())
    cliff_figures.draw_all(ROOT / "results")
    for script in (semantics, perceptual, multitask, user_study, task_kb):
        script.page()
    readme.main()
    write_atomically(COLUMNS_PAGE, fill(COLUMNS_PAGE.read_text("utf-8"), "scripts/results.py", {"columns": columns()}).encode())


def columns() -> str:
    """A table of the columns of a record, from the attributes in its docstring; those of every CSV file first."""
    said = dict(re.findall(r"^    (\w+): (.*(?:\n        .*)*)", inspect.getdoc(Record) or "", re.MULTILINE))
    names = [*LINE, *(field.name for field in dataclasses.fields(Record) if field.name not in LINE)]
    lines = [table_row([f"`{name}`", said[name].strip().replace("``", "`")]) for name in names]
    return "\n".join([table_row(["column", "meaning"]), "|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    main()
