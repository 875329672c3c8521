"""Comparisons in words; and the studies of two tasks on one link, of the released weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from openjscc.bench import read_records
from openjscc.bench.differences import Difference
from openjscc.bench.gains import Gain
from openjscc.composite import CompositeCodec
from openjscc.models import read_info
from openjscc.systems import load
from openjscc.weightfile import SUFFIX

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "results" / "studies"
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


def test_comparisons_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
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


@pytest.mark.parametrize("study", NAMES)
def test_the_studies_are_of_the_released_weights_or_say_which_are_newer(study: str) -> None:
    learned = {(one.weight, one.weight_sha256) for one in read_records(STUDIES / study) if one.weight_sha256}
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
            anew = f"**`{name}` released anew since.**" in (STUDIES / study / f"{study}.md").read_text("utf-8")
            assert (read_info(WEIGHTS / f"{name}{SUFFIX}").sha256 == sha256) != anew, name
