"""Paired differences: closed forms, intervals that hold their promise, and what is not compared."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from openjscc.bench.cells import CellResult
from openjscc.bench.differences import difference, difference_between
from openjscc.bench.measure import Measured
from openjscc.bench.point import Cell, Precision
from openjscc.bench.statistics import half_width_95
from openjscc.errors import UsageError

CELL = Cell("a", "a", None, "kodak", "1f", "awgn", 1 / 16, 10.0, None, ("psnr",), Precision(2), 0)


def test_what_both_find_hard_cancels() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(30, 5, (24, 1)) + rng.normal(0, 1, (24, 3))
    found = difference(hard + 0.5, hard)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (found.pictures, found.trials) == (24, 3)
    back = difference(hard, hard + 0.5)
    assert back.value == pytest.approx(-0.5)


def test_a_known_table() -> None:
    found = difference([[3.0, 1.0], [5.0, 5.0], [9.0, 9.0]], [[1.0, 1.0], [2.0, 4.0], [6.0, 6.0]])  # means 1, 2, 3
    half = half_width_95([1.0, 2.0, 3.0])
    assert half is not None
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    one = difference([[3.0]], [[1.0]])
    assert (one.value, one.low, one.high) == (2.0, None, None)


def test_a_known_table_of_shares() -> None:
    a = [[1.0]] * 7 + [[0.0]] * 3
    b = [[1.0]] * 4 + [[0.0]] * 5 + [[1.0]]  # three pictures only A finds, one only B
    found = difference(a, b, share=True)
    half = 1.959963984540054 * math.sqrt(3.5 + 1.5 - (3.5 - 1.5) ** 2 / 12) / 12
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 2 / 12 - half, 2 / 12 + half))
    alike = difference(a, a, share=True)
    assert alike.value == 0
    assert alike.low == pytest.approx(-1.959963984540054 / 12)
    assert difference([[1.0]] * 3, [[0.0]] * 3, share=True).high == 1


@pytest.mark.parametrize(("pictures", "trials"), [(3, 1), (8, 4), (24, 1)])
def test_the_interval_holds_its_promise(pictures: int, trials: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        hard = rng.normal(30, 4, (pictures, 1)) + rng.normal(0, 0.5, (pictures, trials))
        better = 0.3 + rng.normal(0, 0.2, (pictures, 1)) + rng.normal(0, 0.1, (pictures, trials))
        found = difference(hard + better, hard)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.3 <= found.high
    assert 0.93 < held / 1000 < 0.97


@pytest.mark.parametrize(("pictures", "trials", "both"), [(10, 1, 0.5), (30, 1, 0.9), (100, 1, 0.97), (30, 5, 0.7)])
def test_the_interval_of_shares_holds_its_promise(pictures: int, trials: int, both: float) -> None:
    """Both are right with the chance ``both``, A alone in 2/3 of the other cases; those chances vary with the picture."""
    rng = np.random.default_rng(2)
    truth = (1 - both) / 3
    held = 0
    for _ in range(2000):
        chance = both + (1 - both) * rng.uniform(-0.9, 0.9, (pictures, 1))
        case, split = rng.uniform(size=(2, pictures, trials))
        alike = case < chance
        found = difference(alike | (split < 2 / 3), alike | (split >= 2 / 3), share=True)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held / 2000 > 0.935


def test_cells_of_a_benchmark() -> None:
    rows = [[30.0, 31.0], [33.0, 34.0]]
    a = CellResult(CELL, (), Measured(values={"psnr": rows}))
    b = CellResult(dataclasses.replace(CELL, system="b"), (), Measured(values={"psnr": [[29.0, 30.0], [32.0, 32.0]]}))
    assert difference_between(a, b).value == pytest.approx(1.25)
    free = dataclasses.replace(b, cell=dataclasses.replace(CELL, ratio=None))
    assert difference_between(a, free).value == pytest.approx(1.25), "a system that chooses its ratio"
    for change in ({"snr_db": 12.0}, {"seed": 1}, {"data_sha256": "2e"}, {"channel": "rayleigh:block"}, {"ratio": 1 / 6}):
        with pytest.raises(UsageError, match=next(iter(change))):
            difference_between(a, dataclasses.replace(b, cell=dataclasses.replace(CELL, **change)))
    with pytest.raises(UsageError, match="0 tables of ssim"):
        difference_between(a, b, "ssim")
    with pytest.raises(UsageError, match="0 tables"):
        difference_between(a, dataclasses.replace(b, measured=None))


def test_of_task_networks_one_is_named() -> None:
    right, wrong = [[1.0]] * 4, [[1.0], [1.0], [0.0], [0.0]]
    a = CellResult(CELL, (), Measured(values={"accuracy:x": right, "accuracy:y": right}))
    b = CellResult(CELL, (), Measured(values={"accuracy:x": wrong, "accuracy:y": right}))
    assert difference_between(a, b, "accuracy", "x").value == 0.5
    assert difference_between(a, b, "accuracy", "y").value == 0
    with pytest.raises(UsageError, match="2 tables of accuracy"):
        difference_between(a, b, "accuracy")


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([[1.0]], [[1.0], [2.0]]), ([[1.0, 2.0]], [[1.0]]), ([1.0], [1.0]), ([[math.inf]], [[1.0]]), ([[None]], [[1.0]])],
)
def test_what_is_no_pair_is_refused(a: list, b: list) -> None:
    with pytest.raises(UsageError):
        difference(a, b)
