"""Tables of expected sizes for the hybrid codec, from training photos: ``python scripts/hybrid_tables.py FOLDER``.

For every photo a base of each of four QPs, of half the size, and none; then a mixture of Gaussians for each table
(`openjscc.models.hybrid.classes.train`). About 9 minutes on two cores for 400 photos.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
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

Sample = tuple[int, np.ndarray, np.ndarray]
"""Number of the table, coefficients, levels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="training photos")
    parser.add_argument("--limit", type=int, default=400, help="photos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    paths = sorted(path for path in asked.folder.rglob("*") if path.suffix in (".webp", ".png", ".jpg"))
    chosen = np.random.default_rng(asked.seed).permutation(len(paths))[: asked.limit].tolist()
    samples: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(classes.TABLES)]
    with ProcessPoolExecutor(asked.jobs) as pool:
        for found in pool.map(_samples, [paths[number] for number in chosen], [[asked.seed, number] for number in chosen]):
            for number, coefficients, levels in found:
                samples[number].append((coefficients, levels))
    made = {number: classes.train(some, classes.COUNT) for number, some in enumerate(samples) if some}
    of_qps = [number for number in made if number < classes.TABLES - 2]
    for number in range(classes.TABLES):
        made.setdefault(number, made[min(of_qps, key=lambda other: abs(other - number))])
    fields = classes.Tables._fields
    np.savez_compressed(TARGET, **{name: np.stack([getattr(made[at], name) for at in range(classes.TABLES)]) for name in fields})
    print(f"written: {TARGET}, {COEFFICIENTS} sizes for each of {classes.COUNT} classes in {classes.TABLES} tables")


def _samples(path: Path, seed: list[int]) -> list[Sample]:
    draw = np.random.default_rng(seed)
    codec = source_codec("bpg", preset=base_layer.PRESET)
    pixels = (read_image(path).pixels * 255).round().byte().movedim(0, -1).numpy()
    photo = pixels[: pixels.shape[0] // BLOCK * BLOCK, : pixels.shape[1] // BLOCK * BLOCK]
    bases = [base_layer.made(codec, photo, int(draw.integers(first, first + 8))) for first in FIRST_QPS]
    bases += [base_layer.made(codec, photo, int(draw.integers(28, 46)), half=True), base_layer.nothing(*photo.shape[:2])]
    samples = []
    for base in bases:
        none = base.qp == base_layer.NO_BASE
        coefficients = transform(photo.astype(np.float32) - base.image)
        levels = np.zeros(coefficients.shape, np.uint8) if none else base_levels(base.image, base.qp)
        kept = draw.permutation(len(coefficients))[:BLOCKS]
        samples.append((classes.number_of(None if none else base.qp, base.half), coefficients[kept], levels[kept]))
    return samples


if __name__ == "__main__":
    main()
