"""A study's figures and its Markdown page, from its records alone: no dates, the same records give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from ..bench.cells import CellResult
from ..bench.records import (
    ACCOUNT,
    FIRST_ACCOUNT,
    NO_INTERVAL,
    RECORDS,
    RUN,
    Record,
    read_records,
    without_interval,
    write_records,
)
from ..bench.statistics import RESAMPLES
from ..errors import IntegrityError
from ..files import write_atomically
from ..metrics import METRICS, SetMetric
from ..report.anchors import Anchor, read_anchors
from ..report.chart import NO_BANDS, Chart, without_wide_bands
from ..report.charts import draw
from ..report.columns import axis_title, heading, in_order, in_words, metric_label, metric_name, shown
from ..report.labels import system_name
from ..report.layout import MEASURED, Curve, Layout, arrange
from ..report.markdown import capital, listed, sentence, table_row
from ..report.paired import Paired, paired
from ..report.select import select
from ..report.style import write_figure
from ..weightfile import packaged_sha256
from .comparisons import PAIRED, read_bands, read_tables, write_tables
from .differences import DifferenceTable
from .differences_page import INTRODUCTION as ON_DIFFERENCES
from .differences_page import difference_page
from .facts import STUDY, Facts, Weight, read_facts
from .gains import GainTable
from .gains_page import INTRODUCTION as ON_GAINS
from .gains_page import gain_page
from .pictures import Seen, heatmap_words, seen_by, strip_words, write_heatmap, write_strip
from .plan import HeatmapPlan, StripPlan
from .sections import FigureSection, TableSection
from .spec import Study, published_points

GAINS = "gains.json"
DIFFERENCES = "differences.json"

Table = TypeVar("Table", GainTable, DifferenceTable)

INTERVAL_WORDS = {
    "pictures": "mean ± half width of its 95 % interval over other pictures of this kind (Student's t)",
    "noise": "mean ± half width of its 95 % interval over other noise on these pictures",
    "none": "mean",
}


def write_study(
    folder: Path,
    study: Study,
    records: Sequence[Record],
    shown: Iterable[StripPlan | HeatmapPlan],
    facts: Facts,
    gains: Sequence[GainTable] = (),
    differences: Sequence[DifferenceTable] = (),
    results: Sequence[CellResult] = (),
) -> list[Path]:
    """Write the records, the facts, strips and heat maps (``shown``), gains.json and differences.json (where asked for),
    paired.json (where figures show differences, of the cells in ``results``); then all that `draw_study` makes of them.

    Returns what was written.

    Raises:
        UsageError: records that contradict one another, or a folder that cannot be written.
    """
    labels = _labels(study)
    seen = [_write_shown(folder, plan, labels) for plan in shown]
    written = [folder / section.file for section in (*study.strip, *study.heatmap)]
    bands = [*dict.fromkeys(_bands(_drawable(study, facts), records, labels, results))]
    for name, tables in ((PAIRED, bands), (GAINS, gains), (DIFFERENCES, differences)):
        (folder / name).unlink(missing_ok=True)
        if tables:
            write_tables(folder / name, tables)
            written.append(folder / name)
    facts = replace(facts, seen=tuple(one for one in seen if one))
    write_records(folder / RECORDS, records, {STUDY: asdict(facts)})
    return [*written, *draw_study(folder, study), folder / RECORDS, folder / RUN]


def _write_shown(folder: Path, plan: StripPlan | HeatmapPlan, labels: Mapping[str, str]) -> Seen | None:
    if isinstance(plan, StripPlan):
        write_strip(folder, plan, labels)
    else:
        write_heatmap(folder, plan)
    return seen_by(plan)


def draw_study(folder: Path, study: Study) -> list[Path]:
    """Draw the figures of a study and write its page, from the files of its folder alone. Strips and heat maps stay as they are.

    Args:
        folder: with ``records.csv``, ``run.json`` and the tables.
        study: whose results they are.

    Returns:
        What was written.

    Raises:
        UsageError: no such files, or records that contradict one another. IntegrityError: a damaged file.
    """
    records, facts = read_records(folder), read_facts(folder)
    if facts is None:
        raise IntegrityError(f"{folder / RUN} says nothing of a study", "run the study again")
    labels, bands, written = _labels(study), read_bands([folder]), []
    sections: list[str] = []
    for figure in _drawable(study, facts):
        sections.append(_figure(folder, figure, records, labels, bands))
        written.append(folder / figure.file)
    seen = {one.file: one for one in facts.seen}
    sections += [strip_words(strip, seen.get(strip.file)) for strip in study.strip]
    sections += [heatmap_words(heatmap, seen[heatmap.file]) for heatmap in study.heatmap if heatmap.file in seen]
    gains, differences = _tables(folder / GAINS, GainTable), _tables(folder / DIFFERENCES, DifferenceTable)
    page = folder / f"{facts.name}.md"
    write_atomically(page, _page(study, records, sections, labels, facts, gains, differences).encode())
    return [*written, page]


def _tables(path: Path, kind: type[Table]) -> list[Table]:
    return read_tables(path, kind) if path.exists() else []


def _drawable(study: Study, facts: Facts) -> list[FigureSection]:
    return [figure for figure in study.figure if figure.y not in facts.missing]


def _bands(
    figures: Iterable[FigureSection], records: Sequence[Record], labels: dict[str, str], results: Sequence[CellResult]
) -> Iterator[Paired]:
    for figure in figures:
        chosen, chart, _ = _drawn(figure, records, labels)
        if over := chart.reference(chosen):
            yield from paired([record for record in chosen if record.metric == figure.y], over, results)


def _labels(study: Study) -> dict[str, str]:
    """Of all systems: those that the study gives, else their common names."""
    systems = [*(system for bench in study.bench for system in bench.systems), *study.names]
    return {system: system_name(system, study.names) for system in systems}


def _drawn(section: FigureSection, records: Sequence[Record], labels: dict[str, str]) -> tuple[list[Record], Chart, list[Anchor]]:
    """What it is drawn from. No bands where there are too few images."""
    chosen = select(records, section.conditions, section.systems or None)
    chart = without_wide_bands(section.chart(labels), chosen)
    return chosen, chart, read_anchors(published_points()) if section.anchors else []


def _figure(
    folder: Path, section: FigureSection, records: Sequence[Record], labels: dict[str, str], bands: Sequence[Paired]
) -> str:
    """Draws it; its part of the page."""
    chosen, chart, anchors = _drawn(section, records, labels)
    figure, notes = draw(chosen, chart, anchors, bands)
    write_figure(figure, folder / section.file, section.style)
    title = f"{metric_label(section.y)} against {axis_title(section.x)}"
    words = [section.caption or sentence(title), *(sentence(note) for note in notes)]
    if chart.interval != section.interval and section.y not in MEASURED:
        words.append(sentence(NO_BANDS))
    elif _has_intervals(arrange(chosen, chart.x, chart.y, chart.facets, chart.interval, chart.arrived)):
        words.append(f"Bands: 95 % interval of the mean over other {section.interval}.")
    if over := chart.reference(chosen):
        what = f"{metric_name(section.y)} less that of {labels.get(over, over)} over the same pictures and draws"
        words.append(f"Below: {what}; a caret at an edge is a point beyond it.")
    if section.anchors and not any("no published point" in note for note in notes):
        words.append("Open grey markers are published points, with the error of reading them; the legend has their source.")
    return f"![{title}]({section.file})\n\n{' '.join(words)}"


def _has_intervals(layout: Layout) -> bool:
    return any(math.isfinite(half) for panel in layout.panels for curve in panel.curves for half in curve.half)


def _page(
    study: Study, records: Sequence[Record], sections: list[str], labels: dict[str, str], facts: Facts,
    gains: Sequence[GainTable], differences: Sequence[DifferenceTable],
) -> str:  # fmt: skip
    parts = [f"# {study.title}"]
    if study.paper:
        parts.append(study.paper)
    if study.note:
        parts.append(study.note)
    if facts.quick:
        pictures = listed(in_words("images", record.images) for record in records)
        parts.append(f"**A quick look at {pictures}, not the whole study.**")
    beside = [RECORDS, *(name for name, tables in ((GAINS, gains), (DIFFERENCES, differences)) if tables)]
    parts.append(f"Made by `{facts.command}` from the records in {' and '.join(f'[{name}]({name})' for name in beside)}.")
    if any(record.account < ACCOUNT for record in records):
        parts.append(FIRST_ACCOUNT)
    if replaced := released_anew(facts.weights):
        parts.append(
            f"**{listed(f'`{name}`' for name in replaced)} released anew since.** The card of the weight has the new figures."
        )
    parts += ["## What was measured", "\n".join(f"- {line}" for line in _measured(records, facts))]
    tables = [_table(section, records, labels) for section in study.table if section.metric not in facts.missing]
    if tables:
        parts += ["## Tables", *tables]
    if gains:
        parts += ["## Gains", ON_GAINS, *(gain_page(table, labels) for table in gains)]
    if differences:
        parts += ["## Differences", ON_DIFFERENCES, *(difference_page(table, labels) for table in differences)]
    if sections:
        parts += ["## Figures", *sections]
    if facts.weights:
        parts += ["## Weights", _weights(facts.weights)]
    parts += ["## Again", _again(records, facts)]
    return "\n\n".join(parts) + "\n"


def _measured(records: Sequence[Record], facts: Facts) -> list[str]:
    lines = []
    for data, images, digest in dict.fromkeys((r.data, r.images, r.data_sha256) for r in records if r.error is None):
        lines.append(f"Data: {in_words('data', data)}, {in_words('images', images)} (sha256 `{(digest or '')[:16]}`)")
    for data, digest in dict.fromkeys((r.data, r.masks_sha256) for r in records if r.error is None and r.masks_sha256):
        lines.append(f"Masks: {in_words('data', data)} (sha256 `{(digest or '')[:16]}`); systems are asked for the segmentation")
    lines += [f"Note on the data: {note}" for note in facts.data_notes]
    lines.append(f"Systems: {listed(f'`{r.system}`' + (' (a bound)' if r.bound else '') for r in records)}")
    if tools := listed(r.tool for r in records if r.tool):
        lines.append(f"Source coders: {tools}")
    for channel in dict.fromkeys(r.channel for r in records):
        some = [record for record in records if record.channel == channel]
        trials = _trials([record for record in some if record.error is None])
        told = [in_words("told_snr_db", value) or "SNR known" for value in in_order(r.told_snr_db for r in some)]
        where = [
            f"SNR {', '.join(f'{value:g}' for value in sorted({r.snr_db for r in some}))} dB",
            f"CBR {', '.join(shown('ratio', value) for value in in_order(r.ratio for r in some))}",
            trials,
            f"seed {', '.join(str(seed) for seed in sorted({r.seed for r in some}))}",
            " or ".join(told) + " at the transmitter",
        ]
        lines.append(f"Channel `{channel}`: {'; '.join(where)}")
    lines.append(f"Metrics: {listed(metric_label(r.metric) for r in records)}; a lost picture counts as mid-grey")
    for name, digest in dict.fromkeys((r.task_network, r.task_network_sha256) for r in records if r.task_network is not None):
        what = listed(metric_name(r.metric) for r in records if r.task_network == name)
        lines.append(f"Task network: `{name}` (sha256 `{(digest or '')[:16]}`) looks at the received pictures, for {what}")
    lines += [f"Left out: {metric_label(name)}, because {reason}" for name, reason in facts.missing.items()]
    failed = dict.fromkeys((r.system, r.channel, r.snr_db, r.error) for r in records if r.error is not None)
    lines += [f"Failed: `{system}`, {channel}, {snr:g} dB: {error}" for system, channel, snr, error in failed]
    lines.append("Bandwidth ratios are nominal; headers are counted on top (`bandwidth_ratio` in the records)")
    return lines


def _trials(records: Sequence[Record]) -> str:
    """How often each image was sent; metrics may have been measured apart."""
    counts: dict[str, set[int]] = {}
    for record in records:
        counts.setdefault(record.metric, set()).add(record.trials)
    words = {metric: " or ".join(in_words("trials", count) for count in sorted(found)) for metric, found in counts.items()}
    groups: dict[str, list[str]] = {}
    for metric, text in words.items():
        groups.setdefault(text, []).append(metric_name(metric))
    if len(groups) < 2:
        return f"{next(iter(groups), 'no trial')} a picture"
    return ", ".join(f"{text} a picture for {' and '.join(metrics)}" for text, metrics in groups.items())


def _table(section: TableSection, records: Sequence[Record], labels: dict[str, str]) -> str:
    """One table for each panel that a figure would have."""
    chosen = select(records, section.conditions, section.systems or None)
    layout = arrange(chosen, section.x, section.metric, section.facet, section.interval, names=labels)
    label = metric_label(section.metric)
    digits = 1 if section.metric == "channel_uses" else 2 if label.endswith(("(dB)", "(ms)")) else 4
    interval = section.interval if _has_intervals(layout) else "none"
    parts = [f"### {section.title or capital(label)}", sentence(_interval_words(interval, section.metric))]
    for panel in layout.panels:
        words = [in_words(name, value) for name, value in {**layout.constant, **panel.place}.items()]
        columns = sorted({x for curve in panel.curves for x in curve.x})
        lines = [table_row(["system", *(heading(section.x, x) for x in columns)]), "|---" * (len(columns) + 1) + "|"]
        for curve in panel.curves:
            cells = {x: _cell(curve, place, digits, section.metric in MEASURED) for place, x in enumerate(curve.x)}
            lines.append(table_row([curve.label + (" (bound)" if curve.bound else ""), *(cells.get(x, "") for x in columns)]))
        parts += [", ".join(word for word in words if word) + ":", "\n".join(lines)]
    notes = [note.replace("not drawn", "without a figure") for note in layout.notes]
    if section.interval == "pictures" and without_interval(chosen):
        notes.append(NO_INTERVAL)
    parts += [sentence(note) for note in notes]
    return "\n\n".join(parts)


def _interval_words(interval: str, metric: str) -> str:
    found = METRICS.get(metric)
    if interval == "pictures" and isinstance(found, SetMetric) and found.additive:
        return f"over all pictures ± half width of its 95 % interval over other pictures ({RESAMPLES:,} resamples)"
    if interval == "pictures" and found is not None and found.kind == "task":
        return "share ± how far its 95 % interval over other pictures of this kind reaches (Wilson's, the farther end)"
    return INTERVAL_WORDS[interval]


def _cell(curve: Curve, place: int, digits: int, of_column: bool) -> str:
    value, half, lost = curve.y[place], curve.half[place], 0.0 if of_column else curve.lost[place]
    if math.isnan(value):
        return "–"
    if lost == 1:
        return "all lost"
    text = f"{value:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
    return text + (f" ({100 * lost:.2g} % lost)" if lost else "")


def _weights(weights: Sequence[Weight]) -> str:
    lines = [table_row(["weight", "parameters", "trained on", "steps", "time", "compute", "sha256"]), "|---" * 7 + "|"]
    for one in weights:
        steps = "-" if one.steps is None else f"{one.steps:,}"
        cells = [f"`{one.name}`", f"{one.parameters:,}", ", ".join(one.data) or "-", steps, _duration(one.seconds)]
        lines.append(table_row([*cells, ", ".join(one.compute) or "-", f"`{one.sha256[:16]}`"]))
    return "\n".join(lines)


def released_anew(weights: Sequence[Weight]) -> list[str]:
    """Names of those that have another weight in the package now."""
    return [one.name for one in weights if packaged_sha256(one.name) not in (None, one.sha256)]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if unit == "h" else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _again(records: Sequence[Record], facts: Facts) -> str:
    pieces = dict.fromkeys(f"{name} {version}" for record in records for name, version in (record.versions or {}).items())
    lines = [
        f"Measured on: {listed(r.device for r in records if r.device) or 'unknown'}",
        f"With: {', '.join(pieces) or 'unknown'}",
        f"Revision: {listed(r.commit for r in records if r.commit) or 'unknown'} (+: with changes)",
        f"Measure it: `{facts.command}`",
        f"Measure some cells again and compare: `{facts.command} --check`",
    ]
    return "\n".join(f"- {line}" for line in lines)
