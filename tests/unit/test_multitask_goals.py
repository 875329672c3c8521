"""The table of goals on the page about two tasks, made from records of which the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openjscc.bench import Record, write_records
from openjscc.bench.differences import Difference
from openjscc.bench.study_differences import DifferenceRow, DifferenceTable
from openjscc.bench.study_places import Place, write_tables
from openjscc.bench.study_sections import DifferenceSection

ROOT = Path(__file__).resolve().parents[2]
SNRS = (0.0, 12.0, 18.0)
CHAINS = ("jpeg-ldpc:mcs=16qam-3/4-n1944+fcn", "jpeg-ldpc:mcs=64qam-3/4-n1944+fcn", "jpeg-ldpc+fcn")


@pytest.fixture
def goals(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import multitask_goals

    return multitask_goals.goals


def records(system: str, metric: str, means: tuple[float, ...], channel: str = "awgn") -> list[Record]:
    return [
        Record(
            system,
            system,
            metric,
            channel,
            snr,
            1 / 16,
            mean,
            1.0,
            0.1,
            10,
            1,
            0.06,
            1,
            1.0,
            "x",
            0,
            encode_ms=300.0,
            decode_ms=400.0,
        )
        for snr, mean in zip(SNRS, means, strict=True)
    ]


def differences(over: str, *values: tuple[float, float], metric: str = "psnr") -> DifferenceTable:
    """Values at `SNRS`, with the ends of their intervals below; and better ones under fading, which do not count."""
    section = DifferenceSection(metric=metric, of=("mtgsc",), over=over, x="snr_db")
    rows = []
    for channel in ("awgn", "rayleigh:block"):
        place = Place("x", channel, 1 / 16, None, None, 10, 0)
        rows += [
            DifferenceRow(place, "mtgsc", snr, 30.0, 0.0, Difference(value if channel == "awgn" else 9.0, low, value + 1, 10, 1))
            for snr, (value, low) in zip(SNRS, values, strict=True)
        ]
    return DifferenceTable(section, tuple(rows))


def test_pictures(goals: Callable[[Path], str], tmp_path: Path) -> None:
    assert goals(tmp_path) == ""
    ours = records("mtgsc", "psnr", (27.0, 29.0, 30.0)) + records("mtgsc", "psnr", (9.0, 9.0, 9.0), "rayleigh:block")
    for name in ("multitask-psnr-224", "multitask-psnr-kodak"):
        (tmp_path / name).mkdir()
        write_records(tmp_path / name / "summary.json", [*ours, *records("jpeg-ldpc", "psnr", (20.0, 29.5, 31.25))])
        write_tables(
            tmp_path / name / "differences.json",
            [
                differences("witt", (0.5, 0.4), (0.75, 0.6), (1.0, 0.9)),
                differences("deepjscc", (0.5, 0.4), (0.25, -0.1), (0.3, 0.1)),
                differences("adjscc", (0.5, 0.4), (-0.25, -0.4), (-0.5, -0.6)),
            ],
        )
    lines = goals(tmp_path).splitlines()
    assert "| 224x224, 0 to 18 dB: PSNR above WITT | +0.50 to +1.00 dB | yes |" in lines
    assert "| 224x224, 0 to 18 dB: PSNR above Deep JSCC | +0.25 to +0.50 dB | yes, but not surely: an interval holds 0 |" in lines
    assert "| 224x224, 0 to 18 dB: PSNR above ADJSCC | -0.50 to +0.50 dB | at 0 dB only |" in lines
    assert "| 224x224, 0 to 18 dB: PSNR above JPEG+LDPC, adapted | -1.25 to +7.00 dB | at 0 dB only |" in lines
    assert "| 768x512, 12 to 18 dB: PSNR above ADJSCC | -0.50 to -0.25 dB | no |" in lines
    assert "| 768x512, 12 to 18 dB: PSNR above JPEG+LDPC, adapted | -1.25 to -0.50 dB | no |" in lines
    assert "| one second at most for a picture of 224x224 | 300 + 400 ms, its share of a batch (None) | yes |" in lines


def test_segmentations(goals: Callable[[Path], str], tmp_path: Path) -> None:
    for name, rivals in (
        ("multitask-segmentation", ("deeplab_jscc", *CHAINS)),
        ("multitask-one-segmentations", ("mtgsc.segmentation",)),
    ):
        (tmp_path / name).mkdir()
        found = []
        for metric, flat in (("miou", 0.019), ("miou_nine", 0.021)):
            found += records("mtgsc", metric, (0.10, 0.11, 0.10 + flat))
            for number, rival in enumerate(rivals):
                found += records(rival, metric, (0.05, 0.08 + 0.02 * number, 0.105 + 0.05 * number))
        write_records(tmp_path / name / "summary.json", found)
        better = differences("deeplab_jscc", (0.05, 0.01), (0.03, 0.02), (0.014, 0.001), metric="miou")
        unsure = differences("deeplab_jscc", (0.05, 0.01), (0.03, -0.02), (0.016, 0.001), metric="miou_nine")
        write_tables(tmp_path / name / "differences.json", [better, unsure])
    lines = goals(tmp_path).splitlines()
    assert "| mIoU of 21 classes above DeepLab JSCC | +1.4 to +5.0 points | yes |" in lines
    assert "| mIoU of nine above DeepLab JSCC | +1.6 to +5.0 points | yes, but not surely: an interval holds 0 |" in lines
    assert "| mIoU of nine above JPEG+LDPC+FCN, 16-QAM | -3.4 to +5.0 points | at 0, 12 dB only |" in lines
    assert "| mIoU of 21 classes within 2 points from 0 dB up | 1.9 points | yes |" in lines
    assert "| mIoU of nine within 2 points from 0 dB up | 2.1 points | no |" in lines
    assert "| within 3 points of it alone for segmentations, mIoU of 21 classes | +1.4 to +5.0 points | yes |" in lines
