"""``openjscc survey``: questionnaires about pairs of images, and what their answers say."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import make_folder
from .console import print_json, print_table, progress, say
from .options import DataDir, Jobs, Json, check_packaged, whole

if TYPE_CHECKING:
    from ..survey.questionnaire import Key, Manifest

UNCOMMITTED = "questions/*.png\n"
RESULTS = Path("results") / "surveys"
Questionnaire = Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="A packaged questionnaire or one of yours.")]
Folder = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder of the questionnaire; else results/surveys/NAME.")
]

app = typer.Typer(rich_markup_mode=None, no_args_is_help=False)


@app.callback(invoke_without_command=True)
def survey(context: typer.Context) -> None:
    """Ask people which of two received images they prefer. See docs/user-study.md.

    \b
    openjscc survey list
    openjscc survey make perceptual-pairs -o pairs
    openjscc survey analyse perceptual-pairs answers.csv -o pairs
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_questionnaires(as_json: Json = False) -> None:
    """List the packaged questionnaires."""
    from ..survey.questionnaire import load_questionnaire, packaged_questionnaires

    found = {name: load_questionnaire(name) for name in packaged_questionnaires()}
    if as_json:
        print_json([{"name": name, "title": each.title, "paper": each.paper} for name, each in found.items()])
    else:
        print_table(["questionnaire", "what it is"], [[name, each.title] for name, each in found.items()])


@app.command("make")
def make(
    name: Questionnaire,
    output: Folder = None,
    model: Annotated[str | None, typer.Option("--model", metavar="SYSTEM", help="The system that is asked about.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", parser=whole(), help="Of the patches, and of the sides.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", parser=whole(1), help="Only the first N pairs, for a quick look.")
    ] = None,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """Send images and lay out the questions.

    Writes DIR/questions (what participants see) and DIR/key.json (what the images are; keep it).

    \b
    openjscc survey make perceptual-pairs -o pairs --seed 4711
    """
    check_packaged(name, "questionnaire", "survey/packaged")
    folder = output if output is not None else RESULTS / Path(name).stem
    from ..files import write_atomically
    from ..survey.make import make_pairs, plan_pairs
    from ..survey.questionnaire import KEY, MANIFEST, QUESTIONS, load_questionnaire

    questionnaire = load_questionnaire(name)
    changes = {"of": model, "seed": seed}
    section = dataclasses.replace(questionnaire.pairs, **{key: value for key, value in changes.items() if value is not None})
    if (folder / QUESTIONS / MANIFEST).exists():
        raise UsageError(
            f"{folder} already holds a questionnaire", "name another folder with -o; openjscc survey analyse reads its answers"
        )
    plan = plan_pairs(dataclasses.replace(questionnaire, pairs=section), data_dir, limit)
    make_folder(folder)
    write_atomically(folder / ".gitignore", UNCOMMITTED.encode())
    with progress("images sent", len(plan.transmissions)) as advance:
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


@app.command("analyse")
def analyse_answers(
    name: Questionnaire,
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="What people chose: a .csv or .jsonl file.")],
    output: Folder = None,
    as_json: Json = False,
) -> None:
    """Evaluate answers: the share that prefers each system, and at which bandwidths people are undecided.

    Writes DIR/NAME.md, its figure and DIR/preferences.json into the folder of the questionnaire.

    \b
    openjscc survey analyse perceptual-pairs answers.csv -o pairs
    """
    check_packaged(name, "questionnaire", "survey/packaged")
    folder = output if output is not None else RESULTS / Path(name).stem
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
        raise UsageError(f"{folder} holds the questionnaire {manifest.study}", f"openjscc survey analyse {manifest.study} ...")
    found = analyse(manifest.study, key, read_answers(answers, key))
    asked = Path(name).name if name.endswith(".toml") else name
    command = f"openjscc survey analyse {shlex.quote(asked)} {shlex.quote(answers.name)} -o DIR"
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
