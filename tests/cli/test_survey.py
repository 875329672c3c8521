"""``openjscc survey``: questionnaires made once, the same under the seed, and evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

OVER = "jpeg-ldpc:mcs=qpsk-1/2-n1944"
QUESTIONNAIRE = f"""
title = "Small pairs"
paper = "A. Author: A paper, 2020."
data = "pictures"
names = {{ adjscc = "ADJSCC" }}

[pairs]
of = "adjscc"
over = "{OVER}"
ratio = ["1/12", "1/6"]
over_ratio = [0.5, "1/1"]
snr_db = 10
count = 10
size = 16
question = "Which?"
"""


@pytest.fixture
def small(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """A questionnaire about three pictures, ``small.toml``."""
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        make_picture(tmp_path / "pictures" / f"{number}.png", 48, 40, seed=number)
    path = tmp_path / "small.toml"
    path.write_text(QUESTIONNAIRE)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def answered(folder: Path, people: int = 4) -> Path:
    """Everybody prefers ADJSCC where the other one has the ratio 0.5, and in every other pair otherwise."""
    lines = ["participant,pair,choice,seconds"]
    for number, pair in enumerate(json.loads((folder / "key.json").read_text())["pairs"]):
        roles = {pair[side]["role"]: side for side in ("left", "right")}
        better = "of" if pair[roles["over"]]["ratio"] == 0.5 or number % 2 else "over"
        lines += [f"p{person},{pair['id']},{roles[better]},{person + 1}" for person in range(people)]
    path = folder / "answers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_questionnaire_is_made(openjscc, small: Path) -> None:
    result = openjscc("survey", "make", small, "--json", "-j", 2)
    result.assert_ok()
    folder = Path("results/surveys/small")
    manifest, key = (json.loads((folder / name).read_text()) for name in ("questions/manifest.json", "key.json"))
    report = json.loads(result.out)
    assert report["pairs"] == len(manifest["pairs"]) == len(key["pairs"]) == 10
    assert [item["pairs"] for item in report["conditions"]] == [3, 3, 2, 2]
    assert (manifest["format"], manifest["version"], manifest["size"], manifest["question"]) == (
        "openjscc pairs",
        1,
        [16, 16],
        "Which?",
    )
    assert key["manifest_sha256"] == hashlib.sha256((folder / "questions/manifest.json").read_bytes()).hexdigest()

    files = {path.name for path in (folder / "questions").iterdir()}
    named = {pair[what]["file"] for pair in manifest["pairs"] for what in ("original", "left", "right")}
    assert files == {"manifest.json", *named}
    assert len(named) == 30
    for pair, secret in zip(manifest["pairs"], key["pairs"], strict=True):
        assert pair["id"] == secret["id"]
        for what in ("original", "left", "right"):
            data = (folder / "questions" / pair[what]["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == pair[what]["sha256"]
        x, y, width, height = secret["crop"]
        whole = np.asarray(Image.open(Path("pictures") / secret["picture"]))
        shown = np.asarray(Image.open(folder / "questions" / pair["original"]["file"]))
        assert np.array_equal(shown, whole[y : y + height, x : x + width])
        sides = {secret[side]["role"]: secret[side] for side in ("left", "right")}
        assert sides["of"]["weight"] == "adjscc.photo"
        assert len(sides["of"]["weight_sha256"]) == 64
        assert sides["over"]["weight_sha256"] is None
        assert "jpeg" in sides["over"]["tool"].lower()
        for side in sides.values():
            assert side["bandwidth_ratio"] == side["channel_uses"] / (3 * 48 * 40)
            header = {"of": 124, "over": 148}[side["role"]]
            assert side["channel_uses"] == round(side["ratio"] * 3 * 48 * 40) + header
            assert (side["snr_db"], side["channel"], side["seed"]) == (10.0, "awgn", 0)

    open_to_all = (folder / "questions/manifest.json").read_text()
    for word in ("adjscc", "jpeg", "ldpc", "ratio", "seed", "snr", "weight", "of_"):
        assert word not in open_to_all.lower(), word

    openjscc("survey", "make", small, "-o", "again", "-j", 1).assert_ok()
    assert content(Path("again")) == content(folder)
    openjscc("survey", "make", small, "-o", "other", "--seed", 1).assert_ok()
    other = json.loads(Path("other/key.json").read_text())
    assert other["pairs"][0]["left"]["seed"] == other["seed"] == 1
    assert {pair["id"] for pair in other["pairs"]}.isdisjoint(pair["id"] for pair in key["pairs"])

    openjscc("survey", "make", small).assert_error(2, "already holds")
    quick = openjscc("survey", "make", small, "--limit", 3, "-o", "quick", "--model", "deepjscc.photo")
    quick.assert_ok()
    assert "deepjscc.photo" in quick.out
    assert len(list(Path("quick/questions").glob("*.png"))) == 9


def test_what_was_sent_is_what_transmit_gives(openjscc, small: Path) -> None:
    from openjscc import load, transmit
    from openjscc.data.images import to_uint8

    openjscc("survey", "make", small, "--limit", 1, "-o", "out", "--seed", 3).assert_ok()
    (pair,) = json.loads(Path("out/key.json").read_text())["pairs"]
    (side,) = [side for side in ("left", "right") if pair[side]["role"] == "of"]
    result = transmit(load("adjscc.photo"), "awgn", f"pictures/{pair['picture']}", 10.0, ratio=pair[side]["ratio"], seed=3)
    assert result.image is not None
    x, y, width, height = pair["crop"]
    expected = to_uint8(result.image[0, :, y : y + height, x : x + width]).permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(Image.open(f"out/questions/{pair['id']}-{side}.png")), expected)


def test_answers_are_evaluated(openjscc, small: Path) -> None:
    openjscc("survey", "make", small, "-o", "out").assert_ok()
    answers = answered(Path("out"))
    result = openjscc("survey", "analyse", small, answers, "-o", "out")
    result.assert_ok()
    assert "4 participants, 40 answers" in result.err
    assert "median time of an answer: 2.5 s" in result.err
    assert "prefer ADJSCC (%)" in result.out
    found = json.loads(Path("out/preferences.json").read_text())
    assert [each["share"] for each in found["preferences"]][::2] == [1.0, 1.0]
    assert found["weights"].keys() == {"adjscc.photo"}
    page = Path("out/small.md").read_text()
    assert page.startswith("# Small pairs\n\nA. Author: A paper, 2020.\n")
    assert "`openjscc survey analyse small.toml answers.csv -o DIR`" in page
    assert "all answers agree" in page
    assert Path("out/preferences.svg").stat().st_size > 1000
    first = content(Path("out"))
    again = openjscc("survey", "analyse", small, answers, "-o", "out", "--json")
    again.assert_ok()
    assert json.loads(again.out)["answers"] == 40
    assert content(Path("out")) == first


def test_answers_need_their_own_questionnaire(openjscc, small: Path) -> None:
    openjscc("survey", "analyse", small, "answers.csv", "-o", "out").assert_error(3, "no questionnaire")
    openjscc("survey", "make", small, "-o", "out", "--limit", 2).assert_ok()
    openjscc("survey", "analyse", small, "none.csv", "-o", "out").assert_error(2, "none.csv")
    answers = answered(Path("out"))
    openjscc("survey", "make", small, "-o", "other", "--seed", 1).assert_ok()
    openjscc("survey", "analyse", small, answers, "-o", "other").assert_error(2, "unknown pair")
    Path("out/key.json").write_bytes(Path("other/key.json").read_bytes())
    openjscc("survey", "analyse", small, answers, "-o", "out").assert_error(4, "key.json")
    small.rename("renamed.toml")
    openjscc("survey", "analyse", "renamed.toml", answers, "-o", "other").assert_error(2, "questionnaire small")


def test_a_lost_picture_is_told(openjscc, small: Path) -> None:
    small.write_text(QUESTIONNAIRE.replace("snr_db = 10", "snr_db = -8"))
    result = openjscc("survey", "make", small, "-o", "out", "--limit", 1)
    result.assert_ok()
    assert "shows a lost picture of" in result.err
    (pair,) = json.loads(Path("out/key.json").read_text())["pairs"]
    assert {pair[side]["role"]: pair[side]["arrived"] for side in ("left", "right")} == {"of": True, "over": False}
    openjscc("survey", "analyse", small, answered(Path("out")), "-o", "out").assert_ok()
    assert f"shown as mid-grey: {pair['id']}" in Path("out/small.md").read_text()


def test_the_packaged_one_needs_a_codec_with_its_ratios(openjscc, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = openjscc("survey", "list")
    assert "perceptual-pairs" in listed.out
    with monkeypatch.context() as without:
        without.setattr("openjscc.weightfile.weight_files", lambda role: {})
        missing = openjscc("survey", "make", "perceptual-pairs", "-o", "out", "--model", "mtgsc")
    missing.assert_error(3, "mtgsc has no released weight")
    assert "--model" in missing.err.splitlines()[-1]
    openjscc("survey", "make", "perceptual-pairs", "-o", "out", "--model", "adjscc").assert_error(2, "1/48")
    assert not Path("out").exists()


def test_names_that_do_not_fit(openjscc) -> None:
    near = openjscc("survey", "make", "perceptual-pair")
    near.assert_error(2, "perceptual-pair")
    assert "perceptual-pairs" in near.err.splitlines()[-1]
    openjscc("study", "perceptual-pairs").assert_error(2, "unknown study")
    openjscc("survey", "make", "kodak-snr").assert_error(2, "unknown questionnaire")
    assert "openjscc survey make" in openjscc("survey").out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('of = "adjscc"', 'off = "adjscc"', ("small.toml: pairs", "'off'")),
        ("count = 10", 'count = "10"', ("pairs: count", "'10'")),
        ("count = 10", "count = 19", ("19 pairs of 18 patches",)),
        ('ratio = ["1/12"', 'ratio = ["1/13"', ("1/13",)),
        ("[pairs]", "[pairs]\nchannel = 'water'", ("small.toml: pairs", "water")),
        ('data = "pictures"', 'data = "pictres"', ("pictres",)),
        ("title =", "titel =", ("small.toml", "'titel'")),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_the_work(
    openjscc, small: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    text = small.read_text()
    assert old in text
    small.write_text(text.replace(old, new))
    openjscc("survey", "make", small.name, "-o", "out").assert_error(2, *words)
    assert not Path("out").exists()
