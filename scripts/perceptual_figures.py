"""The figure of a perceptual training, drawn from its committed log."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from openjscc.report.style import COLOURS, write_figure

TERMS = {
    "generator": "generative loss of the codec",
    "discriminator_loss": "loss of the discriminator",
    "discriminator_real": "sent patches",
    "discriminator_received": "received patches",
}
COLUMNS = ("lpips", "mse", *TERMS)
Curves = dict[str, list[list[float]]]


def curves(log: Path) -> Curves:
    """Points (minutes, value) of each term of a run's log, and of each figure of its validation, as ``LPIPS 1/48``."""
    found: Curves = {}
    with log.open(newline="") as file:
        for row in csv.DictReader(file):
            minutes = float(row["seconds"]) / 60
            for name in (name for name in COLUMNS if row.get(name)):
                found.setdefault(name, []).append([minutes, float(row[name])])
            for column in (column for column in row if row[column] and column.startswith(("val_lpips_", "val_dists_"))):
                _, metric, ratio = column.split("_")
                found.setdefault(f"{metric.upper()} {ratio}", []).append([minutes, float(row[column])])
    return found


def draw(log: Path, target: Path) -> None:
    """Validation against training time, and how codec and discriminator hold each other."""
    shown = curves(log)
    look: dict[Any, Any] = {"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}
    with mpl.rc_context(look):
        figure, axes = plt.subplots(2, 2, figsize=(7, 4.6), sharex=True)
        for axis, metric in zip(axes[0], ("LPIPS", "DISTS"), strict=True):
            for number, name in enumerate(name for name in shown if name.startswith(f"{metric} ")):
                axis.plot(*zip(*shown[name], strict=True), "o-", color=COLOURS[number], markersize=3, label=name.split()[1])
            axis.set_ylabel(f"{metric} of validation pictures")
            axis.set_ylim(bottom=0)
        axes[0, 0].legend(title="CBR", loc="lower left", ncols=3, frameon=False)
        _terms(axes[1, 0], shown, ("generator", "discriminator_loss"), "loss")
        _terms(axes[1, 1], shown, ("discriminator_real", "discriminator_received"), "share told right")
        for axis in axes[1]:
            axis.set_xlabel("training time (minutes)")
        figure.tight_layout()
        write_figure(figure, target)
        plt.close(figure)


def _terms(axis: Axes, shown: Curves, names: tuple[str, ...], label: str) -> None:
    for number, name in enumerate(names):
        if name in shown:
            axis.plot(*zip(*shown[name], strict=True), color=COLOURS[number], linewidth=1, label=TERMS[name])
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
