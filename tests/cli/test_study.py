"""``openjscc study``: measured once, written down as the records have it, and measured again in part."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openjscc.bench import read_records, write_records
from openjscc.errors import MissingError
from openjscc.studies.comparisons import read_bands, read_tables
from openjscc.studies.differences import DifferenceTable
from openjscc.studies.differences_page import difference_page
from openjscc.studies.gains import GainTable
from openjscc.studies.gains_page import gain_page

DIGITAL = "jpeg-ldpc:mcs=qpsk-1/2-n1944"
LABELS = {"adjscc": "ADJSCC", DIGITAL: "JPEG+LDPC, QPSK 1/2 (n1944)"}
STUDY = f"""
title = "Small pictures"
paper = "A. Author: A paper, 2020."
note = "Untrained weights."
data = "pictures"
names = {{ adjscc = "ADJSCC" }}

[[bench]]
systems = ["adjscc", "{DIGITAL}"]
channel = ["awgn"]
snr_db = [4, 10]
ratio = ["1/6"]
metrics = ["psnr", "ssim"]

[[bench]]
systems = ["adjscc"]
channel = ["rayleigh:block"]
snr_db = [10]
ratio = ["1/6"]
trials = 2
metrics = ["psnr", "ssim"]

[[figure]]
file = "psnr.svg"
y = "psnr"
where = "channel=awgn"
lost = true
anchors = true

[[table]]
metric = "psnr"
where = "channel=awgn"

[[table]]
metric = "ssim"

[[gain]]
metric = "psnr"
of = ["adjscc"]
over = "{DIGITAL}"

[[difference]]
metric = "psnr"
of = ["adjscc"]
over = "{DIGITAL}"

[[strip]]
file = "strip.png"
picture = "0"
systems = ["adjscc"]
snr_db = [10]
ratio = "1/6"
crop = [0, 0, 16, 16]
"""


@pytest.fixture
def small(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """A study of three pictures, ``small.toml``."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        make_picture(folder / f"{number}.png", 48, 40, seed=number)
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return path


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def tampered(folder: Path, **changes: Any) -> None:
    write_records(folder / "records.csv", [replace(record, **changes) for record in read_records(folder)])


def test_a_study_is_written_down_and_goes_on(openjscc, small: Path) -> None:
    result = openjscc("study", small, "--json")
    result.assert_ok()
    folder = Path("results/studies/small")
    first = written(folder)
    tables = {"gains.json", "differences.json", "paired.json"}
    assert set(first) == {".gitignore", "small.md", "psnr.svg", "strip.png", "records.csv", "run.json", "cells.zip", *tables}
    records = read_records(folder / "records.csv")
    assert len(records) == 2 * (2 * 2 + 1)
    assert json.loads(result.out)["records"] == [record.to_dict() for record in records]

    page = first["small.md"].decode()
    assert page.startswith("# Small pictures\n\nA. Author: A paper, 2020.\n\nUntrained weights.\n")
    row = [record for record in records if (record.system, record.channel, record.metric) == ("adjscc", "awgn", "psnr")]
    assert f"| ADJSCC | {' | '.join(f'{r.mean:.2f}' for r in row)} |" in page
    (faded,) = [record for record in records if (record.channel, record.metric) == ("rayleigh:block", "ssim")]
    assert f"| ADJSCC | {faded.mean:.4f} |" in page
    assert page.count("No 95 % interval: there are fewer than 6 images.") == 3, "two tables of means, one of differences"
    assert "±" not in page
    for text in (
        "![PSNR ↑ (dB) against SNR](psnr.svg)", "(strip.png)", "3 pictures", "Channel `awgn`: SNR 4, 10 dB; CBR 1/6; 1 trial",
        "`openjscc study small.toml`", "| `adjscc.photo` |", f"torch {(row[0].versions or {})['torch']}", str(row[0].device),
    ):  # fmt: skip
        assert text in page, text
    assert "quick look" not in page
    (table,) = read_tables(folder / "gains.json", GainTable)
    assert [(row.system, row.at, row.place.images) for row in table.rows] == [("adjscc", 4.0, 3), ("adjscc", 10.0, 3)]
    assert gain_page(table, LABELS) in page
    (paired,) = read_tables(folder / "differences.json", DifferenceTable)
    assert [(line.system, line.at, line.difference.pictures) for line in paired.rows if line.difference] == [
        ("adjscc", 4.0, 3), ("adjscc", 10.0, 3),
    ]  # fmt: skip
    other = [r.mean or 0 for r in records if (r.system, r.metric) == (DIGITAL, "psnr")]
    assert [line.difference.value for line in paired.rows if line.difference] == pytest.approx(
        [(r.mean or 0) - mean for r, mean in zip(row, other, strict=True)]
    )
    assert difference_page(paired, LABELS) in page
    assert "[gains.json](gains.json) and [differences.json](differences.json)" in page
    assert f"| {LABELS[DIGITAL]} has | " in page
    assert all(word in first["psnr.svg"].decode() for word in ("ADJSCC", ">Δ to ADJSCC (dB)<", LABELS[DIGITAL]))
    (one, two) = read_bands([folder])
    assert (one.over, one.system, one.snr_db, two.snr_db) == ("adjscc", DIGITAL, 4.0, 10.0)
    assert one.half > 0
    assert "Below: PSNR less that of ADJSCC over the same pictures and draws" in page

    cells = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    again = openjscc("study", small)
    again.assert_ok()
    assert "5 of 5 cells" in again.err
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()} == cells
    assert written(folder) == first, "the same records give the same bytes"
    (folder / "small.md").unlink()
    (folder / "psnr.svg").write_text("")
    openjscc("study", small, "--redraw", "--json").assert_ok()
    assert written(folder) == first, "page and figures are those of the records"

    shutil.rmtree(folder / "pictures")
    shutil.rmtree(folder / "cells")
    openjscc("study", small).assert_ok()
    assert written(folder) == first, "the cells of the archive are not measured again"
    assert written(folder)["strip.png"] == first["strip.png"]

    quick = openjscc("study", small, "--limit", 2)
    quick.assert_error(2, "3 pictures")
    openjscc("study", small, "--limit", 2, "-o", "quick").assert_ok()
    page = Path("quick/small.md").read_text()
    assert "A quick look at 2 pictures" in page
    assert "--limit 2" in page


def test_the_archive_of_cells(openjscc, small: Path) -> None:
    openjscc("study", small, "-o", "out").assert_ok()
    archive = Path("out/cells.zip")
    first = archive.read_bytes()
    assert len(zipfile.ZipFile(archive).namelist()) == 5

    shutil.rmtree("out/cells")
    archive.write_bytes(b"no archive")
    openjscc("study", small, "-o", "out").assert_error(4, "cells.zip is damaged")
    archive.write_bytes(first[:-400])
    openjscc("study", small, "-o", "out").assert_error(4, "cells.zip is damaged")

    old = {}
    with zipfile.ZipFile(io.BytesIO(first)) as before, zipfile.ZipFile(archive, "w") as after:
        for name in before.namelist():
            text = before.read(name).decode().replace('"account": 2', '"account": 1')
            text = text[: text.rindex(', "sha256"')]
            after.writestr(name, f'{text}, "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n')
            old[name] = text
    assert all('"account": 1' in text for text in old.values())
    again = openjscc("study", small, "-o", "out")
    again.assert_ok()
    assert "cells are there already" not in again.err, "cells of an earlier account are measured again"
    assert zipfile.ZipFile(archive).read(next(iter(old))).decode().count('"account": 2') == old[next(iter(old))].count(
        '"account"'
    )


def test_cells_are_measured_again(openjscc, small: Path) -> None:
    openjscc("study", small, "--check").assert_error(3, "no results")
    openjscc("study", small, "-o", "out").assert_ok()
    out = Path("out")
    records = read_records(out)
    result = openjscc("study", small, "-o", "out", "--check", "--json")
    result.assert_ok()
    lines = json.loads(result.out)
    assert len(lines) >= 6
    assert {line["ok"] for line in lines} == {True}
    assert "3 of 5 cells" in result.err
    table = openjscc("study", small, "-o", "out", "--check", "--cells", 1, "--seed", 1)
    table.assert_ok()
    assert "verdict" in table.out

    more = [replace(r, mean=(r.mean or 0) + 0.5 * (r.metric == "psnr"), ci95_noise=None) for r in records]
    write_records(out / "records.csv", more)
    wrong = openjscc("study", small, "-o", "out", "--check", "--cells", 5)
    assert wrong.code == 1
    assert wrong.out.count("NOT THE SAME") == 5
    assert "ok" in wrong.out

    write_records(out / "records.csv", records)
    tampered(out, weight_sha256="0" * 64)
    openjscc("study", small, "-o", "out", "--check").assert_error(4, "adjscc.photo")
    write_records(out / "records.csv", records)
    tampered(out, data_sha256="0" * 64)
    openjscc("study", small, "-o", "out", "--check").assert_error(4, "pictures")
    openjscc("study", small, "-o", "out", "--check", "--limit", 2).assert_error(2, "2 pictures")
    (out / "records.csv").write_text("[")
    openjscc("study", small, "-o", "out", "--check").assert_error(4, "records.csv")


def test_a_metric_without_weights_is_left_out(openjscc, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import task_metrics

    def unavailable(names: tuple[str, ...]) -> None:
        if set(names) & {"ssim"}:
            raise MissingError("no weights of ssim", "get them")

    monkeypatch.setattr(task_metrics, "check_metrics", unavailable)
    result = openjscc("study", small, "-o", "out")
    result.assert_ok()
    assert "no weights of ssim" in result.err
    assert {record.metric for record in read_records(Path("out/records.csv"))} == {"psnr"}
    page = Path("out/small.md").read_text()
    assert "Left out: SSIM ↑, because no weights of ssim" in page
    assert "### SSIM" not in page

    def nothing(names: tuple[str, ...]) -> None:
        raise MissingError("no weights", "get them")

    monkeypatch.setattr(task_metrics, "check_metrics", nothing)
    openjscc("study", small, "-o", "none").assert_error(3, "no weights")
    assert not Path("none").exists()
    openjscc("study", small, "-o", "out", "--check").assert_error(3, "no weights")


def test_ctrl_c_keeps_what_is_there(openjscc, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import run as grid

    real, calls = grid.measure_cell, []

    def interrupted(*positional, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*positional, **named)

    monkeypatch.setattr(grid, "measure_cell", interrupted)
    result = openjscc("study", small, "-o", "out")
    assert result.code == 130
    assert not Path("out/small.md").exists()
    monkeypatch.setattr(grid, "measure_cell", real)
    again = openjscc("study", small, "-o", "out")
    again.assert_ok()
    assert "2 of 5 cells" in again.err


def test_a_cell_that_fails_is_on_the_page(openjscc, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import cells as grid

    real = grid.measure

    def failing(codec, x, point, *rest, **named):
        if point.snr_db == 4:
            raise RuntimeError("out of luck")
        return real(codec, x, point, *rest, **named)

    monkeypatch.setattr(grid, "measure", failing)
    assert openjscc("study", small, "-o", "out").code == 1
    page = Path("out/small.md").read_text()
    assert "Failed: `adjscc`, awgn, 4 dB: RuntimeError: out of luck" in page
    assert "| ADJSCC | – |" in page


def test_list_and_names(openjscc) -> None:
    listed = openjscc("study", "--list")
    listed.assert_ok()
    assert "kodak-snr" in listed.out
    assert {item["name"] for item in json.loads(openjscc("study", "--list", "--json").out)} >= {"cifar10-snr", "kodak-ratio"}
    near = openjscc("study", "kodak-snrs")
    near.assert_error(2, "kodak-snrs")
    assert "kodak-snr" in near.err.splitlines()[-1]
    openjscc("study").assert_error(2, "no study")
    openjscc("study", "none.toml").assert_error(2, "none.toml")
    openjscc("study", "kodak-snr", "--cells", 2).assert_error(2, "--cells")
    openjscc("study", "kodak-snr").assert_error(3, "kodak")


def test_a_strip_may_leave_the_ratio_to_each_system(openjscc, small: Path) -> None:
    strip = small.read_text().partition("[[strip]]")[2]
    systems, ratio = 'systems = ["adjscc"]', 'ratio = "1/6"'
    assert systems in strip
    assert ratio in strip
    more = strip.replace(systems, 'systems = ["adjscc", "arjscc", "adjscc"]').replace(ratio, 'ratio = ["auto", "auto", "0.0833"]')
    small.write_text(small.read_text().replace(strip, more))
    openjscc("study", small.name, "-o", "out").assert_ok()
    page = Path("out/small.md").read_text()
    assert "(strip.png)" in page
    assert "in brackets how much more" in page


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ('y = "psnr"', 'yy = "psnr"', 2, ("small.toml: figure[0]", "'yy'")),
        ("trials = 2", 'trials = "2"', 2, ("bench[1]: trials", "'2'")),
        ('ratio = ["1/6"]', 'ratio = ["one"]', 2, ("small.toml: bench[0]", "one")),
        ('ratio = ["1/6"]', 'ratio = ["1/7"]', 2, ("1/7",)),
        ('metrics = ["psnr", "ssim"]', 'metrics = ["psnr", "sim"]', 2, ("bench[0]", "sim")),
        ('metric = "ssim"', 'metric = "lpips"', 2, ("small.toml", "lpips")),
        ('file = "psnr.svg"', 'file = "../psnr.svg"', 2, ("figure[0]", "../psnr.svg")),
        ('file = "strip.png"', 'file = "psnr.svg"', 2, ("strip[0]", "psnr.svg")),
        ('where = "channel=awgn"', 'where = "channel=rician:3:block"', 2, ("psnr.svg", "rician")),
        ('picture = "0"', 'picture = "7"', 2, ("7",)),
        ("crop = [0, 0, 16, 16]", "crop = [0, 0, 99, 16]", 2, ("strip.png", "99")),
        (f'over = "{DIGITAL}"', 'over = "adjscc"', 2, ("small.toml: gain[0]", "adjscc")),
        (f'over = "{DIGITAL}"', 'over = "webp-ldpc"', 2, ("webp-ldpc",)),
        (f'over = "{DIGITAL}"', f'over = "{DIGITAL}"\nwhere = "snr_db=4"', 2, ("gain of adjscc", "1 points")),
        ('of = ["adjscc"]', 'off = ["adjscc"]', 2, ("small.toml: gain[0]", "'off'")),
        ('"adjscc", "jpeg', '"adjsc", "jpeg', 2, ("adjsc",)),
        ("[[table]]", "[[table", 2, ("small.toml", "TOML")),
        ("snr_db = [4, 10]", "snr_db = [4, nan]", 2, ("bench[0]", "nan")),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_the_work(openjscc, small: Path, old, new, code, words) -> None:
    text = small.read_text()
    assert old in text
    small.write_text(text.replace(old, new))
    openjscc("study", small.name, "-o", "out").assert_error(code, *words)
    assert not Path("out").exists()


def test_a_wrong_snr_and_fewer_pictures_are_told_apart(openjscc, small: Path) -> None:
    told = STUDY.replace("trials = 2", "limit = 2\ntold_snr_db = 3.0").replace("rayleigh:block", "awgn")
    small.write_text(told.replace('where = "channel=awgn"', 'where = "channel=awgn,told_snr_db=none,images=3"'))
    result = openjscc("study", small, "-o", "out")
    result.assert_ok()
    assert "SNR taken for 3 dB:" in result.out
    assert len(read_records(Path("out/records.csv"))) == 2 * (2 * 2 + 1)
    page = Path("out/small.md").read_text()
    assert "SNR known or SNR taken for 3 dB at the transmitter" in page
    assert "2 pictures" in page


def test_metrics_measured_apart_with_other_trials(openjscc, small: Path) -> None:
    """What is dear is measured with fewer trials, at the same points."""
    small.write_text(STUDY.replace('trials = 2\nmetrics = ["psnr", "ssim"]', 'trials = 2\nmetrics = ["psnr"]') + APART)
    result = openjscc("study", small, "-o", "out")
    result.assert_ok()
    records = {(r.channel, r.metric): r for r in read_records(Path("out/records.csv")) if r.snr_db == 10 and r.system == "adjscc"}
    assert [records["rayleigh:block", metric].trials for metric in ("psnr", "ssim")] == [2, 1]
    page = Path("out/small.md").read_text()
    assert "Channel `awgn`: SNR 4, 10 dB; CBR 1/6; 1 trial a picture;" in page
    assert "Channel `rayleigh:block`: SNR 10 dB; CBR 1/6; 2 trials a picture for PSNR, 1 trial a picture for SSIM;" in page
    openjscc("study", small, "-o", "out", "--check", "--cells", 6).assert_ok()


APART = """
[[bench]]
systems = ["adjscc"]
channel = ["rayleigh:block"]
snr_db = [10]
ratio = ["1/6"]
metrics = ["ssim"]
"""


def test_a_folder_of_other_results_is_left_alone(openjscc, small: Path) -> None:
    openjscc("bench", "--data", "pictures", "--metrics", "psnr", "-o", "out").assert_ok()
    openjscc("study", small, "-o", "out").assert_error(2, "out")
