"""Pieces of the pages that are written from records."""

from __future__ import annotations

from collections.abc import Iterable

from ..units import format_ratio


def table_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def heading(x: str, value: float | None) -> str:
    """Of a column: a place on the axis ``x``; None: a ratio that systems chose."""
    if value is None or x in ("ratio", "bandwidth_ratio"):
        return f"CBR {format_ratio(value)}"
    return f"{value:g} dB" if x.endswith("snr_db") else f"{value:.4g}"


def listed(words: Iterable[str | None]) -> str:
    """Each once, with commas."""
    return ", ".join(dict.fromkeys(word for word in words if word))


def capital(text: str) -> str:
    """As a heading begins; mIoU stays as it is."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    return capital(text) + "."
