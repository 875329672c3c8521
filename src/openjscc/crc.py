"""Cyclic redundancy checks of 3GPP TS 38.212, clause 5.1."""

from __future__ import annotations

import numpy as np

from .errors import UsageError, unknown_name

POLYNOMIALS = {"24A": 0x1864CFB, "24B": 0x1800063, "24C": 0x1B2B117, "16": 0x11021, "11": 0xE21, "6": 0x61}
"""Generator of each CRC, most significant bit first: 0x61 is D^6 + D^5 + 1."""
AT_ONCE = 2**20
"""Bits that are worked on together, to bound the memory."""

_remainders: dict[str, np.ndarray] = {}


def crc(bits: np.ndarray, name: str) -> np.ndarray:
    """Parity bits of rows of bits: zero initial state, first bit first, nothing inverted.

    Args:
        bits: uint8 0 or 1, ``(B, k)``.
        name: ``24A``, ``24B``, ``24C``, ``16``, ``11`` or ``6``.

    Returns:
        uint8 ``(B, c)``, most significant bit first. Appended to the row they make its remainder zero.
    """
    if name not in POLYNOMIALS:
        raise unknown_name("CRC", str(name), POLYNOMIALS)
    bits = np.asarray(bits)
    if bits.ndim != 2 or bits.dtype != np.uint8 or bits.max(initial=0) > 1:
        raise UsageError(f"bits of type {bits.dtype} and shape {bits.shape} for a CRC", "give uint8 (B, k), values 0 and 1")
    batch, length = bits.shape
    weights = _weights(name, length)
    word = np.zeros(batch, dtype=np.uint32)
    rows = max(AT_ONCE // max(length, 1), 1)
    for start in range(0, batch, rows):
        part = bits[start : start + rows]
        word[start : start + rows] = np.bitwise_xor.reduce(part * weights, axis=1)
    degree = POLYNOMIALS[name].bit_length() - 1
    return ((word[:, None] >> np.arange(degree - 1, -1, -1, dtype=np.uint32)) & 1).astype(np.uint8)


def _weights(name: str, length: int) -> np.ndarray:
    """uint32 ``(length,)``: what each bit of a row adds to its CRC. The bit that i bits follow adds D^(i + c) mod g."""
    known = _remainders.get(name)
    if known is None or len(known) < length:
        polynomial = POLYNOMIALS[name]
        degree = polynomial.bit_length() - 1
        known = np.array([polynomial ^ (1 << degree)], dtype=np.uint32)
        step = 2  # D^len(known): from one half of the table to the other
        while len(known) < length:
            known = np.concatenate([known, _product(known, step, polynomial)])
            step = int(_product(np.array([step], dtype=np.uint32), step, polynomial)[0])
        _remainders[name] = known
    return known[:length][::-1]


def _product(values: np.ndarray, factor: int, polynomial: int) -> np.ndarray:
    """Products of polynomials modulo a polynomial, bit i for D^i."""
    degree = polynomial.bit_length() - 1
    result = np.zeros_like(values)
    for bit in range(degree):
        if factor >> bit & 1:
            result ^= values
        values = values << np.uint32(1)
        values = values ^ (values >> np.uint32(degree)) * np.uint32(polynomial)
    return result
