"""The table of goals on the page about two tasks, made from records of which the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from openjscc.bench import Record, write_records
from openjscc.bench.differences import Difference
from openjscc.studies.comparisons import Place, write_tables
from openjscc.studies.differences import DifferenceRow, DifferenceTable
from openjscc.studies.sections import DifferenceSection

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


def differences(over: str, *values: float, metric: str = "psnr", half: float = 0.1) -> DifferenceTable:
    """Values at `SNRS`, with intervals of that half width; and better ones under fading, which do not count."""
    section = DifferenceSection(metric=metric, of=("mtgsc",), over=over, x="snr_db")
    rows = []
    for channel, better in (("awgn", 0.0), ("rayleigh:block", 9.0)):
        place = Place("x", channel, 1 / 16, None, None, 10, 0)
        rows += [
            DifferenceRow(
                place, "mtgsc", snr, 30.0, 0.0, Difference(value + better, value + better - half, value + better + half, 10, 1)
            )
            for snr, value in zip(SNRS, values, strict=True)
        ]
    return DifferenceTable(section, tuple(rows))


def test_pictures(goals: Callable[[Path], str], tmp_path: Path) -> None:
    assert goals(tmp_path) == ""
    ours = records("mtgsc", "psnr", (27.0, 29.0, 30.0)) + records("mtgsc", "psnr", (9.0, 9.0, 9.0), "rayleigh:block")
    for name in ("multitask-psnr-224", "multitask-psnr-kodak"):
        (tmp_path / name).mkdir()
        write_records(tmp_path / name / "records.csv", ours)
        write_tables(
            tmp_path / name / "differences.json",
            [
                differences("witt", 0.5, 0.75, 1.0),
                differences("deepjscc", 0.5, 0.05, 0.3),
                differences("adjscc", 0.5, -0.25, -0.5),
                differences("jpeg-ldpc", 7.0, -0.5, -0.05),
                differences("jpeg-ldpc:mcs=16qam-3/4-n1944", 9.0, 0.5, 0.4),
                differences("jpeg-ldpc:mcs=64qam-3/4-n1944", 9.0, 9.0, 0.0),
            ],
        )
    lines = goals(tmp_path).splitlines()
    start = "| 224x224, 0 to 18 dB: PSNR above"
    assert f"{start} WITT | +0.50 to +1.00 dB | yes |" in lines
    assert f"{start} Deep JSCC | +0.05 to +0.50 dB | no: ahead at 0, 18 dB, open at 12 dB |" in lines
    assert f"{start} ADJSCC | -0.50 to +0.50 dB | no: ahead at 0 dB, behind at 12, 18 dB |" in lines
    assert f"{start} JPEG+LDPC, adapted | -0.50 to +7.00 dB | no: ahead at 0 dB, behind at 12 dB, open at 18 dB |" in lines
    assert "| 768x512, 12 to 18 dB: PSNR above ADJSCC | -0.50 to -0.25 dB | no: behind at 12, 18 dB |" in lines
    assert "| 768x512, 12 to 18 dB: PSNR above JPEG+LDPC, 16-QAM | +0.40 to +0.50 dB | yes |" in lines
    assert "| one second at most for a picture of 224x224, its share of a batch | 300 + 400 ms (None) | yes |" in lines
    assert lines[-1].startswith("Over AWGN,")


def test_a_point_without_a_figure(goals: Callable[[Path], str], tmp_path: Path) -> None:
    """It is open; a point that is not there at all ends the script."""
    folder = tmp_path / "multitask-psnr-224"
    folder.mkdir()
    write_records(folder / "records.csv", records("mtgsc", "psnr", (27.0, 29.0, 30.0)))
    others = ("witt", "deepjscc", "jpeg-ldpc", "jpeg-ldpc:mcs=16qam-3/4-n1944", "jpeg-ldpc:mcs=64qam-3/4-n1944")
    whole, rest = differences("adjscc", 0.5, 0.6, 0.7), [differences(other, 0.5, 0.6, 0.7) for other in others]
    first, *more = whole.rows
    write_tables(folder / "differences.json", [replace(whole, rows=(replace(first, difference=None), *more)), *rest])
    assert "PSNR above ADJSCC | +0.60 to +0.70 dB | no: open at 0 dB, ahead at 12, 18 dB |" in goals(tmp_path)
    write_tables(folder / "differences.json", [replace(whole, rows=tuple(more)), *rest])
    with pytest.raises(SystemExit, match="above adjscc is not there at every SNR"):
        goals(tmp_path)


def test_no_time_where_none_was_measured(goals: Callable[[Path], str], tmp_path: Path) -> None:
    folder = tmp_path / "multitask-psnr-224"
    folder.mkdir()
    write_records(folder / "records.csv", [replace(one, encode_ms=None) for one in records("mtgsc", "psnr", (1.0, 2.0, 3.0))])
    assert goals(tmp_path) == ""


def test_segmentations(goals: Callable[[Path], str], tmp_path: Path) -> None:
    for name, rivals in (
        ("multitask-segmentation", ("deeplab_jscc", *CHAINS)),
        ("multitask-one-segmentations", ("mtgsc.segmentation",)),
    ):
        (tmp_path / name).mkdir()
        found, tables = [], []
        for metric, flat in (("miou", 0.019), ("miou_nine", 0.021)):
            means = (0.10, 0.11, 0.10 + flat)
            found += records("mtgsc", metric, means)
            for number, rival in enumerate(rivals):
                theirs = (0.05, 0.08 + 0.02 * number, 0.105 + 0.05 * number)
                found += records(rival, metric, theirs)
                gaps = [a - b for a, b in zip(means, theirs, strict=True)]
                tables.append(differences(rival, *gaps, metric=metric, half=0.015))
        write_records(tmp_path / name / "records.csv", found)
        write_tables(tmp_path / name / "differences.json", tables)
    lines = goals(tmp_path).splitlines()
    assert "| mIoU of 21 classes above DeepLab JSCC | +1.4 to +5.0 points | no: ahead at 0, 12 dB, open at 18 dB |" in lines
    assert "| mIoU of nine classes above DeepLab JSCC | +1.6 to +5.0 points | yes |" in lines
    assert (
        "| mIoU of nine classes above JPEG+LDPC+FCN, 16-QAM | -3.4 to +5.0 points "
        "| no: ahead at 0 dB, open at 12 dB, behind at 18 dB |" in lines
    )
    assert "| mIoU of 21 classes moves by at most 2 points from 0 to 18 dB | 1.9 points | yes |" in lines
    assert "| mIoU of nine classes moves by at most 2 points from 0 to 18 dB | 2.1 points | no |" in lines
    alone = "| at most 3 points below the same network trained for segmentations alone, mIoU of 21 classes"
    assert f"{alone} | +1.4 to +5.0 points | yes |" in lines
