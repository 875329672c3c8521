"""All pages and figures, made again from the committed records: ``make results``. Nothing is measured.

`git diff --exit-code` then shows whether the committed ones are those of the records. Images that were received (strips, heat
maps, the README's) are drawn when they are measured and stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import cliff_figures
import multitask
import perceptual
import readme
import semantics
import task_kb
import user_study

from openjscc.bench.records import RECORDS
from openjscc.studies.page import draw_study
from openjscc.studies.spec import load_study

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    for folder in sorted(path.parent for path in (ROOT / "results" / "studies").glob(f"*/{RECORDS}")):
        draw_study(folder, load_study(folder.name))
    cliff_figures.draw_all(ROOT / "results")
    for script in (semantics, perceptual, multitask, user_study, task_kb):
        script.page()
    readme.main()


if __name__ == "__main__":
    main()
