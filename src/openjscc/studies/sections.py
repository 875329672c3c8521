"""The sections of a study's TOML file: what each may say, checked when it is read. Those of images are in `study_shown`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..bench.task_metrics import task_of
from ..channels import make_channel
from ..errors import UsageError, unknown_name
from ..metrics import METRICS, Metric, SetMetric, get_metric
from ..report.chart import Chart
from ..report.columns import Value
from ..report.layout import INTERVALS, MEASURED
from ..report.select import check_column, columns, parse_where
from ..report.style import SUFFIXES
from ..units import AUTO, SNR_LIMIT_DB, parse_ratio


@dataclass(frozen=True)
class BenchSection:
    """A grid that is measured.

    Attributes:
        systems: names as in ``openjscc bench --systems``.
        snr_db: average SNRs in dB.
        channel: specs.
        ratio: bandwidth ratios, as ``"1/16"`` or numbers; ``"auto"``, and where it is left out: each system's default, or its own
            choice for every image.
        metrics: see docs/metrics.md; all of one task.
        task_network: whose view metrics of labels are of, as ``--task-network`` takes them; empty: the data set's own.
        trials: repetitions of every image.
        told_snr_db: what the transmitter takes the SNR for; left out: it knows it.
        seed: of fading and noise.
        limit: only the first so many images.
    """

    systems: tuple[str, ...]
    snr_db: tuple[float, ...]
    channel: tuple[str, ...] = ("awgn",)
    ratio: tuple[Any, ...] = ()
    metrics: tuple[str, ...] = ("psnr", "ssim")
    task_network: tuple[str, ...] = ()
    trials: int = 1
    told_snr_db: float | None = None
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("systems", "snr_db", "channel", "metrics"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty", "give at least one")
        for spec in self.channel:
            make_channel(spec)
        task_of(self.metrics)
        if self.task_network and not any(get_metric(metric).needs == "labels" for metric in self.metrics):
            raise UsageError(f"task_network {list(self.task_network)}, but no metric of labels", "add accuracy or f1 to metrics")
        for snr in (*self.snr_db, *(() if self.told_snr_db is None else (self.told_snr_db,))):
            _check_snr(snr)
        for name, least in (("trials", 1), ("limit", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise UsageError(f"{name} {value}", f"a whole number from {least} up")
        _ = self.ratios

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """As numbers; None: the default."""
        return tuple(dict.fromkeys(ratio_of(value) for value in self.ratio)) or (None,)


@dataclass(frozen=True)
class FigureSection:
    """Curves, see `openjscc.report.chart.Chart`.

    Attributes:
        file: name within the results' folder, ``.svg``, ``.png`` or ``.pdf``.
        x: a column with numbers.
        y: a metric, or a measured column (`openjscc.report.layout.MEASURED`).
        where: conditions, as ``openjscc plot --where`` takes them.
        systems: only these, in this order.
        facet: columns that make panels; left out: those that differ.
        interval: over other ``pictures``, over other ``noise``, or ``none``.
        lost: the share of lost images in a panel below, where there are any; always so for PSNR against SNR.
        over: the system that the others are held against in a panel below; left out: for PSNR against SNR the first learned one;
            ``none``: no such panel.
        arrived: means without the lost images.
        log_x: logarithmic x axis.
        anchors: draw the published points that fit.
        style: ``paper`` or ``screen``.
        title: over the figure; left out: what all records share.
        width: in inches, instead of the style's.
        caption: below the figure, on the page.
    """

    file: str
    x: str = "snr_db"
    y: str = "psnr"
    where: str = ""
    systems: tuple[str, ...] = ()
    facet: tuple[str, ...] | None = None
    interval: str = "pictures"
    lost: bool = False
    arrived: bool = False
    log_x: bool = False
    anchors: bool = False
    style: str = "paper"
    title: str | None = None
    width: float | None = None
    over: str | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        check_file(self.file, SUFFIXES)
        _check_axes(self.x, self.y)
        for column in self.facet or ():
            check_column(column)
        if self.arrived and self.y in MEASURED:
            raise UsageError(f"arrived with y = {self.y}", "it is measured over all pictures: leave arrived out")
        if self.width is not None and not 1 <= self.width <= 40:
            raise UsageError(f"width {self.width}", "inches, between 1 and 40")
        _conditions(self.where)
        self.chart({})

    def chart(self, names: dict[str, str]) -> Chart:
        return Chart(
            self.x,
            self.y,
            self.facet,
            self.interval,
            self.arrived,
            names,
            self.style,
            self.title,
            self.lost,
            self.log_x,
            self.width,
            self.over,
        )

    @property
    def conditions(self) -> dict[str, list[Value]]:
        return _conditions(self.where)


@dataclass(frozen=True)
class TableSection:
    """A row per system, a column per x; one table for each combination of what else differs.

    Attributes:
        metric: whose means, or a measured column.
        x: a column with numbers.
        where: conditions, as ``openjscc plot --where`` takes them.
        systems: only these, in this order.
        facet: columns that make tables; left out: those that differ, but for the task network.
        interval: what stands after the mean: over other ``pictures``, over other ``noise``, or ``none``.
        title: heading; left out: the metric.
    """

    metric: str
    x: str = "snr_db"
    where: str = ""
    systems: tuple[str, ...] = ()
    facet: tuple[str, ...] | None = None
    interval: str = "pictures"
    title: str = ""

    def __post_init__(self) -> None:
        _check_axes(self.x, self.metric)
        for column in self.facet or ():
            check_column(column)
        if self.interval not in INTERVALS:
            raise unknown_name("interval", self.interval, INTERVALS)
        _conditions(self.where)

    @property
    def conditions(self) -> dict[str, list[Value]]:
        return _conditions(self.where)


@dataclass(frozen=True)
class ComparedSection:
    """Systems that are held against another one, over the same images and draws.

    Attributes:
        metric: name.
        of: the systems.
        over: the one that they are compared with.
        x: the column that the table runs along.
        where: conditions, as ``openjscc plot --where`` takes them.
    """

    axes: ClassVar[tuple[str, ...]] = ("snr_db", "ratio")

    metric: str
    of: tuple[str, ...]
    over: str
    x: str = "snr_db"
    where: str = ""

    def __post_init__(self) -> None:
        if not self.takes(get_metric(self.metric)):
            known = ", ".join(metric.name for metric in METRICS.values() if self.takes(metric))
            raise UsageError(f"metric {self.metric!r} is not one of single pictures", f"choose among {known}")
        if self.x not in self.axes:
            raise unknown_name("x", self.x, self.axes)
        if not self.of or self.over in self.of or len(set(self.of)) < len(self.of):
            raise UsageError(f"of {list(self.of)} over {self.over!r}", "name other systems than that one, each once")
        _conditions(self.where)

    @staticmethod
    def takes(metric: Metric) -> bool:
        """Whether it has a value for each image (accuracy: right or wrong)."""
        return metric.kind == "picture" or (isinstance(metric, SetMetric) and metric.single is not None)

    @property
    def conditions(self) -> dict[str, list[Value]]:
        return _conditions(self.where)


@dataclass(frozen=True)
class GainSection(ComparedSection):
    """What systems save against another one at equal quality, at each of its points, see `openjscc.studies.gains`.

    ``x`` is what is saved: ``snr_db``, ``ratio`` (nominal) or ``bandwidth_ratio`` (what was really sent).

    Attributes:
        bd: Bjontegaard's mean distances beside it; for bandwidth, and at least four points.
        title: heading; left out: metric and system.
    """

    axes: ClassVar[tuple[str, ...]] = ("snr_db", "ratio", "bandwidth_ratio")

    bd: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bd and self.x == "snr_db":
            raise UsageError("bd with x = snr_db", "Bjontegaard's distances are of bandwidth: take ratio or bandwidth_ratio")

    @staticmethod
    def takes(metric: Metric) -> bool:
        """Whether it is a quality of single images that has a curve."""
        return metric.kind == "picture"


@dataclass(frozen=True)
class DifferenceSection(ComparedSection):
    """How much better systems are than another one at the same point, see `openjscc.studies.differences`.

    Attributes:
        title: heading; left out: metric and system.
        any_ratio: each system at its own bandwidth ratio, for those that share a bound on channel uses, but no ratio.
    """

    title: str = ""
    any_ratio: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.any_ratio and self.x == "ratio":
            raise UsageError("any_ratio with x = ratio", "let the table run along snr_db, or leave any_ratio out")

    @property
    def apart(self) -> tuple[str, ...]:
        """Conditions in which two systems may differ at one point."""
        return ("ratio",) if self.any_ratio else ()

    @staticmethod
    def takes(metric: Metric) -> bool:
        """Also figures of all images together, where they can be resampled (mIoU, pixel accuracy)."""
        return ComparedSection.takes(metric) or (isinstance(metric, SetMetric) and metric.additive)


def _check_axes(x: str, y: str) -> None:
    if y not in METRICS and y not in MEASURED:
        raise unknown_name("metric or column", y, [*METRICS, *MEASURED])
    if columns()[check_column(x)] not in (int, float):
        raise UsageError(f"column {x} holds no numbers", "choose e.g. snr_db or ratio for x")


def _check_snr(value: float) -> None:
    if not abs(value) <= SNR_LIMIT_DB:
        raise UsageError(f"SNR of {value} dB", f"a finite number of dB within +-{SNR_LIMIT_DB:g}")


def check_file(name: str, suffixes: tuple[str, ...]) -> None:
    """Raises UsageError for what is no name of a file with one of these suffixes."""
    if Path(name).name != name or Path(name).suffix not in suffixes or "\\" in name:
        raise UsageError(f"file {name!r}", f"a name without folders that ends in {' or '.join(suffixes)}")


def _conditions(where: str) -> dict[str, list[Value]]:
    return parse_where(where) if where else {}


def ratio_of(value: Any) -> float | None:
    """A bandwidth ratio, as ``"1/16"`` or a number; None: ``"auto"``."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"ratio {value!r}", 'write it as "1/16" or 0.0625')
    return None if value == AUTO else parse_ratio(str(value))
