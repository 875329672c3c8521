"""From a training run of the classifier to a released weight: export, measure on the CIFAR-10 test set, write weight, log, card.

    python scripts/release_classifier.py runs/classifier-cifar10 --data-dir DATA

Writes src/openjscc/weights/NAME.safetensors, results/training/NAME.csv (the run's log) and cards/NAME.md. The card's figures are
those in the weight's header: of the test pictures as they are, seen by the weight as released.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from openjscc import tasks
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.metrics import task
from openjscc.training.checkpoint import load_checkpoint
from openjscc.training.facts import training_facts
from openjscc.training.recipe import recipe_from_dict

ROOT = Path(__file__).resolve().parents[1]
TAG = "cifar10"
NAME = f"classifier.{TAG}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a run, measure it, write its card.")
    parser.add_argument("run", type=Path, help="folder of the run, with last.ckpt")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    options = parser.parse_args()

    state = load_checkpoint(options.run)
    recipe = recipe_from_dict(state.recipe, str(options.run))
    network = tasks.create("classifier", recipe.model.config)
    network.load_state_dict(state.part("ema"))
    network.eval()
    facts = training_facts(recipe, state)

    dataset = open_dataset("cifar10", options.data_dir, split="test", limit=options.limit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{NAME}.safetensors"
        tasks.export(network, path, tag=TAG, training=facts)
        entries = seen(tasks.load(path), dataset)
    figures = {"accuracy": task.accuracy(entries), "f1": task.f1(entries)}
    print(figures)
    if options.limit is not None:
        return
    if dataset.note:
        raise SystemExit(f"error: cifar10 is here a {dataset.note}; a card needs the whole test set")
    reference = [
        {"data": "cifar10", "metric": metric, "mean": round(mean, 4), "images": len(dataset)} for metric, mean in figures.items()
    ]
    info = tasks.export(
        network, ROOT / "src/openjscc/weights" / f"{NAME}.safetensors", tag=TAG, training=facts, reference=reference
    )
    (ROOT / "results" / "training" / f"{NAME}.csv").write_bytes((options.run / "log.csv").read_bytes())
    (ROOT / "cards" / f"{NAME}.md").write_text(card(info, np.stack(entries)))


def seen(network: tasks.TaskNetwork, dataset: PictureDataset, batch: int = 250) -> list[np.ndarray]:
    """(label, class found) of every picture."""
    entries: list[np.ndarray] = []
    assert dataset.labels is not None
    for start in range(0, len(dataset), batch):
        end = min(start + batch, len(dataset))
        x = torch.stack([dataset.shared(number) for number in range(start, end)]).float() / 255.0
        entries += task.class_entries(tasks.perceive(network, x), dataset.labels[start:end])
    return entries


def card(info: tasks.TaskWeight, entries: np.ndarray) -> str:
    """The page about the weight."""
    training, recipe = info.training, info.training["recipe"]
    figures = {record["metric"]: record["mean"] for record in info.reference}
    compute = "\n".join(f"- {line}" for line in training["compute"])
    labels, found = entries.T
    rows = []
    for number, name in enumerate(info.classes):
        mistaken = np.bincount(found[(labels == number) & (found != number)], minlength=len(info.classes))
        rows.append(
            f"| {name} | {100 * (found[labels == number] == number).mean():.1f} % | {info.classes[int(mistaken.argmax())]} |"
        )
    return f"""# {info.name}

A task network: a classifier of CIFAR-10's ten classes that looks at received pictures ([task networks](../docs/tasks.md)).
{info.paper}

| | |
|---|---|
| accuracy | {100 * figures["accuracy"]:.2f} % of the {len(entries):,} test pictures as they are; F1 {figures["f1"]:.4f} |
| parameters | {info.parameters:,} ({info.file_bytes / 2**20:.2f} MiB in half precision) |
| training data | {", ".join(training["data"])}, the 50,000 training pictures |
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

| class | found | most often taken for |
|---|---|---|
{chr(10).join(rows)}

## Limits

- Made for 32x32 pictures of the ten classes. It gives one of them to any picture, also to a grey one; others are resized for it.
- Trained on undistorted pictures. How its accuracy falls with the quality of received ones is what it is there to show, and
  another network's falls otherwise: compare with a second one (`--task-network classifier,resnet20.th`).
- `results/training/{info.name}.csv` has the log.

Made by `python scripts/release_classifier.py RUN`.
"""


if __name__ == "__main__":
    main()
