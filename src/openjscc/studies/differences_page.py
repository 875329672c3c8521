"""The ``[[difference]]`` tables of a study in words, from ``differences.json`` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..bench.records import NO_INTERVAL
from ..bench.statistics import FEWEST_PICTURES, RESAMPLES
from ..metrics import SetMetric, get_metric
from ..report.columns import heading, in_order, in_words, metric_label, metric_name
from ..report.markdown import capital, sentence, table_row
from .comparisons import place_in_words
from .differences import DifferenceRow, DifferenceTable
from .sections import DifferenceSection

INTRODUCTION = (
    "Systems against one of them at the same points, over the same pictures and draws (paired). In brackets the 95 % interval "
    "over other pictures of this kind: Student's t on the differences of single pictures; for accuracy that of Agresti and Min. "
    "Where it is without 0, one system is better; nothing is corrected for the number of intervals. A lost picture counts as "
    "mid-grey."
)


def difference_page(table: DifferenceTable, labels: Mapping[str, str]) -> str:
    """Heading, what it means, and a table for each place.

    Args:
        table: see `DifferenceTable`.
        labels: of systems, by name.
    """
    section = table.section
    over = labels.get(section.over, section.over)
    beside = "above" if get_metric(section.metric).higher_is_better else "beside"
    parts = [f"### {section.title or f'{capital(metric_label(section.metric))} {beside} {over}'}", _meaning(section, over)]
    places = list(dict.fromkeys(row.place for row in table.rows))
    if not places:
        return "\n\n".join([*parts, "No figure: the cells of one side failed."])
    for place in places:
        rows = [row for row in table.rows if row.place == place]
        parts += [
            place_in_words(place, places, section.x, apart=section.apart),
            _differences(section, rows, over, labels),
            *_notes(rows, labels),
        ]
    return "\n\n".join(parts)


def _meaning(section: DifferenceSection, over: str) -> str:
    better = "higher" if get_metric(section.metric).higher_is_better else "lower"
    metric = get_metric(section.metric)
    if isinstance(metric, SetMetric) and metric.additive:
        unit, how = ", in points (hundredths)", f"; the interval: {RESAMPLES:,} resamples of the pictures (bootstrap)"
    else:
        unit, how = ", in points (1 point: 1 % of the pictures)" if _is_share(section) else "", ""
    where = "; each system at its own bandwidth ratio" if section.any_ratio else ""
    return sentence(f"{metric_name(section.metric)} of a system less that of {over}{unit}; {better} is better{where}{how}")


def _differences(section: DifferenceSection, rows: Sequence[DifferenceRow], over: str, labels: Mapping[str, str]) -> str:
    columns = {at: next(row for row in rows if row.at == at) for at in in_order(row.at for row in rows)}
    lines = [table_row(["system", *(heading(section.x, row.at) for row in columns.values())]), "|---" * (len(columns) + 1) + "|"]
    lines.append(
        table_row([f"{over} has{_at_ratio(row.over_ratio for row in rows)}", *(_mean(section, row) for row in columns.values())])
    )
    for system in dict.fromkeys(row.system for row in rows):
        own = [row for row in rows if row.system == system]
        cells = {row.at: _difference(section, row) for row in own}
        label = labels.get(system, system) + _at_ratio(row.ratio for row in own)
        lines.append(table_row([label, *(cells.get(row.at, "") for row in columns.values())]))
    return "\n".join(lines)


def _at_ratio(ratios: Iterable[float | None]) -> str:
    """`` (CBR 1/32)``, where it is to be said."""
    there = dict.fromkeys(in_words("ratio", ratio) for ratio in ratios if ratio is not None)
    return f" ({' or '.join(there)})" if there else ""


def _mean(section: DifferenceSection, row: DifferenceRow) -> str:
    if row.lost == 1:
        return "all lost"
    text = "–"
    if row.mean is not None:
        text = f"{100 * row.mean:.1f} %" if _is_share(section) else f"{row.mean:.{_digits(section)}f}"
    return text + (f" ({100 * row.lost:.2g} % lost)" if row.lost else "")


def _difference(section: DifferenceSection, row: DifferenceRow) -> str:
    found = row.difference
    if found is None:
        return "–"
    text = _number(section, found.value)
    if found.low is None or found.high is None or found.pictures < FEWEST_PICTURES:
        return text
    return f"{text} [{_number(section, found.low)}, {_number(section, found.high)}]"


def _number(section: DifferenceSection, value: float) -> str:
    """With its sign; 0 where nothing else is left."""
    shown = f"{100 * value if _is_share(section) else value:+.{_digits(section)}f}"
    return shown if float(shown) else "0"


def _is_share(section: DifferenceSection) -> bool:
    return get_metric(section.metric).kind == "task"


def _digits(section: DifferenceSection) -> int:
    return 1 if _is_share(section) else 2 if get_metric(section.metric).unit == "dB" else 4


def _notes(rows: Sequence[DifferenceRow], labels: Mapping[str, str]) -> list[str]:
    """Why there is no figure, or no interval."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        if row.reason:
            found[labels.get(row.system, row.system), row.reason] = None
    lines = [f"{system}: {reason}." for system, reason in found]
    if any(row.difference is not None and row.difference.pictures < FEWEST_PICTURES for row in rows):
        lines.append(sentence(NO_INTERVAL))
    return [" ".join(lines)] if lines else []
