"""The difference tables of studies: pairs at one point, in words, and what is refused before the work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from openjscc.bench.cells import CellResult
from openjscc.bench.differences import difference
from openjscc.bench.records import Record
from openjscc.errors import UsageError
from openjscc.studies.comparisons import read_tables, write_tables
from openjscc.studies.differences import DifferenceTable, check_difference, difference_table
from openjscc.studies.differences_page import difference_page
from openjscc.studies.sections import DifferenceSection
from synthetic_cells import result

RNG = np.random.default_rng(0)
HARD = RNG.normal(30, 4, (12, 2))
"""PSNR of pictures and trials."""
BETTER = HARD + 1.5 + RNG.normal(0, 0.1, (12, 2))


def section(**changes: object) -> DifferenceSection:
    return dataclasses.replace(DifferenceSection("psnr", ("a",), "b"), **changes)


def records(cells: Iterable[CellResult]) -> list[Record]:
    return [record for cell in cells for record in cell.records]


def test_the_pairs_of_each_point() -> None:
    results = [result("b", HARD + snr, snr_db=snr) for snr in (0.0, 5.0, 10.0)]
    results += [result("a", BETTER + snr, snr_db=snr) for snr in (10.0, 0.0)]
    table = difference_table(section(), results)
    assert [row.at for row in table.rows] == [0, 10]
    found = difference(BETTER, HARD)
    for row in table.rows:
        assert row.difference is not None
        assert dataclasses.astuple(row.difference) == pytest.approx(dataclasses.astuple(found))
        assert row.mean == pytest.approx(HARD.mean() + (row.at or 0))
    text = f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    page = difference_page(table, {"a": "A*", "b": "B"}).splitlines()
    assert page[0] == "### PSNR ↑ (dB) above B"
    assert page[2] == "PSNR of a system less that of B; higher is better."
    assert "awgn, CBR 1/16:" in page
    assert "| system | 0 dB | 10 dB |" in page
    assert f"| B has | {HARD.mean():.2f} | {HARD.mean() + 10:.2f} |" in page
    assert f"| A* | {text} | {text} |" in page
    assert difference_page(dataclasses.replace(table, section=section(title="Mine")), {}).startswith("### Mine\n")


def test_accuracy_in_points_by_each_network() -> None:
    """20 and 12 of 40 pictures are right, 10 and 2 by the one system alone; the second network finds no difference."""
    a, b = np.zeros((40, 1)), np.zeros((40, 1))
    a[:20], b[10:22] = 1, 1
    results = []
    for network, of_a, of_b in (("first", a, b), ("second", a, a)):
        results += [result("b", of_b, metric="accuracy", network=network), result("a", of_a, metric="accuracy", network=network)]
    table = difference_table(section(metric="accuracy"), results)
    assert [row.place.task_network for row in table.rows] == ["first", "second"]
    found = difference(a, b, share=True)
    assert table.rows[0].difference == found
    assert found.low is not None
    assert found.high is not None
    page = difference_page(table, {})
    assert "\nAccuracy of a system less that of b, in points (1 point: 1 % of the pictures); higher is better.\n" in page
    assert "awgn, CBR 1/16, task network first:" in page
    assert f"| a | +20.0 [{100 * found.low:+.1f}, {100 * found.high:+.1f}] |" in page
    assert "| b has | 30.0 % |" in page
    assert "| a | 0 [-" in page
    one = difference_table(section(metric="accuracy", where="task_network=second"), results)
    assert [row.place.task_network for row in one.rows] == ["second"]


def test_along_ratios_and_where_systems_choose_them() -> None:
    """Cells of the ratio ``auto`` are compared with one another alone."""
    results = []
    for number, ratio in enumerate((None, 1 / 12, 1 / 6)):
        results += [result("b", HARD + number, ratio=ratio, bandwidth_ratio=0.1), result("a", HARD + 2 * number, ratio=ratio)]
    table = difference_table(section(x="ratio"), results)
    assert [row.at for row in table.rows] == [None, 1 / 12, 1 / 6]
    assert [row.difference.value for row in table.rows if row.difference] == pytest.approx([0, 1, 2])
    page = difference_page(table, {})
    assert "| system | CBR auto | CBR 1/12 | CBR 1/6 |" in page
    assert "\n\nawgn, SNR 0 dB:\n\n" in page
    assert "| a | 0 [0, 0] | +1.00 [+1.00, +1.00] |" in page
    apart = difference_page(difference_table(section(), results), {})
    for place in ("awgn, CBR chosen for each picture:", "awgn, CBR 1/12:", "awgn, CBR 1/6:"):
        assert place in apart


def test_systems_at_their_own_ratios() -> None:
    """Asked for, cells of different ratios are compared; never two cells of one system at one point."""
    results = [result("b", HARD, ratio=1 / 30), result("a", BETTER, ratio=1 / 32)]
    with pytest.raises(UsageError, match="no common point"):
        check_difference(section(), records(results))
    own = section(any_ratio=True)
    check_difference(own, records(results))
    table = difference_table(own, results)
    (row,) = table.rows
    assert (row.place.ratio, row.difference) == (None, difference(BETTER, HARD))
    page = difference_page(table, {})
    assert "higher is better; each system at its own bandwidth ratio.\n\nawgn:\n" in page
    assert f"| b has (CBR 1/30) | {HARD.mean():.2f} |" in page
    assert "| a (CBR 1/32) | +" in page
    with pytest.raises(UsageError, match="several values"):
        check_difference(own, records([*results, result("a", BETTER, ratio=1 / 16)]))


def test_lost_failed_and_infinite_points(tmp_path: Path) -> None:
    results = [result("b", np.full((12, 2), 12.0), snr_db=0.0, lost=1.0), result("b", HARD, snr_db=5.0, lost=0.25)]
    results += [result("b", np.full((12, 2), np.inf), snr_db=10.0), result("b", HARD, snr_db=15.0)]
    results += [result("a", BETTER, snr_db=snr) for snr in (0.0, 5.0, 10.0)]
    broken = result("a", BETTER, snr_db=15.0)
    failed = dataclasses.replace(broken.records[0], mean=None, images=0, trials=0, error="out of luck")
    results.append(CellResult(broken.cell, (failed,), None))
    table = difference_table(section(), results)
    assert [row.at for row in table.rows] == [0, 5, 10]
    page = difference_page(table, {})
    assert f"| b has | all lost | {HARD.mean():.2f} (25 % lost) | – |" in page
    assert "a: values that are not finite." in page
    path = tmp_path / "differences.json"
    write_tables(path, [table])
    (again,) = read_tables(path, DifferenceTable)
    assert again == table
    assert difference_page(again, {}) == page
    gone = [CellResult(cell.cell, (dataclasses.replace(cell.records[0], error="x"),), None) for cell in results[:4]]
    assert "No figure" in difference_page(difference_table(section(), [*gone, *results[4:]]), {})
    single = difference_table(section(), [result("a", [31.0]), result("b", [30.0])])
    assert "| a | +1.00 |" in difference_page(single, {})
    assert "No 95 % interval: there are fewer than 6 images." in difference_page(single, {})


def test_where_lower_is_better() -> None:
    table = difference_table(section(metric="lpips"), [result(name, HARD / 100, metric="lpips") for name in "ab"])
    assert "less that of b; lower is better." in difference_page(table, {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "f1"}, "f1"),
        ({"metric": "acuracy"}, "acuracy"),
        ({"x": "bandwidth_ratio"}, "bandwidth_ratio"),
        ({"x": "ratio", "any_ratio": True}, "any_ratio"),
        ({"of": ()}, "over 'b'"),
        ({"of": ("a", "b")}, "over 'b'"),
        ({"where": "colour=red"}, "colour"),
    ],
)
def test_what_is_wrong_with_a_section(changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        section(**changes)


def test_what_cannot_be_compared_is_said_before_the_work() -> None:
    both = records([result("b", HARD), result("a", HARD)])
    check_difference(section(), both)
    for wrong, words in (
        (section(of=("c",)), "system 'c'"),
        (section(over="c"), "system 'c'"),
        (section(metric="ssim"), "system 'b'"),
        (section(where="snr_db=3"), "snr_db=3"),
    ):
        with pytest.raises(UsageError, match=words):
            check_difference(wrong, both)
    with pytest.raises(UsageError, match="no common point"):
        check_difference(section(), records([result("b", HARD, snr_db=5.0), result("a", HARD)]))
    with pytest.raises(UsageError, match="3 and 2 trials at snr_db=0"):
        check_difference(section(), records([result("b", HARD), result("a", HARD[:, 0], trials=3)]))
    with pytest.raises(UsageError, match="several values of psnr at snr_db=0"):
        check_difference(section(), [*both, *records([result("a", HARD[:, 0], trials=3)])])
    check_difference(section(where="trials=2"), [*both, *records([result("a", HARD[:, 0], trials=3)])])
