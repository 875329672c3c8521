"""The LDPC codes of IEEE 802.11n with block length 1944, whole, shortened and punctured."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from ...errors import IntegrityError, UsageError, unknown_name
from .block import BlockCode
from .graph import Graph

Z = 81
BLOCK_COLUMNS = 24
RATES = {"1/2": 12, "2/3": 8, "3/4": 6, "5/6": 4}
"""Block rows of each rate."""
FACTOR = 53
"""Scale of the messages in 64ths; the best of 44 to 58 over the four rates, at a BLER of 0.02 to 0.3."""


@cache
def graph(rate: str) -> Graph:
    """The graph of one rate, from the table of the standard."""
    text = (files("openjscc.digital.coding") / "tables" / "ieee80211n_1944.txt").read_text(encoding="ascii")
    lines = text.split(f"[rate {rate}]\n", 1)[1].split("\n\n", 1)[0].splitlines()
    entries = [(r, c, int(s)) for r, line in enumerate(lines) for c, s in enumerate(line.split()) if s != "-"]
    if len(lines) != RATES[rate] or any(len(line.split()) != BLOCK_COLUMNS for line in lines):
        raise IntegrityError(f"the table of rate {rate} is damaged", "install openjscc again")
    return Graph.make(Z, len(lines), BLOCK_COLUMNS, entries)


def sent_parity(block_rows: int, count: int) -> np.ndarray:
    """Which parity bits are sent, ascending int64 ``(count,)``, of ``block_rows * Z``.

    Whole blocks of Z bits are left out: every second one first (1, 3, 5, ...), then every second one of the rest, and so on,
    block 0 last; of the block that is split the first bits stay. Measured on shortened codes this is better than leaving out
    the last bits, or bits spread evenly: BLER of (768,1024) from rate 3/4 with 16-QAM at 10.9 dB 0.06, 0.52 and 0.18.
    """
    dropped, left = [], list(range(1, block_rows))
    while left:
        dropped += left[::2]
        left = left[1::2]
    kept = [0, *reversed(dropped)]
    return np.sort((np.array(kept)[:, None] * Z + np.arange(Z)).ravel()[:count])


@lru_cache(maxsize=64)
def ieee80211n(rate: str, k: int | None = None, n: int | None = None) -> BlockCode:
    """A code of IEEE 802.11n (Annex F, n = 1944).

    Args:
        rate: of the mother code: ``1/2``, ``2/3``, ``3/4`` or ``5/6``.
        k: information bits, at most those of the mother code, which is the default; the missing ones are zeros behind the k
            bits and are not sent (shortening).
        n: sent bits, at most k plus the parity bits of the mother code, which is the default; below, parity bits are left out
            (puncturing, see `sent_parity`).

    Raises:
        UsageError: for an unknown rate, or k and n that this code cannot have.
    """
    if rate not in RATES:
        raise unknown_name("802.11n code rate", str(rate), RATES)
    mother = graph(rate)
    whole, parity = mother.information_columns * Z, mother.block_rows * Z
    k = whole if k is None else k
    n = k + parity if n is None else n
    if not 1 <= k <= whole:
        raise UsageError(f"k = {k} for the 802.11n code of rate {rate}", f"1 to {whole} information bits fit")
    if not k < n <= k + parity:
        raise UsageError(
            f"n = {n} for k = {k} and the 802.11n code of rate {rate}", f"{k + 1} to {k + parity} coded bits are possible"
        )
    sent = np.concatenate([np.arange(k), whole + sent_parity(mother.block_rows, n - k)])
    return BlockCode(f"802.11n ({k},{n})", k, sent, mother, FACTOR)
