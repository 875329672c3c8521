"""What a weight is measured by before it is released, and what its card says."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from openjscc.bench.records import Record
from openjscc.data.datasets import PictureDataset
from openjscc.models import create, export
from openjscc.training.checkpoint import TrainingState
from openjscc.training.facts import training_facts
from openjscc.training.recipe import load_recipe

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="needs the source tree")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "release", raising=False)
    import release

    return release


def measured(metric: str, snr_db: float, mean: float) -> Record:
    return Record(
        system="ganjscc", weight="ganjscc.photo", channel="awgn", snr_db=snr_db, ratio=1 / 48, told_snr_db=None, data="kodak",
        seed=0, metric=metric, mean=mean, std=0.1, ci95=0.1, images=24, trials=1, bandwidth_ratio=0.0212, parameters=485_500,
        macs_per_pixel=1.0,
    )  # fmt: skip


def test_what_is_measured(script: ModuleType) -> None:
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    plain = PictureDataset("kodak", "test", ["1", "2"], array=pictures)
    (fidelity,) = script.sweeps(load_recipe("adjscc-photo"), plain, (1 / 16,))
    assert (fidelity.metrics, fidelity.ratios) == (("psnr", "ssim"), (1 / 16,))
    fast, slow = script.sweeps(load_recipe("ganjscc-photo"), plain, (1 / 48, 1 / 24))
    assert fast.metrics + slow.metrics == ("psnr", "ms_ssim", "lpips", "lpips_vgg", "dists")
    assert (fast.snr_db, slow.snr_db) == (script.SNR_DB, (0.0, 10.0, 20.0))
    assert set(fast.metrics + slow.metrics) <= set(script.TITLES)


def test_the_card_of_a_perceptual_weight(script: ModuleType, tmp_path: Path) -> None:
    recipe = load_recipe("ganjscc-photo")
    state = TrainingState(9000, 600.0, recipe.to_dict(), {}, ["one CPU"], True, 72_000)
    info = export(
        create("ganjscc", "small").eval(), tmp_path / "w.safetensors", tag="photo", training=training_facts(recipe, state)
    )  # fmt: skip
    records = [measured("psnr", snr, 20 + snr) for snr in script.SNR_DB]
    records += [measured("dists", snr, 0.2 - snr / 1000) for snr in script.SLOW_SNR_DB]
    text = script.card(info, state, records)
    assert "| 1/48 | 20.00 | 25.00 | 30.00 | 35.00 | 40.00 |" in text
    assert (
        "DISTS, lower is better:\n\n| CBR | 0 dB | 10 dB | 20 dB |\n|---|---|---|---|\n| 1/48 | 0.2000 | 0.1900 | 0.1800 |"
        in text
    )
    assert (
        "| began with | `adjscc.photo`, whose own training comes on top |\n| loss | β_p = 1, β_m = 1e-05, β_g = 0.001: " in text
    )
    assert "5,000 steps on LPIPS and MSE, 500 of the discriminator alone, 3,500 of both |\n| licence" in text
    assert "makes up part of the texture" in text
    plain = training_facts(load_recipe("adjscc-photo"), state)["recipe"]
    assert script.origin(plain) == ""
