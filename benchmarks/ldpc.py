"""Speed of the LDPC codes beside Sionna's: information Mbit/s of encoder, demapper and decoder, on the same LLRs in one run.

    python benchmarks/ldpc.py [--blocks 1000] [--sionna-blocks 40] [--repeats 3] [--iterations 30] [--json]

Points: in the waterfall (BLER of 0.1 to 0.3, and about 0.01) and 1 dB above. Our decoder has all the blocks, Sionna's the first
of them; both use all cores, times are the best of the repeats. Sionna runs its default flooding schedule with 20 iterations and
the fastest of its check-node rules whose BLER on the first point is within a quarter of that of its best rule. The times of both
are taken in turns. Needs `pip install sionna-no-rt==2.2.0` for the comparison; the columns are left out without it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from openjscc.digital.coding import BlockCode, ieee80211n, nr
from openjscc.digital.modulation import get_modulation
from openjscc.units import noise_var_from_snr

MODULATION = "16qam"
SIONNA_ITERATIONS = 20
SIONNA_RULES = ("boxplus-phi", "boxplus", "offset-minsum", "minsum")
CODES: dict[str, tuple[Callable[[], BlockCode], tuple[float, ...]]] = {
    "802.11n (1458,1944)": (lambda: ieee80211n("3/4"), (10.25, 10.65, 11.65)),
    "5G NR (4096,6144)": (lambda: nr(4096, 6144, 4), (8.75, 8.9, 9.9)),
}

Decoder = Callable[[np.ndarray], np.ndarray]


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """Shortest time of ``run``."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def sionna_decoder(code: BlockCode, rule: str) -> Decoder:
    """LLRs float32 ``(B, n)`` to information bits; Sionna's LLRs are log P(1)/P(0)."""
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder, LDPCBPDecoder

    if code.name.startswith("5G"):
        encoder = LDPC5GEncoder(code.k, code.n, num_bits_per_symbol=get_modulation(MODULATION).bits_per_symbol, device="cpu")
        decoder = LDPC5GDecoder(encoder, cn_update=rule, num_iter=SIONNA_ITERATIONS, device="cpu")
    else:
        decoder = LDPCBPDecoder(code.parity_check_matrix(), cn_update=rule, num_iter=SIONNA_ITERATIONS, device="cpu")
    return lambda llr: decoder(torch.from_numpy(-llr)).numpy()[:, : code.k].astype(np.uint8)


def fastest_rule(code: BlockCode, bits: np.ndarray, llr: np.ndarray) -> tuple[str, Decoder]:
    """The fastest of Sionna's rules with a BLER of at most 1.25 times that of the best one."""
    found: list[tuple[float, float, str, Decoder]] = []
    for rule in SIONNA_RULES:
        decode = sionna_decoder(code, rule)
        bler = float((decode(llr) != bits).any(1).mean())
        seconds = best_seconds(lambda decode=decode: decode(llr), 2)
        found.append((seconds, bler, rule, decode))
        print(f"{code.name}: Sionna {rule}: BLER {bler:.3f}, {seconds:.2f} s", file=sys.stderr)
    least = min(bler for _, bler, _, _ in found)
    seconds, bler, rule, decode = min((entry for entry in found if entry[1] <= 1.25 * least), key=lambda entry: entry[0])
    return rule, decode


def measure(name: str, options: argparse.Namespace, sionna: bool) -> list[dict[str, object]]:
    """One row per SNR."""
    make, points = CODES[name]
    code, modulation = make(), get_modulation(MODULATION)
    source = np.random.default_rng(0)
    rule, decode_sionna = "", None
    rows: list[dict[str, object]] = []
    for snr_db in points:
        bits = source.integers(0, 2, (options.blocks, code.k), dtype=np.uint8)
        information = bits.size / 1e6
        encode = best_seconds(lambda bits=bits: code.encode(bits), options.repeats)
        symbols = modulation.map(code.encode(bits))
        noise_var = float(noise_var_from_snr(snr_db))
        noise = torch.randn(symbols.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
        received = symbols + noise_var**0.5 * noise
        demap = best_seconds(lambda received=received, v=noise_var: modulation.llr(received, v, method="exact"), options.repeats)
        llr = modulation.llr(received, noise_var, method="exact").numpy()
        decoded, ok = code.decode(llr, options.iterations)
        wrong = (decoded != bits).any(1)
        row: dict[str, object] = {
            "code": code.name,
            "modulation": MODULATION,
            "snr_db": snr_db,
            "blocks": options.blocks,
            "iterations": options.iterations,
            "bler": float(wrong.mean()),
            "undetected": int((wrong & ok).sum()),
            "encode_mbit_s": round(information / encode, 1),
            "demap_mbit_s": round(information / demap, 1),
        }
        some = slice(0, options.sionna_blocks)
        if sionna and decode_sionna is None:
            rule, decode_sionna = fastest_rule(code, bits[some], llr[some])
        ours, theirs = [], []
        for _ in range(options.repeats):
            ours.append(best_seconds(lambda llr=llr: code.decode(llr, options.iterations), 1))
            if decode_sionna:
                theirs.append(best_seconds(lambda llr=llr[some], decode=decode_sionna: decode(llr), 1))
        row["decode_mbit_s"] = round(information / min(ours), 2)
        if decode_sionna:
            speed = code.k * len(llr[some]) / min(theirs) / 1e6
            row |= {
                "sionna_rule": rule,
                "sionna_blocks": len(llr[some]),
                "sionna_bler": float((decode_sionna(llr[some]) != bits[some]).any(1).mean()),
                "bler_same_blocks": float(wrong[some].mean()),
                "sionna_decode_mbit_s": round(speed, 3),
                "ratio": round(information / min(ours) / speed, 1),
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the LDPC codes beside Sionna's.")
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--sionna-blocks", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    sionna = importlib.util.find_spec("sionna") is not None
    if not sionna:
        print("hint: pip install sionna-no-rt==2.2.0 for the comparison", file=sys.stderr)
    rows = [row for name in CODES for row in measure(name, options, sionna)]
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}))
        return
    print(
        "code                 Es/N0    BLER   encode   demap  decode"
        + ("   Sionna  ratio  BLER on the same (ours)" if sionna else "")
    )
    for row in rows:
        line = f"{row['code']:20} {row['snr_db']:6} {row['bler']:7.4f} {row['encode_mbit_s']:8} {row['demap_mbit_s']:7}"
        line += f" {row['decode_mbit_s']:7}"
        if sionna:
            line += f" {row['sionna_decode_mbit_s']:8} {row['ratio']:6}  {row['sionna_bler']:.3f} ({row['bler_same_blocks']:.3f})"
            line += f" {row['sionna_rule']}"
        print(line)
    print(f"speeds in information Mbit/s, {torch.get_num_threads()} threads, our decoder at most {options.iterations} iterations")


if __name__ == "__main__":
    main()
