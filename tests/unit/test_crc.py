"""CRCs: published check values, the schoolbook division, linearity, bursts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjscc.crc import POLYNOMIALS, crc
from openjscc.errors import UsageError

CHECK = {"24A": 0xCDE703, "24B": 0x23EF52, "24C": 0xF48279, "16": 0x31C3, "11": 0x5CA, "6": 0x15}
"""CRC of the nine ASCII characters 123456789."""


def division(bits: np.ndarray, polynomial: int) -> int:
    """Remainder by shifting one bit at a time."""
    degree = polynomial.bit_length() - 1
    register = 0
    for bit in [*bits.tolist(), *[0] * degree]:
        register = register << 1 | bit
        if register >> degree:
            register ^= polynomial
    return register


def number(bits: np.ndarray) -> int:
    return int("".join(map(str, bits.tolist())), 2)


def random_bits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_check_value(name: str):
    text = np.unpackbits(np.frombuffer(b"123456789", dtype=np.uint8))
    assert number(crc(text[None], name)[0]) == CHECK[name]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(POLYNOMIALS)), st.integers(0, 300), st.integers(0, 2**32))
def test_same_as_long_division(name: str, length: int, seed: int):
    bits = random_bits(2, length, seed=seed)
    for row, parity in zip(bits, crc(bits, name), strict=True):
        assert number(parity) == division(row, POLYNOMIALS[name])


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_linear_and_zero_remainder(name: str):
    a, b = random_bits(2, 50, 517)
    assert np.array_equal(crc(a ^ b, name), crc(a, name) ^ crc(b, name))
    assert not crc(np.concatenate([a, crc(a, name)], axis=1), name).any()


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_every_burst_up_to_its_length_is_seen(name: str):
    degree = POLYNOMIALS[name].bit_length() - 1
    source = np.random.default_rng(1)
    errors = np.zeros((2000, 400), dtype=np.uint8)
    for row in errors:
        length, start = source.integers(1, degree + 1), source.integers(0, 400 - degree)
        row[start : start + length] = source.integers(0, 2, length)
        row[[start, start + length - 1]] = 1
    assert crc(errors, name).any(1).all()


def test_long_and_fast():
    bits = random_bits(1, 800_000)
    crc(bits, "24A")
    start = time.process_time()
    parity = crc(bits, "24A")
    assert time.process_time() - start < 0.5
    assert not crc(np.concatenate([bits, parity], axis=1), "24A").any()


def test_shapes():
    assert crc(np.zeros((3, 0), dtype=np.uint8), "16").shape == (3, 16)
    assert crc(np.zeros((0, 8), dtype=np.uint8), "11").shape == (0, 11)


@pytest.mark.parametrize(
    ("bits", "name"),
    [
        (np.zeros((1, 8), dtype=np.uint8), "32"),
        (np.zeros(8, dtype=np.uint8), "16"),
        (np.zeros((1, 8)), "16"),
        (np.full((1, 8), 2, dtype=np.uint8), "16"),
    ],
)
def test_bad_arguments(bits: np.ndarray, name: str):
    with pytest.raises(UsageError) as caught:
        crc(bits, name)
    assert caught.value.hint
