"""The figure of scripts/semantics.py, drawn from committed records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from openjscc.report.style import COLOURS, MARKERS, write_figure
from openjscc.units import format_ratio

PLAIN = "MSE (AR-JSCC)"
Entry = dict[str, Any]


def trade_offs(entries: list[Entry]) -> list[dict[str, Any]]:
    """For each ratio and network: what each loss changes in accuracy (points) and PSNR (dB), a pair a training seed."""
    panels = []
    networks = list(dict.fromkeys(entry["task_network"] for entry in entries if entry["task_network"]))
    for ratio in sorted({entry["ratio"] for entry in entries}):
        for network in networks:
            points: dict[str, list[list[float]]] = {}
            for row in dict.fromkeys(entry["row"] for entry in entries):
                pairs = _pairs(entries, ratio, network, row)
                if row != PLAIN and pairs:
                    points[row] = pairs
            panels.append({"ratio": format_ratio(ratio), "network": network, "points": points})
    return panels


def draw(entries: list[Entry], target: Path) -> None:
    """Accuracy gained against PSNR lost: the KL weights as a line, every pixel weighting as a marker of its own."""
    panels = trade_offs(entries)
    look: dict[Any, Any] = {"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}
    with mpl.rc_context(look):
        columns = len({panel["network"] for panel in panels})
        rows = len(panels) // columns
        legend = 0.15 * (1 + max(len(panel["points"]) for panel in panels) // 2)
        height = 2.4 * rows + legend
        figure, axes = plt.subplots(rows, columns, figsize=(3.5 * columns, height), sharex=True, squeeze=False)
        for panel, axis in zip(panels, axes.flat, strict=True):
            _panel(axis, panel)
        for axis in axes[-1]:
            axis.set_xlabel("PSNR less than with plain MSE (dB)")
        for axis in axes[:, 0]:
            axis.set_ylabel("accuracy gained (points)")
        handles = {label: handle for handle, label in zip(*axes[0, 0].get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles, loc="lower center", ncol=2, frameon=False, fontsize=7)
        figure.tight_layout(rect=(0, legend / height, 1, 1))
        write_figure(figure, target)
        plt.close(figure)


def _panel(axis: Axes, panel: dict[str, Any]) -> None:
    kl = {row: pairs for row, pairs in panel["points"].items() if row.endswith(" KL")}
    means = sorted((_mean(pairs), row) for row, pairs in kl.items())
    colour = COLOURS[1]
    axis.plot([0.0, *(x for (x, _), _ in means)], [0.0, *(y for (_, y), _ in means)], "-", color=colour, linewidth=1.2)
    for number, ((x, y), row) in enumerate(means):
        axis.plot([x], [y], "o", color=colour, markersize=4, label="MSE and KL divergence, by its weight" if not number else None)
        axis.annotate(row.removeprefix("MSE + ").removesuffix(" KL"), (x, y), (4, -9), textcoords="offset points", fontsize=7)
    for pairs in kl.values():
        axis.plot(*zip(*pairs, strict=True), ".", color=colour, markersize=2.5, alpha=0.6)
    weightings = [row for row in panel["points"] if row not in kl]
    for number, row in enumerate(weightings):
        mark = MARKERS[(number + 1) % len(MARKERS)]
        shade = COLOURS[(0, 2, 3, 4, 5)[number % 5]]
        face = shade if number < 5 else "none"
        x, y = _mean(panel["points"][row])
        axis.plot([x], [y], mark, color=shade, markersize=4.5, linestyle="none", label=row, markerfacecolor=face)
    axis.plot([0], [0], "+", color="black", markersize=9, linestyle="none", label="MSE")
    axis.set_title(f"CBR {panel['ratio']}, {panel['network']}", fontsize=8)


def _pairs(entries: list[Entry], ratio: float, network: str, row: str) -> list[list[float]]:
    """(dB of PSNR lost, points of accuracy gained) for each seed that has both this row and the plain one."""

    def by_seed(name: str, metric: str) -> dict[int, float]:
        chosen = (e for e in entries if (e["row"], e["ratio"], e["metric"]) == (name, ratio, metric))
        return {e["training_seed"]: e["mean"] for e in chosen if e["task_network"] in (None, network)}

    accuracy, psnr, base, base_psnr = (by_seed(name, metric) for name in (row, PLAIN) for metric in ("accuracy", "psnr"))
    return [
        [round(base_psnr[seed] - psnr[seed], 4), round(100 * (accuracy[seed] - base[seed]), 3)]
        for seed in sorted(accuracy)
        if seed in base
    ]


def _mean(pairs: list[list[float]]) -> tuple[float, float]:
    xs, ys = zip(*pairs, strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)
