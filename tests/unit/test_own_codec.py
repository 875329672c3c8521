"""A codec from outside of the package is found by its entry point, keeps the contract, and is measured like any other."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from openjscc import systems
from openjscc.errors import UsageError
from openjscc.testing import check_codec

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_codec"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ``pip install``: the module can be imported, and the entry points are there."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "own_codec", raising=False)
    entries = [
        EntryPoint("uncoded", "own_codec:Uncoded", systems.GROUP),
        EntryPoint("broken", "own_codec:Nothing", systems.GROUP),
        EntryPoint("wrong", "builtins:dict", systems.GROUP),
    ]
    monkeypatch.setattr(systems, "entry_points", lambda group: entries if group == systems.GROUP else [])


def test_the_project_file_names_the_entry_point() -> None:
    import tomllib

    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][systems.GROUP] == {"uncoded": "own_codec:Uncoded"}


def test_it_is_short() -> None:
    assert len((EXAMPLE / "own_codec.py").read_text().splitlines()) <= 40


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_contract() -> None:
    check_codec(systems.load("uncoded"))


@pytest.mark.usefixtures("installed")
def test_the_command_line_takes_it(openjscc, photo: Path) -> None:
    result = openjscc("send", photo, "--model", "uncoded", "--snr", 30, "--json")
    result.assert_ok()
    (system,) = json.loads(result.out)["systems"]
    assert system["weight"] == "uncoded"
    assert system["psnr"] > 30
    for model, compare, ratio in (("uncoded", "adjscc", "1/2"), ("adjscc", "uncoded", "1/6")):
        refused = openjscc("send", photo, "--model", model, "--compare", compare, "-o", "both.png")
        refused.assert_error(2, f"has no bandwidth ratio {ratio}, at which {model} sends")
        assert "--ratio" in refused.err
    openjscc("send", photo, "--model", "uncoded", "--compare", "jpeg-ldpc", "-o", "both.png").assert_ok()
    openjscc("bench", "--systems", "uncoded,adjscc", "--data", photo.parent, "--metrics", "psnr", "-o", "out").assert_ok()
    for verb in ("bench", "eval"):
        refused = openjscc(verb, "--systems", "uncoded", "--data", photo.parent, "--ratio", "1/6", "-o", f"{verb}.json")
        refused.assert_error(2, "uncoded has no bandwidth ratio 1/6")


@pytest.mark.usefixtures("installed")
def test_broken_ones_are_named() -> None:
    for name in ("broken", "wrong"):
        with pytest.raises(UsageError, match=name):
            systems.load(name)
    with pytest.raises(UsageError) as error:
        systems.load("uncodet")
    assert "uncoded" in error.value.hint


@pytest.mark.parametrize("name", ["adjscc", "adjscc.mine", "jpeg-ldpc", "mine"])
@pytest.mark.usefixtures("installed")
def test_a_name_has_one_meaning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entries = [EntryPoint("mine", "own_codec:Another", systems.GROUP), EntryPoint(name, "own_codec:Uncoded", systems.GROUP)]
    monkeypatch.setattr(systems, "entry_points", lambda group: entries if group == systems.GROUP else [])
    for asked in {name, f"{name}:mcs=qpsk-1/2-n1944" if name == "jpeg-ldpc" else name}:
        for load in (systems.load, lambda system: systems.load_all([system])):
            with pytest.raises(UsageError, match="own_codec:Uncoded"):
                load(asked)
    assert systems.load("webp-ldpc").name == "webp-ldpc", "others are not touched"


@pytest.mark.usefixtures("installed")
def test_one_entry_point_found_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = 2 * [EntryPoint("uncoded", "own_codec:Uncoded", systems.GROUP)]
    monkeypatch.setattr(systems, "entry_points", lambda group: entries if group == systems.GROUP else [])
    assert systems.load("uncoded").name == "uncoded"
