"""Answers to questionnaires: what is read, and simulated participants of whom the truth is known."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from openjscc.errors import UsageError
from openjscc.survey.analysis import Crossing, analyse, crossings
from openjscc.survey.answers import read_answers
from openjscc.survey.page import draw_preferences, labels, write_page
from openjscc.survey.questionnaire import MANIFEST_FORMAT, VERSION, Manifest, load_questionnaire

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
user_study = pytest.importorskip("user_study", reason="needs the source tree")
sys.path.remove(str(SCRIPTS))
OVER, RATIOS = user_study.OVER, user_study.RATIOS
analysed, made, sent, simulated, written = (
    user_study.analysed, user_study.made, user_study.sent, user_study.simulated, user_study.written,
)  # fmt: skip

MANIFEST = Manifest(MANIFEST_FORMAT, VERSION, "perceptual-pairs", "Pairs", "Which?", (256, 256), ())


# Simulated participants


def test_the_crossing_is_recovered(tmp_path: Path) -> None:
    """Many people and pairs: within 2 % of the true bandwidth; the shares within 5 points of the true ones."""
    where = {1 / 48: 0.0393, 1 / 24: 0.0508}
    key = made(400)
    found = analysed(tmp_path, key, simulated(key, 60, where, 6.0, (0.3, 0.5), np.random.default_rng(0)))
    for crossing in found.crossings:
        true = where[crossing.of_ratio] * 1.001
        assert crossing.cbr == pytest.approx(true, rel=0.02)
        assert crossing.low is not None
        assert crossing.high is not None
        assert crossing.low < true < crossing.high < 1.2 * crossing.low
    saved = [crossing.saving(crossing.cbr) for crossing in found.crossings]
    assert saved == pytest.approx([0.47, 0.18], abs=0.02)
    chance = np.random.default_rng(1).normal(0, math.hypot(0.3, 0.5), 20000)
    for each in found.preferences:
        odds = 6 * math.log(where[each.of_ratio] / each.over_ratio)
        assert each.share == pytest.approx(float((1 / (1 + np.exp(-odds - chance))).mean()), abs=0.05)
        assert each.pairs == 50
        assert each.answers == 3000
    assert (found.participants, found.pairs, found.answers, found.missing, found.seconds) == (60, 400, 24000, 0, 2.5)
    assert found.left == pytest.approx(0.5, abs=0.03)
    highest = [crossing.highest for crossing in found.crossings]
    assert highest == pytest.approx([0.0365 * 1.001, 0.046 * 1.001])


@pytest.mark.parametrize(("spread", "people"), [((0.5, 0.8), 20), ((1.0, 1.5), 20), ((0.5, 0.8), 8)])
def test_intervals_cover_the_truth(spread: tuple[float, float], people: int) -> None:
    """A questionnaire of the paper's length, 100 times: at least 92 % of the 95 % intervals have the truth. They are a little
    wide where answers differ more by chance than by person and pair."""
    found = user_study.coverage(people, *spread, studies=100, generator=np.random.default_rng(2))
    assert found["shares"] > 780
    assert 0.92 <= found["share_covered"] <= 0.995
    assert found["share_width"] < {0.5: 0.36 if people == 20 else 0.5, 1.0: 0.46}[spread[0]]
    assert found["crossings"] > 180
    assert found["crossing_covered"] >= 0.93


def test_people_and_pairs_both_count(tmp_path: Path) -> None:
    """Where people differ and pairs do not, more pairs leave the interval as it is, and the other way round."""

    def width(people: int, pairs: int, spread: tuple[float, float]) -> float:
        key = made(pairs, RATIOS[:1], OVER[:1])
        lines = simulated(key, people, {1 / 48: OVER[0]}, 0.0, spread, np.random.default_rng(people + pairs))
        (each,) = analysed(tmp_path, key, lines).preferences
        assert each.low is not None
        assert each.high is not None
        return each.high - each.low

    for spread, more_people, more_pairs in (((2.0, 0.0), 0.7, 1.0), ((0.0, 2.0), 1.0, 0.7)):
        base = width(20, 20, spread)
        assert width(80, 20, spread) / base == pytest.approx(more_people, abs=0.25)
        assert width(20, 80, spread) / base == pytest.approx(more_pairs, abs=0.25)


# The crossing in closed form


def test_crossings_in_closed_form() -> None:
    over = np.array([0.02, 0.04, 0.08])
    rows = [
        ([0.75, 0.25, 0.0], math.sqrt(0.02 * 0.04)),
        ([1.0, 0.6, 0.2], 0.04 * 2**0.25),
        ([1.0, 0.5, 0.5], 0.04),
        ([0.5, 0.4, 0.3], 0.02),
        ([0.4, 0.6, 0.2], 0.02),  # pooled to 0.5, 0.5, 0.2
        ([0.9, 0.8, 0.6], math.inf),
        ([0.4, 0.3, 0.9], math.inf),  # pooled to 0.53
        ([0.4, 0.3, 0.2], -math.inf),
    ]
    found = crossings(over, np.array([shares for shares, _ in rows]))
    assert found == pytest.approx(np.array([place for _, place in rows]))


def test_what_lies_beyond_is_a_bound(tmp_path: Path) -> None:
    key = made(46)
    ends = {1 / 48: 0.5, 1 / 24: 0.003}
    found = analysed(tmp_path, key, simulated(key, 10, ends, 3.0, (0.3, 0.3), np.random.default_rng(0)))
    better, worse = found.crossings
    assert (better.cbr, better.most) == (None, None)
    assert better.least == better.highest == pytest.approx(0.058 * 1.001)
    assert better.saving(better.least) == pytest.approx(1 - 1 / 48 / 0.058)
    assert (worse.cbr, worse.least, worse.highest) == (None, None, None)
    assert worse.most == pytest.approx(0.029 * 1.001)
    assert Crossing(1 / 48, 0.02, None).saving(None) is None


def test_where_there_is_no_interval(tmp_path: Path) -> None:
    key = made(8)
    lines = simulated(key, 5, dict.fromkeys(RATIOS, 0.04), 5.0, (0.3, 0.3), np.random.default_rng(0))
    assert {each.reason for each in analysed(tmp_path, key, lines).preferences} == {"a single pair"}
    key = made(46)
    alone = [
        {**line, "participant": "one"}
        for line in simulated(key, 1, dict.fromkeys(RATIOS, 0.04), 5.0, (0, 0), np.random.default_rng(0))
    ]
    assert {each.reason for each in analysed(tmp_path, key, alone).preferences} == {"a single participant"}
    sure = simulated(key, 5, dict.fromkeys(RATIOS, 0.041), 1e3, (0, 0), np.random.default_rng(0))
    found = analysed(tmp_path, key, sure)
    assert {(each.share, each.low, each.reason) for each in found.preferences} == {
        (1.0, None, "all answers agree"),
        (0.0, None, "all answers agree"),
    }
    assert {each.reason for each in found.crossings} == {"no interval: all answers agree"}
    some = [line for line in sure if line["pair"] in {pair.id for pair in key.pairs if pair.over.ratio == OVER[0]}]
    found = analysed(tmp_path, key, some)
    assert [each.share for each in found.preferences] == [1.0, None, None, None] * 2
    assert [each.least for each in found.crossings] == pytest.approx([OVER[0] * 1.001] * 2)


# Answers as they come


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    key = made(8)
    lines = simulated(key, 3, dict.fromkeys(RATIOS, 0.04), 5.0, (1, 1), np.random.default_rng(0))
    table = "\ufeffParticipant, pair,choice,seconds\r\n" + "".join(
        f'"{line["participant"]}",{line["pair"]},{str(line["choice"]).upper()},2.5\r\n' for line in reversed(lines)
    )
    (tmp_path / "answers.csv").write_text(table, newline="")
    ours, theirs = (read_answers(path, key) for path in (written(tmp_path / "a.jsonl", lines), tmp_path / "answers.csv"))
    assert ours.participants == theirs.participants == ("person 0", "person 1", "person 2")
    assert np.array_equal(ours.prefers, theirs.prefers)
    assert ours.seconds == theirs.seconds == (2.5,) * 24
    assert (ours.count, ours.missing) == (24, 0)
    of_left = np.array([pair.left.role == "of" for pair in key.pairs])
    assert np.array_equal(ours.left == ours.prefers, np.broadcast_to(of_left, (3, 8)))


def test_missing_skipped_and_repeated_answers_are_counted(tmp_path: Path) -> None:
    key = made(8)
    lines = simulated(key, 3, dict.fromkeys(RATIOS, 0.04), 5.0, (1, 1), np.random.default_rng(0))
    lines = [
        *lines[:-3],
        {**lines[0], "seconds": 99},
        {**lines[-1], "choice": None},
        {"participant": 7, "pair": "p0000003", "choice": " "},
    ]
    answers = read_answers(written(tmp_path / "a.jsonl", lines), key)
    assert (answers.count, answers.missing, answers.skipped, answers.repeated) == (21, 3, 2, 1)
    assert len(answers.participants) == 3
    assert 99 not in answers.seconds
    found = analyse("perceptual-pairs", key, answers, resamples=100)
    assert (found.answers, found.missing, found.skipped, found.repeated) == (21, 3, 2, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("participant,pair\np,p0000001\n", ("participant, pair", "participant,pair,choice,seconds")),
        ("participant,pair,choice,colour\np,p0000001,left,red\n", ("colour",)),
        ("participant;pair;choice\np;p0000001;left\n", ("participant;pair;choice",)),
        ("participant,pair,choice\np,p0000001\n", ("line 2", "2 values, not 3")),
        ("participant,pair,choice\np,p0000001,left\np,p0000009,left\n", ("line 3", "'p0000009'", "did you mean")),
        ("participant,pair,choice\np,zebra,left\n", ("line 2", "'zebra'", "another questionnaire")),
        ("participant,pair,choice\np,p0000001,top\n", ("line 2", "'top'", "left or right")),
        ("participant,pair,choice\n ,p0000001,left\n", ("line 2", "no participant")),
        (
            "participant,pair,choice\np,p0000001,left\nq,p0000001,left\np,p0000001,right\n",
            ("line 4", "p chose right", "left in line 2"),
        ),
        ("participant,pair,choice,seconds\np,p0000001,left,-1\n", ("line 2", "seconds '-1'")),
        ("participant,pair,choice,seconds\np,p0000001,left,soon\n", ("line 2", "seconds 'soon'")),
        ("participant,pair,choice\n", ("no answers",)),
        ("", ("no answers",)),
        ("participant,pair,choice\np,p0000001,\n", ("no answers",)),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_answers(path, made(8))
    assert raised.value.hint
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"participant": "p", "pair": "p0000001", "choice": "left"}\nleft\n', ("line 2", "no JSON object")),
        ("[1]\n", ("line 1", "no JSON object")),
        ('{"participant": "p", "pair": "p0000001", "side": "left"}\n', ("line 1", "'side'")),
        ('{"participant": ["p"], "pair": "p0000001", "choice": "left"}\n', ("line 1", "participant is ['p']")),
        ('{"participant": "p", "pair": "p0000001", "choice": true}\n', ("line 1", "choice is True")),
    ],
)
def test_what_is_wrong_with_json_lines_is_said(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_answers(path, made(8))
    for word in words:
        assert word in str(raised.value)


def test_files_that_are_no_answers(tmp_path: Path) -> None:
    for name in ("answers.txt", "none.csv"):
        with pytest.raises(UsageError, match=name):
            read_answers(tmp_path / name, made(8))
    (tmp_path / "latin.csv").write_bytes("participant,pair,choice\nJosé,p0000001,left\n".encode("latin-1"))
    with pytest.raises(UsageError, match="UTF-8"):
        read_answers(tmp_path / "latin.csv", made(8))


# Record, figure and page


def test_what_is_written_is_that_of_the_record(tmp_path: Path) -> None:
    questionnaire, key = load_questionnaire("perceptual-pairs"), made(46)
    where = {1 / 48: 0.0393, 1 / 24: 0.003}
    lines = simulated(key, 20, where, 5.0, (0.5, 0.8), np.random.default_rng(3))
    found = analysed(tmp_path, key, lines)
    paths = write_page(tmp_path, questionnaire, MANIFEST, found, "openjscc survey analyse perceptual-pairs answers.jsonl")
    first = {path: path.read_bytes() for path in paths}
    assert (tmp_path / "preferences.json").read_text() == json.dumps(dataclasses.asdict(found), indent=1) + "\n"
    page = (tmp_path / "perceptual-pairs.md").read_text()
    crossing, worse = found.crossings
    assert crossing.cbr is not None
    assert worse.most is not None
    for text in (
        "20 participants, 920 answers", f"| {crossing.of_cbr:.4f} | {crossing.cbr:.4f} [", f"| < {worse.most:.4f} | < ",
        f"| {100 * (found.preferences[1].share or 0):.0f} [", "perceptual JSCC", "BPG+LDPC", "(preferences.svg)",
    ):  # fmt: skip
        assert text in page, text
    write_page(tmp_path, questionnaire, MANIFEST, found, "openjscc survey analyse perceptual-pairs answers.jsonl")
    assert {path: path.read_bytes() for path in paths} == first
    assert draw_preferences(found, labels(questionnaire, found), "screen").get_figwidth() == 9.6
