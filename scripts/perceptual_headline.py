"""The headline of perceptual JSCC: how much bandwidth BPG+LDPC needs where it is as good, from the studies' gains."""

from __future__ import annotations

from pathlib import Path

from openjscc.bench.gains import Gain
from openjscc.report.columns import metric_name
from openjscc.report.markdown import table_row
from openjscc.studies.comparisons import read_tables
from openjscc.studies.gains import GainTable

STUDIES = {"perceptual-cbr": "Kodak", "perceptual-cbr-div2k": "DIV2K crops"}
METRICS = ("dists", "lpips_vgg", "lpips")
RATIOS = (48, 24, 12)
"""Nominal; a record has headers on top, at most 4 % of a small picture."""


def headline(studies: Path) -> str:
    """A row for each data set and metric, a column for each ratio of ganjscc; nothing before the first study is complete.

    The studies say what ganjscc uses as a multiple of what BPG+LDPC needs there; here it is the other way round.
    """
    lines = []
    for name, label in STUDIES.items():
        file = studies / name / "gains.json"
        if not (studies / name / "records.csv").exists():
            continue
        tables = {table.section.metric: table for table in read_tables(file, GainTable) if table.section.over == "ganjscc"}
        for metric in METRICS:
            if metric in tables:
                found = {min(RATIOS, key=lambda ratio: abs(ratio * row.at - 1)): row.gain for row in tables[metric].rows}
                cells = [factor(found[ratio]) if ratio in found else "–" for ratio in RATIOS]
                lines.append(table_row([label, metric_name(metric), *cells]))
    if not lines:
        return ""
    heads = table_row(["data", "equal", *(f"CBR 1/{ratio}" for ratio in RATIOS)])
    return "\n".join(["", heads, "|---" * (len(RATIOS) + 2) + "|", *lines]) + "\n"


def factor(gain: Gain) -> str:
    """Of bandwidth, with its interval. A bound that lies beyond what was measured is left out."""
    if gain.value is None:
        return f"> {1 / gain.most:.2f}" if gain.most else f"< {1 / gain.least:.2f}" if gain.least else "–"
    low, high = ("…" if bound is None else f"{1 / bound:.2f}" for bound in (gain.high, gain.low))
    return f"{1 / gain.value:.2f} [{low}, {high}]"
