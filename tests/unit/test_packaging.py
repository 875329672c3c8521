"""What a user gets when the package is installed: a light import, the public names, and the data in the wheel."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import openjscc

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "openjscc"
DATA = (
    "weights/*.safetensors",
    "data/samples/*",
    "tasks/*.toml",
    "training/recipes/*.toml",
    "report/anchors.csv",
    "studies/packaged/*.toml",
)

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the source tree")


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_import_is_light():
    loaded = _python("import sys, openjscc; dir(openjscc); openjscc.__version__; print(*sys.modules)").split()
    assert not {"torch", "numpy", "PIL", "typer", "matplotlib", "lightning_fabric"} & set(loaded)


@pytest.mark.parametrize("name", openjscc.__all__)
def test_every_public_name_resolves(name):
    assert name in dir(openjscc)
    assert getattr(openjscc, name) is getattr(openjscc, name)


def test_public_names_come_from_where_they_are_written():
    from openjscc import metrics
    from openjscc.data.images import write_png
    from openjscc.link import transmit
    from openjscc.systems import load

    assert openjscc.transmit is transmit
    assert openjscc.load is load
    assert openjscc.write_image is write_png
    assert (openjscc.psnr, openjscc.ssim) == (metrics.psnr, metrics.ssim)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        openjscc.lode  # noqa: B018


def test_version_is_that_of_pyproject():
    assert openjscc.__version__ == _project()["version"]


def test_constraints_pin_every_dependency_within_its_bounds():
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {_normal(name): Version(version) for name, version in (line.split("==") for line in lines if not line.startswith("#"))}
    project = _project()
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(text for extra in extras.values() for text in extra)]:
        requirement = Requirement(text)
        if requirement.name == "openjscc":
            assert requirement.extras <= set(extras)
            continue
        assert _normal(requirement.name) in pins, f"{text} has no pin in constraints.txt"
        assert pins[_normal(requirement.name)] in requirement.specifier
    assert pins["torch"].local is None, "the torch pin must fit every build"


def _build_wheel(folder: Path) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling: pip install -e '.[dev]'")
    command = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("openjscc-*.whl")
    return wheel


@pytest.mark.slow
def test_wheel_holds_the_data_and_works_in_a_clean_environment(tmp_path):
    wheel = _build_wheel(tmp_path / "dist")
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in DATA:
        files = sorted(PACKAGE.glob(pattern))
        assert files, f"the tree has no {pattern}"
        assert not [str(file) for file in files if f"openjscc/{file.relative_to(PACKAGE).as_posix()}" not in names]
    assert {"openjscc/py.typed", "openjscc/__init__.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]

    # A fresh environment: the wheel is installed into it; third-party packages are borrowed from this one without its
    # .pth files, so that the source tree is out of reach.
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = ["--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True, timeout=300)
    purelib = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    ).stdout.strip()
    borrowed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    Path(purelib, "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [str(python), "-I", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    home = Path(run("-c", "import openjscc; print(openjscc.__file__)"))
    assert environment in home.parents
    assert run("-c", "import openjscc; print(openjscc.__version__)") == openjscc.__version__
    assert "send" in run("-m", "openjscc", "--help")
    photo = home.parent / "data" / "samples" / "photo.webp"
    run("-m", "openjscc", "send", str(photo), "--channel", "awgn", "--snr", "10", "-o", "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000
