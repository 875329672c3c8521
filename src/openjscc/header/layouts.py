"""The bits of a header: its fields, the four full layouts and the two short codes, and QPSK."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..polar import PolarCode

VERSION = 1
VERSION_BITS, IDENTITY_BITS, RATE_BITS, TASK_BITS, CRC_BITS = 2, 16, 6, 2, 16
SCALE_BITS = 10
SCALE_LOWEST_DB = -40.0
SCALE_STEP_DB = 1 / 16
MAX_SIDE = 2**16

REPEATS = 4
"""How often a full header is sent where the transmitter knows an SNR below `REPEAT_BELOW_DB`, or that the channel fades: there
the payload of a learned codec degrades where a header that is sent once is lost."""
REPEAT_BELOW_DB = 0.0
MASKS = {1: 0x3C96, REPEATS: 0x5A5A}
"""Added to the CRC: silence is no header, and the first of several repetitions is none that is sent once."""


@dataclass(frozen=True)
class Layout:
    """One of the forms of a full header.

    Attributes:
        side_bits: of H - 1 and of W - 1 each.
        value_bits: of the last field.
        counts_uses: the last field is the frame's channel uses; else the scale of the symbols.
        code: the polar code.
    """

    side_bits: int
    value_bits: int
    counts_uses: bool
    code: PolarCode

    @property
    def uses(self) -> int:
        """Channel uses of the header, sent once."""
        return self.code.n // 2


# Information bits chosen by density evolution in the Gaussian approximation at 0 dB; tests/unit/test_polar.py does it again.
LAYOUTS = (
    Layout(10, 10, False, PolarCode(248, "0000000000000001000000010001037f000000030007177f011717ff177fffff")),
    Layout(16, 10, False, PolarCode(
        288,
        "0000000000000000000000000000000100000000000000010000000100151557"
        "0000000000000005000001150115155700010115015555570555555755575557",
    )),
    Layout(10, 25, True, PolarCode(
        296,
        "0000000000000000000000000000000100000000000000010000000100151557"
        "0000000000000005000101150115155700010115015555571555555755575757",
    )),
    Layout(16, 38, True, PolarCode(
        376,
        "0000000000000000000000000000000100000000000000010000001101171777"
        "0000000000000117000101170117177700010117013777770557777777777777",
    )),
)  # fmt: skip


@dataclass(frozen=True)
class ShortCode:
    """The code of a short header: a linear block code whose every word is compared with what was received.

    Attributes:
        bits: information bits.
        words: all codewords, uint8 ``(2^bits, n)``.
        scale_bits: of them, at the end, for the scale of the symbols.
        fit: correlation with the likeliest word, as a share of the sum of all magnitudes, below which there is no short header.
    """

    bits: int
    words: np.ndarray
    scale_bits: int
    fit: float

    @property
    def uses(self) -> int:
        """Channel uses."""
        return self.words.shape[1] // 2

    @property
    def choices(self) -> int:
        """Pairs of rate and task that it can tell apart."""
        return 2 ** (self.bits - self.scale_bits)


def _linear(columns: Sequence[int], bits: int) -> np.ndarray:
    """Codewords of a generator matrix whose columns are numbers of so many bits."""
    return np.array([[(word & column).bit_count() & 1 for column in columns] for word in range(2**bits)], dtype=np.uint8)


def _cyclic(generator: int, bits: int) -> np.ndarray:
    """Codewords of a shortened cyclic code: all multiples of a generator polynomial."""
    length = bits + generator.bit_length() - 1
    rows = np.array([[generator << shift >> place & 1 for place in reversed(range(length))] for shift in range(bits)])
    numbers = np.arange(2**bits)[:, None] >> np.arange(bits) & 1
    return (numbers @ rows % 2).astype(np.uint8)


PLAIN = ShortCode(
    6,
    _linear(
        (
            1, 2, 4, 7, 8, 9, 11, 12, 13, 14, 15, 16, 19, 21, 22, 25, 26, 28, 31, 32,
            33, 35, 37, 38, 41, 42, 43, 44, 47, 49, 50, 51, 52, 53, 54, 55, 56, 59, 61, 62,
        ),
        6,
    ),
    0,
    0.5,
)  # fmt: skip
"""(40, 6), least distance 18: found by a search that minimised the union bound at 0 dB. For codecs without a scale."""

SCALED = ShortCode(12, _cyclic(0x156B51C674D7D, 12), 9, 0.55)
"""(60, 12), least distance 24: the even words of the BCH code of length 63 with designed distance 23, shortened by 3."""

SHORT_POSTERIOR = 0.8
"""A short header whose likeliest value has a smaller posterior probability is lost (an erasure)."""
SHORT_SURE = 0.8
"""Share of the magnitudes, as `ShortCode.fit`, from which no full header is looked for."""


def index_bits(count: int) -> int:
    """Bits that tell ``count`` possibilities apart (0 for one)."""
    return math.ceil(math.log2(count)) if count > 1 else 0


def scale_index(scale: torch.Tensor) -> torch.Tensor:
    """The header's number for a positive scale ``(B,)``: int64, steps of 1/16 dB from -40 dB, 1024 of them."""
    steps = (20 * torch.log10(scale.clamp(min=1e-9)) - SCALE_LOWEST_DB) / SCALE_STEP_DB
    return steps.round().clamp(0, 2**SCALE_BITS - 1).long()


def scale_of(index: torch.Tensor) -> torch.Tensor:
    """The scale float32 ``(B,)`` that a header's number stands for."""
    return (10 ** ((SCALE_LOWEST_DB + SCALE_STEP_DB * index.double()) / 20)).float()


def quantize_scale(scale: torch.Tensor, coarse: bool = False) -> torch.Tensor:
    """The scale ``(B,)`` that the receiver reads from the header; the gradient is that of the unrounded one.

    Short headers are ``coarse``: they have every other step.
    """
    index = scale_index(scale.detach())
    read = scale_of(index // 2 * 2 if coarse else index)
    return scale + (read.to(scale.dtype) - scale).detach()


def identity_of(text: str) -> int:
    """The 16 bits by which a header names a system: the start of the SHA-256 of what tells it from others."""
    return int(hashlib.sha256(text.encode()).hexdigest()[: IDENTITY_BITS // 4], 16)


@dataclass(frozen=True)
class Fields:
    """What one header says. ``value`` is the last field, ``head`` the header's channel uses. ``fit``: the correlation of what was
    received with the header's symbols, as a share of the sum of all magnitudes; 0.86 in the mean at 0 dB, 1 without noise. What
    passes the CRC by chance (about one frame of noise in a thousand) has about 0.7."""

    version: int
    identity: int
    height: int
    width: int
    rate: int
    task: int
    value: int
    counts_uses: bool
    head: int
    fit: float = 1.0


def fields_of(layout: Layout, word: np.ndarray, head: int, fit: float) -> Fields:
    values, start = [], 0
    for width in widths(layout):
        values.append(int("".join(map(str, word[start : start + width])), 2))
        start += width
    version, identity, height, width, rate, task, value = values
    return Fields(version, identity, height + 1, width + 1, rate, task, value, layout.counts_uses, head, fit)


def widths(layout: Layout) -> tuple[int, ...]:
    return VERSION_BITS, IDENTITY_BITS, layout.side_bits, layout.side_bits, RATE_BITS, TASK_BITS, layout.value_bits


def to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Numbers ``(B,)`` as bits uint8 ``(B, width)``, most significant first."""
    return (values.astype(np.int64)[:, None] >> np.arange(width - 1, -1, -1) & 1).astype(np.uint8)


def qpsk(bits: np.ndarray) -> torch.Tensor:
    """Bits ``(B, 2k)`` to unit-energy QPSK symbols complex64 ``(B, k)``."""
    level = torch.from_numpy((1.0 - 2.0 * bits.astype(np.float32)) / math.sqrt(2.0))
    return torch.view_as_complex(level.unflatten(1, (-1, 2)).contiguous())
