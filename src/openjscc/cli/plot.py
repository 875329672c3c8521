"""``openjscc plot``: figures from records, and strips of received images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, unknown_name
from ..files import check_target
from .console import say
from .options import Force, names

if TYPE_CHECKING:
    from ..report.chart import Chart
    from ..report.columns import Value

KINDS = ("curves", "strip")
CURVE_SUFFIXES = (".svg", ".pdf", ".png")
STRIP_SUFFIXES = (".png", ".webp")
OF_STRIPS = ("image", "crop", "source")
OF_CURVES = ("x", "y", "facet", "style", "title", "interval", "arrived", "lost", "log_x", "anchors", "width", "over")
"""Options of one kind only."""

Text = str | None
Sources = Annotated[
    list[Path], typer.Argument(metavar="RECORDS|DIR...", help="Files of eval -o, folders of bench.", show_default=False)
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="FILE.svg, .pdf or .png; for strips .png or .webp.")]
Kind = Annotated[str, typer.Option("--kind", metavar="KIND", help="curves or strip.")]
X = Annotated[str, typer.Option("--x", metavar="COLUMN", help="snr_db, bandwidth_ratio, cpp or another column with numbers.")]
Y = Annotated[
    str, typer.Option("--y", metavar="METRIC", help="A metric that the records have, or cpp, bandwidth_ratio, encode_ms, ...")
]
Systems = Annotated[Text, typer.Option("--systems", "--model", metavar="NAMES", help="Only these, in this order.")]
Where = Annotated[Text, typer.Option("--where", metavar="LIST", help="E.g. channel=awgn,ratio=1/16,told_snr_db=none.")]
FACET = "A panel for each value; of several columns the last goes down."
Facet = Annotated[Text, typer.Option("--facet", metavar="COLUMNS", help=FACET)]
Style = Annotated[str, typer.Option("--style", metavar="STYLE", help="paper (3.5 inches wide) or screen.")]
Title = Annotated[Text, typer.Option("--title", metavar="TEXT", help="Else what all records share; '' for none.")]
INTERVAL = "95 % interval over other images, over other noise, or none."
Interval = Annotated[str, typer.Option("--interval", metavar="KIND", help=INTERVAL)]
Arrived = Annotated[bool, typer.Option("--arrived", help="Means without the lost images.")]
LOST = "The share that was lost, in a panel below (PSNR against SNR has it)."
Lost = Annotated[bool, typer.Option("--lost", help=LOST)]
OVER = "Differences from it in a panel below; none: no such panel. [first learned]"
Over = Annotated[Text, typer.Option("--over", metavar="SYSTEM", help=OVER)]
LogX = Annotated[bool, typer.Option("--log-x", help="Logarithmic x axis.")]
ANCHORS = "Published points to draw beside the curves."
Anchors = Annotated[Path | None, typer.Option("--anchors", metavar="FILE.csv", help=ANCHORS)]
Width = Annotated[Text, typer.Option("--width", metavar="INCHES", help="Of the figure, instead of the style's.")]
Image = Annotated[Text, typer.Option("--image", "--picture", metavar="NAME", help="Strip: which image.")]
Crop = Annotated[Text, typer.Option("--crop", metavar="X,Y,W,H", help="Strip: which part, in pixels.")]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="Strip: the sent image, to be shown first.")]


def plot(
    context: typer.Context,
    sources: Sources,
    output: Output,
    kind: Kind = "curves",
    x: X = "snr_db",
    y: Y = "psnr",
    systems: Systems = None,
    where: Where = None,
    facet: Facet = None,
    style: Style = "paper",
    title: Title = None,
    interval: Interval = "pictures",
    arrived: Arrived = False,
    lost: Lost = False,
    over: Over = None,
    log_x: LogX = False,
    anchors: Anchors = None,
    width: Width = None,
    image: Image = None,
    crop: Crop = None,
    source: Source = None,
    force: Force = False,
) -> None:
    """Draw records: quality against SNR or bandwidth, one curve a system, small multiples where conditions differ.

    With --kind strip: crops of received images side by side, from a folder of bench --keep.

    \b
    openjscc plot records.csv --where ratio=1/16 -o snr.svg
    openjscc plot RUN --x bandwidth_ratio --log-x --where snr_db=10 --anchors published.csv -o rate.pdf
    openjscc plot RUN --where channel=awgn --lost --style screen -o cliff.png
    openjscc plot RUN --kind strip --picture kodim23 --crop 300,100,160,160 --where snr_db=1 -o strip.png
    """
    from ..report.select import parse_where

    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    for name in OF_CURVES if kind == "strip" else OF_STRIPS:
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE":
            what = ("curves", "leave it out for a strip") if kind == "strip" else ("strips", "add --kind strip")
            raise UsageError(f"--{name.replace('_', '-')} belongs to {what[0]}", what[1])
    conditions = {} if where is None else parse_where(where)
    asked = None if systems is None else names(systems, "list of systems")
    if kind == "strip":
        _strip(sources, image, crop, asked, conditions, source, output, force)
    else:
        from ..report.chart import Chart

        facets = None if facet is None else names(facet, "list of facets")
        chart = Chart(x, y, facets, interval, arrived, {}, style, title, lost, log_x, _inches(width), over)
        _curves(sources, chart, asked, conditions, anchors, output, force)
    say(f"written: {output}")


def _strip(
    folders: list[Path], image: str | None, crop: str | None, systems: list[str] | None, where: dict[str, list[Value]],
    source: Path | None, output: Path, force: bool,
) -> None:  # fmt: skip
    from ..data.images import write_png
    from ..report.strips import parse_crop, strip

    if len(folders) != 1 or image is None:
        raise UsageError("a strip needs one folder and --picture", "openjscc plot DIR --kind strip --picture NAME -o strip.png")
    check_target(output, force, STRIP_SUFFIXES)
    area = None if crop is None else parse_crop(crop)
    sheet = strip(folders[0] / "pictures", image, area, systems=systems, where=where, source=source)
    write_png(output, sheet, overwrite=force)


def _curves(
    sources: list[Path], chart: Chart, systems: list[str] | None, where: dict[str, list[Value]], anchors: Path | None,
    output: Path, force: bool,
) -> None:  # fmt: skip
    from ..metrics import METRICS
    from ..report.anchors import read_anchors
    from ..report.chart import NO_BANDS, without_wide_bands
    from ..report.charts import draw
    from ..report.layout import MEASURED
    from ..report.select import check_column, load_records, select
    from ..report.style import write_figure
    from ..studies.comparisons import read_bands

    for column in (chart.x, *(chart.facets or ())):
        check_column(column)
    if chart.y not in METRICS and chart.y not in MEASURED:
        raise unknown_name("metric", chart.y, {*METRICS, *MEASURED})
    check_target(output, force, CURVE_SUFFIXES)
    published = [] if anchors is None else read_anchors(anchors)
    chosen = select(load_records(sources), where, systems)
    bands = read_bands(sources)
    shown = without_wide_bands(chart, chosen)
    figure, notes = draw(chosen, shown, published, bands)
    for note in [*notes, *([NO_BANDS] if shown != chart and chart.y not in MEASURED else [])]:
        say(f"note: {note}")
    write_figure(figure, output, chart.style)


def _inches(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"width {text!r} is no number", "give inches, e.g. 3.5") from None
    if not 1 <= value <= 40:
        raise UsageError(f"a width of {text} inches", "between 1 and 40, e.g. 3.5")
    return value
