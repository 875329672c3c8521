"""The table: every kind of metric can be used the same way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from openjscc.errors import UsageError
from openjscc.metrics import KINDS, METRICS, SetMetric, get_metric

NAMES = {
    "picture": {"psnr", "ssim", "ms_ssim", "lpips", "lpips_vgg", "dists"},
    "set": {"fid", "fd_vgg16", "kd_vgg16"},
    "task": {"accuracy", "f1", "miou", "miou_nine", "pixel_accuracy"},
}


def test_rows() -> None:
    assert {kind: {name for name, metric in METRICS.items() if metric.kind == kind} for kind in KINDS} == NAMES
    for name, metric in METRICS.items():
        assert metric.name == name
        assert get_metric(name) is metric
        assert metric.description
        assert metric.needs in ("", "weights", "labels", "masks")
        assert isinstance(metric, SetMetric) == (metric.kind != "picture")
        assert metric.higher_is_better == (metric.kind == "task" or name in ("psnr", "ssim", "ms_ssim"))
    with pytest.raises(UsageError) as caught:
        get_metric("lpisp")
    assert "lpips" in caught.value.hint


@pytest.mark.parametrize("name", sorted(NAMES["set"] | NAMES["task"]))
def test_figures_of_a_set_have_no_function(name: str) -> None:
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(UsageError) as caught:
        get_metric(name).function(x, x)
    assert name in caught.value.message
    assert "psnr" in caught.value.hint


def test_a_metric_of_pictures_collects_its_values(tmp_path: Path) -> None:
    x = torch.rand(5, 3, 16, 16)
    y = (x + 0.1).clamp(0, 1)
    metric = get_metric("ssim")
    entries = metric.collect(x[:2], y[:2]) + metric.collect(x[2:], y[2:])
    assert len(entries) == 5
    assert metric.reduce(entries) == pytest.approx(float(metric.function(x, y).double().mean()), abs=1e-9)
    np.savez(tmp_path / "entries.npz", *entries)
    with np.load(tmp_path / "entries.npz") as kept:
        assert metric.reduce(list(kept.values())) == metric.reduce(entries)
    assert get_metric("psnr").reduce(get_metric("psnr").collect(x, x)) == math.inf
    with pytest.raises(UsageError):
        metric.reduce([])
