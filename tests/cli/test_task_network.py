"""``--task-network``: what a classifier sees, in eval, bench, plot and send."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openjscc.bench import read_records
from openjscc.models import create, export
from openjscc.tasks import CifarResNet, load_task_network, top_classes
from task_networks import labelled


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return labelled(tmp_path / "labelled.npz", side=32)


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """A small untrained ResNet as a public state dict."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.th"
    torch.save({"state_dict": CifarResNet(1).state_dict()}, path)
    return path


def test_eval_with_two_networks(openjscc, data: Path, resnet: Path) -> None:
    asked = ("eval", "--data", data, "--metrics", "psnr,accuracy,f1", "--task-network", f"classifier,{resnet}", "--snr", "10")
    result = openjscc(*asked)
    result.assert_ok()
    for title in ("psnr (dB)", "accuracy (classifier.cifar10)", "accuracy (tiny)", "f1 (tiny)"):
        assert title in result.out.splitlines()[0]
    records = json.loads(openjscc(*asked, "--json").out)
    assert [(record["metric"], record["task_network"]) for record in records] == [
        ("psnr", None),
        ("accuracy", "classifier.cifar10"),
        ("accuracy", "tiny"),
        ("f1", "classifier.cifar10"),
        ("f1", "tiny"),
    ]
    assert records[1]["task_network_sha256"] == load_task_network("classifier").sha256
    assert all(0 <= record["mean"] <= 1 for record in records[1:])


def test_bench_adds_a_network_to_a_folder(openjscc, data: Path, resnet: Path) -> None:
    grid = ("bench", "--data", data, "--metrics", "accuracy", "--snr", "0,10", "-o", "out")
    openjscc(*grid, "--task-network", "classifier").assert_ok()
    before = {path.name for path in Path("out/cells").iterdir()}
    result = openjscc(*grid, "--task-network", resnet, "--json")
    result.assert_ok()
    assert {record["task_network"] for record in json.loads(result.out)} == {"tiny"}
    after = {path.name for path in Path("out/cells").iterdir()}
    assert (len(before), len(after)) == (2, 4)
    again = openjscc(*grid, "--task-network", "classifier")
    assert "2 of 2 cells are there already" in again.err
    both = openjscc(*grid, "--task-network", f"classifier,{resnet}")
    both.assert_ok()
    values = json.loads(next(path for path in Path("out/cells").iterdir() if path.name not in after).read_text())["pictures"][
        "values"
    ]
    assert values.keys() == {"accuracy:classifier.cifar10", "accuracy:tiny"}
    assert all(value in (0.0, 1.0) for rows in values.values() for row in rows for value in row)


def test_plot_chooses_and_tells_networks_apart(openjscc, data: Path, resnet: Path) -> None:
    pytest.importorskip("matplotlib")
    openjscc(
        "eval", "--data", data, "--metrics", "accuracy", "--task-network", f"classifier,{resnet}", "--snr", "0,10", "-o", "r.csv"
    ).assert_ok()
    openjscc("plot", "r.csv", "--y", "accuracy", "-o", "both.svg").assert_ok()
    picture = Path("both.svg").read_text()
    assert "task network tiny" in picture
    assert "task network classifier.cifar10" in picture
    openjscc("plot", "r.csv", "--y", "accuracy", "--where", "task_network=tiny", "-o", "one.svg").assert_ok()
    assert "classifier.cifar10" not in Path("one.svg").read_text()
    openjscc("plot", "r.csv", "--y", "accuracy", "--where", "task_network=none", "-o", "none.svg").assert_error(2, "task_network")


def test_what_cannot_be_measured(openjscc, data: Path, photo: Path, tmp_path: Path) -> None:
    openjscc("eval", "--data", photo.parent, "--metrics", "accuracy").assert_error(2, "labels")
    openjscc("eval", "--data", data, "--metrics", "accuracy").assert_error(2, "needs a task network")
    openjscc("eval", "--data", data, "--task-network", "classifier").assert_error(2, "no metric of labels")
    openjscc("eval", "--data", data, "--metrics", "accuracy", "--task-network", "clasifier").assert_error(2, "clasifier")
    openjscc("eval", "--data", data, "--metrics", "accuracy", "--task-network", "classifier,").assert_error(2, "empty name")
    openjscc("bench", "--data", data, "--metrics", "f1", "--task-network", "gone.th", "-o", "out").assert_error(3, "gone.th")
    (tmp_path / "bad.th").write_text("no weights")
    openjscc("eval", "--data", data, "--metrics", "f1", "--task-network", "bad.th").assert_error(4, "bad.th")
    openjscc("eval", "--data", data, "--metrics", "miou", "--task-network", "classifier").assert_error(2, "masks")


def test_the_classifier_is_cifar10_s_own(openjscc, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root" / "cifar10").mkdir(parents=True)
    (tmp_path / "root" / "cifar10" / "cifar10.npz").write_bytes(data.read_bytes())
    asked = ("eval", "--data", "cifar10", "--data-dir", "root", "--metrics", "accuracy", "--json")
    result = openjscc(*asked)
    result.assert_ok()
    assert json.loads(result.out)[0]["task_network"] == "classifier.cifar10"
    monkeypatch.setattr("openjscc.tasks._weights.weight_files", dict)
    missing = openjscc(*asked)
    missing.assert_error(3, "classifier.cifar10")
    assert "--task-network" in missing.err


def test_send_says_what_it_sees(openjscc, photo: Path) -> None:
    asked = ("send", photo, "--task-network", "classifier", "--compare", "deepjscc", "--ratio", "1/6")
    result = openjscc(*asked)
    result.assert_ok()
    assert "seen      by classifier.cifar10: sent " in result.err
    assert "note      classifier.cifar10 looked at the pictures resized to 32x32 pixels" in result.err
    assert "seen as" in next(line for line in result.err.splitlines() if line.startswith("  system"))
    report = json.loads(openjscc(*asked, "--json", "-f").out)
    seen = report["task_network"]
    assert (seen["name"], seen["resized_to"], len(seen["seen"])) == ("classifier.cifar10", [32, 32], 3)
    assert len(report["systems"]) == 2
    received = torch.from_numpy(np.array(Image.open("photo-received.png"))).permute(2, 0, 1)[None] / 255
    (classes,) = top_classes(load_task_network("classifier"), received)
    first = report["systems"][0]["seen"]
    assert [one["class"] for one in first] == [name for name, _ in classes]
    assert [one["probability"] for one in first] == pytest.approx([share for _, share in classes], abs=2e-3)


def test_the_classes_stand_under_the_pictures(openjscc, photo: Path) -> None:
    openjscc("send", photo).assert_ok()
    with Image.open("photo-received-side-by-side.png") as plain:
        before = plain.size
    openjscc("send", photo, "-f", "--task-network", "classifier").assert_ok()
    with Image.open("photo-received-side-by-side.png") as sheet:
        assert sheet.width >= before[0]
        assert sheet.height > before[1]
        below = np.asarray(sheet.convert("L"))[-30:]
    assert below.min() < 100  # letters


def test_a_picture_of_the_right_size_is_not_resized(openjscc, make_picture, tmp_path: Path) -> None:
    picture = make_picture(tmp_path / "small.png", 32, 32)
    result = openjscc("send", picture, "--task-network", "classifier", "--json")
    report = json.loads(result.out)
    assert report["task_network"]["resized_to"] is None
    assert [system["system"] for system in report["systems"]] == ["spjscc.distilled"]
    other = openjscc("send", picture, "--task-network", "classifier", "--ratio", "1/48", "-f")
    other.assert_error(2, "no weight of adjscc has the bandwidth ratio 1/48")  # nor has spjscc, so it is not asked
    large = make_picture(tmp_path / "large.png", 64, 96)
    other = openjscc("send", large, "--task-network", "classifier", "--json")
    assert [system["system"] for system in json.loads(other.out)["systems"]] == ["adjscc"]


def test_a_lost_frame_is_said_to_be_lost(openjscc, photo: Path) -> None:
    asked = (
        "send",
        photo,
        "--compare",
        "jpeg-ldpc:mcs=16qam-3/4-n1944",
        "--snr",
        "0",
        "--ratio",
        "1/6",
        "--task-network",
        "classifier",
    )
    result = openjscc(*asked)
    result.assert_ok()
    (line,) = [line for line in result.err.splitlines() if line.startswith("  jpeg-ldpc")]
    assert "lost (the grey picture: " in line
    lost = json.loads(openjscc(*asked, "--json", "-f").out)["systems"][1]
    assert lost["ok"] is False
    (classes,) = top_classes(load_task_network("classifier"), torch.full((1, 3, 8, 8), 0.5))
    assert lost["seen"][0]["class"] == classes[0][0]


def test_send_refuses_before_the_work(openjscc, photo: Path, tiny_weights: Path) -> None:
    openjscc("send", photo, "--task-network", "clasifier").assert_error(2, "clasifier")
    openjscc("send", photo, "--task-network", tiny_weights / "adjscc.photo.safetensors").assert_error(2, "is a codec")
    openjscc("send", photo, "--model", tiny_weights / "classifier.cifar10.safetensors").assert_error(2, "is a task network")
    assert not Path("photo-received.png").exists()


STUDY = """
title = "Who sees what"
data = "{data}"

[[bench]]
systems = ["adjscc", "deepjscc"]
snr_db = [0, 10]
metrics = ["psnr", "accuracy"]
task_network = ["classifier", "tiny.th"]

[[figure]]
file = "accuracy.svg"
y = "accuracy"

[[table]]
metric = "accuracy"
where = "task_network=tiny"
"""


def test_a_study_with_task_networks(openjscc, data: Path, resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    Path("mine.toml").write_text(STUDY.format(data=data))
    openjscc("study", "mine.toml", "-o", "out").assert_ok()
    page = Path("out/mine.md").read_text()
    assert "Task network: `classifier.cifar10` (sha256 `" in page
    assert "Task network: `tiny` (sha256 `" in page
    assert "task network tiny" in Path("out/accuracy.svg").read_text()
    (tmp_path / "networks" / "any").mkdir(parents=True)
    moved = resnet.rename(tmp_path / "networks" / "any" / "tiny.th")
    openjscc("study", "mine.toml", "-o", "out", "--check").assert_error(2, "tiny")
    monkeypatch.setenv("OPENJSCC_METRIC_WEIGHTS", str(tmp_path / "networks"))
    result = openjscc("study", "mine.toml", "-o", "out", "--check")
    result.assert_ok()
    assert "accuracy (tiny)" in result.out
    torch.manual_seed(1)
    torch.save(CifarResNet(1).state_dict(), moved)
    openjscc("study", "mine.toml", "-o", "out", "--check").assert_error(4, "tiny is another task network")


SHOWN = """
title = "What is seen"
data = "{data}"

[[bench]]
systems = ["arjscc.small.safetensors"]
snr_db = [0, 10]
ratio = ["1/12", "1/6", "auto"]
metrics = ["psnr", "accuracy", "f1"]
task_network = ["classifier"]
trials = 2

[[figure]]
file = "accuracy.svg"
x = "cpp"
y = "accuracy"
facet = ["snr_db", "task_network"]

[[figure]]
file = "f1.svg"
y = "f1"
facet = ["ratio", "task_network"]

[[figure]]
file = "cpp.svg"
y = "cpp"
where = "ratio=auto"

[[table]]
metric = "cpp"

[[table]]
metric = "f1"
facet = ["ratio", "task_network"]
interval = "noise"

[[strip]]
file = "many.webp"
picture = ["test-00000", "test-00001", "test-00011"]
systems = ["arjscc.small.safetensors", "jpeg-ldpc:mcs=16qam-3/4-n1944"]
snr_db = [0, 10]
ratio = "1/6"
task_network = "classifier"

[[heatmap]]
file = "weights.png"
picture = ["test-00000", "test-00001"]
task_network = "classifier"
weighting = ["mean_abs", "rms"]
output = "softmax"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A small untrained weight that may choose its rate."""
    torch.manual_seed(0)
    facts = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
    path = tmp_path / "arjscc.small.safetensors"
    export(create("arjscc", "small").eval(), path, tag="small", training=facts)
    return path


def test_a_study_that_shows_what_is_seen(
    openjscc, data: Path, resnet: Path, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strips and heat maps of several pictures, a policy, measured columns; and networks from the command line."""
    pytest.importorskip("matplotlib")
    Path("mine.toml").write_text(SHOWN.format(data=data))
    asked = ("study", "mine.toml", "-o", "out", "--task-network", f"{resnet},classifier")
    openjscc(*asked).assert_ok()
    folder = Path("out")
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {"many.webp", "weights.png", "cpp.svg", "mine.md"} <= set(first)
    page = first["mine.md"].decode()
    for text in (
        "`openjscc study mine.toml --task-network tiny.th,classifier`",
        "Task network: `tiny` (sha256",
        "Task network: `classifier.cifar10` (sha256",
        "test-00000, test-00001, test-00011, awgn, CBR 1/6. PSNR is that of the whole picture.",
        "Seen: the class that `tiny` (sha256",
        "right where it is the data set's label",
        "Gradients of the softmax of `tiny` (sha256",
        "### Channel uses per pixel\n\nMean.\n",
        "Channel uses per pixel against SNR.\n",
        "F1 ↑ against SNR.\n",
        "accuracy ↑ against channel uses per pixel. Bands:",
        "CBR 1/12, task network tiny:",
    ):
        assert text.lower() in page.lower(), text
    assert str(tmp_path) not in page.replace(str(data), "")
    accuracy = first["accuracy.svg"].decode()
    assert accuracy.count("CBR chosen for each picture") == 1, "once, in the legend"
    assert Image.open("out/many.webp").height > 5 * 128, "sent, and two systems at two SNRs"

    chosen = {(record.snr_db, record.cpp) for record in read_records(folder) if record.ratio is None}
    assert len(chosen) == 2
    shutil.rmtree(folder / "pictures")
    openjscc(*asked).assert_ok()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == first

    openjscc("study", "mine.toml", "-o", "out", "--check", "--cells", "6").assert_error(2, "tiny")
    again = openjscc(*asked, "--check", "--cells", "6")
    again.assert_ok()
    assert "f1 (tiny)" in again.out
    assert "auto" in again.out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"test-00011"]', '"test-00012"]', ("test-00012",)),
        ('"test-00011"]', '"test-00001"]', ("strip[0]", "each once")),
        ('task_network = "classifier"\nweighting', "weighting", ("no task network",)),
        ('"mean_abs", "rms"', '"literal"', ("literal of softmax",)),
        ('"mean_abs", "rms"', '"means"', ("means",)),
        ('output = "softmax"', 'output = "probabilities"', ("heatmap[0]: output", "probabilities")),
        ('file = "weights.png"', 'file = "many.webp"', ("many.webp",)),
        ('y = "cpp"', 'y = "cp"', ("figure[2]", "cp")),
        ('y = "cpp"', 'y = "cpp"\narrived = true', ("figure[2]", "arrived")),
        ('metric = "cpp"', 'metric = "cpp"\nfacet = ["colour"]', ("table[0]", "colour")),
    ],
)
def test_what_cannot_be_shown_is_said_before_the_work(openjscc, data: Path, policy: Path, old: str, new: str, words) -> None:
    text = SHOWN.format(data=data)
    assert old in text
    Path("mine.toml").write_text(text.replace(old, new))
    result = openjscc("study", "mine.toml", "-o", "out")
    assert result.code == 2
    for word in words:
        assert word in result.err
    assert not Path("out").exists()


def test_times_are_those_of_one_cell(openjscc, data: Path) -> None:
    """Metrics that are measured apart have times of their own: which is drawn must be said, before the work."""
    text = STUDY.format(data=data).replace(', "tiny.th"', "").replace('y = "accuracy"', 'y = "decode_ms"')
    text = text.replace('where = "task_network=tiny"', "")
    apart = text + text[text.index("[[bench]]") : text.index("[[figure]]")].replace('["psnr", "accuracy"]', '["accuracy"]')
    Path("mine.toml").write_text(
        apart.replace('metrics = ["psnr", "accuracy"]\ntask_network = ["classifier"]', 'metrics = ["psnr"]')
    )
    result = openjscc("study", "mine.toml", "-o", "out")
    assert result.code == 2
    assert "several values of decode_ms" in result.err
    assert "metric=psnr" in result.err


def test_other_sizes_have_no_heat_maps(openjscc, tmp_path: Path, policy: Path) -> None:
    Path("mine.toml").write_text(SHOWN.format(data=labelled(tmp_path / "small.npz", side=16)))
    openjscc("study", "mine.toml", "-o", "out").assert_error(2, "16x16 pixels", "for 32x32")


def test_a_study_that_asks_nobody(openjscc, data: Path) -> None:
    text = STUDY.format(data=data)
    Path("mine.toml").write_text(text.replace('metrics = ["psnr", "accuracy"]', 'metrics = ["psnr"]'))
    openjscc("study", "mine.toml", "-o", "out").assert_error(2, "task_network")
    seldom = text.replace('metrics = ["psnr", "accuracy"]', 'metrics = ["psnr"]').replace(
        'task_network = ["classifier", "tiny.th"]', ""
    )
    Path("mine.toml").write_text(seldom.replace("accuracy", "psnr").replace('where = "task_network=tiny"', ""))
    openjscc("study", "mine.toml", "-o", "out", "--task-network", "classifier").assert_error(2, "asks none")
    Path("mine.toml").write_text(text.replace("accuracy", "miou"))
    openjscc("study", "mine.toml", "-o", "out").assert_error(2, "miou")
    Path("mine.toml").write_text(text.replace('["classifier", "tiny.th"]', "[]"))
    openjscc("study", "mine.toml", "-o", "out").assert_error(2, "needs a task network")
