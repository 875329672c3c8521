"""Strips of segmentations beside the ground truth, and of pictures with their channel uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from openjscc.bench.kept import read_kept
from openjscc.classes import VOC, voc_palette
from openjscc.data.images import read_indices
from openjscc.report.strips import strip
from voc_data import voc_folder

STUDY = """
title = "What is where"
data = "small-voc"

[[bench]]
systems = ["jpeg-capacity+shades"]
snr_db = [10]
metrics = ["miou"]

[[strip]]
file = "one.png"
picture = "a"
task = "segmentation"
systems = ["jpeg-capacity+shades", "adjscc+shades"]
snr_db = [20]
ratio = "1/6"
uses = true

[[strip]]
file = "three.png"
picture = ["a", "b", "c"]
task = "segmentation"
systems = ["jpeg-capacity+shades", "jpeg-ldpc:mcs=64qam-5/6-n1944+shades"]
snr_db = [0]
ratio = "1/2"

[[strip]]
file = "sent.png"
picture = "b"
systems = ["adjscc"]
snr_db = [20]
uses = true
"""


@pytest.fixture
def study(openjscc, tmp_path: Path, shades: None) -> Path:
    voc_folder(tmp_path / "small-voc", size=(96, 128))
    path = tmp_path / "masks.toml"
    path.write_text(STUDY)
    return path


def test_masks_beside_the_truth(openjscc, study: Path) -> None:
    openjscc("study", study.name, "-o", "out").assert_ok()
    kept = {(item.system, item.picture): item for item in read_kept(Path("out/pictures"))}
    good, lost = kept["jpeg-capacity+shades", "a.jpg"], kept["jpeg-ldpc:mcs=64qam-5/6-n1944+shades", "a.jpg"]
    assert (good.task, good.psnr, good.ok, lost.ok) == ("segmentation", None, True, False)
    assert good.miou is not None
    assert lost.miou == pytest.approx(64 / 127 / 2)  # background is right on 64 of 127 columns, the person is not found
    picture = kept["adjscc", "b.jpg"]
    assert (picture.task, picture.miou) == ("reconstruction", None)
    assert picture.uses is not None
    assert picture.uses > 96 * 128 * 3 / 6
    numbers = read_indices(Path("out/pictures") / good.file)
    assert set(numbers.unique().tolist()) <= {VOC.index(name) for name in ("background", "person", "sheep")}
    truth = read_indices(Path("out/pictures/a-mask.png"))
    assert set(truth.unique().tolist()) == {0, 15, 255}
    for name in ("one.png", "three.png"):
        with Image.open(f"out/{name}") as sheet:
            colours = {colour for _, colour in sheet.convert("RGB").getcolors(2**24) or ()}
        assert {voc_palette()[15], voc_palette()[255]} <= colours, name
    page = Path("out/masks.md").read_text()
    for words in (
        "CBR 1/6. mIoU is that of the one picture",
        "1 % or more of what one of these masks shows",
        "k: channel uses, header",
    ):
        assert words in page
    assert "PSNR is that of the whole picture. k: channel uses, header included." in page
    first = Path("out/one.png").read_bytes()
    again = openjscc("study", study.name, "-o", "out")
    again.assert_ok()
    assert Path("out/one.png").read_bytes() == first
    assert "pictures sent" not in again.out


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Captions of the strips that are made, in order."""
    captions: list[str] = []

    def noted(cells, *more, **named):
        captions.extend(caption for caption, _ in cells)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("openjscc.report.strips.side_by_side", noted)
    return captions


def test_captions(openjscc, study: Path, said: list[str]) -> None:
    openjscc("study", study.name, "-o", "out").assert_ok()
    said.clear()
    folder = Path("out/pictures")
    asked = {"ratio": [1 / 6], "snr_db": [20]}
    strip(folder, "a", where=asked, source=folder / "a.png", truth=folder / "a-mask.png", uses=True)
    assert said[:2] == ["sent", "ground truth"]
    assert said[2].startswith("JPEG+capacity, shades\nmIoU ")
    assert "\nk = " in said[2]


def test_masks_at_ratios_of_their_own(openjscc, study: Path, said: list[str]) -> None:
    """Each caption has bandwidth, mIoU and channel uses."""
    section = STUDY.split("[[strip]]")[1].replace('"adjscc+shades"', '"jpeg-capacity+shades"')
    section = section.replace('ratio = "1/6"', 'ratio = ["1/6", "1/3"]')
    study.write_text(STUDY.split("[[strip]]")[0] + "[[strip]]" + section)
    openjscc("study", study.name, "-o", "out").assert_ok()
    said.clear()
    page = Path("out/masks.md").read_text()
    for words in ("20 dB. mIoU is that of the one picture", "in brackets how much more than for the first", "k: channel uses"):
        assert words in page
    systems = ["jpeg-capacity+shades"] * 2
    strip(Path("out/pictures"), "a", systems=systems, ratios=[1 / 6, 1 / 3], where={"snr_db": [20]}, uses=True)
    first, second = (caption.split("\n") for caption in said)
    assert first[0] == second[0] == "JPEG+capacity, shades"
    assert [line.split()[0] for line in first[1:]] == [line.split()[0] for line in second[1:]] == ["CBR", "mIoU", "k"]
    assert "%)" in second[1]
    (used,) = {item.uses for item in read_kept(Path("out/pictures")) if item.ratio == 1 / 3}
    assert second[3] == f"k = {used:,}"


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('task = "segmentation"', 'task = "segmentations"', 2, "segmentations"),
        ('task = "segmentation"', 'task = "segmentation"\ntask_network = "shades"', 2, "shades"),
        ('task = "segmentation"', "", 2, "does not serve"),
        ('data = "small-voc"', 'data = "plain"', 2, "has no masks"),
    ],
)
def test_what_cannot_be_shown_is_said_before_the_work(openjscc, study: Path, make_picture, old, new, code, words) -> None:
    Path("plain").mkdir()
    make_picture(Path("plain/a.png"))
    study.write_text(STUDY.replace(old, new, 1))
    openjscc("study", study.name, "-o", "out").assert_error(code, words)
    assert not Path("out").exists()
