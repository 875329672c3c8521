"""AR-JSCC (and SP-JSCC, the same network): a policy that chooses the rate, its account and its gradients."""

import copy
import dataclasses
import math

import pytest
import torch

from helpers import assert_tiles_change_nothing, noise_images, untrained
from openjscc.channels import make_channel
from openjscc.codec import Conditions, Frame, Received
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.models import PolicyDraw, create
from openjscc.models.arjscc import ARJSCC, FIRST_TEMPERATURE, draw, fixed, thermometer
from openjscc.training.sections import RateSection
from openjscc.units import channel_uses_per_pixel

SHORT, SCALED = 20, 30  # headers of the agreed size, without and with a scale
NAN = float("nan")


def small(config: str = "small", **changes: object) -> ARJSCC:
    """Untrained, and moved a little off every start at zero."""
    known = create("arjscc", config).config
    return untrained(ARJSCC, dataclasses.replace(known, **changes), by=0.02)  # pyright: ignore[reportArgumentType]


def choosing(codec: ARJSCC, choices: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the policy chooses these numbers of groups."""
    logits = 5.0 * torch.nn.functional.one_hot(torch.tensor(choices), len(codec.ratios)).float()
    monkeypatch.setattr(codec.policy, "forward", lambda features, conditions: logits)


def update(
    codec: ARJSCC, x: torch.Tensor, ratio: torch.Tensor | None = None, uniforms: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward in training mode: mean squared error, and the number of groups selected."""
    codec.train()
    snr_db = torch.full((len(x),), 10.0)

    def channel(frame: Frame) -> Received:
        return make_channel("awgn")(frame, snr_db, torch.Generator().manual_seed(0))

    policy = None if uniforms is None else PolicyDraw(uniforms, FIRST_TEMPERATURE)
    output = codec.forward_training(x, Conditions(snr_db, ratio), channel, policy)
    assert output.reconstruction.image is not None
    assert output.selected is not None
    return (output.reconstruction.image - x).square().mean(), output.selected


# The paper's network


def test_parts_have_as_many_parameters_as_the_paper_says() -> None:
    """0.379 M, 2.926 M, 3.299 M and 0.021 M. That takes: no bias where batch normalisation follows, nor in the two convolutions
    at the latent; two perceptrons of hidden width 256 a modulation; a 5x5 convolution (with a bias) at the very end."""
    with torch.device("meta"):
        codec = create("arjscc", "paper")
    count = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in codec.named_children()}
    assert count["source_encoder"] == 3 * 64 * 49 + 64 * 128 * 9 + 128 * 256 * 9 + 2 * (64 + 128 + 256) == 378_944
    block = 2 * (256 * 256 * 9 + 2 * 256)
    modulation = 2 * (257 * 256 + 256 + 256 * 256 + 256)
    assert count["channel_encoder"] == 2 * block + 2 * modulation + 256 * 16 * 9 == 2_925_568
    up = 256 * 128 * 9 + 128 * 64 * 9 + 2 * (128 + 64) + 64 * 3 * 25 + 3
    assert count["channel_decoder"] + count["source_decoder"] == 16 * 256 * 9 + 2 * block + 2 * modulation + up == 3_299_395
    assert count["policy"] == 257 * 64 + 64 + 64 * 64 + 64 + 64 * 5 + 5 == 20_997
    assert sum(count.values()) == 6_624_904


def test_paper_rates_are_a_quarter_to_a_half_use_per_pixel() -> None:
    with torch.device("meta"):
        ratios = create("arjscc", "paper").ratios
    assert [channel_uses_per_pixel(ratio) for ratio in ratios] == pytest.approx([0.25, 0.3125, 0.375, 0.4375, 0.5])


def test_batch_statistics_stay_out_of_evaluation() -> None:
    codec = small("paper")
    update(codec, noise_images(4) * 0.3)
    codec.eval()
    x = noise_images(3)
    together = codec.encode(x, Conditions(torch.tensor([0.0, 10.0, 20.0]))).symbols
    alone = codec.encode(x[1:2], Conditions(torch.tensor([10.0]))).symbols
    assert torch.allclose(together[1, : alone.shape[1]], alone[0], atol=1e-4)


def test_spjscc_is_the_same_network() -> None:
    for config in ("paper", "cifar10", "small"):
        with torch.device("meta"):
            one, other = create("arjscc", config), create("spjscc", config)
        assert one.config == other.config
        assert other.name == "spjscc"
        shapes = [{key: value.shape for key, value in codec.state_dict().items()} for codec in (one, other)]
        assert shapes[0] == shapes[1]


# What is sent


def test_thermometer() -> None:
    assert fixed(torch.tensor([0, 2, 4]), 5).mask.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert thermometer(torch.tensor([[0.1, 0.2, 0.7]])).tolist() == [pytest.approx([0.9, 0.7])]


def test_forced_rates() -> None:
    codec = small(send_scale=False)
    x = noise_images(5)
    frame = codec.encode(x, Conditions(ratio=torch.tensor(codec.ratios)))
    assert frame.length.tolist() == [256 + SHORT, 320 + SHORT, 384 + SHORT, 448 + SHORT, 512 + SHORT]
    assert frame.bandwidth_ratio.tolist() == pytest.approx([length / 3072 for length in frame.length.tolist()])
    assert codec.encode(x, Conditions(ratio=1 / 8)).length.tolist() == [384 + SHORT] * 5


def test_the_choice_is_told_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = small()
    assert codec.has_policy
    assert not create("adjscc", "cifar10").has_policy
    choosing(codec, [3, 0, 4], monkeypatch)
    result = transmit(codec, "awgn", noise_images(3), 10.0)
    assert result.frame.length.tolist() == [448 + SCALED, 256 + SCALED, 512 + SCALED]
    assert result.bandwidth_ratio.tolist() == pytest.approx([478 / 3072, 286 / 3072, 542 / 3072])
    side, ok = codec.header.read(result.received)
    assert ok.all()
    assert side is not None
    assert side.rate is not None
    assert side.rate.tolist() == [3, 0, 4]
    assert torch.equal(side.scale, result.frame.side.scale)


def test_the_policy_hears_the_picture_and_the_snr() -> None:
    codec = small()
    features = torch.rand(2, codec.config.channels[-1], 8, 8)
    base = codec.policy(features, torch.tensor([[0.0], [0.0]]))
    assert not torch.allclose(base[0], base[1])
    assert not torch.allclose(codec.policy(features, torch.tensor([[1.0], [1.0]])), base)


def test_without_a_ratio_training_and_evaluation_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever carries gradients is zero."""
    codec = small()
    choosing(codec, [1, 4], monkeypatch)
    x, told = noise_images(2), Conditions(torch.tensor([3.0, 9.0]))
    frames: list[Frame] = []

    def channel(frame: Frame) -> Received:
        frames.append(frame)
        return Received(frame.symbols, torch.tensor([0.5, 0.1]), None, frame.length)

    image = codec.decode(channel(codec.encode(x, told))).image
    policy = PolicyDraw(torch.full((2, 5), 0.5), FIRST_TEMPERATURE)
    trained = codec.train().forward_training(x, told, channel, policy).reconstruction.image
    assert image is not None
    assert trained is not None
    assert torch.equal(frames[0].length, frames[1].length)
    assert torch.allclose(frames[0].symbols, frames[1].symbols, atol=1e-5)
    assert torch.allclose(image, trained.clamp(0, 1), atol=1e-4)


# Learning


def test_temperature_falls_as_in_the_paper() -> None:
    paper = RateSection()
    assert paper.temperature == FIRST_TEMPERATURE
    assert paper.temperature_at(0) == 5.0
    assert paper.temperature_at(100) == pytest.approx(5 * math.exp(-1.5))
    assert paper.temperature_at(1000) == 0.005
    assert RateSection(temperature=2.0, decay=0.1).temperature_at(10) == pytest.approx(2 * math.exp(-1))


def test_draws_follow_the_logits_and_nothing_else() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 0.5, 0.0]]).expand(50_000, -1)
    uniforms = torch.rand(50_000, 5, generator=torch.Generator().manual_seed(0))
    for temperature in (5.0, 0.005):
        index = draw(logits, uniforms, temperature).index
        shares = torch.bincount(index, minlength=5) / len(index)
        assert torch.allclose(shares, torch.softmax(logits[0], 0), atol=0.01)
    extremes = torch.tensor([[0.0, 1 - 2.0**-24, 1.0, 0.5, 0.5]])
    assert torch.isfinite(draw(logits[:1], extremes, 0.005).mask).all()


@pytest.mark.parametrize("config", ["small", "paper"])
def test_both_terms_teach_the_policy(config: str) -> None:
    x = noise_images(4)
    for term in range(2):
        codec = small(config)
        torch.manual_seed(1)
        update(codec, x)[term].sum().backward()
        for name, parameter in codec.policy.named_parameters():
            assert parameter.grad is not None
            assert bool(parameter.grad.any()), f"nothing teaches {name}"


def test_the_price_makes_the_policy_select_less() -> None:
    codec = small()
    optimizer = torch.optim.Adam(codec.policy.parameters(), lr=3e-3)
    x = noise_images(16)
    counts = []
    for step in range(60):
        uniforms = torch.rand(16, 5, generator=torch.Generator().manual_seed(step))
        selected = update(codec, x, uniforms=uniforms)[1]
        counts.append(selected.mean().item())
        selected.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert sum(counts[:5]) / 5 > 1.0
    assert sum(counts[-10:]) / 10 < 0.5


def test_a_given_ratio_teaches_the_policy_nothing() -> None:
    codec = small()
    loss, selected = update(codec, noise_images(5), torch.tensor(codec.ratios))
    assert selected.tolist() == [0, 1, 2, 3, 4]
    (loss + selected.mean()).backward()
    assert not any(bool(parameter.grad.any()) for parameter in codec.policy.parameters() if parameter.grad is not None)


def test_nan_leaves_a_picture_to_the_policy_in_training_only() -> None:
    codec = small()
    ratio = torch.tensor([NAN, 1 / 12, NAN, 1 / 6])
    uniforms = torch.full((4, 5), 0.5)
    uniforms[0, 3] = uniforms[2, 1] = 1.0  # by far the largest
    uniforms[1, 3] = uniforms[3, 1] = 1.0
    _, selected = update(codec, noise_images(4), ratio, uniforms)
    assert selected.tolist() == [3, 0, 1, 4]
    selected.sum().backward()
    codec.eval()
    with pytest.raises(UsageError, match="no bandwidth ratio nan"):
        codec.encode(noise_images(4), Conditions(ratio=ratio))


def test_draws_must_fit() -> None:
    with pytest.raises(UsageError, match="policy draw"):
        update(small(), noise_images(2), uniforms=torch.zeros(3, 5))


def test_an_update_leaves_nothing_on_the_codec() -> None:
    codec = small()
    before = codec.__dict__.keys() | {"training"}
    update(codec, noise_images(2))
    assert codec.__dict__.keys() == before
    assert copy.deepcopy(codec).training


@pytest.mark.parametrize("send_scale", [False, True])
def test_gradient_of_the_mask_is_that_of_sending_a_little_less(send_scale: bool) -> None:
    """Against a link whose groups can be sent in part: symbols, power and noise by the definition."""
    codec = small(send_scale=send_scale)
    generator = torch.Generator().manual_seed(0)
    rates = codec.config.rates
    shape = (2, rates[-1], 4, 4)
    latent, noise, target = (torch.randn(shape, generator=generator) for _ in range(3))
    latent *= torch.linspace(2, 0.5, rates[-1])[:, None, None]
    hard = fixed(torch.tensor([1, 3]), 5).mask
    group = torch.tensor([sum(channel >= rate for rate in rates) for channel in range(rates[-1])])

    def arrive(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents at the receiver, and their scale."""
        weight = torch.cat([torch.ones(2, 1), mask], 1)[:, group][:, :, None, None].expand(shape)
        sent = torch.cat([torch.ones(2, 1), hard], 1)[:, group][:, :, None, None]
        power = 2 * (weight * latent.square()).flatten(1).sum(1) / weight.flatten(1).sum(1)
        scale = power.sqrt() if send_scale else torch.ones(2)
        received = latent / power.sqrt()[:, None, None, None] + 0.3 * noise * sent  # no noise where nothing was sent
        return weight * received * scale[:, None, None, None], scale

    soft = hard.clone().requires_grad_()
    received, scale = arrive(soft)
    (expected,) = torch.autograd.grad((received * target).sum(), soft)
    mask = hard.clone().requires_grad_()
    passed = codec._straight_through(received.detach(), scale.detach(), latent, mask)
    assert torch.allclose(passed, received, atol=1e-6)
    (gradient,) = torch.autograd.grad((passed * target).sum(), mask)
    assert torch.allclose(gradient, expected, atol=1e-3 * float(expected.abs().max()))


# Sizes


@pytest.mark.parametrize("config", ["paper", "cifar10"])
def test_tiles_give_the_same_picture(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_tiles_change_nothing(small(config), noise_images(1, 168, 136), monkeypatch)


def test_released_configurations_keep_the_budget_and_have_no_batch_statistics() -> None:
    """Three weights in half precision within 2.5 MiB."""
    for config, most in (("cifar10", 420_000), ("small", 160_000)):
        with torch.device("meta"):
            codec = create("arjscc", config)
        assert sum(parameter.numel() for parameter in codec.parameters()) <= most
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in codec.modules())


def test_a_configuration_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="channels"):
        small(channels=(3, 3))
