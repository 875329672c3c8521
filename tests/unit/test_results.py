"""The committed records and the released weights belong together."""

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from openjscc.bench import Sweep, evaluate
from openjscc.bench.records import ACCOUNT, Record, read_records
from openjscc.data.datasets import open_dataset
from openjscc.models import WeightInfo, list_models, load
from openjscc.models._weights import _first_header_uses
from openjscc.units import format_ratio

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = [info for info in list_models() if Path(info.path).parent.name == "weights"]
BUDGET_BYTES = {
    "adjscc.cifar10": 2 * 2**20,
    "adjscc.photo": 6 * 2**20,
    "arjscc.cifar10": 0.8 * 2**20,
    "deepjscc.photo": 2.25 * 2**20,
    "deeplab_jscc.photo": 2.5 * 2**20,
    "ganjscc.photo": 9 * 2**20,
    "hybrid.photo": 2 * 2**20,
    "mtgsc.photo": 6 * 2**20,
    "spjscc.cifar10": 0.8 * 2**20,
    "spjscc.distilled": 0.8 * 2**20,
    "witt.photo": 3.4 * 2**20,
}


def records_of(name: str) -> list[Record]:
    return read_records(ROOT / "results" / f"{name}.csv")


def test_the_weights_are_there() -> None:
    assert {info.name for info in PACKAGED} == set(BUDGET_BYTES), "a weight is missing, or has no budget"


@pytest.mark.parametrize("info", PACKAGED, ids=lambda info: info.name)
def test_a_weight_has_a_card_and_records(info: WeightInfo) -> None:
    assert (ROOT / "cards" / f"{info.name}.md").exists()
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
    measured = read_records(ROOT / "results" / "studies" / "perceptual-snr")
    for name in ("deepjscc.photo", "adjscc.photo", "ganjscc.photo"):
        record = next(record for record in measured if record.weight == name)
        assert f"| `{name}` | {record.parameters:,} | {record.macs_per_pixel:,.0f} |" in page


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


CLIFF = read_records(ROOT / "results" / "cliff.csv")


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
    """Every system at the same points, and what no system can do: neither choice nor scheme beats the bound of its class."""
    systems = {name: cliff(name) for name in sorted({record.system for record in CLIFF})}
    fixed, adapted, bound, learned = (
        systems[name] for name in ("bpg-ldpc:mcs=16qam-3/4-n1944", "bpg-ldpc", "bpg-capacity", "adjscc.photo")
    )
    assert len({record.ratio for record in CLIFF}) == 2
    assert len({snr for _, snr in learned}) >= 12
    for name, points in systems.items():
        assert set(points) == {(ratio, snr) for ratio, _ in learned for _, snr in learned}, name
        assert {record.images for record in points.values()} == {24}, name
        assert {record.bound for record in points.values()} == {"capacity" in name}, name
    for place, record in fixed.items():
        assert record.outage_rate in (0, 1), "over AWGN all images of the fixed scheme meet the same SNR: all or nothing"
        assert bound[place].mean > max(record.mean, adapted[place].mean)
    for ratio in {ratio for ratio, _ in fixed}:
        lost = [fixed[place].outage_rate for place in sorted(fixed) if place[0] == ratio]
        assert lost == sorted(lost, reverse=True), "never lost above an SNR at which it arrives"


def test_only_what_does_not_use_the_snr_is_drawn_where_the_snr_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import cliff_figures

    drawn = cliff_figures.cliff_records([record for record in CLIFF if record.told_snr_db is None or "ldpc" in record.system])
    misled = {record.system for record in drawn if record.told_snr_db == 10}
    assert {"bpg-ldpc", cliff_figures.FIXED, "bpg-capacity"} <= misled
    assert not misled & {"hybrid.photo", "adjscc.photo"}


def test_a_page_and_its_figures_are_those_of_the_records(tmp_path: Path) -> None:
    """`make results` does so for all."""
    pytest.importorskip("matplotlib")
    from openjscc.studies.page import draw_study
    from openjscc.studies.spec import load_study

    for name in ("perceptual-snr", "sp-jscc-snr"):
        kept, folder = ROOT / "results" / "studies" / name, tmp_path / name
        shutil.copytree(kept, folder)
        written = draw_study(folder, load_study(name))
        assert len(written) > 3
        for path in written:
            assert path.read_bytes() == (kept / path.name).read_bytes(), "run make results"


def test_a_digital_link_that_believes_in_too_much_is_no_better_for_it() -> None:
    """Its scheme is the one for 10 dB. Below, nothing but noise can be better or worse; above, it is what it is at 10 dB."""
    for name in {record.system for record in CLIFF if record.told_snr_db == 10 and "ldpc" in record.system}:
        known, misled = cliff(name), cliff(name, told=10.0)
        assert set(misled) == set(known)
        for (ratio, snr), record in misled.items():
            assert record.told_snr_db == 10
            if snr == 10:
                assert record.mean == pytest.approx(known[ratio, snr].mean), name
            for other in (other for _, other in misled if other > snr):
                assert misled[ratio, other].outage_rate <= record.outage_rate, (name, ratio, snr, other)


# The published points that results/README.md compares: rows of its table, by the system of the record that is beside them.
ENVELOPE = {"BPG+capacity": "bpg-capacity", "BPG+LDPC, envelope": "bpg-ldpc"}


def test_the_page_of_results_has_the_figures_beside_published_ones() -> None:
    text = (ROOT / "results" / "README.md").read_text("utf-8")
    section = text.split("### Against published digital curves")[1].split("### ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| BPG")]
    assert len(rows) > 5
    for system, snr, _, ours in rows:
        for figure, at in re.findall(r"([\d.]+)(?: \(([-\d]+) dB\))?", ours):
            record = cliff(ENVELOPE[system])[1 / 16, float(at or snr.removesuffix(" dB"))]
            assert figure == f"{record.mean:.2f}", (system, snr)
