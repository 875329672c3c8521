"""Channel codes: the LDPC codes of IEEE 802.11n and 5G NR."""

from __future__ import annotations

from .block import BlockCode
from .newradio import nr
from .wifi import ieee80211n

__all__ = ["BlockCode", "ieee80211n", "nr"]
