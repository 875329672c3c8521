"""``openjscc plot``: figures from records, and strips of received images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, unknown_name
from .console import say
from .options import Force, check_target, names

if TYPE_CHECKING:
    from ..report.columns import Value

KINDS = ("curves", "strip")
CURVE_SUFFIXES = (".svg", ".pdf", ".png")
STRIP_SUFFIXES = (".png", ".webp")


def plot(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RECORDS|DIR...", help="Files of eval -o, folders of bench.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="FILE.svg, .pdf or .png; for strips .png or .webp.")
    ],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="curves or strip.")] = "curves",
    x: Annotated[
        str, typer.Option("--x", metavar="COLUMN", help="snr_db, bandwidth_ratio, cpp or another column with numbers.")
    ] = "snr_db",
    y: Annotated[
        str, typer.Option("--y", metavar="METRIC", help="A metric that the records have, or cpp, bandwidth_ratio, encode_ms, ...")
    ] = "psnr",
    systems: Annotated[
        str | None, typer.Option("--systems", "--model", metavar="NAMES", help="Only these, in this order.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="LIST", help="E.g. channel=awgn,ratio=1/16,told_snr_db=none.")
    ] = None,
    facet: Annotated[
        str | None,
        typer.Option("--facet", metavar="COLUMNS", help="A panel for each value; of several columns the last goes down."),
    ] = None,
    style: Annotated[str, typer.Option("--style", metavar="STYLE", help="paper (3.5 inches wide) or screen.")] = "paper",
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Else what all records share; '' for none.")
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", metavar="KIND", help="95 % interval over other images, over other noise, or none.")
    ] = "pictures",
    arrived: Annotated[bool, typer.Option("--arrived", help="Means without the lost images.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="The share that was lost, in a panel below (PSNR against SNR has it).")
    ] = False,
    over: Annotated[
        str | None,
        typer.Option(
            "--over", metavar="SYSTEM", help="Differences from it in a panel below; none: no such panel. [first learned]"
        ),
    ] = None,
    log_x: Annotated[bool, typer.Option("--log-x", help="Logarithmic x axis.")] = False,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", metavar="FILE.csv", help="Published points to draw beside the curves.")
    ] = None,
    width: Annotated[str | None, typer.Option("--width", metavar="INCHES", help="Of the figure, instead of the style's.")] = None,
    picture: Annotated[str | None, typer.Option("--picture", metavar="NAME", help="Strip: which image.")] = None,
    crop: Annotated[str | None, typer.Option("--crop", metavar="X,Y,W,H", help="Strip: which part, in pixels.")] = None,
    source: Annotated[
        Path | None, typer.Option("--source", metavar="FILE", help="Strip: the sent image, to be shown first.")
    ] = None,
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
    conditions = {} if where is None else parse_where(where)
    asked = None if systems is None else names(systems, "list of systems")
    if kind == "strip":
        curves = {
            "x": x != "snr_db", "y": y != "psnr", "facet": facet, "style": style != "paper", "title": title is not None,
            "interval": interval != "pictures", "arrived": arrived, "lost": lost, "log-x": log_x, "anchors": anchors,
            "width": width, "over": over,
        }  # fmt: skip
        if given := [name for name, value in curves.items() if value]:
            raise UsageError(f"--{given[0]} belongs to curves", "leave it out for a strip")
        if len(sources) != 1 or picture is None:
            raise UsageError(
                "a strip needs one folder and --picture", "openjscc plot DIR --kind strip --picture NAME -o strip.png"
            )
        _check(output, force, STRIP_SUFFIXES)
        _strip(sources[0], picture, crop, asked, conditions, source, output, force)
    else:
        if given := [name for name, value in (("picture", picture), ("crop", crop), ("source", source)) if value is not None]:
            raise UsageError(f"--{given[0]} belongs to strips", "add --kind strip")
        from ..metrics import METRICS
        from ..report.anchors import read_anchors
        from ..report.chart import NO_BANDS, Chart, without_wide_bands
        from ..report.charts import draw
        from ..report.layout import MEASURED
        from ..report.select import check_column, load_records, select
        from ..report.style import write_figure
        from ..studies.comparisons import read_bands

        for column in (x, *([] if facet is None else names(facet, "list of facets"))):
            check_column(column)
        if y not in METRICS and y not in MEASURED:
            raise unknown_name("metric", y, {*METRICS, *MEASURED})
        facets = None if facet is None else names(facet, "list of facets")
        chart = Chart(x, y, facets, interval, arrived, {}, style, title, lost, log_x, _inches(width), over)
        _check(output, force, CURVE_SUFFIXES)
        published = [] if anchors is None else read_anchors(anchors)
        chosen = select(load_records(sources), conditions, asked)
        bands = read_bands(sources)
        asked_chart, chart = chart, without_wide_bands(chart, chosen)
        figure, notes = draw(chosen, chart, published, bands)
        if chart != asked_chart and y not in MEASURED:
            notes = [*notes, NO_BANDS]
        for note in notes:
            say(f"note: {note}")
        write_figure(figure, output, style)
    say(f"written: {output}")


def _strip(
    folder: Path, picture: str, crop: str | None, systems: list[str] | None, where: dict[str, list[Value]], source: Path | None,
    output: Path, force: bool,
) -> None:  # fmt: skip
    from ..data.images import write_png
    from ..report.strips import parse_crop, strip

    area = None if crop is None else parse_crop(crop)
    sheet = strip(folder / "pictures", picture, area, systems=systems, where=where, source=source)
    write_png(output, sheet, overwrite=force)


def _check(output: Path, force: bool, suffixes: tuple[str, ...]) -> None:
    if output.suffix.lower() not in suffixes:
        raise UsageError(f"{output} does not end in {' or '.join(suffixes)}", f"name it {output.stem or 'figure'}{suffixes[0]}")
    check_target(output, force, output.suffix.lower())


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
