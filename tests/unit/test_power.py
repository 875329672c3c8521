"""Transmit power: 1 per image over what that image sends, whatever its neighbours do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import generator
from openjscc.power import mean_power, normalize_power, sent_mask


def symbols(batch: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.view_as_complex(torch.randn(batch, k, 2, generator=generator(seed)))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.lists(st.floats(-6, 6), min_size=5, max_size=5),
    st.integers(0, 2**31),
)
def test_power_is_one_per_image_at_any_scale_and_length(lengths: list[int], exponents: list[float], seed: int):
    length = torch.tensor(lengths)
    scale = 10.0 ** torch.tensor(exponents[: len(lengths)])[:, None]
    normalized = normalize_power(symbols(len(lengths), 40, seed) * scale, length)
    assert torch.allclose(mean_power(normalized, length), torch.ones(len(lengths)), atol=1e-4)
    assert not normalized[~sent_mask(length, 40)].any()


def test_power_of_a_large_frame():
    length = torch.tensor([300_000])
    normalized = normalize_power(symbols(1, 300_000) * 37, length)
    assert mean_power(normalized, length).item() == pytest.approx(1.0, abs=1e-4)


def test_loud_neighbour_changes_nothing():
    z, length = symbols(3, 20), torch.tensor([20, 20, 20])
    loud = z * torch.tensor([1e3, 1.0, 1.0])[:, None]
    assert torch.equal(normalize_power(z, length)[1:], normalize_power(loud, length)[1:])
    assert torch.equal(normalize_power(z[1:2], length[:1])[0], normalize_power(z, length)[1])


def test_silent_image_sends_a_constant():
    z = symbols(2, 6)
    z[0] = 0
    normalized = normalize_power(z, torch.tensor([4, 6]))
    assert normalized[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert mean_power(normalized, torch.tensor([4, 6])).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_quiet_image_is_not_silent(scale: float):
    length = torch.tensor([6])
    assert torch.allclose(normalize_power(scale * symbols(1, 6), length), normalize_power(symbols(1, 6), length), atol=1e-5)


def test_unsent_symbols_do_not_count():
    z = symbols(1, 10)
    z[0, 5:] = 1e6
    assert torch.equal(normalize_power(z, torch.tensor([5]))[0, :5], normalize_power(z[:, :5], torch.tensor([5]))[0])


def test_differentiable_even_for_a_silent_image():
    z = symbols(2, 6)
    z[0] = 0
    z.requires_grad_()
    normalize_power(z, torch.tensor([6, 4])).real.sum().backward()
    assert z.grad is not None
    assert torch.isfinite(torch.view_as_real(z.grad)).all()
    assert z.grad[1, :4].abs().sum() > 0
    assert not z.grad[1, 4:].any()


def test_gradient_matches_finite_differences():
    z = symbols(2, 5).to(torch.complex128).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: torch.view_as_real(normalize_power(value, torch.tensor([5, 3]))), (z,))


def test_a_broken_network_is_not_hidden():
    """NaN stays NaN: only a silent image is replaced by a constant."""
    symbols = torch.full((1, 4), float("nan"), dtype=torch.complex64)
    assert torch.isnan(normalize_power(symbols, torch.tensor([4])).abs()).all()
    assert torch.equal(normalize_power(torch.zeros(1, 4, dtype=torch.complex64), torch.tensor([4])), torch.ones(1, 4) + 0j)
