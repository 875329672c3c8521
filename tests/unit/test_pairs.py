"""Questionnaires: which patches are asked about, and what the files say."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from openjscc.errors import UsageError
from openjscc.survey.make import design
from openjscc.survey.questionnaire import (
    KEY_FORMAT,
    MANIFEST_FORMAT,
    VERSION,
    Key,
    Manifest,
    PairsSection,
    load_questionnaire,
    packaged_questionnaires,
    read_made,
)

KODAK = [(512, 768)] * 17 + [(768, 512)] * 7
SECTION = PairsSection("ganjscc", "bpg-ldpc", ("1/48", "1/24"), (0.029, 0.0365, 0.046, 0.058), "Which?")


def test_the_packaged_one_is_the_papers() -> None:
    (name,) = packaged_questionnaires()
    found = load_questionnaire(name)
    section = found.pairs
    assert (section.of, section.count, section.size, section.snr_db, section.channel) == ("ganjscc", 46, 256, 10.0, "awgn")
    assert {a for a, _ in section.conditions} == {1 / 48, 1 / 24}
    over = sorted({b for _, b in section.conditions})
    assert (over[0], over[-1]) == (0.029, 0.058)
    steps = [b / a for a, b in itertools.pairwise(over)]
    assert max(steps) / min(steps) < 1.01
    assert found.data == "kodak"
    assert set(found.names) == {section.of, section.over}


def test_patches_and_conditions_take_turns() -> None:
    patches = design(SECTION, KODAK)
    assert len(patches) == len({patch.id for patch in patches}) == 46
    assert [patch.id for patch in patches] == sorted(patch.id for patch in patches)
    assert len({(patch.picture, patch.x, patch.y) for patch in patches}) == 46
    for patch in patches:
        height, width = KODAK[patch.picture]
        assert patch.x % 256 == patch.y % 256 == 0
        assert patch.x + 256 <= width
        assert patch.y + 256 <= height
    assert set(Counter(patch.picture for patch in patches).values()) == {1, 2}
    counts = Counter(patch.ratios for patch in patches)
    assert len(counts) == 8
    assert set(counts.values()) == {5, 6}
    left = Counter(patch.ratios for patch in patches if patch.of_left)
    assert all(abs(2 * left[ratios] - count) <= 1 for ratios, count in counts.items())
    assert all(len({p.picture for p in patches if p.ratios == ratios}) == count for ratios, count in counts.items())


def test_order_and_sides_say_nothing_of_the_systems() -> None:
    """Over 200 seeds: neither side nor place in the order goes with a system or a bandwidth."""
    left, first = [], []
    for seed in range(200):
        patches = design(dataclasses.replace(SECTION, seed=seed), KODAK)
        left.append(patches[0].of_left)
        first.append(patches[0].ratios)
    assert 75 < sum(left) < 125
    assert len(set(first)) == 8
    assert max(Counter(first).values()) < 45


def test_the_seed_decides_and_a_limit_takes_the_first() -> None:
    patches = design(SECTION, KODAK)
    assert design(SECTION, KODAK) == patches
    assert design(dataclasses.replace(SECTION, seed=1), KODAK) != patches
    some = design(SECTION, KODAK, limit=8)
    assert set(some) < set(patches)
    assert len({patch.ratios for patch in some}) == len(some) == 8
    assert len(design(SECTION, KODAK, limit=99)) == 46
    assert patches[0].id == "p03a4b8e", "ids are the same on every machine"


def test_too_few_patches() -> None:
    with pytest.raises(UsageError, match="46 pairs of 12 patches"):
        design(SECTION, [(512, 768)] * 2 + [(255, 900)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "count 0"), ({"size": -1}, "size -1"), ({"ratio": ()}, "bandwidth ratios"), ({"ratio": ("auto",)}, "band"),
        ({"over_ratio": ("one",)}, "'one'"), ({"snr_db": float("nan")}, "nan"), ({"channel": "water"}, "water"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used(change: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(SECTION, **change)


def test_the_documented_fields_are_those_of_the_files() -> None:
    """docs/user-study.md names every field of manifest, key and record."""
    from openjscc.survey.analysis import FORMAT, Crossing, Preference, Preferences
    from openjscc.survey.answers import COLUMNS
    from openjscc.survey.questionnaire import KeyPair, Pair, PictureFile, Sent

    text = (Path(__file__).resolve().parents[2] / "docs" / "user-study.md").read_text("utf-8")
    for cls in (Manifest, Pair, PictureFile, Key, KeyPair, Sent, Preferences, Preference, Crossing):
        for field in dataclasses.fields(cls):
            assert f"`{field.name}`" in text, f"{cls.__name__}.{field.name}"
    for word in (MANIFEST_FORMAT, KEY_FORMAT, FORMAT, *COLUMNS):
        assert word in text
    assert VERSION == 1


def test_read_made_wants_both_files_and_this_version(tmp_path: Path) -> None:
    from openjscc.errors import IntegrityError, MissingError

    with pytest.raises(MissingError, match="no questionnaire"):
        read_made(tmp_path)
    (tmp_path / "questions").mkdir()
    path = tmp_path / "questions" / "manifest.json"
    for text, words in (
        ("[]", "format"),
        ("{", "manifest.json"),
        (json.dumps({"format": MANIFEST_FORMAT, "version": 2}), "version is 2"),
    ):
        path.write_text(text)
        with pytest.raises(IntegrityError, match=words):
            read_made(tmp_path)
