"""Link adaptation: of several ways to use a frame, the largest that is lost seldom enough, or the highest expected PSNR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..codec import LOST_GREY
from .source import RateControl

UNLIKELY = 0.01
"""Options that arrive less often are not looked at, as long as there is another."""
CLOSEST = 3
CLOSE_DB = 0.5
"""So many of the best estimates, within so many dB of the first, are compared exactly."""
BEST_DB = 10 * math.log10(12 * 255**2)
"""58.9 dB: the PSNR of the rounding to 8 bits (an error of variance 1/12). Quality above it counts as this, so that an image
that is coded without loss (infinite PSNR) takes a scheme that arrives."""
RISK = 2
WORTH_DB = 0.1
"""A loss of up to so many times the target is worth more than so many dB of expected PSNR."""


@dataclass(frozen=True)
class Option:
    """One way to use a frame.

    Attributes:
        index: of the option, for whoever asked.
        budget: bytes that the file of each image may have.
        success: probability that the frame arrives.
    """

    index: int
    budget: int
    success: float


def largest_option(options: Sequence[Option], target: float, control: RateControl, pictures: Sequence[np.ndarray]) -> Option:
    """The option with the most bytes of those that are lost with a probability of at most ``target``.

    A larger one takes its place if it is lost at most `RISK` times as often as ``target`` and its expected PSNR
    (`expected_psnr`) is higher by more than `WORTH_DB`. Where no option meets the target, or no file is small enough for one
    that does, the result is that of `best_option`.
    """
    kept = [option for option in options if option.success >= 1 - target]
    if kept:
        largest = max(kept, key=lambda option: (option.budget, option.success))
        if largest.budget > 0 and all(control.fit(picture, largest.budget) is not None for picture in pictures):
            larger = [o for o in options if o.budget > largest.budget and o.success >= 1 - RISK * target]
            worth = {option: expected_psnr(option, control, pictures) for option in (largest, *larger)} if larger else {}
            best = max(worth, key=worth.__getitem__, default=largest)
            return best if larger and worth[best] > worth[largest] + WORTH_DB else largest
    return best_option(options, control, pictures)


def expected_psnr(option: Option, control: RateControl, pictures: Sequence[np.ndarray], *, exact: bool = True) -> float:
    """Of an option in dB, the mean over the images, as `best_option` defines it; ``exact``: of the files, not an estimate."""
    total = 0.0
    for picture in pictures:
        if exact:
            fitted = control.fit(picture, option.budget)
            arrived = None if fitted is None else control.psnr(picture, fitted.quality)
        else:
            arrived = control.estimate(picture, option.budget)
        lost = lost_psnr(picture)
        total += lost if arrived is None else lost + option.success * max(min(arrived, BEST_DB) - lost, 0.0)
    return total / len(pictures)


def best_option(options: Sequence[Option], control: RateControl, pictures: Sequence[np.ndarray]) -> Option:
    """The option of highest expected PSNR, the mean over the images that share the frame.

    Expected is ``p PSNR(file) + (1 - p) PSNR(grey picture)``; an image whose file does not fit counts as lost. A PSNR counts
    as at most `BEST_DB`, and that of a file as at least that of the grey picture: what arrives is never worse than what is
    lost. Of equal options the most certain one is taken. The file's PSNR is first estimated between qualities that lie a few
    steps apart (`RateControl.estimate`), which spares encoder runs; what then lies close together is compared exactly.

    Args:
        options: at least one.
        control: the source encoder.
        pictures: uint8 ``(H, W, 3)`` each.
    """
    left = undominated(options)
    if len(left) == 1:
        return left[0]
    ranked = sorted(
        ((expected_psnr(option, control, pictures, exact=False), option) for option in left),
        key=lambda item: (item[0], item[1].success),
        reverse=True,
    )
    close = [option for value, option in ranked[:CLOSEST] if value >= ranked[0][0] - CLOSE_DB]
    if len(close) == 1:
        return close[0]
    return max(close, key=lambda option: (expected_psnr(option, control, pictures), option.success))


def undominated(options: Sequence[Option]) -> list[Option]:
    """Those that no other beats in both size and certainty, most bytes first; the most certain one is always among them."""
    left: list[Option] = []
    for option in sorted(options, key=lambda item: (-item.budget, -item.success)):
        if not left or option.success > left[-1].success:
            left.append(option)
    likely = [option for option in left if option.success >= UNLIKELY]
    return likely or left[-1:]


def lost_psnr(picture: np.ndarray) -> float:
    """PSNR in dB of the grey image that is shown for a lost one, at most `BEST_DB`."""
    grey = int(np.rint(255 * LOST_GREY))
    counts = np.bincount(picture.ravel(), minlength=256)
    error = float(counts @ (np.arange(256) - grey) ** 2) / picture.size / 255**2
    return BEST_DB if error == 0 else min(-10 * math.log10(error), BEST_DB)
