"""Figures of scripts/cliff.py and scripts/bler.py, drawn from committed records."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from openjscc import make_channel, read_image, transmit
from openjscc.bench import Record, read_records
from openjscc.codec import LOST_GREY
from openjscc.data.bundled import sample_photo
from openjscc.data.sheets import side_by_side, stamped
from openjscc.digital.bler import table
from openjscc.digital.mcs import parse_mcs
from openjscc.metrics import psnr
from openjscc.systems import load
from openjscc.units import format_ratio

# Okabe and Ito's colours, told apart by colour-blind readers; markers and dashes for print in grey.
STYLES = {
    "adjscc.photo": ("ADJSCC", "#D55E00", "o", "-"),
    "bpg-ldpc": ("BPG+LDPC, envelope", "#0072B2", "s", "-"),
    "bpg-ldpc:mcs=16qam-3/4-n1944": ("BPG+LDPC, (1458,1944) 16-QAM", "#56B4E9", "D", "--"),
    "jpeg-ldpc": ("JPEG+LDPC, envelope", "#009E73", "^", "-"),
    "bpg-capacity": ("BPG+capacity (bound)", "#000000", "", ":"),
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
    records = [record for record in records if record.metric == "psnr"]
    ratios = sorted({record.ratio for record in records})
    columns = [("awgn", None), ("awgn", 10.0), ("rayleigh:block", None), ("rayleigh:block", 10.0)]
    figure, axes = plt.subplots(len(ratios), len(columns), figsize=(11, 5.2), sharex=True, sharey="row", squeeze=False)
    for row, ratio in zip(axes, ratios, strict=True):
        for axis, (channel, told) in zip(row, columns, strict=True):
            for system, (label, colour, marker, dash) in STYLES.items():
                curve = [r for r in records if (r.system, r.channel, r.ratio) == (system, channel, ratio)]
                chosen = [r for r in curve if r.told_snr_db == told] or [r for r in curve if r.told_snr_db is None]
                x, y = [r.snr_db for r in chosen], [math.nan if r.mean is None else r.mean for r in chosen]
                axis.plot(x, y, dash, color=colour, marker=marker, markersize=3, linewidth=1.2, label=label)
                if all(r.ci95 is not None for r in chosen):
                    low = [r.mean - r.ci95 for r in chosen if r.mean is not None and r.ci95 is not None]
                    high = [r.mean + r.ci95 for r in chosen if r.mean is not None and r.ci95 is not None]
                    axis.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
            known = "SNR known" if told is None else f"SNR taken for {told:g} dB"
            axis.set_title(f"{channel}, CBR {format_ratio(ratio)}, {known}", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("average SNR (dB)")
    for row in axes:
        row[0].set_ylabel("PSNR (dB), lost = grey")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=len(STYLES))
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


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
            label = STYLES[name][0]
            caption = f"{label}, {snr_db:g} dB: " + (f"{psnr(x, result.image).item():.1f} dB" if ok else "lost")
            grey = x[0] * 0 + LOST_GREY
            cells.append((caption, result.image[0] if ok else stamped(grey, "frame lost")))
    side_by_side(cells, columns=len(PICTURE_SNR_DB)).save(target, quality=80, method=6)
