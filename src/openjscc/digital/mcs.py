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
            blocks at the end of a frame.
    """

    modulation: str
    rate: Fraction
    n: int

    @property
    def name(self) -> str:
        """As users write it, e.g. ``16qam-3/4-n1944``."""
        return f"{self.modulation}-{self.rate}-n{self.n}"

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
        if n == IEEE80211N_LENGTH:
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
    """Cut ``uses`` symbols into full blocks, one rate-matched shorter block, and padding.

    What is left after the full blocks becomes a shorter block of the same rate if that has at least a quarter of a full one's
    bits (or, where there is no full one, `SHORTEST_BLOCK`).
    """
    bits = mcs.scheme.bits_per_symbol
    full, left = divmod(uses * bits, mcs.n)
    left -= left % bits
    lengths = [mcs.n] * full
    if left >= (mcs.n // TAIL_SHARE if full else SHORTEST_BLOCK):
        lengths.append(left)
    information = sum(int(length * mcs.rate) for length in lengths)
    return BlockPlan(tuple(lengths), information, uses - sum(lengths) // bits)


def _set(text: str) -> tuple[MCS, ...]:
    return tuple(parse_mcs(name) for name in text.split())


def parse_mcs(text: str) -> MCS:
    """``16qam-3/4-n1944`` or ``4qam-2/3-n6144``: modulation, code rate, block length.

    Raises:
        UsageError: for another form, an unknown modulation, or a code that does not exist.
    """
    match = re.fullmatch(r"([a-z0-9]+)-(\d+)/(\d+)-n(\d{1,5})", text.strip().lower())
    if match is None or int(match[3]) == 0:
        raise UsageError(f"modulation and coding scheme {text!r}", "write it as 16qam-3/4-n1944 or 16qam-2/3-n6144")
    scheme, rate, n = get_modulation(match[1]), Fraction(int(match[2]), int(match[3])), int(match[4])
    if n == IEEE80211N_LENGTH and str(rate) not in IEEE80211N_RATES:
        raise UsageError(
            f"{text!r}: IEEE 802.11n has no rate {rate}", f"n = 1944 has {', '.join(IEEE80211N_RATES)}; others are 5G NR"
        )
    if not Fraction(1, 5) <= rate <= Fraction(11, 12):
        raise UsageError(f"{text!r}: code rate {rate}", "5G NR serves rates from 1/5 to 11/12")
    most = 8448 if rate > Fraction(1, 4) else 3840  # information bits of the two base graphs
    if n % scheme.bits_per_symbol or n < SHORTEST_BLOCK or n * rate > most:
        raise UsageError(
            f"{text!r}: block of {n} bits",
            f"{SHORTEST_BLOCK} or more, a multiple of {scheme.bits_per_symbol}, and at most {most} information bits at this rate",
        )
    return MCS(scheme.name, rate, n)


MCS_SETS: dict[str, tuple[MCS, ...]] = {
    "80211n": tuple(
        MCS(modulation, Fraction(rate), IEEE80211N_LENGTH) for modulation in MODULATIONS for rate in IEEE80211N_RATES
    ),
    "witt": _set("qpsk-1/3-n6144 qpsk-1/2-n6144 qpsk-2/3-n6144 16qam-1/2-n6144 16qam-2/3-n6144 64qam-1/2-n6144"),
}
"""By name: all of IEEE 802.11n with n = 1944, and the six that the authors of WITT used (5G NR)."""


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
