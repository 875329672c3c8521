"""What the systems for two tasks were meant to reach, and what was measured: a table made from the studies' records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from openjscc.bench import Record, read_records
from openjscc.bench.differences import Difference
from openjscc.bench.markdown import table_row
from openjscc.bench.study_differences import DifferenceTable
from openjscc.bench.study_places import read_tables

NAMES = {"witt": "WITT", "deepjscc": "Deep JSCC", "adjscc": "ADJSCC"}
CHAINS = {
    "jpeg-ldpc:mcs=16qam-3/4-n1944+fcn": "JPEG+LDPC+FCN, 16-QAM",
    "jpeg-ldpc:mcs=64qam-3/4-n1944+fcn": "JPEG+LDPC+FCN, 64-QAM",
    "jpeg-ldpc+fcn": "JPEG+LDPC+FCN, adapted",
}
MIOU = {"miou": "21 classes", "miou_nine": "nine"}
FLAT, NEAR_DB, NEAR_POINTS, HIGH_DB, ONE_SECOND = 2.0, 1.0, 3.0, 12.0, 1000.0


def goals(studies: Path) -> str:
    """Rows: goal, what was measured, whether it was met. Nothing of a study that has not been measured."""
    rows = [
        *_pictures(studies / "multitask-psnr-224", "224x224, 0 to 18 dB: PSNR above", 0.0),
        *_pictures(studies / "multitask-psnr-kodak", f"768x512, {HIGH_DB:g} to 18 dB: PSNR above", HIGH_DB),
        *_time(studies / "multitask-psnr-224"),
        *_segmentations(studies / "multitask-segmentation"),
        *_alone(studies),
    ]
    if not rows:
        return ""
    return "\n".join([table_row(["goal", "measured", "met"]), "|---|---|---|", *(table_row(row) for row in rows)]) + "\n"


def _pictures(folder: Path, goal: str, least: float) -> list[list[str]]:
    if not (folder / "differences.json").exists():
        return []
    rows = []
    for over in ("adjscc", "witt", "deepjscc"):
        found = {snr: one for snr, one in _paired(folder, "psnr", over).items() if snr >= least}
        rows.append([f"{goal} {NAMES[over]}", _range([one.value for one in found.values()], "dB"), _surely(found)])
    records = _of(folder, "psnr")
    ours, theirs = _by_snr(records, "mtgsc"), _by_snr(records, "jpeg-ldpc")
    gaps = {snr: ours[snr] - theirs[snr] for snr in sorted(ours) if snr >= least and snr in theirs}
    rows.append([f"{goal} JPEG+LDPC, adapted", _range(gaps.values(), "dB"), _verdict(gaps)])
    return rows


def _time(folder: Path) -> list[list[str]]:
    if not (folder / "summary.json").exists():
        return []
    (first, *_) = [one for one in _of(folder, "psnr") if one.system == "mtgsc"]
    total = (first.encode_ms or 0.0) + (first.decode_ms or 0.0)
    words = f"{first.encode_ms:.0f} + {first.decode_ms:.0f} ms, its share of a batch ({first.device})"
    return [["one second at most for a picture of 224x224", words, _yes(total <= ONE_SECOND)]]


def _segmentations(folder: Path) -> list[list[str]]:
    if not (folder / "summary.json").exists():
        return []
    rows = []
    for metric, classes in MIOU.items():
        records = _of(folder, metric)
        ours = _by_snr(records, "mtgsc")
        beside = _paired(folder, metric, "deeplab_jscc")
        values = [100 * one.value for one in beside.values()]
        rows.append([f"mIoU of {classes} above DeepLab JSCC", _range(values, "points"), _surely(beside)])
        for system, name in CHAINS.items():
            theirs = _by_snr(records, system)
            gaps = {snr: 100 * (ours[snr] - theirs[snr]) for snr in sorted(ours)}
            rows.append([f"mIoU of {classes} above {name}", _range(gaps.values(), "points"), _verdict(gaps)])
        spread = 100 * (max(ours.values()) - min(ours.values()))
        rows.append([f"mIoU of {classes} within {FLAT:g} points from 0 dB up", f"{spread:.1f} points", _yes(spread <= FLAT)])
    return rows


def _alone(studies: Path) -> list[list[str]]:
    rows = []
    pictures, segmentations = studies / "multitask-one-pictures", studies / "multitask-one-segmentations"
    if (pictures / "summary.json").exists():
        records = _of(pictures, "psnr")
        gaps = _gaps(_by_snr(records, "mtgsc"), _by_snr(records, "mtgsc.picture"))
        rows.append([f"within {NEAR_DB:g} dB of it alone for pictures", _range(gaps, "dB"), _yes(min(gaps) >= -NEAR_DB)])
    for metric, classes in MIOU.items():
        if (segmentations / "summary.json").exists():
            records = _of(segmentations, metric)
            gaps = [100 * gap for gap in _gaps(_by_snr(records, "mtgsc"), _by_snr(records, "mtgsc.segmentation"))]
            goal = f"within {NEAR_POINTS:g} points of it alone for segmentations, mIoU of {classes}"
            rows.append([goal, _range(gaps, "points"), _yes(min(gaps) >= -NEAR_POINTS)])
    return rows


def _of(folder: Path, metric: str) -> list[Record]:
    records = read_records(folder / "summary.json")
    return [one for one in records if one.metric == metric and one.channel == "awgn" and one.error is None]


def _by_snr(records: Iterable[Record], system: str) -> dict[float, float]:
    return {one.snr_db: one.mean for one in records if one.system == system and one.mean is not None}


def _gaps(ours: dict[float, float], theirs: dict[float, float]) -> list[float]:
    return [ours[snr] - theirs[snr] for snr in sorted(ours)]


def _paired(folder: Path, metric: str, over: str) -> dict[float, Difference]:
    """MTGSC less another system, over AWGN, by SNR."""
    tables = read_tables(folder / "differences.json", DifferenceTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == (metric, over)]
    rows = [row for row in table.rows if row.system == "mtgsc" and row.place.channel == "awgn"]
    return {row.at: row.difference for row in rows if row.at is not None and row.difference is not None}


def _surely(found: dict[float, Difference]) -> str:
    """`_verdict`, and whether the intervals agree."""
    met = _verdict({snr: one.value for snr, one in found.items()})
    sure = all(one.low is not None and one.low > 0 for one in found.values())
    return met if sure or met != "yes" else "yes, but not surely: an interval holds 0"


def _range(values: Iterable[float], unit: str) -> str:
    values = list(values)
    form = "{:+.2f}" if unit == "dB" else "{:+.1f}"
    return f"{form.format(min(values))} to {form.format(max(values))} {unit}"


def _verdict(gaps: dict[float, float]) -> str:
    ahead = [f"{snr:g}" for snr, gap in gaps.items() if gap > 0]
    return "yes" if len(ahead) == len(gaps) else f"at {', '.join(ahead)} dB only" if ahead else "no"


def _yes(met: bool) -> str:
    return "yes" if met else "no"
