"""Semantic weights and losses of SP-JSCC, against closed forms."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from openjscc.codec import Codec
from openjscc.errors import UsageError
from openjscc.link import Transmission, transmit
from openjscc.models import create
from openjscc.tasks import load_task_network
from openjscc.tasks.semantics import WEIGHTINGS, class_gradients, semantic_weights, weights_of
from openjscc.training import progress
from openjscc.training.batches import CropSource
from openjscc.training.losses import divergence, mean_squared_error, weighted_squared_error
from openjscc.training.recipe import load_recipe
from openjscc.training.steps import SemanticStep, semantic
from openjscc.training.steps.reconstruction import ReconstructionStep
from openjscc.training.steps.semantic import SemanticValidation


class Linear(nn.Module):
    """Scores ``A x``, whose gradients are the rows of A whatever the picture."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,kchw->bk", x, self.rows)


class Map(nn.Module):
    """Every class's score at a position is a multiple of one channel of the picture there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([2 * x[:, 0], 3 * x[:, 1]], dim=1)


@pytest.fixture
def network() -> Linear:
    return Linear(torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))


def unit(values: torch.Tensor) -> torch.Tensor:
    return values / values.square().mean().sqrt()


def test_gradients_of_a_linear_network_are_its_rows(network: Linear, x: torch.Tensor) -> None:
    gradients = class_gradients(network, x)
    assert gradients.shape == (5, 2, 3, 4, 6)
    assert torch.allclose(gradients, network.rows[:, None].expand_as(gradients), atol=1e-6)
    assert network.rows.grad is None
    assert not gradients.requires_grad


def test_gradients_of_a_map_of_scores_are_of_its_mean(x: torch.Tensor) -> None:
    gradients = class_gradients(Map(), x)
    assert torch.allclose(gradients[0, :, 0], torch.full((2, 4, 6), 2 / 24))
    assert torch.allclose(gradients[1, :, 1], torch.full((2, 4, 6), 3 / 24))
    assert not gradients[:, :, 2].any()


def test_weightings_in_closed_form(network: Linear, x: torch.Tensor) -> None:
    rows = network.rows.detach()
    expected = {
        "literal": rows.mean(0).abs(),
        "mean_abs": rows.abs().mean(0),
        "rms": (rows - rows.mean(0)).square().mean(0).sqrt(),
        "mean_square": (rows - rows.mean(0)).square().mean(0),
    }
    assert set(expected) == set(WEIGHTINGS)
    for name, values in expected.items():
        weights = semantic_weights(network, x, name)
        assert torch.allclose(weights, unit(values).expand_as(weights), atol=1e-5), name
        assert torch.allclose(weights.square().flatten(1).sum(1), torch.tensor(3.0 * 4 * 6)), name  # L2 norm sqrt(3 H W)


def test_paper_literal_weights_of_softmax_outputs_are_noise(network: Linear, x: torch.Tensor) -> None:
    """The probabilities sum to one, so the mean of their gradients over the classes is zero, before any absolute value."""
    gradients = class_gradients(network, x, "softmax")
    assert gradients.abs().mean() > 1e-4
    assert gradients.mean(0).abs().max() < 1e-6 * gradients.abs().max()


def test_paper_literal_weights_of_logits_hang_on_what_training_never_saw(network: Linear, x: torch.Tensor) -> None:
    """Adding one function of the picture to all scores changes no decision, but literal weights become its gradient."""

    class Shifted(nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return network(picture) + 1000 * picture[:, 2, 0, 0][:, None]

    shifted = Shifted()
    assert torch.allclose(shifted(x).softmax(1), network(x).softmax(1), atol=1e-4)
    moved = semantic_weights(shifted, x, "literal")
    assert moved[:, 2, 0, 0].square().div(3 * 4 * 6).min() > 0.999  # all weight on that one value
    assert torch.allclose(semantic_weights(shifted, x, "rms"), semantic_weights(network, x, "rms"), atol=1e-2)


def test_a_picture_of_which_nothing_matters_has_weight_one(x: torch.Tensor) -> None:
    weights = semantic_weights(Linear(torch.zeros(5, 3, 4, 6)), x)
    assert torch.equal(weights, torch.ones_like(weights))


def test_errors_say_what_there_is(network: Linear, x: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="weighting"):
        semantic_weights(network, x, "l2")
    with pytest.raises(UsageError, match="output"):
        semantic_weights(network, x, "rms", "probabilities")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="expected scores"):
        semantic_weights(nn.Identity(), x[:, 0])


def test_losses_in_closed_form() -> None:
    x, y = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5)
    weights = torch.ones_like(x)
    weights[0, 0] = 4.0
    assert mean_squared_error(x, y).tolist() == [0.25, 0.25]
    assert weighted_squared_error(x, y, weights).tolist() == [0.5, 0.25]
    sent, received = torch.tensor([[0.0, 0.0]]), torch.tensor([[np.log(3.0), 0.0]], dtype=torch.float32)
    expected = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert divergence(sent, received).item() == pytest.approx(expected, rel=1e-5)
    assert divergence(received, received).item() == pytest.approx(0.0, abs=1e-7)
    maps = torch.randn(2, 3, 4, 5)
    assert divergence(maps, maps + 1.0).shape == (2,)
    assert divergence(maps, maps + 1.0).abs().max() < 1e-5  # a common shift says nothing


class Pictures:
    """Three pictures of two sizes, whose first channel is unlike anywhere."""

    sizes = ((5, 7), (5, 7), (6, 4))
    name, split, labels = "three", "train", None

    def __len__(self) -> int:
        return 3

    def shared(self, index: int) -> torch.Tensor:
        return torch.randint(0, 256, (3, *self.sizes[index]), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)

    def fingerprint(self) -> str:
        return "three"

    fixed_size = None


class Brightness(nn.Module):
    """A quadratic score, so that its gradient is the picture itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.square().flatten(1).sum(1), torch.zeros(len(x))], dim=1)


def test_weights_of_a_data_set_are_kept_and_cut_with_the_pictures(tmp_path: Path) -> None:
    data, network = Pictures(), Brightness()
    stored = weights_of(data, network, "network", tmp_path, "rms", "logits", batch=2)
    for index in range(3):
        expected = unit(data.shared(index).float())
        assert torch.allclose(stored[index], expected, rtol=2e-3)
    (file,) = tmp_path.glob("semantic-*.npy")
    before = file.stat().st_mtime_ns
    again = weights_of(data, network, "network", tmp_path, "rms", "logits")
    assert torch.equal(again[2], stored[2])
    assert file.stat().st_mtime_ns == before
    weights_of(data, network, "another network", tmp_path, "rms", "logits")
    assert len(list(tmp_path.glob("semantic-*.npy"))) == 2

    source = CropSource([data], 4, True, 0, torch.device("cpu"), [stored])  # pyright: ignore[reportArgumentType]
    batch = source.batch(range(24))
    assert batch.maps is not None
    ratio = batch.maps / batch.x.clamp(min=1 / 255)  # the weight is the picture times one number a picture
    bright = batch.x > 0.2
    for one, where in zip(ratio, bright, strict=True):
        assert one[where].std() < 5e-3 * one[where].mean()


def test_who_waits_for_weights_is_told_how_many_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    step, lines = semantic_step(), []
    step.task, step.say = Brightness(), lines.append  # pyright: ignore[reportAttributeAccessIssue]
    step.task.sha256 = "brightness"  # pyright: ignore[reportAttributeAccessIssue]
    step.attach([Pictures()], torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    assert lines[0] == "semantic weights of three: 0 of 3 images"
    assert re.fullmatch(r"semantic weights of three: 3 of 3 images, [\d.]+ images/s", lines[1])
    step.attach([Pictures()], torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    assert len(lines) == 2  # they are on disk


def test_a_count_is_said_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    count = progress.Count("weights", 5000, lines.append)
    for seconds, done in ((0, 0), (4, 1000), (11, 2200), (15, 3000), (20, 5000)):
        now[0] = 200.0 + seconds
        count(done)
    assert lines == [
        "weights: 0 of 5,000 images",
        "weights: 2,200 of 5,000 images, 200.0 images/s",
        "weights: 5,000 of 5,000 images, 250.0 images/s",
    ]


def semantic_step(**values: object) -> SemanticStep:
    plan = load_recipe("spjscc-small", [f"semantic.{key}={json.dumps(value)}" for key, value in values.items()])
    return SemanticStep(plan, create("spjscc", "small"))


def started(step: SemanticStep, update: int) -> SemanticStep:
    """As `prepare` for that update leaves it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReconstructionStep, "prepare", lambda *_: ())
        step.prepare(None, update)  # pyright: ignore[reportArgumentType]
    return step


@pytest.mark.parametrize(
    ("share", "kl", "maps"), [(0.0, 0.0, True), (0.25, 0.0, True), (0.25, 0.03, True), (0.0, 0.03, False), (0.0, 0.0, False)]
)
def test_the_distortion_is_what_the_recipe_says_from_its_start_on(share: float, kl: float, maps: bool) -> None:
    step = semantic_step(start=7, kl=kl, **({"mse_share": share} if maps else {"weighting": "none"}))
    generator = torch.Generator().manual_seed(0)
    x, weights = torch.rand(3, 3, 32, 32, generator=generator), torch.rand(3, 3, 32, 32, generator=generator)
    y = (x + 0.1 * torch.randn(x.shape, generator=generator)).requires_grad_()
    plain = (x - y).square().mean((1, 2, 3))
    weighted = (weights * (x - y).square()).mean((1, 2, 3))
    kept = step.task(x).log_softmax(1)
    lost = (kept.exp() * (kept - step.task(y).log_softmax(1))).sum(1)

    before, values = started(step, 6).distortion(x, y, weights if maps else None)
    assert torch.allclose(before, plain)
    assert values == {}
    after, values = started(step, 7).distortion(x, y, weights if maps else None)
    expected = (share * plain + (1 - share) * weighted if maps else plain) + kl * lost
    assert torch.allclose(after, expected, rtol=1e-4)
    assert torch.allclose(
        torch.autograd.grad(after.sum(), y, retain_graph=True)[0], torch.autograd.grad(expected.sum(), y)[0], atol=1e-6
    )
    assert set(values) == {"mse"} | ({"weighted"} if maps else set()) | ({"kl"} if kl else set())


class Labelled:
    """Two grey pictures with class numbers."""

    labels = torch.tensor([0, 1])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((3, 32, 32), 100 + index, dtype=torch.uint8)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_validation_sends_as_the_recipe_says(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture for the task network, too."""
    plan = load_recipe("spjscc-small", ["channel.name=rayleigh:fast", f"channel.equalizer={method}", "run.validate_snr_db=4.0"])
    seen: list[tuple[object, ...]] = []

    def spy(codec: Codec, channel: str, x: torch.Tensor, snr_db: float, **more: Any) -> Transmission:
        seen.append((channel, snr_db, more["ratio"], more.get("equalizer")))
        return transmit(codec, channel, x, snr_db, **more)

    for module in (progress, semantic):
        monkeypatch.setattr(module, "transmit", spy)
    monkeypatch.setattr(progress, "open_dataset", lambda *_, **__: Labelled())
    codec = create("spjscc", "small").eval()
    figures = SemanticValidation(plan, None, tmp_path, load_task_network("classifier"))(codec, 0)
    assert "accuracy" in figures
    assert {(channel, snr_db, equalizer) for channel, snr_db, _, equalizer in seen} == {("rayleigh:fast", 4.0, method)}
    assert [ratio for _, _, ratio, _ in seen[-2:]] == [codec.ratios[-1]] * 2


def test_the_task_network_of_a_step_is_never_trained() -> None:
    step = semantic_step(kl=0.03, weighting="none", start=0)
    step.train()
    assert step.network.training
    assert not any(module.training for module in step.task.modules())
    assert not any(parameter.requires_grad for parameter in step.task.parameters())
    assert set(step.trained()) == {"model"}


def test_paper_literal_weights_of_the_released_classifier() -> None:
    """Softmax: nothing but rounding. Logits: what training left of the sum of all scores."""
    network = load_task_network("classifier")
    x = torch.nn.functional.avg_pool2d(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2)), 2)
    softmax, logits = class_gradients(network, x, "softmax"), class_gradients(network, x)
    assert softmax.mean(0).abs().mean() < 1e-5 * softmax.abs().mean()
    assert 0 < logits.mean(0).abs().mean() < 0.1 * logits.abs().mean()
