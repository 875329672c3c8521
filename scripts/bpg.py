"""BPG on Kodak: bits per pixel and PSNR of the files that this library makes, beside the published ones.

    python scripts/bpg.py --data-dir DATA

Writes results/bpg-kodak.json and prints the BD-rate against results/published/bpg_444_x265_ycbcr.json. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from openjscc.bench.bjontegaard import bd_quality, bd_rate
from openjscc.data.datasets import open_dataset
from openjscc.digital.source import source_codec

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "results" / "published" / "bpg_444_x265_ycbcr.json"
QPS = (44, 39, 34, 29, 24, 19, 14, 9)


@dataclass(frozen=True)
class Point:
    """All pictures at one QP: means of bits per pixel, of PSNR in dB, and of the CPU seconds that one picture took."""

    qp: int
    bpp: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure BPG on Kodak and compare with the published points.")
    parser.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
    parser.add_argument("--qps", type=int, nargs="+", default=QPS, help="HEVC quantisation parameters, 0 to 51")
    parser.add_argument("--preset", default="veryslow", help="of x265")
    parser.add_argument("--chroma", default="444", choices=("444", "420"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int, help="only the first pictures, to try the command out; writes nothing")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "bpg-kodak.json")
    options = parser.parse_args()

    dataset = open_dataset("kodak", options.data_dir, limit=options.limit)
    pictures = [dataset[index].permute(1, 2, 0).contiguous().numpy() for index in range(len(dataset))]
    points = measure(pictures, options.qps, options.preset, options.chroma, options.processes)
    for point in points:
        print(f"QP {point.qp:2d}  {point.bpp:.4f} bpp  {point.psnr:.3f} dB  {point.encode_seconds:.2f} s", flush=True)
    published = json.loads(PUBLISHED.read_text())
    curve = [point.bpp for point in points], [point.psnr for point in points]
    reference = published["bpp"], published["psnr"]
    record = {
        "system": source_codec("bpg", chroma=options.chroma, preset=options.preset).version,
        "data": dataset.name,
        "images": len(dataset),
        "made_by": f"python scripts/bpg.py --preset {options.preset} --chroma {options.chroma}",
        "psnr_of": "RGB of each picture, 8 bits, then the mean over pictures; CPU seconds",
        "points": [asdict(point) for point in points],
        "published": PUBLISHED.relative_to(ROOT).as_posix(),
        "bd_rate_percent": round(bd_rate(*reference, *curve), 3),
        "bd_psnr_db": round(bd_quality(*reference, *curve), 4),
    }
    print(f"BD-rate {record['bd_rate_percent']:+.2f} %, BD-PSNR {record['bd_psnr_db']:+.3f} dB against {published['system']}")
    if options.limit is None:
        options.output.write_text(json.dumps(record, indent=2) + "\n")


def measure(pictures: Sequence[np.ndarray], qps: Sequence[int], preset: str, chroma: str, processes: int) -> list[Point]:
    """One point per QP."""
    jobs = [(picture, qp, preset, chroma) for qp in qps for picture in pictures]
    with ProcessPoolExecutor(processes) as pool:
        figures = np.array(list(pool.map(figures_of, jobs, chunksize=4)))
    means = figures.reshape(len(qps), len(pictures), 4).mean(axis=1).tolist()
    return [Point(qp, *values) for qp, values in zip(qps, means, strict=True)]


def figures_of(job: tuple[np.ndarray, int, str, str]) -> tuple[float, float, float, float]:
    """Bits per pixel, PSNR in dB, CPU seconds to encode and to decode."""
    picture, qp, preset, chroma = job
    codec = source_codec("bpg", chroma=chroma, preset=preset)
    height, width = picture.shape[:2]
    start = time.process_time()
    data = codec.encode(picture, 51 - qp)
    between = time.process_time()
    shown = codec.decode(data, height, width)
    end = time.process_time()
    error = np.mean((picture.astype(np.float64) - shown) ** 2)
    return 8 * len(data) / (height * width), -10 * math.log10(error / 255**2), between - start, end - between


if __name__ == "__main__":
    main()
