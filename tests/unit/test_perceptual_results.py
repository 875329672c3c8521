"""What the page about perceptual JSCC says of the released weight, against the records of its studies."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from openjscc.bench.differences import Difference
from openjscc.bench.gains import Gain
from openjscc.bench.packing import unpack
from openjscc.bench.study_differences import DifferenceTable
from openjscc.bench.study_gains import GainTable
from openjscc.bench.study_places import read_tables
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
    records = unpack((STUDIES / study / "summary.json").read_text())
    return {(one["system"], one["metric"], one["snr_db"]): one["mean"] for one in records if abs(one["ratio"] / ratio - 1) < 1e-3}


@pytest.mark.parametrize("metric", ["lpips", "lpips_vgg", "dists"])
@pytest.mark.parametrize("snr_db", [1.0, 4.0, 7.0, 10.0, 13.0])
def test_it_is_ahead_at_the_least_bandwidth(metric: str, snr_db: float) -> None:
    found = means("perceptual-snr")
    others = [found[system, metric, snr_db] for system in ("deepjscc", "adjscc", "bpg-ldpc") if (system, metric, snr_db) in found]
    assert len(others) >= 2
    assert found["ganjscc", metric, snr_db] < min(others)


def bounds(low: float | None, high: float | None, form: str = "{:.1f}") -> str:
    return "[" + ", ".join("…" if bound is None else form.format(bound) for bound in (low, high)) + "]"


def saved_snr(metric: str) -> list[str]:
    """dB that it needs less than BPG+LDPC, at 1, 4, 7, 10 and 13 dB."""
    tables = read_tables(STUDIES / "perceptual-snr" / "gains.json", GainTable)
    (table,) = [one for one in tables if one.section.metric == metric and one.section.over == "bpg-ldpc"]
    gains = [row.gain for row in table.rows if row.system == "ganjscc"]
    return [f"{gain.value:.1f} {bounds(gain.low, gain.high)}" if gain.value else f"more than {gain.least:.0f}" for gain in gains]


def differences(study: str, metric: str, over: str) -> dict[tuple[float | None, float], Difference]:
    """By ratio and SNR."""
    tables = read_tables(STUDIES / study / "differences.json", DifferenceTable)
    (table,) = [one for one in tables if one.section.metric == metric and one.section.over == over]
    return {(row.place.ratio, row.at): row.difference for row in table.rows if row.difference is not None}


def lower(found: Difference) -> str:
    assert found.low is not None
    assert found.high is not None
    return f"lower by {-found.value:.3f} {bounds(-found.high, -found.low, '{:.3f}')}"


def said() -> list[str]:
    """What the page has to say, made from the records."""
    dists, vgg = saved_snr("dists"), saved_snr("lpips_vgg")
    beside = differences("perceptual-snr", "dists", "deepjscc")
    away = differences("perceptual-snr", "dists", "bpg-ldpc")
    structure = differences("perceptual-snr", "ms_ssim", "deepjscc")
    psnr, fd = means("perceptual-snr"), means("perceptual-snr")
    at = {key[1]: value.value for key, value in beside.items()}
    far = {key[1]: value for key, value in away.items()}
    shape = [value.value for _, value in sorted(structure.items(), key=lambda pair: pair[0][1])]
    adjscc = {
        metric: {round(1 / (key[0] or 1)): value for key, value in differences("perceptual-cbr", metric, "adjscc").items()}
        for metric in ("dists", "lpips_vgg")
    }
    harm = {metric: found[12] for metric, found in adjscc.items()}
    return [
        ", ".join(dists[2:]),
        ", ".join(vgg[2:]),
        f"{-at[1.0]:.3f} to {-at[13.0]:.3f}, every interval without 0",
        f"{-far[7.0].value:.3f} (7 dB) to {-far[13.0].value:.3f} (13 dB, with an interval that holds 0)",
        f"({far[13.0].value:.3f} {bounds(far[13.0].low, far[13.0].high, '{:+.3f}')})",
        f"{-far[1.0].value:.3f} at 1 dB",
        f"{fd['ganjscc', 'fd_vgg16', 1.0]:.1f} and {fd['ganjscc', 'fd_vgg16', 10.0]:.1f}; Deep JSCC "
        f"{fd['deepjscc', 'fd_vgg16', 1.0]:.1f} and {fd['deepjscc', 'fd_vgg16', 10.0]:.1f}; BPG+LDPC "
        f"{fd['bpg-ldpc', 'fd_vgg16', 1.0]:.1f} (2 pictures lost) and {fd['bpg-ldpc', 'fd_vgg16', 10.0]:.1f}",
        f"{psnr['deepjscc', 'psnr', 10.0] - psnr['ganjscc', 'psnr', 10.0]:.1f} dB lower",
        f"{psnr['bpg-ldpc', 'psnr', 10.0] - psnr['ganjscc', 'psnr', 10.0]:.1f} dB lower",
        f"for {psnr['adjscc', 'psnr', 10.0] - psnr['ganjscc', 'psnr', 10.0]:.1f} dB of PSNR",
        f"{shape[0]:.3f} more at 1 dB to {-shape[-1]:.3f} less at 13 dB",
        f"DISTS is {lower(adjscc['dists'][48])} and LPIPS-VGG by {lower(adjscc['lpips_vgg'][48]).removeprefix('lower by ')}",
        *(f"by {one.value:.3f} {bounds(one.low, one.high, '{:.3f}')}" for one in harm.values()),
    ]


def test_the_page_says_what_the_records_say() -> None:
    text = PAGE.read_text("utf-8")
    assert [words for words in said() if words not in text] == []


def test_the_readme_has_the_factors(headline: ModuleType) -> None:
    rows = {tuple(line.strip("| ").split(" | ")[:2]): line for line in headline.headline(STUDIES).splitlines()}
    dists, vgg = (
        [f"{float(cell.split()[0]):.1f}" for cell in rows["Kodak", metric].strip("| ").split(" | ")[2:]]
        for metric in ("DISTS", "LPIPS-VGG")
    )
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert dists[1] == "1.0"
    assert f"{dists[0]} times the bandwidth for the same DISTS at CBR 1/48, as much at 1/24 and {dists[2]} times at 1/12" in text
    assert f"LPIPS on VGG16: {', '.join(vgg)};" in text


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
    records = unpack((STUDIES / study / "summary.json").read_text())
    learned = {(one["weight"], one["weight_sha256"]) for one in records if one["weight_sha256"]}
    assert {name for name, _ in learned} == {"ganjscc.photo", "adjscc.photo", "deepjscc.photo"}
    for name, sha256 in learned:
        info = read_info(ROOT / "src" / "openjscc" / "weights" / f"{name}.safetensors")
        assert info.sha256 == sha256, name
