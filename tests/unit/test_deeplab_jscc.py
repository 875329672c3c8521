"""DeepLab JSCC: its layers part by part, atrous convolutions, sizes, budget, and how large it is beside MTGSC's segmentation."""

import doctest
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import count, noise_images, untrained
from openjscc.codec import Conditions
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.models import create, deeplab_jscc
from openjscc.models.deeplab_jscc import AtrousBlock, AtrousPyramid, DeepLabConfig, DeepLabJSCC
from openjscc.testing import CheckFailed, check_codec

TINY = DeepLabConfig(
    rates=(4, 8), stem=4, channels=(4, 6, 8, 8), depths=(1, 1, 2, 1), bottleneck=False, pyramid=(1, 2), told=True, classes=5
)


def test_parts_of_the_paper_configuration() -> None:
    """ResNet-101 without its classifier has 42,500,160; ASPP and the two convolutions around the channel come on top."""
    with torch.device("meta"):
        codec = create("deeplab_jscc", "paper")
    assert isinstance(codec, DeepLabJSCC)
    assert count(codec.encoder.stem) + count(codec.encoder.stages) + count(codec.decoder.stages) == 42_500_160
    assert count(codec.decoder.stages) == 14_964_736  # res5
    assert count(codec.decoder.pyramid) == 4 * 21 * (2048 * 9 + 1)
    assert count(codec.encoder.head) == 12 * (1024 * 9 + 1)
    assert count(codec.decoder.tail) == 1024 * (12 * 9 + 2)  # batch normalisation has a scale and a shift
    rates = {module.dilation[0] for module in codec.modules() if isinstance(module, nn.Conv2d)}
    assert rates == {1, 2, 4, 6, 12, 18, 24}


def test_photo_is_as_large_as_the_segmentation_of_mtgsc() -> None:
    other, own = create("mtgsc", "photo"), create("deeplab_jscc", "photo")
    result = other.train().decode(received(other, noise_images(2, 32, 32)))
    assert result.segmentation is not None
    result.segmentation.square().mean().backward()
    path = sum(parameter.numel() for parameter in other.parameters() if parameter.grad is not None)
    assert path == 1_174_501
    assert count(own) == pytest.approx(path, rel=0.05)
    assert other.macs_per_pixel("segmentation") == pytest.approx(26_322, rel=1e-3)
    assert own.macs_per_pixel() == own.macs_per_pixel("segmentation") == pytest.approx(22_419, rel=1e-3)


def received(codec, x: torch.Tensor):
    from openjscc.channels import make_channel

    snr_db = torch.full((len(x),), 10.0)
    return make_channel("awgn")(
        codec.encode(x, Conditions(snr_db, task="segmentation")), snr_db, torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, bottleneck=True, channels=(4, 8, 8, 8), told=False, send_scale=True), replace(TINY, sent=2)],
    ids=["basic blocks", "bottlenecks", "two stages sent"],
)  # fmt: skip
def test_contract(config: DeepLabConfig) -> None:
    check_codec(untrained(DeepLabJSCC, config), sizes=((1, 1), (17, 40), (72, 33)))


def test_what_comes_out_is_checked() -> None:
    class Silent(DeepLabJSCC):
        def decode(self, received):
            return replace(super().decode(received), segmentation=None)

    class Small(DeepLabJSCC):
        def decode(self, received):
            result = super().decode(received).segmentation
            assert result is not None
            return replace(super().decode(received), segmentation=result[:, :, ::2, ::2])

    class Mixed(DeepLabJSCC):
        def decode(self, received):
            result = super().decode(received).segmentation
            assert result is not None
            return replace(super().decode(received), segmentation=result + result.mean(0))

    for cls, message in ((Silent, "nothing comes out"), (Small, "comes out with shape"), (Mixed, "between a batch and alone")):
        with pytest.raises(CheckFailed, match=message):
            check_codec(cls(TINY).eval(), sizes=((16, 24),))


def test_the_paper_budget_of_20_kbit_holds() -> None:
    result = transmit(create("deeplab_jscc", "photo").eval(), "awgn", noise_images(1, 224, 224), 10.0, task="segmentation")
    assert int(result.frame.length) == 6 * 28 * 28 + 124  # 20,000 coded bits at 16-QAM are 5,000
    assert result.image is None
    assert result.reconstruction.segmentation is not None
    assert result.reconstruction.segmentation.shape == (1, 21, 224, 224)


def test_pictures_are_not_served() -> None:
    with pytest.raises(UsageError, match="does not serve the task 'reconstruction'"):
        transmit(untrained(DeepLabJSCC, TINY), "awgn", noise_images(1, 16, 16), 10.0)


def test_both_ends_hear_the_snr_and_the_rate() -> None:
    codec = untrained(DeepLabJSCC, TINY)
    x = noise_images(1, 32, 32)
    low, high = (codec.encode(x, Conditions(torch.tensor([snr]), task="segmentation")).symbols for snr in (0.0, 18.0))
    assert not torch.equal(low, high)
    frame = codec.encode(x, Conditions(torch.tensor([10.0]), ratio=codec.ratios[0], task="segmentation"))
    heard = received(codec, x)
    side, _ = codec.header.read(heard)
    assert side is not None
    latent = codec.arrived(heard, side).latent
    quiet, loud = (codec.synthesise(latent, torch.tensor([snr]), torch.tensor([1]), torch.ones(1)) for snr in (0.0, 18.0))
    assert not torch.allclose(quiet, loud)
    assert int(frame.length) == 2 * 16 + 124  # 2 symbols at 4 x 4 positions, and the header


def test_atrous_blocks_see_far_and_keep_the_grid() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 21, 21)
    spot = x.clone()
    spot[:, :, 10, 10] += 1
    for rate, bottleneck, reach in ((1, False, 2), (4, False, 8), (4, True, 4)):
        block = AtrousBlock(4, 4, 1, rate, bottleneck).eval()
        changed = (block(spot) - block(x)).abs().sum((0, 1)).nonzero() - 10
        assert int(changed.abs().max()) == reach
        assert bool((changed % rate == 0).all())
    assert AtrousBlock(4, 6, 2, 1, False)(x).shape == (1, 6, 11, 11)


def test_the_pyramid_sums_its_branches() -> None:
    torch.manual_seed(0)
    pyramid, x = AtrousPyramid(3, 2, (1, 3)), torch.randn(2, 3, 9, 7)
    assert torch.allclose(pyramid(x), pyramid.branches[0](x) + pyramid.branches[1](x), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 1)}, "channels"),
        ({"sent": 4}, "sent"),
        ({"sent": 0}, "sent"),
        ({"strides": (1, 2, 1, 2)}, "strides"),
        ({"atrous": (1, 1, 0, 1)}, "strides"),
        ({"bottleneck": True}, "bottlenecks"),
        ({"pyramid": ()}, "pyramid"),
    ],
)
def test_configurations_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(TINY, **changes)


def test_examples() -> None:
    assert doctest.testmod(deeplab_jscc).failed == 0
