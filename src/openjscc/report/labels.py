"""Words and numbers on the axes of figures, and names of systems. No drawing."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping

SYSTEM_NAMES = {
    "adjscc": "ADJSCC",
    "arjscc": "AR-JSCC",
    "deeplab_jscc": "DeepLab JSCC",
    "deepjscc": "Deep JSCC",
    "ganjscc": "perceptual JSCC",
    "mtgsc": "MTGSC",
    "spjscc": "SP-JSCC",
    "witt": "WITT",
    "hybrid": "Hybrid",
    **{
        f"{source}-{link}": f"{name}+{kind}"
        for source, name in (("bpg", "BPG"), ("jpeg", "JPEG"), ("webp", "WebP"))
        for link, kind in (("ldpc", "LDPC"), ("capacity", "capacity"))
    },
}
"""By architecture, or source codec and kind of link."""

_FIXED_SCHEME = re.compile(r"mcs=(\d*)(qam|[a-z]?psk)-(\d+(?:\.5)?/\d+)(?:-(n\d+))?")


def family(system: str) -> str:
    """Architecture, or source codec and kind of link, of a system's name: without tag, options and task network."""
    return re.split(r"[.:+]", system, maxsplit=1)[0] or system


def system_name(system: str, names: Mapping[str, str] | None = None) -> str:
    """What people call a system: the name given, or ``BPG+LDPC, 16-QAM 3/4 (n1944)``. An unknown one keeps its name."""
    known = SYSTEM_NAMES.get(family(system))
    if (given := (names or {}).get(system)) or known is None:
        return given or system
    codec, _, network = system.partition("+")
    codec, *options = codec.split(":")
    words = [known, codec.partition(".")[2], *map(_option, options), network]
    return ", ".join(word for word in words if word)


def _option(text: str) -> str:
    """``key=value`` in words."""
    if found := _FIXED_SCHEME.fullmatch(text):
        points, kind, rate, length = found.groups()
        return f"{points}{'-' if points else ''}{kind.upper()} {rate}" + (f" ({length})" if length else "")
    key, _, value = text.partition("=")
    return f"{value} steps" if key == "steps" else f"{key} {value}"


def log_ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers (1, 2, 5 of each decade, or 1, 3, or 1) from ``low`` to ``high``; none where there are not two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for heads in ((1, 2, 5), (1, 3), (1,)):
        ticks = [value for decade in decades for head in heads if low <= (value := head * 10.0**decade) <= high]
        if 2 <= len(ticks) <= 6:
            return ticks
    return []


def short_number(value: float) -> str:
    """``47.5k`` from 10,000 up, ``1.2M`` from a million up."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"


def wrapped(text: str, width: float, size: float) -> str:
    """In lines of ``width`` inches at most, as far as that can be told from the number of characters."""
    most = max(12, int(width * 72 / (0.56 * size)))
    return "\n".join(piece for line in text.split("\n") for piece in textwrap.wrap(line, most, break_on_hyphens=False) or [""])
