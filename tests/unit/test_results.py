"""The committed records and the released weights belong together."""

import itertools
import os
from pathlib import Path

import pytest

from openjscc.bench import Sweep, evaluate
from openjscc.bench.records import Record, read_records
from openjscc.data.datasets import open_dataset
from openjscc.models import WeightInfo, list_models, load
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = [info for info in list_models() if Path(info.path).parent.name == "weights"]
BUDGET_BYTES = {"adjscc.cifar10": 2 * 2**20, "adjscc.photo": 3.75 * 2**20, "deepjscc.photo": 2.25 * 2**20}


def records_of(name: str) -> list[Record]:
    return read_records(ROOT / "results" / f"{name}.json")


def test_the_weights_are_there() -> None:
    assert set(BUDGET_BYTES) <= {info.name for info in PACKAGED}


@pytest.mark.parametrize("info", PACKAGED, ids=lambda info: info.name)
def test_a_weight_has_a_card_and_records(info: WeightInfo) -> None:
    card = (ROOT / "cards" / f"{info.name}.md").read_text()
    assert f"{info.parameters:,}" in card
    assert info.training["terms"] in card
    assert all(line in card for line in info.training["compute"])
    for fact in info.reference:
        (record,) = [
            record
            for record in records_of(info.name)
            if record.metric == fact["metric"] and record.snr_db == fact["snr_db"] and format_ratio(record.ratio) == fact["ratio"]
        ]
        assert record.mean == pytest.approx(fact["mean"], abs=1e-4)
        assert record.weight == info.name


@pytest.mark.parametrize("info", PACKAGED, ids=lambda info: info.name)
def test_weights_keep_their_budget(info: WeightInfo) -> None:
    assert info.file_bytes <= BUDGET_BYTES[info.name]


@pytest.mark.parametrize("info", PACKAGED, ids=lambda info: info.name)
def test_psnr_rises_with_snr_and_with_ratio(info: WeightInfo) -> None:
    psnr = {(record.ratio, record.snr_db): record.mean or 0.0 for record in records_of(info.name) if record.metric == "psnr"}
    ratios, snrs = sorted({key[0] for key in psnr}), sorted({key[1] for key in psnr})
    assert len(ratios) == len(info.ratios)
    for ratio in ratios:
        assert all(psnr[ratio, low] < psnr[ratio, high] for low, high in itertools.pairwise(snrs))
    for snr in snrs:
        assert all(psnr[low, snr] < psnr[high, snr] for low, high in itertools.pairwise(ratios))


@pytest.mark.slow
@pytest.mark.skipif("OPENJSCC_DATA" not in os.environ, reason="needs Kodak: set OPENJSCC_DATA")
@pytest.mark.parametrize("name", [info.name for info in PACKAGED if info.tag == "photo"])
def test_the_record_comes_out_again(name: str) -> None:
    (record,) = [r for r in records_of(name) if r.metric == "psnr" and r.snr_db == 10.0 and format_ratio(r.ratio) == "1/16"]
    (again,) = evaluate(load(name), open_dataset("kodak"), Sweep(ratios=(1 / 16,), metrics=("psnr",)))
    assert again.mean == pytest.approx(record.mean, abs=0.01)
    assert again.bandwidth_ratio == pytest.approx(record.bandwidth_ratio)
