"""PSNR of the hybrid codec by share of its base, with and without a class map: ``python scripts/hybrid_shares.py FOLDER``.

`SHARES` of the codec come from this record, on training photos. The base is taken to arrive; the analog layer goes through AWGN.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from openjscc import load
from openjscc.codec import Conditions
from openjscc.data.images import read_image
from openjscc.models.hybrid import base as base_layer
from openjscc.models.hybrid.codec import FIXED_BYTES, SCHEMES, SHARE_SNRS, SHARES, Hybrid, HybridConfig, _gain
from openjscc.models.hybrid.network import network_inputs
from openjscc.models.hybrid.symbols import digital_uses, least_share

TARGET = Path(__file__).parents[1] / "results" / "training" / "trials" / "hybrid-shares.csv"
TRIED = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
LONGEST = 640
"""Photos are cut to so many pixels a side."""
HEAD_USES = 200
"""About so many channel uses has a header."""
FIELDS = ("photo", "ratio", "snr_db", "share", "mapped", "digital", "qp", "psnr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="training photos")
    parser.add_argument("--limit", type=int, default=12, help="photos")
    parser.add_argument("--weight", help="with the network of this weight; without: the linear estimate")
    asked = parser.parse_args()
    paths = sorted(path for path in asked.folder.rglob("*") if path.suffix in (".webp", ".png", ".jpg"))
    chosen = np.random.default_rng(0).permutation(len(paths))[: asked.limit]
    codec = load(asked.weight) if asked.weight else Hybrid(HybridConfig())
    assert isinstance(codec, Hybrid)
    codec.net = "full" if asked.weight else "none"
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for path in (paths[number] for number in chosen.tolist()):
            writer.writerows([path.name, *row] for row in _rows(codec.eval(), path))
            file.flush()
    _show()


def _rows(codec: Hybrid, path: Path) -> Iterator[list[object]]:
    pixels = (read_image(path).pixels * 255).round().byte().movedim(0, -1).numpy()
    photo = base_layer.padded(np.ascontiguousarray(pixels[:LONGEST, :LONGEST]))
    for ratio in SHARES:
        uses = round(ratio * photo.size) - HEAD_USES
        for snr_db in SHARE_SNRS:
            index = codec._choose(uses, snr_db, Conditions())
            for share in TRIED:
                base = codec._base(photo, SCHEMES[index], uses, FIXED_BYTES, share)
                for mapped in (True, False):
                    found = _psnr(codec, photo, base, index, uses, snr_db, mapped)
                    if found:
                        yield [f"{ratio:.4f}", snr_db, share, int(mapped), f"{found[0]:.3f}", base.qp, f"{found[1]:.3f}"]


def _psnr(
    codec: Hybrid, photo: np.ndarray, base: base_layer.Base, index: int, uses: int, snr_db: float, mapped: bool
) -> tuple[float, float] | None:
    """Digital share and PSNR in dB; None where the digital part does not fit, or has no map though one was asked for."""
    residual = codec._classified(photo, base, mapped=mapped)
    number = least_share(SCHEMES[index], uses, FIXED_BYTES + len(base.data) + len(residual.map or b""))
    if number is None or (residual.map is not None) != mapped:
        return None
    layers = codec._layers(base, residual, 2 * (uses - digital_uses(number, uses)), snr_db)
    count, gain = len(layers.plan.chosen), _gain(layers.gain_index)
    noise = 10 ** (-snr_db / 10) / gain**2
    received = layers.symbols[:count] + np.random.default_rng(0).normal(0, math.sqrt(noise), count)
    with torch.inference_mode():
        image = codec._restored(*network_inputs(base, layers.plan, received, np.full(count, noise)))
    error = (image[0].clamp(0, 1) * 255).round().movedim(0, -1).double().numpy() - photo
    return number / 2**12, 10 * math.log10(255**2 / np.mean(error**2))


def _show() -> None:
    """Mean PSNR, a line for each ratio and SNR: by share; then of the best for each photo; and what maps give by share."""
    values: dict[tuple[str, str], dict[tuple[str, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    with TARGET.open(newline="") as file:
        for row in csv.DictReader(file):
            values[row["ratio"], row["snr_db"]][row["photo"], row["share"]][row["mapped"]] = float(row["psnr"])
    for (ratio, snr_db), cells in values.items():
        best: dict[str, dict[str, float]] = defaultdict(dict)
        maps: dict[str, list[float]] = defaultdict(list)
        for (photo, share), both in cells.items():
            best[photo][share] = max(both.values())
            if len(both) == 2:
                maps[share].append(both["1"] - both["0"])
        means = [f"{np.mean([of.get(str(share), math.nan) for of in best.values()]):.2f}" for share in TRIED]
        free = np.mean([max(of.values()) for of in best.values()])
        given = [f"{np.mean(maps[str(share)]):+.2f}" if maps[str(share)] else "" for share in TRIED]
        print(f"{ratio} {float(snr_db):4g} dB: {'  '.join(means)}; best of each {free:.2f}; maps {'  '.join(given)}")


if __name__ == "__main__":
    main()
