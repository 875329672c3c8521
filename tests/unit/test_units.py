"""Units: conversions are each other's inverse, and what people type is read or refused with a hint."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openjscc.errors import UsageError
from openjscc.units import (
    bandwidth_ratio,
    channel_uses_per_pixel,
    db_to_linear,
    format_ratio,
    linear_to_db,
    noise_var_from_snr,
    parse_numbers,
    parse_ratio,
    psnr_from_mse,
    snr_from_noise_var,
    snr_tensor,
    source_dimension,
)


@pytest.mark.parametrize("text", ["1e99999999", "1e-99999999", "1e99999999/3", "-1e99999999"])
def test_a_huge_exponent_is_not_computed(text: str, monkeypatch: pytest.MonkeyPatch):
    """`Fraction` does, for minutes; here every integer that it makes would be an error."""
    monkeypatch.setattr("openjscc.units.Fraction", lambda *_: pytest.fail("an exact fraction was made"))
    with pytest.raises(UsageError, match="bandwidth ratio"):
        parse_ratio(text)


@settings(deadline=None)
@given(st.floats(-100, 100))
def test_decibels_and_back(value_db: float):
    assert linear_to_db(db_to_linear(value_db)) == pytest.approx(value_db, abs=1e-9)
    assert snr_from_noise_var(noise_var_from_snr(value_db)) == pytest.approx(value_db, abs=1e-9)
    assert db_to_linear(torch.tensor(value_db, dtype=torch.float64)).item() == pytest.approx(db_to_linear(value_db))


def test_conventions():
    assert noise_var_from_snr(10.0) == pytest.approx(0.1)  # per complex symbol: 0.05 would be per real dimension
    assert noise_var_from_snr(0.0) == 1.0
    assert source_dimension(32, 32) == 3072
    assert bandwidth_ratio(512, 32, 32) == pytest.approx(1 / 6)
    assert channel_uses_per_pixel(1 / 6) == pytest.approx(512 / 1024)
    assert psnr_from_mse(0.01) == pytest.approx(20.0)
    assert psnr_from_mse(255.0**2 * 0.01, peak=255.0) == pytest.approx(20.0)
    assert torch.allclose(noise_var_from_snr(torch.tensor([0.0, 10.0])), torch.tensor([1.0, 0.1]))


@pytest.mark.parametrize("value", [10, 10.0, [10.0], torch.tensor(10.0), torch.tensor([10], dtype=torch.int64)])
def test_one_snr_serves_the_batch(value):
    assert snr_tensor(value, 3).tolist() == [10.0] * 3
    assert snr_tensor(value, 3).dtype == torch.float32


def test_one_snr_per_image():
    assert snr_tensor([0, 5, 10.5], 3).tolist() == [0.0, 5.0, 10.5]
    assert snr_tensor([-100.0, 100.0], 2).tolist() == [-100.0, 100.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e4, -301.0, 100.5, -100.5, [1.0, math.nan]])
def test_absurd_snr_is_refused(value):
    with pytest.raises(UsageError, match="dB"):
        snr_tensor(value, 2)


@pytest.mark.parametrize("value", [[1.0, 2.0], [1.0] * 4, [[1.0, 2.0, 3.0]], []])
def test_wrong_number_of_snrs_is_refused(value):
    with pytest.raises(UsageError, match="3 images"):
        snr_tensor(value, 3)


@pytest.mark.parametrize(("text", "value"), [("1/16", 0.0625), ("0.0625", 0.0625), (" 1/6 ", 1 / 6), ("1", 1.0), ("5e-2", 0.05)])
def test_ratio(text: str, value: float):
    assert parse_ratio(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "a", "1/0", "0", "-1/6", "11", "nan", "inf", "1/2/3", "1:6", "9" * 5000])
def test_bad_ratio(text: str):
    with pytest.raises(UsageError) as caught:
        parse_ratio(text)
    assert "1/16" in caught.value.hint


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 512))
def test_ratio_survives_its_own_format(numerator: int, denominator: int):
    ratio = numerator / denominator
    assert parse_ratio(format_ratio(ratio)) == pytest.approx(ratio, rel=1e-5)


def test_format_ratio():
    assert format_ratio(0.0625) == "1/16"
    assert format_ratio(1 / 6) == "1/6"
    assert format_ratio(0.0371234) == "0.03712"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,4,7", [1, 4, 7]),
        ("7,1", [7, 1]),
        ("0:20:5", [0, 5, 10, 15, 20]),
        ("0:1:0.1", [i / 10 for i in range(11)]),
        ("-5:5:5,12", [-5, 0, 5, 12]),
        ("10:0:-5", [10, 5, 0]),
        ("0:7:2", [0, 2, 4, 6]),
        ("3:3:1", [3]),
        (" 1 , 2.5 ", [1, 2.5]),
    ],
)
def test_numbers(text: str, values: list[float]):
    assert parse_numbers(text) == values


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:2", "0:10:0", "0:10:-1", "0:1:1e-9", "1e999", "nan", "1;2"])
def test_bad_numbers(text: str):
    with pytest.raises(UsageError, match="SNR list"):
        parse_numbers(text, "SNR list")
