"""``openjscc models``: list, info, verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_weights_are_listed_by_name(openjscc) -> None:
    names = [line.split()[0] for line in openjscc("models", "list").out.split("\n\n")[0].splitlines()[1:]]
    assert len(names) > 5
    assert names == sorted(names)


def test_list(openjscc) -> None:
    result = openjscc("models", "list")
    result.assert_ok()
    lines = {line.split()[0]: line for line in result.out.splitlines() if line}
    assert {"name", "adjscc.photo", "adjscc.cifar10", "deepjscc.photo"} <= set(lines)
    assert "1/12 1/6" in lines["adjscc.photo"]
    assert "Apache-2.0" in lines["adjscc.photo"]
    assert lines["classifier.cifar10"].split()[-4:] == ["classification", "10", "32x32", "Apache-2.0"]


def test_list_json(openjscc) -> None:
    facts = {item["name"]: item for item in json.loads(openjscc("models", "list", "--json").out)}
    assert facts["adjscc.cifar10"]["config"]["agreed_size"] == [32, 32]
    assert facts["adjscc.cifar10"]["ratios"] == pytest.approx([1 / 12, 1 / 6])
    assert (facts["adjscc.cifar10"]["role"], facts["classifier.cifar10"]["role"]) == ("codec", "task")
    assert len(facts["classifier.cifar10"]["classes"]) == 10


def test_no_weights(openjscc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.weightfile.weight_files", lambda role: {})
    result = openjscc("models", "list")
    result.assert_ok()
    assert result.out == ""
    assert "OPENJSCC_WEIGHTS" in result.err
    assert openjscc("models", "list", "--json").out == "[]\n"
    openjscc("models", "verify").assert_error(3, "no weights")
    openjscc("send").assert_error(3, "adjscc")


def test_info(openjscc, tiny_weights: Path) -> None:
    result = openjscc("models", "info", "adjscc")
    result.assert_ok()
    facts = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert facts["name"] == "adjscc.photo"
    assert "Xu" in facts["paper"]
    assert "1/12, 1/6 (default 1/6)" in facts["ratios"]
    assert str(tiny_weights) in facts["file"]
    assert "CBR 1/6" in facts["self-test"]
    assert {"licence", "parameters", "cost", "sha256", "trained", "data", "terms"} <= set(facts)


def test_a_codec_that_chooses_its_rate_has_no_default_ratio(openjscc) -> None:
    assert "1/6 (default chosen for each picture)" in openjscc("models", "info", "arjscc").out
    listed = {line.split()[0]: line for line in openjscc("models", "list").out.splitlines() if line}
    assert "chosen for each picture" in listed["spjscc.distilled"]
    assert "chosen for each picture" not in listed["adjscc.cifar10"]


def test_info_by_path_as_json(openjscc, tiny_weights: Path) -> None:
    facts = json.loads(openjscc("models", "info", tiny_weights / "deepjscc.photo.safetensors", "--json").out)
    assert facts["name"] == "deepjscc.photo"
    assert facts["macs_per_pixel"] > 0
    assert facts["parameters"] > 0


def test_info_with_reference_results(openjscc, tmp_path: Path, make_codec) -> None:
    from openjscc.models import export

    reference = [
        {"data": "kodak", "snr_db": 10.0, "metric": "psnr", "value": 31.25},
        {"data": "kodak", "metric": "ssim", "value": None},
    ]
    training = {
        "steps": 5,
        "images": 40,
        "seconds": 90.0,
        "compute": ["1 x CPU"],
        "data": ["photos"],
        "terms": "free",
        "recipe": {},
    }
    export(make_codec(), tmp_path / "adjscc.mine.safetensors", tag="mine", training=training, reference=reference)
    result = openjscc("models", "info", "./adjscc.mine.safetensors")
    result.assert_ok()
    assert "31.25" in result.out
    assert "5 steps, 40 images, 2 min" in result.out


def test_verify_one_and_all(openjscc) -> None:
    result = openjscc("models", "verify", "adjscc.photo")
    result.assert_ok()
    assert result.out.splitlines()[1].split()[:2] == ["adjscc.photo", "ok"]
    results = json.loads(openjscc("models", "verify", "adjscc", "deepjscc", "--json").out)
    assert [(item["name"], item["ok"]) for item in results] == [("adjscc.photo", True), ("deepjscc.photo", True)]


def test_verify_goes_on_after_a_failure(openjscc, tiny_weights: Path, tmp_path: Path) -> None:
    damaged = bytearray((tiny_weights / "adjscc.photo.safetensors").read_bytes())
    damaged[-9] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(damaged)
    result = openjscc("models", "verify", "./damaged.safetensors", "deepjscc.photo")
    assert result.code == 4
    assert [line.split()[1] for line in result.out.splitlines()[1:]] == ["FAILED", "ok"]
    assert "checksum" in result.err


def test_a_failing_self_test_is_an_integrity_error(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.models._weights.self_test", lambda codec: {"psnr_db": {"1/12": 3.0, "1/6": 3.0}})
    openjscc("send", photo).assert_error(4, "self-test")
    assert openjscc("models", "verify", "adjscc").code == 4


def test_a_damaged_file_does_not_hide_the_others(
    openjscc, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tiny_weights.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "adjscc.zzz.safetensors").write_bytes(b"no weight")
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    for verb in ("list", "verify"):
        result = openjscc("models", verb)
        assert result.code == 4
        assert "adjscc.photo" in result.out
        assert "adjscc.zzz" in result.err
        assert "Traceback" not in result.err
