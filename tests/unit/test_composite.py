"""Systems CODEC+NETWORK: the codec's frame, the network's view of what arrives, and names that mean them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers import PixelCodec, pictures
from openjscc import load, transmit
from openjscc.classes import VOC
from openjscc.codec import CodecInfo, Conditions, Reconstruction
from openjscc.composite import CompositeCodec
from openjscc.digital import make_digital
from openjscc.errors import UsageError
from openjscc.systems import composite_parts, has_digital_codec, load_all
from openjscc.tasks import perceive
from openjscc.testing import check_codec
from task_networks import Brightness, Shades


@pytest.mark.parametrize("system", ["adjscc", "jpeg-ldpc:mcs=bpsk-1/2-n648", "jpeg-capacity"])
@pytest.mark.parametrize("input_size", [None, (16, 16)])
def test_it_keeps_the_contract(make_codec, system: str, input_size: tuple[int, int] | None) -> None:
    codec = make_codec() if system == "adjscc" else make_digital(system)
    check_codec(CompositeCodec(codec, Shades(input_size=input_size)), sizes=((32, 32), (17, 40)))


def test_the_frame_is_the_codecs_own(make_codec) -> None:
    codec = make_codec()
    composite = CompositeCodec(codec, Shades())
    x, conditions = pictures(2, 20, 24), Conditions(torch.tensor([5.0, 9.0]), ratio=codec.ratios[0])
    own, frame = codec.encode(x, conditions), composite.encode(x, Conditions(conditions.snr_db, conditions.ratio, "segmentation"))
    assert torch.equal(frame.symbols, own.symbols)
    assert torch.equal(frame.length, own.length)
    assert (frame.side.task, own.side.task) == ("segmentation", "reconstruction")
    assert composite.ratios == codec.ratios == CodecInfo(composite).task_ratios("segmentation")


def test_the_network_looks_at_what_arrives() -> None:
    x = pictures(2, 20, 24)
    picture = transmit(PixelCodec(), "awgn", x, snr_db=10)
    result = transmit(CompositeCodec(PixelCodec(), Shades()), "awgn", x, snr_db=10, task="segmentation")
    assert picture.image is not None
    assert result.image is None
    scores = result.reconstruction.segmentation
    assert scores is not None
    assert scores.shape == (2, len(VOC), 20, 24)
    assert torch.equal(scores, perceive(Shades(), picture.image))
    assert set(scores.argmax(1).unique().tolist()) > {0}


def test_of_a_lost_picture_all_is_background() -> None:
    """Whatever the codec shows for it, and the network sees in that."""

    class Loses(PixelCodec):
        def decode(self, received) -> Reconstruction:
            return Reconstruction(image=torch.full((2, 3, 16, 16), 0.5), ok=torch.tensor([False, True]))

    result = transmit(CompositeCodec(Loses(), Shades()), "awgn", pictures(2), snr_db=10, task="segmentation")
    scores = result.reconstruction.segmentation
    assert scores is not None
    first, second = scores.argmax(1)
    assert first.unique().tolist() == [VOC.index("background")]
    assert second.unique().tolist() == [VOC.index("sheep")]
    assert result.reconstruction.ok is not None
    assert result.reconstruction.ok.tolist() == [False, True]
    silence = transmit(CompositeCodec(PixelCodec(), Shades()), "awgn", pictures(2), snr_db=-40, task="segmentation")
    assert silence.reconstruction.ok is not None
    assert not silence.reconstruction.ok.any()
    assert silence.reconstruction.segmentation is not None
    assert silence.reconstruction.segmentation.shape == (2, len(VOC), 16, 16)
    assert silence.reconstruction.segmentation.argmax(1).unique().tolist() == [VOC.index("background")]


def test_what_the_parts_must_be(make_codec) -> None:
    with pytest.raises(UsageError, match="classification") as caught:
        CompositeCodec(make_codec(), Brightness())
    assert "--task-network" in caught.value.hint
    whole = CompositeCodec(make_codec(), Shades())
    with pytest.raises(UsageError, match="gives no picture"):
        CompositeCodec(whole, Shades())
    with pytest.raises(UsageError, match="does not serve the task 'reconstruction'"):
        transmit(whole, "awgn", pictures(1), snr_db=10)


def test_what_it_is_called_follows_from_both_parts(make_codec) -> None:
    one = CompositeCodec(make_digital("jpeg-ldpc"), Shades())
    assert one.name == one.weight.name == "jpeg-ldpc+shades"
    other = Shades()
    with torch.no_grad():
        other.centres.add_(0.01)
    digests = {
        one.weight.sha256,
        CompositeCodec(make_digital("jpeg-ldpc"), other).weight.sha256,
        CompositeCodec(make_digital("jpeg-ldpc:pack=2"), Shades()).weight.sha256,
    }
    assert len(digests) == 3
    assert CompositeCodec(make_digital("jpeg-ldpc"), Shades()).weight == one.weight


@pytest.mark.usefixtures("shades")
def test_names(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    assert composite_parts("bpg-ldpc:mcs=16qam-3/4-n1944+shades") == ("bpg-ldpc:mcs=16qam-3/4-n1944", "shades")
    assert composite_parts("adjscc") is None
    assert has_digital_codec("jpeg-ldpc:pack=2+shades")
    assert not has_digital_codec("adjscc+shades")
    learned = load("adjscc+shades", data="cifar10")
    assert isinstance(learned, CompositeCodec)
    assert learned.weight.name == "adjscc.cifar10+shades"
    assert load(learned.weight.name).weight == learned.weight  # pyright: ignore[reportAttributeAccessIssue]
    digital = load("jpeg-capacity+shades")
    assert CodecInfo(digital).any_ratio
    assert CodecInfo(digital).bound
    systems = load_all(["adjscc+shades", "jpeg-ldpc+shades"], [1 / 6, 1 / 12])
    assert [(name, ratios) for name, _, ratios in systems] == [
        ("adjscc+shades", (1 / 6, 1 / 12)),
        ("jpeg-ldpc+shades", (1 / 6, 1 / 12)),
    ]
    for name, words in (
        ("adjscc+", r"adjscc\+"),
        ("+shades", r"\+shades"),
        ("adjscc+shade", "shade"),
        ("adjsc+shades", "adjsc"),
        ("adjscc+brightness", "classification"),
        ("jpeg-ldpc+shades+shades", "no picture"),
    ):
        with pytest.raises(UsageError, match=words):
            load(name)
        with pytest.raises(UsageError, match=words):
            load_all([name])
    plus = tmp_path / "a+b.safetensors"
    plus.write_bytes((tiny_weights / "adjscc.photo.safetensors").read_bytes())
    assert load(plus).name == "adjscc.photo"
    assert load(f"{plus}+shades").tasks == ("segmentation",)


def test_mtgsc_sends_a_segmentation_at_its_own_ratio() -> None:
    from openjscc.models import create

    codec = create("mtgsc", "photo").eval()
    assert CodecInfo(codec).task_ratios("reconstruction") == codec.ratios
    assert CodecInfo(codec).task_ratios("segmentation") == codec.ratios[:1]
