"""Pieces of the pages that are written from records."""

from __future__ import annotations

from collections.abc import Iterable


def table_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def listed(words: Iterable[str | None]) -> str:
    """Each once, with commas."""
    return ", ".join(dict.fromkeys(word for word in words if word))


def capital(text: str) -> str:
    """As a heading begins; mIoU stays as it is."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    return capital(text) + "."
