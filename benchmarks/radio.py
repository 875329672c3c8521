"""What it costs that transmitter, channel and receiver are three programs, and that the receiver estimates the noise.

    python benchmarks/radio.py [--data-dir DATA] [--repeats 5] [-o results/radio.json]

`time`: seconds of `openjscc send` and of `openjscc tx | openjscc channel | openjscc rx` for one 768x512 image, each as whole
processes, in turns. `estimation`: PSNR where the recording says the noise variance, and where the receiver estimates it from the
header's symbols.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from openjscc.bench.provenance import commit, device_name, versions
from openjscc.data.datasets import open_dataset
from openjscc.data.images import write_png
from openjscc.metrics import psnr
from openjscc.radio import pass_channel, receive_frames, transmit_frames
from openjscc.systems import load

SYSTEMS = {"adjscc.photo": ("kodak", 24), "jpeg-ldpc": ("kodak", 24), "adjscc.cifar10": ("cifar10", 500)}
SNRS = (0.0, 5.0, 10.0, 20.0)
RATIO = 1 / 6
GREY = 0.5


def seconds(command: str, folder: Path) -> float:
    """Of a shell command."""
    start = time.perf_counter()
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def times(image: torch.Tensor, repeats: int) -> dict[str, object]:
    """Of both ways, and whether they wrote the same file."""
    program = f"{sys.executable} -m openjscc"
    send = f"{program} send image.png --snr 10 --ratio 1/6 -o sent.png -f"
    pipe = (
        f"{program} tx image.png --snr 10 --ratio 1/6 -o - | {program} channel - --snr 10 -o - | {program} rx - -o piped.png -f"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_png(folder / "image.png", image)
        found: dict[str, list[float]] = {"send": [], "pipe": []}
        for _ in range(repeats):
            found["send"].append(seconds(send, folder))
            found["pipe"].append(seconds(pipe, folder))
        same = (folder / "sent.png").read_bytes() == (folder / "piped.png").read_bytes()
    medians = {key: round(statistics.median(values), 3) for key, values in found.items()}
    return medians | {"ratio": round(medians["pipe"] / medians["send"], 2), "repeats": repeats, "same_file": same}


def estimation(name: str, data_dir: str | None) -> list[dict[str, object]]:
    """PSNR of one system with the noise variance known and estimated."""
    codec = load(name)
    data, limit = SYSTEMS[name]
    dataset = open_dataset(data, data_dir, split="test", limit=limit)
    rows = []
    for snr_db in SNRS:
        values: dict[bool, list[float]] = {True: [], False: []}
        lost, errors = {True: 0, False: 0}, []
        for index in range(len(dataset)):
            x = dataset[index][None] / 255
            (burst,) = transmit_frames(codec, x, snr_db=snr_db, ratio=RATIO)
            for known in values:
                (got,) = receive_frames(pass_channel(burst, "awgn", snr_db, tell_noise=known), name)
                image = got.reconstruction.image if got.ok else None
                lost[known] += image is None
                values[known].append(psnr(x, torch.full_like(x, GREY) if image is None else image).item())
                if not known:
                    errors.append(10 * torch.tensor(got.noise_var).log10().item() + snr_db)
        means = {known: statistics.fmean(numbers) for known, numbers in values.items()}
        rows.append(
            {
                "system": name, "data": data, "images": len(dataset), "ratio": RATIO, "snr_db": snr_db,
                "psnr_known": round(means[True], 4), "psnr_estimated": round(means[False], 4),
                "lost_known": lost[True], "lost_estimated": lost[False],
                "error_db": round(statistics.pstdev(errors), 3), "bias_db": round(statistics.fmean(errors), 3),
            }
        )  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("time", "estimation"), help="keep the other half of the file")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/radio.json"))
    arguments = parser.parse_args()
    before = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    about = {"device": device_name(), "versions": versions(), "commit": commit()}
    content = {key: before.get(key) for key in ("time", "estimation")}
    if arguments.only != "estimation":
        kodak = open_dataset("kodak", arguments.data_dir, split="test", limit=1)
        content["time"] = about | times(kodak[0], arguments.repeats)
        print(content["time"])
    if arguments.only != "time":
        rows = [row for name in SYSTEMS for row in estimation(name, arguments.data_dir)]
        content["estimation"] = about | {"rows": rows}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
