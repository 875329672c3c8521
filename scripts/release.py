"""From a training run to a released weight: export, measure on the test set of each task, write weight, records and card.

    python scripts/release.py runs/adjscc-photo adjscc.photo --data-dir DATA

Writes src/openjscc/weights/NAME.safetensors, results/NAME.csv (every metric, ratio and SNR, as `openjscc eval` writes them),
results/training/NAME.csv (the run's log) and cards/NAME.md. The figures of the card and those in the weight's header are read
from the records.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from openjscc.bench import Record, Sweep, evaluate
from openjscc.bench.records import ACCOUNT, FIRST_ACCOUNT, write_records
from openjscc.bench.task_metrics import DEFAULT_METRICS, RECONSTRUCTION, SEGMENTATION, open_networks
from openjscc.codec import CodecInfo
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.models import WeightInfo, configuration, create, export, load
from openjscc.training.checkpoint import load_checkpoint
from openjscc.training.facts import sittings, training_facts
from openjscc.training.recipe import Recipe, recipe_from_dict
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
TEST_SET = {"cifar10": "cifar10", "distilled": "cifar10"}
"""Standard test set of pictures by tag; Kodak for all others. That of segmentations is VOC."""
PHOTO_METRICS = ("psnr", "ssim", "ms_ssim", "lpips")
LABEL_METRICS = ("psnr", "ssim", "accuracy", "f1")
PERCEPTUAL_METRICS, SLOW_METRICS = ("psnr", "ms_ssim", "lpips"), ("lpips_vgg", "dists")
SLOW_SNR_DB = (10.0,)
"""Of metrics that take seconds a picture; the studies have other SNRs."""
TITLES = {
    "psnr": "PSNR in dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS on AlexNet, lower is better",
    "lpips_vgg": "LPIPS on VGG16, lower is better",
    "dists": "DISTS, lower is better",
    "accuracy": "Accuracy in %, as {network} sees the received pictures",
    "f1": "Macro F1",
    "miou": "mIoU over the 21 classes",
    "miou_nine": "mIoU over nine frequent classes",
    "pixel_accuracy": "Pixel accuracy",
}
WHOLE = "../results/README.md#hardware-and-training"
"""Where the training of every weight is told from its start."""
REMARKS = {
    "perceptual": {"lpips": "; it was trained on this", "lpips_vgg": "; neither this nor DISTS was trained on"},
}
"""What follows the title of a metric, for weights that were trained by a step."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a run, measure it, write its card.")
    parser.add_argument("run", type=Path, help="folder of the run, with last.ckpt")
    parser.add_argument("name", help="arch.tag")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure, one ratio each at a time (default 1)")
    options = parser.parse_args()

    state = load_checkpoint(options.run)
    recipe = recipe_from_dict(state.recipe, str(options.run))
    if state.step < recipe.optimizer.steps and options.limit is None:
        raise SystemExit(
            f"error: {options.run} is at step {state.step} of {recipe.optimizer.steps}; end it, or look with --limit"
        )
    arch, _, tag = options.name.partition(".")
    codec = create(arch, configuration(arch, recipe.model.config, recipe.model.rates))
    codec.load_state_dict(state.part("ema"))
    facts = training_facts(recipe, state)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{options.name}.safetensors"
        info = export(codec, path, tag=tag, training=facts)
        datasets = {task: partial(test_set, task, tag, options) for task in codec.tasks}
        for dataset in (opened() for opened in datasets.values()):
            if dataset.note and options.limit is None:
                raise SystemExit(f"error: {dataset.name} is here a {dataset.note}; a card needs the whole test set")
        jobs = [job for task, opened in datasets.items() for job in planned(path, recipe, task, opened)]
        records = measured(jobs, options.jobs)
    reference = [
        {"data": record.data, "channel": record.channel, "snr_db": record.snr_db, "ratio": format_ratio(record.ratio),
         "metric": record.metric, "mean": round(record.mean, 4)}
        for record in records if record.snr_db == 10.0 and record.mean is not None
    ]  # fmt: skip
    if options.limit is not None:
        print(card(info, records))
        return
    print(sections(records, options.name, recipe.step))
    target = ROOT / "src" / "openjscc" / "weights" / f"{options.name}.safetensors"
    info = export(codec, target, tag=tag, training=facts, reference=reference)
    records = [replace(record, weight_sha256=info.sha256) for record in records]  # the same parameters, now with their figures
    write_records(ROOT / "results" / f"{options.name}.csv", records)
    (ROOT / "results" / "training" / f"{options.name}.csv").write_bytes((options.run / "log.csv").read_bytes())
    (ROOT / "cards" / f"{options.name}.md").write_text(card(info, records))


def test_set(task: str, tag: str, options: argparse.Namespace) -> PictureDataset:
    """The standard test set of a task."""
    data = "voc" if task == SEGMENTATION else TEST_SET.get(tag, "kodak")
    return open_dataset(data, options.data_dir, split="test", limit=options.limit)


def sweeps(recipe: Recipe, dataset: PictureDataset, ratios: tuple[float | None, ...], task: str = RECONSTRUCTION) -> list[Sweep]:
    """What a weight is measured by for a task: metrics by metrics, ratio by ratio."""
    if task == SEGMENTATION:
        plan = {DEFAULT_METRICS[task]: SNR_DB}
    elif recipe.step == "perceptual":
        plan = {PERCEPTUAL_METRICS: SNR_DB, SLOW_METRICS: SLOW_SNR_DB}
    else:
        plan = {PHOTO_METRICS if dataset.labels is None else LABEL_METRICS: SNR_DB}
    return [Sweep(snr_db=snr_db, ratios=(ratio,), metrics=metrics) for metrics, snr_db in plan.items() for ratio in ratios]


@dataclass(frozen=True)
class Job:
    """What one process measures in one go."""

    weight: Path
    opened: Callable[[], PictureDataset]
    sweep: Sweep


def planned(weight: Path, recipe: Recipe, task: str, opened: Callable[[], PictureDataset]) -> list[Job]:
    """All that a weight is measured by for a task, at each of the task's ratios."""
    codec = load(weight)
    ratios = CodecInfo(codec).task_ratios(task)
    wanted = sweeps(recipe, opened(), (*ratios, None) if codec.has_policy else ratios, task)
    return [Job(weight, opened, sweep) for sweep in wanted]


def measure(job: Job) -> list[Record]:
    """The records of a job."""
    codec, dataset = load(job.weight), job.opened()
    networks = open_networks(None, job.sweep.metrics, dataset)
    return evaluate(codec, dataset, job.sweep, system=codec.arch, networks=networks)


def measured(jobs: list[Job], processes: int) -> list[Record]:
    """The records of all jobs, in order."""
    if processes == 1:
        return [record for job in jobs for record in measure(job)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [record for records in pool.map(measure, jobs) for record in records]


def table(records: list[Record], metric: str) -> str:
    """Mean of a metric: ratios down, SNRs across."""
    shown = [record for record in records if record.metric == metric]
    snrs = sorted({record.snr_db for record in shown})
    lines = ["| CBR | " + " | ".join(f"{snr:g} dB" for snr in snrs) + " |", "|---" * (len(snrs) + 1) + "|"]
    scale, places = {"psnr": (1, 2), "accuracy": (100, 1)}.get(metric, (1, 4))
    for ratio in sorted({record.ratio for record in shown}, key=lambda ratio: ratio or 0.0):
        row = [record for record in shown if record.ratio == ratio]
        cells = [f"{scale * record.mean:.{places}f}" for record in sorted(row, key=lambda record: record.snr_db)]
        lines.append(f"| {format_ratio(ratio)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def first_account(records: list[Record]) -> str:
    """A paragraph where records are of the first account."""
    return f"{FIRST_ACCOUNT}\n\n" if any(record.account < ACCOUNT for record in records) else ""


def card(info: WeightInfo, records: list[Record]) -> str:
    """The page about a weight."""
    training, recipe = info.training, recipe_from_dict(info.training["recipe"], info.name).to_dict()
    crop = recipe["data"]["crop"]
    low, high = recipe["channel"]["snr_db"]
    least, most = info.config["snr_range"]
    told = "that range" if (least, most) == (low, high) else f"{least:g} to {most:g} dB"
    compute = "\n".join(f"- {line}" for line in sittings(training["compute"]))
    by_task = of_tasks(records)
    macs = " and ".join(
        f"{some[0].macs_per_pixel:,.0f} per pixel" + (f" for a {task}" if len(by_task) > 1 else "")
        for task, some in by_task.items()
    )
    return f"""# {info.name}

{info.paper}

| | |
|---|---|
| parameters | {info.parameters:,} ({info.file_bytes / 2**20:.2f} MiB in half precision) |
| multiply-accumulates | {macs}, encoder and decoder |
| bandwidth ratios | {", ".join(format_ratio(ratio) for ratio in info.ratios)} (default {info.default_rate}) |
| trained for | {recipe["channel"]["name"]}, SNR {low:g} to {high:g} dB |
| training data | {", ".join(training["data"])} |
| terms of the data | {training["terms"]} |
| training | {training["steps"]:,} steps, {training["images"]:,} crops of {crop}x{crop}, \
{training["seconds"] / 60:.0f} minutes, seed {recipe["run"]["seed"]}, {recipe["run"]["precision"]} |
{origin(recipe)}| licence of the weight | {info.licence} |

Trained on:

{compute}

Recipe: `{training["recipe_name"]}` with the values stored in the weight's header (`openjscc models info {info.name} --json`).

## Measured

{first_account(records)}{sections(records, info.name, recipe["step"])}

## Limits

- {limits(info, recipe["step"])}
- Made for AWGN at {low:g} to {high:g} dB; what a network is told of the SNR is clamped to {told}. Under fading it gets
  equalised symbols, which it was not trained on. Where that was measured, [the studies](../results/README.md#studies) have it.
- Trained on {crop}x{crop} crops of the data above; other kinds of pictures have not been measured.

Made by `python scripts/release.py RUN {info.name}`.
"""


def of_tasks(records: list[Record]) -> dict[str, list[Record]]:
    """Apart by task, in order."""
    return {task: [record for record in records if record.task == task] for task in dict.fromkeys(r.task for r in records)}


def sections(records: list[Record], name: str, step: str) -> str:
    """What was measured, task by task."""
    return "\n\n".join(section(some, name, step) for some in of_tasks(records).values())


def section(records: list[Record], name: str, step: str) -> str:
    """What was measured of one task, of a weight that was trained by ``step``."""
    first = records[0]
    network = next((record.task_network for record in records if record.task_network), None)
    remarks = REMARKS.get(step, {})
    tables = [
        f"{TITLES[metric].format(network=network)}{remarks.get(metric, '')}:\n\n{table(records, metric)}"
        for metric in dict.fromkeys(record.metric for record in records)
    ]
    about = f"""{first.data}, {first.images:,} pictures, AWGN, {first.trials} draw of noise per picture, seed {first.seed}, \
weights as released
(half precision). Bandwidth ratios are nominal; the header is counted on top (`bandwidth_ratio` in `results/{name}.csv`)."""
    return "\n\n".join([about, *tables])


def origin(recipe: dict[str, Any]) -> str:
    """Rows of the card's first table: the weight that training began with, the loss of a semantic one, the stages of a
    perceptual one."""
    rows, gan = [], recipe["gan"]
    if recipe["step"] == "semantic":
        rows.append(f"| loss | {semantic_loss(recipe['semantic'])} |\n")
    if recipe["model"]["init"]:
        rows.append(f"| began with | `{recipe['model']['init']}`, whose own [training]({WHOLE}) comes on top |\n")
    if recipe["step"] == "perceptual":
        first = gan["pretrain"] if gan["beta_g"] else recipe["optimizer"]["steps"]
        alone = recipe["optimizer"]["steps"] - first
        weights = f"β_p = {gan['beta_p']:g}, β_m = {gan['beta_m']:g}, β_g = {gan['beta_g']:g}"
        both = max(alone - gan["discriminator"], 0)
        stages = (
            f"{first:,} steps on LPIPS and MSE, {gan['discriminator']:,} of the discriminator alone, {both:,} of both"
            if gan["beta_g"]
            else f"{first:,} steps on LPIPS and MSE"
        )
        rows.append(f"| loss | {weights}: {stages} |\n")
    return "".join(rows)


def semantic_loss(section: dict[str, Any]) -> str:
    """What a task network adds to the squared error."""
    start, network = f"from update {section['start']:,} on", section["task_network"]
    parts = []
    if section["weighting"] != "none":
        share = f", {section['mse_share']:.0%} of it plain" if section["mse_share"] else ""
        parts.append(
            f"squared error weighted by `{section['weighting']}` of the gradients of `{network}`{share} (the paper's idea)"
        )
    if section["kl"]:
        plain = "" if parts else "squared error "
        parts.append(f"{plain}+ {section['kl']:g} KL divergence of what `{network}` says (ours, not the paper's)")
    return f"{start}: {' '.join(parts)}"


def limits(info: WeightInfo, step: str) -> str:
    """How far the training went, and what a generator does."""
    device = "a CPU" if all("CPU" in line for line in info.training["compute"]) else "a GPU"
    before = " on top of what it began with" if info.training.get("init") else ""
    words = f"Trained on {device} for {info.training['seconds'] / 60:.0f} minutes{before}; "
    words += f"`results/training/{info.name}.csv` has the log."
    if step == "perceptual":
        words += "\n- The decoder makes up part of the texture: what looks sharp need not be what was sent."
    if step == "semantic":
        words += (
            "\n- The network that accuracy and F1 are measured with above is the one that the loss was made with. "
            "What another one sees\n  is on [the paper's page](../docs/papers/sp-jscc.md)."
        )
    return words


if __name__ == "__main__":
    main()
