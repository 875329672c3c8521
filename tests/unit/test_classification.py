"""The training of a classifier: what its pictures go through, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import silent
from openjscc import tasks
from openjscc.errors import UsageError
from openjscc.training.augment import shifted_and_cut
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import Recipe, load_recipe
from openjscc.training.steps import ClassificationStep

pytest.importorskip("lightning_fabric")


def coloured(path: Path, count: int = 48, classes: int = 3) -> Path:
    """Noisy pictures whose class is their strongest colour."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pictures = rng.integers(0, 120, (count, 32, 32, 3))
    pictures[np.arange(count), :, :, labels % 3] += 100
    arrays = {f"x_{split}": pictures.astype(np.uint8) for split in ("train", "test")}
    np.savez(path, **arrays, y_train=labels, y_test=labels)  # pyright: ignore[reportArgumentType]
    return path


def plan(data: Path, *more: str) -> Recipe:
    settings = [f'data.train=["{data}"]', f"data.validate={data}", "data.validate_limit=12", "optimizer.batch=12"]
    return load_recipe("classifier-cifar10", [*settings, "run.precision=32-true", *more])


def test_pictures_are_moved_and_get_a_hole() -> None:
    x = torch.rand(20, 3, 12, 10) * 0.4  # nothing is 0.5
    index = torch.arange(20)
    y = shifted_and_cut(x, index, seed=1, shift=2, cut=4)
    hole = (y == 0.5).all(1)
    assert torch.equal(hole, (y == 0.5).any(1))
    assert ((hole.sum((1, 2)) >= 4) & (hole.sum((1, 2)) <= 16)).all()
    offsets = set()
    for picture, moved, mask in zip(x, y, hole, strict=True):
        padded = torch.nn.functional.pad(picture[None], (2,) * 4, mode="reflect")[0]
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(padded[:, down : down + 12, right : right + 10][:, ~mask], moved[:, ~mask])
        ]
        assert len(found) == 1
        offsets |= set(found)
    assert len(offsets) > 8


def test_a_sample_s_draw_is_its_own() -> None:
    x = torch.rand(8, 3, 9, 9)
    whole = shifted_and_cut(x, torch.arange(8), seed=3, shift=2, cut=3)
    half = shifted_and_cut(x[5:], torch.arange(5, 8), seed=3, shift=2, cut=3)
    assert torch.equal(whole[5:], half)
    assert not torch.equal(whole, shifted_and_cut(x, torch.arange(8), seed=4, shift=2, cut=3))
    assert torch.equal(x, shifted_and_cut(x, torch.arange(8), seed=3, shift=0, cut=0))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_cross_entropy_with_smoothed_labels(smoothing: float) -> None:
    step = ClassificationStep(load_recipe("classifier-cifar10", [f"classification.smoothing={smoothing}"]), tiny())
    x, labels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 9, 3])
    with torch.no_grad():
        scores = step.network(x).log_softmax(1)
        labels[0], labels[1] = scores[0].argmax(), scores[1].argmin()
        values = step("model", x=x, labels=labels)
    target = (1 - smoothing) * torch.eye(10)[labels] + smoothing / 10
    assert torch.allclose(values["loss"], -(target * scores).sum(1), atol=1e-5)
    assert values["accuracy"][:2].tolist() == [1.0, 0.0]


def tiny() -> tasks.Classifier:
    torch.manual_seed(0)
    return tasks.Classifier(tasks.ClassifierConfig(widths=(4, 4, 4, 4))).eval()


def test_it_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    data = coloured(tmp_path / "colours.npz")
    recipe = plan(data, "optimizer.steps=24", "optimizer.warmup=4", "optimizer.ema=0.5", "run.validate_every=24")
    said: list[str] = []
    whole = train(recipe, RunOptions(out=tmp_path / "a"), say=said.append)
    assert "accuracy 1.0000" in said[-1]
    train(recipe, RunOptions(out=tmp_path / "b", max_steps=7), say=silent)
    parts = train(recipe, RunOptions(out=tmp_path / "b", resume=True), say=silent)
    assert whole.state.tensors.keys() == parts.state.tensors.keys()
    assert all(torch.equal(value, parts.state.tensors[key]) for key, value in whole.state.tensors.items())


def test_from_recipe_to_task_network(openjscc, tmp_path: Path) -> None:
    data = coloured(tmp_path / "colours.npz")
    few = ("--set", "optimizer.steps=4", "--set", f'data.train=["{data}"]', "--set", f"data.validate={data}")
    more = ("--set", "optimizer.batch=8", "--set", "data.validate_limit=3", "-o", "run")
    result = openjscc("train", "classifier-cifar10", *few, *more, "--export", "classifier.mine.safetensors")
    result.assert_ok()
    assert "--task-network classifier.mine.safetensors" in result.err
    network = tasks.load_task_network("classifier.mine.safetensors")
    assert network.weight is not None
    assert network.name == "classifier.mine"
    assert network.weight.training["recipe"]["classification"] == {"smoothing": 0.1, "shift": 4, "cut": 8}
    tuned = ("--set", "model.init=./classifier.mine.safetensors", "-o", "tuned")
    openjscc("train", "classifier-cifar10", *few, *more[:-2], *tuned).assert_ok()
    openjscc("train", "classifier-cifar10", *few, *more[:-2], "--set", "model.init=classifier", "-o", "other").assert_error(
        2, "model.init 'classifier'"
    )


def test_data_that_it_cannot_learn_from(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(UsageError, match="without class numbers"):
        train(plan(photo.parent), RunOptions(out=tmp_path / "run"), say=silent)
    many = coloured(tmp_path / "many.npz", 22, classes=11)
    with pytest.raises(UsageError, match="class number 10"):
        train(plan(many), RunOptions(out=tmp_path / "other"), say=silent)
