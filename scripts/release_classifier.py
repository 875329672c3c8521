"""From a training run of a task network to a released weight: export, measure on its test set, write weight, log, card.

    python scripts/release_classifier.py runs/classifier-cifar10 --data-dir DATA
    python scripts/release_classifier.py runs/fcn-voc --data-dir DATA

Writes src/openjscc/weights/NAME.safetensors, results/training/NAME.csv (the run's log) and cards/NAME.md. The card's figures are
those in the weight's header: of the test pictures as they are, seen by the weight as released.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from openjscc import tasks
from openjscc.bench.batches import enumerate_batches, stacked
from openjscc.bench.task_metrics import DEFAULT_METRICS, SEGMENTATION
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.data.masks import masks_of
from openjscc.metrics import get_metric, task
from openjscc.training.checkpoint import load_checkpoint
from openjscc.training.facts import sittings, training_facts
from openjscc.training.recipe import recipe_from_dict

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    "classification": (
        "a classifier of CIFAR-10's ten classes that looks at received pictures",
        """- Made for 32x32 pictures of the ten classes. It gives one of them to any picture, also to a grey one; others are
  resized for it.
- Trained on undistorted pictures. How its accuracy falls with the quality of received ones is what it is there to show, and
  another network's falls otherwise: compare with a second one (`--task-network classifier,resnet20.th`).""",
    ),
    SEGMENTATION: (
        "it says of every pixel of a received picture which of VOC's 21 classes it is of",
        """- From scratch, on few pictures, where published networks start from ImageNet.
- How its figures fall with the quality of received pictures is measured as a system, e.g. `jpeg-ldpc+fcn`.""",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a run, measure it, write its card.")
    parser.add_argument("run", type=Path, help="folder of the run, with last.ckpt")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    options = parser.parse_args()

    state = load_checkpoint(options.run)
    recipe = recipe_from_dict(state.recipe, str(options.run))
    arch, tag = recipe.model.arch, recipe.model.config
    name = f"{arch}.{tag}"
    network = tasks.create(arch, tag)
    network.load_state_dict(state.part("ema"))
    network.eval()
    facts = training_facts(recipe, state)

    dataset = open_dataset(tag, options.data_dir, split="test", limit=options.limit)
    metrics = DEFAULT_METRICS[SEGMENTATION] if network.kind == SEGMENTATION else ("accuracy", "f1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.safetensors"
        tasks.export(network, path, tag=tag, training=facts)
        entries = seen(tasks.load(path), dataset)
    figures = {metric: get_metric(metric).reduce(entries) for metric in metrics}
    print(figures)
    if options.limit is not None:
        return
    if dataset.note:
        raise SystemExit(f"error: {tag} is here a {dataset.note}; a card needs the whole test set")
    reference = [
        {"data": tag, "metric": metric, "mean": round(mean, 4), "images": len(dataset)} for metric, mean in figures.items()
    ]
    info = tasks.export(
        network, ROOT / "src/openjscc/weights" / f"{name}.safetensors", tag=tag, training=facts, reference=reference
    )
    (ROOT / "results" / "training" / f"{name}.csv").write_bytes((options.run / "log.csv").read_bytes())
    (ROOT / "cards" / f"{name}.md").write_text(card(info, entries))


def seen(network: tasks.TaskNetwork, dataset: PictureDataset) -> list[np.ndarray]:
    """Of every picture (label, class found), or the confusion of its pixels."""
    entries: list[np.ndarray] = []
    for first, x in enumerate_batches(dataset, 1):
        scores = tasks.perceive(network, x)
        if network.kind == SEGMENTATION:
            entries += task.confusion_entries(scores, stacked(masks_of(dataset), first, len(x)))
        else:
            assert dataset.labels is not None
            entries += task.class_entries(scores, dataset.labels[first : first + len(x)])
    return entries


def card(info: tasks.TaskWeight, entries: list[np.ndarray]) -> str:
    """The page about the weight."""
    training, recipe = info.training, info.training["recipe"]
    figures = {record["metric"]: record["mean"] for record in info.reference}
    compute = "\n".join(f"- {line}" for line in sittings(training["compute"]))
    segments = info.kind == SEGMENTATION
    confusion = np.zeros((len(info.classes),) * 2, dtype=np.int64)
    for entry in entries:
        if segments:
            confusion += entry
        else:
            confusion[tuple(entry)] += 1
    rows = []
    for number, name in enumerate(info.classes):
        hits, total = confusion[number, number], confusion[number].sum()
        if segments:
            total += confusion[:, number].sum() - hits
        mistaken = np.where(np.arange(len(info.classes)) == number, 0, confusion[number])
        other = info.classes[int(mistaken.argmax())] if mistaken.any() else "-"
        rows.append(f"| {name} | {f'{100 * hits / total:.1f} %' if total else '-'} | {other} |")
    if segments:
        head = (
            f"| mIoU | {figures['miou']:.4f} over the 21 classes, {figures['miou_nine']:.4f} over nine frequent ones; pixel "
            f"accuracy {100 * figures['pixel_accuracy']:.2f} %: {len(entries):,} pictures of VOC's val.txt as they are |"
        )
    else:
        share, f1 = 100 * figures["accuracy"], figures["f1"]
        head = f"| accuracy | {share:.2f} % of the {len(entries):,} test pictures as they are; F1 {f1:.4f} |"
    about, limits = TEXTS[info.kind]
    return f"""# {info.name}

A task network: {about} ([task networks](../docs/tasks.md)).
{info.paper}

| | |
|---|---|
{head}
| parameters | {info.parameters:,} ({info.file_bytes / 2**20:.2f} MiB in half precision) |
| training data | {", ".join(training["data"])}, the pictures for training |
| terms of the data | {training["terms"]} |
| training | {training["steps"]:,} steps, {training["images"]:,} pictures, {training["seconds"] / 60:.0f} minutes, \
seed {recipe["run"]["seed"]}, {recipe["run"]["precision"]} |
| licence of the weight | {info.licence} |

Trained on:

{compute}

Recipe: `{training["recipe_name"]}` with the values stored in the weight's header (`openjscc models info {info.name} --json`).
The weight is the average of the parameters at the end of the run. Test pictures were looked at for the log only: nothing was
chosen by them.

## Measured

| class | {"IoU" if segments else "found"} | most often taken for |
|---|---|---|
{chr(10).join(rows)}

## Limits

{limits}
- `results/training/{info.name}.csv` has the log.

Made by `python scripts/release_classifier.py RUN`.
"""


if __name__ == "__main__":
    main()
