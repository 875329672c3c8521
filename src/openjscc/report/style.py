"""What figures look like, and how they are written. Needs matplotlib (``pip install "openjscc[plot]"``).

A system has one colour and one marker in all figures (`SYSTEMS`); markers and dashes tell curves apart in grey print. Nothing of
matplotlib's global state is touched, and the same records give the same bytes.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingError, UsageError
from ..files import write_atomically
from .labels import family

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of P. Tol's schemes for colour-blind readers (Colour schemes, SRON/EPS/TN/09-002, 2021: bright, vibrant, muted, medium and high
# contrast), and one of M. Okabe and K. Ito (2008). Chosen, and given to systems, so that any two are told apart with all three
# cones and without those for red or green, those that are often in one figure best (tests/unit/test_looks.py).
SYSTEMS = {
    "adjscc": ("#332288", "o"),
    "deepjscc": ("#EE99AA", "s"),
    "arjscc": ("#CC3311", "^"),
    "spjscc": ("#EE6677", "D"),
    "ganjscc": ("#6699CC", "v"),
    "witt": ("#228833", "P"),
    "mtgsc": ("#DDAA33", "X"),
    "deeplab_jscc": ("#88CCEE", "p"),
    "hybrid": ("#009E73", "*"),
    "bpg-ldpc": ("#882255", "h"),
    "jpeg-ldpc": ("#AA4499", "d"),
    "webp-ldpc": ("#999933", "<"),
}
"""(colour, marker) by `openjscc.report.labels.family`. Bounds are black."""
OTHERS = (("#CC79A7", ">"), ("#994455", "8"))
"""For systems of other packages."""
COLOURS, MARKERS = (tuple(look[part] for look in (*SYSTEMS.values(), *OTHERS)) for part in (0, 1))
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1.2)), (0, (8, 1.5, 1, 1.5, 1, 1.5)))
BOUND_DASHES: tuple[Any, ...] = ((0, (1, 1.3)), (0, (1, 3)), (0, (1, 1.3, 1, 3)))
ANCHOR_MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h", "*", "8")
ANCHOR_GREY = "#404040"

CARETS = 7, 6
"""Markers of points below and above the axes."""

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


def looks_of(systems: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) by family. One that is not in the table has one of the `OTHERS` by its name, or the next that is free."""
    families = sorted({family(system) for system in systems})
    found = {name: SYSTEMS[name] for name in families if name in SYSTEMS}
    spare = [look for name, look in SYSTEMS.items() if name not in found]
    for name in families:
        if name not in found:
            first = zlib.crc32(name.encode()) % len(OTHERS)
            order = [*OTHERS[first:], *OTHERS[:first], *spare]
            found[name] = next((look for look in order if look not in found.values()), order[0])
    return found


def write_figure(figure: Figure, path: Path, style: str = "paper") -> None:
    """Write ``.svg`` (text stays text), ``.pdf`` or ``.png`` by the suffix, whole or not at all, without a date.

    Args:
        figure: what `draw` gave.
        path: its file.
        style: what it was drawn in.

    Raises:
        UsageError: another suffix, or a folder that cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"{path} is not .svg, .png or .pdf", f"name it {path.stem or 'figure'}.svg")
    facts = {".svg": {"Date": None, "Creator": "openjscc"}, ".pdf": {"CreationDate": None, "Creator": "openjscc"}, ".png": {}}
    buffer = io.BytesIO()
    with matplotlib().rc_context({**_defaults(), **_SAVING}):
        figure.savefig(buffer, format=kind[1:], dpi=LOOKS[style].dpi, metadata=facts[kind])
    content = buffer.getvalue()
    write_atomically(path, _portable(content) if kind == ".svg" else content)


def _portable(svg: bytes) -> bytes:
    """The same on every machine, though the last bits of coordinates are not: these are rounded to 1/1000 pt.

    matplotlib names markers and clipping paths by hashes of such bits. They get numbers.
    """
    names: dict[bytes, bytes] = {}
    svg = re.sub(rb'(?<=["#])[a-z][0-9a-f]{10}(?=[")])', lambda found: names.setdefault(found[0], b"mark%d" % len(names)), svg)
    number = re.compile(rb"-?\d+\.\d{4,}")
    return re.sub(rb'"[^"<>]*"', lambda text: number.sub(lambda found: b"%g" % round(float(found[0]), 3), text[0]), svg)


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
