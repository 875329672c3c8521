"""``openjscc eval`` and the sweep behind it: records, statistics, independence of the batch."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import PixelCodec
from openjscc import load, transmit
from openjscc.bench import Interrupted, Record, Sweep, evaluate, read_records, summarise, write_records
from openjscc.bench.cells import plan_cells
from openjscc.bench.measure import measure
from openjscc.bench.point import Precision
from openjscc.bench.records import to_json
from openjscc.bench.statistics import share_half_width_95, student_t_975
from openjscc.data.datasets import open_dataset
from openjscc.errors import IntegrityError, UsageError
from openjscc.models import create
from openjscc.report.layout import arrange

KEYS = [
    "system", "weight", "metric", "channel", "snr_db", "ratio", "mean", "std", "ci95", "images", "trials", "bandwidth_ratio",
    "parameters", "macs_per_pixel", "data", "seed", "outage_rate", "mean_arrived", "bound", "tool", "told_snr_db",
    "task", "task_network", "task_network_sha256", "ci95_noise", "weight_sha256", "data_sha256", "masks_sha256",
    "channel_uses", "cpp", "encode_ms", "decode_ms", "device", "versions", "commit", "error", "infinite",
    "mean_finite", "account",
]  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """A folder with four pictures, three of one size."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(16, 16), (16, 16), (24, 20), (16, 16)]):
        make_picture(folder / f"{number}.png", *size, seed=number)
    return folder


@pytest.fixture
def codec(tiny_weights: Path):
    return load(tiny_weights / "adjscc.photo.safetensors")


def test_what_a_folder_leaves_out_is_said(openjscc, pictures: Path, tmp_path: Path) -> None:
    (pictures / "linked").symlink_to(tmp_path)
    result = openjscc("eval", "adjscc", "--data", str(pictures), "--snr", "10", "--limit", "1")
    result.assert_ok()
    assert "note: 1 left out: linked (a linked folder)" in result.err.splitlines()


def test_systems_are_named_as_arguments_or_as_an_option(openjscc, pictures: Path) -> None:
    common = ("--data", pictures, "--ratio", "1/6", "--json")
    (one, other) = (openjscc("eval", *words, *common) for words in (("adjscc", "deepjscc"), ("--systems", "adjscc,deepjscc")))
    one.assert_ok()
    systems = [[record["system"] for record in json.loads(result.out)] for result in (one, other)]
    assert systems[0] == systems[1] == ["adjscc", "adjscc", "deepjscc", "deepjscc"]
    openjscc("eval", "adjscc", "--systems", "deepjscc", *common).assert_error(2, "adjscc", "deepjscc", "twice")


def test_table(openjscc, pictures: Path) -> None:
    result = openjscc("eval", "--data", pictures, "--systems", "adjscc,deepjscc", "--snr", "0,10", "--ratio", "1/12,1/6")
    result.assert_ok()
    lines = result.out.splitlines()
    assert len(lines) == 1 + 2 * 2 * 2
    assert "psnr (dB)" in lines[0]
    assert "ssim" in lines[0]
    assert lines[1].split()[:4] == ["adjscc.photo", "awgn", "0", "1/12"]
    assert "\x1b" not in result.out + result.err


def test_a_table_has_intervals_from_six_images_up(openjscc, pictures: Path, make_picture: Callable[..., Path]) -> None:
    make_picture(pictures / "4.png", 16, 16, seed=4)
    few = openjscc("eval", "--data", pictures, "--ratio", "1/6", "-o", "few.csv")
    few.assert_ok()
    assert "±" not in few.out
    assert few.err.count("note: no 95 % interval: there are fewer than 6 images\n") == 1
    assert all(record.ci95 for record in read_records(Path("few.csv")))
    make_picture(pictures / "5.png", 16, 16, seed=5)
    enough = openjscc("eval", "--data", pictures, "--ratio", "1/6")
    enough.assert_ok()
    assert enough.out.count("±") == 2
    assert "interval" not in enough.err


def test_two_files_with_weights_of_one_name_are_two_lines(openjscc, pictures: Path, tiny_weights: Path) -> None:
    files = []
    for folder in ("a", "b"):
        Path(folder).mkdir()
        files.append(shutil.copy(tiny_weights / "adjscc.photo.safetensors", folder))
    result = openjscc("eval", "--data", pictures, "--systems", f"{files[0]},{files[1]},deepjscc")
    result.assert_ok()
    assert [line.split()[0] for line in result.out.splitlines()[1:]] == [*files, "deepjscc.photo"]


def test_a_ratio_that_a_codec_does_not_have(pictures: Path) -> None:
    """It is neither measured at the next one, nor noted as another one than the codec's own default."""
    dataset, metrics = open_dataset(pictures), ("psnr",)
    (record,) = evaluate(PixelCodec(), dataset, Sweep(ratios=(None,), metrics=metrics))
    assert record.ratio == PixelCodec.ratios[0]
    with pytest.raises(UsageError, match="no bandwidth ratio 1/7"):
        evaluate(PixelCodec(), dataset, Sweep(ratios=(1 / 7,), metrics=metrics))
    with pytest.raises(UsageError, match="no bandwidth ratio 1/7"):
        plan_cells(
            [("pixels", PixelCodec(), (1 / 7,))], dataset, channels=["awgn"], snr_db=[1.0], metrics=metrics, precision=Precision()
        )


def test_what_a_policy_chooses_is_no_ratio_that_was_asked_for(pictures: Path) -> None:
    torch.manual_seed(0)
    codec = create("arjscc", "small").eval()
    with torch.no_grad():
        list(codec.get_submodule("policy").parameters())[-1][1] += 100.0  # always the second of its rates
    x = open_dataset(pictures)[0][None].float() / 255
    sweep = Sweep(ratios=(None, codec.ratios[-1]))
    own, asked = (cell.point for cell in sweep.plan([("arjscc", codec, sweep.ratios)], open_dataset(pictures)).cells)
    assert (own.ratio, asked.ratio) == (None, codec.ratios[-1])
    for point, rate in ((own, 1), (asked, -1)):
        sent = transmit(codec, "awgn", x, 10.0, ratio=codec.ratios[rate])
        assert measure(codec, x, point, ("psnr",), trials=range(1), seed=0).uses == [[int(sent.frame.length)]]


def test_json_records(openjscc, pictures: Path) -> None:
    arguments = ["--snr", "0:10:5", "--channel", "awgn,rician:4", "--trials", 2, "--seed", 5, "--limit", 3, "--metrics", "psnr"]
    result = openjscc("eval", "--data", pictures, *arguments, "--json", "-o", "records.csv")
    result.assert_ok()
    records = json.loads(result.out)
    assert len(records) == 2 * 3
    assert all(list(record) == KEYS for record in records)
    first = records[0]
    expected = {"system": "adjscc", "weight": "adjscc.photo", "metric": "psnr", "channel": "awgn", "snr_db": 0.0, "images": 3}
    assert first.items() >= (expected | {"trials": 2, "data": str(pictures), "seed": 5}).items()
    assert first["ratio"] == pytest.approx(1 / 6)
    uses = [124 + 8 * 16, 124 + 8 * 16, 124 + 8 * 30]
    ratio = np.mean([k / (3 * pixels) for k, pixels in zip(uses, (256, 256, 480), strict=True)])
    assert first["bandwidth_ratio"] == pytest.approx(ratio, rel=1e-12)
    assert first["parameters"] > 0
    assert first["macs_per_pixel"] > 0
    assert [record.to_dict() for record in read_records(Path("records.csv"))] == records


def test_the_figures_are_those_of_transmit(codec, pictures: Path) -> None:
    from openjscc.metrics import psnr

    dataset = open_dataset(pictures)
    (record,) = evaluate(codec, dataset, Sweep(("rayleigh:block",), (7.0,), (1 / 12,), ("psnr",), trials=2, seed=3))
    values = []
    for number in range(len(dataset)):
        x = dataset[number][None].float() / 255
        images = [transmit(codec, "rayleigh:block", x, 7.0, ratio=1 / 12, seed=3, trial=trial).image for trial in range(2)]
        values.append([psnr(x, image).item() for image in images if image is not None])
    expected = summarise(values)
    assert record.mean == pytest.approx(expected.mean, abs=1e-3)
    assert record.std == pytest.approx(expected.std, abs=1e-3)
    assert record.ci95 == pytest.approx(expected.ci95, abs=1e-3)
    assert (record.images, record.trials) == (4, 2)


@pytest.mark.parametrize("channel", ["awgn", "rayleigh:fast"])
def test_figures_do_not_depend_on_the_batch(codec, pictures: Path, channel: str) -> None:
    sweep = Sweep((channel,), (0.0, 10.0), (1 / 12, 1 / 6), trials=2)
    dataset = open_dataset(pictures)
    one, many = (evaluate(codec, dataset, sweep, batch_pixels=pixels) for pixels in (1, 2**20))
    assert len(one) == len(many) == 8
    for a, b in zip(one, many, strict=True):
        assert a.mean == pytest.approx(b.mean, abs=1e-3)
        assert a.ci95 == pytest.approx(b.ci95, abs=1e-3)
        inexact = dict.fromkeys(("mean", "std", "ci95", "ci95_noise", "mean_arrived", "encode_ms", "decode_ms"), 0.0)
        assert dataclasses.replace(a, **inexact) == dataclasses.replace(b, **inexact)


def test_batches_hold_neighbours_of_one_size(codec, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    encode = type(codec).encode
    monkeypatch.setattr(
        type(codec), "encode", lambda self, x, conditions: shapes.append(tuple(x.shape)) or encode(self, x, conditions)
    )
    counted = []
    evaluate(codec, open_dataset(pictures), Sweep(), advance=counted.append)
    assert shapes == [(2, 3, 16, 16), (1, 3, 20, 24), (1, 3, 16, 16)]
    assert sum(counted) == 4


def test_data_chooses_the_weight(openjscc, tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    labels = np.zeros(5, dtype=np.int64)
    np.savez(tmp_path / "cifar10" / "cifar10.npz", x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    result = openjscc("eval", "--data", "cifar10", "--data-dir", tmp_path, "--json")
    result.assert_ok()
    assert {record["weight"] for record in json.loads(result.out)} == {"adjscc.cifar10"}
    assert {record["system"] for record in json.loads(result.out)} == {"adjscc"}
    assert "miniature" in result.err


def test_one_picture_has_no_interval(openjscc, photo: Path) -> None:
    records = json.loads(openjscc("eval", "--data", photo.parent, "--json", "--trials", 3).out)
    assert all(record["ci95"] is None and record["std"] is not None for record in records)
    table = openjscc("eval", "--data", photo.parent)
    table.assert_ok()
    assert "±" not in table.out


def test_infinite_figures_are_null(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.metrics import METRICS

    broken = dataclasses.replace(METRICS["psnr"], function=lambda x, y: torch.full((len(x),), math.inf))
    monkeypatch.setitem(METRICS, "psnr", broken)
    result = openjscc("eval", "--data", pictures, "--metrics", "psnr", "--json")
    result.assert_ok()
    (record,) = json.loads(result.out)
    assert record["mean"] is None
    assert record["ci95"] is None
    assert "infinite" in openjscc("eval", "--data", pictures, "--metrics", "psnr").out


def test_one_identical_image_does_not_hide_the_others(openjscc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    Image.new("RGB", (64, 64), "black").save(folder / "a.png")
    Image.radial_gradient("L").convert("RGB").resize((64, 64)).save(folder / "b.png")
    asked = ("--data", folder, "--systems", "jpeg-ldpc", "--metrics", "psnr", "--snr", "20")
    (alone,) = json.loads(openjscc("eval", *asked, "--limit", "1", "--json").out)
    (record,) = json.loads(openjscc("eval", *asked, "--json").out)
    assert (alone["mean"], alone["infinite"], alone["mean_finite"]) == (None, 1, None)
    assert (record["mean"], record["infinite"]) == (None, 1)
    assert 20 < record["mean_finite"] < 60
    mean = f"{record['mean_finite']:.2f}"
    assert f"infinite ({mean} without 1 of 2)" in openjscc("eval", *asked).out
    openjscc("bench", *asked, "-o", tmp_path / "out").assert_ok()
    assert f"infinite ({mean} without 1 of 2)" in openjscc("bench", *asked, "-o", tmp_path / "out").out, "as stored, too"
    (kept,) = read_records(tmp_path / "out" / "records.csv")
    notes = arrange([kept], "snr_db", "psnr").notes
    assert notes == [f"JPEG+LDPC: 1 infinite, not drawn (means: {mean} without 1 of 2 images)"]


def test_existing_records_are_refused_before_any_work(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("r.csv").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr("openjscc.models.load", lambda *_: pytest.fail("loaded a model"))
        openjscc("eval", "--data", pictures, "-o", "r.csv").assert_error(2, "r.csv")
    assert Path("r.csv").read_text() == "mine"
    openjscc("eval", "--data", pictures, "-o", "r.csv", "-f").assert_ok()
    assert len(read_records(Path("r.csv"))) == 2


def test_an_interruption_keeps_what_is_through(openjscc, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.link import deliver

    calls = []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:  # the first of three batches at the second SNR
            raise KeyboardInterrupt
        return deliver(*arguments, **options)

    monkeypatch.setattr("openjscc.bench.measure.deliver", interrupted)
    result = openjscc("eval", "--data", pictures, "--snr", "0,10", "--metrics", "psnr", "--json", "-o", "part.csv")
    assert result.code == 130
    records = json.loads(result.out)
    assert [(record["snr_db"], record["images"]) for record in records] == [(0.0, 4)]
    assert [record.to_dict() for record in read_records(Path("part.csv"))] == records
    assert "interrupted" in result.err


def test_an_interruption_before_the_first_figure_leaves_old_results(openjscc, pictures: Path, monkeypatch) -> None:
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    Path("old.csv").write_text("mine")
    monkeypatch.setattr("openjscc.bench.measure.deliver", interrupted)
    result = openjscc("eval", "--data", pictures, "--metrics", "psnr", "-o", "old.csv", "-f")
    assert result.code == 130
    assert "written" not in result.err
    assert Path("old.csv").read_text() == "mine"


def test_figures_are_shown_where_the_file_cannot_be_written(openjscc, pictures: Path, monkeypatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.replace", full)
    result = openjscc("eval", "--data", pictures, "--metrics", "psnr", "-o", "r.csv")
    assert result.code == 1
    assert "adjscc.photo" in result.out


def test_interrupted_is_a_keyboard_interrupt() -> None:
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_summary_of_a_known_table() -> None:
    summary = summarise([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]])
    assert summary.mean == 6.0
    assert summary.std == pytest.approx(np.std([1, 3, 5, 7, 9, 11], ddof=1))
    assert summary.ci95 == pytest.approx(4.302652729911275 * 4.0 / math.sqrt(3))  # means 2, 6, 10
    assert (summary.images, summary.trials) == (3, 2)


def test_trials_of_one_picture_do_not_count_as_pictures() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(30, 3, size=(20, 1))
    few, many = (summarise(hard + rng.normal(0, 0.1, size=(20, trials))) for trials in (1, 200))
    assert few.ci95 is not None
    assert many.ci95 is not None
    assert many.ci95 == pytest.approx(few.ci95, rel=0.1)  # taking all values for independent would give a fourteenth


def test_the_interval_holds_its_promise() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        summary = summarise(rng.normal(0, 1, size=(5, 1)) + rng.normal(0, 0.5, size=(5, 3)))
        assert summary.ci95 is not None
        held += abs(summary.mean) <= summary.ci95
    assert 0.93 < held / 1000 < 0.97


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert share_half_width_95(0.5, 100) == pytest.approx(0.09617, abs=1e-5)  # from 0.4038 to 0.5962
    for right in (0.0, 1.0):
        assert summarise([[right]] * 3, share=True).ci95 == pytest.approx(1 - 0.438503)  # 3 of 3: from 0.4385
        assert summarise([[right]] * 3).ci95 == 0
    assert share_half_width_95(1.0, 1) is None
    assert share_half_width_95(0.2, 40) == pytest.approx(share_half_width_95(0.8, 40))


@pytest.mark.parametrize(("truth", "count"), [(0.5, 8), (0.9, 20), (0.99, 12), (0.03, 50)])
def test_the_interval_of_a_share_holds_its_promise(truth: float, count: int) -> None:
    right = np.random.default_rng(2).binomial(count, truth, 4000) / count
    held = np.mean([abs(share - truth) <= (share_half_width_95(share, count) or 0) for share in right])
    assert held >= 0.92  # of 8 pictures, the score interval itself holds 93 %


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706205), (2, 4.302653), (23, 2.068658), (1000, 1.962339)])
def test_students_quantile(degrees: int, quantile: float) -> None:
    """Against a printed table."""
    assert student_t_975(degrees) == pytest.approx(quantile, abs=1e-6)


@pytest.mark.parametrize("values", [[], [[]], [1.0, 2.0]])
def test_no_table_no_summary(values: list) -> None:
    with pytest.raises(ValueError, match="images, trials"):
        summarise(values)


RECORD = Record("a", "a.b", "psnr", "awgn", 1.0, 0.5, math.inf, math.nan, None, 2, 1, 0.1 + 0.2, None, None, "d", 0)
OTHER = dataclasses.replace(
    RECORD, system='a,"b"\r\n\r', mean=-0.0, std=5e-324, ratio=None, commit="12345e678901", tool="1.5", bound=True, error="",
    versions={"torch": "2"}, parameters=2**53 + 1,
)  # fmt: skip


def test_record_files(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_records(path, [RECORD, OTHER])
    read = [dataclasses.replace(RECORD, mean=None, std=None), dataclasses.replace(OTHER, error=None)]
    assert repr(read_records(path)) == repr(read)
    assert path.read_text().splitlines()[1].startswith("a,a.b,psnr,awgn,0.5,1.0,")
    assert json.loads((tmp_path / "r.run.json").read_text()).items() >= {"data": "d", "seed": 0, "account": 1}.items()
    write_records(tmp_path / "records.csv", [], {"more": [1]})
    assert read_records(tmp_path) == []
    assert json.loads((tmp_path / "run.json").read_text()) == {"more": [1]}
    printed = tmp_path / "printed.json"
    printed.write_text(to_json(read))
    assert read_records(printed) == read
    with pytest.raises(UsageError, match="absent"):
        read_records(tmp_path / "absent.csv")


def test_damaged_record_files(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_records(path, [RECORD])
    good, shared = path.read_text(), (tmp_path / "r.run.json").read_text()
    for content in (
        "", "[", good.replace("psnr,", ""), good.replace("mean", "colour"), good.replace(",0.5,", ",nan,"),
        good.replace(",2,", ",2.5,"), good.replace("0.30000000000000004", "1e999"), '"' + good, good + "x" * 200_000,
    ):  # fmt: skip
        path.write_text(content)
        with pytest.raises(IntegrityError, match=r"r\.csv"):
            read_records(path)
    path.write_text(good)
    for content in ("[", "[1]", shared.replace('"seed": 0', '"seed": "x"'), shared.replace('"seed": 0', '"mean": 0.0')):
        (tmp_path / "r.run.json").write_text(content)
        with pytest.raises(IntegrityError, match=r"r\.csv"):
            read_records(path)
    for content in ("[", "{}", "[1]", '[{"system": 3}]', '[{"colour": "red"}]'):
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(IntegrityError, match=r"r\.json"):
            read_records(tmp_path / "r.json")


@pytest.mark.parametrize("change", [{"trials": 0}, {"metrics": ("beauty",)}, {"channels": ("wire",)}, {"snr_db": (math.nan,)}])
def test_a_sweep_refuses_what_cannot_be_measured(change: dict) -> None:
    with pytest.raises(UsageError):
        Sweep(**change)


def untimed(records: list[dict]) -> list[dict]:
    """Without what no two runs share."""
    return [{key: value for key, value in record.items() if key not in ("encode_ms", "decode_ms")} for record in records]


DIGITAL = "jpeg-ldpc:mcs=qpsk-1/2-n1944"


@pytest.fixture
def larger(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    folder = tmp_path / "larger"
    folder.mkdir()
    for number in range(5):
        make_picture(folder / f"{number}.png", 128, 96, seed=number)
    return folder


def test_outages_are_counted_and_the_mean_is_given_with_and_without(openjscc, larger: Path) -> None:
    arguments = ["--channel", "rayleigh:block", "--snr", "4", "--trials", 4, "--metrics", "psnr"]
    result = openjscc("eval", "--systems", f"adjscc,{DIGITAL}", "--data", larger, *arguments, "--json")
    result.assert_ok()
    learned, digital = json.loads(result.out)
    codec = load("adjscc")
    paths = sorted(larger.glob("*.png"))
    arrived = [
        bool(transmit(codec, "rayleigh:block", path, 4.0, trial=trial).reconstruction.ok) for path in paths for trial in range(4)
    ]
    assert learned["outage_rate"] == pytest.approx(1 - sum(arrived) / 20)
    assert learned["tool"] is None
    lost = digital["outage_rate"]
    assert 0 < learned["outage_rate"] < lost < 1  # the header, sent four times, outlives QPSK 1/2
    assert learned["mean_arrived"] != learned["mean"]
    assert lost * 20 == pytest.approx(round(lost * 20))
    assert digital["mean_arrived"] > digital["mean"]
    assert "libjpeg" in digital["tool"]
    assert digital["bound"] is False
    table = openjscc("eval", "--systems", DIGITAL, "--data", larger, *arguments).out.splitlines()
    assert table[1].split()[-4:-2] == [f"{100 * lost:.3g}", "%"]
    result = openjscc("eval", "--systems", "adjscc", "--data", larger, "--snr", "4", "--metrics", "psnr", "--json")
    (awgn,) = json.loads(result.out)
    assert awgn["outage_rate"] == 0
    assert awgn["mean_arrived"] == awgn["mean"]


def test_figures_do_not_depend_on_the_number_of_jobs(openjscc, larger: Path) -> None:
    arguments = ["--systems", f"{DIGITAL},jpeg-capacity,adjscc", "--data", larger, "--snr", "2,6", "--trials", 2, "--json"]
    one, many = (untimed(json.loads(openjscc("eval", *arguments, "-j", jobs).out)) for jobs in (1, 3))
    assert len(one) == 3 * 2 * 2
    assert one == many


def test_a_transmitter_that_is_wrong_about_the_snr(openjscc, larger: Path) -> None:
    arguments = ["--systems", "jpeg-ldpc", "--data", larger, "--snr", "2", "--metrics", "psnr", "--json"]
    (right,) = json.loads(openjscc("eval", *arguments).out)
    (wrong,) = json.loads(openjscc("eval", *arguments, "--told-snr", 15).out)
    assert (right["outage_rate"], right["told_snr_db"]) == (0, None)
    assert (wrong["outage_rate"], wrong["told_snr_db"]) == (1, 15)
    assert wrong["mean_arrived"] is None
    openjscc("eval", "--data", larger, "--told-snr", "high").assert_error(2, "high")
    openjscc("eval", "--systems", "adjscc,jpeg-capacity", "--data", larger, "--told-snr", 3).assert_error(2, "jpeg-capacity")


def test_an_error_later_on_keeps_what_is_through(openjscc, larger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openjscc.digital.source import Jpeg
    from openjscc.errors import MissingError

    def missing(*arguments):
        raise MissingError("the coder is gone", "install it")

    monkeypatch.setattr(Jpeg, "encode", missing)
    result = openjscc("eval", "--systems", f"adjscc,{DIGITAL}", "--data", larger, "--metrics", "psnr", "-o", "part.csv")
    assert result.code == 3
    assert "the coder is gone" in result.err
    assert [record.system for record in read_records(Path("part.csv"))] == ["adjscc"]


def test_unknown_digital_systems_are_refused(openjscc, larger: Path) -> None:
    openjscc("eval", "--systems", "jpeg-ldcp", "--data", larger).assert_error(2, "jpeg-ldcp")
    openjscc("eval", "--systems", "jpeg-ldpc:pack=x", "--data", larger).assert_error(2, "pack=x")
