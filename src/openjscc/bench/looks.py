"""What figures look like, and how they are written. Needs matplotlib (``pip install "openjscc[plot]"``).

A system keeps its colour (of M. Okabe and K. Ito, told apart by colour-blind readers) and its marker; dashes and markers tell
curves apart in grey print. Nothing of matplotlib's global state is touched, and the same records give the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingError, UsageError
from ..files import write_atomically
from .svg import shorter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1.2)), (0, (8, 1.5, 1, 1.5, 1, 1.5)))
BOUND_DASHES: tuple[Any, ...] = ((0, (1, 1.3)), (0, (1, 3)), (0, (1, 1.3, 1, 3)))
ANCHOR_MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h", "*", "8")
ANCHOR_GREY = "#404040"

SUFFIXES = (".svg", ".png", ".pdf")

_SAVING = {"svg.fonttype": "none", "svg.hashsalt": "openjscc", "pdf.fonttype": 42}


@dataclass(frozen=True)
class Look:
    """Sizes, in inches and points.

    Attributes:
        width: of a figure with so many panels side by side (the last one for more).
        widest: panels side by side before a row is full.
        aspect: height of a panel over its share of the width.
        text: axis labels and titles.
        small: ticks and legend.
        line: width of a curve.
        marker: size of a marker.
        dpi: of PNG files.
    """

    width: tuple[float, ...]
    widest: int
    aspect: float
    text: float
    small: float
    line: float
    marker: float
    dpi: int


LOOKS = {
    "paper": Look((3.5, 7.16), 4, 0.7, 8, 7, 1.0, 3.2, 300),
    "screen": Look((6.4, 9.6, 11.0), 4, 0.66, 10, 9, 1.5, 5.0, 150),
}
"""``paper``: 3.5 inches, one column of a two-column page; 7.16, both of them, where there are panels side by side."""


def write_figure(figure: Figure, path: Path, style: str = "paper", rows: str = "") -> None:
    """Write ``.svg`` (text stays text), ``.pdf`` or ``.png`` by the suffix, whole or not at all, without a date.

    Args:
        figure: what `draw` gave.
        path: its file.
        style: what it was drawn in.
        rows: what it shows (`openjscc.bench.fingerprint.rows_of`), for the file to carry.

    Raises:
        UsageError: another suffix, or a folder that cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"{path} is not .svg, .png or .pdf", f"name it {path.stem or 'figure'}.svg")
    facts = {
        ".svg": {"Date": None, "Creator": "openjscc", "Description": rows or None},
        ".pdf": {"CreationDate": None, "Creator": "openjscc", "Subject": rows or None},
        ".png": {"Description": rows} if rows else {},
    }[kind]
    buffer = io.BytesIO()
    with matplotlib().rc_context({**_defaults(), **_SAVING}):
        figure.savefig(buffer, format=kind[1:], dpi=LOOKS[style].dpi, metadata=facts)
    content = buffer.getvalue()
    write_atomically(path, shorter(content.decode()).encode() if kind == ".svg" else content)


def matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingError("drawing needs matplotlib, which is not installed", 'pip install "openjscc[plot]"') from None
    return mpl


def settings(look: Look) -> dict[str, Any]:
    """What ``matplotlib.rc_context`` takes for figures that look like this. Raises MissingError without matplotlib."""
    return {**_defaults(), "text.parse_math": False, "font.size": look.text, "font.family": "sans-serif"}


def _defaults() -> dict[str, Any]:
    """matplotlib's own settings of what figures look like, whatever a user's file says."""
    elsewhere = ("backend", "interactive", "toolbar", "webagg", "timezone", "date.epoch", "tk.", "docstring")
    return {key: value for key, value in matplotlib().rcParamsDefault.items() if not key.startswith(elsewhere)}
