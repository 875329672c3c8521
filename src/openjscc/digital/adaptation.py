"""Link adaptation: of several ways to use a frame, the one that promises the highest PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..codec import LOST_GREY
from .source import RateControl

UNLIKELY = 0.01
"""Options that arrive less often are not looked at, as long as there is another."""


@dataclass(frozen=True)
class Option:
    """One way to use a frame.

    Attributes:
        index: of the option, for whoever asked.
        budget: bytes that the file of each picture may have.
        success: probability that the frame arrives.
    """

    index: int
    budget: int
    success: float


def best_option(options: Sequence[Option], control: RateControl, pictures: Sequence[np.ndarray]) -> Option:
    """The option of highest expected PSNR, the mean over the pictures that share the frame.

    Expected is ``p PSNR(file) + (1 - p) PSNR(grey picture)``; a picture whose file does not fit counts as lost. The file's
    PSNR is estimated between qualities that lie a few steps apart (`RateControl.estimate`), which spares encoder runs.

    Args:
        options: at least one.
        control: the source encoder.
        pictures: uint8 ``(H, W, 3)`` each.
    """
    left = undominated(options)
    if len(left) == 1:
        return left[0]
    grey = [lost_psnr(picture) for picture in pictures]

    def expected(option: Option) -> float:
        total = 0.0
        for picture, lost in zip(pictures, grey, strict=True):
            arrived = control.estimate(picture, option.budget)
            total += lost if arrived is None else option.success * arrived + (1 - option.success) * lost
        return total

    return max(left, key=lambda option: (expected(option), option.success))


def undominated(options: Sequence[Option]) -> list[Option]:
    """Those that no other beats in both size and certainty, most bytes first; the most certain one is always among them."""
    left: list[Option] = []
    for option in sorted(options, key=lambda item: (-item.budget, -item.success)):
        if not left or option.success > left[-1].success:
            left.append(option)
    likely = [option for option in left if option.success >= UNLIKELY]
    return likely or left[-1:]


def lost_psnr(picture: np.ndarray) -> float:
    """PSNR in dB of the grey picture that is shown for a lost one."""
    error = (picture.astype(np.float64) - np.rint(255 * LOST_GREY)) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-10)))
