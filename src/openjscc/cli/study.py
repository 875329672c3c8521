"""``openjscc study``: a named figure of a paper, measured, drawn and written down; and measured again in part."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import make_folder
from .bench import run_plan
from .console import print_json, print_table, progress, say
from .eval import INTERRUPTED, print_records
from .options import DataDir, Device, Jobs, Json, TaskNetworks, check_packaged, figure, jobs_for, names, whole

if TYPE_CHECKING:
    import torch

    from ..bench import Record
    from ..bench.cells import CellResult
    from ..bench.verify import Comparison
    from ..studies.plan import Grid, StudyPlan
    from ..studies.spec import Study

CELLS = 3
RESULTS = Path("results") / "studies"
UNCOMMITTED = "cells/\npictures/\n"


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE.toml", help="A packaged study or one of yours.", show_default=False)
    ] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="List the packaged studies.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Measure some cells again and compare with the records.")] = False,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Write the page and its figures again from the records; measure nothing.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder of the results; else results/studies/NAME.")
    ] = None,
    data_dir: DataDir = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", parser=whole(1), help="Only the first N images, for a quick look."),
    ] = None,
    task_network: TaskNetworks = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    cells: Annotated[
        int | None, typer.Option("--cells", metavar="K", parser=whole(1), help=f"With --check: how many cells; else {CELLS}.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="S",
            parser=whole(),
            help="With --check: which cells are drawn.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure, draw and write down a named figure of a paper.

    Writes DIR/NAME.md (the page), its figures, DIR/records.csv (one line per measured figure), DIR/run.json (what all lines
    share), DIR/gains.json (what systems save against one another), DIR/differences.json (how much better they are),
    DIR/paired.json (how sure the differences in figures are), DIR/cells (the values of every image) and DIR/cells.zip (the same
    in one file, to keep with the results). The same command again measures only what is in neither, and writes the page anew.
    The same command in a second terminal shares the work.

    --check measures some cells again and exits with 1 where a figure is not the recorded one: with the same seed it must be
    equal to 0.02 dB (0.002 where it is not in dB); of digital links over several trials, to the record's interval over noise.

    --redraw writes the page and its figures again from the records. Strips and heat maps stay as they are.

    --task-network puts other networks in the place of those that the study names; strips and heat maps are of the first of them.

    \b
    openjscc study --list
    openjscc study kodak-snr --limit 2 -o quick
    openjscc study kodak-snr
    openjscc study kodak-snr --check
    openjscc study kodak-snr --redraw
    openjscc study sp-jscc-snr --task-network classifier,resnet20.th
    """
    if name is not None and not list_studies:
        check_packaged(name, "study", "studies/packaged")
    from ..devices import find_device
    from ..studies.spec import load_study, with_networks

    if list_studies:
        _list(as_json)
        return
    if name is None:
        raise UsageError("no study named", "openjscc study --list shows them")
    folder = output if output is not None else RESULTS / Path(name).stem
    if not check and (cells is not None or seed is not None):
        raise UsageError(f"--{'cells' if cells is not None else 'seed'} without --check", "a study has its seeds in its file")
    if redraw and check:
        raise UsageError("--redraw with --check", "give one of them")
    where = find_device(device)
    plan = load_study(name)
    looked_by = [] if task_network is None else names(task_network, "list of task networks")
    if looked_by:
        plan = with_networks(plan, looked_by)
    if check:
        _check(folder, cells or CELLS, seed or 0, data_dir, limit, looked_by, jobs, where, as_json)
    elif redraw:
        _redraw(plan, Path(name).stem, folder, as_json)
    else:
        _measure(plan, name, folder, data_dir, limit, looked_by, jobs, where, as_json)


def _list(as_json: bool) -> None:
    from ..studies.spec import load_study, packaged_studies

    studies = {name: load_study(name) for name in packaged_studies()}
    if as_json:
        print_json([{"name": name, "title": found.title, "paper": found.paper} for name, found in studies.items()])
    else:
        print_table(["study", "what it is"], [[name, found.title] for name, found in studies.items()])


def _measure(
    study: Study, name: str, folder: Path, data_dir: str | None, limit: int | None, looked_by: list[str], jobs: int | None,
    device: torch.device, as_json: bool,
) -> None:  # fmt: skip
    from ..bench.archive import pack_cells, unpack_cells
    from ..files import write_atomically
    from ..studies.differences import difference_table
    from ..studies.gains import gain_table
    from ..studies.page import write_study
    from ..studies.plan import plan_study

    stem = Path(name).stem
    plan = plan_study(study, data_dir, limit, device)
    _check_results(folder, stem, plan)
    make_folder(folder)
    for metric, reason in plan.missing.items():
        say(f"note: {metric} is left out: {reason}")
    for note in _data_notes(plan):
        say(f"note: {note}")
    results: list[CellResult] = []
    complete = True
    write_atomically(folder / ".gitignore", UNCOMMITTED.encode())
    unpack_cells(folder, (cell for grid in plan.grids for cell in grid.plan.cells))
    for grid in plan.grids:
        some, complete = run_plan(grid.plan, grid.dataset, folder, jobs=jobs) if complete else ([], False)
        results += some
    for grid in (grid for strip in plan.strips for grid in strip.grids):
        if complete:
            _forget_lost_pictures(folder, grid)
            some, complete = run_plan(grid.plan, grid.dataset, folder, jobs=jobs, keep=1)
            if failed := [result.error for result in some if result.error]:
                raise UsageError(f"a picture of a strip could not be sent: {failed[0]}", "see the [[strip]] of the study")
    pack_cells(folder, (cell for grid in plan.grids for cell in grid.plan.cells))
    if not complete:
        say("interrupted: the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    records = [record for result in results for record in result.records]
    facts = _facts(study, name, limit, looked_by, plan, records)
    gains = [gain_table(section, results) for section in study.gain if section.metric not in plan.missing]
    differences = [difference_table(section, results) for section in study.difference if section.metric not in plan.missing]
    written = write_study(folder, study, records, [*plan.strips, *plan.heatmaps], facts, gains, differences, results)
    _report_study(stem, written, records, as_json)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _print(records: list[Record]) -> None:
    """A table for all that differs in nothing but what the table's columns say; metrics may have been measured apart."""
    points: dict[tuple, list[Record]] = {}
    for record in records:
        if record.error is None:
            how = (record.told_snr_db, record.seed, record.images, record.trials)
            where = (record.system, record.weight, record.channel, record.ratio, record.snr_db)
            points.setdefault((*how, *where), []).append(record)
    groups: dict[tuple, list[Record]] = {}
    for (told, seed, *_), some in points.items():
        metrics = tuple(record.metric for record in some)
        groups.setdefault((told, seed, some[0].images, some[0].trials, metrics), []).extend(some)
    for (told, seed, *_), some in groups.items():
        if len(groups) > 1:
            print(f"seed {seed}, SNR {'known' if told is None else f'taken for {told:g} dB'}:")
        print_records(some)


def _check_results(folder: Path, stem: str, plan: StudyPlan) -> None:
    """Refuse to write over what is not this study's, or was measured on more images."""
    from ..bench.records import RECORDS, read_records
    from ..studies.facts import read_facts

    if not (folder / RECORDS).exists():
        return
    facts = read_facts(folder)
    if facts is None or facts.name != stem:
        raise UsageError(f"{folder} holds other results than those of {stem}", "name another folder with -o")
    most = max((record.images for record in read_records(folder)), default=0)
    if most > (now := max(len(grid.dataset) for grid in plan.grids)):
        raise UsageError(f"{folder} holds results on {most} pictures, these are on {now}", "name another folder with -o")


def _forget_lost_pictures(folder: Path, grid: Grid) -> None:
    """A cell whose kept image is gone, or does not say what was sent for it, is measured again."""
    from ..bench.cells import cell_path
    from ..bench.kept import kept_files, read_kept

    stem, pictures = Path(grid.dataset.ids[0]).stem, folder / "pictures"
    there = kept_files(pictures)
    told = {kept.file for kept in read_kept(pictures) if None not in (kept.uses, kept.bandwidth_ratio)} if there else set()
    for cell in grid.plan.cells:
        if f"{cell.key}/{stem}.png" not in there & told:
            cell_path(folder, cell).unlink(missing_ok=True)


def _data_notes(plan: StudyPlan) -> list[str]:
    return [*dict.fromkeys(grid.dataset.note for grid in plan.grids if grid.dataset.note)]


def _facts(study: Study, name: str, limit: int | None, looked_by: list[str], plan: StudyPlan, records: list[Record]):
    from ..codec import CodecInfo
    from ..composite import CompositeCodec
    from ..studies.facts import Facts, Weight

    asked = Path(name).name if name.endswith(".toml") else name
    command = f"openjscc study {shlex.quote(asked)}" + ("" if limit is None else f" --limit {limit}")
    if looked_by:
        command += f" --task-network {shlex.quote(','.join(Path(item).name for item in looked_by))}"
    codecs = [codec.codec if isinstance(codec, CompositeCodec) else codec for codec in plan.codecs]
    used = [CodecInfo(codec).weight for codec in codecs]
    used += [codec.network.weight for codec in plan.codecs if isinstance(codec, CompositeCodec)]
    weights = {info.sha256: info for info in used if info is not None}
    quick = limit is not None and any(bench.limit is None or limit < bench.limit for bench in study.bench)
    known = tuple(map(Weight.of, weights.values()))
    return Facts(Path(name).stem, command, quick, dict(plan.missing), tuple(_data_notes(plan)), known)


def _redraw(study: Study, stem: str, folder: Path, as_json: bool) -> None:
    from ..bench.records import read_records
    from ..studies.page import draw_study

    _check_there(folder)
    _report_study(stem, draw_study(folder, study), read_records(folder), as_json)


def _report_study(stem: str, written: list[Path], records: list[Record], as_json: bool) -> None:
    for path in written:
        say(f"written: {path}")
    if as_json:
        print_json({"study": stem, "files": [str(path) for path in written], "records": [record.to_dict() for record in records]})
    else:
        _print(records)


def _check_there(folder: Path) -> None:
    from ..bench.records import RECORDS
    from ..errors import MissingError

    if not (folder / RECORDS).exists():
        raise MissingError(f"no results in {folder}", "run the study first, or name their folder with -o")


def _check(
    folder: Path, cells: int, seed: int, data_dir: str | None, limit: int | None, looked_by: list[str], jobs: int | None,
    device: torch.device, as_json: bool,
) -> None:  # fmt: skip
    from ..bench.records import read_records
    from ..bench.verify import plan_recheck, recheck

    _check_there(folder)
    records = read_records(folder)
    if limit is not None and any(record.images != limit for record in records if record.error is None):
        raise UsageError(
            f"the records are not of {limit} pictures", "leave out --limit: --check takes the pictures of the records"
        )
    plan = plan_recheck(records, cells, seed, data_dir, looked_by, device)
    for metric, reason in plan.missing.items():
        say(f"note: {metric} is left out: {reason}")

    def at_once(system: str) -> int:
        return jobs or jobs_for(system)

    total = sum(len(dataset) * some[0].trials for some, _, dataset in plan.cells)
    with progress("pictures sent", total) as advance:
        compared = recheck(plan, at_once, advance)
    say(f"{len(plan.cells)} of {plan.total} cells measured again")
    _report(compared, as_json)
    bad = [line for line in compared if not line.ok]
    if bad:
        say(f"{len(bad)} of {len(compared)} figures are not the recorded ones")
    if bad:
        raise typer.Exit(1)


def _report(compared: list[Comparison], as_json: bool) -> None:
    from ..units import format_ratio

    if as_json:
        names = ("system", "weight", "channel", "snr_db", "ratio", "told_snr_db", "images", "trials", "seed")
        print_json(
            [
                {name: getattr(line.record, name) for name in names}
                | {"quantity": line.quantity, "recorded": line.recorded, "measured": line.measured}
                | {"tolerance": line.tolerance, "ok": line.ok, "error": line.error}
                for line in compared
            ]
        )
        return
    rows = []
    for line in compared:
        where = [
            line.record.system,
            line.record.channel,
            f"{line.record.snr_db:g}",
            format_ratio(line.record.ratio),
            line.quantity,
        ]
        values = ["-" if value is None else figure(value, 4) for value in (line.recorded, line.measured)]
        verdict = "ok" if line.ok else line.error or "NOT THE SAME"
        rows.append([*where, *values, f"{line.tolerance:.4f}", verdict])
    print_table(["system", "channel", "snr (dB)", "ratio", "quantity", "recorded", "measured", "tolerance", "verdict"], rows)
