"""What a figure is to show. No drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..bench.records import Record
from ..errors import UsageError, unknown_name
from ..metrics import METRICS
from .layout import INTERVALS
from .paired import ALONG, METRIC, NONE, reference
from .style import LOOKS

FEWEST_PICTURES = 8
"""For bands. Of fewer the interval over other images says nothing, and would hide the curves."""
NO_BANDS = f"no bands: there are fewer than {FEWEST_PICTURES} pictures"


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        x, y, facets, interval, arrived, names: see `openjscc.report.layout.arrange`.
        style: a key of `LOOKS`.
        title: over the figure; None: the conditions that all records share; empty: none.
        lost: the share of lost transmissions in a part of its own, where there are any; always so for PSNR against SNR.
        over: the system that the others are held against in a part of its own (`openjscc.report.paired.reference`).
        log_x: logarithmic x axis.
        width: of the figure in inches, instead of the style's.
    """

    x: str = "snr_db"
    y: str = "psnr"
    facets: Sequence[str] | None = None
    interval: str = "pictures"
    arrived: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    style: str = "paper"
    title: str | None = None
    lost: bool = False
    log_x: bool = False
    width: float | None = None
    over: str | None = None

    def __post_init__(self) -> None:
        if self.style not in LOOKS:
            raise unknown_name("style", self.style, LOOKS)
        if self.interval not in INTERVALS:
            raise unknown_name("interval", self.interval, INTERVALS)
        if self.over not in (None, NONE) and (self.x != ALONG or self.arrived or self.y not in METRICS):
            raise UsageError(f"differences from {self.over}", "they are drawn of a metric of all pictures, against the SNR")

    @property
    def shows_lost(self) -> bool:
        """Whether lost transmissions are shown."""
        return self.lost or (self.x, self.y) == (ALONG, METRIC)

    def reference(self, records: Sequence[Record]) -> str | None:
        """See `openjscc.report.paired.reference`."""
        return None if self.arrived else reference(records, self.x, self.y, self.over)


def without_wide_bands(chart: Chart, records: Sequence[Record]) -> Chart:
    """The chart, without bands where they would be over other images and there are fewer than `FEWEST_PICTURES`."""
    few = chart.interval == "pictures" and max((record.images for record in records), default=0) < FEWEST_PICTURES
    return replace(chart, interval="none") if few else chart
