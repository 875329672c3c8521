"""All registered models, in every named configuration, and all released weights."""

import dataclasses
import itertools

import pytest
import torch

from helpers import assert_tiles_change_nothing, noise_images, untrained
from openjscc.codec import LOST_GREY, Conditions, Received
from openjscc.data.bundled import probe
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.metrics.fidelity import psnr
from openjscc.models import ARCHITECTURES, LearnedCodec, create, list_models, load
from openjscc.testing import check_codec
from openjscc.testing.codecs import SIZES

CONFIGURATIONS = [(arch.name, name) for arch in ARCHITECTURES.values() for name in arch.configs]

# Counted from the layers that the papers give (a public re-implementation of ADJSCC has 11.1 M at this bandwidth).
PARAMETERS = {
    ("deepjscc", "paper-2019"): 156_467,
    ("deepjscc", "paper"): 10_690_067,
    ("deepjscc", "photo"): 815_660,
    ("deeplab_jscc", "paper"): 44_271_776,  # see test_deeplab_jscc.py
    ("deeplab_jscc", "photo"): 1_173_864,
    ("adjscc", "paper"): 10_758_191,
    ("adjscc", "cifar10"): 968_220,
    ("adjscc", "photo"): 2_964_588,
    ("ganjscc", "paper"): 11_422_213,  # see test_ganjscc.py
    ("ganjscc", "photo"): 3_339_440,
    ("ganjscc", "small"): 485_500,
    ("arjscc", "paper"): 6_624_904,  # 6.63 M in the paper, see test_arjscc.py
    ("arjscc", "cifar10"): 384_653,
    ("arjscc", "small"): 149_709,
    ("spjscc", "paper"): 6_624_904,
    ("spjscc", "cifar10"): 384_653,
    ("spjscc", "small"): 149_709,
    ("mtgsc", "paper"): 683_991_975,  # see test_mtgsc.py
    ("mtgsc", "photo"): 3_040_351,
    ("mtgsc", "photo-noise"): 3_040_351,
    ("hybrid", "photo"): 953_420,
    ("witt", "paper"): 28_203_024,  # 28.2 M for the authors' network, see test_witt.py
    ("witt", "paper-no-modnet"): 18_338_384,
    ("witt", "photo"): 1_655_176,
}


def small(arch: str, config: str) -> LearnedCodec:
    """Untrained, and moved a little off every start at zero."""
    return untrained(ARCHITECTURES[arch].cls, ARCHITECTURES[arch].configs[config], by=0.01)


@pytest.mark.parametrize(("arch", "config"), CONFIGURATIONS)
def test_parameter_count(arch: str, config: str) -> None:
    with torch.device("meta"):
        codec = create(arch, config)
    assert sum(parameter.numel() for parameter in codec.parameters()) == PARAMETERS[arch, config]


def test_paper_2020_count_follows_from_its_layers() -> None:
    def conv(a: int, b: int, k: int) -> int:
        return a * b * k * k + b

    gdn = 256 + 256**2
    prelu = 256  # one slope a channel
    encoder = conv(3, 256, 9) + 3 * conv(256, 256, 5) + 4 * (gdn + prelu) + conv(256, 16, 5)
    decoder = conv(16, 256, 5) + 3 * conv(256, 256, 5) + 4 * (gdn + prelu) + conv(256, 3, 9)
    assert encoder + decoder == PARAMETERS["deepjscc", "paper"]


@pytest.mark.parametrize(("arch", "config"), [pair for pair in CONFIGURATIONS if PARAMETERS[pair] < 1e8])
def test_contract(arch: str, config: str) -> None:
    check_codec(small(arch, config), sizes=((32, 32), (17, 40)) if config == "paper" else SIZES)


@pytest.mark.parametrize("name", [info.name for info in list_models()])
def test_released_weight_keeps_the_contract(name: str) -> None:
    check_codec(load(name))


@pytest.mark.parametrize("arch", ["adjscc", "deepjscc"])
def test_one_symbol_never_mixes_images(arch: str) -> None:
    """A trap of the field: I/Q pairs taken across the batch. Changing one image must leave every symbol of the other alone."""
    codec = small(arch, "photo")
    x = torch.rand(2, 3, 32, 32)
    changed = x.clone()
    changed[1] = 0.5
    before, after = (codec.encode(pictures, Conditions()).symbols for pictures in (x, changed))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_lower_rates_are_prefixes_in_the_layout() -> None:
    codec = small("deepjscc", "photo")  # not told the rate: the same latent at every rate
    x = torch.rand(1, 3, 64, 64)
    head = codec.header.uses(64, 64)
    sent = [codec.encode(x, Conditions(ratio=ratio)).symbols[0, head:] for ratio in codec.ratios]
    for lower, higher in itertools.pairwise(sent):
        start = higher[: len(lower)]
        assert torch.allclose(start / start.abs().mean(), lower / lower.abs().mean(), atol=1e-4)


def test_side_information_is_counted() -> None:
    """A full header takes 124 symbols, one for an agreed size 20."""
    x = torch.rand(1, 3, 64, 64)
    frame = small("adjscc", "photo").encode(x, Conditions(ratio=1 / 6))
    assert int(frame.length[0]) == 3 * 64 * 64 // 6 + 124
    frame = small("adjscc", "cifar10").encode(x[:, :, :32, :32], Conditions(ratio=1 / 6))
    assert int(frame.length[0]) == 512 + 20


def test_a_header_that_is_not_read_loses_the_picture() -> None:
    codec = small("adjscc", "photo")
    x = noise_images(3, 32, 32)
    result = transmit(codec, "awgn", x, torch.tensor([10.0, -40.0, 10.0]))
    assert result.reconstruction.ok is not None
    assert result.reconstruction.ok.tolist() == [True, False, True]
    assert result.image is not None
    assert bool((result.image[1] == LOST_GREY).all())
    assert not bool((result.image[2] == LOST_GREY).all())
    frame = codec.encode(x, Conditions())
    cut = Received(frame.symbols[:, :-1], torch.full((3,), 1e-3), None, frame.length - 1)
    heard = codec.decode(cut)
    assert heard.ok is not None
    assert not heard.ok.any()
    assert heard.image is None


@pytest.mark.parametrize("snr_db", [-100.0, 100.0])
@pytest.mark.parametrize("config", ["photo", "cifar10"])
def test_any_allowed_snr_gives_a_picture(config: str, snr_db: float) -> None:
    image = transmit(small("adjscc", config), "rayleigh:fast", probe(), snr_db).image
    assert image is not None
    assert torch.isfinite(image).all()


def test_padding_is_counted() -> None:
    frame = small("adjscc", "photo").encode(torch.rand(1, 3, 1, 1), Conditions(ratio=1 / 6))
    assert int(frame.length[0]) == 32 + 124
    assert frame.bandwidth_ratio.item() == pytest.approx(156 / 3)


def test_adjscc_hears_the_snr_and_deepjscc_does_not() -> None:
    x = torch.rand(1, 3, 32, 32)
    for arch, hears in (("adjscc", True), ("deepjscc", False)):
        codec = small(arch, "photo")
        low, high = (codec.encode(x, Conditions(snr_db=torch.tensor([snr]))).symbols for snr in (0.0, 20.0))
        assert torch.equal(low, high) is not hears


def test_ratio_per_image() -> None:
    codec = small("adjscc", "photo")
    frame = codec.encode(torch.rand(2, 3, 32, 32), Conditions(ratio=torch.tensor([1 / 48, 1 / 6])))
    assert frame.length.tolist() == [64 + 124, 512 + 124]
    with pytest.raises(UsageError, match=r"no bandwidth ratio 1/5") as caught:
        codec.encode(torch.rand(1, 3, 32, 32), Conditions(ratio=1 / 5))
    assert "1/48, 1/24, 1/16, 1/12, 1/6" in caught.value.hint
    for wrong in (float("nan"), float("inf"), torch.ones(3), torch.ones(2, 2), "1/6"):
        with pytest.raises(UsageError):
            codec.encode(torch.rand(1, 3, 32, 32), Conditions(ratio=wrong))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("arch", "config"), [("adjscc", "photo"), ("deepjscc", "photo"), ("deepjscc", "paper-2019")])
def test_tiles_give_the_same_picture(arch: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_tiles_change_nothing(small(arch, config), noise_images(1, 328, 272), monkeypatch)


def test_macs_of_the_default_photo_model_stay_in_budget() -> None:
    assert small("adjscc", "photo").macs_per_pixel() * 256**2 == pytest.approx(4.35e9, rel=0.02)


def test_the_photo_model_starts_as_linear_transmission() -> None:
    """Untrained, the DCT shortcut alone sends the probe picture; with a ratio too small it must be worse."""
    x = probe()
    codec = create("adjscc", "photo").eval()
    results = [transmit(codec, "awgn", x, 20.0, ratio=ratio).image for ratio in (1 / 48, 1 / 6)]
    low, high = (float(psnr(x, image)) for image in results if image is not None)
    assert low > 12
    assert high > low + 4


def test_bad_configuration_is_refused() -> None:
    config = ARCHITECTURES["adjscc"].configs["photo"]
    for rates in ((), (3,), (16, 8), (8, 8)):
        with pytest.raises(UsageError, match="rates"):
            dataclasses.replace(config, rates=rates)


def test_the_snr_is_clamped_to_what_the_network_was_made_for() -> None:
    codec = small("adjscc", "cifar10")
    low, high = codec.config.snr_range
    x = noise_images(1, 32, 32)
    for inside, outside in ((low, low - 30.0), (high, high + 40.0)):
        first, second = (codec.encode(x, Conditions(torch.tensor([snr_db]), codec.ratios[0])) for snr_db in (inside, outside))
        assert torch.equal(first.symbols, second.symbols)
        received = (
            Received(first.symbols, torch.tensor([10 ** (-snr_db / 10)]), None, first.length) for snr_db in (inside, outside)
        )
        images = [codec.arrived(each, first.side).snr_db for each in received]
        assert torch.allclose(images[0], images[1])
        assert images[0].item() == pytest.approx(inside, abs=1e-4)
    between = codec.encode(x, Conditions(torch.tensor([(low + high) / 2]), codec.ratios[0]))
    assert not torch.equal(between.symbols, first.symbols), "the network hears the SNR at all"


def test_who_knows_no_snr_takes_the_middle_of_the_range() -> None:
    codec = small("adjscc", "cifar10")
    x = noise_images(1, 32, 32)
    middle = torch.tensor([sum(codec.config.snr_range) / 2])
    nobody, known = (codec.encode(x, Conditions(snr_db, codec.ratios[0])).symbols for snr_db in (None, middle))
    assert torch.equal(nobody, known)


def test_the_receiver_undoes_the_normalisation_of_power() -> None:
    """Without noise the latent arrives as it was, to the rounding of its scale (1/32 dB, 0.4 %)."""
    codec = small("adjscc", "photo")
    assert codec.config.send_scale
    x = noise_images(2, 16, 16) * torch.tensor([0.1, 1.0])[:, None, None, None]
    frame = codec.encode(x, Conditions(torch.tensor([10.0, 10.0]), codec.ratios[-1]))
    latent, _ = codec.choose(x, torch.tensor([10.0, 10.0]), codec.ratios[-1], "reconstruction")
    found = codec.arrived(Received(frame.symbols, torch.full((2,), 0.1), None, frame.length), frame.side).latent
    assert ((found - latent).flatten(1).norm(dim=1) <= 0.004 * latent.flatten(1).norm(dim=1)).all()


def test_the_effective_snr_is_of_the_symbols_that_are_sent() -> None:
    """Under fast fading, in a batch of two rates: what the shorter frame does not send has no noise to count."""
    codec = small("adjscc", "photo")
    x = noise_images(2, 16, 16)
    frame = codec.encode(x, Conditions(torch.tensor([10.0, 10.0]), torch.tensor([codec.ratios[0], codec.ratios[-1]])))
    short, long = frame.length.tolist()
    assert short < long
    noise_var = torch.full((2, long), 0.1)
    noise_var[0, short:] = 1e3
    found = codec.arrived(Received(frame.symbols, noise_var, None, frame.length), frame.side).snr_db
    assert found.tolist() == pytest.approx([10.0, 10.0], abs=1e-4)
