"""What one system for two tasks costs: the committed counts are those of the configurations, and of the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openjscc.models import create

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_shows_the_studies_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import multitask

    text = multitask.PAGE.read_text("utf-8")
    assert multitask.filled(text) == text, "run python scripts/multitask.py page"
    assert not multitask.multitask_figures.stale(multitask.LOGS, multitask.CURVES), "run python scripts/multitask.py page"


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
    assert segmentation["channel_uses"]["224x224"] == 4748
    twice = committed[5]
    assert twice["parameters"] == picture["parameters"] + segmentation["parameters"]
    assert twice["bytes"] == 2 * twice["parameters"]
    page = (ROOT / "docs" / "models" / "mtgsc.md").read_text()
    for record in committed:
        if record["system"] != "FCN, after any link" and (record["system"] == "MTGSC" or record["task"] == "both"):
            assert f"| {record['transmitter']:,} | {record['receiver']:,} | {record['parameters']:,} |" in page, record
    assert f"| {committed[0]['parameters']:,} |" in multitask.table(committed)
