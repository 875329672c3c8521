"""``openjscc plot`` as a user calls it."""

from __future__ import annotations

import builtins
import dataclasses
from pathlib import Path

import pytest
import torch

from openjscc.bench import Record, write_records
from openjscc.bench.kept import KeptPicture, add_kept
from openjscc.data.images import write_png

PLAIN = Record("adjscc", "adjscc.photo", "psnr", "awgn", 0.0, 1 / 16, 30.0, 1.0, 0.5, 24, 1, 0.0626, 1, 1.0, "kodak", 0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A benchmark's folder: two systems, two ratios, three SNRs, two metrics."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"
    folder.mkdir()
    records = [
        dataclasses.replace(
            PLAIN,
            system=system,
            metric=metric,
            ratio=ratio,
            bandwidth_ratio=ratio,
            snr_db=snr,
            mean=mean + snr / 5,
            outage_rate=0.1 if system == "bpg-ldpc" else 0.0,
        )
        for system, metric, mean in (("adjscc", "psnr", 29.0), ("bpg-ldpc", "psnr", 30.0), ("adjscc", "ssim", 0.9))
        for ratio in (1 / 16, 1 / 6)
        for snr in (0.0, 10.0, 20.0)
    ]
    write_records(folder / "records.csv", records)
    return folder


@pytest.fixture
def kept(run: Path) -> Path:
    """The same with two received pictures."""
    folder = run / "pictures"
    folder.mkdir()
    for number, system in enumerate(("adjscc", "bpg-ldpc")):
        write_png(folder / f"{number}.png", torch.full((3, 60, 80), 0.2 + 0.4 * number))
        add_kept(folder, [KeptPicture(f"{number}.png", system, "awgn", 1.0, 1 / 16, "kodim01.png", 30.0, True)])
    return run


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_figure(openjscc, run: Path, suffix: str) -> None:
    result = openjscc("plot", run, "--where", "ratio=1/16", "-o", f"figure.{suffix}")
    result.assert_ok()
    assert result.out == ""
    assert f"written: figure.{suffix}" in result.err
    assert Path(f"figure.{suffix}").stat().st_size > 1000


def test_a_measured_column(openjscc, run: Path) -> None:
    openjscc(
        "plot", run, "--y", "cpp", "--x", "macs_per_pixel", "--where", "snr_db=10,system=adjscc", "-o", "cpp.svg"
    ).assert_ok()
    assert "channel uses per pixel" in Path("cpp.svg").read_text()
    openjscc("plot", run, "--y", "cpp", "--arrived", "-o", "none.svg").assert_error(2, "cpp of the pictures that arrived")
    openjscc("plot", run, "--y", "macs_per_pixel", "-o", "none.svg").assert_error(2, "macs_per_pixel")


def test_files_are_refused_and_replaced(openjscc, run: Path) -> None:
    Path("a.svg").write_text("mine")
    openjscc("plot", run, "-o", "a.svg").assert_error(2, "a.svg exists")
    assert Path("a.svg").read_text() == "mine"
    openjscc("plot", run, "-o", "a.svg", "-f").assert_ok()
    openjscc("plot", run, "-o", "a.gif").assert_error(2, "a.gif")
    openjscc("plot", run, "-o", "none/a.svg").assert_error(2, "none")


def test_everything_at_once(openjscc, run: Path) -> None:
    Path("anchors.csv").write_text(
        "system,dataset,channel,snr_db,cbr,metric,value,how_read,source\nOther,kodak,awgn,10,1/8,psnr,33,figure +-0.2,paper\n"
    )
    arguments = ["--x", "bandwidth_ratio", "--log-x", "--where", "snr_db=10,20", "--systems", "bpg-ldpc,adjscc", "--lost"]
    more = ["--style", "screen", "--title", "Rate", "--interval", "noise", "--anchors", "anchors.csv", "--width", 9]
    openjscc("plot", run, *arguments, *more, "-o", "rate.svg").assert_ok()
    text = Path("rate.svg").read_text()
    for word in (">Rate<", ">SNR 10 dB<", ">SNR 20 dB<", ">Other [paper]<", ">lost (%)<", ">1/16<", ">bandwidth ratio k/n<"):
        assert word in text
    assert text.index(">BPG+LDPC<") < text.index(">ADJSCC<")


def test_files_and_folders_together(openjscc, run: Path) -> None:
    write_records(Path("more.csv"), [dataclasses.replace(PLAIN, system="third", data="other")])
    openjscc("plot", run, "more.csv", "--facet", "data,ratio", "--arrived", "-o", "a.svg").assert_ok()
    text = Path("a.svg").read_text()
    assert ">other<" in text
    assert ">third<" in text


@pytest.mark.parametrize(
    ("arguments", "value", "hint"),
    [
        (["--where", "ratio=1/5"], "ratio=1/5", "1/16, 1/6"),
        (["--where", "rato=1/6"], "'rato'", "ratio"),
        (["--where", "awgn"], "'awgn'", "channel=awgn"),
        (["--x", "channel"], "channel", "snr_db"),
        (["--x", "colour"], "'colour'", "known"),
        (["--y", "lpips"], "'lpips'", "psnr, ssim"),
        (["--systems", "adjsc"], "'adjsc'", "adjscc"),
        (["--facet", "snr_db"], "snr_db", "facets"),
        (["--style", "loud"], "'loud'", "paper"),
        (["--interval", "wide"], "'wide'", "pictures"),
        (["--kind", "pie"], "'pie'", "strip"),
        (["--width", "x"], "'x'", "inches"),
        (["--log-x"], "snr_db", "--log-x"),
        (["--crop", "1,2,3,4"], "--crop", "--kind strip"),
        (["--anchors", "none.csv"], "none.csv", "path"),
    ],
)
def test_mistakes(openjscc, run: Path, arguments: list[str], value: str, hint: str) -> None:
    result = openjscc("plot", run, *arguments, "-o", "a.svg")
    result.assert_error(2, value)
    assert hint in result.err.splitlines()[-1]
    assert not Path("a.svg").exists()


def test_few_pictures_have_no_bands(openjscc, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_records(tmp_path / "few.csv", [dataclasses.replace(PLAIN, images=2, snr_db=snr) for snr in (0.0, 10.0)])
    few = openjscc("plot", tmp_path / "few.csv", "-o", "few.svg")
    few.assert_ok()
    assert "note: no bands: there are fewer than 8 pictures" in few.err
    none = openjscc("plot", tmp_path / "few.csv", "--interval", "none", "-o", "none.svg")
    assert "no bands" not in none.err
    assert (tmp_path / "few.svg").read_bytes() == (tmp_path / "none.svg").read_bytes()


def test_damaged_and_missing_records(openjscc, tmp_path: Path) -> None:
    Path("r.csv").write_text("{")
    openjscc("plot", "r.csv", "-o", "a.svg").assert_error(4, "r.csv")
    openjscc("plot", "absent.csv", "-o", "a.svg").assert_error(2, "absent.csv")
    openjscc("plot", tmp_path, "-o", "a.svg").assert_error(2, "records.csv")


def test_matplotlib_is_an_extra(openjscc, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return genuine(name, *arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", without)
    result = openjscc("plot", run, "-o", "a.svg")
    result.assert_error(3, "matplotlib")
    assert 'pip install "openjscc[plot]"' in result.err


@pytest.mark.parametrize("name", ["strip.png", "strip.webp"])
def test_a_strip(openjscc, kept: Path, name: str) -> None:
    from PIL import Image

    arguments = ["--kind", "strip", "--picture", "kodim01", "--crop", "10,10,40,30"]
    openjscc("plot", kept, *arguments, "--where", "snr_db=1", "-o", name).assert_ok()
    with Image.open(name) as image:
        assert image.width >= 2 * 4 * 40  # small crops are shown enlarged
    openjscc("plot", kept, *arguments, "-o", name).assert_error(2, "exists")
    openjscc("plot", kept, *arguments, "-o", name, "-f", "--systems", "bpg-ldpc").assert_ok()


def test_strips_that_cannot_be_made(openjscc, kept: Path, run: Path, tmp_path: Path) -> None:
    strip = ["--kind", "strip", "-o", "s.png"]
    openjscc("plot", kept, *strip).assert_error(2, "--picture")
    for option in (["--lost"], ["--y", "ssim"], ["--log-x"], ["--title", ""], ["--width", "4"]):
        openjscc("plot", kept, *strip, "--picture", "kodim01", *option).assert_error(2, f"{option[0]} belongs to curves")
    openjscc("plot", kept, *strip, "--picture", "kodim02").assert_error(2, "kodim02")
    openjscc("plot", kept, *strip, "--picture", "kodim01", "--crop", "60,0,40,30").assert_error(2, "80x60")
    openjscc("plot", kept, *strip, "--picture", "kodim01", "--where", "seed=1").assert_error(2, "seed")
    openjscc("plot", tmp_path, *strip, "--picture", "kodim01").assert_error(3, "pictures")
    openjscc("plot", kept, "--kind", "strip", "--picture", "kodim01", "-o", "s.svg").assert_error(2, "s.svg")
