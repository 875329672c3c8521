"""Studies: named figures of papers, as TOML files. What is measured, drawn and tabulated; no measuring here.

A study is found by name among the packaged ones (``openjscc study kodak-snr``) or by the path of a TOML file.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..channels import make_channel
from ..configuration import build
from ..errors import UsageError, unknown_name
from ..metrics import METRICS, get_metric
from ..units import SNR_LIMIT_DB, parse_ratio
from .layout import INTERVALS
from .plots import SUFFIXES, Chart
from .selection import Value, check_column, columns, parse_where
from .strips import Crop

STRIP_SUFFIXES = (".png", ".webp")


@dataclass(frozen=True)
class BenchSection:
    """A grid that is measured.

    Attributes:
        systems: names as in ``openjscc bench --systems``.
        snr_db: average SNRs in dB.
        channel: specs.
        ratio: bandwidth ratios, as ``"1/16"`` or numbers; empty: each system's default.
        metrics: of pictures, see docs/metrics.md.
        trials: repetitions of every picture.
        told_snr_db: what the transmitter takes the SNR for; left out: it knows it.
        seed: of fading and noise.
        limit: only the first so many pictures.
    """

    systems: tuple[str, ...]
    snr_db: tuple[float, ...]
    channel: tuple[str, ...] = ("awgn",)
    ratio: tuple[Any, ...] = ()
    metrics: tuple[str, ...] = ("psnr", "ssim")
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
        for metric in self.metrics:
            _check_metric(metric)
        for snr in (*self.snr_db, *(() if self.told_snr_db is None else (self.told_snr_db,))):
            _check_snr(snr)
        for name, least in (("trials", 1), ("limit", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise UsageError(f"{name} {value}", f"a whole number from {least} up")
        _ = self.ratios

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """As numbers; None: the default."""
        return tuple(dict.fromkeys(_ratio(value) for value in self.ratio)) or (None,)


@dataclass(frozen=True)
class FigureSection:
    """Curves, see `openjscc.bench.plots.Chart`.

    Attributes:
        file: name within the results' folder, ``.svg``, ``.png`` or ``.pdf``.
        x: a column with numbers.
        y: a metric.
        where: conditions, as ``openjscc plot --where`` takes them.
        systems: only these, in this order.
        facet: columns that make panels; left out: those that differ.
        interval: over other ``pictures``, over other ``noise``, or ``none``.
        lost: the share of lost pictures in a panel below.
        arrived: means without the lost pictures.
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
    caption: str = ""

    def __post_init__(self) -> None:
        _check_file(self.file, SUFFIXES)
        _check_axes(self.x, self.y)
        for column in self.facet or ():
            check_column(column)
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
        )

    @property
    def conditions(self) -> dict[str, list[Value]]:
        return _conditions(self.where)


@dataclass(frozen=True)
class TableSection:
    """A row per system, a column per x; one table for each combination of what else differs.

    Attributes:
        metric: whose means.
        x: a column with numbers.
        where: conditions, as ``openjscc plot --where`` takes them.
        systems: only these, in this order.
        interval: what stands after the mean: over other ``pictures``, over other ``noise``, or ``none``.
        title: heading; left out: the metric.
    """

    metric: str
    x: str = "snr_db"
    where: str = ""
    systems: tuple[str, ...] = ()
    interval: str = "pictures"
    title: str = ""

    def __post_init__(self) -> None:
        _check_axes(self.x, self.metric)
        if self.interval not in INTERVALS:
            raise unknown_name("interval", self.interval, INTERVALS)
        _conditions(self.where)

    @property
    def conditions(self) -> dict[str, list[Value]]:
        return _conditions(self.where)


@dataclass(frozen=True)
class StripSection:
    """Received pictures side by side: a row per condition, a column per system.

    Attributes:
        file: name within the results' folder, ``.png`` or ``.webp``.
        picture: which one of the data set; the suffix may be left out.
        systems: names.
        snr_db: average SNRs in dB.
        channel: spec.
        ratio: bandwidth ratio, as ``"1/16"`` or a number; left out: each system's default.
        crop: x, y, width and height in pixels; left out: all.
        told_snr_db: what the transmitter takes the SNR for; left out: it knows it.
        seed: of fading and noise.
        caption: below the pictures, on the page.
    """

    file: str
    picture: str
    systems: tuple[str, ...]
    snr_db: tuple[float, ...]
    channel: str = "awgn"
    ratio: Any = None
    crop: Crop | None = None
    told_snr_db: float | None = None
    seed: int = 0
    caption: str = ""

    def __post_init__(self) -> None:
        _check_file(self.file, STRIP_SUFFIXES)
        if self.crop is not None and (min(self.crop) < 0 or not all(self.crop[2:])):
            raise UsageError(f"crop {list(self.crop)}", "x, y, width and height in pixels, e.g. [100, 50, 128, 128]")
        _ = self.bench

    @property
    def bench(self) -> BenchSection:
        """What has to be sent."""
        ratio = () if self.ratio is None else (self.ratio,)
        return BenchSection(
            self.systems, self.snr_db, (self.channel,), ratio, ("psnr",), told_snr_db=self.told_snr_db, seed=self.seed
        )

    def conditions(self, ratios: set[float]) -> dict[str, list[Value]]:
        """That its kept pictures meet, at these nominal ratios."""
        told: Value = self.told_snr_db
        return {
            "channel": [make_channel(self.channel).name],
            "snr_db": [*self.snr_db],
            "ratio": [*sorted(ratios)],
            "told_snr_db": [told],
        }


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        title: one line.
        data: data set, as ``--data`` takes it.
        bench: what is measured.
        figure: what is drawn.
        table: what is tabulated.
        strip: pictures that are shown.
        paper: citation of what it is after.
        note: what readers must know.
        names: labels of systems in figures and tables, by name.
    """

    title: str
    data: str
    bench: tuple[BenchSection, ...]
    figure: tuple[FigureSection, ...] = ()
    table: tuple[TableSection, ...] = ()
    strip: tuple[StripSection, ...] = ()
    paper: str = ""
    note: str = ""
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bench:
            raise UsageError("nothing is measured", "add a [[bench]] table")
        files = [section.file for section in (*self.figure, *self.strip)]
        if twice := [file for file in files if files.count(file) > 1]:
            raise UsageError(f"two figures have the file {twice[0]!r}", "give each its own name")
        measured = {metric for bench in self.bench for metric in bench.metrics}
        for asked in (*(section.y for section in self.figure), *(section.metric for section in self.table)):
            if asked not in measured:
                raise UsageError(
                    f"metric {asked!r} is not measured", f"add it to the metrics of a [[bench]]: {', '.join(measured)}"
                )
        for system, label in self.names.items():
            if not isinstance(label, str):
                raise UsageError(f"names: {system} is {label!r}", "expected a text")


def packaged_studies() -> list[str]:
    """Names of the studies in the package."""
    folder = resources.files("openjscc.bench") / "studies"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def published_points() -> Path:
    """The CSV file of published points in the package, see `openjscc.bench.anchors`."""
    return Path(str(resources.files("openjscc.bench") / "anchors.csv"))


def load_study(name: str) -> Study:
    """A study by name or path.

    Raises:
        UsageError: no such study; TOML that does not parse; an unknown key or a value of the wrong type, naming the file,
            the key and the value.
    """
    path = Path(name)
    if name in packaged_studies():
        text = (resources.files("openjscc.bench") / "studies" / f"{name}.toml").read_text("utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text("utf-8", errors="replace")
    elif path.suffix == ".toml":
        raise UsageError(f"no file {name}", "check the path; openjscc study --list shows the packaged studies")
    else:
        raise unknown_name("study", name, packaged_studies(), more="(or give the path of a .toml file)")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not valid TOML: {error}", "docs/studies.md shows the layout") from None
    return build(Study, values, name)


def _check_metric(name: str) -> None:
    if get_metric(name).kind == "task":
        known = ", ".join(metric.name for metric in METRICS.values() if metric.kind != "task")
        raise UsageError(f"metric {name!r} is not one of pictures", f"choose among {known}")


def _check_axes(x: str, y: str) -> None:
    _check_metric(y)
    if columns()[check_column(x)] not in (int, float):
        raise UsageError(f"column {x} holds no numbers", "choose e.g. snr_db or ratio for x")


def _check_snr(value: float) -> None:
    if not abs(value) <= SNR_LIMIT_DB:
        raise UsageError(f"SNR of {value} dB", f"a finite number of dB within +-{SNR_LIMIT_DB:g}")


def _check_file(name: str, suffixes: tuple[str, ...]) -> None:
    if Path(name).name != name or Path(name).suffix not in suffixes or "\\" in name:
        raise UsageError(f"file {name!r}", f"a name without folders that ends in {' or '.join(suffixes)}")


def _conditions(where: str) -> dict[str, list[Value]]:
    return parse_where(where) if where else {}


def _ratio(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"ratio {value!r}", 'write it as "1/16" or 0.0625')
    return parse_ratio(str(value))
