"""``openjscc eval``: systems measured on a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OpenJSCCError, UsageError
from ..files import check_target
from . import options as opt
from .console import print_table, progress, say

if TYPE_CHECKING:
    from ..bench import Record
    from ..bench.cells import Plan
    from ..bench.point import Precision
    from ..data.datasets import PictureDataset

INTERRUPTED = 130


Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Write the records there, too.")]


def evaluate(
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
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
    told_snr: opt.ToldSnr = None,
    jobs: opt.Jobs = None,
    device: opt.Device = "cpu",
    output: Output = None,
    force: opt.Force = False,
    as_json: opt.Json = False,
) -> None:
    """Measure systems on a data set: mean, spread and 95 % confidence interval per channel, SNR, ratio and metric.

    A bare architecture means the weight that fits --data and --ratio. Every system, SNR and run meets the same fading and
    noise for an image, trial, channel and seed.

    \b
    openjscc eval adjscc deepjscc --data kodak --snr 0:20:5 --ratio 1/16,1/6
    openjscc eval adjscc --data ~/photos --channel rayleigh:block --trials 5
    openjscc eval --data cifar10 --metrics psnr,accuracy --task-network classifier,resnet20.th
    openjscc eval --data voc --metrics miou,pixel_accuracy --systems bpg-ldpc+fcn,adjscc+fcn --ratio 1/24
    openjscc eval --systems adjscc,bpg-ldpc,bpg-ldpc:mcs=16qam-3/4-n1944,bpg-capacity --snr -2:20:2 --ratio 1/16
    openjscc eval adjscc --snr 0:20:2 --metrics psnr,lpips --device auto
    """
    from ..bench.point import Precision
    from ..bench.sweep import run

    asked = asked_of(metrics, task, task_network)
    precision = Precision(trials, most=max(trials, 100))
    plan, dataset = planned(
        opt.named_systems(named, systems), asked, data, data_dir, limit, channel, snr, ratio, told_snr, precision, seed, device,
        lambda: None if output is None else check_target(output, force, [".csv"]),
    )  # fmt: skip
    records: list[Record] = []
    try:
        with progress("images sent", len(dataset) * len(plan.cells) * trials) as advance:
            for found in run(plan, dataset, lambda system: jobs or opt.jobs_for(system), advance):
                records += found
    except (KeyboardInterrupt, OpenJSCCError) as error:  # what is through is not lost
        if records or isinstance(error, KeyboardInterrupt):
            _report(records, output, as_json and isinstance(error, KeyboardInterrupt))
        if isinstance(error, OpenJSCCError):
            raise
        say(f"the figures above are of the points that were through{' (none)' if not records else ''}")
        raise typer.Exit(INTERRUPTED) from None
    _report(records, output, as_json)


@dataclass(frozen=True)
class Asked:
    """What is measured: metrics, task networks (None: none are named), the task, and whether ``--task`` named it."""

    metrics: tuple[str, ...]
    networks: list[str] | None
    task: str
    named: bool


def asked_of(metrics: str | None, task: str | None, task_network: str | None) -> Asked:
    """Of the options ``--metrics``, ``--task`` and ``--task-network``.

    Raises:
        UsageError: an unknown task, and what `openjscc.bench.task_metrics.check_asked` refuses.
    """
    from ..bench.task_metrics import DEFAULT_METRICS, check_asked

    default = DEFAULT_METRICS[opt.task_of(task, None).task]
    listed = default if metrics is None else tuple(opt.names(metrics, "metric list"))
    networks = None if task_network is None else opt.names(task_network, "list of task networks")
    return Asked(listed, networks, check_asked(task, listed, networks), task is not None)


def planned(
    systems: list[str] | None, asked: Asked, data: str, data_dir: str | None, limit: int | None, channel: str, snr: str,
    ratio: str | None, told_snr: str | None, precision: Precision, seed: int, device: str, check_output: Callable[[], None],
) -> tuple[Plan, PictureDataset]:  # fmt: skip
    """The cells that the options of ``eval`` and ``bench`` name, and their images. Names are checked first, then the output.

    Raises:
        UsageError, MissingError: what the parts refuse; a bound whose transmitter is told another SNR.
    """
    from ..bench.cells import plan_cells
    from ..bench.task_metrics import open_networks
    from ..channels import make_channel
    from ..codec import CodecInfo, check_task
    from ..data.datasets import DATASETS, open_dataset
    from ..devices import find_device
    from ..systems import check_name, default_system, load_all
    from ..units import parse_ratios

    where, snr_db = find_device(device), opt.snr_list(snr)
    ratios = (None,) if ratio is None else parse_ratios(ratio)
    channels = [make_channel(spec).name for spec in opt.names(channel, "channel list")]
    told_snr_db = None if told_snr is None else opt.one_snr(told_snr)
    systems = systems or [default_system(asked.task, requested=asked.named)]
    for name in systems:
        check_name(name)
    check_output()
    opened = load_all(systems, ratios, data if data in DATASETS else None, where)
    for name, codec, _ in opened:
        check_task(codec, asked.task)
        if told_snr_db is not None and CodecInfo(codec).bound:
            raise UsageError(f"--told-snr for {name}", "a bound is for a transmitter that knows the SNR: measure it apart")
    dataset = open_dataset(data, data_dir, split="test", limit=limit, cache_mib=1024)
    if dataset.note:
        say(f"note: {dataset.note}")
    networks = open_networks(asked.networks, asked.metrics, dataset, where)
    plan = plan_cells(
        opened, dataset, channels=channels, snr_db=snr_db, metrics=asked.metrics, precision=precision, seed=seed,
        told_snr_db=told_snr_db, networks=networks, device=where,
    )  # fmt: skip
    return plan, dataset


def _report(records: list[Record], output: Path | None, as_json: bool) -> None:
    from ..bench.records import to_json, write_records

    try:
        if output is not None and records:  # an empty list over old results would say less than nothing
            write_records(output, records)
            say(f"written: {output}")
    finally:  # where the file cannot be written, the figures are not lost with it
        if as_json:
            print(to_json(records))
        elif records:
            print_records(records)


def print_records(records: list[Record]) -> None:
    """One line per system, channel, ratio and SNR; a column per metric and network: mean ± half width of the 95 % interval, from
    6 images up."""
    from ..bench.records import NO_INTERVAL, without_interval
    from ..metrics import METRICS
    from ..units import format_ratio

    columns = list(dict.fromkeys((record.metric, record.task_network) for record in records))
    lines: dict[tuple[str, str, str, float | None, float], dict[tuple[str, str | None], Record]] = {}
    systems: dict[str, set[str]] = {}
    for record in records:
        line = lines.setdefault((record.system, record.weight, record.channel, record.ratio, record.snr_db), {})
        line[record.metric, record.task_network] = record
        systems.setdefault(record.weight, set()).add(record.system)
    remarks = [METRICS[metric].unit or network for metric, network in columns]
    titles = [f"{metric} ({remark})" if remark else metric for (metric, _), remark in zip(columns, remarks, strict=True)]
    rows = []
    for (system, weight, channel, ratio, snr_db), line in lines.items():
        first = next(iter(line.values()))
        weight = weight if len(systems[weight]) == 1 else system  # two files may hold weights of one name
        cells = [_cell(line[column], 2 if METRICS[column[0]].unit == "dB" else 4) for column in columns]
        where = [weight, channel, f"{snr_db:g}", format_ratio(ratio), f"{first.bandwidth_ratio:.5f}"]
        lost = f"{100 * first.outage_rate:.3g} %" if first.outage_rate else "-"
        rows.append([*where, *cells, lost, str(first.images), str(first.trials)])
    print_table(["weight", "channel", "snr (dB)", "ratio", "k/n", *titles, "lost", "images", "trials"], rows)
    if without_interval(records):
        say(f"note: {NO_INTERVAL}")


def _cell(record: Record, digits: int) -> str:
    if record.infinite:
        left_out = f"{record.infinite} of {record.images * record.trials}"
        without = "" if record.mean_finite is None else f" ({opt.figure(record.mean_finite, digits)} without {left_out})"
        return f"infinite{without}"
    mean = opt.figure(record.mean, digits)
    return mean if record.shown_ci95 is None else f"{mean} ± {opt.figure(record.shown_ci95, digits)}"
