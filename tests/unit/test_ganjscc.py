"""Perceptual JSCC: the networks, the discriminator, and their losses against closed forms."""

import itertools
import math

import pytest
import torch
from torch import nn

from helpers import assert_tiles_change_nothing, moved, noise_images
from openjscc.channels import make_channel
from openjscc.codec import Conditions, Frame, Received
from openjscc.errors import UsageError
from openjscc.models import create, load
from openjscc.models.adjscc import ADJSCC, ADJSCCConfig
from openjscc.models.ganjscc import GANJSCC, ChannelNorm, GANJSCCConfig, GeneratorBlock
from openjscc.training.discriminator import PatchDiscriminator
from openjscc.training.losses import discriminator_loss, generative_loss

CHANNELS = (4, 6, 8)
FIRST_PHOTO = ADJSCCConfig((8, 16, 24, 32, 64), send_scale=True, network="photo", channels=(48, 128, 192), blocks=(0, 2, 3))
PHOTO_TINY = {"network": "photo", "channels": CHANNELS, "blocks": (0, 1, 1)}


def gan(**settings: object) -> GANJSCC:
    torch.manual_seed(0)
    return GANJSCC(GANJSCCConfig(**settings)).eval()  # pyright: ignore[reportArgumentType]


# The networks


def test_the_papers_count_follows_from_its_layers() -> None:
    def conv(narrow: int, wide: int, kernel: int) -> int:
        return narrow * wide * kernel**2 + wide

    def attention(channels: int) -> int:
        hidden = max(channels // 16, 8)
        return (channels + 1) * hidden + hidden + hidden * channels + channels

    widths = (64, 128, 256)
    norms = 2 * sum(2 * width for width in widths)
    encoder = conv(3, 64, 7) + conv(64, 128, 3) + conv(128, 256, 3) + conv(256, 2, 3)
    trunk = 9 * 2 * (conv(256, 256, 3) + 2 * 256)
    generator = conv(2, 256, 3) + trunk + conv(256, 128, 3) + conv(128, 64, 3) + conv(64, 3, 7)
    with torch.device("meta"):
        codec = create("ganjscc", "paper")
    counted = sum(parameter.numel() for parameter in codec.parameters())
    assert counted == encoder + generator + norms + 2 * sum(map(attention, widths)) == 11_422_213


def test_two_channels_at_a_quarter_of_the_size_are_one_48th() -> None:
    with torch.device("meta"):
        codec = create("ganjscc", "paper")
        latent = codec.analyse(torch.zeros(1, 3, 256, 256), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert latent.shape == (1, 2, 64, 64)
    assert codec.ratios == (1 / 48,)
    assert codec.payload_uses(256, 256, 0) == 64 * 64


def test_the_photo_configuration_stays_in_its_budget() -> None:
    """25 GMAC for the decoding of 768x512, 4.4 M parameters."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        codec = create("ganjscc", "photo").eval()
        latent, rate, one = torch.zeros(1, 32, 64, 96), torch.zeros(1, dtype=torch.int64), torch.ones(1)
        with FlopCounterMode(display=False) as counter:
            codec.synthesise(latent, one, rate, one)
    assert counter.get_total_flops() / 2 < 25e9
    assert sum(parameter.numel() for parameter in codec.parameters()) < 4.4e6
    assert codec.ratios == pytest.approx((1 / 48, 1 / 24, 1 / 12))
    assert codec.default_ratio == 1 / 48


def test_channel_norm_in_closed_form() -> None:
    norm = ChannelNorm(5)
    moved(norm, 0.5)
    x = torch.randn(2, 5, 3, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    expected = norm.gamma[:, None, None] * (x - mean) / (variance + 1e-3).sqrt() + norm.beta[:, None, None]
    assert torch.allclose(norm(x), expected, atol=1e-5)
    assert torch.allclose(norm(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-5)
    other = x.clone()
    other[:, :, 1:] = 7.0  # positions do not mix
    assert torch.equal(norm(other)[:, :, 0], norm(x)[:, :, 0])


def test_a_generator_block_starts_as_the_identity_and_learns() -> None:
    torch.manual_seed(0)
    block, x = GeneratorBlock(6, 4), torch.randn(1, 6, 5, 5)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    last = block.body[-1]
    assert isinstance(last, ChannelNorm)
    assert last.gamma.grad is not None
    assert last.gamma.grad.abs().min() > 0


@pytest.mark.parametrize(
    "settings",
    [{"channels": CHANNELS, "trunk": (0, 0, 2)}, {**PHOTO_TINY, "trunk": (0, 1, 2), "trunk_width": 4}],
    ids=["paper", "photo"],
)
def test_tiles_give_the_same_picture(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_tiles_change_nothing(moved(gan(**settings), 0.02), noise_images(1, 200, 168), monkeypatch)


# The start from a trained network without a trunk


def adjscc(*rates: int, **settings: object) -> ADJSCC:
    torch.manual_seed(3)
    config = ADJSCCConfig(rates, send_scale=True, **PHOTO_TINY, **settings)  # pyright: ignore[reportArgumentType]
    codec = ADJSCC(config).eval()
    assert codec.block_attention is not None
    moved(codec, 0.1)
    return codec


def payload(codec: ADJSCC, x: torch.Tensor, ratio: float) -> torch.Tensor:
    frame = codec.encode(x, Conditions(torch.full((len(x),), 4.0), ratio))
    return frame.symbols[:, codec.header.uses(*x.shape[-2:]) :]


def decoded(codec: ADJSCC, x: torch.Tensor, ratio: float) -> torch.Tensor:
    frame = codec.encode(x, Conditions(torch.full((len(x),), 4.0), ratio))
    image = codec.decode(Received(frame.symbols, torch.full((len(x),), 0.3), None, frame.length)).image
    assert image is not None
    return image


@pytest.mark.parametrize("rates", [(8, 16, 32), (16,)])
def test_a_warm_start_does_what_the_other_network_does(rates: tuple[int, ...]) -> None:
    """At the ratios that both have; the one-hot ratio moves into the bias where there is but one."""
    source = adjscc(8, 16, 24, 32, 64)
    codec = gan(rates=rates, send_scale=True, **PHOTO_TINY, trunk=(0, 0, 2), trunk_width=4)
    x = noise_images(2, 40, 32)
    new = codec.start_from(source)
    trunk = sum(
        p.numel() for name, p in codec.named_parameters() if name.startswith(("decoder.stages.0.3.", "decoder.stages.0.4."))
    )
    assert new == trunk > 0
    for ratio in codec.ratios:
        assert torch.allclose(payload(codec, x, ratio), payload(source, x, ratio), atol=1e-5)
        assert torch.allclose(decoded(codec, x, ratio), decoded(source, x, ratio), atol=1e-5)


def test_the_first_adjscc_photo_is_the_start_of_photo() -> None:
    codec = create("ganjscc", "photo").eval()
    assert isinstance(codec, GANJSCC)
    torch.manual_seed(3)
    source = moved(ADJSCC(FIRST_PHOTO).eval(), 0.01)
    x = noise_images(1, 32, 48)
    blocks = [(128, 2), (192, 7)]  # channels, how many
    assert codec.start_from(source) == sum(count * (2 * wide * 60 * 9 + 3 * (60 + wide)) for wide, count in blocks)
    for ratio in codec.ratios:
        assert torch.allclose(payload(codec, x, ratio), payload(source, x, ratio), atol=1e-4)
        assert torch.allclose(decoded(codec, x, ratio), decoded(source, x, ratio), atol=1e-4)


def test_a_start_from_another_network_is_refused() -> None:
    codec = gan(rates=(8, 16), send_scale=True, **PHOTO_TINY, trunk=(0, 0, 2))
    for source, message in (
        (load("deepjscc.photo"), "another network"),
        (adjscc(8, 16, 32, snr_range=(0.0, 10.0)), "another network"),
        (adjscc(8, 32), "no bandwidth ratio 1/24"),
    ):
        with pytest.raises(UsageError, match=message):
            codec.start_from(source)


# What the discriminator is told


def test_the_codeword_is_what_was_received() -> None:
    codec = moved(gan(rates=(4, 8), send_scale=True, **PHOTO_TINY, trunk=()), 0.02).train()
    x, snr_db = noise_images(2), torch.full((2,), 10.0)
    received: list[Received] = []

    def channel(frame: Frame) -> Received:
        received.append(make_channel("awgn")(frame, snr_db, torch.Generator().manual_seed(0)))
        return received[0]

    output = codec.forward_training(x, Conditions(snr_db, torch.tensor([1 / 96, 1 / 48])), channel)
    image, codeword = output.reconstruction.image, output.arrived.unscaled
    assert image is not None
    assert image.requires_grad
    assert codeword.shape == (2, 8, 4, 4)
    assert not codeword[0, 4:].any()
    symbols = received[0].symbols[1, codec.header.uses(32, 32) :].unflatten(0, (4, 4, 4))
    expected = torch.stack([symbols.real, symbols.imag], 1).flatten(0, 1)
    assert torch.allclose(codeword[1], expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "size", "patches"), [(4, (32, 48), (2, 3)), (8, (128, 128), (8, 8)), (8, (33, 40), (3, 3))])
def test_one_logit_a_patch_of_16_pixels(stride: int, size: tuple[int, int], patches: tuple[int, int]) -> None:
    network = PatchDiscriminator(2, stride, condition=3, channels=(4, 4, 4, 4))
    codeword = torch.randn(2, 2, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    logits = network(noise_images(2, *size), codeword)
    assert logits.shape == (2, *patches)
    assert not torch.allclose(network(noise_images(2, *size), codeword.flip(1)), logits)


def test_the_papers_discriminator_is_as_large_as_its_layers() -> None:
    network = PatchDiscriminator(2, 4)
    widths = (15, 64, 128, 256, 512)
    stages = sum(a * b * 16 + b for a, b in itertools.pairwise(widths))
    assert sum(parameter.numel() for parameter in network.parameters()) == (2 * 12 * 9 + 12) + stages + 513 == 2_769_573
    small = PatchDiscriminator(32, 8, channels=(32, 64, 128, 256))
    assert sum(parameter.numel() for parameter in small.parameters()) == 700_013  # both as docs/models/ganjscc.md says


def test_spectral_norm_bounds_the_convolutions_and_is_kept() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(2, 4, condition=4, channels=(4, 6, 8, 10)).train()
    x, codeword = noise_images(1), torch.randn(1, 2, 8, 8)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions[:-1]:
            convolution.parametrizations.weight.original.mul_(9.0)  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(60):
        network(x, codeword)
    largest = [torch.linalg.matrix_norm(convolution.weight.flatten(1), 2).item() for convolution in convolutions[:-1]]
    assert largest == pytest.approx([1.0] * 5, abs=0.02)
    buffers = {name for name, _ in network.named_buffers()}
    assert len(buffers) == 10
    assert buffers <= set(network.state_dict())
    before = {name: value.clone() for name, value in network.named_buffers()}
    network.eval()(x, codeword)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


# Losses


def test_losses_in_closed_form() -> None:
    logits = torch.tensor([[[0.0, 0.0]], [[math.log(3.0), -math.log(3.0)]], [[200.0, -200.0]]])
    fooled = generative_loss(logits)
    assert fooled[0].item() == pytest.approx(math.log(2))
    assert fooled[1].item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert fooled[2].item() == pytest.approx(100.0)  # a sigmoid in between would say infinity
    told_apart = discriminator_loss(logits, -logits)
    assert torch.allclose(told_apart, 2 * fooled)
    assert discriminator_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)).item() == pytest.approx(2 * math.log(2))
    assert discriminator_loss(torch.full((1, 2, 2), 9.0), torch.full((1, 2, 2), -9.0)).item() < 1e-3
