"""From a run of two updates to weight, records and card: codecs of one task and of two, and a task network. What a weight is
measured by, and what the card of a perceptual one says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from openjscc import tasks
from openjscc.bench.records import Record, read_records
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.models import create, export, read_info
from openjscc.training.checkpoint import TrainingState
from openjscc.training.facts import training_facts
from openjscc.training.recipe import load_recipe
from voc_data import voc_folder

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="needs the source tree")
SETTINGS = (
    "data.crop=16", "data.exclude=[]", "data.validate_limit=1", "optimizer.steps=2", "optimizer.batch=2", "run.precision=32-true",
    "run.validate_every=2",
)  # fmt: skip


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "release", raising=False)
    import release

    return release


@pytest.fixture
def place(tmp_path: Path, make_picture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small VOC, a Kodak of small pictures, and the folders of a release."""
    pytest.importorskip("lightning_fabric")
    voc_folder(tmp_path / "voc", size=(24, 32))
    (tmp_path / "kodak").mkdir()
    for number in range(1, 25):
        make_picture(tmp_path / "kodak" / f"kodim{number:02d}.png", 16, 8)
    for folder in ("results/training", "cards", "src/openjscc/weights"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("OPENJSCC_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return tmp_path


def run_of(place: Path, recipe: str, *more: str) -> Path:
    from openjscc.training.loop import RunOptions, train

    train(load_recipe(recipe, [*SETTINGS, *more]), RunOptions(place / "run", str(place)), say=lambda _: None)
    return place / "run"


def released(module: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(module, "ROOT", place)
    monkeypatch.setattr(sys, "argv", ["release", *map(str, arguments)])
    module.main()


def test_a_codec_of_two_tasks(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import release

    monkeypatch.setattr(release, "PHOTO_METRICS", ("psnr", "ssim"))
    monkeypatch.setattr(release, "SNR_DB", (0.0, 10.0))
    run = run_of(place, "mtgsc-photo", 'data.train=["voc"]', "data.validate=kodak", "multitask.masked_pictures=true")
    released(release, place, monkeypatch, run, "mtgsc.photo", "--limit", 1)
    assert "mIoU over nine" in capsys.readouterr().out
    assert not list((place / "cards").iterdir())
    released(release, place, monkeypatch, run, "mtgsc.photo")
    records = read_records(place / "results" / "mtgsc.photo.csv")
    found = {(r.task, r.data, r.metric, round(1 / (r.ratio or 1))) for r in records}
    assert found == {("reconstruction", "kodak", metric, ratio) for metric in ("psnr", "ssim") for ratio in (16, 32)} | {
        ("segmentation", "voc", metric, 32) for metric in ("miou", "miou_nine", "pixel_accuracy")
    }
    info = read_info(place / "src/openjscc/weights/mtgsc.photo.safetensors")
    assert {record.weight_sha256 for record in records} == {info.sha256}
    assert [(fact["data"], fact["metric"]) for fact in info.reference[-1:]] == [("voc", "pixel_accuracy")]
    card = (place / "cards" / "mtgsc.photo.md").read_text()
    for words in (
        "per pixel for a reconstruction and",
        "kodak, 24 pictures",
        "voc, 3 pictures",
        "mIoU over the 21 classes:",
        "| 1/32 |",
    ):
        assert words in card
    assert (place / "results/training/mtgsc.photo.csv").read_bytes() == (run / "log.csv").read_bytes()


def test_a_codec_for_segmentations(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import release

    monkeypatch.setattr(release, "SNR_DB", (10.0,))
    run = run_of(place, "deeplab_jscc-voc")
    released(release, place, monkeypatch, run, "deeplab_jscc.photo", "--jobs", 2)
    records = read_records(place / "results" / "deeplab_jscc.photo.csv")
    assert [record.metric for record in records] == ["miou", "miou_nine", "pixel_accuracy"]
    assert "voc, 3 pictures" in (place / "cards" / "deeplab_jscc.photo.md").read_text()


def test_a_network_for_segmentations(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import release_classifier

    run = run_of(place, "fcn-voc")
    released(release_classifier, place, monkeypatch, run, "--limit", 2)
    assert "miou_nine" in capsys.readouterr().out
    released(release_classifier, place, monkeypatch, run)
    info = tasks.read_info(place / "src/openjscc/weights/fcn.voc.safetensors")
    assert [(fact["metric"], fact["images"]) for fact in info.reference] == [
        ("miou", 3), ("miou_nine", 3), ("pixel_accuracy", 3),
    ]  # fmt: skip
    card = (place / "cards" / "fcn.voc.md").read_text()
    assert "| person | " in card
    assert "| mIoU | " in card
    assert f"{info.parameters:,}" in card


def test_what_a_network_sees_is_what_the_metric_takes(place: Path) -> None:
    import release_classifier

    from openjscc.metrics.task import pixel_accuracy
    from task_networks import Shades

    entries = release_classifier.seen(Shades(), open_dataset("voc", place))
    assert len(entries) == 3
    assert pixel_accuracy(entries) > 0.9


def measured(metric: str, snr_db: float, mean: float) -> Record:
    return Record(
        system="ganjscc", weight="ganjscc.photo", channel="awgn", snr_db=snr_db, ratio=1 / 48, told_snr_db=None, data="kodak",
        seed=0, metric=metric, mean=mean, std=0.1, ci95=0.1, images=24, trials=1, bandwidth_ratio=0.0212, parameters=485_500,
        macs_per_pixel=1.0,
    )  # fmt: skip


def test_what_is_measured(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.bench.task_metrics.check_metrics", lambda names: None)  # whether their weights are at hand
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    plain = PictureDataset("kodak", "test", ["1", "2"], array=pictures)
    (fidelity,) = script.sweeps(load_recipe("adjscc-photo"), plain, (1 / 16,))
    assert (fidelity.metrics, fidelity.ratios) == (script.PHOTO_METRICS, (1 / 16,))
    labelled = PictureDataset("cifar10", "test", ["1", "2"], array=pictures, labels=torch.tensor([0, 1]))
    (of_labels,) = script.sweeps(load_recipe("arjscc-cifar10"), labelled, (None,))
    assert (of_labels.metrics, of_labels.ratios) == (("psnr", "ssim", "accuracy", "f1"), (None,))
    (of_masks,) = script.sweeps(load_recipe("mtgsc-photo"), plain, (1 / 32,), "segmentation")
    assert of_masks.metrics == ("miou", "miou_nine", "pixel_accuracy")
    assert set(of_labels.metrics + of_masks.metrics + fidelity.metrics) <= set(script.TITLES)
    fast, low, slow, _ = script.sweeps(load_recipe("ganjscc-photo"), plain, (1 / 48, 1 / 24))
    assert (fast.ratios, low.ratios, fast.metrics) == ((1 / 48,), (1 / 24,), low.metrics)
    assert fast.metrics + slow.metrics == ("psnr", "ms_ssim", "lpips", "lpips_vgg", "dists")
    assert (fast.snr_db, slow.snr_db) == (script.SNR_DB, (10.0,))
    assert set(fast.metrics + slow.metrics) <= set(script.TITLES)


def test_the_card_of_a_perceptual_weight(script: ModuleType, tmp_path: Path) -> None:
    recipe = load_recipe("ganjscc-photo", ["model.init=adjscc.photo"])
    state = TrainingState(9000, 600.0, recipe.to_dict(), {}, ["one CPU"], True, 72_000)
    info = export(
        create("ganjscc", "small").eval(), tmp_path / "w.safetensors", tag="photo", training=training_facts(recipe, state)
    )  # fmt: skip
    records = [measured("psnr", snr, 20 + snr) for snr in script.SNR_DB]
    records += [measured("lpips", snr, 0.3 - snr / 1000) for snr in script.SNR_DB]
    records += [measured("dists", snr, 0.2 - snr / 1000) for snr in script.SLOW_SNR_DB]
    text = script.card(info, records)
    assert "| 1/48 | 20.00 | 25.00 | 30.00 | 35.00 | 40.00 |" in text
    assert "DISTS, lower is better:\n\n| CBR | 10 dB |\n|---|---|\n| 1/48 | 0.1900 |" in text
    assert "Made for AWGN at 0 to 15 dB; what a network is told of the SNR is clamped to 0 to 20 dB." in text
    began, loss = (
        f"| began with | `adjscc.photo`, whose own [training]({script.WHOLE}) comes on top |",
        "| loss | β_p = 1, β_m = ",
    )
    assert f"{began}\n{loss}{recipe.gan.beta_m:g}, β_g = {recipe.gan.beta_g:g}: " in text
    assert "LPIPS on AlexNet, lower is better; it was trained on this:\n\n| CBR | 0 dB | 5 dB |" in text
    assert "3,000 steps on LPIPS and MSE, 1,000 of the discriminator alone, 5,000 of both |\n| licence" in text
    assert "makes up part of the texture" in text
    other = load_recipe("adjscc-photo")
    plain = training_facts(other, replace(state, recipe=other.to_dict()))["recipe"]
    assert script.origin(plain) == ""
