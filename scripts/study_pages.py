"""What a page about a paper has of its studies: where each one is, its figures, and its comparisons of systems."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from openjscc.studies.comparisons import read_tables
from openjscc.studies.differences import DifferenceTable
from openjscc.studies.differences_page import INTRODUCTION as DIFFERENCES
from openjscc.studies.differences_page import difference_page
from openjscc.studies.gains import GainTable
from openjscc.studies.gains_page import INTRODUCTION as GAINS
from openjscc.studies.gains_page import gain_page
from openjscc.studies.spec import load_study


def study_sections(names: Iterable[str], studies: Path, page: Path, *, metrics: Iterable[str], figures: Iterable[str]) -> str:
    """A section for each study that has been measured.

    Args:
        names: of packaged studies.
        studies: the folder that holds a folder for each.
        page: the page, for its links.
        metrics: of which comparisons are shown.
        figures: files of figures that are shown.
    """
    parts = []
    for name in names:
        folder = studies / name
        if not (folder / "summary.json").exists():
            continue
        study = load_study(name)
        labels = {system: str(label) for system, label in study.names.items()}
        link = os.path.relpath(folder, page.parent)
        parts.append(f"\n## {study.title}\n\nAll figures, tables and pictures: [{name}]({link}/{name}.md).")
        parts += [f"![{study.title}: {Path(file).stem}]({link}/{file})" for file in figures if (folder / file).exists()]
        for file, kind, introduction, written in (
            ("gains.json", GainTable, GAINS, gain_page),
            ("differences.json", DifferenceTable, DIFFERENCES, difference_page),
        ):
            tables = read_tables(folder / file, kind) if (folder / file).exists() else []
            shown = [written(table, labels) for table in tables if table.section.metric in metrics]
            parts += [introduction, *shown] if shown else []
    return "\n\n".join(parts) + "\n" if parts else ""
