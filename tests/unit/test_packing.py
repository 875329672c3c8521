"""Files of records: a line a record, what all share once."""

import json
from pathlib import Path

import pytest

from openjscc.bench.packing import pack, unpack
from openjscc.bench.records import GROUPS, read_records
from openjscc.errors import IntegrityError

ROWS = [
    {"system": "a", "data": "kodak", "seed": 0, "mean": 1.5, "versions": {"torch": "2"}},
    {"system": "b", "data": "kodak", "seed": 0, "mean": None, "versions": {"torch": "2"}},
]


def test_what_all_rows_share_is_written_once() -> None:
    text = pack(ROWS)
    assert json.loads(text) == {
        "common": {"data": "kodak", "seed": 0, "versions": {"torch": "2"}},
        "records": [{"system": "a", "mean": 1.5}, {"system": "b", "mean": None}],
    }
    assert text.count("\n") == len(ROWS) + 3
    assert unpack(text) == ROWS


@pytest.mark.parametrize("rows", [[], ROWS[:1], [{"a": 1}, {"a": True}], [{"a": 1}, {"a": 1.0}], [{"a": None}, {}], [{}, {}]])
def test_nothing_else_is_shared(rows: list[dict[str, object]]) -> None:
    text = pack(rows)
    assert json.loads(text)["common"] == {}
    found = unpack(text)
    assert found == rows
    assert [[type(value) for value in row.values()] for row in found] == [[type(value) for value in row.values()] for row in rows]


def test_a_plain_list_is_read() -> None:
    assert unpack(json.dumps(ROWS)) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        '{"common": {}, "records": [' * 900 + "]}" * 900,
        "[" + "9" * 5000 + "]",
        '[{"a": 1e400}]',
        '[{"a": "\\ud800"}]',
        "",
        "{}",
        "3",
        "[1]",
        '{"common": 1, "records": []}',
        '{"common": {}, "records": [1]}',
        '{"records": []}',
    ],
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text)


def test_no_figure_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack([{"mean": float("nan")}])
    with pytest.raises(ValueError, match="JSON"):
        unpack('[{"mean": NaN}]')


GROUPED = [
    {"data": "kodak", "system": "a", "size": 3, "snr": 0, "uses": 7, "metric": "psnr", "mean": 1.0},
    {"data": "kodak", "system": "a", "size": 3, "snr": 0, "uses": 7, "metric": "lpips", "mean": 2.0},
    {"data": "kodak", "system": "a", "size": 3, "snr": 5, "uses": 7, "metric": "psnr", "mean": 3.0},
    {"data": "kodak", "system": "b", "size": 4, "snr": 0, "uses": 7, "metric": "psnr", "mean": 4.0},
    {"data": "kodak", "system": "a", "size": 3, "snr": 0, "uses": 7, "metric": "psnr", "mean": 5.0},
]


def test_what_a_group_shares_is_written_once() -> None:
    text = pack(GROUPED, (("system",), ("snr",)))
    assert json.loads(text) == {
        "common": {"data": "kodak", "uses": 7},
        "records": [
            {
                "common": {"system": "a", "size": 3},
                "records": [
                    {"common": {"snr": 0}, "records": [{"metric": "psnr", "mean": 1.0}, {"metric": "lpips", "mean": 2.0}]},
                    {"snr": 5, "metric": "psnr", "mean": 3.0},
                ],
            },
            {"system": "b", "size": 4, "snr": 0, "metric": "psnr", "mean": 4.0},
            {"system": "a", "size": 3, "snr": 0, "metric": "psnr", "mean": 5.0},
        ],
    }
    assert unpack(text) == GROUPED
    assert pack(unpack(text), (("system",), ("snr",))) == text


def test_a_single_group_is_none() -> None:
    assert pack(GROUPED, (("data",), ("unknown",))) == pack(GROUPED)
    assert pack(GROUPED[:3], (("system",), ("snr",))) == pack(GROUPED[:3], (("snr",),))


def test_committed_records_are_written_so() -> None:
    results = Path(__file__).resolve().parents[2] / "results"
    records = [*results.glob("studies/*/summary.json"), results / "cliff.json", results / "adjscc.photo.json"]
    tables = list(results.glob("studies/*/gains.json"))
    assert len(records) > 10
    assert len(tables) > 5
    for files, by in ((records, GROUPS), (tables, ())):
        for path in files:
            text = path.read_text(encoding="utf-8")
            assert pack(unpack(text), by) == text, path


MEASURED = {
    "system": "a", "weight": "a", "metric": "psnr", "channel": "awgn", "snr_db": 0.0, "ratio": 0.1, "mean": 30.0, "std": 1.0,
    "ci95": 0.5, "images": 24, "trials": 1, "bandwidth_ratio": 0.1, "parameters": 5, "macs_per_pixel": 1.0,
    "data": "kodak", "seed": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"ci95": 1e308}, {"ci95": -0.1}, {"std": -1.0}, {"mean": 10**400}, {"seed": 10**400}, {"snr_db": -1e300}]
)
def test_records_of_what_nothing_measures(change: dict, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("\ufeff" + json.dumps([MEASURED]), "utf-8")  # with a byte-order mark
    assert read_records(path)[0].ci95 == 0.5
    path.write_text(json.dumps([MEASURED, MEASURED | change]))
    with pytest.raises(IntegrityError, match=f"record 1: {next(iter(change))} is") as caught:
        read_records(path)
    assert len(caught.value.message) < 500
