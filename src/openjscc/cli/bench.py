"""``openjscc bench``: a grid of systems, channels, ratios and SNRs, measured once and kept."""

from __future__ import annotations

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
    jobs_for,
    named_systems,
    names,
    one_snr,
    snr_list,
    whole,
)

if TYPE_CHECKING:
    from ..bench.cells import CellResult, Plan
    from ..data.datasets import PictureDataset


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
        int, typer.Option("--keep", metavar="N", parser=whole(0), help="Keep the received images of the first N.")
    ] = 0,
    jobs: Jobs = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a grid of systems, channels, ratios and SNRs, all under the same noise.

    Writes DIR/records.csv (one line per figure of this command), DIR/run.json (what all lines share) and DIR/cells (one file
    per cell, with the values of every image). The same command again goes on where it was stopped; other commands may add cells
    to the folder. The same command in a second terminal shares the work.

    \b
    openjscc bench --systems adjscc,bpg-ldpc,bpg-capacity --data kodak --snr 0:20:2 --ratio 1/16 -o results/mine
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
    report(results, output, as_json)
    if not complete:
        say("interrupted: the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _precision(trials: int, until: str | None, most: int | None, metrics: Sequence[str]):
    from ..bench.point import Precision
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
    """`openjscc.bench.run.run_cells`, with the console's lines and progress bar."""
    from ..bench.run import run_cells

    def at_once(system: str) -> int:
        return jobs or jobs_for(system)

    return run_cells(
        plan, dataset, folder, jobs=at_once, keep=keep, say=say, progress=lambda total: progress("images sent", total)
    )  # fmt: skip


def report(results: list[CellResult], folder: Path, as_json: bool) -> None:
    """Write the records and print them."""
    from ..bench.records import RECORDS, write_records

    records = [record for result in results for record in result.records]
    write_records(folder / RECORDS, records)
    say(f"written: {folder / RECORDS}")
    if as_json:
        print_json([record.to_dict() for record in records])
    else:
        print_records([record for record in records if record.error is None])
