"""The ablation of perceptual JSCC: what its rows share, what is left out of a second run, and the page that shows its records."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from openjscc.bench.records import Record, write_records
from openjscc.link import transmit
from openjscc.models import create
from openjscc.training.optimizer import learning_rate
from openjscc.training.recipe import load_recipe

pytest.importorskip("lightning_fabric")
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="needs the source tree")

PAGE = "Before.\n\n<!-- headline: scripts/perceptual.py page -->\n<!-- end of headline -->\n\n"
PAGE += "<!-- beside: scripts/perceptual.py page -->\n<!-- end of beside -->\n\n"
PAGE += "<!-- goals: scripts/perceptual.py page -->\n<!-- end of goals -->\n\n"
PAGE += "<!-- training: scripts/perceptual.py page -->\n<!-- end of training -->\n\n"
PAGE += "<!-- ablation: scripts/perceptual.py page -->\n<!-- end of ablation -->\nAfter.\n"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "perceptual", raising=False)
    import perceptual

    return perceptual


@pytest.fixture
def empty(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a tree without results."""
    for name, path in (
        ("ROOT", ""),
        ("RESULTS", "a.csv"),
        ("FIGURE", "a.webp"),
        ("PAGE", "page.md"),
        ("STUDIES", "studies"),
        ("LOG", "log.csv"),
        ("CURVES", "log.svg"),
    ):
        monkeypatch.setattr(script, name, tmp_path / path)
    (tmp_path / "page.md").write_text(PAGE)
    return script


def record(metric: str, mean: float) -> Record:
    return Record(
        system="ganjscc", weight="", channel="awgn", snr_db=10.0, ratio=1 / 48, told_snr_db=None, data="div2k", seed=0,
        metric=metric, mean=mean, std=0.1, ci95=0.1, images=50, trials=1, bandwidth_ratio=0.0212, parameters=485_500,
        macs_per_pixel=1.0, device="a CPU",
    )  # fmt: skip


def options(**changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{"runs": Path("runs"), "data_dir": None, "set": [], "limit": None} | changes)


@pytest.fixture
def trainings(empty: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the rows that were trained, in order; nothing is."""
    names: list[str] = []

    def trained(asked: argparse.Namespace, name: str) -> tuple[None, dict[str, object]]:
        names.append(name)
        seconds = {"stage_seconds": 120.0 if "MSE" in name else 180.0, "training_seconds": 60.0}
        return None, seconds | {"trained_on": "a machine", "updates": 1000, "beta_m": 1e-5, "beta_g": 0.0, "shift": 1}

    monkeypatch.setattr(empty, "trained", trained)
    monkeypatch.setattr(empty, "moved_lpips", lambda *_: 0.25)
    monkeypatch.setattr(
        empty, "measured", lambda *_: [record(metric, len(names) + 0.5) for metric in empty.METRICS_SHOWN]
    )  # fmt: skip
    return names


def leave_out(script: ModuleType, row: str) -> None:
    """A row, from the records."""
    entries = [script.Entry(**entry) for entry in script.records() if entry["row"] != row]
    write_records(script.RESULTS, entries)


def test_rows_make_as_many_updates_of_the_codec_with_one_schedule(script: ModuleType) -> None:
    assert sorted(script.SHOWN) == sorted(script.ROWS)
    assert len({script.slug(name) for name in script.ROWS} | {"plain", "shared"}) == len(script.ROWS) + 2
    stages = set()
    for name, row in script.ROWS.items():
        first, then, start = script.recipe_of(row, [])
        assert then.optimizer.steps - start == 1000
        assert learning_rate(then.optimizer, start) == then.optimizer.lr
        assert learning_rate(then.optimizer, then.optimizer.steps) == pytest.approx(then.optimizer.final_lr)
        assert learning_rate(first.optimizer, start - 1) == first.optimizer.lr
        assert first.model == then.model
        assert (then.gan.pretrain, then.gan.discriminator) == (first.gan.pretrain, first.gan.discriminator) == (3600, 600)
        if row.plain:
            assert (first.step, then.step, start) == ("reconstruction", "reconstruction", 3600), name
        else:
            stages.add(json.dumps(first.to_dict()))
            assert (then.step, start) == ("perceptual", 4200)
            assert (then.gan.beta_m, then.gan.beta_g, then.gan.shift) == (row.beta_m, row.beta_g, row.shift)
            assert first.gan.shift == 1
    assert len(stages) == 1, "all others share the first stage"
    assert {(row.beta_m, row.beta_g) for row in script.ROWS.values() if not row.plain and row.shift == 1} == {
        (1e-3, 0), (1e-4, 0), (1e-5, 0), (1e-5, 1e-5), (1e-5, 1e-3), (1e-5, 1e-1),
    }  # fmt: skip
    gan = load_recipe("ganjscc-photo").gan
    assert (gan.beta_m, gan.beta_g, gan.shift) in {(row.beta_m, row.beta_g, row.shift) for row in script.ROWS.values()}
    assert f"{sum(parameter.numel() for parameter in create('ganjscc', 'small').parameters()):,}" in script.__doc__


def test_a_second_run_does_what_the_first_one_left(empty: ModuleType, trainings: list[str]) -> None:
    empty.measure_all(options(limit=1))
    assert trainings == list(empty.ROWS)
    assert not empty.RESULTS.exists(), "a try writes nothing"
    trainings.clear()
    empty.measure_all(options())
    assert trainings == list(empty.ROWS)
    whole = empty.records()
    leave_out(empty, "β_m = 1e-4")
    trainings.clear()
    empty.measure_all(options())
    assert trainings == ["β_m = 1e-4"]
    assert len(empty.records()) == len(whole)


def test_the_page_is_of_the_records(empty: ModuleType, trainings: list[str]) -> None:
    assert empty.filled(PAGE) == PAGE, "nothing is said without records"
    empty.measure_all(options())
    leave_out(empty, "β_m = 1e-4")
    text = empty.filled(PAGE)
    assert empty.filled(text) == text
    assert text.startswith("Before.\n")
    assert text.endswith("<!-- end of ablation -->\nAfter.\n")
    assert "| trained on | PSNR ↑ | MS-SSIM ↑ | LPIPS ↓ | 2 px off ↓ | LPIPS-VGG ↓ | DISTS ↓ |" in text
    assert "| MSE alone (Deep JSCC) | 1.50 | 1.500 | 1.500 | 0.250 | 1.500 |" in text
    assert text.index("| β_m = 1e-3 |") < text.index("| β_m = 1e-5 |"), "in the paper's order"
    assert "Not trained: β_m = 1e-4." in text
    assert "485,500 parameters" in text
    assert "All training together: 14 minutes on a machine." in text, "9 rows and two stages, each once"
    assert "webp" not in text


def test_curves_of_the_training(empty: ModuleType) -> None:
    import perceptual_figures

    assert empty.training() == ""
    empty.LOG.write_text(
        "step,seconds,lpips,mse,val_psnr_1/48,val_dists_1/48,val_lpips_1/24,generator,discriminator_real\n"
        "50,60.0,0.2,300.0,,,,,\n50,60.0,,,25.00,0.2100,0.1,,\n100,120.0,0.1,,,,,1.5,0.75\n"
    )
    found = perceptual_figures.curves(empty.LOG)
    assert found["lpips"] == [[1.0, 0.2], [2.0, 0.1]]
    assert found["DISTS 1/48"] == [[1.0, 0.21]]
    assert found["LPIPS 1/24"] == [[1.0, 0.1]]
    assert found["discriminator_real"] == [[2.0, 0.75]]
    perceptual_figures.draw(empty.LOG, empty.CURVES)
    assert empty.CURVES.exists()
    assert "log.svg" in empty.training()


class Matching:
    """An opponent that takes a picture for a sent one if the codeword is the picture's own."""

    def __init__(self, pairs: dict[float, float]) -> None:
        self.pairs = pairs

    def __call__(self, picture: torch.Tensor, codeword: torch.Tensor) -> torch.Tensor:
        belongs = self.pairs[picture.mean().item()] == codeword.mean().item()
        return torch.full((1, 2, 2), 1.0 if belongs else -1.0)


def test_the_discriminator_is_shown_other_codewords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import discriminator

    codec = create("ganjscc", "small").train()
    sent = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(number)) for number in range(3)]
    pairs: dict[float, float] = {}
    for picture in sent:
        result = transmit(codec, "awgn", picture, 10.0, ratio=1 / 48)
        assert result.image is not None
        codeword = codec.arrived(result.received, result.frame.side).unscaled
        pairs[picture.mean().item()] = pairs[result.image.mean().item()] = codeword.mean().item()
    found = discriminator.shares(codec, Matching(pairs), sent, 1 / 48)
    assert found == {
        "sent": 1.0, "sent, codeword of another": 0.0, "received": 0.0, "received, codeword of another": 1.0,
    }  # fmt: skip
    assert discriminator.table({"found": [{"ratio": "1/48", **found}]}).endswith("| 1/48 | 100.0 % | 0.0 % | 0.0 % | 100.0 % |")
