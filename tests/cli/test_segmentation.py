"""Segmentations: measured by eval, bench and study, and sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import PixelCodec
from openjscc import load, transmit
from openjscc.bench import Sweep, evaluate, nominal_ratio
from openjscc.classes import VOC, voc_palette
from openjscc.cli.outcomes import class_names, shares
from openjscc.codec import Reconstruction
from openjscc.composite import CompositeCodec
from openjscc.data.datasets import open_dataset
from openjscc.data.images import read_indices
from openjscc.data.masks import masks_of
from openjscc.digital import make_digital
from openjscc.errors import UsageError
from openjscc.metrics.task import confusion_entries, miou, pixel_accuracy
from openjscc.models import create, export
from task_networks import Shades
from voc_data import save_mask, voc_folder

METRICS = ("miou", "miou_nine", "pixel_accuracy")


@pytest.fixture
def data(tmp_path: Path, shades: None) -> Path:
    """A folder in VOC's layout whose masks the network ``shades`` finds on a good picture."""
    folder = tmp_path / "small-voc"
    voc_folder(folder, names=("a", "b", "c", "d"))
    return folder


@pytest.fixture
def mtgsc(tmp_path: Path) -> Path:
    """An untrained weight that serves both tasks."""
    torch.manual_seed(0)
    facts = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
    path = tmp_path / "mtgsc.photo.safetensors"
    export(create("mtgsc", "photo").eval(), path, tag="photo", training=facts)
    return path


def records_of(out: str) -> list[dict]:
    records = json.loads(out)
    assert all(record["task"] == "segmentation" for record in records)
    return records


def test_eval(openjscc, data: Path) -> None:
    asked = (
        "eval",
        "--data",
        data,
        "--metrics",
        "miou,miou_nine,pixel_accuracy",
        "--systems",
        "jpeg-capacity+shades",
        "--snr",
        20,
    )
    result = openjscc(*asked)
    result.assert_ok()
    assert re.search(r"miou +miou_nine +pixel_accuracy", result.out)
    records = records_of(openjscc(*asked, "--json").out)
    assert [record["metric"] for record in records] == list(METRICS)
    dataset = open_dataset(data)
    codec = CompositeCodec(make_digital("jpeg-capacity"), Shades())
    entries = []
    for index in range(len(dataset)):
        sent = transmit(codec, "awgn", dataset[index].float() / 255, 20.0, task="segmentation")
        assert sent.reconstruction.segmentation is not None
        entries += confusion_entries(sent.reconstruction.segmentation, masks_of(dataset)[index])
    nine = [0, 8, 9, 10, 12, 13, 15, 17, 18]
    expected = [miou(entries), miou(entries, nine), pixel_accuracy(entries)]
    assert [record["mean"] for record in records] == pytest.approx(expected, abs=1e-12)
    assert expected[2] > 0.9
    first = records[0]
    assert (first["system"], first["weight"]) == ("jpeg-capacity+shades", "jpeg-capacity+shades")
    assert first["weight_sha256"] == codec.weight.sha256
    assert first["masks_sha256"] == masks_of(dataset).fingerprint()
    assert first["data_sha256"] == dataset.fingerprint()
    assert (first["bound"], first["parameters"], first["task_network"]) == (True, 3, None)
    assert "jpeg" in first["tool"]


def test_the_task_names_the_metrics(openjscc, data: Path) -> None:
    asked = ("eval", "--data", data, "--model", "adjscc+shades", "--json")
    named = records_of(openjscc(*asked, "--task", "segmentation").out)
    assert [record["metric"] for record in named] == list(METRICS)
    (found,) = records_of(openjscc(*asked, "--metrics", "pixel_accuracy", "--trials", 3).out)
    assert found["weight"] == "adjscc.photo+shades"
    assert (found["std"], found["ci95"], found["trials"]) == (None, None, 3)
    assert found["ci95_noise"] is not None


def test_a_codec_of_two_tasks_at_the_ratio_of_each(openjscc, data: Path, mtgsc: Path) -> None:
    """Nobody names a ratio: a segmentation has its own, and a record its own channel uses."""
    codec = load(mtgsc)
    assert nominal_ratio(codec, None) == codec.ratios[1]
    assert nominal_ratio(codec, None, "segmentation") == codec.ratios[0]
    asked = ("eval", "--data", data, "--model", mtgsc, "--json")
    (picture,) = json.loads(openjscc(*asked, "--metrics", "psnr").out)
    segmentation = records_of(openjscc(*asked, "--metrics", "miou,pixel_accuracy").out)
    assert picture["task"] == "reconstruction"
    assert picture["masks_sha256"] is None
    assert picture["ratio"] == pytest.approx(1 / 16)
    assert [record["ratio"] for record in segmentation] == pytest.approx([1 / 32] * 2)
    assert 16 * 24 / 64 * 6 < segmentation[0]["channel_uses"] < picture["channel_uses"]
    openjscc(*asked, "--metrics", "miou", "--ratio", "1/16").assert_error(2, "no bandwidth ratio 1/16 for the task segmentation")


def test_what_cannot_be_measured_is_said_before_the_work(openjscc, data: Path, photo: Path, tmp_path: Path) -> None:
    for verb, more in (("eval", ()), ("bench", ("-o", "out"))):
        asked = (verb, "--data", data, *more)
        openjscc(*asked, "--metrics", "psnr,miou", "--model", "adjscc+shades").assert_error(2, "psnr", "miou")
        openjscc(*asked, "--metrics", "miou", "--model", "adjscc").assert_error(2, "adjscc.photo does not serve", "segmentation")
        openjscc(*asked, "--metrics", "psnr", "--model", "adjscc+shades").assert_error(2, "does not serve", "reconstruction")
        openjscc(*asked, "--metrics", "psnr", "--task", "segmentation").assert_error(2, "psnr for the task 'segmentation'")
        openjscc(*asked, "--metrics", "miou", "--task", "reconstruction").assert_error(2, "miou for the task 'reconstruction'")
        openjscc(*asked, "--task", "segmentatoin").assert_error(2, "segmentatoin")
        network = openjscc(*asked, "--metrics", "miou", "--model", "jpeg-ldpc", "--task-network", "shades")
        network.assert_error(2, "shades", "masks")
        assert "CODEC+shades" in network.err
        none = openjscc(verb, "--data", photo.parent, *more, "--metrics", "miou", "--model", "adjscc+shades")
        none.assert_error(2, "has no masks")
        openjscc(*asked, "--metrics", "miou", "--model", "adjscc+brightness").assert_error(2, "classification")
    keep = ("bench", "--data", data, "--metrics", "miou", "--model", "adjscc+shades", "-o", "out")
    openjscc(*keep, "--keep", "1").assert_error(2, "--keep 1")
    (data / "SegmentationClass" / "b.png").unlink()
    openjscc(*keep).assert_error(4, "b.png")
    assert not Path("out").exists()


class Few(Shades):
    """Knows two classes."""

    classes = VOC[:2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :2]


def test_other_classes_are_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="2 classes"):
        evaluate(CompositeCodec(make_digital("jpeg-ldpc"), Few()), open_dataset(data), Sweep(metrics=("miou",)))

    class Unsaid(CompositeCodec):
        classes = None  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    with pytest.raises(UsageError, match="21"):
        evaluate(Unsaid(make_digital("jpeg-ldpc"), Few()), open_dataset(data), Sweep(metrics=("miou",)))


def test_a_lost_picture_counts_as_background(data: Path) -> None:
    """That is right on 12 to 15 of 23 columns that are not void; the other class of the masks, a person, is never found."""

    class Loses(CompositeCodec):
        def decode(self, received) -> Reconstruction:
            found = super().decode(received)
            assert found.ok is not None
            assert not found.ok.any()
            return found

    codec = Loses(make_digital("jpeg-ldpc:mcs=16qam-3/4-n1944"), Shades())
    records = evaluate(codec, open_dataset(data), Sweep(snr_db=(-10.0,), metrics=METRICS, ratios=(1.0,)))
    assert [record.outage_rate for record in records] == [1.0] * 3
    share = (12 + 13 + 14 + 15) / (4 * 23)
    assert [record.mean for record in records] == pytest.approx([share / 2, share / 2, share], abs=1e-12)
    assert [record.mean_arrived for record in records] == [None] * 3


def test_figures_do_not_depend_on_batches_or_threads(data: Path) -> None:
    codec = CompositeCodec(PixelCodec(), Shades())
    sweep = Sweep(snr_db=(-3.0, 8.0), metrics=METRICS, trials=2)
    one = evaluate(codec, open_dataset(data), sweep, batch_pixels=1)
    assert [r.mean for r in evaluate(codec, open_dataset(data), sweep, jobs=2)] == [r.mean for r in one]
    assert len({r.mean for r in one}) == 4  # of six: shades knows no class but those of the nine
    assert all(r.ci95_noise for r in one)


def test_bench_keeps_cells_until_the_masks_change(openjscc, data: Path) -> None:
    grid = ("bench", "--data", data, "--metrics", "miou,pixel_accuracy", "--systems", "jpeg-capacity+shades,adjscc+shades")
    grid = (*grid, "--snr", "0,20", "--ratio", "1/6", "-o", "out")
    result = openjscc(*grid, "--json")
    result.assert_ok()
    first = records_of(result.out)
    assert len(first) == 2 * 2 * 2
    evaluated = openjscc("eval", *grid[1:-2], "--json")
    assert [record["mean"] for record in records_of(evaluated.out)] == [record["mean"] for record in first]
    assert "4 of 4 cells are there already" in openjscc(*grid).err
    openjscc("bench", "--data", data, "--metrics", "psnr", "--systems", "adjscc", "-o", "out").assert_ok()
    assert len(list(Path("out/cells").iterdir())) == 5
    mask = np.zeros((16, 24), np.uint8)
    save_mask(data / "SegmentationClass" / "a.png", mask)
    again = openjscc(*grid, "--json")
    assert "there already" not in again.err
    fresh = records_of(again.out)
    assert fresh[2]["mean"] < first[2]["mean"]
    assert fresh[2]["data_sha256"] == first[2]["data_sha256"]


def test_more_trials_until_the_figure_is_known(openjscc, data: Path) -> None:
    grid = ("bench", "--data", data, "--metrics", "miou,pixel_accuracy", "--model", "adjscc+shades", "-o", "out", "--json")
    records = records_of(openjscc(*grid, "--until", "pixel_accuracy=0.001", "--max-trials", 12).out)
    assert {record["trials"] for record in records} <= set(range(8, 13))


def test_plot_tells_the_tasks_apart(openjscc, data: Path, mtgsc: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = ("eval", "--data", data, "--snr", "0,10")
    openjscc(*asked, "--model", f"{mtgsc},jpeg-ldpc+shades", "--metrics", "miou,miou_nine", "-o", "m.csv").assert_ok()
    openjscc(*asked, "--model", mtgsc, "--metrics", "psnr", "-o", "p.csv").assert_ok()
    for y, words in (("miou", "mIoU"), ("miou_nine", "mIoU of nine classes")):
        openjscc("plot", "m.csv", "p.csv", "--y", y, "--facet", "ratio", "-o", f"{y}.svg").assert_ok()
        assert words in Path(f"{y}.svg").read_text()


STUDY = """
title = "What is where"
data = "{data}"

[[bench]]
systems = ["adjscc+shades", "jpeg-ldpc+shades"]
snr_db = [0, 10]
ratio = ["1/6"]
metrics = ["miou", "pixel_accuracy"]

[[bench]]
systems = ["adjscc"]
snr_db = [0, 10]
ratio = ["1/6"]
metrics = ["psnr"]

[[figure]]
file = "miou.svg"
y = "miou"

[[table]]
metric = "pixel_accuracy"
"""


def test_a_study_of_both_tasks(openjscc, data: Path) -> None:
    pytest.importorskip("matplotlib")
    Path("mine.toml").write_text(STUDY.format(data=data))
    openjscc("study", "mine.toml", "-o", "out").assert_ok()
    page = Path("out/mine.md").read_text()
    assert "pixel accuracy" in page
    assert f"Masks: small-voc (sha256 `{masks_of(open_dataset(data)).fingerprint()[:16]}`)" in page
    result = openjscc("study", "mine.toml", "-o", "out", "--check", "--cells", "6")
    result.assert_ok()
    assert "6 of 6 cells" in result.err
    save_mask(data / "SegmentationClass" / "a.png", np.zeros((16, 24), np.uint8))
    openjscc("study", "mine.toml", "-o", "out", "--check").assert_error(4, "other masks")


def sent_to(openjscc, picture: Path, *more: object) -> dict:
    result = openjscc("send", picture, "--task", "segmentation", "--json", *more)
    result.assert_ok()
    return json.loads(result.out)


def test_send_writes_the_mask_and_an_overlay(openjscc, data: Path) -> None:
    picture = data / "JPEGImages" / "a.jpg"
    asked = ("send", picture, "--task", "segmentation", "--model", "jpeg-capacity+shades", "--snr", 20)
    result = openjscc(*asked)
    result.assert_ok()
    assert result.out == "a-segmentation.png\n"
    with Image.open("a-segmentation.png") as mask:
        assert (mask.mode, mask.size) == ("P", (24, 16))
        numbers = np.asarray(mask)
        assert mask.getpalette() == [value for colour in voc_palette() for value in colour]
    assert torch.equal(read_indices("a-segmentation.png"), torch.from_numpy(numbers.copy()))
    truth = masks_of(open_dataset(data))[0][0].numpy()
    assert (numbers == truth)[truth != 255].mean() > 0.9
    with Image.open("a-segmentation-overlay.png") as overlay:
        assert overlay.width > 2 * 24
        colours = {colour for _, colour in overlay.convert("RGB").getcolors(2**24) or ()}
    assert (192, 128, 128) in colours, "the legend has the person's colour"
    assert re.search(r"found +background \d\d\.\d %, person \d\d\.\d %", result.err)
    assert re.search(r"sent +k = \d+ channel uses", result.err)
    assert "written   a-segmentation.png and a-segmentation-overlay.png" in result.err

    report = json.loads(openjscc(*asked, "--json", "-f").out)
    (system,) = report["systems"]
    assert (report["task"], system["psnr"], system["ssim"]) == ("segmentation", None, None)
    assert (system["ok"], system["bound"], system["output"]) == (True, True, "a-segmentation.png")
    counts = {one["class"]: one["pixels"] for one in system["classes"]}
    assert counts == {VOC[number]: int((numbers == number).sum()) for number in np.unique(numbers)}
    assert sum(one["share"] for one in system["classes"]) == pytest.approx(1, abs=1e-5)
    assert [one["number"] for one in system["classes"]] == sorted(counts_of(numbers), key=lambda n: -counts_of(numbers)[n])


def counts_of(numbers: np.ndarray) -> dict[int, int]:
    return dict(zip(*(part.tolist() for part in np.unique(numbers, return_counts=True)), strict=True))


def test_send_a_segmentation_without_a_picture(openjscc, photo: Path, mtgsc: Path) -> None:
    """By a codec that sends no picture; and what a picture takes."""
    (system,) = sent_to(openjscc, photo, "--model", mtgsc)["systems"]
    assert system["channel_uses"] == 6 * (40 // 8) * (24 // 8) + 124
    assert {one["class"] for one in system["classes"]} <= set(VOC)
    (whole,) = json.loads(openjscc("send", photo, "--model", mtgsc, "--json").out)["systems"]
    assert whole["channel_uses"] == 12 * (40 // 8) * (24 // 8) + 124
    assert whole["classes"] is None
    assert {path.name for path in Path().glob("photo-*.png")} == {
        "photo-segmentation.png",
        "photo-segmentation-overlay.png",
        "photo-received.png",
        "photo-received-side-by-side.png",
    }


def test_send_compares_segmentations(openjscc, data: Path, mtgsc: Path) -> None:
    picture = data / "JPEGImages" / "a.jpg"
    asked = ("--model", mtgsc, "--compare", "jpeg-capacity+shades,jpeg-ldpc:mcs=16qam-3/4-n1944+shades", "--snr", 0)
    report = sent_to(openjscc, picture, *asked)
    first, bound, lost = report["systems"]
    assert first["channel_uses"] == bound["channel_uses"] == lost["channel_uses"]
    assert (bound["bound"], lost["ok"]) == (True, False)
    assert [one["class"] for one in lost["classes"]] == ["background"]
    again = openjscc("send", picture, "--task", "segmentation", *asked, "-f")
    assert re.search(r"frame lost \(.*background 100\.0 %\)", again.err)
    assert again.err.count(f" {first['channel_uses']}  ") == 3


def test_a_lost_segmentation_is_exit_code_1_with_a_mask(openjscc, data: Path) -> None:
    asked = ("send", data / "JPEGImages" / "a.jpg", "--task", "segmentation", "--model", "jpeg-ldpc:mcs=16qam-3/4-n1944+shades")
    result = openjscc(*asked, "--snr", -10)
    assert result.code == 1
    assert "the frame was lost" in result.err
    assert set(read_indices("a-segmentation.png").unique().tolist()) == {VOC.index("background")}


def test_send_refuses_before_the_work(openjscc, data: Path, mtgsc: Path) -> None:
    picture = data / "JPEGImages" / "a.jpg"
    asked = ("send", picture, "--task", "segmentation", "--model", "jpeg-ldpc+shades")
    openjscc(*asked, "-o", "mask.jpg").assert_error(2, "mask.jpg")
    openjscc(*asked, "-o", "mask.webp").assert_error(2, "mask.webp")
    network = openjscc(*asked, "--task-network", "classifier")
    network.assert_error(2, "classifier", "segmentation")
    openjscc("send", picture, "--model", "jpeg-ldpc+shades").assert_error(2, "does not serve the task 'reconstruction'")
    openjscc(*asked, "--compare", "adjscc").assert_error(2, "adjscc.photo does not serve the task 'segmentation'")
    by_ratio = ("send", picture, "--task", "segmentation", "--model", mtgsc, "--ratio", "1/16")
    refused = openjscc(*by_ratio)
    refused.assert_error(2, "no bandwidth ratio 1/16 for the task segmentation")
    assert "it has 1/32" in refused.err
    assert not list(Path().glob("*.png"))
    Path("a-segmentation-overlay.png").touch()
    openjscc(*asked).assert_error(2, "a-segmentation-overlay.png exists")
    assert not Path("a-segmentation.png").exists()
    openjscc(*asked, "-f", "--snr", 30).assert_ok()
    assert Path("a-segmentation-overlay.png").stat().st_size


def test_classes_without_names_have_numbers() -> None:
    assert class_names(PixelCodec(), 21) == VOC
    assert class_names(PixelCodec(), 2) == ("class 0", "class 1")
    assert class_names(CompositeCodec(PixelCodec(), Shades()), 21) == Shades.classes
    many = [{"class": f"c{n}", "share": share} for n, share in enumerate((0.9, 0.0994, 0.0006))]
    assert shares(many) == "c0 90.0 %, c1 9.9 %, c2 <0.1 %"
    assert shares(many, 1) == "c0 90.0 %, 2 more"
