"""Perceptual JSCC beside the other systems, and what was meant to be reached: sentences made from the studies' records."""

from __future__ import annotations

from pathlib import Path

from measured import Measured
from perceptual_headline import factor
from words import amount, at, compared, saved, side, single, title, where

from openjscc.bench.gains import Gain
from openjscc.report.markdown import table_row
from openjscc.studies.comparisons import read_tables
from openjscc.studies.gains import GainTable

OURS, BPG, FIXED = "ganjscc", "bpg-ldpc", "bpg-ldpc:mcs=16qam-2/3-n6144"
NAMES = {"deepjscc": "Deep JSCC", "adjscc": "ADJSCC", BPG: "BPG+LDPC"}
BLIND = ("dists", "lpips_vgg")
"""Nothing was trained on them."""
SNR_DB, RATIOS = 10.0, (48, 24, 12)
TWICE, LESS_DB, NEAR = 2.0, 4.0, 0.02


def beside(studies: Path) -> str:
    """A table of the paper's claims at CBR 1/48, and what the training adds at each ratio."""
    if not all((studies / name / "records.csv").exists() for name in ("perceptual-snr", "perceptual-cbr")):
        return ""
    study, ratios = Measured(studies / "perceptual-snr", OURS), Measured(studies / "perceptual-cbr", OURS)
    psnr = {system: study.means(system, "psnr")[SNR_DB] for system in (OURS, *NAMES)}
    lpips = {over: compared(study.less(over, "lpips"), "lpips") for over in ("deepjscc", BPG)}
    rows = [
        *_saved_rows(studies),
        *(
            [f"{title(metric)} less that of {NAMES[over]}", "lower (curves)", compared(study.less(over, metric), metric)]
            for over in ("deepjscc", BPG)
            for metric in BLIND
        ),
        ["LPIPS, on which it is trained, less that of Deep JSCC", "lower (curves)", lpips["deepjscc"]],
        ["the same for BPG+LDPC", "lower (curves)", lpips[BPG]],
        ["pictures that BPG+LDPC loses, which count as grey", "", study.lost(BPG, "dists")],
        ["FD-VGG16, in the place of FID, at 1 and 10 dB; 144 patches, no intervals", "FID the lowest", _distances(study)],
        *(
            [f"PSNR less that of {NAMES[over]}, at {SNR_DB:g} dB", "lower", amount(psnr[OURS] - psnr[over], "psnr")]
            for over in ("deepjscc", BPG)
        ),
        ["MS-SSIM less that of Deep JSCC", '"negligible" loss', compared(study.less("deepjscc", "ms_ssim"), "ms_ssim")],
    ]  # fmt: skip
    lines = [_added(ratios, 1 / under) for under in RATIOS]
    table = [table_row(["what", "the paper", "here"]), "|---|---|---|", *(table_row(row) for row in rows)]
    words = "Beside ADJSCC, whose parameters its training began with (loss, blocks and updates together), at 10 dB:"
    return "\n".join([*table, "", words, "", *lines]) + "\n"


def goals(studies: Path) -> str:
    """Rows: goal, whether it was reached and by how much."""
    if not all((studies / name / "records.csv").exists() for name in ("perceptual-snr", "perceptual-cbr")):
        return ""
    study = Measured(studies / "perceptual-snr", OURS)
    shape = min(one.value for one in study.less("deepjscc", "ms_ssim").values())
    rows = [
        ["Kodak, CBR 1/48, 1 to 13 dB: better LPIPS (both) and DISTS than Deep JSCC and BPG+LDPC", _better(study)],
        [f"at {SNR_DB:g} dB BPG+LDPC needs at least twice the bandwidth for the same DISTS", _twice(studies)],
        *([f"4 to 8 dB less SNR at equal {title(metric)}", _least(_saved(studies, metric))] for metric in BLIND),
        [f"MS-SSIM within {NEAR:g} of Deep JSCC", f"{_yes(shape >= -NEAR)}: {amount(shape, 'ms_ssim')} at its worst"],
    ]
    return "\n".join([table_row(["goal", "reached"]), "|---|---|", *(table_row(row) for row in rows)]) + "\n"


def _saved(studies: Path, metric: str) -> dict[float, Gain]:
    """By SNR of BPG+LDPC."""
    tables = read_tables(studies / "perceptual-snr" / "gains.json", GainTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == (metric, BPG)]
    return {row.at: row.gain for row in table.rows if row.system == OURS}


def _saved_rows(studies: Path) -> list[list[str]]:
    rows = []
    for metric, paper in zip(BLIND, ("4 to 8, metric not said", ""), strict=True):
        gains = _saved(studies, metric)
        snrs = ", ".join(f"{snr:g}" for snr in gains)
        words = ", ".join(saved(gain) for gain in gains.values())
        rows.append([f"dB less SNR than BPG+LDPC for equal {title(metric)}, at {snrs} dB", paper, words])
    return rows


def _distances(study: Measured) -> str:
    parts = []
    for system in (OURS, "deepjscc", BPG):
        found = study.means(system, "fd_vgg16")
        parts.append(f"{NAMES.get(system, 'here')} {found[1.0]:.1f} and {found[SNR_DB]:.1f}")
    return "; ".join(parts)


def _added(study: Measured, ratio: float) -> str:
    parts = [f"{title(metric)} {single(study.less('adjscc', metric, ratio=ratio)[SNR_DB], metric)}" for metric in BLIND]
    psnr = [study.means(system, "psnr", ratio=ratio)[SNR_DB] for system in (OURS, "adjscc")]
    return f"- CBR 1/{1 / ratio:.0f}: {'; '.join(parts)}; PSNR {amount(psnr[0] - psnr[1], 'psnr')}."


def _better(study: Measured) -> str:
    missed = []
    for metric in ("lpips", *BLIND):
        for over in ("deepjscc", BPG):
            found = study.less(over, metric)
            if any(side(one, metric) != "ahead" for one in found.values()):
                missed.append(f"{title(metric)} against {NAMES[over]} {where(found, metric)}")
    return f"no: {'; '.join(missed)}" if missed else "yes"


def _twice(studies: Path) -> str:
    tables = read_tables(studies / "perceptual-cbr" / "gains.json", GainTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == ("dists", OURS)]
    first = min(table.rows, key=lambda row: abs(row.at - 1 / RATIOS[0])).gain
    needs = 1 / (first.value or first.most or float("inf"))
    return f"{_yes(needs >= TWICE)}: {factor(first)}"


def _least(gains: dict[float, Gain]) -> str:
    """Where the goal was reached, missed, and where what is known does not say."""
    least = {snr: gain.value if gain.value is not None else gain.least for snr, gain in gains.items()}
    most = {snr: gain.value if gain.value is not None else gain.most for snr, gain in gains.items()}
    reached = [snr for snr, value in least.items() if value is not None and value >= LESS_DB]
    missed = [snr for snr, value in most.items() if value is not None and value < LESS_DB]
    words = {"reached": reached, "missed": missed, "not known": [snr for snr in gains if snr not in (*reached, *missed)]}
    return ", ".join(f"{word} {at(snrs, list(gains))}" for word, snrs in words.items() if snrs)


def _yes(met: bool) -> str:
    return "yes" if met else "no"
