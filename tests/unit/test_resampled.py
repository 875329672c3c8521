"""Intervals of figures of all pictures together (mIoU, pixel accuracy): resamples of the pictures, paired between systems."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from openjscc.bench.cells import CellResult
from openjscc.bench.differences import difference_between
from openjscc.bench.measure import Measured
from openjscc.bench.statistics import RESAMPLES, between_95, half_width_95, resampled
from openjscc.errors import UsageError
from openjscc.metrics.task import confusion_entries, miou, pixel_accuracy
from openjscc.studies.differences import difference_table
from openjscc.studies.differences_page import difference_page
from openjscc.studies.sections import DifferenceSection, GainSection
from synthetic_cells import result

PICTURES, PIXELS = 60, 400


def counted(right: float, seed: int, easy: np.ndarray | None = None) -> list[list[np.ndarray]]:
    """Entries ``(pictures, 1)`` of masks of two classes, of which about that share is found; harder in some pictures."""
    generator = np.random.default_rng(seed)
    easy = np.random.default_rng(0).uniform(-0.2, 0.2, PICTURES) if easy is None else easy
    truth = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (PICTURES, 20, 20)))
    hit = torch.from_numpy(generator.uniform(size=(PICTURES, 20, 20)) < (right + easy)[:, None, None])
    return [[entry] for entry in confusion_entries(torch.where(hit, truth, 1 - truth), truth)]


def cell(system: str, entries: list[list[np.ndarray]], metric: str = "miou") -> CellResult:
    reduce = {"miou": miou, "pixel_accuracy": pixel_accuracy}[metric]
    measured = Measured(collected={metric: entries})
    measured.resample()
    mean = reduce([row[0] for row in entries])
    there = result(system, np.full(PICTURES, mean), metric=metric)
    return CellResult(there.cell, there.records, dataclasses.replace(measured, collected={}))


def test_resamples_are_those_of_the_pictures() -> None:
    entries = counted(0.6, 2)
    found = resampled(entries, miou)
    draws = np.random.default_rng(0).integers(0, PICTURES, (RESAMPLES, PICTURES))
    for number in (0, 17, RESAMPLES - 1):
        assert found[number] == pytest.approx(miou([entries[place][0] for place in draws[number]]), abs=1e-12)


def test_trials_are_averaged() -> None:
    one, other = counted(0.6, 2), counted(0.7, 3)
    both = [[a[0], b[0]] for a, b in zip(one, other, strict=True)]
    assert resampled(both, miou) == pytest.approx((resampled(one, miou) + resampled(other, miou)) / 2)


def test_the_interval_is_the_normal_one_where_a_figure_is_a_mean() -> None:
    """Pictures of one size: their pixel accuracy is a mean, of which Student's t knows the interval."""
    entries = counted(0.7, 2)
    bounds = between_95(resampled(entries, pixel_accuracy))
    expected = half_width_95([pixel_accuracy(row) for row in entries])
    assert bounds is not None
    assert expected is not None
    assert (bounds[1] - bounds[0]) / 2 == pytest.approx(expected, rel=0.1)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for number in range(60):
        bounds = between_95(resampled(counted(0.7, number, generator.uniform(-0.2, 0.2, PICTURES)), pixel_accuracy))
        assert bounds is not None
        held += bounds[0] <= 0.7 <= bounds[1]
    assert 52 <= held <= 60


def test_pairs_are_surer_than_either() -> None:
    a, b = cell("a", counted(0.72, 2)), cell("b", counted(0.7, 3))
    found = difference_between(a, b, "miou")
    alone = between_95(a.measured.replicates["miou"]) if a.measured is not None else None
    assert found.value == pytest.approx((a.records[0].mean or 0) - (b.records[0].mean or 0))
    assert found.low is not None
    assert found.high is not None
    assert alone is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.5 * (alone[1] - alone[0])
    back = difference_between(b, a, "miou")
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_a_table_of_it() -> None:
    section = DifferenceSection("pixel_accuracy", ("a",), "b")
    cells = [cell("a", counted(0.8, 2), "pixel_accuracy"), cell("b", counted(0.6, 3), "pixel_accuracy")]
    page = difference_page(difference_table(section, cells), {})
    assert "in points (hundredths); higher is better; the interval: 1,000 resamples of the pictures (bootstrap)." in page
    assert "| a | +2" in page


def test_headings_say_miou() -> None:
    section = DifferenceSection("miou", ("a",), "b")
    page = difference_page(difference_table(section, [cell("a", counted(0.8, 2)), cell("b", counted(0.6, 3))]), {})
    assert page.startswith("### mIoU ↑ above b\n\nmIoU of a system")


def test_what_cannot_be_compared() -> None:
    a, b = cell("a", counted(0.72, 2)), cell("b", counted(0.7, 3))
    with pytest.raises(UsageError, match="no miou in both"):
        difference_between(a, CellResult(b.cell, (), b.measured), "miou")
    fewer = CellResult(b.cell, (dataclasses.replace(b.records[0], images=5),), b.measured)
    with pytest.raises(UsageError, match="5 pictures"):
        difference_between(a, fewer, "miou")
    old = CellResult(b.cell, b.records, Measured())
    assert difference_between(a, old, "miou").low is None
    with pytest.raises(UsageError, match="not one of single pictures"):
        partial(GainSection, "miou", ("a",), "b")()


def test_one_picture_has_no_interval() -> None:
    measured = Measured(collected={"miou": counted(0.7, 2)[:1]})
    measured.resample()
    assert measured.replicates == {}
    assert between_95([0.1, float("nan")]) is None
