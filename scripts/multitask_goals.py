"""What the systems for two tasks were meant to reach, and what was measured: a table made from the studies' records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from words import times

from openjscc.bench import Record, read_records
from openjscc.bench.differences import Difference
from openjscc.report.markdown import table_row
from openjscc.studies.comparisons import read_tables
from openjscc.studies.differences import DifferenceTable
from openjscc.studies.gains import GainTable

RIVALS = {
    "adjscc": "ADJSCC",
    "witt": "WITT",
    "deepjscc": "Deep JSCC",
    "jpeg-ldpc:mcs=16qam-3/4-n1944": "JPEG+LDPC, 16-QAM",
    "jpeg-ldpc:mcs=64qam-3/4-n1944": "JPEG+LDPC, 64-QAM",
    "jpeg-ldpc": "JPEG+LDPC, adapted",
}
CHAINS = {
    "jpeg-ldpc:mcs=16qam-3/4-n1944+fcn": "JPEG+LDPC+FCN, 16-QAM",
    "jpeg-ldpc:mcs=64qam-3/4-n1944+fcn": "JPEG+LDPC+FCN, 64-QAM",
    "jpeg-ldpc+fcn": "JPEG+LDPC+FCN, adapted",
}
CROPS = {
    "deeplab_jscc.crops": "DeepLab JSCC, small crops",
    "jpeg-ldpc+fcn.crops": "JPEG+LDPC+FCN, adapted, small crops",
}
MIOU = {"miou": "21 classes", "miou_nine": "nine classes"}
FLAT, NEAR_DB, NEAR_POINTS, HIGH_DB, ONE_SECOND = 2.0, 1.0, 3.0, 12.0, 1000.0
NOTE = (
    "Over AWGN, the least and the greatest difference of all SNRs. Ahead and behind: the 95 % interval over "
    "other pictures, paired, is without 0; open: it holds 0. To JPEG, differences of more than 5 dB, and of more than 3 points, "
    "are where it loses a third of its pictures or more. What is said of limits (at most) is of the means."
)
"""Below the table."""


def goals(studies: Path) -> str:
    """Rows: goal, what was measured, whether it was met. Nothing of a study that has not been measured."""
    rows = [
        *_pictures(studies / "multitask-psnr-224", "224x224, 0 to 18 dB: PSNR above", 0.0),
        *_pictures(studies / "multitask-psnr-kodak", f"768x512, {HIGH_DB:g} to 18 dB: PSNR above", HIGH_DB),
        *_time(studies / "multitask-psnr-224"),
        *_segmentations(studies / "multitask-segmentation"),
        *_control(studies / "multitask-crops"),
        *_alone(studies),
        *_overhead(studies / "multitask-pictures"),
    ]
    if not rows:
        return ""
    table = "\n".join([table_row(["goal", "measured", "met"]), "|---|---|---|", *(table_row(row) for row in rows)])
    return f"{table}\n\n{NOTE}\n"


def _pictures(folder: Path, goal: str, least: float) -> list[list[str]]:
    if not (folder / "differences.json").exists():
        return []
    rows = []
    for over, name in RIVALS.items():
        found = {snr: one for snr, one in _paired(folder, "psnr", over).items() if snr >= least}
        rows.append([f"{goal} {name}", _range(_values(found), "dB"), _verdict(found)])
    return rows


def _time(folder: Path) -> list[list[str]]:
    if not (folder / "records.csv").exists():
        return []
    (first, *_) = [one for one in _of(folder, "psnr") if one.system == "mtgsc"]
    if first.encode_ms is None or first.decode_ms is None:
        return []
    words = f"{first.encode_ms:.0f} + {first.decode_ms:.0f} ms ({first.device})"
    goal = "one second at most for a picture of 224x224, its share of a batch"
    return [[goal, words, _yes(first.encode_ms + first.decode_ms <= ONE_SECOND)]]


def _segmentations(folder: Path) -> list[list[str]]:
    if not (folder / "records.csv").exists():
        return []
    rows = []
    for metric, classes in MIOU.items():
        rows += _above(folder, metric, {"deeplab_jscc": "DeepLab JSCC", **CHAINS})
        ours = _by_snr(_of(folder, metric), "mtgsc")
        spread = 100 * (max(ours.values()) - min(ours.values()))
        goal = f"mIoU of {classes} moves by at most {FLAT:g} points from 0 to 18 dB"
        rows.append([goal, f"{spread:.1f} points", _yes(spread <= FLAT)])
    return rows


def _control(folder: Path) -> list[list[str]]:
    """The rivals trained on crops as small as MTGSC's."""
    if not (folder / "records.csv").exists():
        return []
    return [row for metric in MIOU for row in _above(folder, metric, CROPS)]


def _above(folder: Path, metric: str, systems: dict[str, str]) -> list[list[str]]:
    rows = []
    for system, name in systems.items():
        found = _paired(folder, metric, system)
        values = [100 * value for value in _values(found)]
        rows.append([f"mIoU of {MIOU[metric]} above {name}", _range(values, "points"), _verdict(found)])
    return rows


def _alone(studies: Path) -> list[list[str]]:
    rows = []
    pictures, segmentations = studies / "multitask-one-pictures", studies / "multitask-one-segmentations"
    if (pictures / "records.csv").exists():
        records = _of(pictures, "psnr")
        gaps = _gaps(_by_snr(records, "mtgsc"), _by_snr(records, "mtgsc.picture"))
        rows.append(
            [
                f"at most {NEAR_DB:g} dB below the same network trained for pictures alone",
                _range(gaps, "dB"),
                _yes(min(gaps) >= -NEAR_DB),
            ]
        )
    for metric, classes in MIOU.items():
        if (segmentations / "records.csv").exists():
            records = _of(segmentations, metric)
            gaps = [100 * gap for gap in _gaps(_by_snr(records, "mtgsc"), _by_snr(records, "mtgsc.segmentation"))]
            goal = f"at most {NEAR_POINTS:g} points below the same network trained for segmentations alone, mIoU of {classes}"
            rows.append([goal, _range(gaps, "points"), _yes(min(gaps) >= -NEAR_POINTS)])
    return rows


def _overhead(folder: Path) -> list[list[str]]:
    """Channel uses of the others for the PSNR of MTGSC."""
    if not (folder / "gains.json").exists():
        return []
    tables = read_tables(folder / "gains.json", GainTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == ("psnr", "mtgsc")]
    rows = []
    for under in (32, 16):
        gains = {row.system: row.gain for row in table.rows if row.at is not None and abs(row.at * under - 1) < 0.01}
        for system, name in RIVALS.items():
            if system in gains:
                goal = f"768x512, 18 dB: fewer channel uses than {name} for equal PSNR, at CBR 1/{under}"
                low = gains[system].high if gains[system].value is not None else None
                rows.append([goal, f"{name} needs {times(gains[system])} times as many", _yes(low is not None and low < 1)])
    return rows


def _of(folder: Path, metric: str) -> list[Record]:
    records = read_records(folder)
    return [one for one in records if one.metric == metric and one.channel == "awgn" and one.error is None]


def _by_snr(records: Iterable[Record], system: str) -> dict[float, float]:
    return {one.snr_db: one.mean for one in records if one.system == system and one.mean is not None}


def _gaps(ours: dict[float, float], theirs: dict[float, float]) -> list[float]:
    return [ours[snr] - theirs[snr] for snr in sorted(ours)]


def _paired(folder: Path, metric: str, over: str) -> dict[float, Difference | None]:
    """MTGSC less another system, over AWGN, by SNR; None where there is no figure.

    Raises:
        SystemExit: not at all SNRs of MTGSC.
    """
    tables = read_tables(folder / "differences.json", DifferenceTable)
    (table,) = [one for one in tables if (one.section.metric, one.section.over) == (metric, over) and "mtgsc" in one.section.of]
    rows = [row for row in table.rows if row.system == "mtgsc" and row.place.channel == "awgn"]
    found = {row.at: row.difference for row in rows if row.at is not None}
    if set(found) != set(_by_snr(_of(folder, metric), "mtgsc")):
        raise SystemExit(f"{folder}: {metric} above {over} is not there at every SNR")
    return found


def _values(found: dict[float, Difference | None]) -> list[float]:
    return [one.value for one in found.values() if one is not None]


def _range(values: Iterable[float], unit: str) -> str:
    values = list(values)
    form = "{:+.2f}" if unit == "dB" else "{:+.1f}"
    return f"{form.format(min(values))} to {form.format(max(values))} {unit}"


def _verdict(found: dict[float, Difference | None]) -> str:
    """Where MTGSC is ahead, as far as the intervals say."""
    groups: dict[str, list[str]] = {}
    for snr, one in found.items():
        if one is None or one.low is None or one.high is None or one.low <= 0 <= one.high:
            word = "open"
        else:
            word = "ahead" if one.low > 0 else "behind"
        groups.setdefault(word, []).append(f"{snr:g}")
    if list(groups) == ["ahead"]:
        return "yes"
    return "no: " + ", ".join(f"{word} at {', '.join(snrs)} dB" for word, snrs in groups.items())


def _yes(met: bool) -> str:
    return "yes" if met else "no"
