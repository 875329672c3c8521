"""Studies: named figures of papers, as TOML files. What is measured, drawn and tabulated; no measuring here.

A study is found by name among the packaged ones (``openjscc study kodak-snr``) or by the path of a TOML file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ..configuration import build, packaged, read_toml
from ..errors import UsageError
from ..metrics import get_metric
from ..report.layout import MEASURED
from .sections import BenchSection, DifferenceSection, FigureSection, GainSection, TableSection
from .shown import HeatmapSection, StripSection


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        title: one line.
        data: data set, as ``--data`` takes it.
        bench: what is measured.
        figure: what is drawn.
        table: what is tabulated.
        gain: which systems are compared at equal quality.
        difference: which systems are compared at the same points.
        strip: images that are shown.
        heatmap: semantic weights that are shown.
        paper: citation of what it is after.
        note: what readers must know.
        names: labels of systems in figures and tables, by name.
    """

    title: str
    data: str
    bench: tuple[BenchSection, ...]
    figure: tuple[FigureSection, ...] = ()
    table: tuple[TableSection, ...] = ()
    gain: tuple[GainSection, ...] = ()
    difference: tuple[DifferenceSection, ...] = ()
    strip: tuple[StripSection, ...] = ()
    heatmap: tuple[HeatmapSection, ...] = ()
    paper: str = ""
    note: str = ""
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bench:
            raise UsageError("nothing is measured", "add a [[bench]] table")
        files = [section.file for section in (*self.figure, *self.strip, *self.heatmap)]
        if twice := [file for file in files if files.count(file) > 1]:
            raise UsageError(f"two figures have the file {twice[0]!r}", "give each its own name")
        measured = {metric for bench in self.bench for metric in bench.metrics}
        tables = (*self.table, *self.gain, *self.difference)
        for asked in (*(section.y for section in self.figure), *(section.metric for section in tables)):
            if asked not in measured and asked not in MEASURED:
                raise UsageError(
                    f"metric {asked!r} is not measured", f"add it to the metrics of a [[bench]]: {', '.join(measured)}"
                )
        for system, label in self.names.items():
            if not isinstance(label, str):
                raise UsageError(f"names: {system} is {label!r}", "expected a text")


def with_networks(study: Study, names: Sequence[str]) -> Study:
    """A study whose images are looked at by other task networks; a strip and a heat map are of the first of them.

    Args:
        study: any.
        names: as `openjscc.tasks.load_task_network` takes them.

    Raises:
        UsageError: a study that asks no task network.
    """

    def asks(bench: BenchSection) -> bool:
        return any(get_metric(metric).needs == "labels" for metric in bench.metrics)

    if not (study.heatmap or any(map(asks, study.bench)) or any(strip.task_network for strip in study.strip)):
        raise UsageError(f"task network {names[0]}, but the study asks none", "leave it out")
    return replace(
        study,
        bench=tuple(replace(bench, task_network=tuple(names)) if asks(bench) else bench for bench in study.bench),
        strip=tuple(replace(strip, task_network=names[0]) if strip.task_network else strip for strip in study.strip),
        heatmap=tuple(replace(heatmap, task_network=names[0]) for heatmap in study.heatmap),
    )


def packaged_studies() -> list[str]:
    """Names of the studies in the package."""
    return packaged("openjscc.studies", "packaged")


def published_points() -> Path:
    """The CSV file of published points in the package, see `openjscc.report.anchors`."""
    return Path(str(resources.files("openjscc.report") / "anchors.csv"))


def load_study(name: str) -> Study:
    """A study by name or path.

    Raises:
        UsageError: no such study; TOML that does not parse; an unknown key or a value of the wrong type, naming the file,
            the key and the value.
    """
    return build(Study, read_toml(name, "study", "openjscc.studies", "packaged"), name)
