"""Training for segmentations: crops of pictures and masks, what is refused, that codec and task network learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers import silent
from openjscc import tasks
from openjscc.channels import Realisation, equalize
from openjscc.classes import VOID
from openjscc.codec import Conditions
from openjscc.data.datasets import open_dataset
from openjscc.data.masks import masks_of
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.models import create, load
from openjscc.models.deeplab_jscc import DeepLabConfig, DeepLabJSCC
from openjscc.tasks import FCN, FCNConfig
from openjscc.training.augment import compressed
from openjscc.training.batches import Batch, CropSource
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import Recipe, load_recipe
from openjscc.training.steps.segmentation import SegmentationStep, SegmentationValidation
from voc_data import voc_folder

pytest.importorskip("lightning_fabric")

CODEC = DeepLabConfig(
    rates=(4, 8), stem=8, channels=(8, 8, 8, 8), depths=(1, 1, 1, 1), bottleneck=False, pyramid=(1, 2), told=True
)
NETWORK = FCNConfig(stem=8, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "voc"
    voc_folder(folder, size=(40, 56))
    return folder


def plan(name: str, voc: Path, *more: str) -> Recipe:
    settings = [f'data.train=["{voc}"]', f"data.validate={voc}", "data.crop=32", "optimizer.batch=4", "run.precision=32-true"]
    return load_recipe(name, [*settings, "optimizer.warmup=2", "optimizer.lr=1e-2", "optimizer.ema=0.5", *more])


def source(voc: Path, crop: int, scale: tuple[float, float] = (1.0, 1.0), flip: bool = True) -> CropSource:
    dataset = open_dataset(voc, split="train")
    return CropSource([dataset], crop, flip, 5, torch.device("cpu"), [masks_of(dataset)], scale)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 2.0)])
def test_masks_go_with_their_pictures(voc: Path, scale: tuple[float, float]) -> None:
    """The pictures' bright part is class 15: cut, scaled and mirrored, it still is."""
    batch = source(voc, 24, scale).batch(range(60))
    assert batch.maps is not None
    assert batch.maps.dtype == torch.uint8
    assert batch.maps.shape == (60, 1, 24, 24)
    bright, masks = batch.x.mean(1) > 0.5, batch.maps[:, 0]
    known = masks != VOID
    agree = (bright == (masks == 15)) & known
    assert float(agree.sum() / known.sum()) > 0.97  # interpolation blurs the edge
    assert set(masks.unique().tolist()) == {0, 15, VOID}
    assert 0 < float((masks[:, :, 0] == 15).float().mean()) < 1


def test_beyond_a_picture_nothing_is_known(voc: Path) -> None:
    batch = source(voc, 64, flip=False).batch(range(6))
    assert batch.maps is not None
    masks = batch.maps[:, 0]
    assert bool((masks[:, 40:] == VOID).all())
    assert bool((masks[:, :, 56:] == VOID).all())
    assert bool((masks[:, :40, :56] != VOID).any())
    assert torch.equal(batch.x[:, :, 40:], batch.x[:, :, 39:40].expand(-1, -1, 24, -1))  # pictures repeat their border
    small = source(voc, 24, (0.25, 0.25), flip=False).batch(range(6))
    assert small.maps is not None
    assert bool((small.maps[:, 0, 10:] == VOID).all())
    assert bool((small.maps[:, 0, :10, :14] == 15).any())


def test_scales_are_drawn_evenly_on_a_logarithmic_scale(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    crops = source(voc, 24, (0.5, 2.0))
    cut = crops._cut

    def spy(picture: torch.Tensor, down: float, right: float, factor: float, mask: bool = False) -> torch.Tensor:
        seen.append(factor)
        return cut(picture, down, right, factor, mask)

    monkeypatch.setattr(crops, "_cut", spy)
    crops.batch(range(200))
    assert 0.5 <= min(seen) < 0.53
    assert 1.9 < max(seen) <= 2.0
    assert torch.tensor(seen).log2().mean().abs() < 0.1
    assert seen[:200] == seen[200:]  # pictures, then masks


def test_without_a_scale_crops_are_what_they_were(voc: Path) -> None:
    """Earlier runs must go on exactly: the scale's draw is a new one behind the others."""
    dataset = open_dataset(voc, split="train")
    plain = CropSource([dataset], 24, True, 5, torch.device("cpu")).batch(range(8)).x
    assert torch.equal(plain, source(voc, 24).batch(range(8)).x)


def test_jpeg_for_some(voc: Path) -> None:
    x = source(voc, 32).batch(range(16)).x
    y = compressed(x, torch.arange(16), 3, share=0.5, quality=(1, 10))
    changed = (y != x).flatten(1).any(1)
    assert 2 < int(changed.sum()) < 14
    assert torch.equal(y, compressed(x, torch.arange(16), 3, share=0.5, quality=(1, 10)))
    assert torch.equal(y[8:], compressed(x[8:], torch.arange(8, 16), 3, share=0.5, quality=(1, 10)))
    assert float((y - x)[changed].abs().mean()) < 0.2
    assert torch.equal(x, compressed(x, torch.arange(16), 3, share=0.0, quality=(1, 10)))


@pytest.mark.parametrize("name", ["deeplab_jscc-voc", "fcn-voc"])
def test_it_learns(name: str, voc: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FCN(NETWORK) if name == "fcn-voc" else DeepLabJSCC(CODEC)
    recipe = plan(name, voc, "optimizer.steps=60", "run.validate_every=60", "segmentation.jpeg_share=0.3")
    said: list[str] = []
    train(recipe, RunOptions(out=tmp_path), initial=network, say=said.append)
    figures = {words.rsplit(" ", 1)[0].strip(): float(words.rsplit(" ", 1)[1]) for words in said[-1].split(":", 1)[1].split(",")}
    assert figures["pixel_accuracy"] > 0.85
    assert figures["miou"] == figures["miou_nine"] > 0.7  # background and person are two of the nine, no other occurs
    assert (tmp_path / "samples" / "step-000060.png").is_file()


def test_resume_continues_bit_for_bit(voc: Path, tmp_path: Path) -> None:
    recipe = plan("fcn-voc", voc, "optimizer.steps=6", "segmentation.jpeg_share=0.5")

    def fresh() -> FCN:
        torch.manual_seed(0)
        return FCN(NETWORK)

    whole = train(recipe, RunOptions(out=tmp_path / "a"), initial=fresh(), say=silent)
    train(recipe, RunOptions(out=tmp_path / "b", max_steps=2), initial=fresh(), say=silent)
    parts = train(recipe, RunOptions(out=tmp_path / "b", resume=True), initial=fresh(), say=silent)
    assert all(torch.equal(value, parts.state.tensors[key]) for key, value in whole.state.tensors.items())


def test_void_pixels_have_no_gradient() -> None:
    torch.manual_seed(0)
    network = FCN(NETWORK).train()
    step = SegmentationStep(load_recipe("fcn-voc"), network)
    masks = torch.full((2, 1, 32, 32), VOID, dtype=torch.uint8)
    values = step("model", **vars(step.prepare(Batch(range(2), torch.rand(2, 3, 32, 32), maps=masks), 0)))
    assert values["loss"].tolist() == values["pixel_accuracy"].tolist() == [0.0, 0.0]
    values["loss"].sum().backward()
    assert not any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())


def test_a_codec_meets_every_rate_and_mtgsc_its_own(voc: Path) -> None:
    batch = source(voc, 32).batch(range(32))
    step = SegmentationStep(load_recipe("deeplab_jscc-voc"), DeepLabJSCC(CODEC))
    ratio = step.prepare(batch, 0).ratio
    assert ratio is not None
    assert len(ratio.unique()) == 2
    two_tasks = SegmentationStep(load_recipe("deeplab_jscc-voc"), create("mtgsc", "photo"))
    drawn = two_tasks.prepare(batch, 0)
    assert drawn.ratio is None
    assert two_tasks("model", **vars(drawn.rows(torch.arange(2))))["loss"].shape == (2,)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_it_equalises_as_the_recipe_says(method: str, voc: Path) -> None:
    changes = ["channel.name=rayleigh:fast", f"channel.equalizer={method}", "channel.snr_db=[0.0, 0.0]"]
    torch.manual_seed(0)
    step = SegmentationStep(load_recipe("deeplab_jscc-voc", changes), DeepLabJSCC(CODEC).eval())
    step.network.eval()
    drawn = step.prepare(source(voc, 32).batch(range(3)), 0)
    masks, snr_db = drawn.masks, drawn.snr_db
    assert snr_db is not None
    assert drawn.noise is not None
    assert isinstance(step.codec, DeepLabJSCC)
    with torch.no_grad():
        frame = step.codec.encode(drawn.x, Conditions(snr_db, drawn.ratio, "segmentation"))
        received = step.channel.apply(frame, snr_db, Realisation(drawn.noise, drawn.gain))
        scores = {kind: step.codec.decode_payload(equalize(received, kind), frame.side).segmentation for kind in ("zf", "mmse")}
        loss = step("model", **vars(drawn))["loss"]
    losses = {
        kind: torch.nn.functional.cross_entropy(found, masks[:, 0].long(), ignore_index=VOID, reduction="none").sum((1, 2))
        / (masks[:, 0] != VOID).sum((1, 2))
        for kind, found in scores.items()
        if found is not None
    }
    assert not torch.allclose(losses["zf"], losses["mmse"], rtol=1e-4)
    assert torch.allclose(loss, losses[method], rtol=1e-5)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_validation_equalises_as_the_recipe_says(method: str, voc: Path, tmp_path: Path) -> None:
    recipe = plan("deeplab_jscc-voc", voc, "channel.name=rayleigh:fast", f"channel.equalizer={method}", "run.validate_snr_db=0.0")
    torch.manual_seed(0)
    codec, x = DeepLabJSCC(CODEC).eval(), source(voc, 32).batch(range(1)).x
    found = SegmentationValidation(recipe, None, tmp_path)._scores(codec, x)
    scores = {
        kind: transmit(codec, "rayleigh:fast", x, 0.0, task="segmentation", equalizer=kind).reconstruction.segmentation
        for kind in ("zf", "mmse")
    }
    assert scores["zf"] is not None
    assert scores["mmse"] is not None
    assert not torch.allclose(scores["zf"], scores["mmse"], rtol=1e-3)
    assert torch.equal(found, scores[method])  # pyright: ignore[reportArgumentType]


def test_what_it_cannot_train(voc: Path, photo: Path, tmp_path: Path) -> None:
    recipe = load_recipe("deeplab_jscc-voc")
    for network in (
        create("deepjscc", "photo"),
        tasks.create("classifier", "cifar10"),
        FCN(replace(NETWORK, classes=("a", "b"))),
    ):
        with pytest.raises(UsageError, match="step segmentation"):
            SegmentationStep(recipe, network)
    with pytest.raises(UsageError, match="has no masks"):
        train(plan("fcn-voc", photo.parent), RunOptions(out=tmp_path), initial=FCN(NETWORK), say=silent)
    with pytest.raises(UsageError, match="step classification"):
        load_classifier_step(FCN(NETWORK), voc)
    for change, name in (("segmentation.jpeg_quality=[50, 1]", "jpeg_quality"), ("data.scale=[2.0, 0.5]", "scale")):
        with pytest.raises(UsageError, match=name):
            load_recipe("fcn-voc", [change])


def load_classifier_step(network: FCN, voc: Path) -> None:
    from openjscc.training.steps import ClassificationStep

    ClassificationStep(load_recipe("classifier-cifar10"), network).attach([open_dataset(voc)], torch.device("cpu"))


@pytest.mark.parametrize(("name", "arch"), [("deeplab_jscc-voc", "deeplab_jscc"), ("fcn-voc", "fcn")])
def test_from_recipe_to_weight(openjscc, name: str, arch: str, voc: Path) -> None:
    file = f"{arch}.mine.safetensors"
    changes = ("optimizer.steps=2", "optimizer.batch=2", "data.crop=32", "data.validate_limit=1")
    few = [part for change in (*changes, f'data.train=["{voc}"]', f"data.validate={voc}") for part in ("--set", change)]
    result = openjscc("train", name, *few, "-o", "run", "--export", file)
    result.assert_ok()
    assert "--task segmentation --model" in result.err
    if arch == "fcn":
        assert f"jpeg-ldpc+{file}" in result.err
        assert tasks.load_task_network(file).name == "fcn.mine"
    else:
        assert load(file).name == "deeplab_jscc.mine"
    openjscc("train", name, *few, "--set", f"model.init=./{file}", "-o", "tuned").assert_ok()
