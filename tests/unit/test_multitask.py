"""Training on two tasks: what each crop is sent for, states and draws, one task alone, what is refused."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openjscc.channels import Realisation, equalize
from openjscc.classes import VOID
from openjscc.codec import Conditions
from openjscc.data.datasets import open_dataset
from openjscc.errors import UsageError
from openjscc.models.mtgsc import MTGSC, MTGSCConfig
from openjscc.training.batches import Batch, CropSource
from openjscc.training.checkpoint import load_checkpoint
from openjscc.training.draws import epoch_order
from openjscc.training.losses import segmentation_loss
from openjscc.training.recipe import Recipe, load_recipe
from openjscc.training.steps.multitask import MultitaskStep
from voc_data import voc_folder

TINY = MTGSCConfig(
    rates=(4, 8), channels=(6, 8, 10, 12), depths=(1, 1, 1), heads=2, window=3, hidden=8, width=12, depth=2, decoder_heads=2,
    span=3, expansion=2, fine=4, shared=True, told=True, state="signal", shortcut=True, send_scale=True,
    dropout=0.0,
)  # fmt: skip


WEIGHT = load_recipe("mtgsc-photo").multitask.segmentation_weight


def recipe(*changes: str) -> Recipe:
    return load_recipe("mtgsc-photo", list(changes))


def step_of(recipe: Recipe, state: str = "signal") -> MultitaskStep:
    torch.manual_seed(0)
    network = MTGSC(replace(TINY, state=state))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    step = MultitaskStep(recipe, network)
    step.train()
    return step


def batch(known: list[bool]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(len(known), 3, 16, 24, generator=generator)
    masks = torch.randint(0, 21, (len(known), 1, 16, 24), generator=generator).to(torch.uint8)
    masks[~torch.tensor(known)] = VOID
    masks[:, :, :, 3] = VOID
    return Batch(range(len(known)), x, maps=masks)


def test_segmentation_loss_in_closed_form() -> None:
    scores = torch.zeros(3, 4, 2, 2)
    scores[1, 2] = 5.0
    masks = torch.tensor([[[0, 1], [2, 3]], [[2, VOID], [VOID, 2]], [[VOID, VOID], [VOID, VOID]]], dtype=torch.uint8)
    sure = -math.log(math.exp(5) / (math.exp(5) + 3))
    assert segmentation_loss(scores, masks).tolist() == pytest.approx([math.log(4), sure, 0.0], abs=1e-6)


@pytest.mark.parametrize("state", ["signal", "noise"])
def test_crops_with_masks_may_be_sent_twice(state: str) -> None:
    step = step_of(recipe("multitask.segmentation_weight=0.5", "multitask.masked_pictures=true"), state)
    values = step("model", **vars(step.prepare(batch([True, False, True]), 0)))
    assert values["segmentation"][1] == 0
    assert values["segmentation"][[0, 2]].detach().min() > 1
    alone = step_of(recipe('multitask.tasks=["reconstruction"]'), state)
    picture = alone("model", **vars(alone.prepare(Batch(range(3), batch([True] * 3).x), 0)))["loss"]
    assert torch.allclose(values["loss"], picture + 0.5 * values["segmentation"], atol=1e-5)
    values["loss"].mean().backward()
    assert all(parameter.grad is not None for parameter in step.network.parameters())


@pytest.mark.parametrize("state", ["signal", "noise"])
def test_a_crop_is_sent_for_the_task_of_its_data(state: str) -> None:
    both, once = "multitask.masked_pictures=true", batch([True, False, True, False])
    values = step_of(recipe(), state)("model", **vars(step_of(recipe(), state).prepare(once, 0)))
    twice = step_of(recipe(both), state)("model", **vars(step_of(recipe(both), state).prepare(once, 0)))
    assert torch.equal(values["segmentation"], twice["segmentation"])
    pictures, all_pictures = (each["loss"] - WEIGHT * each["segmentation"] for each in (values, twice))
    known = torch.tensor([True, False, True, False])
    assert torch.allclose(pictures[known], torch.zeros(2), atol=1e-5)
    assert torch.allclose(pictures[~known], all_pictures[~known], atol=1e-4)
    segmented = step_of(recipe(), state)
    alone = segmented("model", **vars(segmented.prepare(batch([True, True]), 0)))
    assert torch.allclose(alone["loss"], WEIGHT * alone["segmentation"]), "no picture in the batch"


def test_tasks_weigh_what_their_share_of_the_data_says() -> None:
    """Not what a batch happens to hold: parts of a batch, in several processes, add up to the gradient of the whole."""
    step, whole = step_of(recipe()), batch([True, False, True, True])
    plain = step("model", **vars(step.prepare(whole, 0)))
    step.shares = {"reconstruction": 0.25, "segmentation": 0.75}
    values = step("model", **vars(step.prepare(whole, 0)))
    assert torch.allclose(values["segmentation"], plain["segmentation"] / 0.75)
    assert torch.allclose(values["loss"][1], plain["loss"][1] / 0.25)
    assert whole.maps is not None
    parts = [Batch(range(at, at + 2), whole.x[at : at + 2], maps=whole.maps[at : at + 2]) for at in (0, 2)]
    halves = torch.cat([step("model", **vars(step.prepare(part, 0)))["loss"] for part in parts])
    assert torch.allclose(halves, values["loss"], atol=1e-4)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_segmentations_are_equalised_as_the_recipe_says(method: str) -> None:
    changes = ["channel.name=rayleigh:fast", f"channel.equalizer={method}", "channel.snr_db=[0.0, 0.0]"]
    step, whole = step_of(recipe('multitask.tasks=["segmentation"]', *changes)), batch([True, True])
    drawn = step.prepare(whole, 0)
    snr_db, noise, gain = drawn.snr_db, drawn.second_noise, drawn.second_gain
    assert whole.maps is not None
    with torch.no_grad():
        found = step("model", **vars(drawn))["segmentation"]
        frame = step.codec.encode(whole.x, Conditions(snr_db, task="segmentation"))
        received = step.channel.apply(frame, snr_db, Realisation(noise, gain))
        scores = {kind: step.codec.decode_payload(equalize(received, kind), frame.side).segmentation for kind in ("zf", "mmse")}
    losses = {kind: segmentation_loss(each, whole.maps[:, 0]) for kind, each in scores.items() if each is not None}
    assert not torch.allclose(losses["zf"], losses["mmse"], rtol=1e-4)
    assert torch.allclose(found, losses[method], rtol=1e-5)


def test_without_masks_nothing_is_sent_for_a_segmentation() -> None:
    step = step_of(recipe())
    values = step("model", **vars(step.prepare(batch([False, False]), 0)))
    assert not values["segmentation"].any()


def test_one_task_alone() -> None:
    step = step_of(recipe('multitask.tasks=["segmentation"]', "multitask.segmentation_weight=1.0"))
    values = step("model", **vars(step.prepare(batch([True, True]), 0)))
    assert torch.equal(values["loss"], values["segmentation"])
    values["loss"].mean().backward()
    network = step.network
    assert isinstance(network, MTGSC)
    assert all(parameter.grad is None for parameter in network.decoder.parameters())


def test_draws_belong_to_the_sample_and_not_to_the_batch() -> None:
    step, whole = step_of(recipe()), batch([True, True, True])
    together = step("model", **vars(step.prepare(whole, 0)))
    one = Batch(range(1, 2), whole.x[1:2], maps=None if whole.maps is None else whole.maps[1:2])
    alone = step("model", **vars(step.prepare(one, 0)))
    assert torch.allclose(together["loss"][1:2], alone["loss"], atol=1e-4)


def test_times_are_the_start_or_anywhere() -> None:
    step = step_of(recipe("multitask.start_share=0.25"))
    many = Batch(range(400), torch.zeros(400, 3, 8, 8))
    time = step.prepare(many, 0).time
    assert 0.18 < float((time == 1).float().mean()) < 0.32
    rest = time[time < 1]
    assert 0.45 < float(rest.mean()) < 0.55


def test_noise_of_states_is_drawn_where_a_state_lies_between() -> None:
    many = Batch(range(4), torch.zeros(4, 3, 20, 8))
    noise = step_of(recipe()).prepare(many, 0).state_noise
    assert noise is not None
    assert noise.shape == (4, 3, 24, 8)
    assert step_of(recipe("multitask.start_share=1.0")).prepare(many, 0).state_noise is None
    assert step_of(recipe("multitask.start_share=1.0"), "noise").prepare(many, 0).state_noise is not None


def test_validation_of_the_recipe_as_it_is(tmp_path: Path, make_picture) -> None:
    """Photographs have no test pictures and no masks; segmentations are validated on what has both."""
    voc_folder(tmp_path / "voc")
    for folder in (tmp_path / "photos", tmp_path / "div2k" / "valid_crops256"):
        folder.mkdir(parents=True)
        make_picture(folder / "0801.png", 64, 64)
    step = step_of(recipe("data.validate_limit=1"))
    figures = step.validation(str(tmp_path), tmp_path / "run")(step.network.eval(), 1)
    assert {name.partition("_")[0] for name in figures} >= {"psnr", "miou"}


def test_masks_of_data_that_has_them(tmp_path: Path, make_picture) -> None:
    voc_folder(tmp_path / "voc")
    (tmp_path / "plain").mkdir()
    make_picture(tmp_path / "plain" / "1.png", 20, 18)
    with_masks, plain = open_dataset("voc", tmp_path, split="train"), open_dataset(tmp_path / "plain", split="train")
    maps = step_of(recipe()).attach([plain, with_masks], torch.device("cpu"))
    assert maps is not None
    assert maps[0][0].shape == (1, 18, 20)
    assert bool((maps[0][0] == VOID).all())
    assert set(maps[1][0].unique().tolist()) == {0, 15, VOID}
    with pytest.raises(UsageError, match="has masks"):
        step_of(recipe()).attach([plain], torch.device("cpu"))
    with pytest.raises(UsageError, match="none of it is sent as a picture"):
        step_of(recipe()).attach([with_masks], torch.device("cpu"))
    assert step_of(recipe("multitask.masked_pictures=true")).attach([with_masks], torch.device("cpu"))
    segmented = step_of(recipe('multitask.tasks=["segmentation"]'))
    assert segmented.attach([with_masks], torch.device("cpu"))
    with pytest.raises(UsageError, match="plain has no masks"):
        segmented.attach([plain, with_masks], torch.device("cpu"))
    three = step_of(recipe())
    three.attach([plain, with_masks, with_masks], torch.device("cpu"))
    pictures = len(plain) + 2 * len(with_masks)
    assert three.shares == pytest.approx({"reconstruction": len(plain) / pictures, "segmentation": 1 - len(plain) / pictures})


@pytest.mark.parametrize("tasks", [["reconstruction", "segmentation"], ["reconstruction"]])
def test_two_processes_train_it_though_a_share_of_a_batch_has_one_task(tmp_path: Path, make_picture, tasks: list[str]) -> None:
    voc_folder(tmp_path / "voc")
    (tmp_path / "plain").mkdir()
    make_picture(tmp_path / "plain" / "1.png", 40, 40)
    settings = [
        f'data.train=["{tmp_path / "plain"}", "voc"]', "data.exclude=[]", f"data.validate={tmp_path / 'plain'}", "data.crop=32",
        "optimizer.batch=2", "optimizer.steps=3", "run.validate_every=100", "run.precision=32-true",
        f"multitask.tasks={json.dumps(tasks)}",
    ]  # fmt: skip
    arguments = ["-m", "openjscc", "train", "mtgsc-photo", "-o", str(tmp_path / "run"), "--data-dir", str(tmp_path)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_checkpoint(tmp_path / "run").step == 3


def test_only_pictures_with_masks_are_scaled(tmp_path: Path, make_picture) -> None:
    voc_folder(tmp_path / "voc")
    (tmp_path / "plain").mkdir()
    make_picture(tmp_path / "plain" / "1.png", 24, 16)
    datasets = [open_dataset(tmp_path / "plain", split="train"), open_dataset("voc", tmp_path, split="train")]
    step = step_of(recipe())
    assert [step.scales(dataset) for dataset in datasets] == [False, True]
    device = torch.device("cpu")

    def crops(scale: tuple[float, float]) -> torch.Tensor:
        return CropSource(datasets, 8, True, 0, device, None, scale, [False, True]).batch(range(8)).x

    same = (crops((0.5, 0.5)) == crops((1.0, 1.0))).flatten(1).all(1)
    order = [int(value) == 0 for value in torch.cat([epoch_order(0, 0, 4), epoch_order(0, 1, 4)])]
    assert same.tolist() == order


def test_other_architectures_are_refused() -> None:
    from openjscc.models import create

    with pytest.raises(UsageError, match="mtgsc"):
        MultitaskStep(recipe(), create("adjscc", "cifar10"))


def test_one_reading_starts_from_the_other(tmp_path: Path) -> None:
    from openjscc.models import create, export

    facts = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
    path = tmp_path / "mtgsc.photo.safetensors"
    codec = create("mtgsc", "photo").eval()
    export(codec, path, tag="photo", training=facts)
    other = MultitaskStep.load_network(recipe("model.config=photo-noise", f"model.init={path}"))
    assert isinstance(other, MTGSC)
    assert other.config.state == "noise"
    for name, value in codec.state_dict().items():
        assert torch.equal(other.state_dict()[name], value.half().float()), name


def test_a_run_learns_both(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    from openjscc.training.loop import RunOptions, train

    voc_folder(tmp_path / "data" / "voc")
    settings = (
        'data.train=["voc"]', f"data.validate='{tmp_path / 'data' / 'voc' / 'JPEGImages'}'", "data.exclude=[]", "data.crop=16",
        "multitask.masked_pictures=true",
        "data.validate_limit=1", "optimizer.steps=2", "optimizer.batch=2", "run.precision=32-true", "run.validate_every=2",
    )  # fmt: skip
    train(recipe(*settings), RunOptions(tmp_path / "run", str(tmp_path / "data")), say=lambda _: None)
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert any(row["segmentation"] for row in rows)
    assert rows[-1]["val_psnr_1/16"]
    assert rows[-1]["val_miou"]
    assert len(list((tmp_path / "run").rglob("step-*.png"))) == 2
    for task, there, not_there in (("reconstruction", "psnr_1/16", "miou"), ("segmentation", "miou", "psnr_1/16")):
        one = recipe(*settings, f'multitask.tasks=["{task}"]', "optimizer.steps=1", "run.validate_every=1")
        train(one, RunOptions(tmp_path / task, str(tmp_path / "data")), say=lambda _: None)
        (*_, last) = csv.DictReader((tmp_path / task / "log.csv").read_text().splitlines())
        assert last[f"val_{there}"]
        assert f"val_{not_there}" not in last
