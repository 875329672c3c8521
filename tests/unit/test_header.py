"""The header: every field comes back through symbols alone, losses are few, and nothing else passes for a header."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import PixelCodec, generator, pictures
from openjscc.channels import make_channel
from openjscc.codec import Conditions, Frame, Received, Side
from openjscc.errors import UsageError
from openjscc.header import (
    LAYOUTS,
    MAX_SIDE,
    REPEATS,
    VERSION,
    HeaderFormat,
    identity_of,
    index_bits,
    listen,
    payload_of,
    quantize_scale,
    scale_index,
    scale_of,
)
from openjscc.power import mean_power

TASKS = ("reconstruction", "segmentation")


def framed(
    form: HeaderFormat, side: Side, batch: int = 2, snr_db: float | None = None, payload: int = 40, fades: bool = False
) -> Frame:
    values = torch.randn(batch, payload, 2, generator=generator(9))
    symbols = torch.view_as_complex(values / values.square().sum(2).mean(1).sqrt()[:, None, None])
    known = None if snr_db is None else torch.full((batch,), snr_db)
    return form.frame(symbols, torch.full((batch,), payload), side, Conditions(known, fades=fades))


def heard(frame: Frame, snr_db: float = 30.0, seed: int = 0) -> Received:
    return make_channel("awgn")(frame, snr_db, generator(seed))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, MAX_SIDE),
    st.integers(1, MAX_SIDE),
    st.integers(1, 64),
    st.integers(1, 2),
    st.sampled_from([None, (32, 32)]),
    st.sampled_from(["scale", "uses", ""]),
    st.sampled_from([None, -3.0, 7.0]),
    st.data(),
)
def test_every_field_comes_back(height, width, rates, tasks, agreed, last, snr_db, data: st.DataObject):
    if data.draw(st.booleans()):
        height, width = agreed or (height, width)
    rate = torch.tensor(data.draw(st.lists(st.integers(0, rates - 1), min_size=2, max_size=2)))
    task = TASKS[data.draw(st.integers(0, tasks - 1))]
    form = HeaderFormat(data.draw(st.integers(0, 65535)), agreed, rates, TASKS[:tasks], last == "scale", last == "uses")
    scale = form.quantize(torch.tensor([0.02, 7.0]), height, width) if form.scale else None
    frame = framed(form, Side(height, width, rate=rate, task=task, scale=scale), snr_db=snr_db)
    assert frame.length.tolist() == [form.uses(height, width, snr_db) + 40] * 2
    side, ok = form.read(heard(frame))
    assert ok.tolist() == [True, True]
    assert side is not None
    assert (side.height, side.width, side.task) == (height, width, task)
    assert side.rate is not None
    assert side.rate.tolist() == rate.tolist()
    assert side.head is not None
    assert side.head.tolist() == [form.uses(height, width, snr_db)] * 2
    assert scale is None or (side.scale is not None and torch.equal(side.scale, scale))
    assert (side.uses is not None) == (last == "uses")
    assert side.uses is None or side.uses.tolist() == frame.length.tolist()
    assert torch.equal(payload_of(frame.symbols, side, 40), frame.symbols[:, -40:])


@pytest.mark.parametrize(("count", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (65536, 16)])
def test_index_bits(count: int, bits: int):
    assert index_bits(count) == bits


def test_costs():
    assert HeaderFormat().uses(512, 768) == 124
    assert HeaderFormat().uses(512, 1025) == 144
    assert HeaderFormat(counts_uses=True).uses(512, 768) == 148
    assert HeaderFormat(counts_uses=True).uses(2048, 768) == 188
    assert HeaderFormat().uses(512, 768, -0.1) == REPEATS * 124
    assert HeaderFormat().uses(512, 768, 0.0) == 124
    assert HeaderFormat().uses(512, 768, 20.0, fades=True) == REPEATS * 124
    agreed = HeaderFormat(agreed_size=(32, 32), rates=5, tasks=TASKS)
    assert agreed.uses(32, 32) == agreed.uses(32, 32, -5.0) == 20
    assert agreed.uses(32, 33) == 124
    assert HeaderFormat(agreed_size=(32, 32), rates=5, scale=True).uses(32, 32) == 30
    assert HeaderFormat(agreed_size=(32, 32), rates=9, scale=True).uses(32, 32) == 124
    assert 124 <= 0.01 * 3 * 768 * 512 / 48  # one per cent of the least ratio


def test_symbols_have_unit_energy():
    frame = framed(HeaderFormat(), Side(8, 8), snr_db=-1.0)
    assert torch.allclose(frame.symbols[:, : 4 * 124].abs(), torch.ones(2, 496))


def test_what_cannot_be_told():
    with pytest.raises(UsageError, match="70000x1"):
        HeaderFormat().uses(1, 70_000)
    with pytest.raises(UsageError, match="65 rates"):
        HeaderFormat(rates=65)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (16, 16)])
def test_header_leads_the_frame_and_is_counted(height: int, width: int):
    frame = PixelCodec().encode(pictures(2, height, width), Conditions())
    uses = 124 + (3 * height * width + 1) // 2 + 1
    assert frame.length.tolist() == [uses] * 2
    assert frame.bandwidth_ratio.tolist() == pytest.approx([uses / (3 * height * width)] * 2)
    assert torch.allclose(mean_power(frame.symbols, frame.length), torch.ones(2), atol=1e-4)


def test_scales_have_the_steps_of_rule_c4() -> None:
    """1024 steps of 1/16 dB from -40 dB."""
    scale_db = torch.tensor([-60.0, -40.0, -39.97, -39.96, 0.0, 23.9375, 40.0], dtype=torch.float64)
    index = scale_index(10 ** (scale_db / 20))
    assert index.tolist() == [0, 0, 0, 1, 640, 1023, 1023]
    assert (20 * scale_of(index).log10()).tolist() == pytest.approx([-40, -40, -40, -39.9375, 0, 23.9375, 23.9375], abs=1e-5)


def test_scale_goes_through_the_header():
    """Ten bits carry it to 1/32 dB, and its gradient is that of the unrounded value."""
    scale = torch.tensor([0.02, 0.5, 1.0, 7.3], requires_grad=True)
    read = quantize_scale(scale)
    assert (20 * torch.log10(read / scale)).abs().max() <= 1 / 32 + 1e-4
    assert torch.autograd.grad(read.sum(), scale)[0].tolist() == [1.0] * 4
    assert torch.equal(quantize_scale(read), read)
    form = HeaderFormat(scale=True)
    side, _ = form.read(heard(framed(form, Side(8, 8, scale=read), 4)))
    assert side is not None
    assert side.scale is not None
    assert torch.equal(side.scale, read.detach())
    assert scale_index(torch.tensor([0.0, 1e9])).tolist() == [0, 1023]


@pytest.mark.parametrize("form", [HeaderFormat(7), HeaderFormat(7, counts_uses=True)], ids=["learned", "digital"])
@pytest.mark.parametrize(("size", "told", "snr_db"), [((512, 768), 0.0, 0.0), ((2000, 70), 0.0, 0.0), ((512, 768), -6.0, -6.0)])
def test_losses_at_the_lowest_snr(form: HeaderFormat, size: tuple[int, int], told: float, snr_db: float):
    """Less than 1 in 1,000; at most 6 of 3,000 would be seen with 97 % probability."""
    frame = framed(form, Side(*size), 3000, told)
    _, ok = form.read(heard(frame, snr_db))
    assert int((~ok).sum()) <= 6


@pytest.mark.parametrize(
    ("form", "distance"), [(HeaderFormat(7, (32, 32), 32, TASKS), 18), (HeaderFormat(7, (32, 32), 8, scale=True), 24)]
)
def test_losses_of_the_short_header(form: HeaderFormat, distance: int):
    assert form.short is not None
    assert np.unique(form.short.words, axis=0).shape == form.short.words.shape
    assert form.short.words[1:].sum(1).min() == distance
    rate = torch.arange(6000) % form.rates
    scale = quantize_scale(torch.linspace(0.02, 7, 6000), coarse=True) if form.scale else None
    frame = framed(form, Side(32, 32, rate=rate, scale=scale), 6000, payload=236)
    side, ok = form.read(heard(frame, 0.0))
    assert side is not None
    assert side.rate is not None
    assert int((~ok).sum()) <= 12
    wrong = (side.rate != rate) | (torch.zeros(6000) if scale is None or side.scale is None else side.scale != scale).bool()
    assert int((wrong & ok).sum()) <= 4


def test_fading_takes_the_header_with_the_frame():
    form = HeaderFormat(7, scale=True)
    for fades, gain in ((False, 1), (True, 4)):  # four times where the transmitter knows that it fades: 6 dB more
        frame = framed(form, Side(64, 64, scale=torch.ones(400)), 400, fades=fades)
        received = make_channel("rayleigh:block")(frame, 0.0, generator(1))
        assert received.gain is not None
        _, ok = form.read(received)
        power = received.gain[:, 0].abs().square() * gain
        assert ok[power > 1.05].all()  # above 0 dB
        assert not ok[power < 0.25].any()  # 6 dB below


@pytest.mark.parametrize("agreed", [None, (32, 32)])
def test_noise_is_no_header(agreed: tuple[int, int] | None):
    form = HeaderFormat(7, agreed, rates=2)
    noise = torch.randn(200, 700, 2, generator=generator(3))
    received = Received(torch.view_as_complex(noise), torch.full((200,), 2.0), None, torch.full((200,), 700))
    side, ok = form.read(received)
    assert ok.sum() <= (0 if agreed is None else 60)  # twenty symbols alone cannot tell more
    if agreed is None:
        assert side is None


def test_silence_is_no_header():
    received = Received(torch.zeros(1, 900, dtype=torch.complex64), torch.ones(1), None, torch.tensor([900]))
    assert listen(received) == [None]


@pytest.mark.parametrize("k", [1, 19, 20, 100, 123, 124])
def test_a_frame_may_be_cut_anywhere(k: int):
    form = HeaderFormat(7)
    received = heard(framed(form, Side(8, 8)))
    cut = received.replace(symbols=received.symbols[:, :k], length=received.length.clamp(max=k))
    assert form.read(cut)[1].tolist() == [k == 124] * 2


def test_another_codec_or_version_is_not_read():
    mine, other = HeaderFormat(identity_of("mine")), HeaderFormat(identity_of("other"))
    received = heard(framed(other, Side(8, 8)))
    assert mine.read(received)[0] is None
    fields = listen(received)[0]
    assert fields is not None
    assert (fields.identity, fields.version, fields.height, fields.head) == (identity_of("other"), VERSION, 8, 124)


def test_a_rate_or_task_that_the_codec_lacks_is_not_read():
    written, read = HeaderFormat(1, rates=9, tasks=TASKS), HeaderFormat(1, rates=3)
    rate = torch.tensor([2, 3])
    assert read.read(heard(framed(written, Side(8, 8, rate=rate))))[1].tolist() == [True, False]
    assert read.read(heard(framed(written, Side(8, 8, rate=rate, task="segmentation"))))[0] is None


def test_the_odd_one_in_a_batch_is_lost():
    """The images of a batch share a size; a header that says another one is an error that its CRC missed."""
    form = HeaderFormat(1)
    frames = [heard(framed(form, Side(8, width), 1)) for width in (8, 9, 8)]
    symbols, noise_var, length = (
        torch.cat([getattr(one, name) for one in frames]) for name in ("symbols", "noise_var", "length")
    )
    batch = Received(symbols, noise_var, None, length)
    side, ok = form.read(batch)
    assert side is not None
    assert (side.width, ok.tolist()) == (8, [True, False, True])


def test_mixed_snrs_have_headers_of_their_own_length():
    form = HeaderFormat(1, scale=True)
    values = torch.view_as_complex(torch.randn(3, 50, 2, generator=generator(4)))
    scale = quantize_scale(torch.tensor([0.1, 1.0, 5.0]))
    frame = form.frame(values, torch.full((3,), 50), Side(8, 8, scale=scale), Conditions(torch.tensor([5.0, -1.0, 0.0])))
    assert frame.length.tolist() == [174, 546, 174]
    side, ok = form.read(heard(frame))
    assert ok.all()
    assert side is not None
    assert torch.equal(payload_of(frame.symbols, side, 50), values)
    assert side.scale is not None
    assert torch.equal(side.scale, scale)


def test_repetition_is_found_whatever_the_snr():
    """The first of four repetitions does not pass for a header that is sent once."""
    form = HeaderFormat(1)
    side, ok = form.read(heard(framed(form, Side(8, 8), 50, snr_db=-3.0), 25.0))
    assert ok.all()
    assert side is not None
    assert side.head is not None
    assert set(side.head.tolist()) == {4 * 124}


def test_layouts_are_told_apart_by_their_crc():
    for layout in LAYOUTS:
        form = HeaderFormat(3, counts_uses=layout.counts_uses)
        size = 2**layout.side_bits
        fields = listen(heard(framed(form, Side(size, 5))))[0]
        assert fields is not None
        assert (fields.height, fields.width, fields.counts_uses, fields.head) == (size, 5, layout.counts_uses, layout.uses)


def test_a_gain_is_undone():
    form = HeaderFormat(1)
    frame = framed(form, Side(8, 8))
    gain = torch.full((2, 1), 0.5) * torch.exp(torch.tensor(2.1j))
    received = Received(frame.symbols * gain, torch.full((2,), 1e-3), gain, frame.length)
    assert form.read(received)[1].all()
    assert math.isclose(frame.symbols[0, 0].abs().item(), 1.0, rel_tol=1e-5)
    assert not form.read(dataclasses.replace(received, gain=-gain))[1].any()
