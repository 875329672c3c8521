"""What the answers to a questionnaire say: how many prefer a system at each bandwidth of the other one, and what it saves.

Intervals are by bootstrap over participants and pairs at once, since both are samples and their answers are crossed: every
participant judges every pair (A. B. Owen: The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). Of n participants
n - 1 are drawn with replacement, and so of the pairs of each condition, which makes the variance between few of either right
(J. N. K. Rao and C. F. J. Wu, Journal of the American Statistical Association 83, 1988). The ends are percentiles.

The saved bandwidth: preference against the logarithm of the other system's bandwidth, made monotone by the least change in the
mean square (pooled neighbours) and joined by straight lines, falls to 50 % somewhere. Nothing is extrapolated.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

from ..bench.gains import monotone
from ..files import write_atomically
from .answers import Answers
from .questionnaire import Key, KeyPair

FORMAT = "openjscc preferences"
VERSION = 1
RESAMPLES = 4000


@dataclass(frozen=True)
class Preference:
    """How many prefer one system at one condition.

    Attributes:
        of_ratio, over_ratio: nominal bandwidth ratios.
        of_cbr, over_cbr: means of what was sent, headers included.
        pairs: that were asked about.
        answers: of all participants to them.
        share: of the answers that prefer ``of``; None: there are none.
        low, high: 95 % interval over other participants and other images; None: see ``reason``.
        reason: why there is no interval.
    """

    of_ratio: float
    over_ratio: float
    of_cbr: float
    over_cbr: float
    pairs: int
    answers: int
    share: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Crossing:
    """At which bandwidth of the other system as many prefer it as prefer ``of``.

    Attributes:
        of_ratio: nominal bandwidth ratio of ``of``.
        of_cbr: mean of what was sent, headers included.
        cbr: bandwidth ratio of the other system; None: see ``reason``.
        low, high: 95 % interval; None: beyond what was measured, or see ``reason``.
        least: where ``of`` is preferred at all points: the highest of them. The crossing lies above.
        most: where the other one is preferred at all points: the lowest of them. The crossing lies at it or below.
        highest: the highest measured ratio of the other system at which more than half prefer ``of`` (what the arrows of the
            paper's Fig. 6 point to); None: there is none.
        reason: why there is no value, or no interval.
    """

    of_ratio: float
    of_cbr: float
    cbr: float | None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    highest: float | None = None
    reason: str = ""

    def saving(self, cbr: float | None) -> float | None:
        """How much less bandwidth ``of`` takes than ``cbr``, as a share; negative: more."""
        return None if cbr is None else 1 - self.of_cbr / cbr


@dataclass(frozen=True)
class Preferences:
    """All that a questionnaire's answers say.

    Attributes:
        format: `FORMAT`.
        version: of the schema.
        study: name of the questionnaire.
        of, over: the systems, as asked for.
        weights: name and sha256 of the learned ones' weights.
        channel, snr_db, seed: how all images were sent.
        data, data_sha256, manifest_sha256, answers_sha256: what it is made of.
        participants: who answered something.
        pairs: that they were asked about.
        answers: in all.
        missing, skipped, repeated: see `openjscc.survey.answers.Answers`.
        left: share of the answers that chose the left image.
        seconds: median time of an answer; None: not given.
        lost: ids of the pairs that show a lost image.
        preferences: in the order of ``of_ratio`` and ``over_cbr``.
        crossings: one for each ``of_ratio``.
    """

    format: str
    version: int
    study: str
    of: str
    over: str
    weights: dict[str, str]
    channel: str
    snr_db: float
    seed: int
    data: str
    data_sha256: str
    manifest_sha256: str
    answers_sha256: str
    participants: int
    pairs: int
    answers: int
    missing: int
    skipped: int
    repeated: int
    left: float
    seconds: float | None
    lost: tuple[str, ...]
    preferences: tuple[Preference, ...]
    crossings: tuple[Crossing, ...]


def analyse(study: str, key: Key, answers: Answers, *, resamples: int = RESAMPLES) -> Preferences:
    """The preferences at all conditions, and the saved bandwidth at each ratio of ``of``.

    Args:
        study: name of the questionnaire.
        key: of the questionnaire.
        answers: to it.
        resamples: of the bootstrap. Its draws are always the same.
    """
    conditions: dict[float, dict[float, list[int]]] = {}
    for number, pair in enumerate(key.pairs):
        conditions.setdefault(pair.of.ratio, {}).setdefault(pair.over.ratio, []).append(number)
    preferences: list[Preference] = []
    crossings: list[Crossing] = []
    drawn = np.random.default_rng(0)
    for of_ratio in sorted(conditions):
        cells = list(conditions[of_ratio].values())
        found, crossing = _at_one_ratio(key.pairs, answers.prefers, cells, resamples, drawn)
        preferences += found
        crossings.append(crossing)
    one, sides = key.pairs[0], [side for pair in key.pairs for side in (pair.of, pair.over)]
    return Preferences(
        format=FORMAT, version=VERSION, study=study, of=one.of.system, over=one.over.system,
        weights={side.weight: side.weight_sha256 for side in sides if side.weight_sha256 is not None},
        channel=one.of.channel, snr_db=one.of.snr_db, seed=key.seed, data=key.data, data_sha256=key.data_sha256,
        manifest_sha256=key.manifest_sha256, answers_sha256=answers.sha256, participants=len(answers.participants),
        pairs=len(key.pairs), answers=answers.count, missing=answers.missing, skipped=answers.skipped,
        repeated=answers.repeated, left=float(np.nanmean(answers.left)),
        seconds=median(answers.seconds) if answers.seconds else None,
        lost=tuple(pair.id for pair in key.pairs if not (pair.left.arrived and pair.right.arrived)),
        preferences=tuple(preferences), crossings=tuple(crossings),
    )  # fmt: skip


def write_preferences(path: Path, preferences: Preferences) -> None:
    """Write JSON, whole or not at all."""
    write_atomically(path, (json.dumps(dataclasses.asdict(preferences), indent=1, allow_nan=False) + "\n").encode())


def _at_one_ratio(
    pairs: Sequence[KeyPair], prefers: np.ndarray, cells: list[list[int]], resamples: int, drawn: np.random.Generator
) -> tuple[list[Preference], Crossing]:
    """All of one ratio of ``of``; ``cells`` are the pairs of each ratio of ``over``."""
    cells = sorted(cells, key=lambda cell: fmean(pairs[number].over.bandwidth_ratio for number in cell))
    over = np.array([fmean(pairs[number].over.bandwidth_ratio for number in cell) for cell in cells])
    tables = [prefers[:, cell] for cell in cells]
    shares = np.array([np.nanmean(table) if np.isfinite(table).any() else math.nan for table in tables])
    resampled = _resampled(tables, resamples, drawn)
    preferences = []
    for cell, cbr, table, share, row in zip(cells, over, tables, shares, resampled.T, strict=True):
        low, high = _ends(row)
        reason = _no_interval([table])
        preferences.append(
            Preference(
                of_ratio=pairs[cell[0]].of.ratio,
                over_ratio=pairs[cell[0]].over.ratio,
                of_cbr=fmean(pairs[number].of.bandwidth_ratio for number in cell),
                over_cbr=float(cbr),
                pairs=len(cell),
                answers=int(np.isfinite(table).sum()),
                share=None if math.isnan(share) else float(share),
                low=None if reason else low,
                high=None if reason else high,
                reason=reason,
            )
        )
    of_cbr = fmean(pairs[number].of.bandwidth_ratio for cell in cells for number in cell)
    crossing = Crossing(pairs[cells[0][0]].of.ratio, of_cbr, None)
    return preferences, _crossing(crossing, over, shares, resampled, _no_interval(tables))


def _resampled(tables: Sequence[np.ndarray], resamples: int, drawn: np.random.Generator) -> np.ndarray:
    """Shares ``(resamples, cells)`` of resampled participants, the same in all cells, and resampled pairs of each cell; NaN where
    nobody drawn has answered any pair drawn."""
    people = len(tables[0])
    who = drawn.multinomial(people - 1, np.full(people, 1 / people), resamples).astype(np.float64)
    shares = []
    for table in tables:
        pairs = table.shape[1]
        which = drawn.multinomial(pairs - 1, np.full(pairs, 1 / pairs), resamples)
        there = np.isfinite(table)
        chosen, answered = (((who @ values) * which).sum(1) for values in (np.where(there, table, 0.0), there.astype(np.float64)))
        shares.append(np.divide(chosen, answered, out=np.full(resamples, math.nan), where=answered > 0))
    return np.stack(shares, axis=1)


def _no_interval(tables: Sequence[np.ndarray]) -> str:
    """Why there is none; empty: there is one."""
    if len(tables[0]) < 2:
        return "a single participant"
    if any(table.shape[1] < 2 for table in tables):
        return "a single pair"
    if any(not np.isfinite(table).any() for table in tables):
        return "no answers"
    agree = all(len(np.unique(table[np.isfinite(table)])) == 1 for table in tables)
    return "all answers agree" if agree else ""


def _ends(values: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % percentile interval; None where an end is infinite."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = (float(end) for end in np.quantile(known, [0.025, 0.975], method="inverted_cdf"))
    return low if math.isfinite(low) else None, high if math.isfinite(high) else None


def _crossing(blank: Crossing, over: np.ndarray, shares: np.ndarray, resampled: np.ndarray, no_interval: str) -> Crossing:
    known = np.isfinite(shares)
    above = over[known & (shares > 0.5)]
    blank = dataclasses.replace(blank, highest=float(above.max()) if len(above) else None)
    over, shares, resampled = over[known], shares[known], resampled[:, known]
    if not len(over):
        return dataclasses.replace(blank, reason="no answers")
    (place,) = crossings(over, shares[None])
    if not math.isfinite(place):
        beyond = {"least": float(over[-1])} if place > 0 else {"most": float(over[0])}
        words = "preferred at all points" if place > 0 else "preferred at no point"
        return dataclasses.replace(blank, reason=words, **beyond)
    if no_interval:
        return dataclasses.replace(blank, cbr=float(place), reason=f"no interval: {no_interval}")
    low, high = _ends(crossings(over, resampled[np.isfinite(resampled).all(1)]))
    reason = "" if low is not None and high is not None else "the interval goes beyond what was measured"
    return dataclasses.replace(blank, cbr=float(place), low=low, high=high, reason=reason)


def crossings(over: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Where each row of shares, made to fall with ``over``, falls to one half.

    Args:
        over: bandwidth ratios ``(n,)``, rising.
        shares: that prefer the system that is asked about, ``(rows, n)``.

    Returns:
        ``(rows,)``: the least bandwidth ratio at which no more than half prefer it, between two points by a straight line over
        the logarithm; inf where more than half do at the highest, -inf where no more than half do at the lowest. Exactly half at
        the lowest: that point.
    """
    fallen = -monotone(-shares)
    reached = fallen <= 0.5
    right = np.argmax(reached, axis=1)
    rows, left = np.arange(len(fallen)), np.maximum(right - 1, 0)
    drop = fallen[rows, left] - fallen[rows, right]
    part = np.divide(fallen[rows, left] - 0.5, drop, out=np.zeros(len(fallen)), where=drop > 0)
    places = np.exp(np.log(over[left]) + part * np.log(over[right] / over[left]))
    places = np.where(fallen[:, 0] < 0.5, -np.inf, places)
    return np.where(reached.any(axis=1), places, np.inf)
