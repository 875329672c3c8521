"""Every command of README, docs and examples runs: in this order, in one folder, as a reader types them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from openjscc import plugins, systems
from openjscc.tasks import CifarResNet
from voc_data import voc_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "models").glob("*.md")),
    *sorted((ROOT / "docs" / "papers").glob("*.md")),
    *sorted((ROOT / "examples").glob("**/README.md")),
]
SEND = "openjscc send src/openjscc/data/samples/photo.webp --channel awgn --snr 10 -o received.png -f"

CHEAPER = (
    # what a command is replaced by, one after the other: (pattern, replacement)
    (r"^make send\b.*", SEND),
    (r"^torchrun --nproc-per-node 2 -m ", ""),
    (r"^\.venv/bin/", ""),
    (r"(openjscc (?:eval|bench) .*)", r"\1 --limit 1"),
    (r"--snr -?\d+:\d+:\d+", "--snr 1,10"),
    (r":steps=10", ":steps=2"),
    (r"--crop \S+", "--crop 10,10,16,16"),
    (r"(openjscc train [a-z].*)", r"\1 --max-steps 1 --set optimizer.batch=1"),
    (r"--max-steps 4000 |--set model\.config=paper |--set run\.compile=true", ""),
    (r"openjscc survey (\w+) perceptual-pairs", r"openjscc survey \1 pairs.toml"),
    (r"openjscc study [a-z]+-[a-z0-9-]+", "openjscc study mine.toml"),
    (r"--task-network classifier,resnet20-12fca82f\.th -o", "-o"),
    # names that stand for the reader's own
    (r"/my/(other/)?photos", "data/photos"),
    (r"--data-dir DATA\b", "--data-dir data"),
    (r"\bNETWORK\b", "fcn"),
)
NOT_RUN = (
    (r"^make (test|check)$", "runs the test suite"),
    (r"^(\.venv/bin/)?pip install", "installs"),
)
MAY_BE_MISSING = ("lpips", "ganjscc")
"""Commands with one of these may end with exit code 3: the published weights of LPIPS, which the training of
ganjscc needs as well, are not part of the package. So may commands that an extra is missing for."""

STUDY = """
title = "Mine"
data = "kodak"
[[bench]]
systems = ["adjscc"]
snr_db = [1, 10]
ratio = ["1/6"]
metrics = ["psnr"]
[[table]]
metric = "psnr"
"""
PAIRS = """
title = "Pairs"
data = "kodak"
[pairs]
of = "adjscc"
over = "jpeg-ldpc:mcs=qpsk-1/2-n1944"
ratio = ["1/12"]
over_ratio = [0.5, "1/1"]
snr_db = 10
count = 4
size = 16
question = "Which?"
"""


def commands_of(text: str) -> Iterator[str]:
    """The commands of a page: lines of ``sh`` blocks, and of indented blocks those that begin with a program's name."""
    text = text.replace("\\\n", " ")
    fenced = None
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = line[3:] if fenced is None else None
            continue
        program = r"(\w+=\S+ )*(\.venv/bin/)?(openjscc|torchrun|pip|make|python|cp) "
        if fenced == "sh" or (fenced is None and re.match(" {4,}" + program, line)):
            command = " ".join(re.sub(r"\s+# .*", "", line).split())
            if command:
                yield command


@pytest.fixture
def folder(tmp_path: Path, make_picture: Callable[..., Path], shades: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the reader has: images, small stand-ins for the data sets, a study, a questionnaire; the package's sources."""
    for name in ("my.jpg", "photo.jpg", "photo.png", "street.jpg", "dog.jpg", "cat.jpg", "kodim01.png"):
        make_picture(tmp_path / name, 64, 48)
    for name in ("small.png", "plane.png"):
        make_picture(tmp_path / name, 32, 32)
    for name, count in (("kodak", 2), ("photos", 2), ("div2k/valid_crops256", 1)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(1, count + 1):
            make_picture(tmp_path / "data" / name / f"kodim{number:02d}.png", 176, 176, seed=number)
    voc_folder(tmp_path / "data" / "voc", size=(64, 64))
    (tmp_path / "data" / "cifar10").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(8)
    arrays = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}
    np.savez(tmp_path / "data" / "cifar10" / "cifar10_mini.npz", **arrays)
    torch.save({"state_dict": CifarResNet(3).state_dict()}, tmp_path / "resnet20-12fca82f.th")
    np.savez(tmp_path / "labelled.npz", **{**arrays, "y_train": labels % 3, "y_test": labels % 3})
    (tmp_path / "mine.toml").write_text(STUDY)
    (tmp_path / "pairs.toml").write_text(PAIRS)
    for name in ("src", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_codec"))  # as pip install -e examples/own_codec
    monkeypatch.delitem(sys.modules, "own_codec", raising=False)
    own, others = [EntryPoint("uncoded", "own_codec:Uncoded", systems.GROUP)], plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda group: own if group == systems.GROUP else others(group=group))
    return tmp_path


def answer(folder: Path) -> None:
    """``answers.csv``: four people always choose the left one."""
    ids = [pair["id"] for pair in json.loads((folder / "key.json").read_text())["pairs"]]
    lines = [f"p{person},{name},left,1" for person in range(4) for name in ids]
    Path("answers.csv").write_text("\n".join(["participant,pair,choice,seconds", *lines]) + "\n")


@pytest.mark.slow
def test_every_documented_command_runs(openjscc, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_DATA", str(folder / "data"))
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    monkeypatch.delenv("OPENJSCC_WEIGHTS")  # the released ones
    shutil.copy(ROOT / "src" / "openjscc" / "weights" / "classifier.cifar10.safetensors", "my.safetensors")
    packaged = openjscc("study", "--list").out
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert SEND.removeprefix("openjscc ") in (ROOT / "Makefile").read_text()
    failures = []
    for page in PAGES:
        for written in commands_of(page.read_text()):
            place = f"{page.relative_to(ROOT)}: {written}"
            if reason := next((why for pattern, why in NOT_RUN if re.search(pattern, written)), None):
                asked = re.search(r"\[([\w,]+)\]", written)
                assert asked is None or set(asked[1].split(",")) <= set(extras), place
                warnings.warn(f"not run: {place}: {reason}", stacklevel=1)
                continue
            if named := re.search(r"openjscc study ([a-z][a-z0-9]*-[a-z0-9-]+)", written):
                assert named[1] in packaged, place
            command = written
            for pattern, replacement in CHEAPER:
                command = re.sub(pattern, replacement, command)
            if "survey analyse" in command:
                answer(Path("pairs"))
            failure = run(command, openjscc, monkeypatch)
            if failure is None:
                continue
            code, said = failure
            if code == 3 and ("pip install" in said or any(word in written for word in MAY_BE_MISSING)):
                warnings.warn(f"skipped: {place}: {said}", stacklevel=1)
            else:
                failures.append(f"{place}\n  as {command}\n  exit {code}: {said}")
    assert not failures, "\n".join(failures)


def run(command: str, openjscc, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str] | None:
    """None, or the exit code and what was said."""
    words = shlex.split(command)
    if "|" in words:
        stream = b""
        for part in command.split(" | "):
            result = openjscc(*shlex.split(part)[1:], stdin=stream)
            if result.code:
                return result.code, result.err.strip()
            stream = result.raw
        return None
    with monkeypatch.context() as patch:
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            patch.setenv(name, value)
        match words:
            case ["openjscc", *arguments]:
                result = openjscc(*arguments)
                return None if result.code == 0 else (result.code, result.err.strip())
            case ["cp", "-r", source, target]:
                if not Path(source).is_dir():
                    return 3, f"no folder {source}"
                shutil.copytree(source, target)
            case ["python", "-c", code]:
                exec(code, {})
            case _:
                return 127, "unknown program"
    return None
