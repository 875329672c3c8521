"""Fills README's tables from the records in results/, and names its picture of them, between its markers.

python scripts/readme.py            # rewrite README.md
python scripts/readme.py --check    # exit 1 if it does not match the records, or its pictures do not
"""

from __future__ import annotations

import sys
from pathlib import Path

import pictures
from marked import fill

from openjscc.bench.records import Record, read_records
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
CLIFF_SNR_DB = (-2.0, 0.0, 4.0, 8.0, 12.0, 20.0)
LEFT_OUT = ("bpg-ldpc:target=psnr", "bpg-capacity:finite=0.01")
"""Systems of the cliff that README's table does not show."""
ROWS = (
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
        records = [record for record in read_records(ROOT / "results" / f"{weight}.json") if record.metric == "psnr"]
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
        for record in read_records(ROOT / "results" / "cliff.json")
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


def filled(text: str) -> str:
    """README with the tables of the records, and the picture of the cliff, between their markers."""
    picture = f"![{pictures.alternative()}](docs/images/cliff.webp)"
    contents = {"results": f"{table()}\n", "cliff": f"{cliff()}\n", "picture": f"{picture}\n"}
    return fill(text, "scripts/readme.py", contents)


def main() -> None:
    path = ROOT / "README.md"
    text = path.read_text()
    if "--check" in sys.argv[1:]:
        if filled(text) != text:
            print("README.md does not match results/: run python scripts/readme.py", file=sys.stderr)
            sys.exit(1)
        sys.exit(pictures.main())
    path.write_text(filled(text))


if __name__ == "__main__":
    main()
