"""Comparisons in words, made from records: where one system is ahead of another, and by how much, whoever it is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from openjscc.bench.differences import Difference
from openjscc.bench.gains import Gain
from openjscc.metrics import get_metric
from openjscc.report.columns import metric_name

CLASSES = {"miou": "21 classes", "miou_nine": "nine classes"}


def title(metric: str) -> str:
    """Name of a metric at the start of a sentence."""
    return (
        f"mIoU of {CLASSES[metric]}"
        if metric in CLASSES
        else {"pixel_accuracy": "Pixel accuracy"}.get(metric, metric_name(metric))
    )


def at(snrs: Sequence[float], all_snrs: Sequence[float]) -> str:
    """Some of all SNRs, neighbours together."""
    if not snrs:
        return "at no SNR"
    if set(snrs) == set(all_snrs):
        return "at every SNR"
    places = {snr: place for place, snr in enumerate(sorted(all_snrs))}
    runs = []
    for _, group in itertools.groupby(enumerate(sorted(snrs)), key=lambda pair: places[pair[1]] - pair[0]):
        run = [snr for _, snr in group]
        runs.append(f"at {run[0]:g} dB" if len(run) == 1 else f"from {run[0]:g} to {run[-1]:g} dB")
    return ", ".join(runs)


def side(one: Difference, metric: str) -> str:
    """Ahead or behind where the interval is without 0, else open."""
    if one.low is None or one.high is None or one.low <= 0 <= one.high:
        return "open"
    return "ahead" if (one.low > 0) == get_metric(metric).higher_is_better else "behind"


def where(found: Mapping[float, Difference], metric: str) -> str:
    """At which SNRs it is ahead, open and behind, from the lowest SNR."""
    sides = {snr: side(found[snr], metric) for snr in sorted(found)}
    words = dict.fromkeys(sides.values())
    return ", ".join(f"{word} {at([snr for snr in sides if sides[snr] == word], list(sides))}" for word in words)


def amount(value: float, metric: str) -> str:
    """A difference with its unit."""
    if metric == "psnr":
        return f"{value:+.2f} dB"
    return f"{100 * value:+.1f} points" if get_metric(metric).kind == "task" else f"{value:+.3f}"


def span(values: Sequence[float], metric: str) -> str:
    """The least and the greatest difference."""
    least, most = amount(min(values), metric), amount(max(values), metric)
    return least if least == most else f"{least.partition(' ')[0]} to {most}"


def compared(found: Mapping[float, Difference], metric: str) -> str:
    """Where it is ahead, and the least and the greatest difference."""
    return f"{where(found, metric)} ({span([one.value for one in found.values()], metric)})"


def single(one: Difference, metric: str) -> str:
    """One difference, its interval, and which is ahead."""
    if one.low is None or one.high is None:
        return f"{amount(one.value, metric)}, open"
    low, high = (amount(bound, metric).partition(" ")[0] for bound in (one.low, one.high))
    return f"{amount(one.value, metric)} [{low}, {high}], {side(one, metric)}"


def times(gain: Gain) -> str:
    """How many times as much bandwidth a system needs as the one at whose points the gain was computed, with the interval.

    Gains say the reverse: how many times as much the other one uses.
    """
    if gain.value is None:
        return f"more than {1 / gain.most:.2f}" if gain.most else f"less than {1 / gain.least:.2f}" if gain.least else "–"
    low, high = ("…" if bound is None else f"{1 / bound:.2f}" for bound in (gain.high, gain.low))
    return f"{1 / gain.value:.2f} [{low}, {high}]"


def saved(gain: Gain) -> str:
    """How many dB less SNR a system needs, with the interval. A bound that lies beyond what was measured is left out."""
    if gain.value is None:
        least, most = gain.least, gain.most
        return f"more than {least:.0f}" if least is not None else f"less than {most:.0f}" if most is not None else "–"
    low, high = ("…" if bound is None else f"{bound:.1f}" for bound in (gain.low, gain.high))
    return f"{gain.value:.1f} [{low}, {high}]"
