"""Figures of scripts/cliff.py and scripts/bler.py, drawn from committed records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from openjscc import make_channel, read_image, transmit
from openjscc.bench import Record, read_records
from openjscc.bench.plots import Chart, draw, write_figure
from openjscc.codec import LOST_GREY
from openjscc.data.bundled import sample_photo
from openjscc.data.sheets import side_by_side, stamped
from openjscc.digital.bler import table
from openjscc.digital.mcs import parse_mcs
from openjscc.metrics import psnr
from openjscc.systems import load

NAMES = {
    "adjscc.photo": "ADJSCC",
    "bpg-ldpc": "BPG+LDPC, envelope",
    "bpg-ldpc:mcs=16qam-3/4-n1944": "BPG+LDPC, (1458,1944) 16-QAM",
    "jpeg-ldpc": "JPEG+LDPC, envelope",
    "bpg-capacity": "BPG+capacity (bound)",
}
PICTURE_SNR_DB = (12.0, 6.0, 0.0)
PICTURE_RATIO = 1 / 6
PICTURE_SYSTEMS = ("bpg-ldpc:mcs=16qam-3/4-n1944", "adjscc.photo")


def draw_all(results: Path, images: Path) -> None:
    mpl.rcParams.update(
        {"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "openjscc", "legend.frameon": False}
    )
    figures = results / "figures"
    figures.mkdir(exist_ok=True)
    for name in ("cliff", "cliff-photo"):
        draw_cliff(read_records(results / f"{name}.json"), figures / f"{name}.svg")
    draw_bler(results / "published" / "bler.json", figures / "bler.svg")
    draw_picture(images / "cliff.webp")


def draw_cliff(records: list[Record], target: Path) -> None:
    """Rows: ratio; columns: AWGN and block fading, the SNR known and taken for 10 dB."""
    told = {record.told_snr_db for record in records} - {None}
    misled = {record.system for record in records if record.told_snr_db is not None}
    same = [record for record in records if record.system not in misled]  # what the transmitter believes makes no difference
    records = records + [dataclasses.replace(record, told_snr_db=snr) for snr in told for record in same]
    facets = ("channel", "told_snr_db", "ratio")
    figure, notes = draw(records, Chart(facets=facets, names=NAMES, style="screen", title=""))
    print(*(f"{target.name}: {note}" for note in notes), sep="\n", end="\n" if notes else "")
    write_figure(figure, target, "screen")


def draw_bler(published: Path, target: Path) -> None:
    """Measured block error rates as lines, independent measurements as open markers."""
    reference = json.loads(published.read_text())["points"]
    figure, axis = plt.subplots(figsize=(6, 4))
    colours = ["#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#000000"]
    for colour, (name, points) in zip(colours, reference.items(), strict=False):
        mcs = parse_mcs(name)
        curve = table().curves[name][-1] if name in table().curves else None
        if curve is not None:
            rates = [errors / blocks for errors, blocks in zip(curve.errors, curve.blocks, strict=True)]
            axis.semilogy(curve.snr_db, rates, "-", color=colour, marker=".", linewidth=1, label=f"{name} ({mcs.code().name})")
        axis.semilogy([p[0] for p in points], [p[1] for p in points], "o", color=colour, markerfacecolor="none")
    finish_bler(axis)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def finish_bler(axis: Axes) -> None:
    axis.set_xlabel("Es/N0 (dB)")
    axis.set_ylabel("block error rate on AWGN")
    axis.set_ylim(5e-4, 1.1)
    axis.legend(fontsize=7, loc="lower left")
    axis.set_title("Lines: src/openjscc/digital/bler.json. Circles: an independent decoder", fontsize=8)


def draw_picture(target: Path) -> None:
    """The photograph at three SNRs: a fixed digital link above, the learned codec below."""
    x = read_image(sample_photo()).pixels[None]
    cells = []
    for name in PICTURE_SYSTEMS:
        codec = load(name)
        for snr_db in PICTURE_SNR_DB:
            result = transmit(codec, make_channel("awgn"), x, snr_db, ratio=PICTURE_RATIO)
            ok = result.reconstruction.ok is None or bool(result.reconstruction.ok[0])
            assert result.image is not None
            label = NAMES[name]
            caption = f"{label}, {snr_db:g} dB: " + (f"{psnr(x, result.image).item():.1f} dB" if ok else "lost")
            grey = x[0] * 0 + LOST_GREY
            cells.append((caption, result.image[0] if ok else stamped(grey, "frame lost")))
    side_by_side(cells, columns=len(PICTURE_SNR_DB)).save(target, quality=80, method=6)
