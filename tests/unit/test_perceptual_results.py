"""What the page about perceptual JSCC says of the released weight, against the records of its studies."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from openjscc.bench.gains import Gain
from openjscc.models import read_info

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
PAGE = ROOT / "docs" / "papers" / "perceptual-jscc.md"
pytestmark = pytest.mark.skipif(not STUDIES.is_dir(), reason="needs the source tree")


@pytest.fixture
def headline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import perceptual_headline

    return perceptual_headline


def means(study: str, ratio: float = 1 / 48) -> dict[tuple[str, str, float], float]:
    records = json.loads((STUDIES / study / "summary.json").read_text())
    return {(one["system"], one["metric"], one["snr_db"]): one["mean"] for one in records if abs(one["ratio"] / ratio - 1) < 1e-3}


@pytest.mark.parametrize("metric", ["lpips", "lpips_vgg", "dists"])
@pytest.mark.parametrize("snr_db", [1.0, 4.0, 7.0, 10.0, 13.0])
def test_it_is_ahead_at_the_least_bandwidth(metric: str, snr_db: float) -> None:
    found = means("perceptual-snr")
    assert found["ganjscc", metric, snr_db] < min(found[system, metric, snr_db] for system in ("deepjscc", "bpg-ldpc"))


def test_its_structure_is_that_of_deep_jscc() -> None:
    found = means("perceptual-snr")
    lost = [found["deepjscc", "ms_ssim", snr_db] - found["ganjscc", "ms_ssim", snr_db] for snr_db in (1.0, 4.0, 7.0, 10.0, 13.0)]
    assert max(lost) == pytest.approx(0.005, abs=5e-4)
    assert min(lost) == pytest.approx(-0.022, abs=5e-4)


def test_the_page_has_the_factors(headline: ModuleType) -> None:
    lines = headline.headline(STUDIES).splitlines()
    kodak = [line.split(" | ") for line in lines if line.startswith("| Kodak | DISTS")]
    assert len(kodak) == 1
    assert kodak[0][2] in PAGE.read_text("utf-8").split("## Our goals")[1], "the goal of twice the bandwidth"


def test_a_factor_is_turned_round(headline: ModuleType) -> None:
    def gain(**more: float | None) -> Gain:
        return Gain(**{"value": None, "low": None, "high": None, "quality": 0.1, "least": None, "most": None} | more)  # pyright: ignore

    assert headline.factor(gain(value=0.5, low=0.4, high=0.8)) == "2.00 [1.25, 2.50]"
    assert headline.factor(gain(value=0.5, low=None, high=0.8)) == "2.00 [1.25, …]"
    assert headline.factor(gain(most=0.5)) == "> 2.00"
    assert headline.factor(gain(least=2.0)) == "< 0.50"
    assert headline.factor(gain()) == "–"


@pytest.mark.parametrize("study", ["perceptual-snr", "perceptual-cbr", "perceptual-snr-div2k", "perceptual-cbr-div2k"])
def test_the_studies_are_of_the_released_weights(study: str) -> None:
    records = json.loads((STUDIES / study / "summary.json").read_text())
    learned = {(one["weight"], one["weight_sha256"]) for one in records if one["weight_sha256"]}
    assert {name for name, _ in learned} == {"ganjscc.photo", "adjscc.photo", "deepjscc.photo"}
    for name, sha256 in learned:
        info = read_info(ROOT / "src" / "openjscc" / "weights" / f"{name}.safetensors")
        assert info.sha256 == sha256, name
