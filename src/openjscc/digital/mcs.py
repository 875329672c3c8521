"""Modulation and coding schemes: their names, the sets that link adaptation chooses from, and how a frame is cut into blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import UsageError, unknown_name
from .modulation import MODULATIONS, Modulation, get_modulation

if TYPE_CHECKING:
    from .coding import BlockCode

IEEE80211N_LENGTH = 1944
IEEE80211N_RATES = ("1/2", "2/3", "3/4", "5/6")
NR_RATES = (Fraction(30, 1024), Fraction(948, 1024))
"""Lowest and highest code rate of the MCS tables of 5G NR."""
NR_MOST = 8448, 3840
"""Information bits of a block at most: of base graph 1, and of base graph 2, which serves rates up to 1/4."""
NR_LEAST = 40
"""Information bits of a block of the ladder at least; a frame with fewer carries nothing."""
SHORTEST_BLOCK = 96
"""Coded bits below which a block is not worth its name: what is left of a frame is then filled up."""
TAIL_SHARE = 4
"""What is left after the full blocks becomes a short block from a quarter of a full one, and is filled up below that."""


@dataclass(frozen=True)
class MCS:
    """A modulation with an LDPC code.

    Attributes:
        modulation: a name of `openjscc.digital.modulation.MODULATIONS`.
        rate: information bits over coded bits.
        n: coded bits of a full block. 1944: IEEE 802.11n; any other length: 5G NR (3GPP TS 38.212), also for the shorter
            blocks at the end of a frame. None: 5G NR, and as 5G NR cuts a frame: the fewest blocks, all of one length.
    """

    modulation: str
    rate: Fraction
    n: int | None = None

    @property
    def name(self) -> str:
        """As users write it, e.g. ``16qam-3/4-n1944`` or ``16qam-3/4``."""
        return f"{self.modulation}-{self.rate}" + ("" if self.n is None else f"-n{self.n}")

    @property
    def scheme(self) -> Modulation:
        return get_modulation(self.modulation)

    @property
    def efficiency(self) -> float:
        """Information bits per channel use."""
        return float(self.rate * self.scheme.bits_per_symbol)

    def code(self, n: int | None = None) -> BlockCode:
        """The code of a block of ``n`` coded bits (None: a full one), of this rate to within one bit.

        A block shorter than 1944 bits is 5G NR in either family: punctured to that length, the 802.11n code is worse.
        """
        from .coding import ieee80211n, nr

        n = self.n if n is None else n
        if n is None:
            raise UsageError(f"{self.name} has no length of its own", "give the coded bits of the block")
        if n == self.n == IEEE80211N_LENGTH:
            return ieee80211n(str(self.rate))
        return nr(int(n * self.rate), n, self.scheme.bits_per_symbol)


@dataclass(frozen=True)
class BlockPlan:
    """How the symbols of a frame are used.

    Attributes:
        lengths: coded bits of each block, in order.
        information: information bits of all blocks.
        padding: symbols at the end that carry nothing (and are counted like all others).
    """

    lengths: tuple[int, ...]
    information: int
    padding: int


def plan_blocks(mcs: MCS, uses: int) -> BlockPlan:
    """Cut ``uses`` symbols into blocks.

    A scheme without a length of its own: the fewest blocks of 5G NR, all of one length to within a symbol, as TS 38.212, clauses
    5.2.2 and 5.4.2.1. Another: full blocks, one rate-matched shorter block, and padding. What is left after the full blocks
    becomes a shorter block of the same rate if that has at least a quarter of a full one's bits (or, where there is no full one,
    `SHORTEST_BLOCK`).
    """
    bits = mcs.scheme.bits_per_symbol
    if mcs.n is None:
        return _equal_blocks(mcs, uses)
    full, left = divmod(uses * bits, mcs.n)
    left -= left % bits
    lengths = [mcs.n] * full
    if left >= (mcs.n // TAIL_SHARE if full else SHORTEST_BLOCK):
        lengths.append(left)
    information = sum(int(length * mcs.rate) for length in lengths)
    return BlockPlan(tuple(lengths), information, uses - sum(lengths) // bits)


def _equal_blocks(mcs: MCS, uses: int) -> BlockPlan:
    bits = mcs.scheme.bits_per_symbol
    if int(uses * bits * mcs.rate) < NR_LEAST:
        return BlockPlan((), 0, uses)
    most = largest_block(mcs.rate)
    longest = int((most + 1) / mcs.rate) // bits
    while int(longest * bits * mcs.rate) > most:
        longest -= 1
    count = -(-uses // longest)
    each, longer = divmod(uses, count)
    lengths = (*[(each + 1) * bits] * longer, *[each * bits] * (count - longer))
    return BlockPlan(lengths, sum(int(length * mcs.rate) for length in lengths), 0)


def largest_block(rate: Fraction) -> int:
    """Information bits that a block of 5G NR has at most at a rate; near 1/4, where rounding decides the graph, those of both."""
    return NR_MOST[rate < Fraction(26, 100)]


def _set(text: str) -> tuple[MCS, ...]:
    return tuple(parse_mcs(name) for name in text.split())


def parse_mcs(text: str) -> MCS:
    """``16qam-3/4-n1944`` or ``4qam-2/3-n6144``: modulation, code rate, block length; ``16qam-490/1024``: modulation, code rate.

    Raises:
        UsageError: for another form, an unknown modulation, or a code that does not exist.
    """
    match = re.fullmatch(r"([a-z0-9]+)-(\d{1,5}(?:\.5)?)/(\d{1,5})(?:-n(\d{1,5}))?", text.strip().lower())
    if match is None or int(match[3]) == 0:
        raise UsageError(
            f"modulation and coding scheme {text!r}", "write it as 16qam-3/4-n1944, 16qam-2/3-n6144 or 16qam-490/1024"
        )
    scheme, rate = get_modulation(match[1]), Fraction(match[2]) / int(match[3])
    n = None if match[4] is None else int(match[4])
    if n == IEEE80211N_LENGTH and str(rate) not in IEEE80211N_RATES:
        raise UsageError(
            f"{text!r}: IEEE 802.11n has no rate {rate}", f"n = 1944 has {', '.join(IEEE80211N_RATES)}; others are 5G NR"
        )
    if not NR_RATES[0] <= rate <= NR_RATES[1]:
        raise UsageError(f"{text!r}: code rate {rate}", f"5G NR serves rates from {NR_RATES[0]} to {NR_RATES[1]}")
    most = NR_MOST[rate <= Fraction(1, 4)]
    if n is not None and (n % scheme.bits_per_symbol or n < SHORTEST_BLOCK or n * rate > most):
        raise UsageError(
            f"{text!r}: block of {n} bits",
            f"{SHORTEST_BLOCK} or more, a multiple of {scheme.bits_per_symbol}, and at most {most} information bits at this rate",
        )
    return MCS(scheme.name, rate, n)


LADDER = {
    "qpsk": "30 40 50 64 78 99 120 157 193 251 308 379 449 526 602",
    "16qam": "340 378 434 490 553 616 658",
    "64qam": "466 517 567 616 666 719 772 822 873",
    "256qam": "682.5 711 754 797 841 885 916.5 948",
}
"""1024 times the code rates of 3GPP TS 38.214, tables 5.1.3.1-1 to 5.1.3.1-3, by modulation. Four are left out (QPSK 679, 64-QAM
438, 910 and 948): the next modulation has one of the same efficiency."""
MCS_SETS: dict[str, tuple[MCS, ...]] = {
    "nr": tuple(MCS(modulation, Fraction(rate) / 1024) for modulation, rates in LADDER.items() for rate in rates.split()),
    "80211n": tuple(
        MCS(modulation, Fraction(rate), IEEE80211N_LENGTH) for modulation in MODULATIONS for rate in IEEE80211N_RATES
    ),
    "witt": _set("qpsk-1/3-n6144 qpsk-1/2-n6144 qpsk-2/3-n6144 16qam-1/2-n6144 16qam-2/3-n6144 64qam-1/2-n6144"),
}
"""By name: the ladder of 5G NR; all of IEEE 802.11n with n = 1944; the six that the authors of WITT used (5G NR)."""


def mcs_set(text: str) -> tuple[MCS, ...]:
    """A set of `MCS_SETS` by name, or the set of one scheme that is fixed.

    Raises:
        UsageError: neither.
    """
    if text in MCS_SETS:
        return MCS_SETS[text]
    if "-" not in text:
        raise unknown_name("set of modulation and coding schemes", text, [*MCS_SETS, "16qam-3/4-n1944"])
    return (parse_mcs(text),)
