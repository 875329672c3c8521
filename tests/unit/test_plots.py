"""Figures from records: what is arranged how, what is left out and said, and that the bytes do not change."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openjscc.bench import Record, read_records, write_records
from openjscc.bench.kept import KeptPicture, add_kept, read_kept
from openjscc.data.images import write_png
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.metrics import METRICS
from openjscc.report.anchors import IMAGES, Anchor, of_other_images, read_anchors
from openjscc.report.columns import metric_label
from openjscc.report.labels import log_ticks, short_number
from openjscc.report.layout import arrange, grid
from openjscc.report.select import load_records, parse_where, select
from openjscc.report.strips import parse_crop, strip, strip_of_several

ROOT = Path(__file__).resolve().parents[2]
PLAIN = Record("adjscc", "adjscc.photo", "psnr", "awgn", 0.0, 1 / 16, 30.0, 1.0, 0.5, 24, 1, 0.0626, 1, 1.0, "kodak", 0)


def records_of(system: str = "adjscc", snrs: Iterable[float] = (0.0, 10.0, 20.0), **changes: object) -> list[Record]:
    fixed = {"system": system, "weight": system, **changes}
    return [dataclasses.replace(PLAIN, **{"snr_db": float(snr), "mean": 25 + snr / 4, **fixed}) for snr in snrs]


@pytest.fixture
def draw():
    pytest.importorskip("matplotlib")
    from openjscc.report.chart import Chart
    from openjscc.report.charts import draw

    return lambda records, anchors=(), bands=(), **options: draw(records, Chart(**options), anchors, bands)


def test_where() -> None:
    wanted = parse_where("channel=awgn,rayleigh:block, ratio=1/16,told_snr_db=none,bound=false,system=x:mcs=a,y:mcs=b")
    assert wanted == {
        "channel": ["awgn", "rayleigh:block"], "ratio": [1 / 16], "told_snr_db": [None], "bound": [False],
        "system": ["x:mcs=a", "y:mcs=b"],
    }  # fmt: skip
    for text in ("colour=red", "awgn", "ratio=x", "bound=1", "", "channel=", "versions=1", "snr_db=inf", "snr_db=1e99999999"):
        with pytest.raises(UsageError):
            parse_where(text)


def test_select() -> None:
    records = [*records_of("a"), *records_of("b", data="/data/kodak", told_snr_db=10.0), *records_of("c", weight="arch.tag")]
    assert {r.system for r in select(records, {"told_snr_db": [None]})} == {"a", "c"}
    assert {r.system for r in select(records, {"data": ["kodak"]})} == {"a", "b", "c"}
    assert [r.system for r in select(records, {"snr_db": [10]}, ["arch.tag", "a"])] == ["c", "a"]
    with pytest.raises(UsageError, match="ratio=1/12") as caught:
        select(records, parse_where("snr_db=0,ratio=1/12"))
    assert caught.value.hint == "ratio: 1/16"
    with pytest.raises(UsageError, match="told_snr_db=5") as caught:
        select(records, parse_where("told_snr_db=5"))
    assert caught.value.hint == "told_snr_db: none, 10"
    with pytest.raises(UsageError, match="unknown system 'd'"):
        select(records, {}, ["d"])


def test_sources_are_files_and_folders(tmp_path: Path) -> None:
    write_records(tmp_path / "a.csv", records_of("a"))
    write_records(tmp_path / "records.csv", [*records_of("a"), *records_of("b")])
    assert [r.system for r in load_records([tmp_path / "a.csv", tmp_path])] == ["a"] * 3 + ["b"] * 3
    with pytest.raises(UsageError, match=r"records\.csv"):
        load_records([tmp_path.parent])


def test_points_are_sorted_and_gaps_are_said() -> None:
    records = records_of("a", (20, 0)) + records_of("a", [10], mean=None) + records_of("a", [5], mean=None, error="x", images=0)
    layout = arrange(records, "snr_db", "psnr")
    (curve,) = layout.panels[0].curves
    assert curve.x == (0, 5, 10, 20)
    assert np.isnan(curve.y).tolist() == [False, True, True, False]
    assert layout.notes == ["a: 1 failed, not drawn", "a: 1 infinite, not drawn"]
    assert layout.constant == {"data": "kodak", "channel": "awgn", "ratio": 1 / 16, "told_snr_db": None, "task_network": None}


def test_conditions_make_panels_and_what_else_differs_makes_curves() -> None:
    records = [
        record
        for channel in ("rayleigh:block", "awgn")
        for ratio in (1 / 6, 1 / 16)
        for told in (None, 10.0)
        for record in records_of("a", channel=channel, ratio=ratio, told_snr_db=told)
    ]
    layout = arrange(records, "snr_db", "psnr", names={"a": "A"})
    assert layout.facets == ("channel", "ratio")
    places = [(panel.place["channel"], panel.place["ratio"]) for panel in layout.panels]
    assert places == [("rayleigh:block", 1 / 16), ("rayleigh:block", 1 / 6), ("awgn", 1 / 16), ("awgn", 1 / 6)]
    assert all([c.label for c in p.curves] == ["A", "A, SNR taken for 10 dB"] for p in layout.panels)
    rows, down = grid(layout, 4)
    assert down
    assert [[panel and panel.place["ratio"] for panel in row] for row in rows] == [[1 / 16] * 2, [1 / 6] * 2]
    one = arrange(records, "snr_db", "psnr", ["told_snr_db", "channel"])
    assert {c.label for p in one.panels for c in p.curves} == {"a, CBR 1/16", "a, CBR 1/6"}
    along = arrange(select(records, {"snr_db": [0.0]}), "bandwidth_ratio", "psnr")
    assert along.facets == ("channel",)


def test_runs_are_never_mixed() -> None:
    for change in ({"seed": 1}, {"images": 2}):
        layout = arrange(records_of("a") + records_of("a", [5, 15], **change), "snr_db", "psnr")
        assert len(layout.panels[0].curves) == 2
        assert {len(curve.x) for curve in layout.panels[0].curves} == {2, 3}
    mixed = arrange(records_of("a", [0], trials=2) + records_of("a", [10], trials=9), "snr_db", "psnr")
    assert len(mixed.panels[0].curves) == 1  # trials until the interval is narrow
    twice = arrange(records_of("a") + records_of("a", [0], trials=2), "snr_db", "psnr")
    assert [curve.label for curve in twice.panels[0].curves] == ["a, 1 trial", "a, 2 trials"]
    weights = records_of("a", [0], ratio=1 / 16, weight="a.x") + records_of("a", [0], ratio=1 / 6, weight="a.y")
    assert len(arrange(weights, "ratio", "psnr").panels[0].curves) == 1
    with pytest.raises(UsageError, match=r"several values of psnr at snr_db=0"):
        arrange(records_of("a") + records_of("a", [0], mean=1.0), "snr_db", "psnr")


@pytest.mark.parametrize(
    ("x", "y", "facets"),
    [("channel", "psnr", None), ("colour", "psnr", None), ("snr_db", "ssim", None), ("snr_db", "psnr", ["x"])],
)
def test_what_cannot_be_arranged(x: str, y: str, facets: list[str] | None) -> None:
    with pytest.raises(UsageError):
        arrange(records_of(), x, y, facets)


def test_too_many_panels_and_columns_without_values() -> None:
    many = [record for number in range(40) for record in records_of("a", ratio=1 / (number + 2))]
    with pytest.raises(UsageError, match="40 panels"):
        arrange(many, "snr_db", "psnr")
    with pytest.raises(UsageError, match="no encode_ms"):
        arrange(records_of(), "encode_ms", "psnr")
    with pytest.raises(UsageError, match="panels by snr_db"):
        arrange(records_of(), "snr_db", "psnr", ["snr_db"])


def test_older_records_have_channel_uses_per_pixel() -> None:
    (panel,) = arrange(records_of("a", [0]), "cpp", "psnr").panels
    assert panel.curves[0].x == (pytest.approx(3 * 0.0626),)


def test_columns_are_drawn_once_and_without_bands(draw) -> None:
    """All records of a cell say the same, whatever their metric, network or number of trials."""
    cells = [
        *records_of(cpp=0.25, ci95_noise=0.1),
        *records_of(metric="accuracy", task_network="net", cpp=0.25, trials=5),
        *records_of("b", cpp=0.5, encode_ms=2.0),
    ]
    (panel,) = arrange(cells, "snr_db", "cpp").panels
    assert [(curve.label, curve.y) for curve in panel.curves] == [("ADJSCC", (0.25,) * 3), ("b", (0.5,) * 3)]
    assert all(math.isnan(half) for curve in panel.curves for half in curve.half)
    (panel,) = arrange(records_of(), "snr_db", "cpp").panels
    assert panel.curves[0].y == pytest.approx((3 * 0.0626,) * 3), "older records"
    assert arrange(cells, "cpp", "encode_ms").panels[0].curves[1].y == (2.0,), "a panel an SNR"
    figure, notes = draw([*cells, *records_of(outage_rate=0.5, snrs=[30], cpp=0.25)], y="cpp")
    (axes,) = figure.axes
    assert axes.get_ylabel() == "channel uses per pixel"
    assert not axes.collections
    assert not notes

    failed = dataclasses.replace(PLAIN, mean=None, images=0, trials=0, bandwidth_ratio=0.0, error="no luck")
    layout = arrange(
        [*cells, failed, dataclasses.replace(failed, snr_db=7.0), dataclasses.replace(failed, snr_db=7.0)], "snr_db", "cpp"
    )
    assert layout.notes == ["ADJSCC: 1 failed, not drawn"], "only where nothing else was measured"
    with pytest.raises(UsageError, match="several values of encode_ms") as caught:
        arrange([*records_of(encode_ms=1.0), *records_of(metric="ssim", encode_ms=1.1)], "snr_db", "encode_ms")
    assert "metric=psnr" in caught.value.hint
    with pytest.raises(UsageError, match="arrived"):
        arrange(cells, "snr_db", "cpp", arrived=True)


def test_a_ratio_that_was_chosen_is_joined_to_none_that_was_forced(draw) -> None:
    forced = [r for ratio, cpp in ((1 / 6, 0.51), (1 / 12, 0.26)) for r in records_of("a", [5], ratio=ratio, cpp=cpp)]
    policy = records_of("a", [5], ratio=None, cpp=0.4)
    (panel,) = arrange([*policy, *forced], "cpp", "psnr", names={"a": "A"}).panels
    assert [(curve.label, curve.x) for curve in panel.curves] == [
        ("A, CBR chosen for each picture", (0.4,)),
        ("A", (0.26, 0.51)),
    ]
    (axes,) = draw([*policy, *forced], x="cpp")[0].axes
    looks = {line.get_label(): (line.get_markerfacecolor(), line.get_color()) for line in axes.get_lines()}
    assert looks["a, CBR chosen for each picture"] == ("white", looks["a"][1])
    assert len(arrange([*policy, *forced], "snr_db", "psnr").panels) == 3
    layout = arrange([*policy, *forced], "ratio", "psnr")
    assert layout.notes == ["1 records have no ratio and are left out"]
    (panel,) = arrange(policy, "cpp", "psnr").panels
    assert panel.curves[0].label == "a, CBR chosen for each picture"


def test_two_networks_look_at_the_same_pictures(draw) -> None:
    records = [r for net in ("one", "two") for r in records_of(metric="accuracy", task_network=net, mean=0.5)]
    figure, _ = draw(records, y="accuracy", facets=["task_network"])
    assert [axes.get_title() for axes in figure.axes] == ["task network one", "task network two"]
    figure, _ = draw(records_of(), facets=["task_network"])
    assert [axes.get_title() for axes in figure.axes] == ["kodak, awgn, CBR 1/16"]


def test_metric_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metric_label("psnr") == "PSNR ↑ (dB)"
    monkeypatch.setitem(METRICS, "distance", dataclasses.replace(METRICS["ssim"], name="distance", higher_is_better=False))
    assert metric_label("distance") == "DISTANCE ↓"
    assert metric_label("third_party") == "third_party"
    assert metric_label("cpp") == "channel uses per pixel"


def test_bounds_bands_and_gaps(draw) -> None:
    records = [*records_of("a"), *records_of("b", ci95=None, ci95_noise=0.2), *records_of("limit", bound=True)]
    records += records_of("a", [30], mean=None)
    figure, notes = draw(records)
    axes, _ = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["limit"].get_color() == "black"
    assert lines["limit"].get_marker() == "None"
    assert len({lines[name].get_color() for name in "ab"}) == len({lines[name].get_marker() for name in "ab"}) == 2
    assert len(axes.collections) == 1
    assert math.isnan(lines["a"].get_ydata()[-1])
    assert notes == ["a: 1 infinite, not drawn"]
    assert notes[0] in [text.get_text() for text in figure.legends[0].get_texts()]
    assert axes.get_title() == "kodak, awgn, CBR 1/16"
    assert len(draw(records, interval="noise")[0].axes[0].collections) == 1
    assert len(draw(records, interval="none")[0].axes[0].collections) == 0
    with pytest.raises(UsageError, match="interval"):
        draw(records, interval="all")
    with pytest.raises(UsageError, match="style"):
        draw(records, style="loud")


def test_a_band_of_a_share_stays_within_0_and_1(draw) -> None:
    figure, _ = draw(records_of(metric="accuracy", mean=0.9, ci95=0.3), y="accuracy")
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.6, 1.0))
    assert figure.axes[0].get_ylim()[1] < 1.05
    figure, _ = draw(records_of(snrs=[10], metric="accuracy", mean=0.9, ci95=0.3), y="accuracy")
    assert figure.axes[0].get_ylim()[1] < 1.05


def test_no_bands_of_few_pictures(draw) -> None:
    from openjscc.report.chart import Chart, without_wide_bands

    few, enough = records_of(images=7), records_of(images=8)
    assert without_wide_bands(Chart(), few).interval == "none"
    assert without_wide_bands(Chart(interval="noise"), few).interval == "noise"
    assert without_wide_bands(Chart(), [*few, *enough]).interval == "pictures"


def test_lost_pictures(draw) -> None:
    records = records_of("a", outage_rate=0.25, mean_arrived=31.0)
    figure, _ = draw(records, lost=True)
    upper, lower = figure.axes
    assert lower.get_lines()[0].get_ydata() == pytest.approx([25.0] * 3)
    assert "lost = grey" in upper.get_ylabel()
    axes, _ = draw(records, arrived=True)[0].axes
    assert axes.get_lines()[0].get_ydata() == pytest.approx([31.0] * 3)
    assert "arrived" in axes.get_ylabel()
    assert not axes.collections


@pytest.mark.parametrize("style", ["paper", "screen"])
def test_legend_and_titles_cover_nothing(draw, style: str) -> None:
    records = [
        record
        for ratio in (1 / 16, 1 / 6)
        for channel in ("awgn", "rayleigh:block", "rician:4")
        for system in ("adjscc", "bpg-ldpc:mcs=16qam-3/4-n1944", "a system with quite a long name, set in its own words")
        for told in (None, 10.0)
        for record in records_of(system, channel=channel, ratio=ratio, told_snr_db=told, outage_rate=0.1)
    ]
    figure, _ = draw(records, style=style)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= width
    assert legend.y0 >= 0
    assert all(box.y0 >= legend.y1 and box.x0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert not any(a is not b and a.overlaps(b) for a in boxes for b in boxes)


def test_paper_is_a_column_wide(draw) -> None:
    assert draw(records_of())[0].get_size_inches()[0] == 3.5
    assert draw(records_of(), width=5.0)[0].get_size_inches()[0] == 5


def test_files_are_the_same_every_time(draw, tmp_path: Path) -> None:
    from openjscc.report.style import write_figure

    for suffix in (".svg", ".pdf"):
        files = [tmp_path / f"{number}{suffix}" for number in range(2)]
        for file in files:
            write_figure(draw(records_of("x$1$"), log_x=False)[0], file)
        assert files[0].read_bytes() == files[1].read_bytes()
    import matplotlib

    with matplotlib.rc_context({"grid.alpha": 0.3, "svg.fonttype": "path", "axes.titlesize": 30}):  # a user's matplotlibrc
        write_figure(draw(records_of("x$1$"))[0], tmp_path / "1.svg")
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "0.svg").read_bytes()
    text = (tmp_path / "0.svg").read_text()
    assert ">x$1$<" in text
    assert "url(#mark" in text
    assert not re.search(r"#[a-z][0-9a-f]{10}\b", text)  # hashes of coordinates, whose last bits differ between machines
    assert ">SNR (dB)<" in text
    with pytest.raises(UsageError, match="gif"):
        write_figure(draw(records_of())[0], tmp_path / "a.gif")


def test_logarithmic_axis(draw) -> None:
    records = [record for n in (6, 12, 48) for record in records_of("a", [10], ratio=1 / n, bandwidth_ratio=1 / n + 1e-4)]
    (axes,) = draw(records, x="bandwidth_ratio", log_x=True)[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1/48", "1/12", "1/6"]
    with pytest.raises(UsageError, match="not positive"):
        draw(records_of(), log_x=True)


def test_ticks_of_a_narrow_logarithmic_axis(draw) -> None:
    records = [*records_of("a", [10], macs_per_pixel=28e3), *records_of("b", [10], macs_per_pixel=47e3)]
    (axes,) = draw(records, x="macs_per_pixel", log_x=True)[0].axes
    texts = [label.get_text() for label in axes.get_xticklabels()]
    assert "40k" in texts
    assert len(texts) <= 7
    assert len(axes.containers) == 2, "the interval of a single point is a bar"
    assert log_ticks(0.06, 0.5) == pytest.approx([0.1, 0.2, 0.5])
    assert log_ticks(1, 3e4) == [1, 10, 100, 1000, 10000]
    assert log_ticks(28e3, 47e3) == []
    assert [short_number(value) for value in (0.5, 9500, 47500.0, 1.2e6)] == ["0.5", "9500", "47.5k", "1.2M"]


def test_ticks_at_few_snrs(draw) -> None:
    figure, _ = draw(records_of(snrs=(-2, 4, 7, 10, 13)))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["\N{MINUS SIGN}2", "4", "7", "10", "13"]


def test_heads_are_split_alike(draw) -> None:
    records = [
        r
        for channel in ("awgn", "rayleigh:block")
        for told in (None, 10.0)
        for r in records_of(channel=channel, told_snr_db=told)
    ]
    figure, _ = draw(records, facets=("channel", "told_snr_db", "ratio"))
    assert [axes.get_title().count("\n") for axes in figure.axes] == [1] * 4


def test_anchors_stand_apart_from_curves(draw) -> None:
    fits = Anchor("Other", "kodak", "awgn", 7.0, 0.0625, "psnr", 32.0, 0.2, "its paper")
    changes = ({"dataset": "cifar10"}, {"channel": "rayleigh:block"}, {"ratio": 1 / 6}, {"metric": "ssim"})
    figure, notes = draw(records_of(), [fits, *(dataclasses.replace(fits, **change) for change in changes)])
    (axes,) = figure.axes
    assert len(axes.containers) == 1
    (line, _, bars) = axes.containers[0]
    assert line.get_xdata().tolist() == [7.0]
    assert line.get_markerfacecolor() == "none"
    assert bars
    assert axes.containers[0].get_label() == "Other [its paper]"
    assert notes == []
    assert draw(records_of(told_snr_db=10.0), [fits])[1] == ["no published point fits data set, channel, metric and conditions"]
    (axes,) = draw(records_of("a", [7.0]), [fits], x="cpp")[0].axes
    assert axes.containers[-1][0].get_xdata().tolist() == [0.1875]


def test_records_of_other_images_than_the_anchors_are_named(draw) -> None:
    point = Anchor("Other", "kodak", "awgn", 7.0, 0.0625, "psnr", 32.0, 0.2, "its paper")
    count, sha256 = IMAGES["kodak"]
    beginning = "the published points are of the 24 images of kodak, some records of"
    for changes, notes in (
        ({"data_sha256": sha256}, []),
        ({"data": "folder/Kodak", "images": count}, []),
        ({"data_sha256": "0" * 64}, [f"{beginning} 24 other files: make sure that these are the same images"]),
        ({"images": 2}, [f"{beginning} 2: their means are of other images"]),
        ({"images": 1}, [f"{beginning} 1: their means are of other images"]),
        ({"data": "photos"}, ["no published point is of these images: they are of kodak, the records of photos"]),
    ):
        assert draw(records_of(**changes), [point])[1] == notes, changes
    assert draw(records_of(images=2))[1] == []


def test_the_anchors_images_are_those_of_the_results() -> None:
    for name, folder in (("kodak", "kodak-snr"), ("cifar10", "sp-jscc-snr")):
        records = read_records(ROOT / "results" / "studies" / folder)
        assert {(record.images, record.data_sha256) for record in records} == {IMAGES[name]}
        assert of_other_images(records) == []


def test_published_anchors() -> None:
    anchors = read_anchors(ROOT / "src" / "openjscc" / "report" / "anchors.csv")
    assert len(anchors) > 50
    first = anchors[0]
    assert (first.system, first.ratio, first.value, first.error) == ("SwinJSCC SA&RA base (one model)", 1 / 48, 26.43, 0.0)
    assert {anchor.error for anchor in anchors} == {0.0, 0.2}
    assert {anchor.metric for anchor in anchors} <= set(METRICS)


@pytest.mark.parametrize(
    "line",
    [
        "a,b,c,1,1/6,psnr,30,guess,s",
        "a,b,c,x,1/6,psnr,30,text,s",
        "a,b,c,1,0,psnr,30,text,s",
        "a,b,c,1,1/6,psnr,nan,text,s",
        "a,b",
    ],
)
def test_bad_anchors(tmp_path: Path, line: str) -> None:
    path = tmp_path / "anchors.csv"
    path.write_text(f"system,dataset,channel,snr_db,cbr,metric,value,how_read,source\n{line}\n")
    with pytest.raises(IntegrityError, match="line 2"):
        read_anchors(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(IntegrityError, match="columns"):
        read_anchors(path)
    with pytest.raises(UsageError, match=r"none\.csv"):
        read_anchors(tmp_path / "none.csv")


def keep(folder: Path, system: str, snr_db: float, ok: bool = True, **changes: object) -> KeptPicture:
    shade = {"a": 0.25, "b": 0.75}[system]
    file = f"{system}-{snr_db:g}/one.png"
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.zeros(3, 150, 200)
    pixels[0] = shade  # a colour that no caption has
    write_png(folder / file, pixels, overwrite=True)
    kept = KeptPicture(file, system, "awgn", snr_db, 1 / 16, "one.webp", 30.0, ok)
    return dataclasses.replace(kept, **changes)


def test_the_index_of_kept_pictures(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no kept pictures"):
        read_kept(tmp_path)
    first, second = keep(tmp_path, "a", 1), keep(tmp_path, "b", 1)
    add_kept(tmp_path, [first])
    add_kept(tmp_path, [second, dataclasses.replace(first, psnr=math.inf)])
    assert read_kept(tmp_path) == [dataclasses.replace(first, psnr=None), second]
    for content in ("{", "{}", "[1]", '[{"file": "x"}]'):
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(IntegrityError):
            read_kept(tmp_path)
    add_kept(tmp_path / "a-1", [dataclasses.replace(first, file="../x.png")])
    with pytest.raises(IntegrityError, match="outside"):
        read_kept(tmp_path / "a-1")


def test_strips(tmp_path: Path) -> None:
    add_kept(tmp_path, [keep(tmp_path, "a", 1), keep(tmp_path, "b", 1, ok=False), keep(tmp_path, "a", 7), keep(tmp_path, "b", 7)])
    row = np.asarray(strip(tmp_path, "one", (10, 20, 140, 129), where={"snr_db": [7.0]}))
    assert (row == (64, 0, 0)).all(2).sum() == (row == (191, 0, 0)).all(2).sum() == 140 * 129
    swapped = np.asarray(strip(tmp_path, "one.webp", (10, 20, 140, 129), systems=["b", "a"], where={"snr_db": [7.0]}))
    assert np.argwhere((swapped == (191, 0, 0)).all(2))[0][1] < np.argwhere((swapped == (64, 0, 0)).all(2))[0][1]
    both = strip(tmp_path, "one")
    assert both.height > 2 * 150
    assert both.width > 2 * 200
    sent = tmp_path / "sent.png"
    Image.new("RGB", (200, 150), (255, 0, 0)).save(sent)
    assert strip(tmp_path, "one", source=sent, where={"snr_db": [7.0]}).width > 3 * 200


def test_captions_of_strips_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.report import strips

    add_kept(tmp_path, [keep(tmp_path, "a", 1), keep(tmp_path, "b", 1, ok=False)])
    shown: list[tuple[str, torch.Tensor]] = []
    monkeypatch.setattr(strips, "side_by_side", lambda cells, columns: shown.extend(cells))
    strip(tmp_path, "one", (0, 0, 50, 50), names={"a": "A"})
    assert [caption for caption, _ in shown] == ["A\nPSNR 30.00 dB", "b\nlost"]
    assert len(shown[1][1].unique()) == 2, "no letters in a crop that is enlarged"


def test_several_pictures_are_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.report import strips

    kept = []
    for picture in ("one", "two"):
        for system, snr, ok in (("a", 1, True), ("b", 1, False), ("a", 7, True), ("b", 7, True)):
            file = keep(tmp_path, system, snr).file
            (tmp_path / picture).mkdir(exist_ok=True)
            moved = f"{picture}/{system}{snr}.png"
            (tmp_path / file).rename(tmp_path / moved)
            kept.append(dataclasses.replace(keep(tmp_path, system, snr, ok), file=moved, picture=f"{picture}.webp"))
    add_kept(tmp_path, kept)
    sources = [write_png(tmp_path / f"{name}.png", torch.ones(3, 150, 200)) for name in ("one", "two")]

    def seen(name: str, pixels: torch.Tensor, sent: bool) -> str:
        assert pixels.shape == (3, 150, 200), "the whole picture"
        return f"{name} {'sent' if sent else 'received'}"

    sheet = strip_of_several(tmp_path, ["one", "two"], sources, (0, 0, 100, 100), seen=seen)
    assert sheet.width > 2 * 128
    shown: dict[str, list] = {}
    monkeypatch.setattr(strips, "side_by_side", lambda cells, **layout: shown.update(cells=cells, **layout))
    strip_of_several(tmp_path, ["one", "two"], sources, (0, 0, 100, 100), names={"a": "A, long"}, seen=seen)
    assert shown["columns"] == 2
    assert shown["beside"] == ["sent", "A,\nlong\nSNR 1 dB", "b\nSNR 1 dB", "A,\nlong\nSNR 7 dB", "b\nSNR 7 dB"]
    captions = [caption for caption, _ in shown["cells"]]
    assert captions[:4] == [
        "one\none sent",
        "two\ntwo sent",
        "PSNR 30.00 dB\none.webp received",
        "PSNR 30.00 dB\ntwo.webp received",
    ]
    assert captions[4] == "lost\none.webp received"
    assert len(captions) == 2 * 5

    (tmp_path / "index.json").unlink()
    add_kept(tmp_path, kept[:-1])
    strip_of_several(tmp_path, ["one", "two"], sources)
    assert [caption for caption, _ in shown["cells"]][-1] == "not kept"
    (tmp_path / "index.json").unlink()
    add_kept(tmp_path, kept[:-2])
    with pytest.raises(UsageError, match="two and one"):
        strip_of_several(tmp_path, ["one", "two"], sources)


def test_systems_at_ratios_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.report import strips

    kept = [
        keep(tmp_path, "a", 1, ratio=1 / 48, bandwidth_ratio=0.0210),
        keep(tmp_path, "b", 1, ratio=1 / 48, bandwidth_ratio=0.0210),
        dataclasses.replace(keep(tmp_path, "b", 2, ratio=1 / 24, bandwidth_ratio=0.0420), snr_db=1.0),
    ]
    add_kept(tmp_path, kept)
    shown: dict[str, list] = {}
    monkeypatch.setattr(strips, "side_by_side", lambda cells, **layout: shown.update(cells=cells, **layout))
    senders = {"systems": ["a", "b", "b"], "ratios": [1 / 48, 1 / 48, 1 / 24]}
    expected = ["CBR 0.0210\nPSNR 30.00 dB", "CBR 0.0210 (the same)\nPSNR 30.00 dB", "CBR 0.0420 (+100 %)\nPSNR 30.00 dB"]
    strip(tmp_path, "one", **senders)
    assert [caption for caption, _ in shown["cells"]] == [f"{name}\n{words}" for name, words in zip("abb", expected, strict=True)]
    source = write_png(tmp_path / "one.png", torch.ones(3, 150, 200))
    strip_of_several(tmp_path, ["one"], [source], **senders)
    assert shown["beside"] == ["sent", "a", "b", "b"]
    assert [caption for caption, _ in shown["cells"]] == ["one", *expected]
    with pytest.raises(UsageError, match="kept picture of a with ratio=1/24"):
        strip(tmp_path, "one", systems=["a", "b"], ratios=[1 / 24, 1 / 24])


def test_strips_refuse(tmp_path: Path) -> None:
    add_kept(tmp_path, [keep(tmp_path, "a", 1)])
    for problem, arguments in {
        "picture 'two'": {"picture": "two"},
        "beyond the 200x150 picture": {"crop": (100, 100, 10, 51)},
        "system 'c'": {"systems": ["c"]},
        "snr_db=7": {"where": {"snr_db": [7.0]}},
        "condition 'data'": {"where": {"data": ["x"]}},
    }.items():
        with pytest.raises(UsageError, match=problem):
            strip(tmp_path, **{"picture": "one", **arguments})
    add_kept(tmp_path, [dataclasses.replace(keep(tmp_path, "a", 1), file="other.png")])
    with pytest.raises(UsageError, match="several"):
        strip(tmp_path, "one")


def test_crops() -> None:
    assert parse_crop("1,2,30,40") == (1, 2, 30, 40)
    for text in ("1,2,3", "1,2,0,4", "a,b,c,d", "1.5,2,3,4", "-1,2,3,4"):
        with pytest.raises(UsageError):
            parse_crop(text)
