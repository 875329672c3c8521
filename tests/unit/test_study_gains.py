"""The gain tables of studies: closed forms, what is bounded or missing, the file between figures and page."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from openjscc.bench.cells import CellResult
from openjscc.bench.records import Record
from openjscc.errors import IntegrityError, UsageError
from openjscc.studies.comparisons import read_tables, write_tables
from openjscc.studies.gains import GainTable, check_gain, gain_table
from openjscc.studies.gains_page import gain_page
from openjscc.studies.sections import GainSection
from synthetic_cells import result

SNR = (0.0, 2.0, 4.0, 6.0, 8.0)
PICTURES = np.random.default_rng(0).normal(0, 3, 12)
"""How hard each is."""


def quality(snr: float) -> np.ndarray:
    return 30 + 6 * np.tanh(snr / 10) + PICTURES


def along_snr(system: str, values: Callable[[float], np.ndarray], snrs: Iterable[float] = SNR, **more) -> list[CellResult]:
    return [result(system, values(snr), snr_db=snr, **more) for snr in snrs]


def section(**changes: object) -> GainSection:
    return dataclasses.replace(GainSection("psnr", ("a",), "b"), **changes)


def test_a_copy_shifted_by_2_db_gains_2_db() -> None:
    results = [*along_snr("b", quality), *along_snr("a", lambda snr: quality(snr + 2), trials=3)]
    table = gain_table(section(), results)
    assert [row.at for row in table.rows] == list(SNR)
    for row in table.rows[1:]:
        assert row.gain.value == pytest.approx(2, abs=0.02)
        assert row.gain.low == pytest.approx(2, abs=0.02), "the same pictures for both: what they share makes no difference"
        assert row.gain.high == pytest.approx(2, abs=0.02)
        assert row.gain.quality == pytest.approx(np.mean(quality(row.at)))
    first = table.rows[0].gain
    assert (first.value, first.least, first.most) == (None, 0.0, None), "A was not measured where it is as bad as B at 0 dB"
    assert table.rows[0].place.channel == "awgn"
    assert table.rows[0].place.snr_db is None

    page = gain_page(table, {"a": "A*", "b": "B"})
    lines = page.splitlines()
    assert lines[0] == "### SNR for the PSNR of B"
    assert "kodak" not in page
    assert "awgn, CBR 1/16:" in lines
    assert "| system | 0 dB | 2 dB | 4 dB | 6 dB | 8 dB |" in lines
    (has,) = [line for line in lines if line.startswith("| B has |")]
    assert f" {np.mean(quality(2.0)):.2f} |" in has
    (own,) = [line for line in lines if line.startswith("| A* |")]
    assert own.startswith("| A* | > 0 | +2.00 [+")
    worse = gain_table(section(of=("b",), over="a"), results)
    assert [row.gain.most for row in worse.rows][-1] == 0.0
    assert "| < 0 |" in gain_page(worse, {})


def test_bandwidth_and_the_mean_distances() -> None:
    """A is as good as B with a third of the bandwidth less; both lose nothing to headers."""
    ratios = (1 / 48, 1 / 24, 1 / 12, 1 / 6)
    results = [result("b", 30 + 4 * np.log(ratio) + PICTURES, ratio=ratio) for ratio in ratios]
    results += [result("a", 30 + 4 * np.log(1.5 * ratio) + PICTURES, ratio=ratio) for ratio in ratios]
    table = gain_table(section(x="ratio", bd=True), results)
    assert [row.gain.value for row in table.rows[1:]] == pytest.approx([1.5] * 3)
    assert table.rows[0].gain.least == pytest.approx(1.0)
    (mean,) = table.means
    assert mean.rate == pytest.approx(100 * (1 / 1.5 - 1))
    assert mean.quality == pytest.approx(4 * math.log(1.5))
    page = gain_page(table, {})
    assert "| a | > 1.00 | 1.50 [1.50, 1.50] |" in page
    assert "| a | -33.3 | +1.62 |" in page
    assert "| system | CBR 1/48 |" in page
    assert "\n\nawgn, SNR 0 dB:\n\n" in page
    chosen = result("a", 30 + PICTURES, ratio=None, bandwidth_ratio=1 / 9)
    assert gain_table(section(x="ratio", bd=True), [*results, chosen]) == table, "no point of a curve of ratios"

    fewer = [cell for cell in results if cell.cell.system == "b" or (cell.cell.ratio or 0) > 1 / 40]
    table = gain_table(section(x="ratio", bd=True), fewer)
    assert table.means[0].rate is table.means[0].quality is None
    assert "a, BD: a curve of 3 points." in gain_page(table, {})
    sent = [result("b", 30 + 4 * np.log(r) + PICTURES, ratio=r, bandwidth_ratio=2 * r) for r in ratios] + results[4:]
    assert gain_table(section(x="bandwidth_ratio"), sent).rows[1].gain.value == pytest.approx(3.0)


def test_where_lower_is_better() -> None:
    lower: dict = {"metric": "lpips"}
    results = [*along_snr("b", lambda snr: -quality(snr), **lower), *along_snr("a", lambda snr: -quality(snr + 2), **lower)]
    rows = gain_table(section(metric="lpips"), results).rows
    assert rows[2].gain.value == pytest.approx(2, abs=0.02)
    assert rows[2].gain.quality == pytest.approx(np.mean(-quality(4.0)))


def test_conditions_are_never_mixed() -> None:
    def shifted(db: float) -> Callable[[float], np.ndarray]:
        return lambda snr: quality(snr + db)

    results = []
    for channel, told, gain in (("awgn", None, 2), ("awgn", 10.0, 3), ("rayleigh:block", None, 4)):
        results += along_snr("b", quality, channel=channel, told_snr_db=told)
        results += along_snr("a", shifted(gain), channel=channel, told_snr_db=told)
    results += along_snr("a", shifted(9), channel="rician:4")  # without the other one
    table = gain_table(section(), results)
    assert len({row.place for row in table.rows}) == 3
    assert [table.rows[n].gain.value for n in (4, 9, 14)] == pytest.approx([2, 3, 4], abs=0.05)
    page = gain_page(table, {})
    for place in ("awgn, CBR 1/16, SNR known:", "awgn, CBR 1/16, SNR taken for 10 dB:", "rayleigh:block, CBR 1/16, SNR known:"):
        assert place in page
    one = gain_table(section(where="channel=rayleigh:block"), results)
    assert {row.place.channel for row in one.rows} == {"rayleigh:block"}


def test_lost_failed_and_infinite_points() -> None:
    results = along_snr("a", lambda snr: quality(snr + 2))
    results += [result("b", np.full(12, 12.0), snr_db=0.0, lost=1.0), result("b", quality(2), snr_db=2.0, lost=0.25)]
    results += [result("b", quality(4), snr_db=4.0), result("b", np.full(12, np.inf), snr_db=6.0)]
    broken = result("b", quality(8), snr_db=8.0)
    record = dataclasses.replace(broken.records[0], mean=None, images=0, trials=0, error="out of luck")
    results.append(CellResult(broken.cell, (record,), None))
    rows = gain_table(section(), results).rows
    assert [row.at for row in rows] == [0, 2, 4, 6]
    assert [row.gain.value is None for row in rows] == [True, False, False, True]
    page = gain_page(gain_table(section(), results), {})
    assert "| b has | all lost |" in page
    assert "(25 % lost) |" in page
    assert "a, 0 dB: the other system loses every picture there." in page
    assert "a, 6 dB: the other system has no finite value there." in page
    gone = [CellResult(cell.cell, (dataclasses.replace(cell.records[0], error="x"),), None) for cell in along_snr("b", quality)]
    table = gain_table(section(), [*results[:5], *gone])
    assert table.rows == ()
    assert "No figure" in gain_page(table, {})
    single = [*along_snr("b", lambda snr: quality(snr)[:1]), *along_snr("a", lambda snr: quality(snr + 2)[:1])]
    page = gain_page(gain_table(section(), single), {})
    assert "| a | > 0 | +2.00 | " in page
    assert "no interval: fewer than 6 pictures" in page


def test_the_file(tmp_path: Path) -> None:
    ratios = (1 / 48, 1 / 24, 1 / 12, 1 / 6)
    results = [result(name, 30 + 4 * np.log(r) + PICTURES, ratio=r, told_snr_db=5.0) for name in "ab" for r in ratios]
    tables = [
        gain_table(section(), [*along_snr("b", quality), *along_snr("a", lambda snr: quality(snr + 2))]),
        gain_table(section(x="ratio", bd=True, where="told_snr_db=5"), results),
    ]
    path = tmp_path / "gains.json"
    write_tables(path, tables)
    again = read_tables(path, GainTable)
    assert again == tables
    assert [gain_page(table, {}) for table in again] == [gain_page(table, {}) for table in tables]
    first = path.read_bytes()
    write_tables(path, again)
    assert path.read_bytes() == first
    content = json.loads(first)
    for damaged in (b"{", b"{}", b"[1]", json.dumps([{**content[0], "more": 1}]).encode()):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"gains\.json"):
            read_tables(path, GainTable)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "fid"}, "fid"),
        ({"metric": "psnrr"}, "psnrr"),
        ({"x": "trials"}, "trials"),
        ({"of": ()}, "over 'b'"),
        ({"of": ("a", "b")}, "over 'b'"),
        ({"of": ("a", "a")}, "over 'b'"),
        ({"bd": True}, "bd with x"),
        ({"where": "colour=red"}, "colour"),
    ],
)
def test_what_is_wrong_with_a_section(changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        section(**changes)


def test_what_cannot_be_compared_is_said_before_the_work() -> None:
    def records(cells: Iterable[CellResult]) -> list[Record]:
        return [record for cell in cells for record in cell.records]

    both = records([*along_snr("b", quality), *along_snr("a", quality)])
    check_gain(section(), both)
    for wrong, words in (
        (section(of=("c",)), "system 'c'"),
        (section(over="c"), "system 'c'"),
        (section(where="channel=rician:4"), "channel=rician:4"),
        (section(x="ratio"), "1 points"),
        (section(x="ratio", bd=True), "1 points"),
    ):
        with pytest.raises(UsageError, match=words):
            check_gain(wrong, both)
    with pytest.raises(UsageError, match="no common conditions"):
        check_gain(section(), records([*along_snr("b", quality, ratio=1 / 6), *along_snr("a", quality)]))
    with pytest.raises(UsageError, match="several values of psnr at snr_db=0"):
        check_gain(section(), [*both, *records(along_snr("a", quality, trials=3))])
    check_gain(section(where="trials=1"), [*both, *records(along_snr("a", quality, trials=3))])
