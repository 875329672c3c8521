"""Packaged studies, and what a study's page says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from openjscc import tasks
from openjscc.data.datasets import PictureDataset
from openjscc.errors import MissingError, UsageError
from openjscc.link import transmit
from openjscc.models import create, export
from openjscc.models.deeplab_jscc import DeepLabConfig
from openjscc.models.mtgsc import MTGSCConfig
from openjscc.models.witt import PHOTO
from openjscc.report.anchors import read_anchors
from openjscc.studies.page import _duration
from openjscc.studies.plan import plan_study, several_pictures
from openjscc.studies.sections import BenchSection
from openjscc.studies.shown import HeatmapSection, StripSection
from openjscc.studies.spec import load_study, packaged_studies, published_points, with_networks
from openjscc.systems import load
from openjscc.tasks.fcn import FCNConfig
from openjscc.units import parse_ratio
from voc_data import voc_folder


@pytest.fixture
def data(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """Some pictures under the names that the packaged studies need, two crops, and a little of CIFAR-10."""
    (tmp_path / "kodak").mkdir()
    for number, size in ((1, (768, 512)), (4, (512, 768)), (13, (768, 512)), (23, (768, 512)), (24, (768, 512))):
        make_picture(tmp_path / "kodak" / f"kodim{number:02d}.png", *size, seed=number)
    (tmp_path / "div2k" / "valid_crops256").mkdir(parents=True)
    for number in (801, 802):
        make_picture(tmp_path / "div2k" / "valid_crops256" / f"{number:04d}.png", 256, 256, seed=number)
    (tmp_path / "cifar10").mkdir()
    voc_folder(tmp_path / "voc", tuple(f"2007_00{number}" for number in ("0175", "0332", "0464", "1239", "1763")))
    x, y = np.zeros((50, 32, 32, 3), np.uint8), np.zeros(50, np.int64)
    np.savez(tmp_path / "cifar10" / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return tmp_path


MTGSC = MTGSCConfig(
    rates=(12, 24), channels=(6, 8, 10, 12), depths=(1, 1, 1), heads=2, window=3, hidden=8, width=12, depth=2, decoder_heads=2,
    span=3, expansion=2, fine=4, shared=True,
)  # fmt: skip
WITT = dataclasses.replace(PHOTO, channels=(8, 8), depths=(1, 1), heads=(1, 1))
DEEPLAB = DeepLabConfig(stem=8, channels=(8, 8, 8, 8), depths=(1, 1, 1, 1), bottleneck=False)


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small untrained weights of the systems of the studies, but for those that are released."""
    folder = tmp_path_factory.mktemp("weights")
    facts = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
    for arch, tag in (("arjscc", "cifar10"), ("spjscc", "cifar10"), ("spjscc", "distilled")):
        torch.manual_seed(0)
        export(create(arch, "small").eval(), folder / f"{arch}.{tag}.safetensors", tag=tag, training=facts)
    perceptual = dataclasses.replace(create("ganjscc", "small").config, rates=(8, 16, 32))
    configs = (
        ("ganjscc.photo", perceptual), ("mtgsc.photo", MTGSC), ("mtgsc.noise", MTGSC), ("mtgsc.picture", MTGSC),
        ("mtgsc.segmentation", MTGSC), ("mtgsc.more", MTGSC), ("witt.photo", WITT), ("deeplab_jscc.photo", DEEPLAB),
        ("deeplab_jscc.crops", DEEPLAB), ("deeplab_jscc.more", DEEPLAB),
    )  # fmt: skip
    for name, config in configs:
        arch, _, tag = name.partition(".")
        export(create(arch, config).eval(), folder / f"{name}.safetensors", tag=tag, training=facts)
    fcn = tasks.create("fcn", FCNConfig(stem=4, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1))).eval()
    for tag in ("voc", "crops", "more"):
        tasks.export(fcn, folder / f"fcn.{tag}.safetensors", tag=tag, training=facts)
    return folder


def test_segmentations_are_sent_in_the_papers_budget() -> None:
    """5,000 channel uses, header included, for each system of the study at its size; 5,200 under fading."""
    study = load_study("multitask-segmentation")
    assert study.data == "voc-224"
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    sent = [(system, bench.ratio, channel) for bench in study.bench for system in bench.systems for channel in bench.channel]
    assert len(sent) == 8
    for name, ratio, channel in sent:
        codec = load(name.removesuffix("+fcn")) if ratio else create(name, "photo").eval()
        task, asked = ("reconstruction", parse_ratio(ratio[0])) if ratio else ("segmentation", None)
        for snr_db in (0.0, 18.0):
            with torch.no_grad():
                length = transmit(codec, channel, x, snr_db, ratio=asked, task=task).frame.length
            most = 5000 if channel == "awgn" else 5200  # a longer header, for all
            assert most - 400 <= int(length) <= most, (name, channel, snr_db)


@pytest.mark.parametrize("name", packaged_studies())
def test_packaged_studies_load_and_plan(name: str, data: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.bench.task_metrics.check_metrics", lambda names: None)
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(small_weights))
    study = load_study(name)
    plan = plan_study(study, data)
    asked = sum(len(bench.systems) * len(bench.channel) * len(set(bench.snr_db)) * len(bench.ratios) for bench in study.bench)
    assert len(plan.cells) == asked
    assert len(plan.strips) == len(study.strip)
    assert len(plan.heatmaps) == len(study.heatmap)
    assert {cell.system for cell in plan.cells} >= ({"mtgsc"} if name.startswith("multitask") else {"adjscc", "bpg-ldpc"})
    assert set(study.names) >= {cell.system for cell in plan.cells}
    assert study.title
    assert study.paper


def test_published_points_come_with_the_package() -> None:
    assert len(read_anchors(published_points())) > 40


def test_ratios_are_texts_or_numbers() -> None:
    bench = BenchSection(("adjscc",), (1.0,), ratio=("1/16", 0.0625, "1/6"))
    assert bench.ratios == (1 / 16, 1 / 6)
    assert dataclasses.replace(bench, ratio=()).ratios == (None,)
    for wrong in (True, [1], "x", 0, "99"):
        with pytest.raises(UsageError):
            dataclasses.replace(bench, ratio=(wrong,))


def test_the_studies_of_semantics_agree() -> None:
    """Where both measure, they measure the same; the strip and the heat maps are the classifier's."""
    snr, cpp = load_study("sp-jscc-snr"), load_study("sp-jscc-cpp")
    for one, other in zip(snr.bench, cpp.bench, strict=True):
        assert dataclasses.replace(other, snr_db=one.snr_db, ratio=one.ratio) == one
        assert {round(value, 6) for value in one.ratios if value} <= {round(value, 6) for value in other.ratios if value}
    assert snr.names == cpp.names
    assert len(snr.strip[0].pictures) == 5
    others = with_networks(snr, ["a.th", "b.th"])
    assert {bench.task_network for bench in others.bench} == {("a.th", "b.th")}
    assert (others.strip[0].task_network, others.heatmap[0].task_network) == ("a.th", "a.th")
    assert others.figure == snr.figure
    with pytest.raises(UsageError, match="asks none"):
        with_networks(load_study("kodak-snr"), ["a.th"])


def test_pictures_of_strips_and_heat_maps() -> None:
    strip = StripSection("a.png", "one", ("adjscc",), (1.0,))
    assert strip.pictures == ("one",)
    assert dataclasses.replace(strip, picture=["one", "two"]).pictures == ("one", "two")
    for wrong in ([], "", ["one", "one"], 3, ["one", 2], None):
        with pytest.raises(UsageError, match="picture"):
            dataclasses.replace(strip, picture=wrong)
    own = dataclasses.replace(strip, systems=("adjscc", "bpg-ldpc", "bpg-ldpc"), ratio=["1/48", "1/48", "1/24"])
    assert own.ratios == (1 / 48, 1 / 48, 1 / 24)
    assert [(bench.systems, bench.ratios) for bench in own.benches] == [
        (("adjscc", "bpg-ldpc"), (1 / 48,)),
        (("bpg-ldpc",), (1 / 24,)),
    ]
    assert [bench.ratios for bench in dataclasses.replace(strip, ratio=["auto"]).benches] == [(None,)]
    assert dataclasses.replace(strip, ratio="1/16").ratios == ()
    with pytest.raises(UsageError, match="for 3 systems"):
        dataclasses.replace(own, ratio=["1/48"])
    dataset = PictureDataset("x", "test", ["one.png", "two.png"], array=np.zeros((2, 8, 8, 3), np.uint8))
    assert [one.ids for one in several_pictures(dataset, ["two", "one.png"])] == [("two.png",), ("one.png",)]
    with pytest.raises(UsageError, match="twice"):
        several_pictures(dataset, ["one", "one.png"])
    heat = HeatmapSection("a.png", "one")
    assert heat.weighting == ("literal", "mean_abs", "rms", "mean_square")
    assert dataclasses.replace(heat, output="softmax", weighting=("rms",)).output == "softmax"
    for changes, word in (
        ({"weighting": ()}, "empty"),
        ({"weighting": ("rsm",)}, "rsm"),
        ({"output": "softmax"}, "zero"),
        ({"file": "a.svg"}, "a.svg"),
    ):
        with pytest.raises(UsageError, match=word):
            dataclasses.replace(heat, **changes)


def test_a_study_says_which_weight_is_missing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.bench.task_metrics.check_metrics", lambda names: None)
    monkeypatch.setattr("openjscc.weightfile.weight_files", lambda role: {})
    study = load_study("multitask-segmentation")
    with pytest.raises(MissingError, match="mtgsc has no released weight"):
        plan_study(study, data)
    with pytest.raises(MissingError, match=r"fcn\.voc has no weight at hand") as error:
        plan_study(dataclasses.replace(study, bench=study.bench[1:], figure=(), table=(), strip=()), data)
    assert "openjscc train fcn-voc" in error.value.hint


def test_durations() -> None:
    assert [_duration(value) for value in (5, 119, 3954, 9000, None)] == ["5 s", "119 s", "66 min", "2.5 h", "-"]


@pytest.mark.parametrize("ratio", ["", 'ratio = ["1/48", "1/48"]\n'])
def test_a_strip_does_not_show_the_same_twice(tmp_path: Path, ratio: str) -> None:
    strip = '[[strip]]\nfile = "a.webp"\npicture = "kodim01"\nsystems = ["adjscc", "adjscc"]\nsnr_db = [10]\n' + ratio
    path = tmp_path / "twice.toml"
    path.write_text(f'title = "T"\ndata = "kodak"\n\n{strip}')
    with pytest.raises(UsageError, match="twice at the same ratio"):
        load_study(str(path))
