"""How many headers are lost: over AWGN and block Rayleigh fading, for every form that there is.

    python benchmarks/header.py [--frames 100000] [-o results/header.json]

`header` rows are losses of `openjscc.header.HeaderFormat.read` over simulated channels, with errors that its check missed beside
them. `code` rows compare codes for the 72 bits of the photo models' header at 0 dB: the polar code with list decoding, and the
5G NR LDPC code of the digital links, whose parity check is its check.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from openjscc.bench.provenance import commit, device_name, versions
from openjscc.channels import make_channel
from openjscc.codec import Conditions, Side
from openjscc.digital.coding import nr
from openjscc.header import LAYOUTS, HeaderFormat
from openjscc.polar import LIST

AT_ONCE = 1000
FORMS: dict[str, tuple[HeaderFormat, tuple[int, int]]] = {
    "learned": (HeaderFormat(0x1234, rates=5, scale=True), (512, 768)),
    "learned, side above 1024": (HeaderFormat(0x1234, rates=5, scale=True), (1500, 2000)),
    "digital": (HeaderFormat(0x1234, rates=28, counts_uses=True), (512, 768)),
    "digital, side above 1024": (HeaderFormat(0x1234, rates=28, counts_uses=True), (1500, 2000)),
    "short": (HeaderFormat(0x1234, (32, 32), rates=28), (32, 32)),
    "short, with a scale": (HeaderFormat(0x1234, (32, 32), rates=5, scale=True), (32, 32)),
}
SNRS = (-4.0, -2.0, 0.0, 2.0)
FADING_SNRS = (0.0, 5.0, 10.0, 15.0)
LARGE_SNRS: dict[str, tuple[float, ...]] = {"awgn": (-2.0, 0.0), "rayleigh:block": ()}


def losses(name: str, channel: str, snr_db: float, told: bool, frames: int, seed: int) -> dict[str, object]:
    """Lost and wrong headers of ``frames``. ``told``: the transmitter knows SNR and channel, and repeats a full header below
    0 dB or under fading."""
    form, (height, width) = FORMS[name]
    law = make_channel(channel)
    random = np.random.default_rng((seed, round(10 * snr_db) + 1000, told, sorted(FORMS).index(name), len(channel)))
    lost = wrong = 0
    for start in range(0, frames, AT_ONCE):
        batch = min(AT_ONCE, frames - start)
        rate = torch.from_numpy(random.integers(0, form.rates, batch))
        scale = form.quantize(torch.from_numpy(10 ** random.uniform(-1, 1, batch)).float(), height, width)
        side = Side(height, width, rate=rate, scale=scale if form.scale else None)
        known = torch.full((batch,), snr_db) if told else None
        conditions = Conditions(known, fades=told and law.fades)
        payload = torch.ones(batch, 236, dtype=torch.complex64)
        frame = form.frame(payload, torch.full((batch,), 236), side, conditions)
        read, ok = form.read(law(frame, snr_db, random))
        lost += int((~ok).sum())
        if read is not None and read.rate is not None:
            same = (read.rate == rate) & (read.height == height) & (read.width == width)
            same &= read.scale == scale if form.scale else True
            wrong += int((ok & ~same).sum())
    uses = form.uses(height, width, snr_db if told else None, told and law.fades)
    row = {"form": name, "channel": channel, "snr_db": snr_db, "told": told, "uses": uses, "frames": frames}
    return row | {"lost": lost, "loss_rate": lost / frames, "wrong": wrong}


def code_losses(code: str, n: int, frames: int, seed: int) -> dict[str, object]:
    """Lost blocks of 72 bits in n coded bits of QPSK at 0 dB."""
    layout = LAYOUTS[0]
    k = layout.code.k
    random = np.random.default_rng((seed, n))
    ldpc = None if code == "polar" else nr(k, n, 2)
    bad = 0
    for start in range(0, frames, AT_ONCE):
        batch = min(AT_ONCE, frames - start)
        bits = random.integers(0, 2, (batch, k)).astype(np.uint8)
        coded = layout.code.encode(bits) if ldpc is None else ldpc.encode(bits)
        received = (1 - 2.0 * coded) * math.sqrt(0.5) + random.normal(size=coded.shape) * math.sqrt(0.5)
        llr = (2 * math.sqrt(2) * received).astype(np.float32)
        if ldpc is None:
            found, _ = layout.code.decode(llr, lambda paths, bits=bits: (paths == bits[:, None]).all(2))
        else:
            found, _ = ldpc.decode(llr, iterations=50)
        bad += int((found != bits).any(1).sum())
    return {"code": code, "bits": k, "uses": n // 2, "snr_db": 0.0, "frames": frames, "lost": bad, "loss_rate": bad / frames}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/header.json"))
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name in FORMS:
        for channel, snrs in (("awgn", SNRS), ("rayleigh:block", FADING_SNRS)):
            for snr_db in snrs if "above" not in name else LARGE_SNRS[channel]:
                told = [True]
                if name == "learned" and (snr_db < 0 or channel != "awgn"):
                    told.append(False)  # elsewhere the same: a header is sent once
                for known in told:
                    main_form = known and (name == "learned" or "short" in name)
                    frames = arguments.frames if main_form else arguments.frames // 5
                    rows.append(losses(name, channel, snr_db, known, frames, arguments.seed))
                    print(rows[-1], flush=True)
    codes = [code_losses("polar", 248, arguments.frames, arguments.seed)]
    codes += [code_losses("5G NR LDPC", n, arguments.frames // 5, arguments.seed) for n in (248, 288, 328, 360)]
    for row in codes:
        print(row)
    about = {"list": LIST, "seed": arguments.seed, "device": device_name(), "versions": versions(), "commit": commit()}
    content = json.dumps(about | {"header": rows, "code": codes}, indent=1)
    arguments.output.write_text(content + "\n")


if __name__ == "__main__":
    main()
