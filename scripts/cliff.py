"""The cliff of digital links: PSNR against SNR, learned and digital systems at the same bandwidth and noise.

    python scripts/cliff.py measure      # results/cliff.csv (Kodak) and results/cliff-photo.csv; about an hour on two cores
    python scripts/cliff.py draw         # the figures, from these records alone

Kodak and the bundled photograph at CBR 1/6 and 1/16, -4 to 20 dB, over AWGN and over block Rayleigh fading; each once with the
average SNR known at the transmitter, and once with a transmitter that takes it for 10 dB. A run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from openjscc.bench import Record, Sweep, evaluate, read_records, write_records
from openjscc.codec import Codec, CodecInfo
from openjscc.data.bundled import sample_photo
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.digital import is_digital
from openjscc.systems import load
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
FIXED = "bpg-ldpc:mcs=16qam-3/4-n1944"
SYSTEMS = (
    *("hybrid.photo", "adjscc.photo", "bpg-ldpc", "bpg-ldpc:target=psnr", FIXED),
    *("bpg-capacity", "bpg-capacity:finite=0.01", "jpeg-ldpc"),
)
AWGN_ONLY = ("bpg-ldpc:target=psnr", "bpg-capacity:finite=0.01")
"""Measured over AWGN, with the SNR known, alone: under block fading the first is `bpg-ldpc`."""
SNR_DB = {"awgn": tuple(float(snr) for snr in range(-4, 21, 2)), "rayleigh:block": tuple(float(snr) for snr in range(-2, 23, 4))}
RATIOS = (1 / 16, 1 / 6)
TOLD_DB = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "draw"])
    parser.add_argument("--data-dir", help="where Kodak lies; else OPENJSCC_DATA")
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    args = parser.parse_args()
    if args.what == "draw":
        from cliff_figures import draw_all

        draw_all(RESULTS)
        return 0
    codecs = {name: load(name) for name in SYSTEMS}
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo"
        photo.mkdir()
        shutil.copy(sample_photo(), photo)
        measure(RESULTS / "cliff-photo.csv", open_dataset(photo), codecs, 20, args.limit)
    kodak = open_dataset("kodak", args.data_dir, split="test", limit=args.limit, cache_mib=0)
    measure(RESULTS / "cliff.csv", kodak, codecs, 2, args.limit)
    return 0


def measure(target: Path, dataset: PictureDataset, codecs: dict[str, Codec], fading_trials: int, limit: int | None) -> None:
    """All sweeps on one data set; each is written as soon as it is there."""
    done = read_records(target) if target.exists() and not limit else []
    for channel, snr_db in SNR_DB.items():
        for told in (None, TOLD_DB):
            for name, codec in codecs.items():
                key = (name, channel, told)
                if any((record.system, record.channel, record.told_snr_db) == key for record in done):
                    continue
                if told is not None and (CodecInfo(codec).bound or name == FIXED):
                    continue  # the bound is about knowing the SNR, and a fixed scheme does not use it
                if name in AWGN_ONLY and (channel, told) != ("awgn", None):
                    continue
                sweep = Sweep((channel,), snr_db, RATIOS, ("psnr", "ssim"), 1 if channel == "awgn" else fading_trials, 0, told)
                start = time.monotonic()
                jobs = (os.cpu_count() or 1) if is_digital(name) else 1
                fresh = evaluate(codec, dataset, sweep, system=name, jobs=jobs)
                done += [dataclasses.replace(record, data=Path(record.data).name) for record in fresh]
                print(
                    f"{dataset.name}: {name}, {channel}, told {told}: {time.monotonic() - start:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
                if not limit:
                    write_records(target, done)
    if limit:
        show(done)


def show(records: list[Record]) -> None:
    """PSNR, and share lost, by SNR."""
    for record in records:
        if record.metric == "psnr":
            where = f"{record.system:30} {record.channel:15} told {record.told_snr_db}"
            point = f"CBR {format_ratio(record.ratio)}, {record.snr_db:g} dB"
            print(f"{where}, {point}: {record.mean:.2f} dB, lost {record.outage_rate:.2f}")


if __name__ == "__main__":
    sys.exit(main())
