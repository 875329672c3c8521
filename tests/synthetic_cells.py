"""Cells of a benchmark with given values, as if they had been measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openjscc.bench.cells import CellResult
from openjscc.bench.measure import Measured
from openjscc.bench.point import Cell, Precision
from openjscc.bench.records import Record


def result(
    system: str,
    values: np.ndarray | Sequence[float],
    trials: int = 1,
    lost: float = 0.0,
    metric: str = "psnr",
    network: str | None = None,
    **where: object,
) -> CellResult:
    """A cell with these values of its pictures, in all trials but for noise whose mean is 0; or ``(pictures, trials)``."""
    facts = {"channel": "awgn", "snr_db": 0.0, "ratio": 1 / 16, "told_snr_db": None, "seed": 0, **where}
    noise = np.linspace(-1, 1, trials) if trials > 1 else np.zeros(1)
    table = np.asarray(values)
    rows = (table if table.ndim == 2 else table[:, None] + noise).tolist()
    trials = len(rows[0])
    real = float(facts.pop("bandwidth_ratio", facts["ratio"] or 0.1))  # pyright: ignore[reportArgumentType]
    cell = Cell(system, system, None, "kodak", "", metrics=(metric,), precision=Precision(trials), **facts)  # pyright: ignore[reportArgumentType]
    record = Record(
        system=system, weight=system, metric=metric, mean=float(np.mean(values)), std=None, ci95=None, images=len(rows),
        trials=trials, bandwidth_ratio=real, parameters=None, macs_per_pixel=None, data="kodak", outage_rate=lost,
        task_network=network, **facts,
    )  # pyright: ignore[reportArgumentType]  # fmt: skip
    return CellResult(cell, (record,), Measured(values={metric if network is None else f"{metric}:{network}": rows}))
