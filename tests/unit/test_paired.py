"""What stands under PSNR against SNR: differences over the same pictures and draws, and lost pictures; how far the axes reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from openjscc.bench.differences import difference
from openjscc.bench.records import Record
from openjscc.errors import UsageError
from openjscc.report.chart import Chart
from openjscc.report.layout import arrange
from openjscc.report.paired import Paired, differences, paired, reference
from openjscc.studies.comparisons import read_bands, write_tables
from synthetic_cells import result

PLAIN = Record("a", "a", "psnr", "awgn", 0.0, 1 / 16, 30.0, 1.0, 0.5, 24, 1, 0.0626, 1, 1.0, "kodak", 0)
HARD = np.random.default_rng(0).normal(30, 4, (12, 2))


def curve_of(system: str, means: Iterable[float | None], lost: Iterable[float] = (), **changes: object) -> list[Record]:
    shares = [*lost, 0.0, 0.0, 0.0]
    return [
        dataclasses.replace(PLAIN, **{"system": system, "snr_db": 5.0 * n, "mean": mean, "outage_rate": shares[n], **changes})
        for n, mean in enumerate(means)
    ]


LEARNED, OTHER = curve_of("adjscc", (26, 28, 30)), curve_of("deepjscc", (25.7, 27.7, 29.6))
FIXED = curve_of("bpg-ldpc:mcs=16qam-3/4-n1944", (12, 24, 31), (1, 0.4), parameters=None)
BOUND = curve_of("bpg-capacity", (29, 31, 33), parameters=None, bound=True)
BANDS = [
    Paired("adjscc", "deepjscc", "psnr", "kodak", "awgn", 1 / 16, snr, None, 24, 1, 0, half)
    for snr, half in ((0.0, 0.1), (5.0, 0.2))
]


@pytest.fixture
def draw():
    pytest.importorskip("matplotlib")
    from openjscc.report.charts import draw

    return lambda records, bands=(), **options: draw(records, Chart(**options), (), bands)[0]


def test_the_reference_is_the_first_learned_system() -> None:
    records = [*BOUND, *FIXED, *LEARNED, *OTHER]
    assert reference(records, "snr_db", "psnr", None) == "adjscc"
    assert reference([*FIXED, *BOUND], "snr_db", "psnr", None) is None
    assert reference(LEARNED, "snr_db", "psnr", None) is None, "alone"
    assert reference(records, "snr_db", "psnr", "none") is None
    assert reference(records, "snr_db", "psnr", "bpg-capacity") == "bpg-capacity"
    assert reference(records, "cpp", "psnr", None) is None
    assert Chart(arrived=True).reference(records) is None
    with pytest.raises(UsageError, match="witt"):
        reference(records, "snr_db", "psnr", "witt")
    with pytest.raises(UsageError, match="adjscc"):
        Chart(x="cpp", over="adjscc")


def test_differences_are_of_the_same_pictures_and_draws() -> None:
    gap = curve_of("witt", (None, 28.5, 30.5))
    others: tuple[dict[str, object], ...] = ({"seed": 1}, {"trials": 3}, {"data_sha256": "x"}, {"account": 2})
    strangers = [
        dataclasses.replace(record, **changes)  # pyright: ignore[reportArgumentType]
        for number, changes in enumerate(others)
        for record in curve_of(f"s{number}", (1, 2, 3))
    ]
    (panel,) = arrange([*LEARNED, *OTHER, *FIXED, *gap, *strangers], "snr_db", "psnr").panels
    found = {curve.system: curve for curve in differences(panel, "adjscc", BANDS)}
    assert list(found) == ["deepjscc", FIXED[0].system, "witt"]
    assert found["deepjscc"].y == pytest.approx((-0.3, -0.3, -0.4))
    assert found["deepjscc"].half == pytest.approx((0.1, 0.2, np.nan), nan_ok=True)
    assert found[FIXED[0].system].lost == (1, 0.4, 0)
    assert found["witt"].x == (5, 10)
    assert not differences(panel, "s0")


def test_intervals_are_of_the_pictures_differences(tmp_path: Path) -> None:
    better = HARD + 0.3 + np.random.default_rng(1).normal(0, 0.1, HARD.shape)
    cells = [result("a", HARD), result("b", better), result("a", HARD, snr_db=5.0), result("b", HARD + np.inf, snr_db=5.0)]
    found = paired([record for cell in cells for record in cell.records], "a", cells)
    expected = difference(better, HARD)
    assert [(one.over, one.system, one.snr_db) for one in found] == [("a", "b", 0.0)], "infinite values have none"
    assert found[0].half == pytest.approx(expected.value - (expected.low or 0))
    write_tables(tmp_path / "paired.json", found)
    assert read_bands([tmp_path, tmp_path / "none", tmp_path / "paired.json"]) == found


def test_panels_of_differences_and_lost_pictures(draw) -> None:
    records = [*LEARNED, *OTHER, *FIXED, *BOUND]
    upper, middle, lower = draw(records, BANDS, names={"adjscc": "A"}).axes
    assert [axis.get_ylabel() for axis in (middle, lower)] == ["Δ to A (dB)", "lost (%)"]
    by_label = {line.get_label(): line for line in middle.get_lines()}
    assert by_label["Deep JSCC"].get_ydata() == pytest.approx([-0.3, -0.3, -0.4])
    assert by_label["Deep JSCC"].get_color() == {line.get_label(): line for line in upper.get_lines()}["Deep JSCC"].get_color()
    assert "A" not in by_label
    assert len(middle.collections) == 1, "one band"
    assert not draw(records, BANDS, interval="none").axes[1].collections
    low, high = middle.get_ylim()
    assert -2.5 < low < -2
    assert 2 < high < 2.5, "tenths of a dB can be seen"
    assert len(lower.get_lines()) == 3, "no bound"
    assert len(draw([*LEARNED, *OTHER]).axes) == 2, "nothing lost"
    assert len(draw([*LEARNED, *OTHER], over="none").axes) == 1
    assert [axis.get_ylabel() for axis in draw([*FIXED, *BOUND]).axes[1:]] == ["lost (%)"]
    ssim = [dataclasses.replace(record, metric="ssim") for record in [*LEARNED, *FIXED]]
    assert len(draw(ssim, y="ssim").axes) == 1
    assert len(draw(ssim, y="ssim", over="adjscc", lost=True).axes) == 3
    assert len(draw([*LEARNED, *OTHER], lost=True, over="none").axes) == 1


def test_lost_points_do_not_stretch_the_axis(draw) -> None:
    axis = draw([*LEARNED, *FIXED]).axes[0]
    low, high = axis.get_ylim()
    assert 23 < low < 24, "the point that lost 40 % is in, the one that lost all is not"
    assert 31 < high < 33
    (caret,) = (line for line in axis.get_lines() if line.get_linestyle() == "None")
    assert (caret.get_xdata()[0], caret.get_ydata()[0], caret.get_marker()) == (0, low, 7)
    assert draw(curve_of("bpg-ldpc", (12, 12, 12), (1, 1, 1))).axes[0].get_ylim()[0] < 12, "all are lost: as they are"


def test_variants_share_a_colour(draw) -> None:
    systems = ("jpeg-ldpc:mcs=64qam-3/4-n1944", "jpeg-ldpc", "jpeg-ldpc:mcs=16qam-3/4-n1944")
    records = [record for system in systems for record in curve_of(system, (20, 21, 22), parameters=None)]
    (axis,) = draw(records).axes
    lines = axis.get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 1
    assert [line.get_markerfacecolor() == "white" for line in lines] == [True, False, True]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 3
    assert [line.get_linestyle() for line in lines][1] == "-"
