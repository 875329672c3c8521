"""The figure of what training time gave the systems of docs/papers/generative-multitask.md, drawn from the committed logs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from matplotlib.figure import Figure

from openjscc.bench.fingerprint import carried, fingerprint
from openjscc.bench.looks import COLOURS, DASHES, LOOKS, MARKERS, matplotlib, settings, write_figure

PICTURES = {
    "mtgsc.photo": "MTGSC, two tasks", "mtgsc.picture": "MTGSC, pictures alone", "adjscc.photo": "ADJSCC", "witt.photo": "WITT",
    "deepjscc.photo": "Deep JSCC",
}  # fmt: skip
SEGMENTATIONS = {
    "mtgsc.photo": "MTGSC, two tasks", "mtgsc.segmentation": "MTGSC, segmentations alone", "deeplab_jscc.photo": "DeepLab JSCC",
    "fcn.voc": "FCN, pictures as they are",
}  # fmt: skip
PANELS = (
    ("PSNR (dB), CBR 1/16, 10 dB", r"CBR 1/16 ([\d.]+) dB", PICTURES),
    ("mIoU, 21 classes", r"mIoU ([\d.]+)", SEGMENTATIONS),
)
Curve = list[tuple[float, float]]


def curves(logs: Path) -> dict[str, dict[str, Curve]]:
    """Of each panel and weight that has a log: points (minutes, value)."""
    found: dict[str, dict[str, Curve]] = {}
    for title, pattern, weights in PANELS:
        for weight in weights:
            log = logs / f"{weight}.csv"
            if not log.exists():
                continue
            with log.open(newline="") as file:
                rows = [(float(row["seconds"]) / 60, re.search(pattern, row["validation"])) for row in csv.DictReader(file)]
            found.setdefault(title, {})[weight] = [(minutes, float(value[1])) for minutes, value in rows if value]
    return found


def draw(logs: Path, target: Path) -> None:
    """Validation against training time: pictures, and segmentations."""
    shown, look = curves(logs), LOOKS["paper"]
    with matplotlib().rc_context(settings(look)):
        figure = Figure(figsize=(look.width[1], 2.9))
        for place, (title, _, weights) in enumerate(PANELS, 1):
            axis = figure.add_subplot(1, 2, place)
            for number, (weight, points) in enumerate(shown.get(title, {}).items()):
                style = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": DASHES[number]}
                axis.plot(*zip(*points, strict=True), **style, markersize=look.marker, linewidth=look.line, label=weights[weight])
            axis.set_xlabel("training time (minutes)", fontsize=look.text)
            axis.set_ylabel(title, fontsize=look.text)
            axis.tick_params(labelsize=look.small)
            axis.grid(alpha=0.3)
            axis.legend(fontsize=look.small, frameon=False, loc="lower right")
        figure.tight_layout()
    write_figure(figure, target, rows=fingerprint(shown))


def stale(logs: Path, target: Path) -> bool:
    """Whether the figure shows other logs."""
    return not target.exists() or carried(target) != fingerprint(curves(logs))
