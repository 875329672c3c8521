"""Fills README's tables from the records in results/, says who is ahead, and names its picture of them, between its markers.

python scripts/readme.py    # rewrite README.md and results/README.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pictures
from marked import fill
from measured import Measured
from perceptual_headline import factor
from words import at, single, span, where

from openjscc.bench.records import Record, read_records
from openjscc.studies.comparisons import read_tables
from openjscc.studies.gains import GainTable
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
CLIFF_SNR_DB = (-2.0, 0.0, 4.0, 8.0, 12.0, 20.0)
LEFT_OUT = ("bpg-ldpc:target=psnr", "bpg-capacity:finite=0.01", "jpeg-ldpc")
"""Systems of the cliff that README's table does not show."""
LEARNED, ADAPTED, FIXED = "adjscc.photo", "bpg-ldpc", "bpg-ldpc:mcs=16qam-3/4-n1944"
TALLIED = ("hybrid.photo", LEARNED)
"""Compared with the adapted link where they were measured."""
CONDITIONS = (
    ("AWGN, SNR known", "awgn", None),
    ("AWGN, SNR taken for 10 dB", "awgn", 10.0),
    ("Block Rayleigh fading, mean SNR known", "rayleigh:block", None),
    ("Block Rayleigh fading, mean SNR taken for 10 dB", "rayleigh:block", 10.0),
)
"""Of the verdict: name, channel, and the SNR that the transmitter believes in."""
UNSEEN = "resnet20-12fca82f"
"""The classifier that no training has seen."""
LEVEL_DB = 0.05
"""Means that differ by less are level: they are alike in the digit that is shown."""
ROWS = (
    ("Kodak", "hybrid.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("Kodak", "adjscc.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("Kodak", "deepjscc.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("Kodak", "witt.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("Kodak", "mtgsc.photo", (1 / 16,)),
    ("Kodak", "ganjscc.photo", (1 / 48,)),
    ("CIFAR-10", "adjscc.cifar10", (1 / 12, 1 / 6)),
    ("CIFAR-10", "arjscc.cifar10", (1 / 12, 1 / 6)),
)


def table() -> str:
    """PSNR in dB by weight, ratio and SNR."""
    lines: list[str] = []
    for data, weight, ratios in ROWS:
        records = [record for record in read_records(ROOT / "results" / f"{weight}.csv") if record.metric == "psnr"]
        snrs = sorted({record.snr_db for record in records})
        if not lines:
            lines = ["| data | weight | CBR | " + " | ".join(f"{snr:g} dB" for snr in snrs) + " |"]
            lines.append("|---" * (len(snrs) + 3) + "|")
        for ratio in ratios:
            row = {record.snr_db: record.mean for record in records if abs((record.ratio or 0.0) / ratio - 1) < 0.01}
            cells = " | ".join(f"{row[snr]:.2f}" for snr in snrs)
            lines.append(f"| {data} | `{weight}` | {format_ratio(ratio)} | {cells} |")
    return "\n".join(lines)


def cliff() -> str:
    """PSNR in dB of learned and digital systems on Kodak over AWGN, and what was lost."""
    records = [
        record
        for record in read_records(ROOT / "results" / "cliff.csv")
        if record.metric == "psnr" and record.channel == "awgn" and record.told_snr_db is None and record.snr_db in CLIFF_SNR_DB
    ]
    lines = [
        "| CBR | system | " + " | ".join(f"{snr:g} dB" for snr in CLIFF_SNR_DB) + " |",
        "|---" * (len(CLIFF_SNR_DB) + 2) + "|",
    ]
    for ratio in sorted({record.ratio for record in records if record.ratio is not None}):
        for system in dict.fromkeys(record.system for record in records if record.system not in LEFT_OUT):
            row = {record.snr_db: record for record in records if (record.system, record.ratio) == (system, ratio)}
            name = f"`{system}`" + (" (bound)" if row[CLIFF_SNR_DB[0]].bound else "")
            lines.append(f"| {format_ratio(ratio)} | {name} | " + " | ".join(_cell(row[snr]) for snr in CLIFF_SNR_DB) + " |")
    return "\n".join(lines)


def _cell(record: Record) -> str:
    if record.outage_rate == 1:
        return "lost"
    lost = f" ({100 * record.outage_rate:.0f} % lost)" if record.outage_rate else ""
    return f"{record.mean:.2f}{lost}"


def verdict(records: Sequence[Record]) -> str:
    """Where the adapted link is ahead of the learned codec by mean PSNR, and by how much; a line for each condition."""
    return "\n".join(f"- **{name}.** {_compared(records, channel, told)}" for name, channel, told in CONDITIONS)


def tally(records: Sequence[Record]) -> str:
    """At how many points the codecs are ahead of the adapted link by mean PSNR, and behind; a line for each condition."""
    lines = []
    for name, channel, told in CONDITIONS:
        there = {record.system for record in records if (record.channel, record.told_snr_db) == (channel, told)}
        words = []
        for system in TALLIED:
            if system in there:
                gaps = [gap for ratio in _ratios(records) for gap in _gaps(records, channel, told, ratio, system).values()]
                behind, ahead = (sum(sign * gap >= LEVEL_DB for gap in gaps) for sign in (1, -1))
                words.append(f"`{system}` is ahead at {ahead} of {len(gaps)} points and behind at {behind}")
        lines.append(f"- {name}: {', '.join(words)}.")
    return "\n".join(lines)


def fixed(records: Sequence[Record]) -> str:
    """Where the fixed scheme arrives over AWGN; a line for each ratio."""
    lines = []
    for ratio in _ratios(records):
        row = _row(records, FIXED, "awgn", None, ratio)
        shares = {"every image": 1.0, "no image": 0.0}
        words = [
            f"{words} {at(lost, list(row))}"
            for words, share in shares.items()
            if (lost := [snr for snr, record in row.items() if record.outage_rate == share])
        ]
        words += [
            f"{100 * record.outage_rate:.0f} % at {snr:g} dB" for snr, record in row.items() if 0 < (record.outage_rate or 0) < 1
        ]
        lines.append(f"- **The fixed scheme over AWGN, CBR {format_ratio(ratio)}.** `{FIXED}` loses {', '.join(words)}.")
    return "\n".join(lines)


def _compared(records: Sequence[Record], channel: str, told: float | None) -> str:
    parts, rows = [], {LEARNED: [], ADAPTED: []}
    for ratio in _ratios(records):
        parts.append(f"CBR {format_ratio(ratio)}: {_sides(_gaps(records, channel, told, ratio))}")
        for system in (LEARNED, ADAPTED):
            row, known = (_row(records, system, channel, belief, ratio) for belief in (told, None))
            rows[system] += [(row[snr], known[snr]) for snr in row]
    most = {system: max(record.outage_rate or 0.0 for record, _ in pairs) for system, pairs in rows.items()}
    text = f"`{ADAPTED}` against `{LEARNED}`, {'; '.join(parts)}. "
    text += f"At its worst SNR `{ADAPTED}` loses {_share(most[ADAPTED])}, and `{LEARNED}` {_share(most[LEARNED])}."
    if told is not None:
        cost = {system: max((known.mean or 0.0) - (row.mean or 0.0) for row, known in pairs) for system, pairs in rows.items()}
        text += f" The wrong SNR costs `{ADAPTED}` up to {cost[ADAPTED]:.1f} dB, and `{LEARNED}` up to {cost[LEARNED]:.1f} dB."
    return text


def _gaps(records: Sequence[Record], channel: str, told: float | None, ratio: float, codec: str = LEARNED) -> dict[float, float]:
    """By how many dB the adapted link is above a codec, by SNR."""
    learned, adapted = (_row(records, system, channel, told, ratio) for system in (codec, ADAPTED))
    if set(learned) != set(adapted):
        raise SystemExit(f"{channel}, told {told}, CBR {format_ratio(ratio)}: {codec} and {ADAPTED} have other SNRs")
    return {snr: (adapted[snr].mean or 0.0) - (learned[snr].mean or 0.0) for snr in learned}


def _share(lost: float) -> str:
    return {0.0: "no image", 1.0: "every image"}.get(lost, f"{100 * lost:.1f} % of the images")


def _sides(gaps: dict[float, float]) -> str:
    sides = {
        "ahead": [snr for snr, gap in gaps.items() if gap >= LEVEL_DB],
        "level": [snr for snr, gap in gaps.items() if abs(gap) < LEVEL_DB],
        "behind": [snr for snr, gap in gaps.items() if gap <= -LEVEL_DB],
    }
    words = []
    for side, snrs in sides.items():
        if snrs:
            ends = dict.fromkeys(f"{abs(end(gaps[snr] for snr in snrs)):.1f}" for end in (min, max))
            least_first = sorted(ends, key=float)
            by = "" if side == "level" else f" (by {' to '.join(least_first)} dB)"
            words.append(f"{side} {at(snrs, list(gaps))}{by}")
    return " and ".join(words)


def _ratios(records: Sequence[Record]) -> list[float]:
    return sorted({record.ratio for record in records if record.ratio is not None})


def _row(records: Sequence[Record], system: str, channel: str, told: float | None, ratio: float) -> dict[float, Record]:
    """PSNR by SNR."""
    key = ("psnr", system, channel, told, ratio)
    found = [one for one in records if (one.metric, one.system, one.channel, one.told_snr_db, one.ratio) == key]
    return {record.snr_db: record for record in sorted(found, key=lambda record: record.snr_db)}


def adaptation(content: dict[str, Any]) -> str:
    """Tables of `benchmarks/adaptation.py`: the default beside every single scheme, expected and sent; losses; floors."""
    margin = 0.1
    lines = ["| source | CBR | SNRs | a single scheme is ahead by more than 0.1 dB | at most by |", "|---|---|---|---|---|"]
    for (coder, ratio), rows in groupby(content["envelope"], key=lambda row: (row["coder"], row["ratio"])):
        ahead = {row["snr_db"]: row["best_db"] - row["default_db"] for row in rows}
        where = ", ".join(f"{snr:g}" for snr, gap in ahead.items() if gap > margin)
        lines.append(
            f"| {coder} | {ratio} | {len(ahead)} | {f'at {where} dB' if where else 'nowhere'} | {max(ahead.values()):.2f} dB |"
        )
    if content["sent"]:
        lines += ["", "Sent, where a single scheme is expected to come closest or to be ahead:", ""]
        lines += ["| source | CBR | SNR | default | lost | best single scheme | | lost | transmissions |", "|---" * 9 + "|"]
        for row in content["sent"]:
            ways = [f"{row[f'{way}_db']:.2f} dB | {100 * row[f'{way}_lost']:.1f} %" for way in ("default", "best")]
            point = f"{row['coder']} | {row['ratio']} | {row['snr_db']:g} dB"
            lines.append(f"| {point} | {ways[0]} | `{row['best']}` | {ways[1]} | {row['images'] * row['trials']} |")
    lines += ["", "Each scheme of the ladder at the SNR at which the table says that 1 % of the frames is lost:", ""]
    lines += ["| channel uses of a frame | schemes | frames | lost | share |", "|---" * 5 + "|"]
    for uses, rows in groupby(content["frames"], key=lambda row: row["uses"]):
        found = list(rows)
        frames, lost = (sum(row[name] for row in found) for name in ("frames", "lost"))
        lines.append(f"| {uses:,} | {len(found)} | {frames:,} | {lost:,} | {100 * lost / frames:.2f} % |")
    if content["floor"]:
        lines += ["", "Blocks of 1,000 information bits, 1.5 dB above that SNR:", ""]
        lines += ["| scheme | SNR | blocks | lost |", "|---" * 4 + "|"]
        lines += [f"| `{row['mcs']}` | {row['snr_db']:.2f} dB | {row['blocks']:,} | {row['lost']} |" for row in content["floor"]]
    return "\n".join(lines)


def papers() -> str:
    """The claims of the three papers, what the studies measured, and the verdict."""
    studies = ROOT / "results" / "studies"
    accuracy = Measured(studies / "sp-jscc-snr", "spjscc.cifar10", UNSEEN)
    semantic, distilled = (accuracy.less("arjscc", "accuracy", of=of)[5.0] for of in ("spjscc.cifar10", "spjscc.distilled"))
    gains = read_tables(studies / "perceptual-cbr" / "gains.json", GainTable)
    factors = {
        table.section.metric: [factor(row.gain) for row in table.rows] for table in gains if table.section.over == "ganjscc"
    }
    pictures_of = Measured(studies / "multitask-psnr-224", "mtgsc")
    above = [one.value for over in ("adjscc", "witt", "deepjscc") for one in pictures_of.less(over, "psnr").values()]
    masks = Measured(studies / "multitask-segmentation", "mtgsc").less("jpeg-ldpc+fcn", "miou_nine")
    rows = [
        ["[SP-JSCC](docs/papers/sp-jscc.md)", "weighted pixels: +1.4 points of accuracy at 5 dB, CBR 1/8",
         f"{single(semantic, 'accuracy')}, as a network sees it that no training has seen; with our distilled loss "
         f"{single(distilled, 'accuracy')}"],
        ["[Perceptual JSCC](docs/papers/perceptual-jscc.md)", "BPG+LDPC (16-QAM 2/3) needs 2 to 4 times the bandwidth",
         f"DISTS: {', '.join(factors['dists'])} times at CBR 1/48, 1/24, 1/12; LPIPS-VGG: {', '.join(factors['lpips_vgg'])}"],
        ["[Multi-task](docs/papers/generative-multitask.md)", "higher PSNR than ADJSCC, WITT and Deep JSCC",
         f"{span(above, 'psnr')} at 224x224, after more training at that ratio"],
        ["", "better segmentations than JPEG+LDPC with FCN", f"mIoU of nine classes {where(masks, 'miou_nine')}"],
    ]  # fmt: skip
    lines = ["| paper | claim | measured here, small networks, one training each |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def filled(text: str) -> str:
    """README with the tables of the records, and the image of the cliff, between their markers."""
    picture = f"![{pictures.alternative()}](docs/images/cliff.webp)"
    said = tally(read_records(ROOT / "results" / "cliff.csv"))
    contents = {"cliff": f"{cliff()}\n", "picture": f"{picture}\n", "verdict": f"{said}\n", "papers": f"{papers()}\n"}
    return fill(text, "scripts/readme.py", contents)


def filled_results(text: str) -> str:
    """The page of results with the verdict of the cliff, and how link adaptation chooses."""
    records = read_records(ROOT / "results" / "cliff.csv")
    chosen = json.loads((ROOT / "results" / "adaptation.json").read_text())
    contents = {
        "results": f"{table()}\n",
        "verdict": f"{verdict(records)}\n{fixed(records)}\n",
        "adaptation": f"{adaptation(chosen)}\n",
    }
    return fill(text, "scripts/readme.py", contents)


def main() -> None:
    pages = {ROOT / "README.md": filled, ROOT / "results" / "README.md": filled_results}
    for page, fresh in pages.items():
        page.write_text(fresh(page.read_text()))


if __name__ == "__main__":
    main()
