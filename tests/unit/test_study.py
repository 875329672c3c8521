"""Packaged studies, and what a study's page says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openjscc.bench.anchors import read_anchors
from openjscc.bench.study import load_study, packaged_studies, published_points
from openjscc.bench.study_page import _duration
from openjscc.bench.study_plan import plan_study
from openjscc.bench.study_sections import BenchSection
from openjscc.errors import UsageError


@pytest.fixture
def data(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """Two pictures under the names that the packaged studies need, and a little of CIFAR-10."""
    (tmp_path / "kodak").mkdir()
    for number in (1, 23):
        make_picture(tmp_path / "kodak" / f"kodim{number:02d}.png", 768, 512, seed=number)
    (tmp_path / "cifar10").mkdir()
    x, y = np.zeros((3, 32, 32, 3), np.uint8), np.zeros(3, np.int64)
    np.savez(tmp_path / "cifar10" / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return tmp_path


@pytest.mark.parametrize("name", packaged_studies())
def test_packaged_studies_load_and_plan(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import grid, sweep

    for module in (grid, sweep):
        monkeypatch.setattr(module, "check_metrics", lambda names: None)
    monkeypatch.delenv("OPENJSCC_WEIGHTS", raising=False)
    study = load_study(name)
    plan = plan_study(study, data)
    asked = sum(len(bench.systems) * len(bench.channel) * len(set(bench.snr_db)) * len(bench.ratios) for bench in study.bench)
    assert len(plan.cells) == asked
    assert len(plan.strips) == len(study.strip)
    assert {cell.system for cell in plan.cells} >= {"adjscc", "bpg-ldpc"}
    assert set(study.names) >= {cell.system for cell in plan.cells}
    assert study.title
    assert study.paper


def test_published_points_come_with_the_package() -> None:
    assert len(read_anchors(published_points())) > 40


def test_ratios_are_texts_or_numbers() -> None:
    bench = BenchSection(("adjscc",), (1.0,), ratio=("1/16", 0.0625, "1/6"))
    assert bench.ratios == (1 / 16, 1 / 6)
    assert dataclasses.replace(bench, ratio=()).ratios == (None,)
    for wrong in (True, [1], "x", 0, "99"):
        with pytest.raises(UsageError):
            dataclasses.replace(bench, ratio=(wrong,))


def test_durations() -> None:
    assert [_duration(value) for value in (5, 119, 3954, 9000, None)] == ["5 s", "119 s", "66 min", "2.5 h", "-"]
