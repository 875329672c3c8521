"""How well a task is done at the receiver: classification and segmentation.

Each image gives an entry (`class_entries`, `confusion_entries`), and the figure is taken over all of them at the end, so that
it is exact for the whole set: the mean of the images' mIoUs would be another number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..classes import VOC, VOID
from ..errors import UsageError

VOC_CLASSES = len(VOC)


def class_entries(prediction: torch.Tensor, target: torch.Tensor) -> list[np.ndarray]:
    """What each image was taken for.

    Args:
        prediction: scores ``(B, K)`` (the largest wins) or class numbers, integers ``(B,)``.
        target: class numbers, integers ``(B,)``.

    Returns:
        int64 ``(2,)`` per picture: target, prediction.

    Raises:
        UsageError: other shapes or types.
    """
    predicted = prediction.argmax(dim=1) if prediction.ndim == 2 and prediction.is_floating_point() else prediction
    if predicted.ndim != 1 or predicted.shape != target.shape or not (_whole(predicted) and _whole(target)):
        raise UsageError(
            f"prediction {_description(prediction)} for labels {_description(target)}",
            "expected scores (B, K) or class numbers (B,), and integer labels (B,)",
        )
    return list(torch.stack([target, predicted.to(target.device)], dim=1).to(torch.int64).cpu().numpy())


def confusion_entries(
    prediction: torch.Tensor, target: torch.Tensor, *, classes: int = VOC_CLASSES, void: int = VOID
) -> list[np.ndarray]:
    """Which pixels were taken for what.

    Args:
        prediction: scores ``(B, classes, H, W)`` (the largest wins) or class numbers, integers ``(B, H, W)``.
        target: class numbers, integers ``(B, H, W)``; pixels of ``void`` do not count.
        classes: how many there are, numbered from 0.
        void: the number that stands for no class.

    Returns:
        int64 ``(classes, classes)`` per picture: pixels by target (row) and prediction (column).

    Raises:
        UsageError: other shapes or types, a class number outside ``0 .. classes - 1``.
    """
    of_scores = prediction.ndim == 4 and prediction.is_floating_point() and prediction.shape[1] == classes
    predicted = prediction.argmax(dim=1) if of_scores else prediction
    if predicted.ndim != 3 or predicted.shape != target.shape or not (_whole(predicted) and _whole(target)):
        raise UsageError(
            f"prediction {_description(prediction)} for masks {_description(target)}",
            f"expected scores (B, {classes}, H, W) or class numbers (B, H, W), and integer masks (B, H, W)",
        )
    entries = []
    for one, truth in zip(predicted, target, strict=True):
        truth = truth.to(torch.int64).flatten()
        one = one.to(truth.device, torch.int64).flatten()[truth != void]
        truth = truth[truth != void]
        for kind, numbers in (("prediction", one), ("mask", truth)):
            if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
                wrong = int(numbers.min()) if int(numbers.min()) < 0 else int(numbers.max())
                raise UsageError(f"{kind} has class {wrong} of {classes}", f"classes are 0 to {classes - 1}, {void} is void")
        counts = torch.bincount(truth * classes + one, minlength=classes * classes)
        entries.append(counts.reshape(classes, classes).cpu().numpy())
    return entries


def accuracy(entries: Sequence[np.ndarray]) -> float:
    """Share of images whose class was found, of `class_entries`."""
    target, predicted = _columns(entries)
    return float((target == predicted).mean())


def is_hit(entry: np.ndarray) -> float:
    """1 where the class of an image was found, else 0; of one of `class_entries`. Their mean is `accuracy`."""
    return float(entry[0] == entry[1])


def f1(entries: Sequence[np.ndarray]) -> float:
    """F1 score per class, ``2 TP / (2 TP + FP + FN)``, averaged over the classes that occur as target or prediction (macro)."""
    target, predicted = _columns(entries)
    scores = []
    for number in np.union1d(target, predicted):
        hits = np.count_nonzero((target == number) & (predicted == number))
        scores.append(2 * hits / (np.count_nonzero(target == number) + np.count_nonzero(predicted == number)))
    return float(np.mean(scores))


def miou(entries: Sequence[np.ndarray], classes: Sequence[int] | None = None) -> float:
    """Intersection over union per class, ``TP / (TP + FP + FN)`` over all pixels of all images, averaged over classes.

    Args:
        entries: of `confusion_entries`.
        classes: the ones to average over; None: all. One that is in no target and no prediction is left out. Pixels of other
            classes still count against these where they are mistaken for them.

    Returns:
        In [0, 1]; ``nan`` where none of the classes occurs.

    Raises:
        UsageError: no entries, or an unknown class.
    """
    confusion = _total(entries)
    wanted = np.arange(len(confusion)) if classes is None else np.unique(np.asarray(classes, dtype=np.int64))
    if len(wanted) == 0 or not 0 <= wanted.min() <= wanted.max() < len(confusion):
        raise UsageError(f"classes {list(classes or ())}", f"choose of 0 to {len(confusion) - 1}")
    union = (confusion.sum(axis=0) + confusion.sum(axis=1) - confusion.diagonal())[wanted]
    hits = confusion.diagonal()[wanted]
    return float((hits[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")


def pixel_accuracy(entries: Sequence[np.ndarray]) -> float:
    """Share of pixels whose class was found, of all images' `confusion_entries`; ``nan`` where all are void."""
    confusion = _total(entries)
    return float(confusion.trace() / confusion.sum()) if confusion.any() else float("nan")


def _columns(entries: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if not len(entries):
        raise UsageError("no pictures", "give at least one")
    pairs = np.stack(list(entries))
    return pairs[:, 0], pairs[:, 1]


def _total(entries: Sequence[np.ndarray]) -> np.ndarray:
    if not len(entries):
        raise UsageError("no pictures", "give at least one")
    return np.sum(np.stack(list(entries)), axis=0)


def _whole(values: torch.Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _description(values: torch.Tensor) -> str:
    return f"{tuple(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
