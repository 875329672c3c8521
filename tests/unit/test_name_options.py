"""Options of a system's name: ``mtgsc:steps=10``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from far_device import FAR, far_device
from openjscc import transmit
from openjscc.codec import device_of, resolved_name
from openjscc.composite import CompositeCodec
from openjscc.configuration import name_options
from openjscc.errors import UsageError
from openjscc.models import export
from openjscc.models.mtgsc import MTGSC, MTGSCConfig
from openjscc.systems import load, load_all, split_options
from task_networks import Shades

FACTS = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
SMALL = {
    "rates": (4, 8), "channels": (6, 8, 10, 12), "depths": (1, 1, 1), "heads": 2, "window": 3, "hidden": 8, "width": 12,
    "depth": 2, "decoder_heads": 2, "span": 3, "expansion": 2, "fine": 4, "shared": True, "told": True,
}  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small untrained weights mtgsc.photo (starts from the signal) and mtgsc.noise."""
    for tag, state, shortcut in (("photo", "signal", True), ("noise", "noise", False)):
        torch.manual_seed(0)
        codec = MTGSC(MTGSCConfig(state=state, shortcut=shortcut, **SMALL)).eval()
        with torch.no_grad():
            for parameter in codec.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        export(codec, tmp_path / f"mtgsc.{tag}.safetensors", tag=tag, training=FACTS)
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    return tmp_path


def image(name: str) -> torch.Tensor:
    x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    found = transmit(load(name), "awgn", x, 10).image
    assert found is not None
    return found


def test_steps_and_seed_reach_the_decoder(weights: Path) -> None:
    codec = load("mtgsc:steps=10")
    assert isinstance(codec, MTGSC)
    assert (codec.steps, codec.name, resolved_name(codec)) == (10, "mtgsc.photo:steps=10", "mtgsc.photo:steps=10")
    assert codec.macs_per_pixel() > load("mtgsc").macs_per_pixel()  # pyright: ignore[reportAttributeAccessIssue]
    assert not torch.equal(image("mtgsc:steps=10"), image("mtgsc"))
    assert torch.equal(image("mtgsc:steps=1"), image("mtgsc.photo"))
    assert torch.equal(image(f"{weights / 'mtgsc.photo.safetensors'}:steps=10"), image("mtgsc:steps=10"))
    noise = load("mtgsc.noise:seed=3: Steps = 5")
    assert resolved_name(noise) == "mtgsc.noise:steps=5:seed=3"
    assert not torch.equal(image("mtgsc.noise:seed=3"), image("mtgsc.noise"))


def test_several_systems_of_one_weight(weights: Path) -> None:
    systems = load_all(["mtgsc", "mtgsc:steps=2", "mtgsc.noise:steps=2:seed=1"], (None,))
    assert [name for name, _, _ in systems] == ["mtgsc", "mtgsc:steps=2", "mtgsc.noise:steps=2:seed=1"]
    assert [codec.steps for _, codec, _ in systems] == [1, 2, 2]  # pyright: ignore[reportAttributeAccessIssue]
    one, other = (CompositeCodec(codec, Shades()).weight for _, codec, _ in systems[:2])
    assert other.name == "mtgsc.photo:steps=2+shades"
    assert one.sha256 != other.sha256


def test_on_another_device(weights: Path) -> None:
    """A system with options goes where it is asked to, keeps them, and gives the same picture."""
    name = "mtgsc.noise:steps=2:seed=1"
    near = image(name)
    with far_device():
        ((_, codec, _),) = load_all([name], (None,), device=FAR)
        other = load(name, device=FAR)
        assert resolved_name(codec) == resolved_name(other) == name
        assert (device_of(codec), device_of(other)) == (FAR, FAR)
        x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        found = transmit(codec, "awgn", x, 10).image
        assert found is not None
        assert found.device == FAR
        assert torch.tensor(found.tolist()).sub(near).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mtgsc:steps=0", "steps=0 of mtgsc.photo"),
        ("mtgsc:steps=51", "steps=51"),
        ("mtgsc:steps=ten", "steps=ten"),
        ("mtgsc:steps=²", "steps=²"),
        ("mtgsc:steps", "'steps' of mtgsc"),
        ("mtgsc:step=5", "'step'"),
        ("mtgsc:steps=5:steps=6", "twice"),
        ("mtgsc.noise:seed=-1", "seed=-1"),
        ("seed=1", "'seed=1'"),
        ("adjscc:steps=5", "'steps=5' of adjscc"),
        (":steps=5", "''"),
    ],
)
def test_what_is_refused(name: str, words: str, weights: Path) -> None:
    for act in (load, lambda name: load_all([name])):
        with pytest.raises(UsageError, match=words) as error:
            act(name)
        assert error.value.hint


def test_steps_outside_say_what_is_allowed(weights: Path) -> None:
    with pytest.raises(UsageError) as error:
        load("mtgsc:steps=51")
    assert "1 to 50" in error.value.hint


def test_a_weight_that_is_not_at_hand(weights: Path) -> None:
    (weights / "mtgsc.noise.safetensors").unlink()
    with pytest.raises(UsageError, match=r"unknown model 'mtgsc\.noise'") as error:
        load("mtgsc.noise:steps=5")
    assert "OPENJSCC_WEIGHTS" in error.value.hint


def test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_options("a:b=1:c=2") == ("a", ["b=1", "c=2"])
    Path("a:b=1").touch()
    assert split_options("a:b=1") == ("a:b=1", [])
    with pytest.raises(UsageError, match="'b'"):
        name_options("a", ["b"], {"c": ""})


def test_records_and_checks_know_the_options(openjscc, weights: Path, make_picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(weights))
    Path("pictures").mkdir()
    make_picture(Path("pictures/1.png"), 32, 24)
    file = "./mtgsc.photo.safetensors:steps=3"
    Path("mine.toml").write_text(f"""
title = "Steps"
data = "pictures"
[[bench]]
systems = ["mtgsc", "mtgsc:steps=3", "mtgsc.noise:steps=2:seed=1", "{file}"]
snr_db = [10]
metrics = ["psnr"]
[[table]]
metric = "decode_ms"
""")
    result = openjscc("study", "mine.toml", "-o", "out", "--json")
    result.assert_ok()
    records = json.loads(result.out)["records"]
    assert [(record["system"], record["weight"]) for record in records] == [
        ("mtgsc", "mtgsc.photo"),
        ("mtgsc:steps=3", "mtgsc.photo:steps=3"),
        ("mtgsc.noise:steps=2:seed=1", "mtgsc.noise:steps=2:seed=1"),
        (file, "mtgsc.photo:steps=3"),
    ]
    assert len({record["weight_sha256"] for record in records}) == 2
    assert records[1]["mean"] == records[3]["mean"] != records[0]["mean"]
    openjscc("study", "mine.toml", "-o", "out", "--check", "--cells", 4).assert_ok()
    sent = openjscc("send", "pictures/1.png", "--model", "mtgsc", "--compare", "mtgsc:steps=3", "--json")
    sent.assert_ok()
    assert [system["weight"] for system in json.loads(sent.out)["systems"]] == ["mtgsc.photo", "mtgsc.photo:steps=3"]
    openjscc("eval", "--data", "pictures", "--systems", "mtgsc.noise:steps=5,seed=1").assert_error(2, "'seed=1'")


def test_info_says_which_options_there_are(openjscc, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(weights))
    result = openjscc("models", "info", "mtgsc")
    result.assert_ok()
    assert ":steps= " in result.out
    assert "1 (default) to 50" in result.out
