"""Block error rates on AWGN of all modulation and coding schemes, by Monte Carlo: the table of link adaptation.

    python scripts/bler.py                            # everything: half an hour of one core
    python scripts/bler.py --full --blocks 100000     # the full blocks once more, to lower rates: they come by the hundred
    python scripts/bler.py --mcs 16qam-3/4-n1944      # one scheme again (or a new one), the rest is kept

Every point sends random information bits through encoder, modulation, noise, exact demapper and decoder until --errors block
errors or --blocks blocks. Its random numbers depend on the scheme, the length, the SNR and --seed alone.
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

from openjscc.digital.coding.block import ITERATIONS
from openjscc.digital.mcs import IEEE80211N_LENGTH, MCS, MCS_SETS, parse_mcs
from openjscc.files import write_atomically

TABLE = Path(__file__).resolve().parents[1] / "src" / "openjscc" / "digital" / "bler.json"
LENGTHS = {True: (240, 360, 480, 720, 960, 1464), False: (192, 384, 768, 1536, 3072)}
"""Coded bits of the shorter blocks, for IEEE 802.11n and for 5G NR; full ones are measured too."""
STEP_DB = 0.25
START_DB = -1.0
"""From the SNR at which the mutual information equals the efficiency; no code reaches a block error rate of 1/2 there."""
LONGEST_DB = 12.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mcs", nargs="*", help="schemes to measure; default: all sets")
    parser.add_argument("--full", action="store_true", help="only blocks of full length; shorter ones are kept")
    parser.add_argument("--errors", type=int, default=100, help="block errors that end a point")
    parser.add_argument("--blocks", type=int, default=20_000, help="blocks that end a point")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    args = parser.parse_args()

    schemes = [parse_mcs(name) for name in args.mcs] if args.mcs else [mcs for group in MCS_SETS.values() for mcs in group]
    content = json.loads(args.output.read_text()) if args.output.exists() else {}
    facts = {
        "note": "block error rates on AWGN by Monte Carlo; regenerate with scripts/bler.py",
        "decoder": f"layered normalised min-sum, at most {ITERATIONS} iterations; exact demapper",
    }
    curves = content.get("curves", {})
    start = time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        work = {
            pool.submit(measure_curve, mcs, n, args.errors, args.blocks, args.seed): (mcs, n)
            for mcs in schemes
            for n in (*(n for n in LENGTHS[mcs.n == IEEE80211N_LENGTH] if n < mcs.n and not args.full), mcs.n)
        }
        fresh: dict[str, list[dict]] = {}
        for number, future in enumerate(as_completed(work), 1):
            mcs, n = work[future]
            fresh.setdefault(mcs.name, []).append(future.result())
            print(
                f"{number}/{len(work)}, {(time.monotonic() - start) / 60:.1f} min: {mcs.name}, {n} bits",
                file=sys.stderr,
                flush=True,
            )
            if len(fresh[mcs.name]) == sum(other.name == mcs.name for other, _ in work.values()):
                lengths = {curve["n"] for curve in fresh[mcs.name]}
                others = [curve for curve in curves.get(mcs.name, []) if curve["n"] not in lengths]
                curves[mcs.name] = sorted([*others, *fresh[mcs.name]], key=lambda curve: curve["n"])
                write_atomically(args.output, as_text({**facts, "curves": curves}).encode())
    return 0


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
    snr_db = math.floor((limit + START_DB) / STEP_DB) * STEP_DB
    stop = snr_db + LONGEST_DB
    while snr_db <= stop:
        wrong, sent = measure_point(mcs, n, snr_db, errors, blocks, seed)
        if wrong > 0.98 * sent:
            points = []
        points.append((snr_db, wrong, sent))
        if wrong < errors / 3:
            break
        snr_db += STEP_DB
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
    batch = 64
    while wrong < errors and sent < blocks:
        bits = draws.integers(0, 2, (batch, code.k), dtype=np.uint8)
        symbols = scheme.map(code.encode(bits))
        noise = torch.from_numpy(draws.standard_normal((*symbols.shape, 2), dtype=np.float32)) * math.sqrt(noise_var / 2)
        decoded, ok = code.decode(scheme.llr(symbols + torch.view_as_complex(noise), noise_var))
        wrong += int(((np.asarray(decoded) != bits).any(1) | ~np.asarray(ok)).sum())
        sent += batch
        batch = min(2 * batch, 512)
    return wrong, sent


if __name__ == "__main__":
    sys.exit(main())
