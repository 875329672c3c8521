"""The header: every field comes back from its bits, and each bit costs one symbol of unit energy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import PixelCodec, pictures
from openjscc.codec import Conditions, Side
from openjscc.errors import UsageError
from openjscc.header import MAX_SIDE, SIZE_BITS, HeaderFormat, header_symbols, index_bits, quantize_scale, scale_index
from openjscc.power import mean_power


def value(bits: torch.Tensor) -> int:
    return int("".join(str(int(bit)) for bit in bits) or "0", 2)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, MAX_SIDE),
    st.integers(1, MAX_SIDE),
    st.integers(1, 300),
    st.integers(1, 5),
    st.booleans(),
    st.data(),
)
def test_every_field_comes_back(height: int, width: int, rates: int, tasks: int, agreed: bool, data: st.DataObject):
    rate = data.draw(st.lists(st.integers(0, rates - 1), min_size=2, max_size=2))
    task = data.draw(st.integers(0, tasks - 1))
    form = HeaderFormat(agreed_size=(32, 32) if agreed else None, rates=rates, tasks=tasks)
    bits = form.bits(Side(height, width, rate=torch.tensor(rate)), 2, task)
    assert bits.shape == (2, form.uses(height, width))
    assert bits.dtype == torch.uint8
    for index in range(2):
        row = bits[index]
        if agreed:
            assert row[0] == (0 if (height, width) == (32, 32) else 1)
            row = row[1:]
        if not agreed or (height, width) != (32, 32):
            assert (value(row[:SIZE_BITS]) + 1, value(row[SIZE_BITS : 2 * SIZE_BITS]) + 1) == (height, width)
            row = row[2 * SIZE_BITS :]
        assert value(row[: index_bits(rates)]) == rate[index]
        assert value(row[index_bits(rates) :]) == task


@pytest.mark.parametrize(("count", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (65536, 16)])
def test_index_bits(count: int, bits: int):
    assert index_bits(count) == bits


def test_costs():
    assert HeaderFormat().uses(512, 768) == 32
    assert HeaderFormat(agreed_size=(32, 32)).uses(32, 32) == 1
    assert HeaderFormat(agreed_size=(32, 32)).uses(32, 33) == 33
    assert HeaderFormat(agreed_size=(32, 32), rates=5, tasks=2).uses(32, 32) == 1 + 3 + 1


def test_symbols_have_unit_energy_and_are_told_apart():
    z = header_symbols(torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8))
    assert z.dtype == torch.complex64
    assert torch.allclose(z.abs(), torch.ones(1, 4))
    assert (z.real < 0).tolist() == [[False, True, True, False]]
    assert torch.equal(z.real, z.imag)


def test_too_large_a_picture():
    with pytest.raises(UsageError, match="70000x1"):
        HeaderFormat().bits(Side(1, 70_000), 1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 16)])
def test_header_leads_the_frame_and_is_counted(height: int, width: int):
    codec = PixelCodec()
    x = pictures(2, height, width)
    frame = codec.encode(x, Conditions())
    head = 32 + 16
    payload = (3 * height * width + 1) // 2
    assert frame.length.tolist() == [head + payload] * 2
    assert torch.equal(frame.symbols[:, :head], header_symbols(codec.header.bits(frame.side, 2)))
    assert frame.bandwidth_ratio.tolist() == pytest.approx([(head + payload) / (3 * height * width)] * 2)
    assert torch.allclose(mean_power(frame.symbols, frame.length), torch.ones(2), atol=1e-4)


def test_scale_goes_through_the_header():
    """Ten bits carry it to 1/32 dB, and its gradient is that of the unrounded value."""
    scale = torch.tensor([0.02, 0.5, 1.0, 7.3], requires_grad=True)
    read = quantize_scale(scale)
    assert (20 * torch.log10(read / scale)).abs().max() <= 1 / 32 + 1e-4
    assert torch.autograd.grad(read.sum(), scale)[0].tolist() == [1.0] * 4
    assert torch.equal(quantize_scale(read), read)
    header = HeaderFormat(scale=True)
    bits = header.bits(Side(8, 8, scale=read), 4)
    assert bits.shape == (4, header.uses(8, 8)) == (4, 42)
    weights = 2 ** torch.arange(9, -1, -1)
    assert torch.equal((bits[:, -10:].long() * weights).sum(1), scale_index(read))
    assert scale_index(torch.tensor([0.0, 1e9])).tolist() == [0, 1023]
