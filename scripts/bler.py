"""Block error rates on AWGN of all modulation and coding schemes, by Monte Carlo: the table of link adaptation.

    python scripts/bler.py                          # everything that is not yet in the table
    python scripts/bler.py --blocks 30000           # once more, to lower rates
    python scripts/bler.py --mcs 16qam-3/4-n1944    # one scheme (or a new one), the rest is kept

It goes on where it was stopped. Every point sends random information bits through encoder, modulation, noise, exact demapper and
decoder until --errors block errors or --blocks blocks. Its random numbers depend on the scheme, the length, the SNR and --seed
alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from openjscc.digital.coding.block import ATTEMPTS, LARGEST_LLR
from openjscc.digital.mcs import IEEE80211N_LENGTH, MCS, MCS_SETS, NR_MOST, largest_block, parse_mcs
from openjscc.files import write_atomically

TABLE = Path(__file__).resolve().parents[1] / "src" / "openjscc" / "digital" / "bler.json"
LENGTHS = {True: (240, 480, 960), False: (192, 384, 768, 1536, 3072)}
"""Coded bits of the shorter blocks, of IEEE 802.11n and of 5G NR with a full length; full ones are measured too."""
INFORMATION = (64, 160, 400, 1000, 2400, 5500, 7500)
"""Information bits of the blocks of the ladder; the largest are measured too."""
STEP_DB = {True: 0.25, False: 0.125}
"""Between points, for blocks up to `SHORT` information bits and longer ones."""
SHORT = 700
START_DB = -0.5
"""From the SNR at which the mutual information equals the efficiency; no code reaches a block error rate of 1/2 there."""
FEW = 16
"""Blocks that tell whether a point lies above the waterfall, and is not worth more."""
LONGEST_DB = 12.0
SURE = 0.9
"""Points with a higher error rate say nothing of the waterfall; the last of them is kept."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mcs", nargs="*", help="schemes to measure; default: all sets")
    parser.add_argument("--errors", type=int, default=60, help="block errors that end a point")
    parser.add_argument("--blocks", type=int, default=3000, help="blocks that end a point")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    args = parser.parse_args()

    schemes = [parse_mcs(name) for name in args.mcs] if args.mcs else [mcs for group in MCS_SETS.values() for mcs in group]
    attempts = "; ".join(f"{count} iterations, scale {factor or 'of the code'}" for count, factor in ATTEMPTS)
    facts = {
        "note": "block error rates on AWGN by Monte Carlo; regenerate with scripts/bler.py",
        "decoder": f"layered normalised min-sum in attempts: {attempts}; exact demapper, LLRs up to {LARGEST_LLR:g}",
    }
    content = json.loads(args.output.read_text()) if args.output.exists() else {}
    curves = content.get("curves", {}) if content.get("decoder") == facts["decoder"] else {}
    stop = f"{args.errors} errors or {args.blocks} blocks"
    start = time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        work = {
            pool.submit(measure_curve, mcs, n, args.errors, args.blocks, args.seed): mcs
            for mcs in schemes
            for n in lengths(mcs)
            if (n, stop, args.seed) not in {(curve["n"], curve["stop"], curve["seed"]) for curve in curves.get(mcs.name, [])}
        }
        for number, future in enumerate(as_completed(work), 1):
            name, curve = work[future].name, future.result()
            others = [other for other in curves.get(name, []) if other["n"] != curve["n"]]
            curves[name] = sorted([*others, curve], key=lambda curve: curve["n"])
            minutes = (time.monotonic() - start) / 60
            print(f"{number}/{len(work)}, {minutes:.1f} min: {name}, {curve['n']} bits", file=sys.stderr, flush=True)
            if number % 10 == 0 or number == len(work):
                write_atomically(args.output, as_text({**facts, "curves": curves}).encode())
    return 0


def lengths(mcs: MCS) -> list[int]:
    """Coded bits of the blocks to measure, ascending."""
    if mcs.n is not None:
        return [*(n for n in LENGTHS[mcs.n == IEEE80211N_LENGTH] if n < mcs.n), mcs.n]
    bits = mcs.scheme.bits_per_symbol
    return [int(k / mcs.rate) // bits * bits for k in sorted((*INFORMATION, *NR_MOST)) if k <= largest_block(mcs.rate)]


def as_text(content: dict) -> str:
    """JSON with one curve a line."""
    head = {key: value for key, value in content.items() if key != "curves"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    schemes = []
    for name in sorted(content["curves"]):
        curves = ",\n   ".join(json.dumps(curve) for curve in content["curves"][name])
        schemes.append(f"  {json.dumps(name)}: [\n   {curves}]")
    return "{\n" + "\n".join(lines) + '\n "curves": {\n' + ",\n".join(schemes) + "\n }\n}\n"


def measure_curve(mcs: MCS, n: int, errors: int, blocks: int, seed: int) -> dict:
    """SNRs in dB, errors and blocks of one length, from where nearly nothing arrives to where few errors are left."""
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    limit = capacity_limit(mcs)
    points: list[tuple[float, int, int]] = []
    step = STEP_DB[n * mcs.rate <= SHORT]
    snr_db = math.floor((limit + START_DB) / step) * step
    stop = snr_db + LONGEST_DB
    while snr_db < stop and measure_point(mcs, n, snr_db + 4 * step, FEW, FEW, seed) == (FEW, FEW):
        snr_db += 4 * step
    while snr_db <= stop:
        wrong, sent = measure_point(mcs, n, snr_db, errors, blocks, seed)
        if wrong > SURE * sent:
            points = []
        points.append((snr_db, wrong, sent))
        if wrong < errors / 6:
            break
        snr_db += step
    return {
        "n": n,
        "stop": f"{errors} errors or {blocks} blocks",
        "seed": seed,
        **{key: list(column) for key, column in zip(("snr_db", "errors", "blocks"), zip(*points, strict=True), strict=True)},
    }


def capacity_limit(mcs: MCS) -> float:
    """The Es/N0 in dB at which the modulation carries as many bits as the scheme has information."""
    grid = np.arange(-15.0, 35.0, 0.05)
    return float(grid[np.searchsorted(mcs.scheme.mutual_information(grid), mcs.efficiency)])


def measure_point(mcs: MCS, n: int, snr_db: float, errors: int, blocks: int, seed: int) -> tuple[int, int]:
    """Block errors and blocks at one SNR."""
    import torch

    code, scheme = mcs.code(n), mcs.scheme
    noise_var = 10 ** (-snr_db / 10)
    draws = np.random.default_rng([seed, zlib.crc32(mcs.name.encode()), n, round(1000 * snr_db) & 0xFFFFFFFF])
    wrong = sent = 0
    batch = min(blocks, 32)
    while wrong < errors and sent < blocks:
        bits = draws.integers(0, 2, (batch, code.k), dtype=np.uint8)
        symbols = scheme.map(code.encode(bits))
        noise = torch.from_numpy(draws.standard_normal((*symbols.shape, 2), dtype=np.float32)) * math.sqrt(noise_var / 2)
        decoded, ok = code.decode_thoroughly(scheme.llr(symbols + torch.view_as_complex(noise), noise_var))
        wrong += int(((np.asarray(decoded) != bits).any(1) | ~np.asarray(ok)).sum())
        sent += batch
        batch = min(2 * batch, 256)
    return wrong, sent


if __name__ == "__main__":
    sys.exit(main())
