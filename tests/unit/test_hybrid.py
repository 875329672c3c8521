"""The hybrid codec: its analog layer against theory, its class maps, its frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openjscc import read_image, transmit
from openjscc.data.bundled import sample_photo
from openjscc.digital.source import source_codec
from openjscc.errors import UsageError
from openjscc.models import create
from openjscc.models.hybrid import Hybrid, base, classes
from openjscc.models.hybrid.residual import (
    COEFFICIENTS,
    COLOUR,
    LEVELS,
    NORMS,
    STEPS_PER_OCTAVE,
    bands,
    base_levels,
    estimate,
    expected_error,
    inverse,
    plan,
    transform,
)
from openjscc.testing import check_codec

pytest.importorskip("av")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def codec() -> Hybrid:
    torch.manual_seed(0)
    made = create("hybrid", "photo").eval()
    assert isinstance(made, Hybrid)
    return made


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(3)), (96, 128), mode="bicubic"
    )
    return (smooth + 0.04 * torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(4))).clamp(0, 1)


def test_transform_is_orthonormal_and_invertible() -> None:
    x = noise(48, 32, 3)
    coefficients = transform(x)
    assert coefficients.shape == (6, COEFFICIENTS)
    assert np.sum(coefficients**2) == pytest.approx(np.sum(x**2), rel=1e-5)
    assert np.allclose(inverse(coefficients, 48, 32), x, atol=1e-5)


def test_levels_of_the_base_are_those_of_its_coefficients() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    qp = 34
    sizes = np.abs(transform(picture.astype(np.float32))) / 2 ** ((qp - 4) / 6) * 8
    expected = np.digitize(sizes, LEVELS)
    assert np.mean(base_levels(picture, qp) == expected) > 0.99  # the others lie at a threshold
    assert np.allclose((COLOUR / NORMS[:, None]) @ (COLOUR / NORMS[:, None]).T, np.eye(3))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, classes.COUNT), st.integers(0, 2**31))
def test_class_map_survives_its_code(rows: int, columns: int, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, bins = draw.integers(0, count, rows * columns), draw.integers(0, classes.BINS, rows * columns)
    seen = draw.integers(1, 100, (classes.BINS, classes.COUNT)).astype(np.uint8)
    data = classes.encode_map(labels, bins, columns, seen)
    assert np.array_equal(classes.decode_map(data + b"\x5a\xff", bins, columns, seen), labels)


def test_class_maps_that_are_no_surprise_take_few_bits() -> None:
    labels = np.tile(np.repeat(np.arange(8), 12), 16)
    usual = 1 + 50 * (np.arange(classes.BINS)[:, None] == np.arange(classes.COUNT) // 2).astype(np.uint8)
    assert 8 * len(classes.encode_map(labels, labels // 2, 96, usual)) < 0.75 * len(
        labels
    )  # what the base alone tells leaves 1 bit
    labels = np.random.default_rng(0).integers(0, 8, 1000)
    usual = 1 + 100 * np.eye(classes.BINS, classes.COUNT, dtype=np.uint8)
    assert 8 * len(classes.encode_map(labels, labels, 50, usual)) < 0.6 * len(labels)  # the base tells


def brute_force(deviation: np.ndarray, noise_var: float) -> np.ndarray:
    """Water-filling by bisection of its level."""
    low, high = 0.0, 1e6
    for _ in range(200):
        level = (low + high) / 2
        power = np.maximum(0, level * deviation - noise_var)
        low, high = (level, high) if power.mean() < 1 else (low, level)
    return power


@pytest.mark.parametrize("snr_db", [-3.0, 5.0, 15.0])
def test_power_is_that_of_water_filling(snr_db: float) -> None:
    sizes = np.random.default_rng(2).integers(-40, 60, (2, COEFFICIENTS)).astype(np.int16)
    found = plan(sizes, 400, snr_db)
    deviation = 2.0 ** (sizes.ravel()[found.chosen] / STEPS_PER_OCTAVE)
    expected = brute_force(deviation, 10 ** (-snr_db / 10))
    assert np.allclose((found.amplitude * deviation) ** 2, expected, atol=1e-4 * expected.max())
    left = np.delete(sizes.ravel(), found.chosen)
    assert left.max() <= sizes.ravel()[found.chosen].min()
    assert (np.diff(found.chosen) > 0).all()


def test_estimate_has_the_error_that_theory_says() -> None:
    sizes = np.random.default_rng(5).integers(-10, 60, (64, COEFFICIENTS)).astype(np.int16)
    found = plan(sizes, 20000, 8.0)
    values = noise(sizes.size, seed=6) * np.sqrt(found.size)
    noise_var = 10**-0.8
    received = found.amplitude * values[found.chosen] + np.sqrt(noise_var) * noise(len(found.chosen), seed=7)
    guessed, error = estimate(found, received, noise_var)
    assert np.mean((guessed - values) ** 2) == pytest.approx(np.mean(error), rel=0.02)
    assert expected_error(found, values, noise_var) == pytest.approx(np.mean((guessed - values) ** 2), rel=0.01)
    others = 3 * values
    guessed, _ = estimate(found, received + 2 * found.amplitude * values[found.chosen], noise_var)
    assert expected_error(found, others, noise_var) == pytest.approx(np.mean((guessed - others) ** 2), rel=0.01)


def test_more_symbols_than_coefficients() -> None:
    found = plan(np.zeros((1, COEFFICIENTS), np.int16), 5000, 10.0)
    assert len(found.chosen) == COEFFICIENTS
    assert np.allclose(found.amplitude, 1)
    assert len(plan(np.zeros((1, COEFFICIENTS), np.int16), 0, 10.0).chosen) == 0


def test_doubled_keeps_what_is_smooth() -> None:
    ramp = np.broadcast_to(np.arange(40, 200, 8, dtype=np.uint8)[:, None, None], (20, 10, 3))
    found = base.doubled(base.halved(base.doubled(ramp)))
    assert found.shape == (40, 20, 3)
    assert np.abs(np.diff(found[4:-4, 5, 0].astype(int)) - 4).max() <= 1


def test_likely_qp_is_near_that_of_a_photo() -> None:
    pixels = (read_image(sample_photo()).pixels * 255).round().byte().movedim(0, -1).numpy()
    photo = base.padded(np.ascontiguousarray(pixels[:256, :384]))
    codec = source_codec("bpg", preset=base.PRESET)
    for qp in (20, 30, 40):
        bits = 8 * len(base.made(codec, photo, qp).data)
        assert abs(base.likely_qp(photo, bits) - qp) <= 4
        assert base.likely_qp(photo, bits / 4) > base.likely_qp(photo, bits) > base.likely_qp(photo, 4 * bits)


def test_is_a_codec(codec: Hybrid) -> None:
    check_codec(codec, sizes=((40, 56), (96, 64)))


@pytest.mark.parametrize("ratio", [1 / 24, 1 / 6])
def test_frame_has_the_uses_that_it_is_given(codec: Hybrid, image: torch.Tensor, ratio: float) -> None:
    sent = transmit(codec, "awgn", image, 10.0, ratio=ratio)
    payload = int(ratio * image.numel())
    assert int(sent.frame.length) == payload + codec.header.uses(96, 128)
    assert bool(sent.reconstruction.ok)


def test_margin_and_graceful_quality(codec: Hybrid, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same frame arrives 1 dB below the SNR told, and is the better the higher the SNR is."""
    monkeypatch.setattr(codec, "net", "none")
    errors = []
    for snr_db in (9.0, 10.0, 14.0, 20.0):
        sent = transmit(codec, "awgn", image, snr_db, told_snr_db=10.0, ratio=1 / 6)
        assert bool(sent.reconstruction.ok)
        assert sent.image is not None
        errors.append(float((sent.image - image).square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_without_a_known_snr(codec: Hybrid, image: torch.Tensor) -> None:
    for snr_db in (3.0, 12.0):
        assert bool(transmit(codec, "awgn", image, snr_db, told_snr_db=None, ratio=1 / 6).reconstruction.ok)


@pytest.mark.parametrize("channel", ["rayleigh:block", "rayleigh:fast"])
def test_under_fading(codec: Hybrid, image: torch.Tensor, channel: str) -> None:
    assert bool(transmit(codec, channel, image, 25.0, ratio=1 / 6).reconstruction.ok)


def test_lost_base_is_a_lost_image(codec: Hybrid, image: torch.Tensor) -> None:
    sent = transmit(codec, "awgn", image, 4.0, told_snr_db=12.0, ratio=1 / 6)
    assert not bool(sent.reconstruction.ok)


def test_the_better_share_is_taken(codec: Hybrid, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "net", "none")
    errors = []
    for shares in ((0.2,), (1.0,), (0.2, 1.0)):
        monkeypatch.setattr(codec, "_shares", lambda ratio, snr_db, shares=shares: shares)
        sent = transmit(codec, "awgn", image, 13.0, ratio=1 / 6)
        assert sent.image is not None
        errors.append(float((sent.image - image).square().mean()))
    assert errors[0] != pytest.approx(errors[1], rel=0.05)
    assert errors[2] == min(errors)


def test_class_map_that_is_longer_than_reckoned_with(codec: Hybrid, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "share", 1.0)
    assert bool(transmit(codec, "awgn", image, 10.0, ratio=1 / 12).reconstruction.ok)


@pytest.mark.parametrize("first", [0, 52])
def test_with_and_without_a_class_map(codec: Hybrid, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr("openjscc.models.hybrid.codec.UNMAPPED_FROM_QP", first)
    monkeypatch.setattr(codec, "net", "none")
    sent = transmit(codec, "awgn", image, 15.0, ratio=1 / 6)
    assert sent.image is not None
    assert float((sent.image - image).square().mean()) < 0.002


def test_tables_are_whole() -> None:
    all_tables = [classes.tables(number) for number in range(classes.TABLES)]
    totals = np.exp2(2 / STEPS_PER_OCTAVE * np.stack([one.size for one in all_tables]).astype(np.float64)).sum(axis=2)
    assert totals.shape == (classes.TABLES, classes.COUNT)
    for one in all_tables:
        assert one.seen.shape == (classes.BINS, classes.COUNT)
        assert one.seen.min() >= 1  # every class has a code
        assert one.usual.shape == (classes.BINS,)
        assert one.usual.max() < classes.COUNT
    assert (np.diff(totals, axis=1) > -0.05 * totals[:, 1:]).all()  # classes by size, to rounding
    assert totals[-1, -1] > totals[5, -1]  # without a base more is left


def test_tables_find_what_made_the_blocks() -> None:
    truth = np.stack([np.full(COEFFICIENTS, size) for size in (1.0, 8.0, 60.0)])
    labels = np.arange(600) % 3
    blocks = noise(600, COEFFICIENTS, seed=8) * truth[labels]
    levels = np.zeros(blocks.shape, np.uint8)
    levels[labels == 2, :5] = 3
    tables = classes.train([(blocks, levels)], 3)
    found = np.exp2((tables.size + tables.gain[bands(), 0]) / STEPS_PER_OCTAVE)
    assert np.allclose(found.mean(axis=1), truth[:, 0], rtol=0.1)
    assert np.array_equal(classes.classify(tables, blocks, levels), labels)
    bins = classes.bins_of(levels)
    assert tables.usual[bins[2]] == 2
    assert tables.seen[bins[2]].tolist() == [1, 1, 1 + classes.PRIOR]
    assert tables.seen[bins[0]].tolist() == [1 + classes.PRIOR // 2, 1 + classes.PRIOR // 2, 1]


def test_nothing_but_the_analog_layer(image: torch.Tensor, codec: Hybrid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "share", 0.0)
    monkeypatch.setattr(codec, "net", "none")
    sent = transmit(codec, "awgn", image, 15.0, ratio=1 / 6)
    assert bool(sent.reconstruction.ok)
    assert sent.image is not None
    assert float((sent.image - image).square().mean()) < 0.01


@pytest.mark.parametrize("option", ["margin=x", "margin=99", "net=big", "share=2", "speed=1"])
def test_options_are_checked(option: str) -> None:
    with pytest.raises(UsageError):
        create("hybrid", "photo").set_options([option])


def test_training_reaches_the_network(codec: Hybrid, image: torch.Tensor) -> None:
    from openjscc.codec import Conditions, Frame, Received

    def channel(frame: Frame) -> Received:
        draw = torch.randn(frame.symbols.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        return Received(frame.symbols + 0.3 * draw, torch.full((len(frame.symbols),), 0.09), None, frame.length)

    codec.zero_grad()
    x = image[:, :, :64, :64].repeat(3, 1, 1, 1)
    output = codec.forward_training(x, Conditions(torch.tensor([10.0, 4.0, 18.0])), channel)
    assert output.reconstruction.image is not None
    (output.reconstruction.image - x).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in codec.network.parameters())
    codec.zero_grad()
