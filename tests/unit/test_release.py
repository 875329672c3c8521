"""From a run of two updates to weight, records and card: codecs of one task and of two, and a task network."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from openjscc import tasks
from openjscc.bench.records import read_records
from openjscc.data.datasets import open_dataset
from openjscc.models import read_info
from openjscc.training.recipe import load_recipe
from voc_data import voc_folder

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SETTINGS = (
    "data.crop=16", "data.exclude=[]", "data.validate_limit=1", "optimizer.steps=2", "optimizer.batch=2", "run.precision=32-true",
    "run.validate_every=2",
)  # fmt: skip


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
    run = run_of(place, "mtgsc-photo", 'data.train=["voc"]', "data.validate=kodak")
    released(release, place, monkeypatch, run, "mtgsc.photo", "--limit", 1)
    assert "mIoU over nine" in capsys.readouterr().out
    assert not list((place / "cards").iterdir())
    released(release, place, monkeypatch, run, "mtgsc.photo")
    records = read_records(place / "results" / "mtgsc.photo.json")
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
    released(release, place, monkeypatch, run, "deeplab_jscc.photo")
    records = read_records(place / "results" / "deeplab_jscc.photo.json")
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
