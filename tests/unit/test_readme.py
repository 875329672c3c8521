"""README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openjscc.data.bundled import sample_photo

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_length() -> None:
    assert len(README.splitlines()) <= 200


def test_the_table_matches_the_records() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "readme.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace("my.jpg", str(sample_photo())), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.Size([1, 3, 384, 512]) tensor([0.06")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_exist() -> None:
    verbs = set(re.findall(r"openjscc (\w+)", README))
    assert verbs <= {"send", "eval", "bench", "plot", "study", "train", "models"}
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
