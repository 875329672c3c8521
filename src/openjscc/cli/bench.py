"""``openjscc bench``: a grid of systems, channels, ratios and SNRs, measured once and kept."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import print_json, progress, say
from .eval import INTERRUPTED, asked_of, check_told, print_records
from .options import (
    ChannelList,
    Data,
    DataDir,
    Device,
    Jobs,
    Json,
    Limit,
    MeasuredTask,
    MetricList,
    NamedSystems,
    RatioList,
    Seed,
    SnrList,
    Systems,
    TaskNetworks,
    ToldSnr,
    Trials,
    named_systems,
    names,
    one_snr,
    snr_list,
    whole,
)

if TYPE_CHECKING:
    import torch

    from ..bench.cells import Cell, CellResult, Keep, Plan
    from ..bench.kept import KeptPicture
    from ..data.datasets import PictureDataset
    from ..link import Transmission


def bench(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the results; it is made.")],
    named: NamedSystems = None,
    systems: Systems = None,
    data: Data = "kodak",
    data_dir: DataDir = None,
    channel: ChannelList = "awgn",
    snr: SnrList = "10",
    ratio: RatioList = None,
    metrics: MetricList = None,
    task: MeasuredTask = None,
    task_network: TaskNetworks = None,
    trials: Trials = 1,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="METRIC=W", help="More trials until the 95 % interval over noise is +-W, e.g. psnr=0.05."
        ),
    ] = None,
    max_trials: Annotated[
        int | None, typer.Option("--max-trials", metavar="N", parser=whole(1), help="With --until: at most so many; else 100.")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    told_snr: ToldSnr = None,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", parser=whole(0), help="Keep the received pictures of the first N.")
    ] = 0,
    jobs: Jobs = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a grid of systems, channels, ratios and SNRs, all under the same noise.

    Writes DIR/summary.json (a list of this command's records) and DIR/cells (one file per cell, with the values of every
    picture). The same command again goes on where it was stopped; other commands may add cells to the folder. Under torchrun
    the processes share the cells.

    \b
    openjscc bench --systems adjscc,bpg-ldpc,bpg-capacity --data kodak --snr 0:20:2 --ratio 1/16 -o results/mine
    torchrun --nproc-per-node 2 -m openjscc bench --systems adjscc --data kodak --snr 0:20:2 -o results/mine
    """
    from ..bench.cells import plan_cells
    from ..bench.task_metrics import open_networks
    from ..channels import make_channel
    from ..data.datasets import DATASETS, open_dataset
    from ..devices import find_device
    from ..errors import UsageError
    from ..systems import check_name, default_system, load_all
    from ..units import parse_ratios

    where = find_device(device)
    ratios = (None,) if ratio is None else parse_ratios(ratio)
    listed, looked_by, wanted = asked_of(metrics, task, task_network)
    precision = _precision(trials, until, max_trials, listed)
    if keep and wanted != "reconstruction":
        raise UsageError(f"--keep {keep} with the task {wanted}", "received pictures are kept, and none are received")
    channels, snrs = names(channel, "channel list"), snr_list(snr)
    told = None if told_snr is None else one_snr(told_snr)
    channels = [make_channel(spec).name for spec in channels]
    asked = named_systems(named, systems) or [default_system(wanted, requested=task is not None)]
    for name in asked:
        check_name(name)
    check_folder(output, make=False)
    opened = load_all(asked, ratios, data if data in DATASETS else None, where)
    check_told(opened, told)
    dataset = open_dataset(data, data_dir, split="test", limit=limit, cache_mib=1024)
    if dataset.note:
        say(f"note: {dataset.note}")
    plan = plan_cells(
        opened, dataset, channels=channels, snr_db=snrs, metrics=listed, precision=precision, seed=seed, told_snr_db=told,
        networks=open_networks(looked_by, listed, dataset, where), device=where,
    )  # fmt: skip
    check_folder(output)
    results, complete = run_plan(plan, dataset, output, jobs=jobs, keep=keep)
    if int(os.environ.get("RANK", "0")) == 0:
        report(results, output, as_json)
    if not complete:
        say("interrupted: the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    if int(os.environ.get("RANK", "0")) == 0 and any(result.error for result in results):
        raise typer.Exit(1)  # by the process that waits for all others: torchrun ends them all when one fails


def _precision(trials: int, until: str | None, most: int | None, metrics: Sequence[str]):
    from ..bench.cells import Precision
    from ..errors import UsageError

    if until is None:
        if most is not None:
            raise UsageError("--max-trials without --until", "say when it is enough, e.g. --until psnr=0.05; or give --trials")
        return Precision(trials, most=max(trials, 100))
    metric, equals, width = until.partition("=")
    try:
        value = float(width)
    except ValueError:
        value = 0.0
    if not equals or metric not in metrics or not 0 < value < math.inf:
        raise UsageError(f"--until {until!r}", f"write METRIC=HALFWIDTH with one of --metrics, e.g. {metrics[0]}=0.05")
    return Precision(trials, value, metric, max(trials, 100) if most is None else most)


def check_folder(folder: Path, *, make: bool = True) -> None:
    """Refuse a results folder that cannot be one, before the work. Makes it if asked."""
    from ..errors import UsageError

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "name a folder with -o")
    if make:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}", "choose another place with -o") from None
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{folder} cannot be made: {there} is a file", "choose another place with -o")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{there}: no permission to write there", "choose another place with -o")


def run_plan(
    plan: Plan, dataset: PictureDataset, folder: Path, *, jobs: int | None = None, keep: int = 0
) -> tuple[list[CellResult], bool]:
    """Measure what is missing; all results in order, and whether the run was not interrupted."""
    from ..bench.cells import cell_path, measure_cell, store
    from ..bench.kept import add_kept, picture_files
    from ..bench.processes import Team
    from ..files import claimed, sweep

    team = Team()
    files = picture_files(dataset.ids)
    wanted = [files[name] for name in dataset.ids[:keep]]
    if team.rank == 0:
        for place in (folder, folder / "cells", folder / "pictures"):
            sweep(place)
    found = _found(plan, plan.cells, folder, wanted) if team.rank == 0 else {}
    done = set(team.broadcast([cell.key for cell in found]))
    missing = [cell for cell in plan.cells if cell.key not in done]
    mine = missing[team.rank :: team.size]
    if done:
        say(f"{len(done)} of {len(plan.cells)} cells are there already")
    if old := sum(_is_of_other_software(result) for result in found.values()):
        say(f"note: {old} of them are of another version of the software; without {folder / 'cells'} they are measured again")
    if moved := [result for cell, result in found.items() if _is_of_other_device(result, plan.computed_on(cell))]:
        there = ", ".join(dict.fromkeys(str(record.device) for result in moved for record in result.records))
        say(f"note: {len(moved)} of them are of another device ({there}), which changes figures by rounding only")
    complete = True
    fresh: list[tuple[CellResult, list[KeptPicture]]] = []
    others = 0
    try:
        with progress("pictures sent", sum(len(dataset) * cell.precision.trials for cell in mine)) as bar:
            left = [(cell, False) for cell in mine]
            while left:
                cell, wait = left.pop(0)
                with claimed(cell_path(folder, cell).with_suffix(".lock"), wait=wait) as free:
                    if not free:  # another command is at work on it: first what nobody has
                        left.append((cell, True))
                        continue
                    if theirs := _found(plan, [cell], folder, wanted):
                        found |= theirs
                        fresh.append((theirs[cell], []))
                        others += 1
                        bar(len(dataset) * cell.precision.trials)
                        continue
                    kept: list[KeptPicture] = []
                    keeper = None if keep == 0 else _keeper(folder, cell, dataset, kept)
                    result = measure_cell(
                        plan, cell, dataset, jobs=jobs or _jobs(cell.system), advance=bar, keep=keeper, keep_pictures=keep,
                        extend=bar.extend,
                    )  # fmt: skip
                    if result.error:
                        kept.clear()
                    if team.rank == 0:
                        add_kept(folder / "pictures", kept)  # before the cell: one without its pictures is measured again
                    store(folder, result, dataset.ids)
                    fresh.append((result, kept))
                    if result.error:
                        say(f"error in {cell.system}, {cell.channel}, {cell.snr_db:g} dB: {result.error}")
    except KeyboardInterrupt:
        complete = False
    if others:
        say(f"{others} cells were measured by another command meanwhile")
    for result, kept in team.gather(fresh):
        found[result.cell] = result
        if team.size > 1 and team.rank == 0:
            add_kept(folder / "pictures", kept)
            store(folder, result, dataset.ids)  # of another machine, it may not be there yet
    return [found[cell] for cell in plan.cells if cell in found], complete


def _found(plan: Plan, cells: Sequence[Cell], folder: Path, files: Sequence[str]) -> dict[Cell, CellResult]:
    """Those of the cells that need not be measured: of this account and source coder, whose pictures of these names were kept."""
    from ..bench.cells import stored
    from ..bench.kept import kept_files
    from ..bench.records import ACCOUNT
    from ..codec import CodecInfo

    there = kept_files(folder / "pictures") if files else set()
    found: dict[Cell, CellResult] = {}
    for cell in cells:
        result = stored(folder, cell)
        now = (ACCOUNT, CodecInfo(plan.codec(cell)).tool)
        if result is None or any((record.account, record.tool) != now for record in result.records):
            continue
        if all(f"{cell.key}/{file}" in there for file in files):
            found[cell] = result
    return found


def _is_of_other_software(result: CellResult) -> bool:
    from ..bench.provenance import commit, versions

    return any((record.versions, record.commit) != (versions(), commit()) for record in result.records)


def _is_of_other_device(result: CellResult, now: str) -> bool:
    """Whether on the CPU what would now be on CUDA, or the other way round; ``now``: as `Record.device`."""

    def kinds(device: str) -> set[str]:
        return {name.partition(":")[0] for name in device.split("; ")}

    return any(record.device is not None and kinds(record.device) != kinds(now) for record in result.records)


def report(results: list[CellResult], folder: Path, as_json: bool) -> None:
    """Writes the summary and prints it."""
    from ..bench.cells import write_summary

    records = write_summary(folder, results)
    say(f"written: {folder / 'summary.json'}")
    if as_json:
        print_json([record.to_dict() for record in records])
    else:
        print_records([record for record in records if record.error is None])


def _jobs(system: str) -> int:
    from ..systems import has_digital_codec

    return (os.cpu_count() or 1) if has_digital_codec(system) else 1


def _keeper(folder: Path, cell: Cell, dataset: PictureDataset, kept: list[KeptPicture]) -> Keep:
    """Stores received pictures or masks of a cell as ``DIR/pictures/KEY/FILE`` and notes them."""
    from ..bench.kept import KeptPicture, picture_files
    from ..data.images import write_png
    from ..data.masks import mask_picture, masks_of
    from ..metrics import psnr
    from ..metrics.task import confusion_entries, miou

    files = picture_files(dataset.ids)

    def keep(ids: Sequence[str], x: torch.Tensor, result: Transmission) -> None:
        for place, name in enumerate(ids):
            path = folder / "pictures" / cell.key / files[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            quality = overlap = None
            if (scores := result.reconstruction.segmentation) is not None:
                found = scores[place : place + 1].argmax(1).cpu()
                write_png(path, mask_picture(found[0]), overwrite=True)
                value = miou(confusion_entries(found, masks_of(dataset)[dataset.ids.index(name)]))
                overlap = None if math.isnan(value) else value
            else:
                assert result.image is not None
                write_png(path, result.image[place].float().cpu(), overwrite=True)
                quality = psnr(x[place : place + 1], result.image[place : place + 1].to(x.device)).item()
            ok = result.reconstruction.ok is None or bool(result.reconstruction.ok[place])
            kept.append(
                KeptPicture(
                    file=str(path.relative_to(folder / "pictures")),
                    system=cell.system,
                    channel=cell.channel,
                    snr_db=cell.snr_db,
                    ratio=cell.ratio,
                    picture=name,
                    psnr=quality,
                    ok=ok,
                    told_snr_db=cell.told_snr_db,
                    bandwidth_ratio=float(result.bandwidth_ratio[place]),
                    uses=int(result.frame.length[place]),
                    task=cell.task,
                    miou=overlap,
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                )
            )

    return keep
