"""Other bandwidth ratios than those of a configuration: ``[model] rates`` of a recipe."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers import short_recipe, silent
from openjscc.errors import UsageError
from openjscc.models import ARCHITECTURES, configuration, create, export, load
from openjscc.training.checkpoint import load_checkpoint, save_checkpoint
from openjscc.training.facts import training_facts
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import is_of_model, load_recipe
from openjscc.training.steps import step_class
from openjscc.training.steps._base import fresh_codec

pytest.importorskip("lightning_fabric")


@pytest.mark.parametrize(("name", "rates", "ratio"), [("deepjscc-paper", [8], 1 / 12), ("ganjscc-paper", [4], 1 / 24)])
def test_a_papers_network_at_another_ratio(name: str, rates: list[int], ratio: float) -> None:
    plan = load_recipe(name, [f"model.rates={rates}"])
    assert fresh_codec(plan).ratios == pytest.approx([ratio])
    assert fresh_codec(plan).config == replace(configuration(plan.model.arch, "paper"), rates=tuple(rates))
    assert fresh_codec(load_recipe(name)).config == configuration(plan.model.arch, "paper")


@pytest.mark.parametrize(("arch", "name"), [(arch, name) for arch, known in ARCHITECTURES.items() for name in known.configs])
def test_every_configuration_takes_other_rates(arch: str, name: str) -> None:
    with torch.device("meta"):
        stride = create(arch, name).stride
        codec = create(arch, configuration(arch, name, [4, 12]))
    assert codec.ratios == pytest.approx([4 / (6 * stride**2), 12 / (6 * stride**2)])


def test_other_rates_are_trained_exported_and_resumed(one_image: Path, tmp_path: Path) -> None:
    plan = short_recipe(one_image, "model.rates=[4, 8]", "loss.rate_weights=[1, 3]")
    lines: list[str] = []
    result = train(plan, RunOptions(out=tmp_path / "run", max_steps=1), say=silent)
    result = train(plan, RunOptions(out=tmp_path / "run", resume=True), say=lines.append)
    assert "psnr_1/24" in lines[-1]
    assert "psnr_1/12" in lines[-1]
    facts = training_facts(plan, result.state)
    assert facts["recipe"]["note"].startswith("deepjscc-paper-2019 with other model.rates")
    info = step_class(plan.step).export_network(result.network, tmp_path / "deepjscc.mine.safetensors", "mine", facts)
    assert info.ratios == pytest.approx([1 / 24, 1 / 12])
    assert load(tmp_path / "deepjscc.mine.safetensors").config.rates == (4, 8)
    with pytest.raises(UsageError, match="holds a run of"):
        train(short_recipe(one_image), RunOptions(out=tmp_path / "run", resume=True), say=silent)


def test_a_start_has_the_same_rates(one_image: Path, tmp_path: Path) -> None:
    path = tmp_path / "deepjscc.start.safetensors"
    export(create("deepjscc", configuration("deepjscc", "paper-2019", [8])), path, tag="start", training={})
    plan = short_recipe(one_image, "model.rates=[8]", f"model.init={path}")
    assert step_class(plan.step).load_network(plan).get_submodule("encoder") is not None
    other = short_recipe(one_image, "model.rates=[4]", f"model.init={path}")
    with pytest.raises(UsageError, match=r"'paper-2019' with rates \[4\]"):
        step_class(other.step).load_network(other)


def test_a_checkpoint_from_before_there_were_rates_goes_on(one_image: Path, tmp_path: Path) -> None:
    train(short_recipe(one_image), RunOptions(out=tmp_path, max_steps=1), say=silent)
    state = load_checkpoint(tmp_path)
    del state.recipe["model"]["rates"]
    save_checkpoint(tmp_path, state)
    assert train(short_recipe(one_image), RunOptions(out=tmp_path, resume=True), say=silent).finished
    for values in ({}, {"model": None}, {"model": {"arch": "deepjscc"}}, {"model": {"arch": "a", "config": "b", "x": 1}}):
        assert not is_of_model(values, short_recipe(one_image).model)


@pytest.mark.parametrize(
    ("name", "rates", "hint"),
    [
        ("deepjscc-paper", "[15]", "even"),
        ("deepjscc-paper", "[8, 4]", "ascending"),
        ("deepjscc-paper", "[-2]", "even"),
        ("deepjscc-paper", "[50]", "at most 48"),
        ("deepjscc-paper", "[1000000000000000]", "at most 48"),
        ("deepjscc-photo", "[194]", "at most 192"),
        ("mtgsc-photo", "[12, 1000]", "at most 192"),
        ("witt-paper", str(list(range(2, 132, 2))), "at most 64 rates"),
    ],
)
def test_rates_that_a_network_cannot_have(name: str, rates: str, hint: str) -> None:
    plan = load_recipe(name, [f"model.rates={rates}"])
    with pytest.raises(UsageError) as caught:
        fresh_codec(plan)
    assert f"{plan.model.arch}.{plan.model.config} with rates {rates}" in caught.value.message
    assert hint in caught.value.hint


def test_rates_of_what_has_none() -> None:
    with pytest.raises(UsageError, match=r"model: rates is 8"):
        load_recipe("deepjscc-paper", ["model.rates=8"])
    plan = load_recipe("fcn-voc", ["model.rates=[8]"])
    with pytest.raises(UsageError, match=r"model.rates \[8\] of fcn"):
        step_class(plan.step).create_network(plan)
    weighted = load_recipe("adjscc-photo", ["model.rates=[8]"])
    with pytest.raises(UsageError, match="rate_weights"):
        step_class(weighted.step)(weighted, fresh_codec(weighted))
