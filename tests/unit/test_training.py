"""The training loop: recipes, exact resume, a kill during a checkpoint, two processes, travelling state."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import silent
from openjscc.errors import IntegrityError, OpenJSCCError, UsageError
from openjscc.models import create, export, load
from openjscc.models.mtgsc import MTGSC, PAPER
from openjscc.training import progress
from openjscc.training.batches import CropSource, prefetched
from openjscc.training.checkpoint import PART_BYTES, TrainingState, load_checkpoint, save_checkpoint, save_travel
from openjscc.training.facts import training_facts
from openjscc.training.loop import RunOptions, train
from openjscc.training.optimizer import learning_rate
from openjscc.training.recipe import Recipe, load_recipe, packaged_recipes, recipe_from_dict
from openjscc.training.sections import OptimizerSection
from openjscc.training.steps import perceptual, step_class
from openjscc.training.steps.reconstruction import ReconstructionStep, draw_conditions, rate_shares
from stand_ins import StandInLPIPS
from task_networks import labelled
from voc_data import voc_folder

fabric = pytest.importorskip("lightning_fabric")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(5):
        small = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(small).resize((60 + index, 50)).save(folder / f"{index}.png")
    return folder


def overrides(pictures: Path, **more: object) -> list[str]:
    settings: dict[str, object] = {
        "data.train": [str(pictures)],
        "data.validate": str(pictures),
        "data.validate_limit": 1,
        "data.crop": 32,
        "optimizer.batch": 4,
        "optimizer.steps": 6,
        "run.validate_every": 1000,
        "run.checkpoint_every": 2,
    } | {key.replace("__", "."): value for key, value in more.items()}
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def recipe(pictures: Path, **more: object) -> Recipe:
    return load_recipe("deepjscc-paper-2019", overrides(pictures, **{"optimizer__ema": 0.9, "data__exclude": [], **more}))


def smaller(name: str) -> MTGSC | None:
    """In the place of 684 million parameters, and as many gradients and moments: a shallower and narrower transformer."""
    return MTGSC(replace(PAPER, depth=1, width=32, decoder_heads=2)) if name == "mtgsc-paper" else None


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_takes_two_steps(
    name: str, pictures: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "LPIPS", StandInLPIPS)
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    step, data = load_recipe(name).step, pictures
    if step_class(step).labels:
        data = labelled(tmp_path / "labelled.npz", side=32)
    elif step in ("multitask", "segmentation"):
        data = tmp_path / "voc"
        voc_folder(data)
    here: dict[str, object] = {"data__exclude": [], "optimizer__batch": 2}
    if step == "multitask":
        here["multitask__masked_pictures"] = True  # one folder
    if step == "perceptual":
        here["data__crop"] = 40  # LPIPS sees 7 pixels less
    if step == "semantic":
        here |= {"semantic__task_network": "classifier", "semantic__start": 1}  # a weight at hand; one update of each kind
    plan = load_recipe(name, overrides(data, **here))
    result = train(plan, RunOptions(out=tmp_path, max_steps=2), say=silent, initial=smaller(name))
    assert result.state.step == 2
    assert not result.finished
    assert all(torch.isfinite(value).all() for value in result.network.state_dict().values())


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_survives_the_way_through_plain_values(name: str) -> None:
    plan = load_recipe(name)
    assert recipe_from_dict(plan.to_dict(), name) == plan
    assert plan.note


def test_learning_goes_down_and_is_logged(pictures: Path, tmp_path: Path) -> None:
    plan = recipe(pictures, optimizer__steps=150, optimizer__lr=3e-3, run__validate_every=75)
    lines: list[str] = []
    result = train(plan, RunOptions(out=tmp_path), say=lines.append)
    assert result.finished
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert [row["step"] for row in rows if row["loss"]] == ["50", "100", "150"]
    assert losses[-1] < 0.8 * losses[0]
    assert sum("psnr_1/6 " in line for line in lines) == 2
    assert len(list((tmp_path / "samples").glob("*.png"))) == 2


def states_equal(one: TrainingState, two: TrainingState) -> bool:
    return one.step == two.step and all(torch.equal(value, two.tensors[key]) for key, value in one.tensors.items())


def test_resume_continues_bit_for_bit(pictures: Path, tmp_path: Path) -> None:
    plan = recipe(pictures, optimizer__clip=1.0, optimizer__warmup=2)
    whole = train(plan, RunOptions(out=tmp_path / "whole"), say=silent)
    train(plan, RunOptions(out=tmp_path / "parts", max_steps=3), say=silent)
    rest = train(plan, RunOptions(out=tmp_path / "parts", resume=True), say=silent)
    assert states_equal(whole.state, rest.state)
    assert states_equal(load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "parts"))


def test_a_run_in_the_way_is_not_overwritten(pictures: Path, tmp_path: Path) -> None:
    train(recipe(pictures), RunOptions(out=tmp_path, max_steps=1), say=silent)
    with pytest.raises(UsageError, match="already holds a run"):
        train(recipe(pictures), RunOptions(out=tmp_path, max_steps=1), say=silent)


KILLED = """
import os, sys, time
from pathlib import Path
from openjscc import files
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import load_recipe

calls = 0
real = os.fsync
def slow(descriptor):
    global calls
    calls += 1
    if calls == 3:  # after the log and the first checkpoint: the second one is written but not in place
        Path(sys.argv[2]).touch()
        time.sleep(120)
    real(descriptor)
files.os.fsync = slow
train(load_recipe("deepjscc-paper-2019", sys.argv[3:]), RunOptions(out=Path(sys.argv[1])), say=lambda text: None)
"""


def test_a_kill_while_a_checkpoint_is_written_loses_nothing(pictures: Path, tmp_path: Path) -> None:
    marker = tmp_path / "writing"
    settings = overrides(pictures, optimizer__ema=0.9, data__exclude=[])
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "run"), str(marker), *settings])
    deadline = time.monotonic() + 120
    while not marker.exists():
        assert process.poll() is None, "the run ended before its second checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "run").glob(".last.ckpt.*.tmp")), "it was not killed while writing"
    assert load_checkpoint(tmp_path / "run").step == 2
    resumed = train(recipe(pictures), RunOptions(out=tmp_path / "run", resume=True), say=silent)
    whole = train(recipe(pictures), RunOptions(out=tmp_path / "whole"), say=silent)
    assert states_equal(whole.state, resumed.state)
    assert not list((tmp_path / "run").glob("*.tmp")) + list((tmp_path / "run").glob(".*.tmp"))


def test_two_processes_give_one_process_gradients(pictures: Path, tmp_path: Path) -> None:
    settings = overrides(pictures, data__exclude=[], optimizer__steps=1)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    arguments = ["-m", "openjscc", "train", "deepjscc-paper-2019", "-o", str(tmp_path / "two")]
    arguments += [part for setting in settings for part in ("--set", setting)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one = train(load_recipe("deepjscc-paper-2019", settings), RunOptions(out=tmp_path / "one"), say=silent).state
    two = load_checkpoint(tmp_path / "two")
    for key, value in one.part("optimizer").items():
        if key.endswith("exp_avg"):  # after one update: (1 - beta1) times the gradient
            assert value.abs().max() > 0
            assert torch.allclose(value, two.part("optimizer")[key], rtol=1e-3, atol=1e-6 * float(value.abs().max()) + 1e-9), key


def test_mixed_precision_leaves_pictures_and_draws_alone(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    forward = ReconstructionStep.forward

    def spy(step: ReconstructionStep, update: str, **fields: object) -> dict[str, torch.Tensor]:
        seen.extend(value.dtype for value in fields.values() if isinstance(value, torch.Tensor))
        values = forward(step, update, **fields)
        assert torch.is_autocast_enabled("cpu")
        return values

    monkeypatch.setattr(ReconstructionStep, "forward", spy)
    train(recipe(pictures, run__precision="bf16-mixed"), RunOptions(out=tmp_path, max_steps=1), say=silent)
    assert set(seen) == {torch.float32, torch.complex64}


def test_draws_do_not_depend_on_the_share(pictures: Path) -> None:
    from openjscc.channels import make_channel
    from openjscc.data.datasets import open_dataset

    plan = load_recipe("adjscc-photo", overrides(pictures, data__exclude=[]))
    source = CropSource([open_dataset(str(pictures), split="train")], 32, True, 0, torch.device("cpu"))
    codec, channel = create("adjscc", "photo"), make_channel("rayleigh:fast")
    whole, half = source.batch(range(8)).x, source.batch(range(4, 8)).x
    assert torch.equal(whole[4:], half)
    assert not torch.equal(whole[0], whole[5])
    rates = rate_shares(plan, codec)
    snr, ratio, realisation = draw_conditions(plan, codec, channel, rates, range(8), whole)
    snr_half, ratio_half, realisation_half = draw_conditions(plan, codec, channel, rates, range(4, 8), half)
    assert torch.equal(snr[4:], snr_half)
    assert torch.equal(ratio[4:], ratio_half)
    assert torch.equal(realisation.noise[4:], realisation_half.noise)
    assert len(set(snr.tolist())) == 8


class Places:
    """One picture of 40x56 pixels: red is the row, green the column."""

    fixed_size, labels = None, None

    def __len__(self) -> int:
        return 1

    def shared(self, index: int) -> torch.Tensor:
        rows, columns = torch.arange(40)[:, None].expand(40, 56), torch.arange(56).expand(40, 56)
        return torch.stack([rows, columns, rows]).to(torch.uint8)


@pytest.mark.parametrize("flip", [True, False])
def test_crops_come_from_everywhere_and_half_of_them_are_mirrored(flip: bool) -> None:
    source = CropSource([Places()], 32, flip, 0, torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    x = (source.batch(range(1000)).x * 255).round().long()
    mirrored = x[:, 1, 0, 0] > x[:, 1, 0, -1]
    assert mirrored.float().mean().item() == pytest.approx(0.5 if flip else 0.0, abs=5 * 0.0158 if flip else 0)
    corners = x[:, 0, 0, 0], torch.minimum(x[:, 1, 0, 0], x[:, 1, 0, -1])
    for places, count in zip(corners, (40 - 32 + 1, 56 - 32 + 1), strict=True):
        found = torch.bincount(places, minlength=count)
        assert len(found) == count
        assert (found - 1000 / count).abs().max() < 5 * (1000 / count) ** 0.5
    assert torch.equal(x[:, 0, -1, 0] - x[:, 0, 0, 0], torch.full((1000,), 31))
    assert torch.equal((x[:, 1, 0, -1] - x[:, 1, 0, 0]).abs(), torch.full((1000,), 31))


def test_rates_are_drawn_as_often_as_asked(pictures: Path) -> None:
    from openjscc.channels import make_channel

    plan = load_recipe("adjscc-photo", overrides(pictures, loss__rate_weights=[0, 0, 1, 0, 3]))
    codec = create("adjscc", "photo")
    x = torch.zeros(4000, 3, 8, 8)
    _, ratio, _ = draw_conditions(plan, codec, make_channel("awgn"), rate_shares(plan, codec), range(4000), x)
    assert set(ratio.tolist()) == {torch.tensor(codec.ratios[2]).item(), torch.tensor(codec.ratios[4]).item()}
    assert (ratio > 0.1).float().mean().item() == pytest.approx(0.75, abs=0.03)
    wrong = load_recipe("adjscc-photo", overrides(pictures, loss__rate_weights=[1, 2]))
    with pytest.raises(UsageError, match="rate_weights"):
        rate_shares(wrong, codec)


def test_travel_state_is_compact_and_resumes_nearly(pictures: Path, tmp_path: Path) -> None:
    travel = tmp_path / "travel"
    train(recipe(pictures), RunOptions(out=tmp_path / "here", max_steps=3, travel=travel), say=silent)
    state = load_checkpoint(travel)
    exact = load_checkpoint(tmp_path / "here")
    assert not state.exact
    assert state.step == 3
    for key, value in exact.tensors.items():
        assert torch.allclose(value.float(), state.tensors[key].float(), rtol=1e-2, atol=1e-3), key
    rest = train(recipe(pictures), RunOptions(out=tmp_path / "there", resume=True, travel=travel), say=silent)
    assert rest.finished
    assert not rest.state.exact
    (part,) = travel.glob("travel-*.part")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="travelling"):
        load_checkpoint(travel)


def test_travel_state_comes_in_parts(tmp_path: Path) -> None:
    big = {"model.a": torch.randn(10 * 2**20), "optimizer.0.step": torch.tensor(3.0)}
    written = save_travel(tmp_path, TrainingState(1, 0.0, {}, big, []))
    assert [file.name for file in written] == ["travel-1-00.part", "travel-1-01.part", "travel.json"]
    assert all(file.stat().st_size <= PART_BYTES for file in written)
    assert torch.equal(load_checkpoint(tmp_path).tensors["model.a"], big["model.a"].half().float())


def test_a_damaged_checkpoint_is_said_to_be_so(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, TrainingState(1, 0.0, {}, {"model.a": torch.zeros(1000)}, []))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"last\.ckpt"):
        load_checkpoint(tmp_path)


STATE = TrainingState(
    3, 1.5, {"model": {"arch": "a"}}, {"model.a": torch.randn(500), "ema.n": torch.tensor(7)}, ["here"], True, 12
)


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, STATE)
    intact, refused = path.read_bytes(), 0
    for position in range(0, len(intact), len(intact) // 150):
        damaged = bytearray(intact)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert states_equal(STATE, state := load_checkpoint(tmp_path)), position  # in the padding of the archive
            assert (state.seconds, state.recipe, state.compute, state.images) == (1.5, STATE.recipe, ["here"], 12), position
        except IntegrityError:
            refused += 1
    assert refused > 50
    content = torch.load(io.BytesIO(intact), weights_only=True)
    content["tensors"]["model.a"][17] *= 2  # as above, but past the checksum of the archive
    torch.save(content, path)
    with pytest.raises(IntegrityError, match="checksum"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "3"}, {"step": -1}, {"step": 3.0}, {"step": True}, {"seconds": None}, {"seconds": -1.0}, {"seconds": 10**400},
        {"recipe": []}, {"compute": "here"}, {"compute": [1]}, {"exact": 1}, {"images": -1}, {"surprise": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("travels", [False, True])
def test_a_state_of_other_types_is_damaged(change: dict, travels: bool, tmp_path: Path) -> None:
    if travels:
        save_travel(tmp_path, STATE)
        manifest = json.loads((tmp_path / "travel.json").read_text())
        manifest["about"] |= change
        del manifest["about_sha256"]
        (tmp_path / "travel.json").write_text(json.dumps(manifest))
    else:
        path = save_checkpoint(tmp_path, STATE)
        content = torch.load(path, weights_only=True)
        content["about"] = json.dumps(json.loads(content["about"]) | change)
        del content["sha256"]
        torch.save(content, path)
    if travels and "exact" in change:  # what has travelled is not exact, whatever it says
        assert not load_checkpoint(tmp_path).exact
        return
    with pytest.raises(IntegrityError, match=next(iter(change))):
        load_checkpoint(tmp_path)


def test_facts_of_a_travelling_state_have_a_checksum(tmp_path: Path) -> None:
    save_travel(tmp_path, STATE)
    text = (tmp_path / "travel.json").read_text()
    (tmp_path / "travel.json").write_text(text.replace('"step": 3', '"step": 7'))
    with pytest.raises(IntegrityError, match="checksum"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_an_older_version_is_resumed_with_a_note(pictures: Path, tmp_path: Path) -> None:
    train(recipe(pictures), RunOptions(out=tmp_path / "run", max_steps=2), say=silent)
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    about = {key: value for key, value in json.loads(content["about"]).items() if key != "images"}
    torch.save({"format": 1, "about": json.dumps(about), "tensors": content["tensors"]}, path)
    lines: list[str] = []
    rest = train(recipe(pictures), RunOptions(out=tmp_path / "run", resume=True), say=lines.append)
    assert [line for line in lines if "no checksum" in line]
    whole = train(recipe(pictures), RunOptions(out=tmp_path / "whole"), say=silent)
    assert states_equal(whole.state, rest.state)
    assert load_checkpoint(tmp_path / "run").checked


def test_another_optimiser_cannot_go_on(pictures: Path, tmp_path: Path) -> None:
    sgd = {"optimizer__kind": "sgd", "optimizer__lr": 1e-4}
    train(recipe(pictures, **sgd), RunOptions(out=tmp_path, max_steps=2), say=silent)
    with pytest.raises(UsageError, match=r"optimizer\.kind was 'sgd' .* is now 'adamw'") as caught:
        train(recipe(pictures), RunOptions(out=tmp_path, resume=True), say=silent)
    assert "optimizer.kind=sgd." in caught.value.hint
    assert "model.init" in caught.value.hint
    assert train(recipe(pictures, **sgd), RunOptions(out=tmp_path, resume=True), say=silent).finished


HOLDER = """
import sys, time
from pathlib import Path
from openjscc.files import exclusive
with exclusive(Path(sys.argv[1])):
    Path(sys.argv[2]).touch()
    time.sleep(120)
"""


@pytest.mark.parametrize("shared", ["out", "travel"])
def test_two_trainings_do_not_share_a_folder(shared: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "shared"), str(tmp_path / "held")])
    deadline = time.monotonic() + 120
    while not (tmp_path / "held").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    options = RunOptions(**{"out": tmp_path / "own", shared: tmp_path / "shared"}, max_steps=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=rf"shared is in use by process {process.pid} on"):
        train(recipe(pictures), options, say=silent)
    process.kill()
    process.wait()
    assert (tmp_path / "shared" / ".lock").exists()  # of a dead process: it binds nobody
    assert train(recipe(pictures), options, say=silent).state.step == 1
    assert not (tmp_path / "shared" / ".lock").exists()


def rows_of(folder: Path, column: str) -> dict[str, str]:
    with (folder / "log.csv").open(newline="") as file:
        return {row["step"]: row[column] for row in csv.DictReader(file) if row[column]}


@pytest.mark.parametrize("killed", [2, 6])
def test_a_validation_that_a_kill_left_out_is_made_up_for(
    killed: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = recipe(pictures, run__validate_every=2)
    train(plan, RunOptions(out=tmp_path / "whole"), say=silent)
    validate = progress.Validation.__call__

    def ended(self: progress.Validation, network: torch.nn.Module, step: int) -> dict[str, float]:
        if step == killed:
            raise KeyboardInterrupt
        return validate(self, network, step)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Validation, "__call__", ended)
        with pytest.raises(KeyboardInterrupt):
            train(plan, RunOptions(out=tmp_path / "run"), say=silent)
    assert load_checkpoint(tmp_path / "run").step == killed
    assert progress.lacks_validation(tmp_path / "run", killed)
    train(plan, RunOptions(out=tmp_path / "run", resume=True), say=silent)
    assert rows_of(tmp_path / "run", "val_psnr_1/6") == rows_of(tmp_path / "whole", "val_psnr_1/6")
    assert not progress.lacks_validation(tmp_path / "run", 6)


def test_a_log_says_how_many_updates_its_means_are_of(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 4)
    plan = recipe(pictures, optimizer__steps=9)
    train(plan, RunOptions(out=tmp_path, max_steps=6), say=silent)
    assert rows_of(tmp_path, "updates") == {"4": "4", "6": "2"}
    train(plan, RunOptions(out=tmp_path, resume=True), say=silent)
    assert rows_of(tmp_path, "updates") == {"4": "4", "6": "2", "8": "2", "9": "1"}


def test_a_log_of_an_older_version_is_kept_beside(pictures: Path, tmp_path: Path) -> None:
    plan = recipe(pictures, run__validate_every=2)
    train(plan, RunOptions(out=tmp_path, max_steps=2), say=silent)
    old = "step,seconds,loss,lr,images_per_s,validation,terms,updates\n2,1.0,-3,0.1,9.0,,kl 1,2\n2,1.5,,,,CBR 1/6 20.00 dB,,\n"
    (tmp_path / "log.csv").write_text(old)
    assert not progress.lacks_validation(tmp_path, 2)
    train(plan, RunOptions(out=tmp_path, resume=True), say=silent)
    assert (tmp_path / "log-old.csv").read_text() == old
    assert rows_of(tmp_path, "loss").keys() == {"2", "6"}
    assert rows_of(tmp_path, "val_psnr_1/6").keys() == {"4", "6"}


def test_no_checkpoint_is_promised_that_is_not_there(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(OpenJSCCError, match="diverged by step 2") as caught:
        train(recipe(pictures, optimizer__lr=1e30, optimizer__clip=1.0), RunOptions(out=tmp_path), say=silent)
    assert "no checkpoint" in caught.value.hint
    assert not (tmp_path / "last.ckpt").exists()


def test_fine_tuning_starts_from_a_released_weight(pictures: Path, tmp_path: Path) -> None:
    start = create("deepjscc", "paper-2019")
    export(start, tmp_path / "deepjscc.start.safetensors", tag="start", training={})
    initial = load(tmp_path / "deepjscc.start.safetensors").requires_grad_(True)
    plan = recipe(pictures, optimizer__lr=0.0)
    result = train(plan, RunOptions(out=tmp_path / "run", max_steps=1), initial=initial, say=silent)
    for key, value in load(tmp_path / "deepjscc.start.safetensors").state_dict().items():
        assert torch.equal(value, result.network.state_dict()[key]), key


def test_fine_tuning_gives_gradients_to_clipped_pixels(pictures: Path, tmp_path: Path) -> None:
    """`load` returns a codec in evaluation mode, which clips; the loop must not train through that."""
    initial = create("deepjscc", "photo").eval().requires_grad_(False)
    with torch.no_grad():
        list(initial.get_submodule("decoder").parameters())[-1].fill_(50.0)  # every pixel far above 1
    plan = load_recipe("deepjscc-photo", overrides(pictures, data__exclude=[], optimizer__warmup=0))
    before = {key: value.clone() for key, value in initial.state_dict().items()}
    state = train(plan, RunOptions(out=tmp_path, max_steps=1), initial=initial, say=silent).state
    assert any(not torch.equal(value, before[key]) for key, value in state.part("model").items())


def test_a_diverged_run_keeps_its_last_good_checkpoint(pictures: Path, tmp_path: Path) -> None:
    train(recipe(pictures), RunOptions(out=tmp_path, max_steps=2), say=silent)
    with pytest.raises(OpenJSCCError, match="diverged by step 4"):
        train(recipe(pictures, optimizer__lr=1e30, optimizer__clip=1.0), RunOptions(out=tmp_path, resume=True), say=silent)
    assert load_checkpoint(tmp_path).step == 2


def test_resuming_otherwise_is_said(pictures: Path, tmp_path: Path) -> None:
    train(recipe(pictures), RunOptions(out=tmp_path, max_steps=2), say=silent)
    lines: list[str] = []
    state = train(recipe(pictures, optimizer__batch=2), RunOptions(out=tmp_path, resume=True), say=lines.append).state
    assert [line for line in lines if line.startswith("note")] == ["note: optimizer.batch was 4, is now 2"]
    assert state.images == 2 * 4 + 4 * 2
    with pytest.raises(UsageError, match="holds a run of"):
        train(load_recipe("adjscc-photo", overrides(pictures)), RunOptions(out=tmp_path, resume=True), say=silent)


def test_a_checkpoint_of_another_format(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, TrainingState(1, 0.0, {}, {"model.a": torch.zeros(3)}, []))
    content = torch.load(path, weights_only=True)
    torch.save(content | {"format": 99}, path)
    with pytest.raises(IntegrityError):
        load_checkpoint(tmp_path)


def test_schedule() -> None:
    section = OptimizerSection(batch=1, steps=110, lr=1.0, final_lr=0.1, warmup=10)
    assert learning_rate(section, 0) == pytest.approx(0.1)
    assert learning_rate(section, 9) == pytest.approx(1.0)
    assert learning_rate(section, 60) == pytest.approx(0.55)
    assert learning_rate(section, 110) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.stepz=3", "unknown key 'stepz'"),
        ("optimizer.steps=abc", "'abc'"),
        ("optimizer.steps=2.5", "2.5"),
        ("optimizer.steps=true", "True"),
        ("loss.kind=l7", "'l7'"),
        ("channel.snr_db=[1]", "snr_db"),
        ("optimiser.lr=1", "unknown key 'optimiser'"),
        ("optimizer.ema=1.5", "ema"),
        ("optimizer.clip=-1.0", "clip -1.0"),
        ("optimizer.lr=nan", "lr is nan"),
        ("optimizer.lr=inf", "lr is inf"),
        ("optimizer.lr=1" + "0" * 400, "lr is 1000"),
        ("optimizer.lr=" + "9" * 5000, "lr is '9999"),
        ("optimizer.warmup=1" + "0" * 40, "warmup is 1000"),
        ("optimizer.warmup=" + "1" * 18, "warmup 1111"),
        ("optimizer.batch=1000000000000", "batch 1000000000000"),
        ("optimizer.batch=1000000", "optimizer.batch 1000000 of data.crop 128"),
        ("optimizer.steps=1000000000001", "steps 1000000000001"),
        ("data.crop=1000000000000000000", "crop 1000000000000000000"),
        ("data.crop=1" + "0" * 30, "crop is 1000"),
        ("data.validate_limit=1000000000000000000", "validate_limit"),
        ("channel.levels=1000000000000", "levels"),
        ("channel.snr_db=[1e400, 2.0]", "snr_db[0] is inf"),
        ("run.checkpoint_every=1000000000000000000", "checkpoint_every"),
        ("run.validate_every=1000000000000000000", "validate_every"),
        ("data.train=" + "[" * 5000, "data: train is '[[["),
        ("x" * 10**6 + "=1", "unknown key 'xxx"),
        ("optimizer.betas=[1.5, 0.9]", "betas"),
        ("run.validate_every=0", "validate_every 0"),
        ("run.checkpoint_every=0", "checkpoint_every 0"),
        ("run.seed=-1", "seed -1"),
        ("data.crop=0", "crop 0"),
        ("data.validate_limit=0", "validate_limit 0"),
        ("channel.snr_db=[20, 0]", "snr_db"),
        ("steps", "--set"),
    ],
)
def test_recipe_errors_name_file_key_and_value(change: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("adjscc-photo", [change])
    assert message in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint


def test_recipe_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[model\narch = 3")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(str(broken))
    with pytest.raises(UsageError, match="unknown recipe"):
        load_recipe("adjscc-foto")


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    text = (files("openjscc.training") / "recipes" / "adjscc-photo.toml").read_text("utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8-sig")
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe("adjscc-photo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 20_000, "nested too deeply"),
        ("a = " + "9" * 5000, "4300 digits"),
        ("[optimizer]\nlr = " + "9" * 400, "lr is 999"),
        ("[gan]\nchannels = [1, 2, 3, 1000000000000]", "channels"),
        ("[gan]\nshift = 1000000000000", "shift"),
        ("[gan]\npretrain = 1000000000000000", "pretrain"),
        ("[classification]\ncut = 1000000000000", "cut"),
        ("[semantic]\nstart = 1000000000000000", "start"),
        ('note = "' + "a" * 2**20 + '"', "bytes"),
    ],
)
def test_recipe_files_of_huge_numbers(text: str, message: str, tmp_path: Path) -> None:
    section = text.partition("]")[0].removeprefix("[")
    step = {"gan": "perceptual", "classification": "classification", "semantic": "semantic"}.get(section, "reconstruction")
    path = tmp_path / "mine.toml"
    needed = '[model]\narch = "a"\nconfig = "b"\n[data]\ntrain = ["c"]\nvalidate = "c"\n'
    path.write_text(
        f'step = "{step}"\n{text}\n{needed}' + ("" if section == "optimizer" else "[optimizer]\nbatch = 1\nsteps = 1\n")
    )
    with pytest.raises(UsageError, match=message) as caught:
        load_recipe(str(path))
    assert "mine.toml" in caught.value.message
    assert len(caught.value.message) < 500


class Counted:
    """Ten thousand grey images; `read` says how often one was asked for."""

    fixed_size, labels, read = None, None, 0

    def __len__(self) -> int:
        return 10_000

    def shared(self, index: int) -> torch.Tensor:
        self.read += 1
        time.sleep(1e-3)
        return torch.full((3, 8, 8), 128, dtype=torch.uint8)


def test_nobody_waits_for_a_batch_that_is_not_needed() -> None:
    data = Counted()
    source = CropSource([data], 8, False, 0, torch.device("cpu"))  # pyright: ignore[reportArgumentType]
    batches = prefetched(source, iter([range(1), range(1, 10_000), range(1)]))
    assert next(batches).x.shape == (1, 3, 8, 8)
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert data.read < 5000


def test_settings_that_nothing_would_read_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--set: \[semantic\] with step 'reconstruction'") as caught:
        recipe(pictures, semantic__kl=0.1)
    assert caught.value.hint is not None
    assert 'step = "semantic"' in caught.value.hint
    own = tmp_path / "own.toml"
    own.write_text('[model]\narch = "adjscc"\nconfig = "photo"\n[gan]\nbeta_g = 0.1\n')
    with pytest.raises(UsageError, match=r"own.toml: \[gan\] with step 'reconstruction'"):
        load_recipe(str(own))
    assert load_recipe("ganjscc-small", ["step=reconstruction"]).step == "reconstruction"
    with pytest.raises(UsageError, match="mse_share"):
        load_recipe("spjscc-small", ["semantic.mse_share=0.5", "semantic.weighting=none"])


def test_a_fine_tuned_weight_tells_its_own_training() -> None:
    released = load_recipe("adjscc-photo")
    own = load_recipe(
        "adjscc-photo", ['data.train=["/my/photos"]', "model.init=adjscc.photo", "optimizer.steps=2000", "optimizer.lr=1e-4"]
    )
    facts = training_facts(released, TrainingState(2000, 60.0, json.loads(json.dumps(own.to_dict())), {}, ["here"]))
    assert (facts["steps"], facts["images"], facts["data"], facts["init"]) == (2000, 16_000, ["/my/photos"], "adjscc.photo")
    assert facts["terms"] == ""  # those of the recipe are of other data
    assert facts["recipe"]["note"] == (
        "fine-tuned from adjscc.photo: adjscc-photo with other model.init, data.train, optimizer.steps, optimizer.lr"
    )
    assert recipe_from_dict(facts["recipe"], "weight").optimizer == own.optimizer
    stated = load_recipe("adjscc-photo", ['data.train=["/my/photos"]', "data.terms=CC0"])
    facts = training_facts(stated, TrainingState(11_000, 60.0, stated.to_dict(), {}, ["here"]))
    assert (facts["init"], facts["terms"]) == ("", "CC0")


@pytest.mark.parametrize("name", ["adjscc-photo", "ganjscc-photo", "classifier-cifar10"])
def test_a_released_weight_tells_the_packaged_recipe(name: str) -> None:
    plan = load_recipe(name)
    facts = training_facts(plan, TrainingState(7, 60.0, plan.to_dict(), {}, ["here"]))
    assert (facts["recipe_name"], facts["terms"]) == (name, plan.data.terms)
    assert facts["recipe"] == plan.to_dict()


def test_facts_are_of_the_run_and_not_of_the_command(pictures: Path, tmp_path: Path) -> None:
    """As ``--resume --export`` without the ``--set`` that the run had."""
    state = train(recipe(pictures), RunOptions(out=tmp_path), say=silent).state
    assert training_facts(load_recipe("deepjscc-paper-2019"), state)["data"] == [str(pictures)]
