"""Fixtures for all tests: small untrained weights, and the command line run in this process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class CommandResult:
    """What a command left: exit code, stdout as text and as bytes, stderr."""

    code: int
    out: str
    err: str
    raw: bytes = b""

    def assert_error(self, code: int, *values: str) -> None:
        """One ``error:`` line that has the values, a ``hint:`` line, nothing on stdout, no traceback."""
        assert self.code == code, f"exit code {self.code}\n{self.out}\n{self.err}"
        lines = self.err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, self.err
        for value in values:
            assert value in errors[0], self.err
        assert sum(line.startswith("hint: ") and len(line) > 8 for line in lines) == 1, self.err
        assert lines[-1].startswith("hint: "), self.err
        assert "Traceback" not in self.err
        assert self.out == ""

    def assert_ok(self) -> None:
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "error:" not in self.err
        assert "Traceback" not in self.err


Command = Callable[..., CommandResult]


def run_command(*arguments: object, stdin: bytes = b"") -> CommandResult:
    """``openjscc ARGUMENTS`` in this process."""
    from openjscc.cli import main

    written, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(argument) for argument in arguments])
        out.flush()
    return CommandResult(code, written.getvalue().decode("utf-8", "replace"), err.getvalue(), written.getvalue())


def tiny_codec(arch: str = "adjscc", agreed_size: tuple[int, int] | None = None):
    """A codec with a few thousand parameters and CBR 1/12 and 1/6, untrained, whose images depend visibly on the noise."""
    import torch

    from openjscc.models import create
    from openjscc.models.adjscc import ADJSCCConfig
    from openjscc.models.deepjscc import DeepJSCCConfig

    if arch == "adjscc":
        config = ADJSCCConfig((8, 16), agreed_size=agreed_size, network="cifar10", channels=(8, 8, 8))
        gain = 1.5
    else:
        config = DeepJSCCConfig((8, 16), agreed_size=agreed_size, channels=(8, 8, 8, 8))
        gain = 2.25
    torch.manual_seed(0)
    codec = create(arch, config).eval()
    with torch.no_grad():
        for layer in codec.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                layer.weight *= gain
    return codec


def tiny_classifier():
    """A classifier with a few hundred parameters, untrained; its scores differ clearly from picture to picture."""
    import torch

    from openjscc.tasks import Classifier, ClassifierConfig

    torch.manual_seed(0)
    network = Classifier(ClassifierConfig(widths=(4, 4, 4, 4))).eval()
    with torch.no_grad():
        network.head.weight *= 20
    return network


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with untrained weights adjscc.photo, adjscc.cifar10, deepjscc.photo and classifier.cifar10, for
    ``OPENJSCC_WEIGHTS``."""
    from openjscc import tasks
    from openjscc.models import export

    folder = tmp_path_factory.mktemp("weights")
    facts = {"steps": 0, "images": 0, "seconds": 0.0, "compute": ["none"], "data": ["none"], "terms": "none", "recipe": {}}
    for arch, tag, size in (("adjscc", "photo", None), ("adjscc", "cifar10", (32, 32)), ("deepjscc", "photo", None)):
        export(tiny_codec(arch, size), folder / f"{arch}.{tag}.safetensors", tag=tag, training=facts)
    tasks.export(tiny_classifier(), folder / "classifier.cifar10.safetensors", tag="cifar10", training=facts)
    return folder


@pytest.fixture(scope="session")
def one_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one image of 60x50, for `helpers.short_recipe`."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((60, 50)).save(folder / "0.png")
    return folder


@pytest.fixture
def openjscc(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, in an empty folder, with the small untrained weights in place of the released ones."""
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    monkeypatch.delenv("OPENJSCC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return run_command


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 40x24 picture ``photo.png`` in the test's folder."""
    return picture_file(tmp_path / "photo.png")


def picture_file(path: Path, width: int = 40, height: int = 24, seed: int = 0) -> Path:
    """A smooth colour picture with a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 30, (height, width, 3))
    pixels = np.stack([x * 200 // max(width, 2), y * 200 // max(height, 2), (x + y) * 100 // (width + height)], axis=-1) + noise
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """`picture_file`."""
    return picture_file


@pytest.fixture
def make_codec() -> Callable[..., object]:
    """`tiny_codec`."""
    return tiny_codec


@pytest.fixture
def locked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that may not be written to; for the superuser, whom permissions do not bind, `os.access` says so."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    access = os.access
    if access(folder, os.W_OK):

        def denied(path: str | os.PathLike[str], mode: int) -> bool:
            return access(path, mode) and not (mode & os.W_OK and os.path.realpath(path) == os.path.realpath(folder))

        monkeypatch.setattr(os, "access", denied)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def shades(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task networks ``shades`` (segmentation) and ``brightness`` (classification), as of another package."""
    from openjscc.tasks import _registry
    from task_networks import Brightness, Shades

    module = ModuleType("somebodys_network")
    module.Shades, module.Brightness = Shades, Brightness  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "somebodys_network", module)
    entries = [EntryPoint(name.lower(), f"somebodys_network:{name}", _registry.GROUP) for name in ("Shades", "Brightness")]
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: [entry for entry in entries if entry.group == group])
