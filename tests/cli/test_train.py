"""``openjscc train``: a tiny recipe from its first step to a weight that `send` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric")

RECIPE = """
note = "for tests"
[model]
arch = "adjscc"
config = "tiny"
[data]
train = ["{folder}"]
validate = "{folder}"
validate_limit = 1
crop = 16
terms = "none"
[optimizer]
batch = 2
steps = 4
lr = 1e-3
[run]
validate_every = 100
checkpoint_every = 2
"""


@pytest.fixture
def recipe(tmp_path: Path, make_picture: Callable[..., Path], make_codec, monkeypatch: pytest.MonkeyPatch) -> Path:
    from openjscc.models import ARCHITECTURES

    monkeypatch.setitem(ARCHITECTURES["adjscc"].configs, "tiny", make_codec().config)  # pyright: ignore[reportArgumentType]
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        make_picture(folder / f"{number}.png", 20, 18, seed=number)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(folder=folder))
    return path


def hide_photos(recipe: Path) -> None:
    (recipe.parent / "photos").rename(recipe.parent / "gone")


def test_list(openjscc) -> None:
    result = openjscc("train", "--list")
    result.assert_ok()
    names = [line.split()[0] for line in result.out.splitlines()]
    assert {"adjscc-cifar10", "adjscc-photo", "deepjscc-photo"} <= set(names)


def test_from_the_first_step_to_send(openjscc, recipe: Path, photo: Path) -> None:
    result = openjscc("train", recipe, "--max-steps", 2)
    result.assert_ok()
    assert result.out.strip() == str(Path("runs/tiny/last.ckpt"))
    assert "stopped after step 2 of 4" in result.err
    assert "--resume" in result.err
    assert Path("runs/tiny/log.csv").exists()

    result = openjscc("train", recipe, "--resume")
    result.assert_ok()
    assert "done: 4 steps" in result.err
    assert "--export" in result.err

    hide_photos(recipe)  # what is finished is exported without data
    result = openjscc("train", recipe, "--resume", "--export", "adjscc.mine.safetensors")
    result.assert_ok()
    assert result.out.strip() == "adjscc.mine.safetensors"
    assert "4 steps already" in result.err

    facts = json.loads(openjscc("models", "info", "adjscc.mine.safetensors", "--json").out)
    assert (facts["name"], facts["tag"]) == ("adjscc.mine", "mine")
    training = facts["training"]
    assert (training["steps"], training["images"], training["terms"]) == (4, 8, "none")
    assert training["recipe"]["optimizer"]["steps"] == 4
    assert len(training["compute"]) == 2  # two sittings
    openjscc("send", photo, "--model", "adjscc.mine.safetensors").assert_ok()


def test_export_at_the_end_of_a_run_equals_export_afterwards(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--export", "a.safetensors").assert_ok()
    openjscc("train", recipe, "--resume", "--export", "b.safetensors").assert_ok()
    facts = [json.loads(openjscc("models", "info", f"{name}.safetensors", "--json").out) for name in "ab"]
    assert facts[0]["sha256"] == facts[1]["sha256"]
    assert facts[0]["tag"] == "tiny"  # no tag in the file's name: that of the configuration
    openjscc("train", recipe, "--resume", "--export", "a.safetensors").assert_error(2, "a.safetensors")
    openjscc("train", recipe, "--resume", "--export", "a.safetensors", "-f").assert_ok()


def test_fine_tuning_starts_from_the_weight(openjscc, recipe: Path, tiny_weights: Path) -> None:
    import torch

    from openjscc import load

    init = ["--set", "model.init=adjscc.photo", "--set", "optimizer.lr=0.0", "-o", "run"]
    openjscc("train", recipe, *init, "--max-steps", 2).assert_ok()
    openjscc("train", recipe, *init, "--resume", "--export", "tuned.safetensors").assert_ok()
    before, after = load(tiny_weights / "adjscc.photo.safetensors").state_dict(), load("./tuned.safetensors").state_dict()
    assert all(torch.allclose(before[key], after[key], atol=1e-3) for key in before)
    hide_photos(recipe)
    openjscc("train", recipe, *init, "--resume", "--export", "again.safetensors").assert_ok()


def test_fine_tuning_moves_the_parameters(openjscc, recipe: Path, tiny_weights: Path) -> None:
    from openjscc import load

    openjscc("train", recipe, "--set", "model.init=adjscc", "--export", "tuned.safetensors").assert_ok()
    before, after = load(tiny_weights / "adjscc.photo.safetensors").state_dict(), load("./tuned.safetensors").state_dict()
    assert any((before[key] - after[key]).abs().max() > 1e-4 for key in before)


def test_fine_tuning_wants_the_recipes_architecture(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--set", "model.init=deepjscc.photo").assert_error(2, "deepjscc.photo")
    openjscc("train", recipe, "--set", "model.init=adjscc.foto").assert_error(2, "adjscc.foto")
    assert not Path("runs").exists()


def test_a_run_is_not_overwritten(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--max-steps", 1, "-o", "run").assert_ok()
    result = openjscc("train", recipe, "-o", "run")
    result.assert_error(2, "run")
    assert "--resume" in result.err


def test_resume_without_a_run_or_with_a_damaged_one(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--resume", "-o", "run").assert_error(3, "run")
    Path("run").mkdir()
    Path("run/last.ckpt").write_bytes(b"no checkpoint")
    openjscc("train", recipe, "--resume", "-o", "run").assert_error(4, "last.ckpt")


def test_travelling(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--max-steps", 2, "-o", "here", "--travel", "bag").assert_ok()
    result = openjscc("train", recipe, "--resume", "-o", "there", "--travel", "bag")
    result.assert_ok()
    assert "done: 4 steps" in result.err


def test_missing_data(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--set", 'data.train=["kodak"]').assert_error(2, "kodak")  # for testing only
    openjscc("train", recipe, "--set", 'data.train=["photos"]', "-o", "run").assert_error(3, "photos")


@pytest.mark.parametrize(("batches", "kept"), [(1, False), (3, True)])
def test_an_interruption_says_what_is_kept(
    openjscc, recipe: Path, batches: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openjscc.training import loop

    prefetched = loop.prefetched

    def interrupted(*arguments):
        for number, batch in enumerate(prefetched(*arguments)):
            if number == batches:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(loop, "prefetched", interrupted)
        result = openjscc("train", recipe, "-o", "run")
    assert result.code == 130
    assert result.out == ""
    assert "Traceback" not in result.err
    assert Path("run/last.ckpt").exists() == kept
    assert ("--resume" in result.err) == kept
    if kept:
        openjscc("train", recipe, "-o", "run", "--resume").assert_ok()


def test_a_recipe_file_with_a_mistake(openjscc, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("crop = 16", 'crop = "large"'))
    result = openjscc("train", recipe)
    result.assert_error(2, "crop")
    assert "large" in result.err
    recipe.write_text("[model")
    openjscc("train", recipe).assert_error(2, "tiny.toml")


def test_another_optimiser_goes_on_from_the_weight(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "--set", "optimizer.kind=sgd", "--max-steps", 2, "-o", "run").assert_ok()
    result = openjscc("train", recipe, "--resume", "-o", "run")
    result.assert_error(2, "optimizer.kind was 'sgd'", "'adamw'")
    export = ("--resume", "--max-steps", 0, "--export", "adjscc.begun.safetensors")  # as the hint says
    openjscc("train", recipe, "--set", "optimizer.kind=sgd", "-o", "run", *export).assert_ok()
    openjscc("train", recipe, "--set", "model.init=adjscc.begun.safetensors", "-o", "tuned").assert_ok()


def test_a_run_that_was_killed_before_its_last_validation(openjscc, recipe: Path) -> None:
    openjscc("train", recipe, "-o", "run").assert_ok()
    log = Path("run/log.csv")
    whole = log.read_text().splitlines()
    assert "val_psnr_" in whole[0]
    log.write_text("\n".join(whole[:-1]) + "\n")
    openjscc("train", recipe, "-o", "run", "--resume").assert_ok()
    figures = [line.split(",")[2:] for line in (whole[-1], log.read_text().splitlines()[-1])]
    assert figures[0] == figures[1]


def test_a_folder_in_use(openjscc, recipe: Path) -> None:
    from openjscc.files import exclusive

    Path("run").mkdir()
    with exclusive(Path("run")):
        openjscc("train", recipe, "-o", "run").assert_error(2, "run is in use by process")
    openjscc("train", recipe, "-o", "run", "--max-steps", 1).assert_ok()
