"""What the semantic losses are worth: small AR-JSCC networks that differ in the last part of their training alone.

    python scripts/semantics.py run RUNS --data-dir DATA --foreign resnet20-12fca82f.th
                                                             # trains and measures what is missing, hours on a CPU; may be stopped
    python scripts/semantics.py run RUNS --on voc            # the same on larger pictures, for a segmentation (needs fcn.voc)
    python scripts/semantics.py cost --data-dir DATA         # time of an update by loss, and of transmission, a minute or two
    python scripts/semantics.py page                         # tables and figure of docs/papers/sp-jscc.md, from the records

For each seed one network is trained with the plain error for the first ``semantic.start`` updates of the recipe
spjscc-small (spjscc-voc); every row goes on from that same state, with the same pictures, SNRs and noise ("from the start":
as many updates, all of them with that loss). Without --foreign there is no figure of a second network. Writes
results/spjscc-ablation.csv (spjscc-voc.csv), and `cost` results/spjscc-cost.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import semantics_figures
import torch
from marked import fill

from openjscc.bench import Record, Sweep, evaluate, read_records, write_records
from openjscc.bench.provenance import commit, device_name, versions
from openjscc.bench.statistics import half_width_95
from openjscc.codec import Codec
from openjscc.composite import CompositeCodec
from openjscc.data.datasets import open_dataset
from openjscc.link import transmit
from openjscc.models import LearnedCodec, load
from openjscc.tasks import TaskNetwork, load_task_network
from openjscc.tasks.semantics import semantic_weights
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
COSTS = ROOT / "results" / "spjscc-cost.json"
FIGURE = ROOT / "results" / "figures" / "spjscc-kl.svg"
PAGE = ROOT / "docs" / "papers" / "sp-jscc.md"
SEEDS = (0, 1, 2)
SNR_DB = 5.0
RATIOS = (1 / 12, 1 / 6)
DRAWS = 2
SENT = ("arjscc.cifar10", "spjscc.cifar10", "spjscc.distilled")
"""Weights whose transmission is timed."""
TASK_METRICS = ("accuracy", "miou", "pixel_accuracy")
COST_ROUNDS, COST_STEPS = 5, 30

ABLATION_WORDS = """## Which loss

Small networks (149,709 parameters), trained with plain squared error for 4,000 updates, then for 2,000 more with each loss:
same pictures, same noise ("from the start": all 6,000 with that loss). Three training seeds; accuracy in % by each network at 5
dB, on the 10,000 test pictures, two draws of noise each. In brackets the difference from plain MSE, with its 95 % interval over
training seeds (Student's t, two degrees of freedom). Losses were made with `classifier.cifar10`; "as printed, softmax" has
rounding noise for weights. Made by `python scripts/semantics.py run RUNS --foreign resnet20-12fca82f.th`, a few minutes of one
CPU core for each network (`training_seconds` and `device` in the [records](../../results/spjscc-ablation.csv)).

{}

![Accuracy gained against PSNR lost, by loss](../../results/figures/spjscc-kl.svg)

Small dots are single seeds.
"""
VOC_WORDS = """## Another task, larger pictures

The paper leaves other tasks to the future. Here it is segmentation, of PASCAL VOC's validation pictures, by the network
`fcn.voc`: the same small networks, trained on crops of 128x128 with plain squared error for 3,000 updates, then for 1,500 more
with each loss. Three training seeds; the network's mean intersection over union (over VOC's 21 classes) and pixel accuracy in %
on what is received at 5 dB, two draws of noise each. In brackets the difference from plain MSE, with its 95 % interval over
training seeds. The network is a weak one, and loses little by the channel: what it has on sent pictures is on its
[card](../../cards/fcn.voc.md). Made by `python scripts/semantics.py run RUNS --on voc`
([records](../../results/spjscc-voc.csv)).

{}

"""
COST_WORDS = """## What it costs

{}

Neither the weights nor the task network are needed for transmission.
"""

ROWS: dict[str, dict[str, Any]] = {
    semantics_figures.PLAIN: {"weighting": "none"},
    "MSE + 0.0005 KL": {"weighting": "none", "kl": 0.0005},
    "MSE + 0.002 KL": {"weighting": "none", "kl": 0.002},
    "MSE + 0.008 KL": {"weighting": "none", "kl": 0.008},
    "MSE + 0.03 KL": {"weighting": "none", "kl": 0.03},
    "as printed, softmax": {"weighting": "literal", "output": "softmax"},
    "as printed, logits": {"weighting": "literal"},
    "as printed, logits, half MSE": {"weighting": "literal", "mse_share": 0.5},
    "mean of absolute values": {"weighting": "mean_abs"},
    "mean of absolute values, half MSE": {"weighting": "mean_abs", "mse_share": 0.5},
    "root mean square": {"weighting": "rms"},
    "root mean square, half MSE": {"weighting": "rms", "mse_share": 0.5},
    "root mean square, from the start": {"weighting": "rms", "start": 0},
}


@dataclass(frozen=True)
class Experiment:
    """Rows on one task.

    Attributes:
        recipe: whose ``semantic.start`` updates all rows share.
        data, split: on which is measured.
        metrics: of what the task network makes of received pictures; PSNR and SSIM are measured as well.
        rows: keys of `ROWS`.
        results: file of the records.
    """

    recipe: str
    data: str
    split: str
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    results: Path


@dataclass(frozen=True, kw_only=True)
class Entry(Record):
    """A figure of a row.

    Attributes:
        row: a key of `ROWS`.
        training_seed: of the recipe.
        training_seconds: of the run, the shared stage included.
        semantic: what the row changes in the recipe.
    """

    row: str
    training_seed: int
    training_seconds: float
    semantic: dict[str, Any]


EXPERIMENTS = {
    "cifar10": Experiment(
        "spjscc-small", "cifar10", "test", ("accuracy", "f1"), tuple(ROWS), ROOT / "results" / "spjscc-ablation.csv"
    ),
    "voc": Experiment(
        "spjscc-voc", "voc", "test", ("miou", "pixel_accuracy"),
        (semantics_figures.PLAIN, "root mean square", "MSE + 0.03 KL"), ROOT / "results" / "spjscc-voc.csv",
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and measure what is missing")
    run.add_argument("runs", type=Path, help="folder for the training runs")
    run.add_argument("--on", choices=tuple(EXPERIMENTS), default="cifar10", help="data and task")
    run.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    run.add_argument("--foreign", default="", help="file of a second task network, which no row is trained with")
    run.add_argument("--set", action="append", default=[], help="as for openjscc train, to try the command out: writes nothing")
    run.add_argument("--limit", type=int, help="only the first test pictures, to try the command out: writes nothing")
    time_it = verbs.add_parser("cost", help="measure how long an update takes")
    time_it.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    verbs.add_parser("page", help="fill the page from the records, and draw its figure")
    options = parser.parse_args()
    if options.verb == "page":
        page()
        return
    if options.verb == "cost":
        costs = cost(options.data_dir)
        COSTS.write_text(json.dumps(costs, indent=1) + "\n")
        print(cost_table(costs))
        return
    experiment, done = EXPERIMENTS[options.on], records(options.on)
    for seed in SEEDS:
        for row in experiment.rows:
            if any(entry["row"] == row and entry["training_seed"] == seed for entry in done):
                continue
            codec, facts = trained(experiment, options, row, seed)
            fresh = [
                Entry(row=row, training_seed=seed, **facts, **asdict(record)) for record in measured(experiment, codec, options)
            ]
            done += map(asdict, fresh)
            if options.set or options.limit:
                print(table(done))
                return
            write_records(experiment.results, [Entry(**entry) for entry in done])


def records(name: str) -> list[dict[str, Any]]:
    """What has been measured of an experiment, rows in the order of `ROWS`."""
    path = EXPERIMENTS[name].results
    done = [asdict(entry) for entry in read_records(path, Entry)] if path.exists() else []
    return sorted(done, key=lambda entry: (entry["training_seed"], list(ROWS).index(entry["row"])))


def filled(text: str, entries: dict[str, list[dict[str, Any]]]) -> str:
    """The page with what the records say between their markers: nothing where there are none."""
    costs = COST_WORDS.format(cost_table(json.loads(COSTS.read_text()))) if COSTS.exists() else ""
    tables = {
        name: words.format(table(entries[experiment])) if entries[experiment] else ""
        for name, experiment, words in (("ablation", "cifar10", ABLATION_WORDS), ("voc", "voc", VOC_WORDS))
    }
    return fill(text, "scripts/semantics.py page", {**tables, "cost": costs})


def page() -> None:
    """Fill the page from the records, and draw its figure."""
    entries = {name: records(name) for name in EXPERIMENTS}
    PAGE.write_text(filled(PAGE.read_text(), entries))
    if entries["cifar10"]:
        semantics_figures.draw(entries["cifar10"], FIGURE)


def trained(experiment: Experiment, options: argparse.Namespace, row: str, seed: int) -> tuple[LearnedCodec, dict[str, Any]]:
    """The network of one row, and what it took."""
    runs = options.runs / "tries" if options.set else options.runs
    runs = runs if experiment.data == "cifar10" else runs / experiment.data
    base = runs / f"seed-{seed}" / "base"
    folder = runs / f"seed-{seed}" / row.replace(" ", "-").replace(",", "")
    fixed = [f"run.seed={seed}", *options.set]
    plain = load_recipe(experiment.recipe, [*fixed, 'semantic.weighting="none"'])
    if not (base / "done").exists():
        steps = plain.semantic.start - _step(base)
        train(plain, RunOptions(base, options.data_dir, resume=(base / "last.ckpt").exists(), max_steps=steps))
        (base / "done").touch()
    if not folder.exists() and "start" not in ROWS[row]:
        shutil.copytree(base, folder)
    changes = [f"semantic.{key}={json.dumps(value)}" for key, value in ROWS[row].items()]
    resume = (folder / "last.ckpt").exists()
    result = train(load_recipe(experiment.recipe, [*fixed, *changes]), RunOptions(folder, options.data_dir, resume=resume))
    assert isinstance(result.network, LearnedCodec)
    return result.network.eval(), {"training_seconds": round(result.state.seconds, 1), "semantic": ROWS[row]}


def _step(folder: Path) -> int:
    from openjscc.training.checkpoint import CHECKPOINT, load_checkpoint

    return load_checkpoint(folder).step if (folder / CHECKPOINT).exists() else 0


def measured(experiment: Experiment, codec: LearnedCodec, options: argparse.Namespace) -> list[Record]:
    """PSNR and SSIM, and what each task network makes of the received pictures."""
    names = [load_recipe(experiment.recipe, options.set).semantic.task_network, *([options.foreign] if options.foreign else [])]
    dataset = open_dataset(experiment.data, options.data_dir, split=experiment.split, limit=options.limit)
    networks = [load_task_network(name) for name in names]

    def of(system: Codec, metrics: tuple[str, ...], seen: Sequence[TaskNetwork] = ()) -> list[Record]:
        sweep = Sweep(snr_db=(SNR_DB,), ratios=RATIOS, metrics=metrics, trials=DRAWS)
        return evaluate(system, dataset, sweep, system=system.name, networks=seen)

    with torch.no_grad():
        if networks[0].kind == "classification":
            return of(codec, (*experiment.metrics, "psnr", "ssim"), networks)
        after = (record for network in networks for record in of(CompositeCodec(codec, network), experiment.metrics))
        return [*after, *of(codec, ("psnr", "ssim"))]


def table(entries: list[dict[str, Any]]) -> str:
    """A row a loss: the mean over training seeds, and the difference from plain MSE with the 95 % interval over seeds."""
    seen = dict.fromkeys((entry["metric"], entry["task_network"]) for entry in entries)
    columns = [*(column for column in seen if column[0] in TASK_METRICS), ("psnr", None), ("ssim", None)]
    head = [f"{metric} {name or ''}".strip() for metric, name in columns]
    lines = ["| CBR | loss | " + " | ".join(head) + " |", "|---" * (len(columns) + 2) + "|"]
    for ratio in sorted({entry["ratio"] for entry in entries}):
        plain = _by_seed(entries, ratio, semantics_figures.PLAIN)
        for row in dict.fromkeys(entry["row"] for entry in entries):
            mine = _by_seed(entries, ratio, row)
            cells = []
            for column in columns:
                scale, places = (100, 2) if column[0] in TASK_METRICS else (1, 2) if column[0] == "psnr" else (1, 4)
                values = [scale * values[column] for values in mine.values() if column in values]
                text = f"{sum(values) / len(values):.{places}f}" if values else "-"
                shifts = [scale * (mine[seed][column] - plain[seed][column]) for seed in mine if seed in plain]
                if row != semantics_figures.PLAIN and len(shifts) > 1:
                    text += f" ({sum(shifts) / len(shifts):+.{places}f} ± {half_width_95(shifts):.{places}f})"
                cells.append(text)
            lines.append(f"| 1/{round(1 / ratio)} | {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost(data_dir: str | None) -> dict[str, Any]:
    """Milliseconds a picture: of an update with each kind of loss, of the weights, which are made once, and of transmission.

    What is compared is timed by turns, `COST_ROUNDS` times after a round to warm up; medians.
    """
    recipe = EXPERIMENTS["cifar10"].recipe
    kinds = {"MSE": {"weighting": "none"}, "weighted": {"weighting": "rms"}, "KL": {"weighting": "none", "kl": 0.002}}
    updates: dict[str, list[float]] = {name: [] for name in kinds}
    sent: dict[str, list[float]] = {name: [] for name in SENT}
    dataset = open_dataset("cifar10", data_dir, split="test", limit=256)
    pictures = torch.stack([dataset[index] for index in range(len(dataset))]).float() / 255
    network = load_task_network(load_recipe(recipe).semantic.task_network)
    codecs = {name: load(name) for name in SENT}
    weights = []
    for number in range(COST_ROUNDS + 1):
        started = time.perf_counter()
        semantic_weights(network, pictures)
        weights.append(time.perf_counter() - started)
        for name, codec in codecs.items():
            started = time.perf_counter()
            with torch.no_grad():
                transmit(codec, "awgn", pictures, SNR_DB, ratio=1 / 8)
            sent[name].append(time.perf_counter() - started)
        for name, values in kinds.items():
            changes = [f"semantic.{key}={json.dumps(value)}" for key, value in values.items()]
            timed = load_recipe(recipe, ["semantic.start=0", "run.validate_every=1000000", "optimizer.warmup=0", *changes])
            with tempfile.TemporaryDirectory() as folder:
                state = train(timed, RunOptions(Path(folder), data_dir, max_steps=COST_STEPS), say=lambda _: None).state
            if number:
                updates[name].append(state.seconds / state.images)

    def median_ms(seconds: list[float]) -> float:
        return round(1000 * statistics.median(seconds), 4)

    return {
        "update_ms": {name: median_ms(values) for name, values in updates.items()},
        "weights_ms": median_ms([value / len(dataset) for value in weights[1:]]),
        "transmission_ms": {name: median_ms([value / len(dataset) for value in values[1:]]) for name, values in sent.items()},
        "parameters": {name: sum(parameter.numel() for parameter in codec.parameters()) for name, codec in codecs.items()},
        "macs_per_pixel": {name: round(codec.macs_per_pixel(), 1) for name, codec in codecs.items()},
        "recipe": recipe,
        "device": device_name(),
        "versions": versions(),
        "commit": commit(),
    }


def cost_table(costs: dict[str, Any]) -> str:
    """A row a loss, then a row a weight."""
    plain = costs["update_ms"]["MSE"]
    lines = ["| loss | update, ms a picture | over MSE |", "|---|---|---|"]
    lines += [f"| {name} | {value:.2f} | {value / plain:.2f} |" for name, value in costs["update_ms"].items()]
    lines += [f"| the weights, once for each picture | {costs['weights_ms']:.2f} | |"]
    lines += ["", "| weight | parameters | MAC per pixel | transmission at CBR 1/8, ms a picture |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {costs['parameters'][name]:,} | {costs['macs_per_pixel'][name]:,.0f} | {value:.2f} |"
        for name, value in costs["transmission_ms"].items()
    ]
    about = f"Updates of `{costs['recipe']}` and transmission of 256 pictures at once, medians, on: {costs['device']}."
    return "\n".join([*lines, "", about])


def _by_seed(entries: list[dict[str, Any]], ratio: float, row: str) -> dict[int, dict[tuple[str, str | None], float]]:
    found: dict[int, dict[tuple[str, str | None], float]] = {}
    for entry in entries:
        if entry["row"] == row and entry["ratio"] == ratio:
            found.setdefault(entry["training_seed"], {})[entry["metric"], entry["task_network"]] = entry["mean"]
    return found


if __name__ == "__main__":
    main()
