"""``openjscc bench``: cells that are neither lost nor repeated, whatever happens, by however many processes."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from far_device import FAR, far_device
from openjscc import metrics
from openjscc.bench import read_records
from openjscc.bench.cells import _wanted, measure_cell, plan_cells
from openjscc.bench.kept import add_kept, read_kept
from openjscc.bench.measure import Measured
from openjscc.bench.point import Cell, Precision
from openjscc.bench.statistics import half_width_95
from openjscc.cli.console import progress
from openjscc.data.datasets import open_dataset
from openjscc.files import claimed
from openjscc.models import load

DIGITAL = "jpeg-ldpc:mcs=qpsk-1/2-n1944"


@pytest.fixture
def pictures(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """A folder with four pictures, three of one size."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(64, 48), (64, 48), (56, 72), (64, 48)]):
        make_picture(folder / f"{number}.png", *size, seed=number)
    return folder


def figures(folder: Path | str) -> list[dict]:
    """The records, without what two runs need not share."""
    return [
        {key: value for key, value in record.to_dict().items() if key not in ("encode_ms", "decode_ms", "device")}
        for record in read_records(Path(folder))
    ]


def cells(folder: Path | str) -> dict[str, int]:
    """Every stored cell with the time at which it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (Path(folder) / "cells").glob("*.json")}


def write_cell(path: Path, content: dict) -> None:
    """A cell's file with the checksum of what it says now."""
    text = json.dumps({key: value for key, value in content.items() if key != "sha256"}).removesuffix("}")
    path.write_text(f'{text}, "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n')


def test_a_grid_of_learned_and_digital_systems(openjscc, pictures: Path) -> None:
    arguments = [
        "--systems",
        f"adjscc,{DIGITAL},jpeg-capacity",
        "--data",
        pictures,
        "--snr",
        "4,10",
        "--channel",
        "awgn,rayleigh:block",
    ]
    result = openjscc("bench", *arguments, "--ratio", "1/6", "--trials", 2, "-o", "out", "--json")
    result.assert_ok()
    records = read_records(Path("out/records.csv"))
    assert [record.to_dict() for record in records] == json.loads(result.out)
    assert len(records) == 3 * 2 * 2 * 2
    assert len(cells("out")) == 3 * 2 * 2
    first = records[0]
    assert (first.system, first.weight, first.channel, first.snr_db) == ("adjscc", "adjscc.photo", "awgn", 4.0)
    assert first.weight_sha256
    assert len(first.weight_sha256) == 64
    assert first.data_sha256
    assert len(first.data_sha256) == 64
    assert first.cpp == pytest.approx(3 * first.bandwidth_ratio)
    assert first.channel_uses
    assert first.encode_ms
    assert first.device
    assert first.device.startswith("cpu")
    assert set(first.versions or {}) >= {"python", "torch", "numpy"}
    assert (first.images, first.trials) == (4, 2)
    assert first.ci95_noise is not None
    stored = json.loads(next(iter(Path("out/cells").glob("*.json"))).read_text())
    assert stored["pictures"]["ids"] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(len(row) == 2 for row in stored["pictures"]["values"]["psnr"])


def test_the_same_figures_as_eval(openjscc, pictures: Path) -> None:
    arguments = ["--systems", f"adjscc,{DIGITAL}", "--data", pictures, "--snr", "4,10", "--trials", 2]
    openjscc("bench", *arguments, "-o", "out").assert_ok()
    openjscc("eval", *arguments, "-o", "eval.csv").assert_ok()
    evaluated = {(r.system, r.metric, r.snr_db): r.mean for r in read_records(Path("eval.csv"))}
    for record in read_records(Path("out/records.csv")):
        assert record.mean == pytest.approx(evaluated[record.system, record.metric, record.snr_db], abs=1e-6)


def test_what_is_there_is_not_measured_again(openjscc, pictures: Path) -> None:
    arguments = ["--data", pictures, "--metrics", "psnr", "-o", "out"]
    openjscc("bench", *arguments, "--snr", "4,10").assert_ok()
    before = cells("out")
    more = openjscc("bench", *arguments, "--snr", "4,7,10")
    more.assert_ok()
    assert "2 of 3 cells" in more.err
    after = cells("out")
    assert len(after) == 3
    assert all(after[name] == written for name, written in before.items())
    assert [record["snr_db"] for record in figures("out")] == [4.0, 7.0, 10.0]
    openjscc("bench", *arguments, "--snr", "4", "--seed", 1).assert_ok()
    assert len(cells("out")) == 4, "another seed is another cell"


def test_ctrl_c_keeps_the_cells_that_are_through(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import run as grid

    arguments = ["bench", "--data", pictures, "--snr", "0:8:2", "--metrics", "psnr"]
    openjscc(*arguments, "-o", "whole").assert_ok()
    real, calls = grid.measure_cell, []

    def interrupted(*positional, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*positional, **named)

    monkeypatch.setattr(grid, "measure_cell", interrupted)
    result = openjscc(*arguments, "-o", "out")
    assert result.code == 130
    assert "goes on from here" in result.err
    assert len(cells("out")) == 2
    before = cells("out")
    monkeypatch.setattr(grid, "measure_cell", real)
    openjscc(*arguments, "-o", "out").assert_ok()
    assert before.items() <= cells("out").items()
    assert figures("out") == figures("whole")


@pytest.mark.slow
def test_a_killed_run_goes_on(openjscc, pictures: Path, tiny_weights: Path) -> None:
    arguments = ["bench", "--data", str(pictures), "--snr", "0:19:1", "--metrics", "psnr,ssim", "--trials", "4", "-o", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "openjscc", *arguments], env={**os.environ, "OPENJSCC_WEIGHTS": str(tiny_weights)}
    )
    deadline = time.monotonic() + 120
    while len(cells("out")) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = cells("out")
    assert len(before) >= 2
    openjscc(*arguments).assert_ok()
    assert before.items() <= cells("out").items()
    openjscc(*arguments[:-1], "whole").assert_ok()
    assert figures("out") == figures("whole")


def test_an_error_in_one_cell_is_a_record(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.bench import cells as grid

    real = grid.measure

    def failing(codec, x, point, *rest, **named):
        if point.snr_db == 4:
            raise RuntimeError("out of luck")
        return real(codec, x, point, *rest, **named)

    monkeypatch.setattr(grid, "measure", failing)
    result = openjscc("bench", "--data", pictures, "--snr", "1,4,7", "--metrics", "psnr", "-o", "out")
    assert result.code == 1
    assert "out of luck" in result.err
    records = read_records(Path("out/records.csv"))
    assert [record.error for record in records] == [None, "RuntimeError: out of luck", None]
    assert records[1].mean is None
    assert len(cells("out")) == 2, "the next run tries it again"


def test_figures_do_not_depend_on_jobs(openjscc, pictures: Path) -> None:
    arguments = ["bench", "--systems", f"adjscc,{DIGITAL}", "--data", pictures, "--snr", "4,10", "--metrics", "psnr"]
    openjscc(*arguments, "-o", "one", "-j", 1).assert_ok()
    openjscc(*arguments, "-o", "three", "-j", 3).assert_ok()
    assert figures("one") == figures("three")


@pytest.mark.slow
def test_the_same_command_twice_shares_the_cells(openjscc, pictures: Path, tiny_weights: Path) -> None:
    arguments = ["bench", "--systems", f"adjscc,{DIGITAL}", "--data", str(pictures), "--snr", "1,4,7", "--metrics", "psnr"]
    openjscc(*arguments, "-o", "one").assert_ok()
    environment = {**os.environ, "OPENJSCC_WEIGHTS": str(tiny_weights), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "openjscc", *arguments, "-o", "two", "--json"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert figures("one") == figures("two")
    assert len(json.loads(reports[0])) == len(json.loads(reports[1])) == 6, "each reports all cells"
    assert len(cells("two")) == 6


def test_trials_go_on_until_the_interval_is_narrow(openjscc, pictures: Path) -> None:
    arguments = ["bench", "--data", pictures, "--channel", "rayleigh:fast", "--snr", "3", "--metrics", "psnr,ssim"]
    openjscc(*arguments, "--trials", 2, "-o", "two").assert_ok()
    wide = read_records(Path("two/records.csv"))[0].ci95_noise
    assert wide is not None
    openjscc(*arguments, "--trials", 2, "--until", f"psnr={wide / 8}", "--max-trials", 60, "-o", "many").assert_ok()
    record = read_records(Path("many/records.csv"))[0]
    assert record.trials > 2
    assert record.ci95_noise is not None
    assert record.ci95_noise <= wide / 8 or record.trials == 60
    openjscc(*arguments, "--until", "psnr=1e-9", "--max-trials", 5, "-o", "cap").assert_ok()
    assert read_records(Path("cap/records.csv"))[0].trials == 5


def test_added_trials_advance_the_bar(pictures: Path, make_codec) -> None:
    dataset = open_dataset(str(pictures))
    precision = Precision(2, 1e-9, "psnr", 5)
    plan = plan_cells(
        [("adjscc", make_codec(), (None,))], dataset, channels=["awgn"], snr_db=[3.0], metrics=["psnr"], precision=precision
    )
    done: list[int] = []
    more: list[int] = []
    measure_cell(plan, plan.cells[0], dataset, advance=done.append, extend=more.append)
    assert sum(done) == 4 * 5
    assert sum(more) == 4 * 3


def test_the_bar_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("sent", 2) as bar:
        bar(2)
        bar.extend(3)
        bar(3)
    assert "5/5" in terminal.getvalue()


def test_a_metric_of_all_pictures(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distance between the mean colours of all sources and all reconstructions, which is no mean over pictures."""

    def gather(x, y):
        return list(np.stack([x.mean((2, 3)).numpy(), y.mean((2, 3)).numpy()], axis=1))

    def summary(entries):
        mean = np.mean(np.stack(entries), axis=0)
        return float(np.abs(mean[0] - mean[1]).sum())

    row = dataclasses.replace(metrics.METRICS["fd_vgg16"], name="colour", needs="", gather=gather, summary=summary)
    monkeypatch.setitem(metrics.METRICS, "colour", row)
    arguments = ["--data", pictures, "--metrics", "colour,psnr", "--trials", 3, "--snr", "0"]
    openjscc("bench", *arguments, "-o", "out").assert_ok()
    colour, psnr = read_records(Path("out/records.csv"))
    assert (colour.metric, psnr.metric) == ("colour", "psnr")
    assert (colour.images, colour.trials, colour.ci95, colour.std) == (4, 3, None, None)
    assert colour.ci95_noise is not None
    assert colour.mean is not None
    assert colour.mean > 0
    openjscc("eval", *arguments, "-o", "eval.csv").assert_ok()
    assert read_records(Path("eval.csv"))[0].mean == pytest.approx(colour.mean, rel=1e-6)


def test_metrics_are_checked_before_the_work(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(pictures))
    monkeypatch.setenv("TORCH_HOME", str(pictures))
    openjscc("bench", "--data", pictures, "--metrics", "psnr,fid", "-o", "out").assert_error(3, "nception")
    openjscc("bench", "--data", pictures, "--metrics", "psnr,miou", "-o", "out").assert_error(2, "miou")


def test_how_many_more_trials() -> None:
    measured = Measured(values={"psnr": [[30.0]]}, arrived=[[True]])
    assert _wanted(measured, Precision(1)) == 0
    assert _wanted(measured, Precision(1, 0.1)) == 7
    assert _wanted(measured, Precision(1, 0.1, most=3)) == 2
    three = Measured(values={"psnr": [[30.0, 31.0, 32.0]]}, arrived=[[True] * 3])
    assert _wanted(three, Precision(1, 10.0)) == 5, "no interval of so few is believed"
    spread = Measured(values={"psnr": [[30.0, 31.0, 32.0, 33.0] * 2]}, arrived=[[True] * 8])
    assert 1 <= _wanted(spread, Precision(1, 0.5)) <= 8
    assert _wanted(spread, Precision(1, 0.5, most=8)) == 0
    assert _wanted(spread, Precision(1, 10.0)) == 0
    infinite = Measured(values={"psnr": [[float("inf")] * 8]}, arrived=[[True] * 8])
    assert _wanted(infinite, Precision(1, 0.5)) == 0


def test_an_interval_that_ended_the_trials_is_nearly_as_sure_as_it_says() -> None:
    random, held = np.random.default_rng(0), 0
    for _ in range(1000):
        values = [float(random.normal())]
        while more := _wanted(Measured(values={"psnr": [values]}, arrived=[[True] * len(values)]), Precision(1, 0.6)):
            values = [*values, *random.normal(size=more).tolist()]
        half = half_width_95(values)
        assert half is not None
        assert half <= 0.6
        held += abs(fmean(values)) <= half
    assert held > 905


def test_what_was_collected_is_not_held_for_hours(pictures: Path, make_codec, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(metrics.METRICS["fd_vgg16"], name="sum", needs="", gather=lambda x, y: [*y.numpy()], summary=len)
    monkeypatch.setitem(metrics.METRICS, "sum", entry)
    dataset = open_dataset(str(pictures), limit=2)
    plan = plan_cells(
        [("tiny", make_codec(), (None,))], dataset, channels=["awgn"], snr_db=[10.0], metrics=["sum"], precision=Precision(2)
    )
    result = measure_cell(plan, plan.cells[0], dataset)
    assert result.records[0].mean == 2
    assert result.measured is not None
    assert result.measured.collected == {}


def test_pictures_are_kept_with_their_cells(openjscc, tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    """Also of cells that were measured without; never by halves; two of one name are two."""
    for number, name in enumerate(["a/x.png", "b/x.png", "y.png"]):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_picture(tmp_path / "in" / name, seed=number)
    arguments = ["bench", "--data", "in", "--metrics", "psnr", "--snr", "4,10", "-o", "out"]
    openjscc(*arguments).assert_ok()
    plain = cells("out")
    openjscc(*arguments, "--keep", 3).assert_ok()
    kept = read_kept(Path("out/pictures"))
    assert [item.picture for item in kept] == ["a/x.png", "b/x.png", "y.png"] * 2
    assert len({(Path("out/pictures") / item.file).read_bytes() for item in kept}) == 6
    before = cells("out")
    assert before.keys() == plain.keys()
    openjscc(*arguments, "--keep", 2).assert_ok()
    assert cells("out") == before
    (Path("out/pictures") / kept[0].file).unlink()
    openjscc(*arguments, "--keep", 3).assert_ok()
    assert sum(before[name] != written for name, written in cells("out").items()) == 1
    assert (Path("out/pictures") / kept[0].file).exists()


def test_a_cell_is_noted_after_its_pictures(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed between the two measures the cell again."""
    from openjscc.bench import run as grid

    def killed(*positional, **named):
        raise KeyboardInterrupt

    real = grid.store
    monkeypatch.setattr(grid, "store", killed)
    arguments = ["bench", "--data", pictures, "--metrics", "psnr", "--keep", 1, "-o", "out"]
    assert openjscc(*arguments).code == 130
    assert len(read_kept(Path("out/pictures"))) == 1
    monkeypatch.setattr(grid, "store", real)
    openjscc(*arguments).assert_ok()
    assert len(read_kept(Path("out/pictures"))) == 1


def test_cells_of_another_source_coder_or_version(openjscc, pictures: Path) -> None:
    arguments = ["bench", "--systems", f"adjscc,{DIGITAL}", "--data", pictures, "--metrics", "psnr", "--snr", "10", "-o", "out"]
    openjscc(*arguments).assert_ok()
    for path in Path("out/cells").glob("*.json"):
        content = json.loads(path.read_text())
        (record,) = content["records"]
        if record["tool"] is None:
            record["versions"]["torch"] = "1.0"
        else:
            record["tool"] = "jpeg 1"
        write_cell(path, content)
    again = openjscc(*arguments)
    again.assert_ok()
    assert "1 of 2 cells are there already" in again.err
    assert "1 of them are of another version" in again.err
    assert read_records(Path("out/records.csv"))[1].tool != "jpeg 1"


def test_the_device_is_where_networks_compute(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second device is one for tests. Cells of both are the same ones, with a note."""
    arguments = ["bench", "--systems", f"adjscc,{DIGITAL}", "--data", pictures, "--metrics", "psnr", "-j", 1]
    openjscc(*arguments, "-o", "near").assert_ok()
    again = openjscc(*arguments, "-o", "near", "--device", "cpu")
    again.assert_ok()
    assert "2 of 2 cells are there already" in again.err
    assert "device" not in again.err
    with far_device(), monkeypatch.context() as patch:
        patch.setattr("openjscc.devices.find_device", lambda name: {"cuda": FAR}[name])
        openjscc(*arguments, "-o", "far", "--device", "cuda").assert_ok()
    assert figures("far") == figures("near")
    names = [str(record.device).partition(":")[0] for record in read_records(Path("far/records.csv"))]
    assert names == ["meta", "cpu"]
    mixed = openjscc(*arguments, "-o", "far")
    mixed.assert_ok()
    assert "2 of 2 cells are there already" in mixed.err
    assert "note: 1 of them are of another device (meta: " in mixed.err


@pytest.mark.parametrize("damage", ["cut", "empty", "digit", "unsealed", "format", "cell", "deep"])
def test_a_damaged_cell_is_named(openjscc, pictures: Path, damage: str) -> None:
    arguments = ["bench", "--data", pictures, "--metrics", "psnr", "--snr", "4,10", "-o", "out"]
    openjscc(*arguments).assert_ok()
    path, other = sorted(Path("out/cells").glob("*.json"))
    text, content = path.read_text(), json.loads(path.read_text())
    if damage in ("cut", "empty"):
        path.write_text(text[: 100 if damage == "cut" else 0])
    elif damage == "digit":
        mean = repr(content["records"][0]["mean"])
        path.write_text(text.replace(mean, "99.0", 1))
    elif damage == "unsealed":
        path.write_text(json.dumps({key: value for key, value in content.items() if key != "sha256"}))
    elif damage == "deep":
        path.write_text("[" * 20000)
    elif damage == "cell":
        path.write_text(other.read_text())
    else:
        write_cell(path, content | {"format": 1})
    openjscc(*arguments).assert_error(4, path.name)


def test_a_kept_image_that_is_another_one_now_is_noticed(openjscc, pictures: Path) -> None:
    arguments = ["bench", "--data", pictures, "--metrics", "psnr", "--keep", 1, "-o", "out"]
    openjscc(*arguments).assert_ok()
    assert "1 of 1 cells are there already" in openjscc(*arguments).err
    (kept,) = Path("out/pictures").rglob("*.png")
    original = kept.read_bytes()
    shutil.copy(pictures / "1.png", kept)
    openjscc("plot", "out", "--kind", "strip", "--picture", "0.png", "-o", "strip.png").assert_error(4, kept.name)
    again = openjscc(*arguments)
    again.assert_ok()
    assert "are there already" not in again.err
    assert kept.read_bytes() == original


def test_two_commands_in_one_folder_share_the_cells(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this one is at work, another one holds the first cell and finishes it, and has measured the third."""
    from openjscc.bench import run as grid

    arguments = ["bench", "--data", pictures, "--snr", "1,4,7", "--metrics", "psnr", "--keep", 1]
    openjscc(*arguments, "-o", "whole").assert_ok()
    first, second, third = [record["snr_db"] for record in figures("whole")]
    by_snr = {json.loads(path.read_text())["cell"]["snr_db"]: path for path in Path("whole/cells").glob("*.json")}
    real, measured = grid.measure_cell, []
    claim = claimed(Path("out/cells", by_snr[first].name).with_suffix(".lock"), wait=False)
    assert claim.__enter__()

    def measure_one(plan, cell, *rest, **named):
        measured.append(cell.snr_db)
        for snr_db in (first, third):  # the other command
            shutil.copytree(Path("whole/pictures", by_snr[snr_db].stem), Path("out/pictures", by_snr[snr_db].stem))
            entries = [kept for kept in read_kept(Path("whole/pictures")) if kept.snr_db == snr_db]
            add_kept(Path("out/pictures"), entries)
            shutil.copy(by_snr[snr_db], "out/cells")
        claim.__exit__(None, None, None)
        return real(plan, cell, *rest, **named)

    monkeypatch.setattr(grid, "measure_cell", measure_one)
    result = openjscc(*arguments, "-o", "out")
    result.assert_ok()
    assert measured == [second]
    assert "2 cells were measured by another command meanwhile" in result.err
    assert figures("out") == figures("whole")
    assert len(read_kept(Path("out/pictures"))) == 3
    assert not [path for path in Path("out").rglob("*") if path.suffix == ".lock"]


@pytest.mark.slow
def test_two_commands_at_once(openjscc, pictures: Path, tiny_weights: Path) -> None:
    arguments = ["--data", str(pictures), "--snr", "0:9:1", "--metrics", "psnr", "--trials", "4", "--keep", "2", "-o", "out"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "openjscc", "bench", *arguments],
            env={**os.environ, "OPENJSCC_WEIGHTS": str(tiny_weights), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "error" not in "".join(said)
    assert len(cells("out")) == 10
    assert len(read_kept(Path("out/pictures"))) == 20
    openjscc("bench", *arguments[:-1], "whole").assert_ok()
    assert figures("out") == figures("whole")


def test_no_trial_repeats_the_noise_of_another(openjscc, pictures: Path) -> None:
    """Also those that --until adds."""
    until = ("--until", "psnr=0.001", "--max-trials", 12)
    openjscc("bench", "--data", pictures, "--metrics", "psnr", "--snr", "1", "--trials", 2, *until, "-o", "out").assert_ok()
    (path,) = Path("out/cells").glob("*.json")
    values = json.loads(path.read_text())["pictures"]["values"]["psnr"]
    assert all(len(row) == 12 for row in values)
    assert all(len(set(row)) == 12 for row in values)
    openjscc("eval", "--data", pictures, "--metrics", "psnr", "--snr", "1", "--trials", 12, "-o", "all.csv").assert_ok()
    (record,) = read_records(Path("all.csv"))
    assert record.mean == pytest.approx(fmean(value for row in values for value in row), abs=1e-6), "as if asked for at once"


def test_a_cell_is_known_by_all_that_its_figures_depend_on() -> None:
    cell = Cell("adjscc", "adjscc.photo", "0" * 64, "kodak", "1" * 64, "awgn", 1 / 6, 10.0, None, ("psnr",), Precision(2), 0)
    assert cell.key == "a94c45c3c6dcc821", "stored cells are found by it"
    others = {
        "system": "adjscc.photo", "weight": "adjscc.cifar10", "weight_sha256": "2" * 64, "data": "div2k", "data_sha256": "2" * 64,
        "channel": "rayleigh:block", "ratio": 1 / 12, "snr_db": 11.0, "told_snr_db": 10.0, "metrics": ("ssim",),
        "precision": Precision(3), "seed": 1, "task_networks": (("classifier.cifar10", "3" * 64),), "masks_sha256": "3" * 64,
    }  # fmt: skip
    assert set(others) == {field.name for field in dataclasses.fields(Cell)}, "a new field needs a line here"
    keys = {name: dataclasses.replace(cell, **{name: value}).key for name, value in others.items()}
    assert len({cell.key, *keys.values()}) == len(others) + 1, keys


def test_cells_tell_weights_pictures_and_what_the_transmitter_is_told(pictures: Path, tiny_weights: Path) -> None:
    codec, data = load(str(tiny_weights / "adjscc.photo.safetensors")), open_dataset(pictures)

    def cell(told: float | None = None, sha256: str = "", limit: int | None = None) -> Cell:
        seen = codec
        if sha256:
            seen = copy.copy(codec)
            seen.weight = dataclasses.replace(codec.weight, sha256=sha256)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        some = data if limit is None else open_dataset(pictures, limit=limit)
        plan = plan_cells(
            [("adjscc", seen, (None,))], some, channels=("awgn",), snr_db=(10.0,), metrics=("psnr",), precision=Precision(),
            told_snr_db=told,
        )  # fmt: skip
        return plan.cells[0]

    others = (cell(told=3.0), cell(told=10.0), cell(sha256="0" * 64), cell(limit=3))
    assert cell().key == cell().key
    assert len({cell().key, *(other.key for other in others)}) == 5
    assert (others[0].told_snr_db, others[2].weight_sha256) == (3.0, "0" * 64)


def test_a_transmitter_that_is_wrong_about_the_snr(openjscc, pictures: Path) -> None:
    arguments = ["--systems", "adjscc", "--data", pictures, "--snr", "1", "--metrics", "psnr"]
    right, wrong = [
        openjscc("bench", *arguments, *told, "-o", "out") and read_records(Path("out/records.csv"))[0]
        for told in ((), ("--told-snr", 20))
    ]
    assert len(cells("out")) == 2
    assert (right.told_snr_db, wrong.told_snr_db) == (None, 20)
    openjscc("eval", *arguments, "--told-snr", 20, "-o", "eval.csv").assert_ok()
    (evaluated,) = read_records(Path("eval.csv"))
    assert wrong.mean == pytest.approx(evaluated.mean, abs=1e-6)
    assert wrong.mean != pytest.approx(right.mean, abs=1e-4)


def test_bad_input(openjscc, pictures: Path, photo: Path) -> None:
    openjscc("bench", "--data", pictures, "-o", photo).assert_error(2, "photo.png")
    openjscc("bench", "--data", pictures, "-o", "out", "--until", "psnr").assert_error(2, "psnr")
    openjscc("bench", "--data", pictures, "-o", "out", "--until", "lpips=0.1").assert_error(2, "lpips")
    openjscc("bench", "--data", pictures, "-o", "out", "--until", "psnr=inf").assert_error(2, "psnr=inf")
    openjscc("bench", "--data", pictures, "-o", "out", "--max-trials", 3).assert_error(2, "--until")
    openjscc("bench", "--data", pictures, "-o", "out", "--systems", "adjscc,nothing").assert_error(2, "nothing")
    openjscc("bench", "--data", "absent", "-o", "out").assert_error(2, "absent")
    openjscc("bench", "--data", "absent", "-o", photo / "out").assert_error(2, "photo.png is a file")
    openjscc("bench", "--data", pictures, "-o", "out", "--metrics", "psnr,snr").assert_error(2, "snr")
    openjscc("bench", "--data", pictures, "-o", "out", "--ratio", "1/7").assert_error(2, "1/7")
    assert not Path("out").exists(), "made once everything else is right"
