"""Figures carry a checksum of what they show."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from PIL import Image

from openjscc.bench import Record
from openjscc.errors import IntegrityError, UsageError
from openjscc.report.anchors import Anchor
from openjscc.report.chart import Chart
from openjscc.report.charts import draw
from openjscc.report.fingerprint import carried, exif_with, fingerprint, rows_of
from openjscc.report.style import write_figure

PLAIN = Record("a", "a", "psnr", "awgn", 0.0, 1 / 16, 30.0, 1.0, 0.5, 24, 1, 0.0626, 1, 1.0, "kodak", 0)
RECORDS = [dataclasses.replace(PLAIN, snr_db=snr, mean=mean) for snr, mean in ((0.0, 30.0), (10.0, None))]


def test_plain_data() -> None:
    assert fingerprint([1, 2.5, "x", (None, math.inf)]) == fingerprint([1, 2.5, "x", [math.nan, None]])
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1]) != fingerprint([1.0000001])
    assert len(fingerprint([])) == len("rows sha256 ") + 64


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_figures_carry_it(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"figure{suffix}"
    write_figure(draw(RECORDS)[0], path)
    assert carried(path) is None
    write_figure(draw(RECORDS)[0], path, rows=rows_of(RECORDS, Chart()))
    first = path.read_bytes()
    assert carried(path) == rows_of(RECORDS, Chart())
    write_figure(draw(RECORDS)[0], path, rows=rows_of(RECORDS, Chart()))
    assert path.read_bytes() == first


def test_pictures_carry_it(tmp_path: Path) -> None:
    for name in ("picture.webp", "picture.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif_with(fingerprint(["x"])))
        assert carried(tmp_path / name) == fingerprint(["x"])
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.webp")
    assert carried(tmp_path / "plain.webp") is None
    with pytest.raises(UsageError, match="none"):
        carried(tmp_path / "none.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="broken"):
        carried(tmp_path / "broken.png")


def test_it_is_of_what_is_seen() -> None:
    chart, rows = Chart(), rows_of(RECORDS, Chart())
    assert rows_of(list(reversed(RECORDS)), chart) == rows
    unseen = [dataclasses.replace(record, encode_ms=5.0, device="another") for record in RECORDS]
    assert rows_of([*unseen, dataclasses.replace(PLAIN, metric="ssim")], chart) == rows
    point = Anchor("Other", "kodak", "awgn", 7.0, 0.0625, "psnr", 32.0, 0.2, "its paper")
    assert rows_of(RECORDS, chart, [dataclasses.replace(point, metric="ssim")]) == rows
    others = [
        rows_of([dataclasses.replace(RECORDS[0], mean=30.0001), RECORDS[1]], chart),
        rows_of([dataclasses.replace(record, ci95=0.4) for record in RECORDS], chart),
        rows_of([dataclasses.replace(record, outage_rate=0.4) for record in RECORDS], chart),
        rows_of(RECORDS[:1], chart),
        rows_of(RECORDS, chart, [point]),
        rows_of(RECORDS, dataclasses.replace(chart, names={"a": "A"})),
        rows_of(RECORDS, dataclasses.replace(chart, style="screen")),
    ]
    assert len({rows, *others}) == 8
