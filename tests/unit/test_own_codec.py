"""A codec from outside of the package is found by its entry point, keeps the contract, and is measured like any other."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from openjscc import plugins, systems
from openjscc.errors import UsageError
from openjscc.plugins import PlugInWarning
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
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: entries if group == systems.GROUP else [])


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
        refused = openjscc(verb, "--systems", "uncoded", "--data", photo.parent, "--ratio", "1/6", "-o", f"{verb}.csv")
        refused.assert_error(2, "uncoded has no bandwidth ratio 1/6")


@pytest.mark.usefixtures("installed")
def test_broken_ones_are_named() -> None:
    for name in ("broken", "wrong"):
        with pytest.raises(UsageError, match=name):
            systems.load(name)
    with pytest.raises(UsageError) as error:
        systems.load("uncodet")
    assert "uncoded" in error.value.hint


@pytest.mark.parametrize("name", ["adjscc", "jpeg-ldpc", "mine"])
@pytest.mark.usefixtures("installed")
def test_a_name_has_one_meaning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What has one here keeps it; of two packages nobody can say which is meant."""
    entries = [EntryPoint("mine", "own_codec:Another", systems.GROUP), EntryPoint(name, "own_codec:Uncoded", systems.GROUP)]
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: entries if group == systems.GROUP else [])
    for asked in {name, f"{name}:mcs=qpsk-1/2-n1944" if name == "jpeg-ldpc" else name}:
        for load in (systems.load, lambda system: systems.load_all([system])[0][1]):
            if name == "mine":
                with pytest.raises(UsageError, match=r"2 packages .*own_codec:Uncoded"):
                    load(asked)
            else:
                with pytest.warns(PlugInWarning, match=f"'{name}' is a system of openjscc; .*own_codec:Uncoded"):
                    assert load(asked).name.startswith(name)
    assert systems.load("webp-ldpc").name == "webp-ldpc", "others are not touched"


class Wrong:
    """A codec but for one field."""

    name, ratios, tasks, uses_gain = "wrong", (0.5,), ("reconstruction",), False

    def __init__(self, **fields: object) -> None:
        self.__dict__ |= fields

    def encode(self, x: object, conditions: object) -> None: ...

    def decode(self, received: object) -> None: ...


def ending() -> None:
    raise SystemExit(7)


def raising() -> None:
    raise RuntimeError("boom\n\x1b[31m second line " + 1000 * "x")


EVIL = {
    "ending": (ending, "SystemExit: 7"),
    "raising": (raising, "RuntimeError: boom"),
    "interface": (lambda: 5, "is a int"),
    "named": (lambda: Wrong(name=5), "name 5"),
    "empty": (lambda: Wrong(ratios=()), "ratios ()"),
    "text": (lambda: Wrong(ratios="1/6"), "ratios '1/6'"),
    "endless": (lambda: Wrong(ratios=(float("inf"),)), "ratios (inf,)"),
    "task": (lambda: Wrong(tasks=("cooking",)), "tasks ('cooking',)"),
}


@pytest.fixture
def evil(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("evil")
    for name, (make, _) in EVIL.items():
        setattr(module, name, make)
    monkeypatch.setitem(sys.modules, "evil", module)
    groups = {systems.GROUP: [*EVIL, "adjscc", "gone"], "openjscc.task_networks": ["ending", "raising", "classifier"]}
    monkeypatch.setattr(
        "openjscc.plugins.entry_points", lambda group: [EntryPoint(name, f"evil:{name}", group) for name in groups[group]]
    )


@pytest.mark.parametrize("name", [*EVIL, "gone"])
@pytest.mark.usefixtures("evil")
def test_a_bad_plug_in_is_an_error_in_one_line(openjscc, photo: Path, name: str) -> None:
    words = EVIL[name][1] if name in EVIL else "AttributeError"
    result = openjscc("send", photo, "--model", name, "-o", "r.png")
    result.assert_error(2, f"system {name!r}", words)
    assert len(result.err) < 600


@pytest.mark.usefixtures("evil")
def test_a_bad_plug_in_does_not_take_the_command_line_with_it(openjscc, photo: Path) -> None:
    result = openjscc("send", photo, "-o", "r.png", "--task-network", "classifier", "--json")
    result.assert_ok()
    assert json.loads(result.out)["systems"][0]["weight"] == "adjscc.photo"
    notes = [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert [note.split()[1] for note in notes] == ["'classifier'", "'adjscc'"], "each once"
    for name in ("ending", "raising"):
        openjscc("send", photo, "-o", "r.png", "-f", "--task-network", name).assert_error(2, f"task network {name!r}")
    openjscc("models", "list").assert_ok()


def test_a_package_whose_entry_points_cannot_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("bad", b"[openjscc.systems]\nno equals sign\n\xff"), ("good", b"[openjscc.systems]\nmine = a:b\n")):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "entry_points.txt").write_bytes(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(PlugInWarning, match="'bad'"):
        found = plugins.entries(systems.GROUP)
    assert ("mine", "a:b") in [(entry.name, entry.value) for entry in found]


@pytest.mark.usefixtures("installed")
def test_one_entry_point_found_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = 2 * [EntryPoint("uncoded", "own_codec:Uncoded", systems.GROUP)]
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: entries if group == systems.GROUP else [])
    assert systems.load("uncoded").name == "uncoded"
