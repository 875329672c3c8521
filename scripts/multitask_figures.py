"""The figure of what training gave the systems of docs/papers/generative-multitask.md, drawn from the committed logs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from openjscc.report.labels import family
from openjscc.report.style import DASHES, LOOKS, looks_of, matplotlib, settings, write_figure

BOTH, ALONE = 16 * 112**2, 8 * 112**2
"""Pixels of an update of MTGSC."""
PHOTOGRAPHS = 1305 / (1305 + 2 * 784)
"""Share of those that are sent as pictures."""


@dataclass(frozen=True)
class Run:
    """One log.

    Attributes:
        weight: its name.
        label: in the legend.
        pixels: that an update sees for the task of the panel.
        then: log of a run that went on from its weight.
    """

    weight: str
    label: str
    pixels: float
    then: str = ""


PICTURES = (
    Run("mtgsc.photo", "MTGSC, two tasks", BOTH * PHOTOGRAPHS, "mtgsc.more"),
    Run("mtgsc.picture", "MTGSC, pictures alone", ALONE),
    Run("adjscc.first", "ADJSCC", 8 * 128**2),
    Run("witt.photo", "WITT", 8 * 128**2),
    Run("deepjscc.photo", "Deep JSCC", 8 * 128**2),
)
SEGMENTATIONS = (
    Run("mtgsc.photo", "MTGSC, two tasks", BOTH * (1 - PHOTOGRAPHS), "mtgsc.more"),
    Run("mtgsc.segmentation", "MTGSC, segmentations alone", ALONE),
    Run("deeplab_jscc.photo", "DeepLab JSCC", 8 * 224**2),
    Run("fcn.voc", "FCN, pictures as they are", 8 * 224**2),
    Run("deeplab_jscc.crops", "DeepLab JSCC, small crops", ALONE, "deeplab_jscc.more"),
    Run("fcn.crops", "FCN, small crops", ALONE, "fcn.more"),
)
PANELS = (
    ("PSNR (dB), CBR 1/16, 10 dB", "val_psnr_1/16", PICTURES),
    ("mIoU of nine classes, 10 dB", "val_miou_nine", SEGMENTATIONS),
)
Curve = list[tuple[float, float]]


def curves(logs: Path) -> dict[str, dict[str, Curve]]:
    """Of each panel and weight that has a log: points (gigapixels, value)."""
    found: dict[str, dict[str, Curve]] = {}
    for title, column, runs in PANELS:
        for run in runs:
            points: Curve = []
            for name in (run.weight, run.then):
                points += _points(logs / f"{name}.csv", column, run.pixels / 1e9, points[-1][0] if points else 0.0)
            if points:
                found.setdefault(title, {})[run.weight] = points
    return found


def _points(log: Path, column: str, pixels: float, start: float) -> Curve:
    """Those of one log, if it is there; it ends with a validation."""
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return [(start + int(row["step"]) * pixels, float(row[column])) for row in csv.DictReader(file) if row.get(column)]


def draw(logs: Path, target: Path) -> None:
    """Validation against training: pictures, and segmentations."""
    shown, look = curves(logs), LOOKS["paper"]
    with matplotlib().rc_context(settings(look)):
        figure = Figure(figsize=(look.width[1], 3.5))
        for place, (title, _, runs) in enumerate(PANELS, 1):
            axis = figure.add_subplot(1, 2, place)
            looks, names = looks_of(run.weight for run in runs), [family(run.weight) for run in runs]
            for number, run in ((number, run) for number, run in enumerate(runs) if run.weight in shown.get(title, {})):
                (colour, mark), variant = looks[names[number]], names[:number].count(names[number])
                style = {
                    "color": colour,
                    "marker": mark,
                    "linestyle": DASHES[variant],
                    "markerfacecolor": "white" if variant else colour,
                }
                points = zip(*shown[title][run.weight], strict=True)
                axis.plot(*points, **style, markersize=look.marker, linewidth=look.line, label=run.label)
            axis.set_xlabel("trained on (gigapixels)", fontsize=look.text)
            axis.set_ylabel(title, fontsize=look.text)
            axis.tick_params(labelsize=look.small)
            axis.grid(alpha=0.3)
            axis.legend(fontsize=look.small, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        figure.tight_layout()
    write_figure(figure, target)
