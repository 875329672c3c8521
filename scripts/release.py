"""From a training run to a released weight: export, measure on the standard test set, write weight, records and card.

    python scripts/release.py runs/adjscc-photo adjscc.photo --data-dir DATA

Writes src/openjscc/weights/NAME.safetensors, results/NAME.json (every metric, ratio and SNR, as `openjscc eval` writes them),
results/training/NAME.csv (the run's log) and cards/NAME.md. The figures of the card and those in the weight's header are read
from the records.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from openjscc.bench import Record, Sweep, evaluate
from openjscc.bench.perception import open_networks
from openjscc.bench.records import write_records
from openjscc.codec import adapts_rate
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.models import WeightInfo, create, export, load
from openjscc.training.checkpoint import TrainingState, load_checkpoint
from openjscc.training.facts import training_facts
from openjscc.training.recipe import Recipe, recipe_from_dict
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
TEST_SET = {"cifar10": "cifar10", "distilled": "cifar10"}
"""Standard test set by tag; Kodak for all others."""
TITLES = {
    "psnr": "PSNR in dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS on AlexNet, lower is better; it was trained on this",
    "lpips_vgg": "LPIPS on VGG16, lower is better; neither this nor DISTS was trained on",
    "dists": "DISTS, lower is better",
    "accuracy": "Accuracy in %, as {network} sees the received pictures",
    "f1": "Macro F1",
}


SLOW_SNR_DB = (0.0, 10.0, 20.0)
"""Of metrics that take seconds a picture."""


def sweeps(recipe: Recipe, dataset: PictureDataset, ratios: tuple[float | None, ...]) -> list[Sweep]:
    """What a weight is measured by."""
    if recipe.step == "perceptual":
        plan = {("psnr", "ms_ssim", "lpips"): SNR_DB, ("lpips_vgg", "dists"): SLOW_SNR_DB}
    else:
        plan = {("psnr", "ssim") if dataset.labels is None else ("psnr", "ssim", "accuracy", "f1"): SNR_DB}
    return [Sweep(snr_db=snr_db, ratios=ratios, metrics=metrics) for metrics, snr_db in plan.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a run, measure it, write its card.")
    parser.add_argument("run", type=Path, help="folder of the run, with last.ckpt")
    parser.add_argument("name", help="arch.tag")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    options = parser.parse_args()

    state = load_checkpoint(options.run)
    recipe = recipe_from_dict(state.recipe, str(options.run))
    arch, _, tag = options.name.partition(".")
    codec = create(arch, recipe.model.config)
    codec.load_state_dict(state.part("ema"))
    facts = training_facts(recipe, state)

    data = TEST_SET.get(tag, "kodak")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{options.name}.safetensors"
        info = export(codec, path, tag=tag, training=facts)
        rounded = load(path)
        ratios = (*rounded.ratios, None) if adapts_rate(rounded) else rounded.ratios
        dataset = open_dataset(data, options.data_dir, split="test", limit=options.limit)
        records: list[Record] = []
        for sweep in sweeps(recipe, dataset, ratios):
            networks = open_networks(None, sweep.metrics, dataset)
            records += evaluate(rounded, dataset, sweep, system=arch, networks=networks)
    reference = [
        {"data": data, "channel": record.channel, "snr_db": record.snr_db, "ratio": format_ratio(record.ratio),
         "metric": record.metric, "mean": round(record.mean, 4)}
        for record in records if record.snr_db == 10.0 and record.mean is not None
    ]  # fmt: skip
    if options.limit is not None:
        print(card(info, state, records))
        return
    print(table(records, "psnr"))
    if dataset.note:
        raise SystemExit(f"error: {data} is here a {dataset.note}; a card needs the whole test set")
    target = ROOT / "src" / "openjscc" / "weights" / f"{options.name}.safetensors"
    info = export(codec, target, tag=tag, training=facts, reference=reference)
    records = [replace(record, weight_sha256=info.sha256) for record in records]  # the same parameters, now with their figures
    write_records(ROOT / "results" / f"{options.name}.json", records)
    (ROOT / "results" / "training" / f"{options.name}.csv").write_bytes((options.run / "log.csv").read_bytes())
    (ROOT / "cards" / f"{options.name}.md").write_text(card(info, state, records))


def table(records: list[Record], metric: str) -> str:
    """Mean of a metric: ratios down, SNRs across."""
    measured = [record for record in records if record.metric == metric]
    snrs = sorted({record.snr_db for record in measured})
    lines = ["| CBR | " + " | ".join(f"{snr:g} dB" for snr in snrs) + " |", "|---" * (len(snrs) + 1) + "|"]
    scale, places = {"psnr": (1, 2), "accuracy": (100, 1)}.get(metric, (1, 4))
    for ratio in sorted({record.ratio for record in measured}, key=lambda ratio: ratio or 0.0):
        row = [record for record in measured if record.ratio == ratio]
        cells = [f"{scale * record.mean:.{places}f}" for record in sorted(row, key=lambda record: record.snr_db)]
        lines.append(f"| {format_ratio(ratio)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def card(info: WeightInfo, state: TrainingState, records: list[Record]) -> str:
    """The page about a weight."""
    training, recipe = info.training, info.training["recipe"]
    first, crop = records[0], recipe["data"]["crop"]
    low, high = recipe["channel"]["snr_db"]
    compute = "\n".join(f"- {line}" for line in training["compute"])
    network = next((record.task_network for record in records if record.task_network), None)
    tables = "\n\n".join(
        f"{TITLES[metric].format(network=network)}:\n\n{table(records, metric)}"
        for metric in dict.fromkeys(record.metric for record in records)
    )
    return f"""# {info.name}

{info.paper}

| | |
|---|---|
| parameters | {info.parameters:,} ({info.file_bytes / 2**20:.2f} MiB in half precision) |
| multiply-accumulates | {first.macs_per_pixel:,.0f} per pixel, encoder and decoder |
| bandwidth ratios | {", ".join(format_ratio(ratio) for ratio in info.ratios)} (default {format_ratio(info.default_ratio)}) |
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

{first.data}, {first.images:,} pictures, AWGN, {first.trials} draw of noise per picture, seed {first.seed}, weights as released
(half precision). Bandwidth ratios are nominal; the header is counted on top (`bandwidth_ratio` in `results/{info.name}.json`).

{tables}

## Limits

- {limits(info)}
- Made for AWGN at {low:g} to {high:g} dB; what a network is told of the SNR is clamped to that range. Under fading it gets
  equalised symbols, which has not been measured on a test set.
- Trained on {crop}x{crop} crops of the data above; other kinds of pictures have not been measured.

Made by `python scripts/release.py RUN {info.name}`.
"""


def origin(recipe: dict[str, Any]) -> str:
    """Rows of the card's first table: the weight that training began with, and the stages of a perceptual one."""
    rows, gan = [], recipe["gan"]
    if recipe["model"]["init"]:
        rows.append(f"| began with | `{recipe['model']['init']}`, whose own training comes on top |\n")
    if recipe["step"] == "perceptual":
        alone = recipe["optimizer"]["steps"] - gan["pretrain"]
        weights = f"β_p = {gan['beta_p']:g}, β_m = {gan['beta_m']:g}, β_g = {gan['beta_g']:g}"
        both = max(alone - gan["discriminator"], 0)
        stages = (
            f"{gan['pretrain']:,} steps on LPIPS and MSE, {gan['discriminator']:,} of the discriminator alone, {both:,} of both"
        )
        rows.append(f"| loss | {weights}: {stages} |\n")
    return "".join(rows)


def limits(info: WeightInfo) -> str:
    """How far the training went, and what a generator does."""
    device = "a CPU" if all("CPU" in line for line in info.training["compute"]) else "a GPU"
    words = (
        f"Trained on {device} for {info.training['seconds'] / 60:.0f} minutes; `results/training/{info.name}.csv` has the log."
    )
    if info.training["recipe"]["step"] == "perceptual":
        words += "\n- The decoder makes up part of the texture: what looks sharp need not be what was sent."
    return words


if __name__ == "__main__":
    main()
