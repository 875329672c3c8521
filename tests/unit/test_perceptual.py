"""Training in three stages: who learns when, exact resume across the stages' borders, what is logged, what is refused."""

from __future__ import annotations

import copy
import csv
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from helpers import silent
from openjscc.channels import make_channel
from openjscc.errors import MissingError, UsageError
from openjscc.models import create, export
from openjscc.models.adjscc import ADJSCCConfig
from openjscc.training.batches import Batch
from openjscc.training.checkpoint import TrainingState, load_checkpoint
from openjscc.training.loop import RunOptions, train
from openjscc.training.optimizer import learning_rate
from openjscc.training.progress import FIELDS
from openjscc.training.recipe import Recipe, load_recipe
from openjscc.training.steps import perceptual
from openjscc.training.steps.perceptual import PerceptualStep
from openjscc.training.steps.reconstruction import draw_conditions, rate_shares
from stand_ins import StandInLPIPS

pytest.importorskip("lightning_fabric")

Picture = Callable[..., Path]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "LPIPS", StandInLPIPS)


@pytest.fixture
def folder(tmp_path: Path, make_picture: Picture) -> Path:
    (tmp_path / "pictures").mkdir()
    for index in range(3):
        make_picture(tmp_path / "pictures" / f"{index}.png", 48 + index, 40, seed=index)
    return tmp_path / "pictures"


def recipe(folder: Path, *changes: str) -> Recipe:
    """Updates 0 and 1 are of the codec, 2 and 3 of the discriminator, 4 and 5 of both."""
    settings = [
        f"data.train=['{folder}']",
        f"data.validate='{folder}'",
        "data.exclude=[]",
        "data.validate_limit=1",
        "data.crop=32",
        "gan.pretrain=2",
        "gan.discriminator=2",
        "gan.channels=[4, 6, 8, 10]",
        "optimizer.batch=2",
        "optimizer.steps=6",
        "optimizer.ema=0.5",
        "optimizer.warmup=0",
        "run.checkpoint_every=1",
    ]
    return load_recipe("ganjscc-small", [*settings, *changes])


def changed(before: TrainingState, after: TrainingState) -> set[str]:
    """Which parts of the state differ, by the part's name."""
    names = {
        name for name, value in after.tensors.items() if name in before.tensors and not torch.equal(value, before.tensors[name])
    }
    return {name.split(".")[0] for name in names | set(after.tensors) - set(before.tensors)}


@pytest.mark.usefixtures("stand_in")
def test_each_stage_moves_its_own_networks_and_no_others(folder: Path, tmp_path: Path) -> None:
    plan, out = recipe(folder), tmp_path / "run"
    states = [train(plan, RunOptions(out, max_steps=0), say=silent).state]
    for _ in range(6):
        train(plan, RunOptions(out, max_steps=1, resume=(out / "last.ckpt").exists()), say=silent)
        states.append(load_checkpoint(out))
    codec, opponent = {"model", "optimizer", "ema"}, {"discriminator", "discriminator-optimizer"}
    moved = [changed(before, after) for before, after in itertools.pairwise(states)]
    assert moved == [codec, codec, opponent, opponent, codec | opponent, codec | opponent]
    vectors = [name for name in states[0].tensors if name.startswith("discriminator.") and name.endswith(("._u", "._v"))]
    assert len(vectors) == 10
    assert all(torch.equal(states[0].tensors[name], states[2].tensors[name]) for name in vectors)
    assert not any(torch.equal(states[2].tensors[name], states[3].tensors[name]) for name in vectors)
    for name, value in states[6].part("model").items():
        assert not torch.equal(value, states[0].part("model")[name]), name


@pytest.mark.parametrize("sittings", [(1, 2, 3), (2, 2, 2), (3, 2, 1), (5, 1)])
@pytest.mark.usefixtures("stand_in")
def test_resume_is_exact_inside_the_stages_and_across_their_borders(
    sittings: tuple[int, ...], folder: Path, tmp_path: Path
) -> None:
    plan = recipe(folder, "run.precision='bf16-mixed'")
    whole = train(plan, RunOptions(tmp_path / "whole"), say=silent)
    for number, steps in enumerate(sittings):
        rest = train(plan, RunOptions(tmp_path / "parts", max_steps=steps, resume=number > 0), say=silent)
    assert whole.finished
    assert rest.finished
    assert set(whole.state.tensors) == set(rest.state.tensors)
    for name, value in whole.state.tensors.items():
        assert torch.equal(value, rest.state.tensors[name]), name


@pytest.mark.usefixtures("stand_in")
def test_terms_of_each_stage_and_validation_are_logged(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    for number in range(3):
        train(recipe(folder), RunOptions(tmp_path / "run", max_steps=2, resume=number > 0), say=lines.append)
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [{name for name in row if row[name] and not name.startswith("val_")} - set(FIELDS) for row in rows if row["lr"]]
    codec = {"lpips", "mse"}
    opponent = {"discriminator_loss", "discriminator_real", "discriminator_received"}
    assert names == [codec, opponent, codec | opponent | {"generator"}]
    assert [bool(row["loss"]) for row in rows if row["lr"]] == [True, False, True]
    assert lines[-1].startswith("step 6")
    assert "lpips_1/48 0." in lines[-1]
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 1


@pytest.mark.usefixtures("stand_in")
def test_without_a_generative_loss_there_is_one_stage(folder: Path) -> None:
    step = PerceptualStep(recipe(folder, "gan.beta_g=0"), create("ganjscc", "small"))
    assert {step.updates(index) for index in range(10)} == {("model",)}


def step_and_batch(plan: Recipe) -> tuple[PerceptualStep, Batch]:
    torch.manual_seed(0)
    network = create(plan.model.arch, plan.model.config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return PerceptualStep(plan, network).train(), Batch(range(2), x)


@pytest.mark.usefixtures("stand_in")
def test_the_codecs_loss_is_equation_2(folder: Path) -> None:
    plan = recipe(folder, "gan.beta_p=2.0", "gan.beta_m=1e-4", "gan.beta_g=0.5")
    step, batch = step_and_batch(plan)
    for index, adversarial in ((0, False), (4, True)):
        values = step("model", **vars(step.prepare(batch, index)))
        expected = 2.0 * values["lpips"] + 1e-4 * values["mse"]
        if adversarial:
            expected = expected + 0.5 * values["generator"]
        assert ("generator" in values) is adversarial
        assert torch.allclose(values["loss"], expected)
        assert values["loss"].shape == (2,)
    drawn = step.prepare(batch, 0)
    with torch.no_grad():
        x, (y, _) = drawn.x, step._received_of(drawn)
        values = step("model", **vars(drawn))
    assert torch.allclose(values["mse"], 255.0**2 * (x - y).square().mean((1, 2, 3)), rtol=1e-5)
    assert torch.allclose(values["lpips"], step.lpips(x, y))


def received(step: PerceptualStep, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What the codec makes of a batch, and the codewords that arrived."""
    with torch.no_grad():
        return step._received_of(step.prepare(batch, 4))


@pytest.mark.usefixtures("stand_in")
def test_the_generative_loss_is_what_the_discriminator_says_of_received_pictures(folder: Path) -> None:
    step, batch = step_and_batch(recipe(folder))
    y, codeword = received(step, batch)
    assert not torch.allclose(codeword[0], codeword[1])
    logits = copy.deepcopy(step.discriminator).eval()(y, codeword)
    vectors = {name: value.clone() for name, value in step.discriminator.state_dict().items() if name.endswith(("._u", "._v"))}
    values = step("model", **vars(step.prepare(batch, 4)))
    assert torch.allclose(values["generator"], -logits.sigmoid().log().flatten(1).mean(1), atol=1e-5)
    assert vectors
    assert all(torch.equal(step.discriminator.state_dict()[name], value) for name, value in vectors.items())


@pytest.mark.usefixtures("stand_in")
def test_the_discriminators_loss_is_equation_3(folder: Path) -> None:
    step, batch = step_and_batch(recipe(folder))
    with torch.no_grad():
        for parameter in step.discriminator.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    y, codeword = received(step, batch)
    judge = copy.deepcopy(step.discriminator).train()  # its spectral norms move on with each batch
    real, fake = judge(torch.cat([batch.x, y]), torch.cat([codeword, codeword])).chunk(2)
    values = step("discriminator", **vars(step.prepare(batch, 2)))
    expected = -(real.sigmoid().log() + (1 - fake.sigmoid()).log()).flatten(1).mean(1)
    assert torch.allclose(values["loss"], expected, atol=1e-5)
    assert torch.equal(values["real"], (real > 0).float().flatten(1).mean(1))
    assert torch.equal(values["received"], (fake < 0).float().flatten(1).mean(1))


@pytest.mark.usefixtures("stand_in")
def test_the_discriminator_learns_to_tell_them_apart(folder: Path) -> None:
    step, batch = step_and_batch(recipe(folder))
    optimizer = torch.optim.Adam(step.discriminator.parameters(), 1e-2)
    for _ in range(40):
        values = step("discriminator", **vars(step.prepare(batch, 2)))
        optimizer.zero_grad()
        values["loss"].mean().backward()
        optimizer.step()
    assert values["real"].min() > 0.9
    assert values["received"].min() > 0.9


@pytest.mark.usefixtures("stand_in")
def test_lpips_sees_pictures_from_drawn_places(folder: Path) -> None:
    step, _ = step_and_batch(recipe(folder, "gan.shift=8"))
    batch = Batch(range(2), torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)))
    place = step.prepare(batch, 0).place
    values = step("model", **vars(step.prepare(batch, 0)))
    y, _ = received(step, batch)
    for index, (top, left) in enumerate(place.tolist()):
        seen = (picture[index : index + 1, :, top : top + 33, left : left + 33] for picture in (batch.x, y))
        assert torch.allclose(values["lpips"][index], step.lpips(*seen)[0], atol=1e-5)
    many = Batch(range(500), torch.zeros(500, 3, 8, 8))
    places = step.prepare(many, 0).place
    assert places.unique(dim=0).shape == (64, 2)
    one = step.prepare(Batch(range(7, 8), many.x[:1]), 0).place
    assert torch.equal(one[0], places[7])


@pytest.mark.usefixtures("stand_in")
def test_gradients_reach_who_learns(folder: Path) -> None:
    """As the loop does it: the others' parameters do not ask for gradients."""
    step, batch = step_and_batch(recipe(folder))
    for name in step.updates(4):
        drawn = step.prepare(batch, 4)
        for other, module in step.trained().items():
            module.requires_grad_(other == name)
        step.zero_grad()
        step(name, **vars(drawn))["loss"].mean().backward()
        for other, module in step.trained().items():
            reached = [bool(p.grad.any()) if p.grad is not None else False for p in module.parameters()]
            assert all(reached) if other == name else not any(reached), (name, other)
    assert not any(parameter.requires_grad for parameter in step.lpips.parameters())


@pytest.mark.usefixtures("stand_in")
def test_the_discriminator_judges_the_pictures_that_the_codec_just_received(folder: Path) -> None:
    """In the third stage they are made once; alone, it has them made."""
    step, batch = step_and_batch(recipe(folder))
    drawn = step.prepare(batch, 4)
    calls: list[torch.Tensor] = []
    step.codec.get_submodule("decoder").register_forward_hook(lambda *parts: calls.append(parts[2]))
    step("model", **vars(drawn))
    together = step("discriminator", **vars(drawn))
    assert len(calls) == 1
    alone = step("discriminator", **vars(drawn))
    assert len(calls) == 2
    step, batch = step_and_batch(recipe(folder))
    afresh = step("discriminator", **vars(step.prepare(batch, 2)))
    assert torch.allclose(afresh["loss"], together["loss"], atol=1e-5)
    for value in ("real", "received"):
        assert torch.allclose(afresh[value], together[value])
        assert bool(((together[value] >= 0) & (together[value] <= 1)).all())
    assert alone["loss"].shape == (2,)


@pytest.mark.usefixtures("stand_in")
def test_the_discriminator_has_an_optimiser_of_its_own(folder: Path) -> None:
    plan = recipe(folder, "gan.lr=3e-4", "gan.betas=[0.5, 0.9]", "optimizer.weight_decay=0.1", "optimizer.clip=1.0")
    section = PerceptualStep(plan, create("ganjscc", "small")).optimizer_section("discriminator")
    assert (section.betas, section.weight_decay, section.clip) == ((0.5, 0.9), 0.0, 0.0)
    assert {learning_rate(section, index) for index in (0, 2, 5)} == {3e-4}


@pytest.mark.usefixtures("stand_in")
def test_what_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="adjscc"):
        PerceptualStep(dataclasses.replace(load_recipe("adjscc-photo"), step="perceptual"), create("adjscc", "photo"))
    with pytest.raises(UsageError, match="log_mse"):
        PerceptualStep(recipe(folder, "loss.kind='log_mse'"), create("ganjscc", "small"))
    for change in (
        "gan.beta_g=-1.0",
        "gan.channels=[1, 2, 0, 4]",
        "gan.betas=[0.5, 1.0]",
        "gan.pretrain=-1",
        "gan.shift=0",
        "channel.levels=-1",
    ):
        with pytest.raises(UsageError, match=change.partition("=")[0].partition(".")[2]):
            recipe(folder, change)


def test_missing_weights_of_lpips_are_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in ("OPENJSCC_METRIC_WEIGHTS", "OPENJSCC_DATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingError, match="LPIPS"):
        train(recipe(tmp_path / "nowhere"), RunOptions(tmp_path / "run"), say=silent)
    assert not (tmp_path / "run").exists()


def test_the_recipe_starts_from_the_first_adjscc_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ADJSCCConfig((8, 16, 24, 32, 64), send_scale=True, network="photo", channels=(48, 128, 192), blocks=(0, 2, 3))
    source, path = create("adjscc", first).eval(), tmp_path / "adjscc.first.safetensors"
    export(source, path, tag="first", training={"steps": 0, "data": ["none"], "compute": ["none"]})
    plan = load_recipe("ganjscc-photo", [f"model.init={path}"])
    network = PerceptualStep.load_network(plan)
    weight = source.state_dict()["encoder.stages.0.0.weight"].half().float()
    assert network.state_dict()["encoder.stages.0.0.weight"].equal(weight)
    assert "adjscc.first: 1,605,020 of 3,339,440 parameters" in capsys.readouterr().err
    wrong = dataclasses.replace(plan, model=dataclasses.replace(plan.model, init="deepjscc.photo"))
    with pytest.raises(UsageError, match="another network"):
        PerceptualStep.load_network(wrong)


@pytest.mark.usefixtures("stand_in")
def test_a_run_is_exported_without_its_opponent_and_starts_another(folder: Path, tmp_path: Path) -> None:
    plan = recipe(folder, "optimizer.steps=5")
    network = train(plan, RunOptions(tmp_path / "run"), say=silent).network
    path = tmp_path / "ganjscc.small.safetensors"
    info = PerceptualStep.export_network(network, path, "small", {"steps": 5})
    assert info.parameters == sum(parameter.numel() for parameter in create("ganjscc", "small").parameters())
    again = PerceptualStep.load_network(recipe(folder, f"model.init='{path}'"))
    for name, value in network.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-2, rtol=1e-2), name


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    plan = load_recipe("ganjscc-paper")
    gan, optimizer = plan.gan, plan.optimizer
    assert (gan.pretrain, gan.discriminator, optimizer.steps) == (100_000, 10_000, 210_000)
    assert (gan.beta_p, gan.beta_m, gan.beta_g, gan.shift) == (1.0, 1e-5, 1e-3, 1)
    assert (gan.lr, gan.channels) == (1e-4, (64, 128, 256, 512))
    assert (optimizer.lr, optimizer.weight_decay) == (1e-4, 0.0)  # AdamW without it is Adam
    assert (optimizer.batch, plan.data.crop, plan.model.config) == (12, 256, "paper")


def test_the_papers_snrs_are_five(folder: Path) -> None:
    plan, codec = load_recipe("ganjscc-paper"), create("ganjscc", "small")
    snr_db, _, _ = draw_conditions(
        plan, codec, make_channel("awgn"), rate_shares(plan, codec), range(2000), torch.zeros(2000, 3, 8, 8)
    )
    values, counts = snr_db.unique(return_counts=True)
    assert values.tolist() == [1.0, 4.0, 7.0, 10.0, 13.0]
    assert counts.min() > 320
