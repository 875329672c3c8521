"""How good a reconstruction is: one table, `METRICS`. Every metric sees what a viewer sees: values rounded to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..classes import VOC_NINE, class_numbers
from ..errors import UsageError, unknown_name
from . import distribution, task
from .fidelity import ms_ssim, psnr, ssim
from .perceptual import DISTS, LPIPS, dists, lpips, lpips_vgg

__all__ = [
    "DISTS",
    "KINDS",
    "LPIPS",
    "METRICS",
    "Metric",
    "MetricFunction",
    "SetMetric",
    "dists",
    "get_metric",
    "lpips",
    "lpips_vgg",
    "ms_ssim",
    "psnr",
    "ssim",
]

MetricFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Gather = Callable[[torch.Tensor, torch.Tensor], list[np.ndarray]]
Summary = Callable[[Sequence[np.ndarray]], float]

KINDS = ("picture", "set", "task")
"""A value for each image; one value for all images; one value for all images, of predictions and labels."""


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Metrics of every kind can be used the same way: `collect` for each batch, then `reduce` of all that was collected.

    Attributes:
        name: as users write it.
        unit: of the values; empty for a pure number.
        higher_is_better: the direction.
        needs: ``weights`` where published network weights must be found or downloaded (`openjscc.metrics.backbones`); ``labels``
            or ``masks`` where a prediction is held against those; else empty.
        function: ``(x, y) -> (B,)`` of source and reconstruction, each ``(B, 3, H, W)`` in [0, 1]. A value may be infinite
            (PSNR of identical images): JSON records write null for it. Kinds other than ``picture`` have none: it raises
            UsageError.
        description: one line.
        kind: one of `KINDS`.
    """

    name: str
    unit: str
    higher_is_better: bool
    needs: str
    function: MetricFunction
    description: str
    kind: str = "picture"

    def collect(self, x: torch.Tensor, y: torch.Tensor) -> list[np.ndarray]:
        """One entry for each image, which ``np.savez`` can keep: here its value, float64 ``()``.

        Args:
            x: source; in a task, the prediction.
            y: reconstruction; in a task, the target.
        """
        return [np.asarray(value) for value in self.function(x, y).cpu().double().numpy()]

    def reduce(self, entries: Sequence[np.ndarray]) -> float:
        """The figure of all pictures: here the mean of their values."""
        if not entries:
            raise UsageError("no pictures", "give at least one")
        return float(np.mean(np.stack(list(entries))))


@dataclass(frozen=True)
class SetMetric(Metric):
    """A figure of all images together that is no mean of theirs.

    Attributes:
        gather: what `collect` does.
        summary: what `reduce` does.
        single: where the figure is the mean of values of single images after all: the value of an entry.
        additive: whether the figure depends on the sum of the entries alone.
    """

    gather: Gather = lambda x, y: []
    summary: Summary = lambda entries: float("nan")
    single: Callable[[np.ndarray], float] | None = None
    additive: bool = False

    def collect(self, x: torch.Tensor, y: torch.Tensor) -> list[np.ndarray]:
        """One entry for each image, as `Metric.collect`; its shape is the metric's own."""
        return self.gather(x, y)

    def reduce(self, entries: Sequence[np.ndarray]) -> float:
        """The figure of all images. Entries may come from several `collect`, in any order."""
        return self.summary(entries)


def _set_metric(name: str, how: tuple[Gather, Summary], description: str, needs: str = "weights") -> SetMetric:
    kind = "set" if needs == "weights" else "task"

    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        of = "predictions and labels" if kind == "task" else "all pictures together"
        each = ", ".join(metric.name for metric in METRICS.values() if metric.kind == "picture")
        raise UsageError(
            f"{name} is a figure of {of}, not of one picture", f"of one picture: {each}; in Python: collect and reduce"
        )

    single = task.is_hit if name == "accuracy" else None
    return SetMetric(name, "", kind == "task", needs, function, description, kind, *how, single, additive=needs == "masks")


_PATCHES = "of 256x256 patches"
_INCEPTION = distribution.inception_features, distribution.frechet_of_entries
_FRECHET = distribution.vgg16_features, distribution.frechet_of_entries
_KERNEL = distribution.vgg16_features, distribution.kernel_of_entries
_PIXELS, _NINE = task.confusion_entries, partial(task.miou, classes=class_numbers(VOC_NINE))

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", "dB", True, "", psnr, "peak signal-to-noise ratio of each picture at 8 bits"),
        Metric("ssim", "", True, "", ssim, "structural similarity, 11x11 Gaussian window, mean over RGB, at 8 bits"),
        Metric("ms_ssim", "", True, "", ms_ssim, "multi-scale SSIM, 5 scales, mean over RGB, at 8 bits; from 161 pixels a side"),
        Metric("lpips", "", False, "weights", lpips, "learned perceptual distance on AlexNet, heads v0.1, at 8 bits"),
        Metric("lpips_vgg", "", False, "weights", lpips_vgg, "learned perceptual distance on VGG16, heads v0.1, at 8 bits"),
        Metric("dists", "", False, "weights", dists, "structure and texture distance on VGG16, at 8 bits, without resizing"),
        _set_metric("fid", _INCEPTION, f"Frechet distance on FID's Inception network, {_PATCHES}"),
        _set_metric("fd_vgg16", _FRECHET, f"Frechet distance on VGG16's relu5_3, {_PATCHES}; not comparable with FID"),
        _set_metric("kd_vgg16", _KERNEL, f"kernel distance on VGG16's relu5_3, {_PATCHES}; not comparable with KID"),
        _set_metric("accuracy", (task.class_entries, task.accuracy), "share of pictures whose class was found", "labels"),
        _set_metric("f1", (task.class_entries, task.f1), "F1 score, mean over classes", "labels"),
        _set_metric("miou", (_PIXELS, task.miou), "intersection over union, mean over VOC's 21 classes", "masks"),
        _set_metric("miou_nine", (_PIXELS, _NINE), f"the same, mean over nine classes: {', '.join(VOC_NINE)}", "masks"),
        _set_metric("pixel_accuracy", (_PIXELS, task.pixel_accuracy), "share of pixels whose class was found", "masks"),
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
