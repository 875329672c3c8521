"""Digital links: every symbol and byte accounted for, outages that show, schemes chosen as they promise."""

from __future__ import annotations

import itertools
import math
import pickle
import time
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from helpers import generator
from openjscc.channels import Channel, make_channel
from openjscc.codec import LOST_GREY, Codec, CodecInfo, Conditions, Fading, Frame, Received, Side
from openjscc.digital import DIGITAL_SYSTEMS, ldpc, make_digital
from openjscc.digital import bler as bler_module
from openjscc.digital._base import SeparateCodec
from openjscc.digital.adaptation import (
    BEST_DB,
    Option,
    best_option,
    expected_psnr,
    largest_option,
    lost_psnr,
    undominated,
)
from openjscc.digital.bler import Curve, Table, equivalent_snr
from openjscc.digital.capacity import CapacityCodec, dispersion, ergodic_capacity, outage_capacity
from openjscc.digital.ldpc import LDPCCodec, budget_bytes, scrambling
from openjscc.digital.mcs import MCS, MCS_SETS, mcs_set, parse_mcs, plan_blocks
from openjscc.digital.source import Jpeg, RateControl, source_codec
from openjscc.errors import MissingError, UsageError
from openjscc.link import encode, transmit
from openjscc.power import mean_power
from openjscc.testing import check_codec

QPSK = "jpeg-ldpc:mcs=qpsk-1/2-n1944"


def photo(batch: int = 1, height: int = 64, width: int = 96) -> torch.Tensor:
    """Smooth pictures with some texture, on the 8-bit grid."""
    source = generator(3)
    coarse = torch.rand(batch, 3, 6, 8, generator=source)
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return ((fine + 0.02 * torch.randn(fine.shape, generator=source)).clamp(0, 1) * 255).round() / 255


# --- names ---


def test_every_system_has_a_name_that_makes_it() -> None:
    assert set(DIGITAL_SYSTEMS) >= {"jpeg-ldpc", "webp-ldpc", "bpg-ldpc", "bpg-capacity", "jpeg-capacity"}
    for name in DIGITAL_SYSTEMS:
        pytest.importorskip("av" if name.startswith("bpg") else "numpy")
        codec = make_digital(name)
        assert codec.name == name
        assert CodecInfo(codec).any_ratio
        assert CodecInfo(codec).bound == name.endswith("capacity")


def test_options_make_the_canonical_name() -> None:
    codec = make_digital(" JPEG-LDPC : iterations=40 : mcs=witt:pack=4")
    assert codec.name == "jpeg-ldpc:mcs=witt:pack=4:iterations=40"


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("jpeg-ldcp", "jpeg-ldcp"),
        ("jpeg-ldpc:mcs", "mcs"),
        ("jpeg-ldpc:mcs=", "mcs="),
        ("jpeg-ldpc:mcs=wit", "wit"),
        ("jpeg-ldpc:mcs=16qam-3", "16qam-3"),
        ("jpeg-ldpc:mcs=16qam-29/1024", "29/1024"),
        ("jpeg-ldpc:mcs=16qam-949/1024", "949/1024"),
        ("jpeg-ldpc:target=1", "target=1"),
        ("jpeg-ldpc:target=none", "target=none"),
        ("jpeg-ldpc:mcs=16qam-2/5-n1944", "2/5"),
        ("jpeg-ldpc:mcs=16qam-3/4-n20000", "20000"),
        ("jpeg-ldpc:mcs=64qam-1/2-n1000", "1000"),
        ("jpeg-ldpc:mcs=32qam-1/2-n1944", "32qam"),
        ("jpeg-ldpc:chroma=444", "chroma"),
        ("jpeg-ldpc:pack=0", "pack=0"),
        ("jpeg-ldpc:pack=2:pack=3", "pack"),
        ("jpeg-ldpc:demapper=soft", "soft"),
        ("jpeg-capacity:fading=slow", "slow"),
        ("jpeg-capacity:outage=1", "outage=1"),
        ("jpeg-capacity:outage=0.1:fading=ergodic", "outage"),
        ("jpeg-capacity:finite=0.6", "finite=0.6"),
        ("jpeg-capacity:finite=0.1:fading=ergodic", "finite"),
        ("jpeg-capacity:mcs=witt", "mcs"),
    ],
)
def test_bad_specs_are_refused_by_name(spec: str, value: str) -> None:
    with pytest.raises(UsageError) as error:
        make_digital(spec)
    assert value in error.value.message
    assert error.value.hint


# --- schemes and blocks ---


def test_sets_are_as_documented() -> None:
    assert len(MCS_SETS["nr"]) == 15 + 7 + 9 + 8
    ladder = [mcs.efficiency for mcs in MCS_SETS["nr"]]
    assert ladder == sorted(ladder)
    assert (ladder[0], ladder[-1]) == (2 * 30 / 1024, 8 * 948 / 1024)
    assert all(second < 1.35 * first for first, second in itertools.pairwise(ladder))
    assert mcs_set("16qam-490/1024") == (MCS("16qam", Fraction(245, 512)),)
    assert mcs_set("256qam-682.5/1024")[0] in MCS_SETS["nr"]
    assert len(MCS_SETS["80211n"]) == 5 * 4
    assert [mcs.name for mcs in MCS_SETS["witt"]] == [
        "qpsk-1/3-n6144", "qpsk-1/2-n6144", "qpsk-2/3-n6144", "16qam-1/2-n6144", "16qam-2/3-n6144", "64qam-1/2-n6144",
    ]  # fmt: skip
    assert mcs_set("4qam-2/3-n6144") == (MCS("qpsk", Fraction(2, 3), 6144),)
    assert all(parse_mcs(mcs.name) == mcs for group in MCS_SETS.values() for mcs in group)


@pytest.mark.parametrize("uses", [1, 95, 486, 512, 513, 3000, 24576])
def test_every_symbol_is_accounted_for(uses: int) -> None:
    for mcs in (*MCS_SETS["80211n"], *MCS_SETS["witt"]):
        plan = plan_blocks(mcs, uses)
        bits = mcs.scheme.bits_per_symbol
        assert sum(plan.lengths) + plan.padding * bits == uses * bits
        assert all(length == mcs.n for length in plan.lengths[:-1])
        assert plan.information == sum(mcs.code(length).k for length in plan.lengths)
        assert mcs.n is not None
        assert plan.padding * bits < mcs.n


@pytest.mark.parametrize("uses", [1, 19, 20, 95, 512, 3000, 24576, 65536])
def test_blocks_of_5g_nr_are_few_and_of_one_length(uses: int) -> None:
    for mcs in MCS_SETS["nr"]:
        plan, bits = plan_blocks(mcs, uses), mcs.scheme.bits_per_symbol
        assert sum(plan.lengths) + plan.padding * bits == uses * bits
        if int(uses * bits * mcs.rate) < 40:
            assert (plan.lengths, plan.padding) == ((), uses)
            continue
        most = 8448 if mcs.rate > Fraction(1, 4) else 3840
        assert plan.padding == 0
        assert max(plan.lengths) - min(plan.lengths) in (0, bits)
        assert plan.information == sum(mcs.code(length).k for length in plan.lengths)
        assert max(mcs.code(length).k for length in plan.lengths) <= most
        assert plan.information > most * (len(plan.lengths) - 1) - len(plan.lengths) * bits


def test_a_block_that_one_attempt_leaves_is_decoded_by_another() -> None:
    """At 6.75 dB one of 500 blocks is caught, whatever the number of iterations, unless the scale changes."""
    mcs = parse_mcs("16qam-1/2-n6144")
    code, draws, noise_var = mcs.code(), np.random.default_rng(5), 10**-0.675
    caught = 0
    for _ in range(4):
        bits = draws.integers(0, 2, (200, code.k), dtype=np.uint8)
        symbols = mcs.scheme.map(code.encode(bits))
        noise = torch.view_as_complex(torch.from_numpy(draws.standard_normal((*symbols.shape, 2), dtype=np.float32)))
        llr = mcs.scheme.llr(symbols + noise * (noise_var / 2) ** 0.5, noise_var)
        caught += int((~code.decode(llr, 100)[1]).sum())
        decoded, ok = code.decode_thoroughly(llr)
        assert ok.all()
        assert np.array_equal(decoded.numpy(), bits)
    assert caught > 0


@pytest.mark.parametrize("snr_db", [33.75, 34.75, 40.0])
def test_bits_that_are_nearly_certain_do_not_hide_the_others(snr_db: float) -> None:
    """Every hard decision is right there, and 0 to 60 % of these blocks were lost without a bound on the LLRs."""
    mcs = parse_mcs("256qam-948/1024")
    code, draws, noise_var = mcs.code(168), np.random.default_rng(1), 10 ** (-snr_db / 10)
    bits = draws.integers(0, 2, (300, code.k), dtype=np.uint8)
    symbols = mcs.scheme.map(code.encode(bits))
    noise = torch.view_as_complex(torch.from_numpy(draws.standard_normal((*symbols.shape, 2), dtype=np.float32)))
    decoded, ok = code.decode_thoroughly(mcs.scheme.llr(symbols + noise * (noise_var / 2) ** 0.5, noise_var))
    assert ok.all()
    assert np.array_equal(decoded.numpy(), bits)


def test_the_papers_block_on_a_small_picture() -> None:
    """512 uses of 16-QAM: one whole (1458,1944) block and 26 symbols of padding; 256 uses: a short block of the same rate."""
    mcs = parse_mcs("16qam-3/4-n1944")
    assert plan_blocks(mcs, 512).lengths == (1944,)
    assert plan_blocks(mcs, 512).padding == 26
    assert plan_blocks(mcs, 512).information == 1458
    short = plan_blocks(mcs, 256)
    assert (short.lengths, short.information, short.padding) == ((1024,), 768, 0)


def test_scrambler_is_that_of_the_standard() -> None:
    """IEEE Std 802.11-2016, 17.3.5.5: with all ones the sequence starts 00001110 11110010 11001001."""
    assert "".join(map(str, scrambling(24))) == "000011101111001011001001"
    assert np.array_equal(scrambling(254)[:127], scrambling(254)[127:])


# --- the chain ---


@pytest.mark.parametrize("name", ["jpeg-ldpc:mcs=16qam-3/4-n1944", QPSK, "webp-ldpc:mcs=64qam-1/2-n6144", "jpeg-capacity"])
def test_contract(name: str) -> None:
    check_codec(make_digital(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bpg-ldpc", "bpg-capacity", "jpeg-ldpc"])
def test_contract_of_the_envelopes(name: str) -> None:
    if name.startswith("bpg"):
        pytest.importorskip("av")
    check_codec(make_digital(name))


@pytest.mark.parametrize("channel", ["awgn", "rayleigh:fast"])
def test_what_arrives_is_the_file_that_was_sent(channel: str) -> None:
    x = photo()
    codec = make_digital("jpeg-ldpc:mcs=qpsk-1/2-n1944")
    assert isinstance(codec, LDPCCodec)
    result = transmit(codec, channel, x, 12.0, ratio=0.25)
    assert result.reconstruction.ok is not None
    assert result.reconstruction.ok.all()
    picture = (x[0] * 255).byte().permute(1, 2, 0).numpy()
    plan = plan_blocks(codec.schemes[0], int(0.25 * x.numel()))
    fitted = codec.control.fit(picture, budget_bytes(plan.information))
    assert fitted is not None
    expected = codec.source.decode(fitted.data, 64, 96)
    assert result.image is not None
    assert np.array_equal((result.image[0] * 255).round().byte().permute(1, 2, 0).numpy(), expected)


def test_the_encoders_time_does_not_depend_on_what_was_sent_before() -> None:
    class Slow(Jpeg):
        def encode(self, picture: np.ndarray, quality: int) -> bytes:
            time.sleep(0.02)
            return super().encode(picture, quality)

    codec = make_digital("jpeg-capacity")
    assert isinstance(codec, CapacityCodec)
    codec.control = RateControl(Slow())
    first, again = (encode(codec, "awgn", photo(1, 48, 64), 10.0, ratio=0.25).encode_ms for _ in range(2))
    made = codec.control.encodes
    assert made >= 3
    assert min(first, again) >= 20 * made


def test_channel_uses_are_exactly_those_given() -> None:
    x = photo()
    for uses in (200, 4321):
        frame = make_digital(QPSK).encode(x, Conditions(uses=uses))
        assert frame.length.tolist() == [uses]
    frame = make_digital(QPSK).encode(x, Conditions(ratio=1 / 6))
    assert frame.length.tolist() == [x.numel() // 6 + 148]
    frame = make_digital("jpeg-ldpc").encode(photo(1, 32, 32), Conditions(ratio=1 / 6, snr_db=torch.tensor([5.0])))
    assert frame.length.tolist() == [512 + 20]  # the short header, of the agreed size


def test_a_lost_frame_is_grey_and_says_so() -> None:
    x = photo()
    result = transmit(make_digital(QPSK), "awgn", x, -6.0, ratio=0.25)
    assert result.reconstruction.ok is not None
    assert not result.reconstruction.ok.any()
    assert result.image is not None
    assert torch.equal(result.image, torch.full_like(x, LOST_GREY))


def test_what_does_not_fit_is_an_outage() -> None:
    """Four symbols carry no file; neither does a picture of one pixel at its ratio. Nothing crashes, and it is reported."""
    for x, conditions in ((photo(), Conditions(uses=148 + 4)), (torch.rand(1, 3, 1, 1), Conditions(ratio=1 / 6))):
        codec = make_digital("jpeg-ldpc")
        frame = codec.encode(x, Conditions(torch.tensor([10.0]), conditions.ratio, uses=conditions.uses))
        result = codec.decode(Received(frame.symbols, torch.tensor([1e-3]), None, frame.length))
        assert result.ok is not None
        assert result.ok.tolist() == [False]
    with pytest.raises(UsageError, match="148 channel uses") as error:
        make_digital("jpeg-ldpc").encode(photo(), Conditions(uses=148))
    assert "its header alone takes 148" in str(error.value.hint)
    with pytest.raises(UsageError, match="592 channel uses"):
        make_digital("jpeg-ldpc").encode(photo(), Conditions(torch.tensor([-1.0]), uses=4 * 148))


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan, math.inf, 10.5, "1/6", [0.1, 0.2]])
def test_bad_ratios_are_refused(ratio: object) -> None:
    with pytest.raises(UsageError, match="ratio"):
        make_digital(QPSK).encode(photo(), Conditions(ratio=ratio))  # pyright: ignore[reportArgumentType]


def test_one_wrong_block_loses_the_picture() -> None:
    x = photo(2)
    codec = make_digital(QPSK)
    frame = codec.encode(x, Conditions(ratio=0.25))
    symbols = frame.symbols.clone()
    symbols[1, 148 + 972 : 148 + 2 * 972] *= -1  # the second block of the second picture, inverted
    result = codec.decode(Received(symbols, torch.full((2,), 1e-2), None, frame.length))
    assert result.ok is not None
    assert result.ok.tolist() == [True, False]


def test_pictures_do_not_share_power_noise_or_blocks() -> None:
    x = photo(3)
    snr = torch.tensor([12.0, -8.0, 12.0])
    result = transmit(make_digital(QPSK), "awgn", x, snr, ratio=0.25)
    assert result.reconstruction.ok is not None
    assert result.reconstruction.ok.tolist() == [True, False, True]
    power = mean_power(result.frame.symbols, result.frame.length)
    torch.testing.assert_close(power, torch.ones(3), atol=1e-4, rtol=0)


def test_packing_shares_blocks_and_their_loss() -> None:
    """Six small pictures in six whole blocks and a short one; a picture is lost with any block that has bits of it."""
    x = photo(6, 32, 32)
    scheme = "jpeg-ldpc:mcs=16qam-5/6-n1944"
    alone, packed = make_digital(scheme), make_digital(f"{scheme}:pack=6")
    conditions = Conditions(ratio=1 / 6)
    assert alone.encode(x, conditions).length.tolist() == packed.encode(x, conditions).length.tolist() == [532] * 6
    frame = packed.encode(x, conditions)
    symbols = frame.symbols.clone()
    noise_var = torch.full((6,), 1e-3)
    good = packed.decode(Received(symbols, noise_var, None, frame.length))
    assert good.ok is not None
    assert good.ok.all()
    # All payload symbols of the third picture: coded bits 4096 to 6143, in blocks 2 and 3 (information bits 3240 to 6479); each
    # picture has 1706 information bits.
    symbols[2, 20:] *= -1
    bad = packed.decode(Received(symbols, noise_var, None, frame.length))
    assert bad.ok is not None
    assert bad.ok.tolist() == [True, False, False, False, True, True]


def test_a_known_gain_is_undone() -> None:
    x = photo()
    channel = make_channel("rayleigh:block")
    frame = make_digital(QPSK).encode(x, Conditions(ratio=0.25))
    received = channel(frame, 30.0, torch.Generator().manual_seed(1))
    result = make_digital(QPSK).decode(received)
    assert result.ok is not None
    assert result.ok.all()


@pytest.mark.parametrize("name", ["jpeg-ldpc:pack=2", "webp-capacity", "bpg-ldpc"])
def test_a_digital_link_pickles(name: str) -> None:
    pytest.importorskip("av" if name.startswith("bpg") else "numpy")
    codec = make_digital(name)
    assert isinstance(codec, SeparateCodec)
    copy = pickle.loads(pickle.dumps(codec))
    assert (copy.name, copy.tool, copy.control) == (codec.name, codec.tool, codec.control)  # here the cache is shared
    for sent in (transmit(each, "awgn", photo(2), 12.0, ratio=1 / 6) for each in (codec, copy)):
        assert sent.reconstruction.ok is not None
        assert sent.reconstruction.ok.all()


@pytest.mark.parametrize("name", [QPSK, "jpeg-ldpc:mcs=qpsk-1/2-n1944:pack=2"])
def test_a_wrong_crc_loses_the_image(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """All parity checks hold, and the file could be decoded: only the CRC says that it is not what was sent."""
    from openjscc.digital import ldpc

    codec, real = make_digital(name), ldpc.crc

    def flipped(bits: np.ndarray, kind: str) -> np.ndarray:
        found = real(bits, kind).copy()
        found[:, 5] ^= 1
        return found

    channel = make_channel("awgn")
    assert decoded(codec, channel, codec.encode(photo(2), Conditions(ratio=0.25))) == [True, True]
    with monkeypatch.context() as patch:
        patch.setattr(ldpc, "crc", flipped)
        frame = codec.encode(photo(2), Conditions(ratio=0.25))
    assert decoded(codec, channel, frame) == [False, False]


def test_a_block_that_says_it_is_wrong_loses_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the CRC says of its bits."""
    codec, real = make_digital(QPSK), ldpc.decode_blocks

    def doubted(*arguments: Any, **options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        found = real(*arguments, **options)
        found[1][1][-1] = False
        return found

    frame = codec.encode(photo(2), Conditions(ratio=0.25))
    monkeypatch.setattr(ldpc, "decode_blocks", doubted)
    assert decoded(codec, make_channel("awgn"), frame) == [True, False]


def decoded(codec: Codec, channel: Channel, frame: Frame) -> list[bool]:
    ok = codec.decode(channel(frame, 30.0, torch.Generator().manual_seed(1))).ok
    assert ok is not None
    return ok.tolist()


# --- link adaptation ---


def test_the_option_of_highest_expected_psnr_wins() -> None:
    control = RateControl(source_codec("jpeg"))
    picture = (photo()[0] * 255).byte().permute(1, 2, 0).numpy()
    sure, risky, hopeless, worse = Option(0, 1500, 1.0), Option(1, 3000, 0.5), Option(2, 9000, 1e-9), Option(3, 1000, 0.9)
    assert undominated([sure, risky, hopeless, worse]) == [risky, sure]
    assert best_option([sure, risky, hopeless, worse], control, [picture]) == sure
    likely = Option(1, 3000, 0.999)
    assert best_option([sure, likely], control, [picture]) == likely
    assert best_option([hopeless], control, [picture]) == hopeless
    seldom, too_seldom = Option(4, 9000, 0.011), Option(5, 9500, 0.009)
    assert undominated([sure, seldom, too_seldom]) == [seldom, sure], "one of a hundred is the limit"


@pytest.mark.parametrize("source", ["jpeg", "webp"])
@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_an_image_without_loss_takes_what_arrives(source: str, value: int) -> None:
    control = RateControl(source_codec(source))
    flat = np.full((64, 64, 3), value, dtype=np.uint8)
    natural = (photo()[0] * 255).byte().permute(1, 2, 0).numpy()
    options = [Option(n, 400 + 1000 * n, success) for n, success in enumerate((0.99, 0.9, 0.5, 0.1, 0.02))]
    assert math.isinf(control.psnr(flat, control.codec.qualities[-1]))
    assert best_option(options, control, [flat]) == options[0]
    alone = best_option(options, control, [natural])
    assert best_option(options, control, [flat, natural, natural, natural]).success >= alone.success


def test_nearly_grey_is_not_sent_to_be_lost() -> None:
    """The grey image that stands for a lost one is better than any small file of this one."""
    noise = np.random.default_rng(0).integers(-1, 2, (64, 64, 3))
    picture = (128 + noise).astype(np.uint8)
    options = [Option(0, 500, 0.99), Option(1, 700, 0.5), Option(2, 900, 0.1)]
    assert best_option(options, RateControl(source_codec("jpeg")), [picture]) == options[0]


def test_no_quality_counts_above_the_rounding_to_8_bits() -> None:
    """Its error is uniform over one step: a mean square of 1/12."""
    best = 10 * math.log10(12 * 255**2)
    assert pytest.approx(best) == BEST_DB == lost_psnr(np.full((4, 4, 3), 128, dtype=np.uint8))
    picture = np.full((4, 4, 3), 120, dtype=np.uint8)
    assert lost_psnr(picture) == pytest.approx(10 * math.log10(255**2 / 64))


def test_a_flat_image_arrives_as_often_as_any() -> None:
    codec = make_digital("jpeg-ldpc")
    black = torch.zeros(3, 64, 64)
    arrived = 0
    for trial in range(40):
        ok = transmit(codec, "rayleigh:block", black, 10.0, ratio=1 / 6, trial=trial).reconstruction.ok
        arrived += int(ok is not None and bool(ok.all()))
    assert arrived >= 32  # BPSK 1/2 is lost below -1 dB: with probability 0.08, 3 of 40


def test_the_scheme_rises_with_the_snr_and_falls_with_the_number_of_blocks() -> None:
    codec = make_digital("jpeg-ldpc")
    assert isinstance(codec, LDPCCodec)
    x = photo(1, 128, 128)
    chosen = []
    for snr_db in range(-2, 26, 2):
        frame = codec.encode(x, Conditions(torch.tensor([float(snr_db)]), 1 / 6))
        assert frame.side.rate is not None
        chosen.append(codec.schemes[int(frame.side.rate[0])].efficiency)
    assert chosen == sorted(chosen)
    assert len(set(chosen)) >= 8
    mcs, table = parse_mcs("16qam-3/4-n1944"), bler_module.table()
    assert table.success(mcs, (1944,), 10.75) > table.success(mcs, (1944,) * 50, 10.75) > table.success(mcs, (1944,) * 500, 10.75)


def test_a_whole_number_is_an_snr() -> None:
    mcs = parse_mcs("qpsk-1/2-n1944")
    assert bler_module.table().success(mcs, (1944,) * 3, 2) == bler_module.table().success(mcs, (1944,) * 3, 2.0)


def test_a_transmitter_that_knows_nothing_is_careful() -> None:
    codec = make_digital("jpeg-ldpc")
    assert isinstance(codec, LDPCCodec)
    blind, told = (codec.encode(photo(), Conditions(snr_db, 1 / 6)).side.rate for snr_db in (None, torch.tensor([0.0])))
    assert blind is not None
    assert torch.equal(blind, told)
    assert codec.schemes[int(blind[0])].modulation == "qpsk"


def test_block_fading_is_averaged_over_the_law_of_the_gain() -> None:
    table, mcs = bler_module.table(), parse_mcs("qpsk-1/2-n1944")
    law = make_channel("rayleigh:block").fading
    assert law is not None
    success = table.success(mcs, (1944,) * 10, 10.0, law)
    threshold = 10 ** ((1.6 - 10) / 10)  # a wall at 1.6 dB: P(|h|^2 > threshold)
    assert success == pytest.approx(math.exp(-threshold), abs=0.02)
    fast = make_channel("rayleigh:fast").fading
    assert fast is not None
    assert fast.per_symbol
    assert table.success(mcs, (1944,) * 10, 10.0, fast) == pytest.approx(1.0, abs=1e-3)


def test_fast_fading_has_an_equivalent_snr() -> None:
    mcs = parse_mcs("16qam-3/4-n1944")
    assert equivalent_snr(mcs, np.full(7, 9.3)) == pytest.approx(9.3, abs=0.02)
    assert equivalent_snr(mcs, np.array([3.0, 15.0])) < 10 * math.log10((10**0.3 + 10**1.5) / 2)


def test_a_curve_is_the_waterfall_of_its_counts() -> None:
    threshold, spread = 1.3, 0.2
    snr_db = tuple(1.0 + 0.125 * n for n in range(6))
    counts = tuple(round(1e5 * (1 - NormalDist(threshold, spread).cdf(x))) for x in snr_db)
    curve = Curve(1944, snr_db, counts, (10**5,) * 6)
    assert curve.fit == pytest.approx((threshold, spread), abs=2e-3)
    table = Table({"curves": {"qpsk-1/2-n1944": [{"n": 1944, "snr_db": snr_db, "errors": counts, "blocks": [10**5] * 6}]}})
    mcs = parse_mcs("qpsk-1/2-n1944")
    assert table.bler(mcs, 1944, np.array([1.3, 1.5]))[1] == pytest.approx(0.1587, rel=0.02)
    assert table.bler(mcs, 1944, 30.0) == bler_module.FLOOR
    with pytest.raises(MissingError, match=r"16qam-3/4-n1944"):
        table.bler(parse_mcs("16qam-3/4-n1944"), 1944, 2.0)


def test_between_lengths_threshold_and_spread_go_with_the_root_of_the_length() -> None:
    def curve(n: int, threshold: float, spread: float) -> dict:
        snr_db = [threshold + 0.5 * spread * step for step in range(-3, 7)]
        errors = [round(1e6 * (1 - NormalDist(threshold, spread).cdf(x))) for x in snr_db]
        return {"n": n, "snr_db": snr_db, "errors": errors, "blocks": [10**6] * 10}

    table = Table({"curves": {"qpsk-1/2": [curve(100, 2.0, 1.0), curve(400, 1.0, 0.5), curve(1600, 0.9, 0.25)]}})
    mcs = parse_mcs("qpsk-1/2")
    middle = 225  # 1/15 lies at a third of the way from 1/10 to 1/20, as 1/sqrt(n) goes
    assert table.bler(mcs, middle, 2.0 - 2 / 3) == pytest.approx(0.5, abs=2e-3)
    assert table.bler(mcs, 99999, 0.9) == pytest.approx(0.5, abs=2e-3)


def test_the_table_covers_all_sets_and_its_curves_are_those_of_the_counts() -> None:
    """No point of the waterfall lies further from its curve than 0.25 dB, or 0.6 of the spread for short blocks."""
    table = bler_module.table()
    for group in MCS_SETS.values():
        for mcs in group:
            curves = table.curves[mcs.name]
            assert mcs.n in (None, curves[-1].n)
            for curve in curves:
                rates = [e / b for e, b in zip(curve.errors, curve.blocks, strict=True)]
                assert rates[0] > 0.4, (mcs.name, curve.n)
                assert rates[-1] < 0.02, (mcs.name, curve.n)
                threshold, spread = curve.fit
                for snr_db, errors, rate in zip(curve.snr_db, curve.errors, rates, strict=True):
                    if errors >= 10 and rate < 0.5:
                        away = abs(snr_db - threshold + spread * NormalDist().inv_cdf(rate))
                        assert away < max(0.25, 0.6 * spread), (mcs.name, curve.n)


def test_the_largest_option_that_is_lost_seldom_enough_wins() -> None:
    control = RateControl(source_codec("jpeg"))
    picture = (photo()[0] * 255).byte().permute(1, 2, 0).numpy()
    sure, good, risky, tiny = Option(0, 1500, 1.0), Option(1, 3000, 0.995), Option(2, 6000, 0.9), Option(3, 10, 1.0)
    assert largest_option([sure, good, risky], 0.01, control, [picture]) == good
    assert largest_option([sure, good, risky], 0.001, control, [picture]) == sure
    assert largest_option([sure, good, risky], 0.2, control, [picture]) == risky
    assert largest_option([tiny, risky], 0.01, control, [picture]) == risky  # nothing fits into the certain one
    assert largest_option([risky], 0.01, control, [picture]) == risky


def test_twice_the_loss_is_taken_for_more_than_a_tenth_of_a_decibel() -> None:
    control = RateControl(source_codec("jpeg"))
    picture = (photo()[0] * 255).byte().permute(1, 2, 0).numpy()
    good, larger, same = Option(0, 3000, 0.995), Option(1, 6000, 0.982), Option(2, 3010, 0.982)
    assert expected_psnr(larger, control, [picture]) > expected_psnr(good, control, [picture]) + 0.1
    assert expected_psnr(same, control, [picture]) < expected_psnr(good, control, [picture]) + 0.1
    assert largest_option([good, larger], 0.01, control, [picture]) == larger
    assert largest_option([good, same], 0.01, control, [picture]) == good
    assert largest_option([good, Option(1, 6000, 0.978)], 0.01, control, [picture]) == good
    lost, quality = lost_psnr(picture), control.fit(picture, 3000)
    assert quality is not None
    arrived = control.psnr(picture, quality.quality)
    assert expected_psnr(good, control, [picture, picture]) == pytest.approx(0.995 * arrived + 0.005 * lost)


def test_a_target_is_met() -> None:
    """Frames of random SNR: not more than asked are lost, and a larger target gives better files."""
    x = photo(1, 64, 64).expand(300, -1, -1, -1)
    snr_db = torch.rand(300, generator=torch.Generator().manual_seed(0)) * 20 - 3
    sizes = []
    for target, most in (("0.2", 0.27), ("0.01", 0.03)):
        codec = make_digital(f"jpeg-ldpc:mcs=nr:target={target}")
        assert isinstance(codec, LDPCCodec)
        frame = codec.encode(x, Conditions(snr_db, 1 / 4))
        result = codec.decode(make_channel("awgn")(frame, snr_db, torch.Generator().manual_seed(1)))
        assert result.ok is not None
        assert 1 - result.ok.double().mean().item() <= most
        assert frame.side.rate is not None
        sizes.append(frame.side.rate.double().mean().item())
    assert sizes[0] > sizes[1]


# --- the bound ---


def test_capacity_of_awgn() -> None:
    """At 10 dB a symbol carries log2(11) = 3.459 bits: the file is the best one of at most that many."""
    x = photo()
    codec = make_digital("jpeg-capacity")
    frame = codec.encode(x, Conditions(torch.tensor([10.0]), 1 / 6))
    uses = x.numel() // 6
    assert isinstance(frame.genie, tuple)
    _, (genie,) = frame.genie
    limit = int(uses * math.log2(11) / 8)
    assert 0.8 * limit < len(genie.data) <= limit
    for noise_db, ok in ((10.0, True), (10.5, True), (8.0, False)):
        noise_var = torch.tensor([10 ** (-noise_db / 10)])
        result = codec.decode(Received(frame.symbols, noise_var, None, frame.length, frame.genie))
        assert result.ok is not None
        assert result.ok.tolist() == [ok]


@pytest.mark.parametrize("snr", [0.1, 1.0, 10.0])
def test_dispersion_is_that_of_two_real_symbols(snr: float) -> None:
    """Of a real one (Polyanskiy, Poor and Verdu, 2010) SNR (SNR + 2) / (2 (SNR + 1)^2) log2(e)^2."""
    real = snr * (snr + 2) / (2 * (snr + 1) ** 2) * math.log2(math.e) ** 2
    assert dispersion(snr) == pytest.approx(2 * real)


def test_capacities_under_rayleigh_fading() -> None:
    """10 dB: ergodic e^(1/snr) E1(1/snr) / ln 2 = 2.91, 5 % outage log2(1 - 10 ln 0.95) = 0.60 bits per symbol."""
    law = make_channel("rayleigh:block").fading
    assert law is not None
    assert ergodic_capacity(10.0, law) == pytest.approx(2.91, abs=0.02)
    assert outage_capacity(10.0, law, 0.05) == pytest.approx(math.log2(1 - 10 * math.log(0.95)), abs=0.03)


@pytest.mark.parametrize("outage", [0.005, 0.01, 0.05, 0.3])
def test_outage_capacity_has_the_probability_that_it_names(outage: float) -> None:
    """Rayleigh: P(|h|^2 < g) = 1 - exp(-g)."""
    law = make_channel("rayleigh:block").fading
    assert law is not None
    gain = (2 ** outage_capacity(10.0, law, outage) - 1) / 10
    assert 1 - math.exp(-gain) == pytest.approx(outage, rel=0.1)


def test_a_bound_knows_the_snr() -> None:
    with pytest.raises(UsageError, match="told another SNR"):
        transmit(make_digital("jpeg-capacity"), "awgn", photo(), 10.0, told_snr_db=5.0)
    with pytest.raises(UsageError, match="told another SNR"):
        transmit(make_digital("jpeg-capacity"), "awgn", photo(), 10.0, told_snr_db=None)


def test_systems_share_the_files_of_one_source_coder() -> None:
    first, second = make_digital("jpeg-ldpc:mcs=qpsk-1/2-n1944"), make_digital("jpeg-capacity")
    assert first.control is second.control  # pyright: ignore[reportAttributeAccessIssue]
    assert make_digital("webp-capacity").control is not first.control  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("channel", ["awgn", "rayleigh:fast"])
def test_a_frame_of_finite_length_is_lost_as_often_as_named(channel: str) -> None:
    codec = make_digital("jpeg-capacity:finite=0.1")
    assert isinstance(codec, CapacityCodec)
    uses, frames = 500, 2000
    law = make_channel(channel)
    budget = 8 * max(option.budget for option in codec._options(uses, 10**0.5, law.fading) if option.success <= 0.91)
    assert budget < 0.97 * uses * math.log2(1 + 10**0.5)
    frame = Frame(torch.ones(frames, uses, dtype=torch.complex64), torch.full((frames,), uses), Side(1, 1))
    received = law(frame, 5.0, torch.Generator().manual_seed(0))
    bits = [codec._capacity(received, row, 0, uses, None) for row in range(frames)]
    lost = sum(value < budget for value in bits) / frames
    assert lost == pytest.approx(0.1 if channel == "awgn" else 0.45, abs=0.025)


def test_outage_capacity_is_lost_as_often_as_asked() -> None:
    x = photo(1, 16, 16).expand(400, -1, -1, -1)
    codec = make_digital("jpeg-capacity:outage=0.2")
    channel = make_channel("rayleigh:block")
    frame = codec.encode(x, Conditions(torch.full((400,), 15.0), 0.5, fading=channel.fading))
    result = codec.decode(channel(frame, 15.0, torch.Generator().manual_seed(0)))
    assert result.ok is not None
    lost = 1 - result.ok.double().mean().item()
    assert 0.08 < lost <= 0.27  # the file is a little smaller than the bits allow
    ergodic = make_digital("jpeg-capacity:fading=ergodic")
    frame = ergodic.encode(x[:8], Conditions(torch.full((8,), 15.0), 0.5, fading=channel.fading))
    result = ergodic.decode(channel(frame, 15.0, torch.Generator().manual_seed(0)))
    assert result.ok is not None
    assert result.ok.all()


def test_a_law_without_fading_is_that_of_awgn() -> None:
    flat = Fading((1.0,), per_symbol=False)
    assert ergodic_capacity(10.0, flat) == outage_capacity(10.0, flat, 0.05) == pytest.approx(math.log2(11))
