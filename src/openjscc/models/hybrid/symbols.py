"""The symbols of a hybrid frame around its analog layer: the digital part, and the words that say how long it is."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...codec import Received
from ...crc import crc
from ...digital.ldpc import CRC, CRC_BITS, Group, budget_bytes, decode_blocks, demap, encode_blocks, scrambling
from ...digital.mcs import MCS, plan_blocks
from ...header.layouts import PLAIN, qpsk

SHARE_BITS = 12
"""Two short words behind the header say which share of the channel uses after them is digital."""
WORD_BITS = SHARE_BITS // 2
WORDS_USES = 2 * PLAIN.uses


def share_symbols(number: int) -> torch.Tensor:
    """The two words of a share in 2^-12, complex64 ``(WORDS_USES,)``."""
    numbers = np.array([number >> WORD_BITS, number & 2**WORD_BITS - 1])
    return qpsk(PLAIN.words[numbers]).reshape(-1)


def read_share(received: Received, row: int, start: int, repeats: int) -> int:
    """What the words from symbol ``start`` on say, sent so many times: the likeliest."""
    symbols, noise = equalized(received, row, start, start + WORDS_USES * repeats)
    soft = torch.view_as_real(symbols / noise.clamp(min=1e-9)).reshape(repeats, 2, -1).sum(0).double().cpu().numpy()
    first, second = (soft @ (1.0 - 2.0 * PLAIN.words.T)).argmax(axis=1)
    return int(first) << WORD_BITS | int(second)


def digital_uses(number: int, uses: int) -> int:
    """Channel uses of the digital part, of so many."""
    return math.ceil(number * uses / 2**SHARE_BITS)


def least_share(scheme: MCS, uses: int, size: int) -> int | None:
    """The least share in 2^-12 of so many channel uses that carries ``size`` bytes; None: not even the largest does."""

    def fits(number: int) -> bool:
        return budget_bytes(plan_blocks(scheme, digital_uses(number, uses)).information) >= size

    low, high = 0, 2**SHARE_BITS - 1
    if not fits(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def digital_symbols(scheme: MCS, uses: int, content: bytes) -> torch.Tensor:
    """The digital part, complex64 ``(uses,)``: content, zero bytes, a CRC, in LDPC blocks."""
    blocks = plan_blocks(scheme, uses)
    bits = np.zeros(blocks.information, dtype=np.uint8)
    data = np.zeros(budget_bytes(blocks.information), dtype=np.uint8)
    data[: len(content)] = np.frombuffer(content, dtype=np.uint8)
    word = np.unpackbits(data)
    bits[: len(word) + CRC_BITS] = np.concatenate([word, crc(word[None], CRC)[0]])
    coded = encode_blocks([Group(range(1), scheme, blocks)], [bits ^ scrambling(len(bits))])[0]
    return scheme.scheme.map(np.concatenate([*coded, scrambling(blocks.padding * scheme.scheme.bits_per_symbol)]))


def read_digital(received: Received, row: int, start: int, uses: int, scheme: MCS) -> bytes | None:
    """The content of `digital_symbols` from symbol ``start`` on, and zero bytes; None where it is lost."""
    blocks = plan_blocks(scheme, uses)
    if budget_bytes(blocks.information) < 1:
        return None
    soft = demap(received, row, start, uses, scheme, "exact")
    bits, good = decode_blocks([Group(range(1), scheme, blocks)], [soft])[0]
    bits = bits ^ scrambling(len(bits))
    length = 8 * budget_bytes(len(bits))
    if not good.all() or not np.array_equal(crc(bits[None, :length], CRC)[0], bits[length : length + CRC_BITS]):
        return None
    return np.packbits(bits[:length]).tobytes()


def equalized(received: Received, row: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Symbols divided by their gain, and the noise variance of each; zero-forcing."""
    symbols = received.symbols[row, start:stop]
    noise = received.noise_var[row, start:stop] if received.noise_var.ndim == 2 else received.noise_var[row].expand(len(symbols))
    if received.gain is None:
        return symbols, noise
    gain = received.gain[row, start:stop] if received.gain.shape[1] > 1 else received.gain[row].expand(len(symbols))
    power = gain.abs().square().clamp(min=1e-6)
    return symbols * gain.conj() / power, noise / power
