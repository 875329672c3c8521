"""What the page about perceptual JSCC says of the released weight, against the records of its studies."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from openjscc.bench import read_records, write_records
from openjscc.bench.differences import Difference
from openjscc.bench.gains import Gain
from openjscc.models import read_info
from openjscc.studies.comparisons import read_tables, write_tables
from openjscc.studies.differences import DifferenceTable
from openjscc.studies.gains import GainTable

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
pytestmark = pytest.mark.skipif(not STUDIES.is_dir(), reason="needs the source tree")


@pytest.fixture
def headline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import perceptual_headline

    return perceptual_headline


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import perceptual_found

    return perceptual_found


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Copies of the tables of the two studies on Kodak."""
    for name in ("perceptual-snr", "perceptual-cbr"):
        (tmp_path / name).mkdir()
        for file in ("records.csv", "run.json", "differences.json", "gains.json"):
            shutil.copy(STUDIES / name / file, tmp_path / name)
    return tmp_path


def put(file: Path, value: float, half: float, over: str, metric: str) -> None:
    """All differences of one table are that value, with an interval of that half width."""
    fresh = Difference(value, value - half, value + half, 24, 1)
    tables = read_tables(file, DifferenceTable)
    chosen = [(table.section.over, table.section.metric) == (over, metric) for table in tables]
    assert any(chosen)
    write_tables(
        file,
        [replace(table, rows=tuple(replace(row, difference=fresh) for row in table.rows)) if here else table
         for table, here in zip(tables, chosen, strict=True)],
    )  # fmt: skip


def test_it_says_so_whoever_is_ahead(found: ModuleType, studies: Path) -> None:
    assert found.beside(studies) == found.beside(STUDIES)
    goal = "| Kodak, CBR 1/48, 1 to 13 dB: better LPIPS (both) and DISTS than Deep JSCC and BPG+LDPC |"
    file = studies / "perceptual-snr" / "differences.json"
    for over in ("deepjscc", "bpg-ldpc"):
        for metric in ("lpips", "lpips_vgg", "dists"):
            put(file, -0.02, 0.01, over, metric)
    assert f"{goal} yes |" in found.goals(studies)
    put(file, 0.02, 0.01, "bpg-ldpc", "dists")
    assert "| DISTS less that of BPG+LDPC | lower (curves) | behind at every SNR (+0.020) |" in found.beside(studies)
    assert f"{goal} no: DISTS against BPG+LDPC behind at every SNR |" in found.goals(studies)
    put(file, -0.001, 0.01, "deepjscc", "lpips_vgg")
    put(file, -0.03, 0.01, "deepjscc", "ms_ssim")
    assert (
        f"{goal} no: DISTS against BPG+LDPC behind at every SNR; LPIPS-VGG against Deep JSCC open at every SNR |"
        in found.goals(studies)
    )
    assert "| MS-SSIM within 0.02 of Deep JSCC | no: -0.030 at its worst |" in found.goals(studies)
    put(studies / "perceptual-cbr" / "differences.json", 0.02, 0.01, "adjscc", "dists")
    assert found.beside(studies).count("DISTS +0.020 [+0.010, +0.030], behind;") == 3


def test_gains_that_are_smaller_are_said(found: ModuleType, studies: Path) -> None:
    def gains(name: str, **more: float | None) -> None:
        gain = Gain(**{"value": None, "low": None, "high": None, "quality": 0.1, "least": None, "most": None} | more)  # pyright: ignore
        tables = read_tables(studies / name / "gains.json", GainTable)
        write_tables(
            studies / name / "gains.json",
            [replace(table, rows=tuple(replace(row, gain=gain) for row in table.rows)) for table in tables],
        )

    for changes, words, goal in (
        ({"value": 1.0, "low": 0.5}, "1.0 [0.5, …], 1.0 [0.5, …]", "missed at every SNR"),
        ({"value": 4.5}, "4.5 […, …]", "reached at every SNR"),
        ({"most": 2.0}, "less than 2, less than 2", "missed at every SNR"),
        ({"least": 3.0}, "more than 3, more than 3", "not known at every SNR"),
        ({"least": 6.0}, "more than 6, more than 6", "reached at every SNR"),
    ):
        gains("perceptual-snr", **changes)
        assert words in found.beside(studies)
        assert f"| 4 to 8 dB less SNR at equal DISTS | {goal} |" in found.goals(studies)
    for changes, words in (({"value": 0.4}, "yes: 2.50"), ({"value": 1.25}, "no: 0.80"), ({"most": 0.45}, "yes: > 2.22")):
        gains("perceptual-cbr", **changes)
        assert f"for the same DISTS | {words}" in found.goals(studies)


def test_another_mean_is_noticed(found: ModuleType, studies: Path) -> None:
    file = studies / "perceptual-snr" / "records.csv"
    worse = [replace(one, mean=(one.mean or 0.0) + 1) if one.system == "bpg-ldpc" else one for one in read_records(file)]
    write_records(file, worse)
    assert "| PSNR less that of BPG+LDPC, at 10 dB | lower | -4.24 dB |" in found.beside(studies)
    assert found.beside(studies) != found.beside(STUDIES)


def test_nothing_is_said_of_what_was_not_measured(found: ModuleType, tmp_path: Path) -> None:
    assert found.beside(tmp_path) == found.goals(tmp_path) == ""


def test_a_factor_is_turned_round(headline: ModuleType) -> None:
    def gain(**more: float | None) -> Gain:
        return Gain(**{"value": None, "low": None, "high": None, "quality": 0.1, "least": None, "most": None} | more)  # pyright: ignore

    assert headline.factor(gain(value=0.5, low=0.4, high=0.8)) == "2.00 [1.25, 2.50]"
    assert headline.factor(gain(value=0.5, low=None, high=0.8)) == "2.00 [1.25, …]"
    assert headline.factor(gain(most=0.5)) == "> 2.00"
    assert headline.factor(gain(least=2.0)) == "< 0.50"
    assert headline.factor(gain()) == "–"


@pytest.mark.parametrize("study", ["perceptual-snr", "perceptual-cbr", "perceptual-snr-div2k", "perceptual-cbr-div2k"])
def test_the_studies_are_of_the_released_weights_or_say_which_are_newer(study: str) -> None:
    learned = {(one.weight, one.weight_sha256) for one in read_records(STUDIES / study) if one.weight_sha256}
    assert {name for name, _ in learned} == {"ganjscc.photo", "adjscc.photo", "deepjscc.photo"}
    page = (STUDIES / study / f"{study}.md").read_text("utf-8")
    for name, sha256 in learned:
        info = read_info(ROOT / "src" / "openjscc" / "weights" / f"{name}.safetensors")
        assert (info.sha256 == sha256) != (f"**`{name}` released anew since.**" in page), name
