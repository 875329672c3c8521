"""Whether link adaptation chooses well: beside every single scheme, and how often its frames are lost.

    python benchmarks/adaptation.py                       # all parts, on Kodak; goes on where it was stopped
    python benchmarks/adaptation.py --only frames floor   # without a data set

`envelope`: the expected PSNR of the default and of every scheme of the package, each for the whole data set, by the stored
block error rates; `sent`: the points where a single scheme comes closest or is ahead, sent over AWGN. `frames`: each scheme of
the ladder at the SNR at which the table says that one frame of a hundred is lost. `floor`: block errors 1.5 dB above that SNR.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openjscc.bench import Sweep, evaluate
from openjscc.bench.provenance import commit, device_name, versions
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.digital import TARGET, make_digital
from openjscc.digital.adaptation import BEST_DB, Option, best_option, largest_option, lost_psnr
from openjscc.digital.bler import table
from openjscc.digital.ldpc import LDPCCodec, budget_bytes
from openjscc.digital.mcs import MCS, MCS_SETS, parse_mcs, plan_blocks
from openjscc.units import format_ratio

RATIOS = (1 / 48, 1 / 24, 1 / 16, 1 / 12, 1 / 6)
SNRS = tuple(float(snr) for snr in range(-5, 21))
SENT = 6
"""Points that are sent: those at which a single scheme is best beside the default."""
FRAME_USES = (512, 4096, 24576)
FLOOR_SCHEMES = ("qpsk-251/1024", "16qam-490/1024", "64qam-719/1024", "256qam-841/1024")
"""One of each base graph and constellation."""
FLOOR_DB = 1.5
SCHEMES = tuple(mcs for group in MCS_SETS.values() for mcs in group)
"""The ladder first."""


def choices(coder: str, dataset: PictureDataset, ratio: float) -> list[dict[str, object]]:
    """For each SNR the expected PSNR of the default, of ``target=psnr``, and of the best single scheme, over the data set."""
    codec = make_digital(f"{coder}-ldpc")
    assert isinstance(codec, LDPCCodec)
    pictures = [dataset[index].permute(1, 2, 0).numpy() for index in range(len(dataset))]
    uses = [math.floor(ratio * picture.size + 1e-6) for picture in pictures]
    arrived = [[arriving(codec, picture, mcs, count) for mcs in SCHEMES] for picture, count in zip(pictures, uses, strict=True)]
    grey = [lost_psnr(picture) for picture in pictures]
    rows = []
    for snr_db in SNRS:
        values, chosen = np.zeros((len(pictures), len(SCHEMES) + 2)), set()
        for row, picture in enumerate(pictures):
            options = [option(index, mcs, uses[row], snr_db) for index, mcs in enumerate(SCHEMES)]
            ladder = options[: len(codec.schemes)]
            success = np.array([way.success for way in options])
            values[row, :-2] = grey[row] + success * (np.array(arrived[row]) - grey[row])
            default = largest_option(ladder, TARGET, codec.control, [picture]).index
            values[row, -2:] = values[row, [default, best_option(ladder, codec.control, [picture]).index]]
            chosen.add(SCHEMES[default].name)
        *single, default_db, psnr_db = (float(value) for value in values.mean(0))
        best = int(np.argmax(single))
        row = {"coder": coder, "ratio": format_ratio(ratio), "snr_db": snr_db, "chosen": sorted(chosen)}
        row |= {"best": SCHEMES[best].name, "default_db": default_db, "psnr_db": psnr_db, "best_db": single[best]}
        rows.append(row)
    return rows


def arriving(codec: LDPCCodec, picture: np.ndarray, mcs: MCS, uses: int) -> float:
    """PSNR in dB of the file that a scheme carries; that of the grey image where none fits."""
    budget, grey = budget_bytes(plan_blocks(mcs, uses).information), lost_psnr(picture)
    fitted = codec.control.fit(picture, budget) if budget > 0 else None
    return grey if fitted is None else max(min(codec.control.psnr(picture, fitted.quality), BEST_DB), grey)


@cache
def option(index: int, mcs: MCS, uses: int, snr_db: float) -> Option:
    plan = plan_blocks(mcs, uses)
    return Option(index, budget_bytes(plan.information), table().success(mcs, plan.lengths, snr_db))


def sent(dataset: PictureDataset, row: dict[str, Any], trials: int) -> dict[str, object]:
    """PSNR and losses of the default and of the best single scheme of a row of `choices`."""
    found: dict[str, object] = {name: row[name] for name in ("coder", "ratio", "snr_db", "best")}
    (ratio,) = [ratio for ratio in RATIOS if format_ratio(ratio) == row["ratio"]]
    for way, spec in (("default", f"{row['coder']}-ldpc"), ("best", f"{row['coder']}-ldpc:mcs={row['best']}")):
        sweep = Sweep(snr_db=(row["snr_db"],), ratios=(ratio,), metrics=("psnr",), trials=trials)
        (record,) = evaluate(make_digital(spec), dataset, sweep, system=spec)
        found |= {f"{way}_db": record.mean, f"{way}_lost": record.outage_rate}
    return found | {"images": len(dataset), "trials": trials}


def at_target(mcs: MCS, lengths: tuple[int, ...]) -> float:
    """The SNR in dB at which the table says that `TARGET` of the frames is lost."""
    low, high = -20.0, 40.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if table().success(mcs, lengths, middle) >= 1 - TARGET else (middle, high)
    return high


def lost_frames(mcs: MCS, lengths: tuple[int, ...], snr_db: float, frames: int, seed: int, at_once: int = 64) -> int:
    """Of ``frames`` frames of random information bits over AWGN, those with a block that does not arrive."""
    random = np.random.default_rng([seed, zlib.crc32(mcs.name.encode()), *lengths[:1], len(lengths)])
    scheme, noise_var, lost = mcs.scheme, 10 ** (-snr_db / 10), 0
    for start in range(0, frames, at_once):
        bad = np.zeros(min(at_once, frames - start), dtype=bool)
        for n in lengths:
            code = mcs.code(n)
            bits = random.integers(0, 2, (len(bad), code.k), dtype=np.uint8)
            symbols = scheme.map(code.encode(bits))
            noise = torch.from_numpy(random.standard_normal((*symbols.shape, 2), dtype=np.float32)) * math.sqrt(noise_var / 2)
            found, ok = code.decode_thoroughly(scheme.llr(symbols + torch.view_as_complex(noise), noise_var))
            bad |= (np.asarray(found) != bits).any(1) | ~np.asarray(ok)
        lost += int(bad.sum())
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=["envelope", "sent", "frames", "floor"], help="default: all")
    parser.add_argument("--coders", nargs="*", default=["bpg", "jpeg"])
    parser.add_argument("--frames", type=int, default=260, help="of each scheme and length; four times as many short ones")
    parser.add_argument("--blocks", type=int, default=1_000_000, help="of each scheme for its floor")
    parser.add_argument("--trials", type=int, default=2, help="of each image where it is sent")
    parser.add_argument("--limit", type=int, help="images, to try the command out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/adaptation.json"))
    arguments = parser.parse_args()
    parts = arguments.only or ["envelope", "sent", "frames", "floor"]
    content: dict[str, Any] = {"envelope": [], "sent": [], "frames": [], "floor": []}
    if arguments.output.exists():
        content |= json.loads(arguments.output.read_text())
    about = {"target": TARGET, "seed": arguments.seed, "device": device_name(), "versions": versions(), "commit": commit()}

    def keep(part: str, rows: Sequence[dict[str, object]]) -> None:
        content[part] += rows
        print(*rows, sep="\n", flush=True)
        arguments.output.write_text(json.dumps(content | about, indent=1) + "\n")

    def missing(part: str, **facts: object) -> bool:
        return part in parts and not any(facts.items() <= row.items() for row in content[part])

    kodak = open_dataset("kodak", limit=arguments.limit) if {"envelope", "sent"} & set(parts) else None
    for coder in arguments.coders:
        for ratio in RATIOS:
            if missing("envelope", coder=coder, ratio=format_ratio(ratio)):
                assert kodak is not None
                keep("envelope", choices(coder, kodak, ratio))
        rows = [row for row in content["envelope"] if row["coder"] == coder]
        for row in sorted(rows, key=lambda row: row["default_db"] - row["best_db"])[:SENT]:
            if missing("sent", coder=coder, ratio=row["ratio"], snr_db=row["snr_db"]):
                assert kodak is not None
                keep("sent", [sent(kodak, row, arguments.trials)])
    for uses in FRAME_USES:
        for mcs in MCS_SETS["nr"]:
            if missing("frames", uses=uses, mcs=mcs.name) and (lengths := plan_blocks(mcs, uses).lengths):
                snr_db, frames = at_target(mcs, lengths), arguments.frames * (4 if uses < 10_000 else 1)
                lost = lost_frames(mcs, lengths, snr_db, frames, arguments.seed)
                keep("frames", [{"uses": uses, "mcs": mcs.name, "snr_db": snr_db, "frames": frames, "lost": lost}])
    for name in FLOOR_SCHEMES:
        if missing("floor", mcs=name):
            mcs = parse_mcs(name)
            n = int(1000 / mcs.rate) // mcs.scheme.bits_per_symbol * mcs.scheme.bits_per_symbol
            snr_db = at_target(mcs, (n,)) + FLOOR_DB
            lost = lost_frames(mcs, (n,), snr_db, arguments.blocks, arguments.seed, 1024)
            keep("floor", [{"mcs": name, "coded_bits": n, "snr_db": snr_db, "blocks": arguments.blocks, "lost": lost}])


if __name__ == "__main__":
    main()
