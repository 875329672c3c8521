"""``openjscc bench``: a grid of systems, channels, ratios and SNRs, measured once and kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..files import check_folder, make_folder
from . import options as opt
from .console import print_json, progress, say
from .eval import INTERRUPTED, asked_of, planned, print_records

if TYPE_CHECKING:
    from ..bench.cells import CellResult, Plan
    from ..data.datasets import PictureDataset


Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the results; it is made.")]
UNTIL = "More trials until the 95 % interval over noise is +-W, e.g. psnr=0.05."
Until = Annotated[str | None, typer.Option("--until", metavar="METRIC=W", help=UNTIL)]
MOST = "With --until: at most so many; else 100."
MaxTrials = Annotated[int | None, typer.Option("--max-trials", metavar="N", parser=opt.whole(1), help=MOST)]
KEEP = "Keep the received images of the first N."
Keep = Annotated[int, typer.Option("--keep", metavar="N", parser=opt.whole(0), help=KEEP)]


def bench(
    output: Output,
    named: opt.NamedSystems = None,
    systems: opt.Systems = None,
    data: opt.Data = "kodak",
    data_dir: opt.DataDir = None,
    channel: opt.ChannelList = "awgn",
    snr: opt.SnrList = "10",
    ratio: opt.RatioList = None,
    metrics: opt.MetricList = None,
    task: opt.MeasuredTask = None,
    task_network: opt.TaskNetworks = None,
    trials: opt.Trials = 1,
    until: Until = None,
    max_trials: MaxTrials = None,
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
    told_snr: opt.ToldSnr = None,
    keep: Keep = 0,
    jobs: opt.Jobs = None,
    device: opt.Device = "cpu",
    as_json: opt.Json = False,
) -> None:
    """Measure a grid of systems, channels, ratios and SNRs, all under the same noise.

    Writes DIR/records.csv (one line per figure of this command), DIR/run.json (what all lines share) and DIR/cells (one file
    per cell, with the values of every image). The same command again goes on where it was stopped; other commands may add cells
    to the folder. The same command in a second terminal shares the work.

    \b
    openjscc bench --systems adjscc,bpg-ldpc,bpg-capacity --data kodak --snr 0:20:2 --ratio 1/16 -o results/mine
    """
    asked = asked_of(metrics, task, task_network)
    precision = _precision(trials, until, max_trials, asked.metrics)
    if keep and asked.task != "reconstruction":
        raise UsageError(f"--keep {keep} with the task {asked.task}", "received pictures are kept, and none are received")
    plan, dataset = planned(
        opt.named_systems(named, systems), asked, data, data_dir, limit, channel, snr, ratio, told_snr, precision, seed, device,
        lambda: check_folder(output),
    )  # fmt: skip
    make_folder(output)
    results, complete = run_plan(plan, dataset, output, jobs=jobs, keep=keep)
    report(results, output, as_json)
    if not complete:
        say("interrupted: the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _precision(trials: int, until: str | None, most: int | None, metrics: Sequence[str]):
    from ..bench.point import Precision

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


def run_plan(
    plan: Plan, dataset: PictureDataset, folder: Path, *, jobs: int | None = None, keep: int = 0
) -> tuple[list[CellResult], bool]:
    """`openjscc.bench.run.run_cells`, with the console's lines and progress bar."""
    from ..bench.run import run_cells

    return run_cells(
        plan, dataset, folder, jobs=lambda system: jobs or opt.jobs_for(system), keep=keep, say=say,
        progress=lambda total: progress("images sent", total),
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
