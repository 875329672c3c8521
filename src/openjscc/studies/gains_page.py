"""The ``[[gain]]`` tables of a study in words, from ``gains.json`` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..metrics import get_metric
from ..report.columns import heading, metric_name
from ..report.markdown import sentence, table_row
from .comparisons import place_in_words
from .gains import GainRow, GainTable, MeanRow
from .sections import GainSection

INTRODUCTION = (
    "What systems save at equal quality, at the points of one of them. In brackets the 95 % interval over other pictures of this "
    "kind (bootstrap, the same pictures for both; …: beyond what was measured). > and <: the system is better, or worse, than "
    "that wherever it was measured, so that only a bound is known. Lost pictures count as mid-grey."
)


def gain_page(table: GainTable, labels: Mapping[str, str]) -> str:
    """Heading, what it means, and a table for each place.

    Args:
        table: see `GainTable`.
        labels: of systems, by name.
    """
    section = table.section
    over, metric = labels.get(section.over, section.over), metric_name(section.metric)
    saved = "SNR" if section.x == "snr_db" else "Bandwidth"
    parts = [f"### {section.title or f'{saved} for the {metric} of {over}'}", _meaning(section, over, metric)]
    places = list(dict.fromkeys(row.place for row in table.rows))
    along = "snr_db" if section.x == "snr_db" else "ratio"
    if not places:
        return "\n\n".join([*parts, "No figure: the cells of one side failed."])
    for place in places:
        rows = [row for row in table.rows if row.place == place]
        means = [row for row in table.means if row.place == place]
        parts += [place_in_words(place, places, along), _savings(section, rows, over, labels)]
        if means:
            parts.append(_means(section, means, metric, labels))
        parts += _notes(section, rows, means, labels)
    return "\n\n".join(parts)


def _meaning(section: GainSection, over: str, metric: str) -> str:
    if section.x == "snr_db":
        what = f"how many dB less SNR a system needs for the {metric} that {over} has at the SNR of the column; below 0: more"
    else:
        bandwidth = "bandwidth" if section.x == "ratio" else "bandwidth, headers included,"
        what = (
            f"how many times as much {bandwidth} {over} uses at the ratio of the column as a system needs for the same {metric}; "
            "below 1: the system needs more"
        )
    words = [sentence(what)]
    if section.bd:
        words.append(
            f"BD-rate: how much more bandwidth a system needs than {over}, mean over the {metric} that both reach; BD-{metric}: "
            "how much higher its value is, mean over the bandwidths that both have (after Bjontegaard, monotone cubics). These "
            "means have no interval."
        )
    return " ".join(words)


def _savings(section: GainSection, rows: Sequence[GainRow], over: str, labels: Mapping[str, str]) -> str:
    columns = {row.at: row for row in rows}
    lines = [table_row(["system", *(heading(section.x, at) for at in columns)]), "|---" * (len(columns) + 1) + "|"]
    lines.append(table_row([f"{over} has", *(_quality(section, row) for row in columns.values())]))
    for system in dict.fromkeys(row.system for row in rows):
        cells = {row.at: _saving(section, row) for row in rows if row.system == system}
        lines.append(table_row([labels.get(system, system), *(cells.get(at, "") for at in columns)]))
    return "\n".join(lines)


def _quality(section: GainSection, row: GainRow) -> str:
    if row.lost == 1:
        return "all lost"
    text = "–" if row.gain.quality is None else f"{row.gain.quality:.{_digits(section)}f}"
    return text + (f" ({100 * row.lost:.2g} % lost)" if row.lost else "")


def _digits(section: GainSection) -> int:
    return 2 if get_metric(section.metric).unit == "dB" else 4


def _saving(section: GainSection, row: GainRow) -> str:
    gain = row.gain
    if gain.least is not None:
        return f"> {_number(section, gain.least)}"
    if gain.most is not None:
        return f"< {_number(section, gain.most)}"
    if gain.value is None:
        return "–"
    text = _number(section, gain.value)
    if gain.low is None and gain.high is None and not _beyond(row):
        return text
    ends = ["…" if end is None else _number(section, end) for end in (gain.low, gain.high)]
    return f"{text} [{ends[0]}, {ends[1]}]"


def _beyond(row: GainRow) -> bool:
    return row.gain.value is not None and "beyond" in row.gain.reason


def _number(section: GainSection, value: float) -> str:
    if section.x != "snr_db":
        return f"{value:.2f}"
    return f"{value + 0.0:+.2f}" if abs(value) >= 0.005 else "0"


def _means(section: GainSection, means: Sequence[MeanRow], metric: str, labels: Mapping[str, str]) -> str:
    unit = get_metric(section.metric).unit
    head = ["system", "BD-rate (%)", f"BD-{metric}" + (f" ({unit})" if unit else "")]
    lines = [table_row(head), "|---" * 3 + "|"]
    for row in means:
        rate = "–" if row.rate is None else f"{row.rate:+.1f}"
        quality = "–" if row.quality is None else f"{row.quality:+.{_digits(section)}f}"
        lines.append(table_row([labels.get(row.system, row.system), rate, quality]))
    return "\n".join(lines)


def _notes(section: GainSection, rows: Iterable[GainRow], means: Iterable[MeanRow], labels: Mapping[str, str]) -> list[str]:
    """Why there is no figure, or no interval."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        unbounded = row.gain.least is None and row.gain.most is None
        if row.gain.reason and unbounded and not _beyond(row):
            found.setdefault((row.system, row.gain.reason), []).append(heading(section.x, row.at))
    lines = [f"{labels.get(system, system)}, {', '.join(where)}: {reason}" for (system, reason), where in found.items()]
    lines += [f"{labels.get(row.system, row.system)}, BD: {row.reason}" for row in means if row.reason]
    return [" ".join(f"{line}." for line in lines)] if lines else []
