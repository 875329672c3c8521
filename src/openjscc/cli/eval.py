"""``openjscc eval``: systems measured on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OpenJSCCError, UsageError
from .console import print_table, progress, say
from .options import (
    ChannelList,
    Data,
    DataDir,
    Device,
    Force,
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
    check_target,
    figure,
    jobs_for,
    named_systems,
    names,
    one_snr,
    snr_list,
)

if TYPE_CHECKING:
    from ..bench import Record
    from ..codec import Codec

INTERRUPTED = 130


def evaluate(
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
    limit: Limit = None,
    seed: Seed = 0,
    told_snr: ToldSnr = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.csv", help="Write the records there, too."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
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
    from ..bench.sweep import Sweep, run
    from ..bench.task_metrics import open_networks
    from ..channels import make_channel
    from ..codec import check_task
    from ..data.datasets import DATASETS, open_dataset
    from ..devices import find_device
    from ..systems import check_name, default_system, load_all
    from ..units import parse_ratios

    where = find_device(device)
    ratios = (None,) if ratio is None else parse_ratios(ratio)
    listed, looked_by, wanted = asked_of(metrics, task, task_network)
    sweep = Sweep(
        channels=tuple(dict.fromkeys(make_channel(spec).name for spec in names(channel, "channel list"))),
        snr_db=tuple(snr_list(snr)),
        ratios=ratios,
        metrics=listed,
        trials=trials,
        seed=seed,
        told_snr_db=None if told_snr is None else one_snr(told_snr),
    )
    asked = named_systems(named, systems) or [default_system(wanted, requested=task is not None)]
    for name in asked:
        check_name(name)
    if output is not None:
        check_target(output, force, ".csv")
    opened = load_all(asked, sweep.ratios, data if data in DATASETS else None, where)
    for _, codec, _ in opened:
        check_task(codec, wanted)
    check_told(opened, sweep.told_snr_db)
    dataset = open_dataset(data, data_dir, split="test", limit=limit, cache_mib=1024)
    if dataset.note:
        say(f"note: {dataset.note}")
    plan = sweep.plan(opened, dataset, networks=open_networks(looked_by, sweep.metrics, dataset, where), device=where)
    records: list[Record] = []
    try:
        with progress("images sent", len(dataset) * len(plan.cells) * sweep.trials) as advance:
            for found in run(plan, dataset, lambda system: jobs or jobs_for(system), advance):
                records += found
    except (KeyboardInterrupt, OpenJSCCError) as error:  # what is through is not lost
        if records or isinstance(error, KeyboardInterrupt):
            _report(records, output, as_json and isinstance(error, KeyboardInterrupt))
        if isinstance(error, OpenJSCCError):
            raise
        say(f"the figures above are of the points that were through{' (none)' if not records else ''}")
        raise typer.Exit(INTERRUPTED) from None
    _report(records, output, as_json)


def asked_of(metrics: str | None, task: str | None, task_network: str | None) -> tuple[tuple[str, ...], list[str] | None, str]:
    """Metrics, task networks (None: none are named) and task of the options ``--metrics``, ``--task-network`` and ``--task``.

    Raises:
        UsageError: an unknown task, and what `openjscc.bench.task_metrics.check_asked` refuses.
    """
    from ..bench.task_metrics import DEFAULT_METRICS, check_asked
    from .request import task_of

    default = DEFAULT_METRICS[task_of(task, None).task]
    listed = default if metrics is None else tuple(names(metrics, "metric list"))
    networks = None if task_network is None else names(task_network, "list of task networks")
    return listed, networks, check_asked(task, listed, networks)


def check_told(systems: list[tuple[str, Codec, tuple[float | None, ...]]], told_snr_db: float | None) -> None:
    """Refuse a bound whose transmitter is told another SNR."""
    from ..codec import is_bound

    bounds = [name for name, codec, _ in systems if is_bound(codec)]
    if bounds and told_snr_db is not None:
        raise UsageError(f"--told-snr for {bounds[0]}", "a bound is for a transmitter that knows the SNR: measure it apart")


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
        return "infinite" if record.mean_finite is None else f"infinite ({figure(record.mean_finite, digits)} without {left_out})"
    mean = figure(record.mean, digits)
    return mean if record.shown_ci95 is None else f"{mean} ± {figure(record.shown_ci95, digits)}"
