"""The committed records and the released weights belong together."""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import pytest
import torch

from openjscc.bench import Sweep, evaluate
from openjscc.bench.records import ACCOUNT, Record, read_records
from openjscc.data.datasets import open_dataset
from openjscc.models import WeightInfo, create, list_models, load
from openjscc.models._weights import _first_header_uses
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = [info for info in list_models() if Path(info.path).parent.name == "weights"]
BUDGET_BYTES = {
    "adjscc.cifar10": 2 * 2**20,
    "adjscc.photo": 3.75 * 2**20,
    "arjscc.cifar10": 0.8 * 2**20,
    "deepjscc.photo": 2.25 * 2**20,
    "deeplab_jscc.photo": 2.5 * 2**20,
    "ganjscc.photo": 9 * 2**20,
    "mtgsc.photo": 6 * 2**20,
    "spjscc.cifar10": 0.8 * 2**20,
    "spjscc.distilled": 0.8 * 2**20,
    "witt.photo": 3.4 * 2**20,
}


def records_of(name: str) -> list[Record]:
    return read_records(ROOT / "results" / f"{name}.json")


def test_the_page_of_semantic_losses_shows_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import semantics

    assert semantics.stale({name: semantics.records(name) for name in semantics.EXPERIMENTS}) == []
    rows = [{"row": row, "training_seed": 0, "ratio": 0.1, "metric": metric, "task_network": network, "mean": mean}
             for row, mean in ((semantics.semantics_figures.PLAIN, 0.5), ("MSE + 0.002 KL", 0.6))
             for metric, network in (("accuracy", "a"), ("psnr", None), ("ssim", None))]  # fmt: skip
    other = {"cifar10": rows, "voc": [row | {"metric": "miou"} if row["task_network"] else row for row in rows]}
    assert semantics.PAGE in semantics.stale(other)
    assert semantics.filled(semantics.PAGE.read_text(), other).count("| 1/10 | MSE + 0.002 KL | 60.00 |") == 2


def test_the_weights_are_there() -> None:
    assert {info.name for info in PACKAGED} == set(BUDGET_BYTES), "a weight is missing, or has no budget"


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


def test_the_perceptual_page_says_how_large_the_systems_are() -> None:
    page = (ROOT / "docs" / "papers" / "perceptual-jscc.md").read_text()
    for arch in ("deepjscc", "adjscc", "ganjscc"):
        codec = create(arch, "photo")
        parameters = sum(parameter.numel() for parameter in codec.parameters())
        assert f"| `{arch}.photo` | {parameters:,} | {codec.macs_per_pixel():,.0f} |" in page


@pytest.mark.parametrize("info", PACKAGED, ids=lambda info: info.name)
def test_weights_keep_their_budget(info: WeightInfo) -> None:
    assert info.file_bytes <= BUDGET_BYTES[info.name]


@pytest.mark.parametrize("info", [info for info in PACKAGED if info.self_test["psnr_db"]], ids=lambda info: info.name)
def test_psnr_rises_with_snr_and_with_ratio(info: WeightInfo) -> None:
    psnr = {
        (record.ratio, record.snr_db): record.mean or 0.0
        for record in records_of(info.name)
        if record.metric == "psnr" and record.ratio is not None
    }
    ratios, snrs = sorted({key[0] for key in psnr}), sorted({key[1] for key in psnr})
    assert len(ratios) == len(info.ratios)
    for ratio in ratios:
        assert all(psnr[ratio, low] < psnr[ratio, high] for low, high in itertools.pairwise(snrs))
    for snr in snrs:
        assert all(psnr[low, snr] < psnr[high, snr] for low, high in itertools.pairwise(ratios))


@pytest.mark.slow
@pytest.mark.skipif("OPENJSCC_DATA" not in os.environ, reason="needs Kodak: set OPENJSCC_DATA")
@pytest.mark.parametrize("name", [info.name for info in PACKAGED if info.tag == "photo" and info.self_test["psnr_db"]])
def test_the_record_comes_out_again(name: str) -> None:
    codec = load(name)
    ratio = 1 / 16 if 1 / 16 in codec.ratios else codec.default_ratio
    (record,) = [r for r in records_of(name) if r.metric == "psnr" and r.snr_db == 10.0 and r.ratio == pytest.approx(ratio)]
    (again,) = evaluate(codec, open_dataset("kodak"), Sweep(ratios=(ratio,), metrics=("psnr",)))
    assert again.mean == pytest.approx(record.mean, abs=0.01)
    # Records of the first account had another header in front of the same payload, and other draws of the noise.
    values = 3 * 512 * 768
    heads = codec.header.uses(512, 768, 10.0) - _first_header_uses(codec, torch.zeros(1, 3, 512, 768))
    more = heads / values if record.account < ACCOUNT else 0.0
    assert again.bandwidth_ratio == pytest.approx(record.bandwidth_ratio + more)


CLIFF = read_records(ROOT / "results" / "cliff.json")


def cliff(system: str, channel: str = "awgn", told: float | None = None) -> dict[tuple[float, float], Record]:
    """Kodak PSNR by (ratio, SNR)."""
    chosen = [r for r in CLIFF if (r.system, r.channel, r.told_snr_db, r.metric) == (system, channel, told, "psnr")]
    return {(record.ratio, record.snr_db): record for record in chosen}


def test_bpg_is_as_good_as_the_published_one() -> None:

    from openjscc.bench.bjontegaard import bd_rate

    record = json.loads((ROOT / "results" / "bpg-kodak.json").read_text())
    published = json.loads((ROOT / "results" / "published" / "bpg_444_x265_ycbcr.json").read_text())
    ours = [[point[name] for point in sorted(record["points"], key=lambda point: point["bpp"])] for name in ("bpp", "psnr")]
    difference = bd_rate(published["bpp"], published["psnr"], *ours)
    assert abs(difference) < 3
    assert difference == pytest.approx(record["bd_rate_percent"], abs=0.01)
    assert "veryslow" in record["system"]


def test_the_cliff_is_in_the_records() -> None:
    fixed, envelope, bound, learned = (
        cliff(name) for name in ("bpg-ldpc:mcs=16qam-3/4-n1944", "bpg-ldpc", "bpg-capacity", "adjscc.photo")
    )
    assert len(fixed) == len(envelope) == len(bound) == len(learned) == 2 * 12
    for (ratio, snr), record in fixed.items():
        assert record.outage_rate == (1 if snr <= 10 else 0), "the fixed scheme is all or nothing"
        assert envelope[ratio, snr].mean >= record.mean - 0.01
        assert bound[ratio, snr].mean > envelope[ratio, snr].mean
        assert bound[ratio, snr].bound
        assert learned[ratio, snr].outage_rate == 0
        assert learned[ratio, snr].images == 24


def test_figures_show_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import cliff_figures

    assert cliff_figures.stale(ROOT / "results") == []
    other = [dataclasses.replace(record, mean=12.0) if record.snr_db == 0 else record for record in CLIFF]
    monkeypatch.setattr(cliff_figures, "read_records", lambda path: other)
    assert cliff_figures.stale(ROOT / "results") == ["cliff.svg", "cliff-photo.svg"]


def test_drawing_again_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import cliff_figures

    for name in ("first", "second"):
        cliff_figures.draw_bler(ROOT / "results" / "published" / "bler.json", tmp_path / f"{name}.svg")
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
    assert b"dc:date" not in (tmp_path / "first.svg").read_bytes()


def test_pages_of_studies_show_their_records() -> None:
    from openjscc.bench.study import load_study
    from openjscc.bench.study_page import stale_parts

    for summary in (ROOT / "results").glob("studies/*/summary.json"):
        name = summary.parent.name
        assert stale_parts(summary.parent, load_study(name), read_records(summary), f"{name}.md") == [], name


def test_a_wrong_snr_costs_the_envelope_more_than_the_learned_codec() -> None:
    for (ratio, snr), record in cliff("bpg-ldpc", told=10.0).items():
        if snr < 8:
            assert record.outage_rate == 1
            learned = cliff("adjscc.photo", told=10.0)[ratio, snr]
            assert learned.mean > record.mean + 3
