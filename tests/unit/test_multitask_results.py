"""What the page about two tasks on one link says of the released weight, against the records of its studies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from openjscc.bench import read_records, write_records
from openjscc.bench.differences import Difference
from openjscc.bench.gains import Gain
from openjscc.bench.packing import unpack
from openjscc.composite import CompositeCodec
from openjscc.models import read_info
from openjscc.studies.comparisons import read_tables, write_tables
from openjscc.studies.differences import DifferenceTable
from openjscc.systems import load
from openjscc.weightfile import SUFFIX

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
PAGE = ROOT / "docs" / "papers" / "generative-multitask.md"
WEIGHTS = ROOT / "src" / "openjscc" / "weights"
NAMES = sorted(path.name for path in STUDIES.glob("multitask-*"))
TRAINED_FOR_STUDIES = (
    "mtgsc.picture",
    "mtgsc.segmentation",
    "mtgsc.noise",
    "deeplab_jscc.crops",
    "jpeg-ldpc+fcn.crops",
    "mtgsc.more",
    "deeplab_jscc.more",
    "jpeg-ldpc+fcn.more",
)
"""Not in the package."""
pytestmark = pytest.mark.skipif(not NAMES, reason="needs the source tree")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import multitask_found

    return multitask_found


def copied(tmp_path: Path) -> Path:
    """The studies' tables in a folder of their own."""
    for name in NAMES:
        (tmp_path / "studies" / name).mkdir(parents=True)
        for file in ("summary.json", "differences.json", "gains.json"):
            if (STUDIES / name / file).exists():
                shutil.copy(STUDIES / name / file, tmp_path / "studies" / name)
    shutil.copy(ROOT / "results" / "multitask-floor.json", tmp_path)
    (tmp_path / "training").symlink_to(ROOT / "results" / "training")
    return tmp_path / "studies"


def changed(file: Path, change: Callable[[Difference], Difference], over: str, metric: str) -> None:
    tables = [
        replace(table, rows=tuple(row if row.difference is None else replace(row, difference=change(row.difference))
                                  for row in table.rows))
        if (table.section.over, table.section.metric) == (over, metric)
        else table
        for table in read_tables(file, DifferenceTable)
    ]  # fmt: skip
    write_tables(file, tables)


def turned(one: Difference) -> Difference:
    return replace(one, value=-one.value, low=None if one.high is None else -one.high, high=None if one.low is None else -one.low)


def test_the_page_says_what_the_records_say(found: ModuleType) -> None:
    said = found.found(STUDIES)
    assert len(said) > 5000
    assert said in PAGE.read_text("utf-8"), "run python scripts/multitask.py page"


@pytest.mark.parametrize(
    ("study", "over", "metric"),
    [
        ("multitask-psnr-224", "jpeg-ldpc", "psnr"),
        ("multitask-psnr-224", "adjscc", "lpips"),
        ("multitask-psnr-kodak", "witt", "psnr"),
        ("multitask-segmentation", "jpeg-ldpc+fcn", "miou_nine"),
        ("multitask-one-segmentations", "mtgsc.segmentation", "miou"),
    ],
)
def test_it_says_so_whoever_is_ahead(found: ModuleType, tmp_path: Path, study: str, over: str, metric: str) -> None:
    """The signs of one table are turned: what was ahead is behind, what was open stays open, and nothing else changes."""
    import measured
    import words

    studies = copied(tmp_path)
    before = found.found(studies)
    assert before == found.found(STUDIES)
    changed(studies / study / "differences.json", turned, over, metric)
    after = found.found(studies)
    other = {"ahead": "behind", "behind": "ahead"}
    there, now = (measured.Measured(folder / study, "mtgsc").less(over, metric) for folder in (STUDIES, studies))
    expected = re.sub("ahead|behind", lambda word: other[word.group()], words.compared(there, metric).partition(" (")[0])
    assert words.compared(now, metric).startswith(expected + " (")
    assert words.compared(now, metric) in after
    differ = [line for line, was in zip(after.splitlines(), before.splitlines(), strict=True) if line != was]
    assert 1 <= len(differ) <= 4


def test_another_mean_or_loss_is_noticed(found: ModuleType, tmp_path: Path) -> None:
    studies = copied(tmp_path)
    file, said = studies / "multitask-psnr-kodak" / "summary.json", found.found(studies)
    real = read_records(file)
    write_records(file, [replace(one, mean=(one.mean or 0.0) + 0.5) if one.system.startswith("jpeg") else one for one in real])
    assert "JPEG+LDPC, 64-QAM 32.66 dB" in found.found(studies)
    assert "JPEG+LDPC, 64-QAM 32.66 dB" not in said
    file = studies / "multitask-psnr-224" / "summary.json"
    write_records(file, [replace(one, outage_rate=0.0) for one in read_records(file)])
    assert "arrive of JPEG+LDPC, 16-QAM from 0 dB on, of JPEG+LDPC, 64-QAM from 0 dB on." in found.found(studies)
    write_records(file, [replace(one, outage_rate=1.0) for one in read_records(file)])
    assert "arrive of JPEG+LDPC, 16-QAM at no SNR, of JPEG+LDPC, 64-QAM at no SNR." in found.found(studies)


def test_nothing_is_said_of_what_was_not_measured(found: ModuleType, tmp_path: Path) -> None:
    assert found.found(tmp_path) == ""


def test_comparisons_in_words(found: ModuleType) -> None:
    import words

    bounds = {0.0: (0.1, 0.3), 6.0: (-0.1, 0.2), 12.0: (-0.4, -0.2), 18.0: (0.3, None)}
    some = {snr: Difference((low + (high or low)) / 2, low, high, 10, 1) for snr, (low, high) in bounds.items()}
    assert words.where(some, "psnr") == "ahead at 0 dB, open at 6 dB, at 18 dB, behind at 12 dB"
    assert words.where(some, "lpips") == "behind at 0 dB, open at 6 dB, at 18 dB, ahead at 12 dB"
    assert words.compared({snr: some[snr] for snr in (0.0, 12.0)}, "miou") == (
        "ahead at 0 dB, behind at 12 dB (-30.0 to +20.0 points)"
    )
    assert words.single(some[12.0], "psnr") == "-0.30 dB [-0.40, -0.20], behind"
    assert words.single(some[18.0], "psnr") == "+0.30 dB, open"
    gain = Gain(value=0.8, low=None, high=1.25, quality=0.1, least=None, most=None)
    assert words.times(gain) == "1.25 [0.80, …]"
    assert words.times(replace(gain, value=None, most=0.5)) == "more than 2.00"
    assert words.times(replace(gain, value=None, least=2.0)) == "less than 0.50"


def test_the_papers_claims_have_what_the_records_say(found: ModuleType) -> None:
    """The last column of the table of claims."""
    import measured
    import words

    small, kodak, crops, masks = (
        measured.Measured(STUDIES / f"multitask-{name}", "mtgsc") for name in ("psnr-224", "psnr-kodak", "crops", "segmentation")
    )

    def where(study: Any, over: str, metric: str = "psnr") -> str:
        return words.where(study.less(over, metric), metric)

    def learned(study: Any) -> str:
        sides = " / ".join(dict.fromkeys(where(study, over) for over in ("adjscc", "witt", "deepjscc")))
        return f"against ADJSCC, WITT and Deep JSCC {sides}; against "

    def moves(channel: str) -> list[str]:
        means = [masks.means(system, "miou_nine", channel).values() for system in ("mtgsc", "deeplab_jscc")]
        return [f"{100 * (max(one) - min(one)):.1f}" for one in means]

    sixteen, most = (where(kodak, system) for system in found.FIXED)
    still, faded = moves("awgn"), moves("rayleigh:block")
    said = (
        f"{learned(small)}adapted JPEG {where(small, 'jpeg-ldpc')} |",
        f"{learned(kodak)}JPEG with 16-QAM {sixteen}, with 64-QAM {most}, adapted {where(kodak, 'jpeg-ldpc')} |",
        f"against `deeplab_jscc.photo` {where(masks, 'deeplab_jscc', 'miou_nine')}, against the same network",
        f"(`multitask-crops`) {where(crops, found.SMALL, 'miou_nine')}, against adapted JPEG with FCN "
        f"{where(masks, found.CHAIN, 'miou_nine')} |",
        f"moves by {still[0]} points, that of DeepLab JSCC by {still[1]}; under block fading by {faded[0]} and {faded[1]} |",
    )
    table = PAGE.read_text("utf-8").partition("## What is stored")[0]
    assert [words for words in said if words not in table] == []


def test_the_readme_says_what_the_records_say(found: ModuleType) -> None:
    import measured
    import words

    small, kodak, crops, segmentations, pictures, masks = (
        measured.Measured(STUDIES / f"multitask-{name}", "mtgsc")
        for name in ("psnr-224", "psnr-kodak", "crops", "segmentation", "one-pictures", "one-segmentations")
    )
    over = {name: small.less(name, "psnr") for name in ("adjscc", "witt", "deepjscc")}
    sides = " / ".join(dict.fromkeys(words.where(one, "psnr") for one in over.values()))
    spread = words.span([one.value for each in over.values() for one in each.values()], "psnr")
    costs = {metric: pictures.less("mtgsc.picture", metric) for metric in ("psnr", "lpips")}
    costs |= {metric: masks.less("mtgsc.segmentation", metric) for metric in ("miou_nine", "miou")}
    psnr, lpips, nine, all_classes = (words.span([one.value for one in each.values()], m) for m, each in costs.items())
    said = (
        f"against our small ADJSCC, WITT and Deep JSCC {sides} ({spread})",
        f"on Kodak at 18 dB against JPEG with 64-QAM {words.single(kodak.less(found.MOST, 'psnr')[18.0], 'psnr')}",
        f"the second task changes PSNR by {psnr}, LPIPS by {lpips}, mIoU of nine classes by {nine} and of 21 by {all_classes}",
        f"against DeepLab JSCC trained on equal crops {words.where(crops.less(found.SMALL, 'miou_nine'), 'miou_nine')}",
        f"against JPEG with FCN {words.where(segmentations.less(found.CHAIN, 'miou_nine'), 'miou_nine')}",
    )
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert [words for words in said if words not in text] == []


@pytest.mark.parametrize("study", NAMES)
def test_the_studies_are_of_the_released_weights(study: str) -> None:
    records = unpack((STUDIES / study / "summary.json").read_text())
    learned = {(one["weight"], one["weight_sha256"]) for one in records if one["weight_sha256"]}
    assert any(name == "mtgsc.photo" for name, _ in learned)
    for whole, sha256 in learned:
        name = whole if "+" in whole else whole.partition(":")[0]
        if name in TRAINED_FOR_STUDIES:
            continue
        if "+" in name:
            system = load(name)
            assert isinstance(system, CompositeCodec)
            assert system.weight.sha256 == sha256, name
        else:
            assert read_info(WEIGHTS / f"{name}{SUFFIX}").sha256 == sha256, name
