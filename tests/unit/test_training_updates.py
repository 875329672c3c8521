"""What one update of a training does: average, clipping, optimiser settings, draws, temperature and the price of rates.

A training that leaves one of these out still learns, so only a test of the very numbers notices.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
import torch

from openjscc.channels import Realisation, equalize, make_channel
from openjscc.codec import Conditions
from openjscc.link import transmit
from openjscc.metrics.fidelity import psnr
from openjscc.models import create
from openjscc.training.batches import Batch
from openjscc.training.checkpoint import TrainingState
from openjscc.training.loop import RunOptions, train
from openjscc.training.progress import Validation
from openjscc.training.recipe import Recipe, load_recipe
from openjscc.training.steps.reconstruction import ReconstructionStep, draw_conditions, rate_shares

pytest.importorskip("lightning_fabric")
CONSTANT = {"optimizer.schedule": "constant", "optimizer.lr": 0.01, "optimizer.warmup": 0}


@pytest.fixture
def plan(tmp_path: Path, make_picture: Callable[..., Path]) -> Callable[..., Recipe]:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        make_picture(folder / f"{number}.png", 20, 18, seed=number)

    def made(name: str = "deepjscc-paper-2019", **more: object) -> Recipe:
        settings: dict[str, object] = {
            "data.train": [str(folder)], "data.validate": str(folder), "data.validate_limit": 1,
            "data.crop": 16, "data.exclude": [],
            "optimizer.batch": 2, "optimizer.steps": 8, "optimizer.clip": 0.0, "optimizer.ema": 0.0, "run.validate_every": 1000,
        }  # fmt: skip
        settings |= {key.replace("__", "."): value for key, value in more.items()}
        return load_recipe(name, [f"{key}={json.dumps(value)}" for key, value in settings.items()])

    return made


def after(recipe: Recipe, folder: Path, steps: int = 1) -> TrainingState:
    return train(recipe, RunOptions(out=folder, max_steps=steps), say=lambda text: None).state


def flat(state: TrainingState, part: str = "model") -> torch.Tensor:
    return torch.cat([value.flatten().double() for _, value in sorted(state.part(part).items())])


def untrained(recipe: Recipe) -> torch.Tensor:
    torch.manual_seed(recipe.run.seed)
    network = create(recipe.model.arch, recipe.model.config)
    return torch.cat([value.flatten().double() for _, value in sorted(network.state_dict().items())])


@pytest.mark.parametrize(("ema", "decays"), [(0.9, [1 / 10, 2 / 11, 3 / 12]), (0.15, [1 / 10, 0.15, 0.15]), (0.0, [0.0] * 3)])
def test_the_average_is_exponential_and_warmed_up(
    ema: float, decays: list[float], plan: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = plan(optimizer__ema=ema, **CONSTANT)
    expected = untrained(recipe)
    for number, decay in enumerate(decays, start=1):
        state = after(recipe, tmp_path / str(number), number)
        expected = decay * expected + (1 - decay) * flat(state)
        assert torch.allclose(flat(state, "ema"), expected, rtol=0, atol=1e-6), number
    assert (flat(state, "ema") - flat(state)).abs().max() > 1e-3 or not ema


def test_batch_statistics_go_into_the_average_as_they_are(plan: Callable[..., Recipe], tmp_path: Path) -> None:
    state = after(plan("arjscc-cifar10", model__config="paper", optimizer__ema=0.9, **CONSTANT), tmp_path)
    model, average = state.part("model"), state.part("ema")
    means = [key for key in model if key.endswith("running_mean")]
    assert means
    assert all(torch.equal(model[key], average[key]) and model[key].abs().max() > 0 for key in means)


def test_the_learning_rate_is_the_schedule_s(plan: Callable[..., Recipe], tmp_path: Path) -> None:
    """Adam's first step moves every parameter by the learning rate."""
    for warmup in (0, 4):
        recipe = plan(**CONSTANT | {"optimizer.warmup": warmup})
        moved = (flat(after(recipe, tmp_path / f"{warmup}")) - untrained(recipe)).abs().max().item()
        assert moved == pytest.approx(0.01 / max(warmup, 1), rel=1e-2)


def test_the_gradient_is_clipped(plan: Callable[..., Recipe], tmp_path: Path) -> None:
    """SGD's first step with Nesterov momentum m is lr (1 + m) g."""
    sgd = CONSTANT | {"optimizer.kind": "sgd", "optimizer.betas": [0.5, 0.9], "optimizer.lr": 1.0}
    lengths = {}
    for clip in (0.0, 0.01, 1e6):
        recipe = plan(**sgd, optimizer__clip=clip)
        lengths[clip] = float((flat(after(recipe, tmp_path / f"{clip}")) - untrained(recipe)).norm()) / 1.5
    assert lengths[0.01] == pytest.approx(0.01, rel=1e-3)
    assert lengths[0.0] > 0.02
    assert lengths[1e6] == pytest.approx(lengths[0.0], rel=1e-3)


@pytest.mark.parametrize(("kind", "share"), [("adamw", 1.0), ("sgd", 1.5)])
def test_weight_decay_shrinks_the_parameters(kind: str, share: float, plan: Callable[..., Recipe], tmp_path: Path) -> None:
    """AdamW takes lr * weight_decay * parameter off; the first step of SGD with Nesterov momentum m that times 1 + m."""
    chosen = CONSTANT | {"optimizer.kind": kind, "optimizer.betas": [0.5, 0.9]}
    plain, decayed = (plan(**chosen, optimizer__weight_decay=decay) for decay in (0.0, 0.5))
    difference = flat(after(plain, tmp_path / "a")) - flat(after(decayed, tmp_path / "b"))
    assert torch.allclose(difference, share * 0.01 * 0.5 * untrained(plain), rtol=0, atol=1e-6)


def test_betas_are_the_recipe_s(plan: Callable[..., Recipe], tmp_path: Path) -> None:
    """After one step Adam's moments are (1 - b1) g and (1 - b2) g^2."""
    for betas in ((0.5, 0.75), (0.9, 0.999)):
        moments = after(plan(**CONSTANT, optimizer__betas=betas), tmp_path / f"{betas}").part("optimizer")
        first, second = (
            torch.cat([value.flatten().double() for key, value in sorted(moments.items()) if key.endswith(f".{name}")])
            for name in ("exp_avg", "exp_avg_sq")
        )
        seen = first.abs() > 1e-6
        ratio = (first[seen].square() / second[seen]).median().item()
        assert ratio == pytest.approx((1 - betas[0]) ** 2 / (1 - betas[1]), rel=1e-2)


def test_layers_draw_by_seed_and_step(plan: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout and its kind: a resumed run has the draws of the whole one, another seed has others."""
    seen: list[float] = []
    forward = ReconstructionStep.forward

    def spy(step: ReconstructionStep, update: str, **fields: object) -> dict[str, torch.Tensor]:
        seen.append(float(torch.nn.functional.dropout(torch.ones(64), 0.5) @ torch.arange(64.0)))
        return forward(step, update, **fields)

    monkeypatch.setattr(ReconstructionStep, "forward", spy)
    after(plan(), tmp_path / "whole", 4)
    after(plan(), tmp_path / "parts", 2)
    torch.rand(5)  # what else was drawn in between does not count
    train(plan(), RunOptions(out=tmp_path / "parts", max_steps=2, resume=True), say=lambda text: None)
    after(plan(run__seed=1), tmp_path / "other", 4)
    whole, parts, other = seen[:4], seen[4:8], seen[8:]
    assert whole == parts
    assert len(set(whole + other)) == 8


def conditions(recipe: Recipe, count: int) -> torch.Tensor:
    codec = create(recipe.model.arch, recipe.model.config)
    x = torch.zeros(count, 3, 8, 8)
    return draw_conditions(recipe, codec, make_channel("awgn"), rate_shares(recipe, codec), range(count), x)[0]


def test_snr_is_drawn_evenly(plan: Callable[..., Recipe]) -> None:
    """Of 4,000 draws in ten bins each has 400, with a standard deviation of 19."""
    drawn = conditions(plan(channel__snr_db=[-5.0, 15.0]), 4000)
    counts = torch.histc(drawn, 10, -5.0, 15.0)
    assert counts.sum() == 4000
    assert (counts - 400).abs().max() < 5 * 19
    levels, counts = conditions(plan(channel__snr_db=[0.0, 20.0], channel__levels=5), 4000).unique(return_counts=True)
    assert levels.tolist() == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert (counts - 800).abs().max() < 5 * 26
    assert set(conditions(plan(channel__snr_db=[7.0, 7.0]), 9).tolist()) == {7.0}


@pytest.fixture
def policy_step(plan: Callable[..., Recipe]) -> Callable[..., ReconstructionStep]:
    def made(**more: object) -> ReconstructionStep:
        recipe = plan("arjscc-cifar10", data__crop=32, loss__kind="mse", **more)
        torch.manual_seed(0)
        step = ReconstructionStep(recipe, create("arjscc", recipe.model.config))
        step.train()
        step.pictures = 10
        return step

    return made


def test_what_is_drawn_for_a_picture_is_independent(policy_step: Callable[..., ReconstructionStep]) -> None:
    """SNR, rate, noise, whether the policy decides, and its draws: of 2,000 pictures no correlation is beyond five standard
    deviations of 1 / sqrt(2000)."""
    count = 2000
    step = policy_step(rate__policy_share=0.25)
    drawn = step.prepare(Batch(range(count), torch.zeros(count, 3, 8, 8)), 0)
    snr_db, ratio, noise, policy = drawn.snr_db, drawn.ratio, drawn.noise, drawn.policy
    assert policy is not None
    left = ratio.isnan()
    assert left.float().mean().item() == pytest.approx(0.25, abs=5 * 0.0097)
    values = [snr_db, left.float(), noise[:, 0].real, noise[:, 0].imag, noise[:, 1].real, *policy.unbind(1)]
    table = torch.corrcoef(torch.stack(values)).fill_diagonal_(0.0)
    assert table.abs().max() < 5 / count**0.5, table
    given = torch.corrcoef(torch.stack([each[~left] for each in (ratio, *values[:1], *values[2:])]))[0, 1:]
    assert given.abs().max() < 5 / (0.75 * count) ** 0.5, given


def test_the_loss_is_the_recipe_s(plan: Callable[..., Recipe]) -> None:
    losses = {}
    for kind in ("mse", "log_mse"):
        recipe = plan(loss__kind=kind)
        torch.manual_seed(0)
        step = ReconstructionStep(recipe, create(recipe.model.arch, recipe.model.config).train())
        x = (
            torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
            * torch.tensor([1.0, 0.1, 0.0])[:, None, None, None]
        )
        losses[kind] = step("model", **vars(step.prepare(Batch(range(3), x), 0)))["loss"].detach()
        assert torch.equal(step.loss(torch.zeros(1)), torch.zeros(1) if kind == "mse" else torch.tensor([1e-5]).log())
    assert torch.allclose(losses["log_mse"], (losses["mse"] + 1e-5).log(), rtol=1e-5)


def test_the_gumbel_temperature_falls_with_the_epoch(policy_step: Callable[..., ReconstructionStep]) -> None:
    step = policy_step(rate__temperature=3.0, rate__decay=0.2, rate__floor=0.1)
    for start in (0, 25, 10_000):
        temperature = step.prepare(Batch(range(start, start + 2), torch.rand(2, 3, 32, 32)), 0).temperature
        assert temperature == pytest.approx(max(3.0 * math.exp(-0.2 * start / 10), 0.1))
    assert temperature == 0.1


def test_the_gumbel_temperature_reaches_the_policy(policy_step: Callable[..., ReconstructionStep]) -> None:
    """The higher it is, the softer the choice whose gradient is taken."""
    batch = Batch(range(4), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    gradients = []
    for temperature in (5.0, 0.5):
        step = policy_step(rate__temperature=temperature, rate__decay=0.0, rate__weight=1.0)
        step("model", **vars(step.prepare(batch, 0)))["loss"].sum().backward()
        policy = [value.grad for key, value in step.codec.named_parameters() if "policy" in key and value.grad is not None]
        gradients.append(torch.cat([value.flatten() for value in policy]))
    assert gradients[0].norm() > 0
    assert not torch.allclose(gradients[0], gradients[1], rtol=0.1)


def test_only_rates_that_the_policy_chose_have_a_price(policy_step: Callable[..., ReconstructionStep]) -> None:
    batch, losses = Batch(range(16), torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))), []
    for weight in (0.0, 10.0):
        step = policy_step(rate__weight=weight, rate__policy_share=0.5)
        drawn = step.prepare(batch, 0)
        with torch.no_grad():
            losses.append(step("model", **vars(drawn))["loss"])
            chosen = step.transmitted(drawn).selected
        left = drawn.ratio.isnan()
    assert 0 < left.sum() < 16
    assert chosen is not None
    assert (chosen[left] > 0).any()
    assert torch.allclose(losses[1] - losses[0], torch.where(left, 10.0 * chosen, 0.0), atol=1e-4)


FAST = {"channel.name": "rayleigh:fast", "channel.snr_db": [3.0, 3.0], "run.validate_snr_db": 3.0, "data.validate_limit": 3}
"""With adjscc-photo, which starts as linear transmission: an untrained network otherwise hardly hears the channel."""


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_training_equalises_as_the_recipe_says(method: str, plan: Callable[..., Recipe]) -> None:
    recipe = plan("adjscc-photo", **FAST, channel__equalizer=method, loss__kind="mse")
    torch.manual_seed(0)
    step = ReconstructionStep(recipe, create(recipe.model.arch, recipe.model.config).train())
    drawn = step.prepare(Batch(range(2), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))), 0)
    x, snr_db = drawn.x, drawn.snr_db
    with torch.no_grad():
        frame = step.codec.encode(x, Conditions(snr_db, drawn.ratio))
        arrived = equalize(step.channel.apply(frame, snr_db, Realisation(drawn.noise, drawn.gain)), method)
        image = step.codec.decode_payload(arrived, frame.side).image
        assert image is not None
        assert torch.allclose(step("model", **vars(drawn))["loss"], (x - image).square().mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_validation_equalises_as_the_recipe_says(method: str, plan: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = plan("adjscc-photo", **FAST, channel__equalizer=method)
    torch.manual_seed(0)
    codec = create(recipe.model.arch, recipe.model.config).eval()
    validation = Validation(recipe, None, tmp_path)
    figures = {
        kind: fmean(
            float(psnr(x, transmit(codec, "rayleigh:fast", x, 3.0, equalizer=kind).image))  # pyright: ignore[reportArgumentType]
            for x in (picture[None].float() / 255.0 for picture in validation.pictures)
        )
        for kind in ("zf", "mmse")
    }
    assert abs(figures["zf"] - figures["mmse"]) > 0.1
    assert validation(codec, 0)["psnr_1/6"] == pytest.approx(figures[method])
