"""What one system for two tasks costs: the committed counts are those of the configurations, and of the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openjscc.models import create

ROOT = Path(__file__).resolve().parents[2]


def test_the_counts_are_in_the_records_and_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import multitask

    committed = json.loads((ROOT / "results" / "multitask-cost.json").read_text())
    fresh = multitask.cost()
    assert fresh == committed
    picture, segmentation, both = fresh[:3]
    codec = create("mtgsc", "photo")
    assert both["parameters"] == sum(parameter.numel() for parameter in codec.parameters())
    assert picture["parameters"] + segmentation["parameters"] > both["parameters"]
    assert picture["transmitter"] + picture["receiver"] == picture["parameters"]
    assert segmentation["channel_uses"]["224x224"] == 6 * 28 * 28 + 124
    twice = committed[5]
    assert twice["parameters"] == picture["parameters"] + segmentation["parameters"]
    assert twice["bytes"] == 2 * twice["parameters"]
    page = (ROOT / "docs" / "models" / "mtgsc.md").read_text()
    for record in committed:
        if record["system"] != "FCN, after any link" and (record["system"] == "MTGSC" or record["task"] == "both"):
            assert f"| {record['transmitter']:,} | {record['receiver']:,} | {record['parameters']:,} |" in page, record
    assert f"| {committed[0]['parameters']:,} |" in multitask.table(committed)


def test_the_pictures_that_nothing_was_chosen_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first twelve of a hundred are left out; cells of fewer pictures, or of fewer systems, are refused."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import multitask

    (tmp_path / "cells").mkdir()

    def put(system: str, first: float, others: float, pictures: int = 100) -> None:
        values = [[first]] * 12 + [[others + 0.01 * (number % 2)] for number in range(pictures - 12)]
        record = {"metric": "psnr", "channel": "awgn", "system": system, "snr_db": 3.0, "ratio": 1 / 16, "error": None}
        cell = {"records": [record], "pictures": {"ids": multitask.DIV2K[:pictures], "values": {"psnr": values}}}
        (tmp_path / "cells" / f"{system}.json").write_text(json.dumps(cell))

    put("mtgsc", 20.0, 30.5)
    for system in ("adjscc", "witt"):
        put(system, 99.0, 30.0)
    with pytest.raises(SystemExit, match="cells are missing"):
        multitask.unseen(tmp_path)
    put("deepjscc", 99.0, 30.0)
    found = multitask.unseen(tmp_path)
    assert [(one["over"], one["pictures"], round(one["value"], 6)) for one in found] == [
        ("adjscc", 88, 0.5),
        ("witt", 88, 0.5),
        ("deepjscc", 88, 0.5),
    ]
    assert "| WITT | +0.50 [+0.50, +0.50] |" in multitask.unseen_words(found)
    put("deepjscc", 99.0, 30.0, pictures=50)
    with pytest.raises(SystemExit, match="not of all DIV2K's validation pictures"):
        multitask.unseen(tmp_path)
