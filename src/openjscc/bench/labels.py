"""Words and numbers on the axes of figures. No drawing."""

from __future__ import annotations

import math
import textwrap

COLUMN_LABELS = {
    "told_snr_db": "SNR that the transmitter believes in (dB)",
    "ratio": "nominal bandwidth ratio k/n",
    "bandwidth_ratio": "bandwidth ratio k/n",
    "cpp": "channel uses per pixel",
    "channel_uses": "channel uses per picture",
    "encode_ms": "time of the encoder per picture (ms)",
    "decode_ms": "time of the decoder per picture (ms)",
    "macs_per_pixel": "multiply-accumulates per pixel",
}


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
