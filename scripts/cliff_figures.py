"""Figures of scripts/cliff.py and scripts/bler.py, drawn from committed records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from openjscc.bench import Record, read_records
from openjscc.digital.bler import table
from openjscc.digital.mcs import parse_mcs
from openjscc.report.chart import Chart
from openjscc.report.charts import draw
from openjscc.report.style import write_figure

FIXED = "bpg-ldpc:mcs=16qam-3/4-n1944"
NAMES = {
    "hybrid.photo": "Hybrid",
    "adjscc.photo": "ADJSCC",
    "bpg-ldpc": "BPG+LDPC, adapted",
    FIXED: "BPG+LDPC, 16-QAM 3/4",
    "jpeg-ldpc": "JPEG+LDPC, adapted",
    "bpg-capacity": "BPG+capacity (bound)",
    "bpg-capacity:finite=0.01": "BPG+finite blocks (bound)",
}
CHART = Chart(facets=("channel", "told_snr_db", "ratio"), names=NAMES, style="screen", title="")
CLIFFS = ("cliff", "cliff-photo")


def draw_all(results: Path) -> None:
    figures = results / "figures"
    figures.mkdir(exist_ok=True)
    for name in CLIFFS:
        draw_cliff(read_records(results / f"{name}.csv"), figures / f"{name}.svg")
    draw_bler(results / "published" / "bler.json", figures / "bler.svg")


def cliff_records(records: list[Record]) -> list[Record]:
    """Those of `NAMES`; a fixed scheme, which does not use the SNR, and a bound, which knows it, under each belief."""
    records = [record for record in records if record.system in NAMES]
    told = {record.told_snr_db for record in records if record.told_snr_db is not None}
    same = [record for record in records if record.bound or record.system == FIXED]
    return records + [dataclasses.replace(record, told_snr_db=snr) for snr in sorted(told) for record in same]


def draw_cliff(records: list[Record], target: Path) -> None:
    """Rows: ratio; columns: AWGN and block fading, the SNR known and taken for 10 dB."""
    chosen = cliff_records(records)
    figure, notes = draw(chosen, CHART)
    print(*(f"{target.name}: {note}" for note in notes), sep="\n", end="\n" if notes else "")
    write_figure(figure, target, "screen")


def bler_curves(published: Path) -> list[dict[str, Any]]:
    """For each scheme its label, our points of the longest block and the independent ones, each (SNR in dB, block error rate)."""
    curves = []
    for name, points in json.loads(published.read_text())["points"].items():
        ours = table().curves[name][-1] if name in table().curves else None
        measured = [] if ours is None else zip(ours.snr_db, ours.errors, ours.blocks, strict=True)
        curves.append(
            {
                "label": f"{name} ({parse_mcs(name).code().name})",
                "measured": [[snr, errors / blocks] for snr, errors, blocks in measured if errors],
                "published": points,
            }
        )
    return curves


def draw_bler(published: Path, target: Path) -> None:
    """Measured block error rates as lines, independent measurements as open markers."""
    curves = bler_curves(published)
    look = {"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "openjscc", "legend.frameon": False}
    with mpl.rc_context(look):
        figure, axis = plt.subplots(figsize=(6, 4))
        colours = ["#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#000000"]
        for colour, curve in zip(colours, curves, strict=False):
            if curve["measured"]:
                x, y = zip(*curve["measured"], strict=True)
                axis.semilogy(x, y, "-", color=colour, marker=".", linewidth=1, label=curve["label"])
            x, y = zip(*curve["published"], strict=True)
            axis.semilogy(x, y, "o", color=colour, markerfacecolor="none")
        finish_bler(axis)
        figure.tight_layout()
        write_figure(figure, target)
        plt.close(figure)


def finish_bler(axis: Axes) -> None:
    axis.set_xlabel("Es/N0 (dB)")
    axis.set_ylabel("block error rate on AWGN")
    axis.set_ylim(5e-4, 1.1)
    axis.legend(fontsize=7, loc="lower center")
    axis.set_title("Lines: src/openjscc/digital/bler.json. Circles: an independent decoder", fontsize=8)
