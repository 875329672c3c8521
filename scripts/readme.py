"""Fills README's results table from the records in results/, between its markers.

python scripts/readme.py            # rewrite README.md
python scripts/readme.py --check    # exit 1 if it does not match the records
"""

from __future__ import annotations

import sys
from pathlib import Path

from openjscc.bench.records import read_records
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- results: scripts/readme.py -->", "<!-- end of results -->"
ROWS = (
    ("Kodak", "adjscc.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("Kodak", "deepjscc.photo", (1 / 48, 1 / 16, 1 / 6)),
    ("CIFAR-10", "adjscc.cifar10", (1 / 12, 1 / 6)),
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
            row = {record.snr_db: record.mean for record in records if abs(record.ratio / ratio - 1) < 0.01}
            cells = " | ".join(f"{row[snr]:.2f}" for snr in snrs)
            lines.append(f"| {data} | `{weight}` | {format_ratio(ratio)} | {cells} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """README with the table of the records between its markers."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def main() -> None:
    path = ROOT / "README.md"
    text = path.read_text()
    if "--check" in sys.argv[1:]:
        if filled(text) != text:
            print("README.md does not match results/: run python scripts/readme.py", file=sys.stderr)
            sys.exit(1)
        return
    path.write_text(filled(text))


if __name__ == "__main__":
    main()
