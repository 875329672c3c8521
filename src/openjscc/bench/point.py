"""Where a figure is measured: a point of a sweep, and a cell, which is all that a figure depends on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..errors import UsageError
from .task_metrics import task_of

FORMAT = 3
"""Of a cell's file and of the draws behind it, and part of its key. 2: with a checksum. 3: seeds of 128 bits."""
FEWEST_TRIALS = 8
"""Before `Precision.width` may end a cell. To stop at the first interval that is narrow enough is sometimes too early: where 3
to 20 trials are needed, the 95 % interval that is reported holds the truth in 90 to 92 % of all cells if 3 may do, in 93 to 95 %
if 8 may."""


class Point(NamedTuple):
    """Where in a sweep: channel spec, nominal ratio (None: the system's default), average SNR in dB."""

    channel: str
    ratio: float | None
    snr_db: float


@dataclass(frozen=True)
class Precision:
    """When a cell has enough trials.

    Attributes:
        trials: at least so many.
        width: then more, until the half width of the 95 % interval of the mean over these images is at most this; not before
            `FEWEST_TRIALS`
        metric: whose interval.
        most: at most so many.
    """

    trials: int = 1
    width: float | None = None
    metric: str = "psnr"
    most: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= self.most:
            raise UsageError(f"{self.trials} trials of at most {self.most}", "at least one, and no more than the cap")
        if self.width is not None and not 0 < self.width < math.inf:
            raise UsageError(f"an interval of {self.width}", "give a positive half width, e.g. 0.05")


@dataclass(frozen=True)
class Cell:
    """One cell and everything that its figures depend on, but for libraries and hardware.

    Attributes:
        system: as asked.
        weight: what that resolved to.
        weight_sha256: of a learned system.
        data: name.
        data_sha256: of the images.
        channel: canonical spec.
        ratio: nominal.
        snr_db: average SNR.
        told_snr_db: what the transmitter takes it for; None: the truth.
        metrics: names, in the order asked.
        precision: number of trials.
        seed: of the experiment.
        task_networks: name and sha256 of those that metrics of labels are by.
        masks_sha256: of the masks that metrics of segmentations are measured with.
    """

    system: str
    weight: str
    weight_sha256: str | None
    data: str
    data_sha256: str
    channel: str
    ratio: float | None
    snr_db: float
    told_snr_db: float | None
    metrics: tuple[str, ...]
    precision: Precision
    seed: int
    task_networks: tuple[tuple[str, str], ...] = ()
    masks_sha256: str | None = None

    @property
    def point(self) -> Point:
        """Channel, ratio and SNR."""
        return Point(self.channel, self.ratio, self.snr_db)

    @property
    def task(self) -> str:
        """What the metrics are of."""
        return task_of(self.metrics)

    @property
    def key(self) -> str:
        """16 hexadecimal digits."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("task_networks", "masks_sha256") or value}
        return hashlib.sha256(json.dumps({"format": FORMAT, **facts}, sort_keys=True).encode()).hexdigest()[:16]
