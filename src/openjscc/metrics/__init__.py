"""How good a reconstruction is: one table, `METRICS`. Every metric sees what a viewer sees: values rounded to 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..errors import unknown_name
from .fidelity import psnr, ssim

__all__ = ["METRICS", "Metric", "MetricFunction", "get_metric", "psnr", "ssim"]

MetricFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
        name: as users write it.
        unit: of the values; empty for a pure number.
        higher_is_better: the direction.
        needs: the extra that it takes (``pip install openjscc[EXTRA]``), or empty.
        function: ``(x, y) -> (B,)`` of source and reconstruction, each ``(B, 3, H, W)`` in [0, 1]. A value may be infinite
            (PSNR of identical pictures): JSON records write null for it.
        description: one line.
    """

    name: str
    unit: str
    higher_is_better: bool
    needs: str
    function: MetricFunction
    description: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", "dB", True, "", psnr, "peak signal-to-noise ratio of each picture at 8 bits"),
        Metric("ssim", "", True, "", ssim, "structural similarity, 11x11 Gaussian window, mean over RGB, at 8 bits"),
    )
}


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UsageError: there is none; the hint has the near misses.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
