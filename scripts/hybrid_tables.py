"""Tables of expected sizes for the hybrid codec, from training photos: ``python scripts/hybrid_tables.py FOLDER``.

For every photo a base of each of four QPs, of half the size, and none; then a mixture of Gaussians for each table
(`openjscc.models.hybrid.classes.train`). About 11 minutes for 400 photos.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from openjscc.data.images import read_image
from openjscc.digital.source import source_codec
from openjscc.models.hybrid import base as base_layer
from openjscc.models.hybrid import classes
from openjscc.models.hybrid.residual import BLOCK, COEFFICIENTS, base_levels, transform

TARGET = Path(classes.__file__).parent / "tables.npz"
FIRST_QPS = (18, 26, 34, 42)
BLOCKS = 90
"""Blocks that are looked at of each base."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="training photos")
    parser.add_argument("--limit", type=int, default=400, help="photos")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = np.random.default_rng(asked.seed)
    paths = sorted(path for path in asked.folder.rglob("*") if path.suffix in (".webp", ".png", ".jpg"))
    codec = source_codec("bpg", preset="medium")
    samples: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(classes.TABLES)]
    for path in (paths[index] for index in draw.permutation(len(paths))[: asked.limit]):
        pixels = (read_image(path).pixels * 255).round().byte().movedim(0, -1).numpy()
        photo = pixels[: pixels.shape[0] // BLOCK * BLOCK, : pixels.shape[1] // BLOCK * BLOCK]
        bases = [base_layer.made(codec, photo, int(draw.integers(first, first + 8))) for first in FIRST_QPS]
        bases += [base_layer.made(codec, photo, int(draw.integers(28, 46)), half=True), base_layer.nothing(*photo.shape[:2])]
        for base in bases:
            none = base.qp == base_layer.NO_BASE
            coefficients = transform(photo.astype(np.float32) - base.image)
            levels = np.zeros(coefficients.shape, np.uint8) if none else base_levels(base.image, base.qp)
            kept = draw.permutation(len(coefficients))[:BLOCKS]
            samples[classes.number_of(None if none else base.qp, base.half)].append((coefficients[kept], levels[kept]))
    made = {number: classes.train(some, classes.COUNT) for number, some in enumerate(samples) if some}
    of_qps = [number for number in made if number < classes.TABLES - 2]
    for number in range(classes.TABLES):
        made.setdefault(number, made[min(of_qps, key=lambda other: abs(other - number))])
    tables = [made[number] for number in range(classes.TABLES)]
    np.savez_compressed(TARGET, table=np.stack([table for table, _ in tables]), gain=np.stack([gain for _, gain in tables]))
    print(f"written: {TARGET}, {COEFFICIENTS} sizes for each of {classes.COUNT} classes in {classes.TABLES} tables")


if __name__ == "__main__":
    main()
