"""MTGSC: Table I part by part, the two tasks, the diffusion decoder's states and steps, the transformer's parts."""

import doctest
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import count, noise_images, untrained
from openjscc.codec import Conditions, Frame, Received
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.models import create, mtgsc
from openjscc.models.mtgsc import MTGSC, MTGSCConfig
from openjscc.models.mtgsc.diffusion import Bridge, Denoising, Path, cosine_schedule, noise_level
from openjscc.models.mtgsc.networks import TransmitterKB
from openjscc.models.mtgsc.transformer import DiT, GridAttention, WindowedAttention, sinusoids
from openjscc.testing import check_codec

TINY = MTGSCConfig(
    rates=(4, 8), channels=(6, 8, 10, 12), depths=(1, 2, 1), heads=2, window=3, hidden=8, width=12, depth=2, decoder_heads=2,
    expansion=2, fine=4, classes=5,
)  # fmt: skip
SIGNAL = replace(TINY, span=3, shared=True, told=True, state="signal", shortcut=True, send_scale=True)


def test_parts_of_the_paper_configuration() -> None:
    with torch.device("meta"):
        codec = create("mtgsc", "paper")

    def block(width: int) -> int:
        attention, mlp, norms = 4 * width * (width + 1), 8 * width * width + 5 * width, 4 * width
        return attention + 13**2 * 3 + mlp + norms

    widths = (96, 192, 384, 768)
    swin = (3 * 16 + 1) * 96 + sum(2 * block(width) for width in widths[:3])
    merging = sum(8 * width + 4 * width * out for width, out in itertools.pairwise(widths))
    levels = sum((width + 1) * 96 for width in widths[1:])
    assert isinstance(codec, MTGSC)
    assert count(codec.knowledge_encoder) == swin + merging + levels
    # A block of DiT-XL/2: attention, MLP of four times the width, six modulations from the time.
    assert count(codec.decoder.transformer.blocks) + count(codec.decoder.transformer.modulations) == 28 * (
        4 * 1152 * 1153 + (8 * 1152 + 5) * 1152 + 6 * 1152 * 1153
    )
    for name, width in (("reconstruction", 24), ("segmentation", 12)):
        assert count(codec.encoder.heads[name]) == width * (128 * 9 + 1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("config", [TINY, SIGNAL, replace(SIGNAL, state="noise")], ids=["paper's", "signal", "noise"])
def test_contract(config: MTGSCConfig) -> None:
    codec = untrained(MTGSC, config)
    check_codec(codec, sizes=((1, 1), (17, 40), (72, 33)))
    codec.steps = 3
    check_codec(codec, sizes=((17, 40),))


def test_a_segmentation_is_sent_with_fewer_symbols() -> None:
    codec = untrained(MTGSC, SIGNAL)
    picture = transmit(codec, "awgn", noise_images(1, 64, 48), 10.0)
    masks = transmit(codec, "awgn", noise_images(1, 64, 48), 10.0, task="segmentation")
    assert masks.image is None
    assert masks.reconstruction.segmentation is not None
    assert masks.reconstruction.segmentation.shape == (1, 5, 64, 48)
    assert picture.frame.length - masks.frame.length == 2 * 8 * 6  # 2 of 4 symbols at 8 x 6 positions
    assert transmit(codec, "awgn", noise_images(1, 64, 48), 10.0, task="segmentation", ratio=codec.ratios[0]).frame.length > 0
    with pytest.raises(UsageError, match="one bandwidth ratio"):
        transmit(codec, "awgn", noise_images(1, 64, 48), 10.0, task="segmentation", ratio=codec.ratios[1])


def test_the_paper_budget_of_20_kbit_holds() -> None:
    codec = create("mtgsc", "photo").eval()
    length = transmit(codec, "awgn", noise_images(1, 224, 224), 10.0, task="segmentation").frame.length
    assert 4000 < int(length) <= 5000  # 20,000 coded bits at 16-QAM


def test_a_segmentation_does_not_use_the_first_level() -> None:
    base = TransmitterKB(TINY)
    base(noise_images(1, 32, 32), "segmentation").square().sum().backward()
    assert base.levels[0].weight.grad is None
    base(noise_images(1, 32, 32), "reconstruction").square().sum().backward()
    assert base.levels[0].weight.grad is not None


def smooth(batch: int, height: int, width: int) -> torch.Tensor:
    """Pictures that a linear transform of few coefficients keeps."""
    return nn.functional.interpolate(noise_images(batch, 4, 4), size=(height, width), mode="bicubic").clamp(0, 1)


def psnr(x: torch.Tensor, y: torch.Tensor) -> float:
    return -10 * float((x - y).square().mean().log10())


def test_untrained_it_transmits_as_the_block_transform_alone() -> None:
    torch.manual_seed(0)
    codec = MTGSC(replace(SIGNAL, rates=(12, 24))).eval()
    x = smooth(2, 40, 48)
    seen: list[torch.Tensor] = []
    codec.decoder.register_forward_hook(lambda module, arguments, result: seen.append(arguments[0]))
    image = transmit(codec, "awgn", x, 15.0).image
    assert image is not None
    grey = psnr(x.mean((2, 3), keepdim=True).expand_as(x), x)
    assert psnr(image, x) > grey + 6
    assert torch.allclose(((seen[0] + 1) / 2).clamp(0, 1), image)  # the state is the received signal, as a picture


def test_untrained_class_scores_depend_on_the_place() -> None:
    torch.manual_seed(0)
    codec = create("mtgsc", "photo").eval()
    scores = transmit(codec, "awgn", smooth(1, 64, 64), 10.0, task="segmentation").reconstruction.segmentation
    assert scores is not None
    assert float(scores.std((2, 3)).mean()) > 0.05


def test_class_scores_do_not_depend_on_the_loudness_of_noise_images() -> None:
    codec = untrained(MTGSC, SIGNAL)
    frame = codec.encode(smooth(1, 32, 32), Conditions(torch.tensor([10.0]), task="segmentation"))
    side, noise_var = frame.side, torch.tensor([0.1])
    assert side.scale is not None
    seen: list[torch.Tensor] = []
    codec.receiver.first.register_forward_hook(lambda module, arguments, result: seen.append(arguments[0]))
    scores = [
        codec.decode_payload(Received(frame.symbols, noise_var, None, frame.length), replace(side, scale=scale)).segmentation
        for scale in (side.scale, 3 * side.scale)
    ]
    assert scores[0] is not None
    assert scores[1] is not None
    assert float(scores[0].detach().std()) > 0
    assert torch.allclose(scores[0], scores[1], atol=1e-5)
    assert float(seen[0][:, :4].detach().square().mean()) == pytest.approx(0.5, rel=0.01)  # symbols of unit energy


PATHS = {"signal": Bridge(0.2), "noise": Denoising()}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_states_between_picture_and_start(path: Path) -> None:
    x, noise = noise_images(2, 8, 8), torch.randn(2, 3, 8, 8)
    start = path.start(torch.randn(2, 3, 8, 8), noise)
    assert torch.allclose(path.state(x, start, torch.zeros(2), noise), x)
    assert torch.allclose(path.state(x, start, torch.ones(2), noise), start, atol=1e-6)


def test_noise_of_the_bridge() -> None:
    """At p its standard deviation is sigma sqrt(p (1 - p)), whether reached in one step or in several."""
    path, count, place = Bridge(0.5), 40_000, torch.tensor([0.3])
    x, start = torch.zeros(1, 1, 1, count), torch.ones(1, 1, 1, count)
    generator = torch.Generator().manual_seed(0)

    def noise() -> torch.Tensor:
        return torch.randn(1, 1, 1, count, generator=generator)

    state, now = start, torch.ones(1)
    for then in (0.8, 0.5, 0.3):
        state, now = path.move(x, state, now, torch.tensor([then]), noise()), torch.tensor([then])
    for each in (state, path.state(x, start, place, noise())):
        assert float(each.mean()) == pytest.approx(0.3, abs=0.01)
        assert float(each.std()) == pytest.approx(0.5 * (0.3 * 0.7) ** 0.5, rel=0.02)


def test_the_bridge_does_not_give_the_picture_away() -> None:
    """Who knows start and state knows the picture up to the noise: nearer to it than the start by less than the noise hides."""
    path, place = Bridge(0.2), torch.full((2,), 0.9)
    x, generator = noise_images(2, 32, 32), torch.Generator().manual_seed(0)
    start = x + 0.1 * torch.randn(x.shape, generator=generator)
    state = path.state(x, start, place, torch.randn(x.shape, generator=generator))
    guess = (state - 0.9 * start) / 0.1
    assert psnr(guess, x) < psnr(start, x)


def test_the_cosine_schedule_keeps_the_power() -> None:
    left, right = cosine_schedule(torch.tensor([0.0, 0.3, 1.0]))
    assert torch.allclose(left**2 + right**2, torch.ones(3))


@pytest.mark.parametrize("kind", ["signal", "noise"])
def test_steps_go_on_from_what_was_predicted(kind: str) -> None:
    codec = untrained(MTGSC, replace(SIGNAL, state=kind, bridge=0.0))
    target, received = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    seen: list[tuple[float, torch.Tensor]] = []

    def oracle(state: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
        seen.append((float(progress), state))
        return target

    codec.steps = 4
    assert torch.equal(codec._refined(oracle, received), target)
    assert [progress for progress, _ in seen] == pytest.approx([1, 0.75, 0.5, 0.25])
    for progress, state in seen:  # a predictor that is right moves it straight to the picture
        expected = codec.path.state(target, seen[0][1], torch.tensor([progress]), torch.zeros(()))
        assert torch.allclose(state, expected, atol=1e-5)


def test_the_time_is_that_of_the_snr() -> None:
    assert float(noise_level(torch.tensor(0.0))) == pytest.approx(0.5**0.5)
    assert float(noise_level(torch.tensor(20.0))) == pytest.approx(1 / 101**0.5)
    codec, times = untrained(MTGSC, SIGNAL), []
    codec.decoder.register_forward_hook(lambda module, arguments, result: times.append(float(arguments[3])))
    codec.steps = 2
    transmit(codec, "awgn", noise_images(1, 16, 16), 10.0)
    assert times == pytest.approx([11**-0.5, 0.5 * 11**-0.5], rel=1e-3)


@pytest.mark.parametrize("kind", ["signal", "noise"])
def test_noise_follows_from_the_seed_and_not_from_the_batch(kind: str) -> None:
    codec = untrained(MTGSC, replace(SIGNAL, state=kind))
    x = noise_images(2, 16, 24)
    codec.steps = 3
    both, one = transmit(codec, "awgn", x, 10.0).image, transmit(codec, "awgn", x[1:], 10.0).image
    assert both is not None
    assert one is not None
    assert torch.allclose(both[1:], one, atol=1e-5)
    codec.seed = 1
    other = transmit(codec, "awgn", x, 10.0).image
    assert other is not None
    assert not torch.allclose(both, other, atol=1e-5)


def test_training_starts_between_picture_and_signal() -> None:
    codec = untrained(MTGSC, replace(SIGNAL, bridge=0.5)).train()
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    x, snr_db = noise_images(2, 16, 16), torch.tensor([10.0, 5.0])
    states: list[torch.Tensor] = []
    codec.decoder.register_forward_hook(lambda module, arguments, result: states.append(arguments[0].detach()))

    def channel(frame: Frame) -> Received:
        return Received(frame.symbols, 10 ** (-snr_db / 10), None, frame.length)

    for progress in (torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.25]), torch.tensor([0.0, 0.0])):
        output = codec.forward_training(x, Conditions(snr_db), channel, progress=progress, noise=noise)
        image = output.reconstruction.image
        assert image is not None
    image.mean().backward()
    assert torch.allclose(states[1][0], states[0][0])
    between = 0.75 * (2 * x[1] - 1) + 0.25 * states[0][1] + 0.5 * (0.25 * 0.75) ** 0.5 * noise[1]
    assert torch.allclose(states[1][1], between, atol=1e-5)
    assert torch.allclose(states[2], 2 * x - 1, atol=1e-6)


def test_windowed_attention_of_one_window_is_attention_of_the_grid() -> None:
    torch.manual_seed(0)
    windowed, grid = WindowedAttention(12, 3, 5).eval(), GridAttention(12, 3).eval()
    grid.load_state_dict({key: value for key, value in windowed.state_dict().items() if key != "bias"})
    nn.init.zeros_(windowed.bias)
    x = torch.randn(2, 4, 5, 12)
    assert torch.allclose(windowed(x, True), grid(x, False), atol=1e-6)
    far = x.clone()
    far[:, 3, 4] += 1
    assert not torch.allclose(grid(far, False)[:, 0, 0], grid(x, False)[:, 0, 0])
    wide = torch.randn(1, 10, 5, 12)
    changed = wide.clone()
    changed[:, 9] += 1  # in the second window
    assert torch.allclose(windowed(changed, False)[:, :5], windowed(wide, False)[:, :5])
    assert not torch.allclose(windowed(changed, True)[:, :8], windowed(wide, True)[:, :8])


@pytest.mark.parametrize("shared", [False, True])
def test_transformer_starts_as_a_layer_normalisation(shared: bool) -> None:
    torch.manual_seed(0)
    transformer = DiT(12, 3, 3, 4, 2, 1, shared)
    x = torch.randn(2, 4, 6, 12)
    y = transformer(x, torch.tensor([0.1, 0.9]), torch.zeros(2, 1))
    assert torch.allclose(y, nn.functional.layer_norm(x, (12,)), atol=1e-5)
    nn.init.normal_(transformer.modulations[0].weight)  # pyright: ignore[reportArgumentType]
    one, other = (transformer(x[:1], torch.tensor([time]), torch.zeros(1, 1)) for time in (0.1, 0.9))
    assert not torch.allclose(one, other)


def test_sinusoids_in_closed_form() -> None:
    angles = torch.tensor([2.0, 0.02])
    assert torch.allclose(sinusoids(torch.tensor(2.0), 4, 1.0, 0.01), torch.cat([angles.cos(), angles.sin()]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "signal", "shortcut": False}, "signal"),
        ({"bridge": -1.0}, "bridge"),
        ({"heads": 5}, "heads"),
        ({"patch": 2}, "patch"),
        ({"segmentation_rate": 2}, "segmentation_rate"),
        ({"depths": (1, 1)}, "depths"),
    ],
)
def test_configurations_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(TINY, **changes)


def test_examples() -> None:
    assert doctest.testmod(mtgsc).failed == 0
