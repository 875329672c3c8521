"""Figures of tasks: by hand, and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from openjscc.errors import UsageError
from openjscc.metrics import METRICS
from openjscc.metrics.task import accuracy, class_entries, confusion_entries, f1, miou, pixel_accuracy

BAD_MASKS = [
    (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)),
    (torch.zeros(1, 20, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)),
    (torch.zeros(1, 21, 4, 4), torch.zeros(1, 4, 5, dtype=torch.long)),
    (torch.zeros(1, 21, 4, 4), torch.zeros(1, 4, 4)),
    (torch.full((1, 4, 4), 21), torch.zeros(1, 4, 4, dtype=torch.long)),
    (torch.zeros(1, 4, 4, dtype=torch.long), torch.full((1, 4, 4), 254)),
    (torch.full((1, 4, 4), -1), torch.zeros(1, 4, 4, dtype=torch.long)),
]


def test_classification_by_hand() -> None:
    target = torch.tensor([0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 1, 1, 1, 0])
    entries = class_entries(predicted, target)
    assert [entry.tolist() for entry in entries] == [[0, 0], [0, 1], [1, 1], [1, 1], [2, 0]]
    assert accuracy(entries) == 3 / 5
    assert f1(entries) == pytest.approx((2 / 4 + 4 / 5 + 0) / 3)
    scores = torch.nn.functional.one_hot(predicted, 4).float()
    assert np.array_equal(np.stack(class_entries(scores, target)), np.stack(entries))


def test_f1_agrees_with_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 8, (200,), generator=generator)
    predicted = torch.where(torch.rand(200, generator=generator) < 0.6, target, torch.randint(0, 9, (200,), generator=generator))
    ours = f1(class_entries(predicted, target))
    assert ours == pytest.approx(multiclass_f1_score(predicted, target, num_classes=10, average="macro").item(), abs=1e-6)


def test_segmentation_by_hand() -> None:
    target = torch.tensor([[[0, 0, 1, 255], [1, 1, 3, 255]]])
    predicted = torch.tensor([[[0, 1, 1, 20], [1, 0, 0, 20]]])
    (confusion,) = confusion_entries(predicted, target)
    assert confusion.dtype == np.int64
    assert confusion.shape == (21, 21)
    assert confusion.sum() == 6
    assert (confusion[0, 0], confusion[0, 1], confusion[1, 1], confusion[1, 0], confusion[3, 0]) == (1, 1, 2, 1, 1)
    assert pixel_accuracy([confusion]) == 3 / 6
    assert miou([confusion]) == pytest.approx((1 / 4 + 2 / 4 + 0 / 1) / 3)
    assert miou([confusion], classes=(0, 1)) == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert miou([confusion], classes=(1, 7)) == 2 / 4  # 7 occurs nowhere
    assert math.isnan(miou([confusion], classes=(7,)))


def test_miou_agrees_with_torchmetrics_and_is_of_the_whole_set() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 19, (5, 9, 11), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = 255
    scores = torch.randn(5, 21, 9, 11, generator=generator) + 2 * torch.nn.functional.one_hot(target % 21, 21).permute(0, 3, 1, 2)
    scores[:, 20] = -99.0
    theirs = multiclass_jaccard_index(scores.argmax(1), target, num_classes=21, ignore_index=255, average="macro").item()
    entries = confusion_entries(scores[:2], target[:2]) + confusion_entries(scores[2:], target[2:])
    assert miou(entries) == pytest.approx(theirs, abs=1e-6)
    assert abs(np.mean([miou([entry]) for entry in entries]) - theirs) > 1e-3
    counted = target != 255
    assert pixel_accuracy(entries) == pytest.approx((scores.argmax(1)[counted] == target[counted]).double().mean().item())


def test_void_only() -> None:
    entries = confusion_entries(torch.zeros(1, 3, 3, dtype=torch.uint8), torch.full((1, 3, 3), 255, dtype=torch.uint8))
    assert math.isnan(pixel_accuracy(entries))
    assert math.isnan(miou(entries))


def test_masks_of_bytes() -> None:
    """As read from a file: 20 * 21 does not fit into a byte."""
    mask = torch.full((1, 3, 3), 20, dtype=torch.uint8)
    (confusion,) = confusion_entries(mask, mask)
    assert confusion[20, 20] == 9


@pytest.mark.parametrize(("prediction", "target"), BAD_MASKS)
def test_masks_that_do_not_fit(prediction: torch.Tensor, target: torch.Tensor) -> None:
    with pytest.raises(UsageError):
        confusion_entries(prediction, target)


def test_labels_that_do_not_fit() -> None:
    labels = torch.tensor([1, 2])
    for prediction, target in ((torch.zeros(2), labels), (labels[:1], labels), (torch.zeros(2, 3), labels.float())):
        with pytest.raises(UsageError):
            class_entries(prediction, target)
    for reduce in (accuracy, f1, miou, pixel_accuracy):
        with pytest.raises(UsageError):
            reduce([])
    with pytest.raises(UsageError):
        miou([np.zeros((21, 21), dtype=np.int64)], classes=(21,))


def test_nine_classes() -> None:
    """Only these are averaged over, and what is mistaken for one of them counts against it."""
    target = torch.randint(0, 21, (4, 9, 9), generator=torch.Generator().manual_seed(0))
    prediction = torch.where(torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(1)) < 0.7, target, 15)
    entries = METRICS["miou_nine"].collect(prediction, target)
    of_each = [miou(entries, classes=[number]) for number in (0, 15, 8, 12, 10, 13, 17, 9, 18)]
    assert METRICS["miou_nine"].reduce(entries) == pytest.approx(np.mean(of_each))
    assert of_each[1] < 0.3 < min(of_each[2:])
    assert METRICS["miou"].reduce(entries) != METRICS["miou_nine"].reduce(entries)


@pytest.mark.parametrize("name", ["accuracy", "f1", "miou", "miou_nine", "pixel_accuracy"])
def test_rows(name: str) -> None:
    metric = METRICS[name]
    target = torch.randint(0, 5, (3, 6, 6) if metric.needs == "masks" else (3,))
    assert metric.reduce(metric.collect(target, target)) == 1.0
