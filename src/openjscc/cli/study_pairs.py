"""``openjscc study`` for questionnaires: made, and, with ``--answers``, evaluated."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .bench import check_folder
from .console import print_json, print_table, progress, say

if TYPE_CHECKING:
    from ..survey.questionnaire import Key, Manifest

UNCOMMITTED = "questions/*.png\n"


def make(
    name: str, folder: Path, *, model: str | None, seed: int | None, data_dir: str | None, limit: int | None, jobs: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Send the images, write questions and key."""
    from ..files import write_atomically
    from ..survey.make import make_pairs, plan_pairs
    from ..survey.questionnaire import KEY, MANIFEST, QUESTIONS, load_questionnaire

    questionnaire = load_questionnaire(name)
    changes = {"of": model, "seed": seed}
    section = dataclasses.replace(questionnaire.pairs, **{key: value for key, value in changes.items() if value is not None})
    if (folder / QUESTIONS / MANIFEST).exists():
        raise UsageError(
            f"{folder} already holds a questionnaire", "name another folder with -o; --answers FILE evaluates this one"
        )
    plan = plan_pairs(dataclasses.replace(questionnaire, pairs=section), data_dir, limit)
    check_folder(folder)
    write_atomically(folder / ".gitignore", UNCOMMITTED.encode())
    with progress("pictures sent", len(plan.transmissions)) as advance:
        manifest, key = make_pairs(folder, Path(name).stem, plan, jobs=jobs or os.cpu_count() or 1, advance=advance)
    _report(folder, manifest, key, as_json)
    say(f"written: {folder / QUESTIONS} (show this), {folder / KEY} (keep this)")


def _report(folder: Path, manifest: Manifest, key: Key, as_json: bool) -> None:
    """How often each condition is asked about."""
    from ..survey.questionnaire import KEY, MANIFEST, QUESTIONS
    from ..units import format_ratio

    lost = [(pair.id, pair.picture) for pair in key.pairs if not (pair.left.arrived and pair.right.arrived)]
    for pair, picture in lost:
        say(f"note: pair {pair} shows a lost picture of {picture}, as mid-grey")
    counts: dict[tuple[float, float], int] = {}
    for pair in key.pairs:
        where = (pair.of.ratio, pair.over.ratio)
        counts[where] = counts.get(where, 0) + 1
    if as_json:
        files = {"manifest": str(folder / QUESTIONS / MANIFEST), "key": str(folder / KEY)}
        conditions = [{"of_ratio": a, "over_ratio": b, "pairs": counts[a, b]} for a, b in sorted(counts)]
        print_json({"study": manifest.study, "pairs": len(manifest.pairs), "lost": len(lost), **files, "conditions": conditions})
        return
    of, over = key.pairs[0].of, key.pairs[0].over
    rows = [[format_ratio(a), format_ratio(b), str(counts[a, b])] for a, b in sorted(counts)]
    print_table([of.weight, over.system, "pairs"], rows)


def evaluate(name: str, folder: Path, answers: Path, *, as_json: bool) -> None:
    """Read the answers, write figure, page and record."""
    from ..survey.analysis import analyse
    from ..survey.answers import read_answers
    from ..survey.page import (
        CROSSING_COLUMNS,
        PREFERENCE_COLUMNS,
        answer_lines,
        columns,
        crossing_cells,
        labels,
        preference_cells,
        write_page,
    )
    from ..survey.questionnaire import load_questionnaire, read_made

    questionnaire = load_questionnaire(name)
    manifest, key = read_made(folder)
    if manifest.study != Path(name).stem:
        raise UsageError(f"{folder} holds the questionnaire {manifest.study}", f"openjscc study {manifest.study} --answers ...")
    found = analyse(manifest.study, key, read_answers(answers, key))
    asked = Path(name).name if name.endswith(".toml") else name
    command = f"openjscc study {shlex.quote(asked)} -o DIR --answers {shlex.quote(answers.name)}"
    written = write_page(folder, questionnaire, manifest, found, command)
    for line in answer_lines(found):
        say(line)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        names = labels(questionnaire, found)
        print_table(columns(names, PREFERENCE_COLUMNS), preference_cells(found))
        print()
        print_table(columns(names, CROSSING_COLUMNS), crossing_cells(found))
    for path in written:
        say(f"written: {path}")
