"""What a figure shows, as a checksum that its file carries: a figure that its records have left behind is found out.

The checksum is of the numbers and labels, not of the drawing, so it does not depend on matplotlib and needs none.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..bench.records import Record
from ..errors import IntegrityError, UsageError
from .anchors import Anchor, placed
from .layout import arrange
from .paired import Paired, differences

if TYPE_CHECKING:
    from .chart import Chart

_MARK = re.compile(r"rows sha256 ([0-9a-f]{64})")
_EXIF_DESCRIPTION = 0x010E


def fingerprint(content: Any) -> str:
    """``rows sha256 HEX`` of plain data (lists, mappings, texts, numbers). Values that are not finite count as None."""
    text = json.dumps(_plain(content), sort_keys=True, allow_nan=False)
    return f"rows sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def rows_of(
    records: Sequence[Record], chart: Chart, anchors: Iterable[Anchor] = (), bands: Iterable[Paired] = ()
) -> str:  # fmt: skip
    """`fingerprint` of what `openjscc.report.charts.draw` shows of these.

    Differences follow from the means, their intervals do not.

    Raises:
        UsageError: see `openjscc.report.layout.arrange`.
    """
    layout = arrange(records, chart.x, chart.y, chart.facets, chart.interval, chart.arrived, chart.names)
    anchors = list(anchors)
    panels = [
        {
            "place": panel.place,
            "curves": [[c.label, c.bound, c.x, c.y, c.half, c.lost] for c in panel.curves],
            "anchors": [[x, a.system, a.source, a.value, a.error] for x, a in placed(anchors, panel, chart.x, chart.y)],
        }
        for panel in layout.panels
    ]
    look = [chart.x, chart.y, chart.title, chart.style, chart.width, chart.lost, chart.log_x, chart.arrived]
    content = {"panels": panels, "all": layout.constant, "look": look, "notes": layout.notes}
    over, bands = chart.reference(records), list(bands)
    if chart.over is not None:
        content["over"] = over
    apart = [differences(panel, over, bands) for panel in layout.panels] if over and chart.interval == "pictures" else []
    if halves := [[c.label, c.x, c.half] for curves in apart for c in curves if any(map(math.isfinite, c.half))]:
        content["differences"] = halves
    return fingerprint(content)


def carried(path: Path) -> str | None:
    """The fingerprint that a figure (SVG, PDF, PNG, WebP) carries; None where it carries none.

    Raises:
        UsageError: no such file. IntegrityError: it is no image.
    """
    try:
        if path.suffix.lower() in (".png", ".webp"):
            with Image.open(path) as image:
                text = str(image.getexif().get(_EXIF_DESCRIPTION) or image.info.get("Description", ""))
        else:
            text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        raise UsageError(f"no file {path}", "check the path") from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error}", "draw it again") from None
    found = _MARK.search(text)
    return found[0] if found else None


def exif_with(rows: str) -> Image.Exif:
    """For ``Image.save(..., exif=...)``: what `carried` reads."""
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = rows
    return exif


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
