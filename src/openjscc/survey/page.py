"""The answers to a questionnaire as a figure, tables and a Markdown page: no dates, the same answers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_atomically
from ..report.columns import in_words
from ..report.labels import wrapped
from ..report.markdown import table_row
from ..report.style import COLOURS, LOOKS, MARKERS, settings, write_figure
from ..units import format_ratio
from .analysis import Crossing, Preference, Preferences, write_preferences
from .questionnaire import Manifest, Questionnaire

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECORD = "preferences.json"
FIGURE = "preferences.svg"

METHOD = (
    "Shares are those of all answers. In brackets: 95 % interval by bootstrap over participants and pairs at once, for other "
    "people and other pictures of this kind. The saved bandwidth is that at the point where as many prefer the one as the other: "
    "preference against the logarithm of the bandwidth, made monotone, between measured points by straight lines. Nothing is "
    "extrapolated: `>` and `<` are bounds, `…` is an end of an interval beyond what was measured."
)

CAPTION = (
    "Share that prefers {of} to {over}, by the bandwidth of {over}. Star: the bandwidth of {of}; arrow: to the bandwidth of "
    "{over} at which as many prefer either, with its interval."
)

PREFERENCE_COLUMNS = ("CBR of {of}", "CBR of {over}", "pairs", "answers", "prefer {of} (%)")
CROSSING_COLUMNS = (
    "CBR of {of}",
    "50 % at CBR of {over}",
    "saved (%)",
    "highest CBR of {over} with more than 50 %",
    "saved there (%)",
)


def write_page(folder: Path, questionnaire: Questionnaire, manifest: Manifest, found: Preferences, command: str) -> list[Path]:
    """Figure, NAME.md and, last of all, the record. Returns what was written.

    Args:
        folder: that the files go to.
        questionnaire: whose paper and labels are shown.
        manifest: what was asked.
        found: what they say.
        command: that makes the page again.

    Raises:
        MissingError: matplotlib is not installed. UsageError: a folder that cannot be written.
    """
    names = labels(questionnaire, found)
    write_figure(draw_preferences(found, names), folder / FIGURE)
    page = folder / f"{found.study}.md"
    write_atomically(page, _page(questionnaire, manifest, found, names, command).encode())
    write_preferences(folder / RECORD, found)
    return [folder / FIGURE, page, folder / RECORD]


def labels(questionnaire: Questionnaire, found: Preferences) -> dict[str, str]:
    """What the two systems are called: ``of`` and ``over``."""
    return {role: str(questionnaire.names.get(name, name)) for role, name in (("of", found.of), ("over", found.over))}


def preference_cells(found: Preferences) -> list[list[str]]:
    """The rows of the table of preferences."""
    return [
        [_cbr(each.of_cbr), _cbr(each.over_cbr), str(each.pairs), str(each.answers), _share(each)] for each in found.preferences
    ]


def crossing_cells(found: Preferences) -> list[list[str]]:
    """The rows of the table of saved bandwidth."""
    rows = []
    for each in found.crossings:
        there, saved = _place(each)
        highest = "–" if each.highest is None else _cbr(each.highest)
        rows.append([_cbr(each.of_cbr), there, saved, highest, _percent(each.saving(each.highest))])
    return rows


def columns(names: Mapping[str, str], of: tuple[str, ...]) -> list[str]:
    """The heads of a table's columns."""
    return [column.format(**names) for column in of]


def draw_preferences(found: Preferences, names: Mapping[str, str], style: str = "paper") -> Figure:
    """Preference against the bandwidth of the other system, a panel for each ratio of the one that is asked about.

    The arrow leads from that one's bandwidth to the other's at which as many prefer either (in the paper's Fig. 6: to the highest
    point with more than 50 %); the bar on the line of 50 % is the interval of that place.

    Raises:
        MissingError: matplotlib is not installed. UsageError: unknown style.
    """
    look = LOOKS[style]
    rc: Any = settings(look)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(rc):
        count = len(found.crossings)
        width = look.width[min(count, len(look.width)) - 1]
        figure = Figure(layout="constrained", figsize=(width, look.aspect * width / count + 0.55))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
        _x_axis(axes[0], found)
        for axis, crossing in zip(axes, found.crossings, strict=True):
            some = [each for each in found.preferences if each.of_ratio == crossing.of_ratio and each.share is not None]
            _panel(axis, some, crossing, look)
            head = f"{names['of']} at CBR {format_ratio(crossing.of_ratio)}"
            axis.set_title(wrapped(head, width / count - 0.5, look.text), fontsize=look.text)
            axis.set_xlabel(wrapped(f"bandwidth ratio k/n of {names['over']}", width / count - 0.5, look.text))
        axes[0].set_ylabel(wrapped(f"prefer {names['of']} (%)", look.aspect * width / count, look.text))
    return figure


def _panel(axis: Axes, some: list[Preference], crossing: Crossing, look: Any) -> None:
    axis.set_ylim(-4, 104)
    axis.set_yticks([0, 25, 50, 75, 100])
    axis.tick_params(labelsize=look.small, width=0.6, length=2.5)
    axis.grid(True, color="#d9d9d9", linewidth=0.5)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_linewidth(0.6)
    axis.axhline(50, color="black", linewidth=0.6, linestyle=(0, (4, 2)))
    line = {"color": COLOURS[0], "linewidth": look.line, "markersize": look.marker}
    axis.plot([each.over_cbr for each in some], [100 * (each.share or 0) for each in some], marker=MARKERS[0], zorder=4, **line)
    for each in some:
        if each.share is not None and each.low is not None and each.high is not None:
            ends = [[100 * (each.share - each.low)], [100 * (each.high - each.share)]]
            bar = {"color": COLOURS[0], "elinewidth": 0.8, "capsize": 2, "capthick": 0.8}
            axis.errorbar(each.over_cbr, 100 * each.share, ends, fmt="none", zorder=3, **bar)
    axis.plot(crossing.of_cbr, 50, marker="*", markersize=2.2 * look.marker, color=COLOURS[1], zorder=5, clip_on=False)
    if crossing.cbr is None:
        return
    if not crossing.reason.startswith("no interval"):
        ends = [edge if end is None else end for end, edge in zip((crossing.low, crossing.high), axis.get_xlim(), strict=True)]
        axis.plot(ends, [50, 50], color=COLOURS[1], alpha=0.25, linewidth=6, solid_capstyle="butt")
    arrow = {"arrowstyle": "-|>", "color": COLOURS[1], "linewidth": look.line, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (crossing.cbr, 50), (crossing.of_cbr, 50), arrowprops=arrow, zorder=5)
    text = f"{_percent(crossing.saving(crossing.cbr))} % saved"  # in the corner where no curve that falls will be
    axis.text(0.03, 0.05, text, transform=axis.transAxes, fontsize=look.small, color=COLOURS[1])


def _x_axis(axis: Axes, found: Preferences) -> None:
    """Logarithmic, with ticks where it was measured, named by the nominal ratios; shared by all panels."""
    from matplotlib.ticker import NullLocator

    over = {each.over_ratio: each.over_cbr for each in found.preferences}
    places = sorted([*over.values(), *(each.of_cbr for each in found.crossings)])
    axis.set_xscale("log")
    axis.set_xlim(places[0] / 1.12, places[-1] * 1.12)
    axis.set_xticks(list(over.values()), [format_ratio(ratio) for ratio in over])
    axis.xaxis.set_minor_locator(NullLocator())


def _page(questionnaire: Questionnaire, manifest: Manifest, found: Preferences, names: Mapping[str, str], command: str) -> str:
    parts = [f"# {manifest.title}"]
    if questionnaire.paper:
        parts.append(questionnaire.paper)
    parts += [f"Made by `{command}`; everything here is in [{RECORD}]({RECORD}).", "## What was asked"]
    width, height = manifest.size
    weights = [f"`{name}` (sha256 `{digest[:16]}`)" for name, digest in found.weights.items()]
    lines = [
        f"Question: {manifest.question}",
        f"{found.pairs} pairs of {width}x{height} pixels from {in_words('data', found.data)} (sha256 `{found.data_sha256[:16]}`)",
        f"{names['of']}: `{found.of}`; {names['over']}: `{found.over}`" + (f"; weights: {', '.join(weights)}" if weights else ""),
        f"Channel `{found.channel}`, SNR {found.snr_db:g} dB, seed {found.seed}; headers count as bandwidth",
    ]
    if found.lost:
        lines.append(f"Pairs with a lost picture, shown as mid-grey: {', '.join(found.lost)}")
    parts += [_listed(lines), "## Answers", _listed(answer_lines(found)), "## Preference", METHOD]
    parts += [_table(columns(names, PREFERENCE_COLUMNS), preference_cells(found))]
    parts += [f"![Preference against bandwidth]({FIGURE})", CAPTION.format(**names), "## Saved bandwidth"]
    parts += [_table(columns(names, CROSSING_COLUMNS), crossing_cells(found))]
    notes = [f"CBR {format_ratio(each.of_ratio)}: {each.reason}" for each in found.crossings if each.reason]
    notes += [
        f"CBR {format_ratio(each.of_ratio)} against {_cbr(each.over_cbr)}: no interval: {each.reason}"
        for each in found.preferences
        if each.reason
    ]
    return "\n\n".join([*parts, *([_listed(notes)] if notes else [])]) + "\n"


def answer_lines(found: Preferences) -> list[str]:
    """How many answers there are, and what is to be known of them."""
    lines = [f"{found.participants} participants, {found.answers} answers"]
    counted = {"missing": found.missing, "lines that skip a pair": found.skipped, "lines that repeat an answer": found.repeated}
    lines += [f"{count} {what}" for what, count in counted.items() if count]
    lines.append(f"{100 * found.left:.1f} % chose the left picture")
    if found.seconds is not None:
        lines.append(f"median time of an answer: {found.seconds:.1f} s")
    return lines


def _table(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join([table_row(heads), "|---" * len(heads) + "|", *map(table_row, rows)])


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _cbr(value: float) -> str:
    return f"{value:.4f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"


def _share(each: Preference) -> str:
    return _percent(each.share) if each.low is None or each.high is None else (
        f"{_percent(each.share)} [{_percent(each.low)}, {_percent(each.high)}]"
    )  # fmt: skip


def _place(each: Crossing) -> tuple[str, str]:
    """Where the crossing is and what is saved there, with intervals or bounds."""
    if each.least is not None or each.most is not None:
        bound, sign = (each.least, ">") if each.least is not None else (each.most, "<")
        return f"{sign} {bound:.4f}", f"{sign} {_percent(each.saving(bound))}"
    if each.cbr is None:
        return "–", "–"
    values = _cbr(each.cbr), _percent(each.saving(each.cbr))
    if each.reason.startswith("no interval"):
        return values
    ends = [("…", "…") if end is None else (_cbr(end), _percent(each.saving(end))) for end in (each.low, each.high)]
    return f"{values[0]} [{ends[0][0]}, {ends[1][0]}]", f"{values[1]} [{ends[0][1]}, {ends[1][1]}]"
