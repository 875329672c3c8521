"""README does what it says."""

import dataclasses
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


def test_tables_and_pictures_match_the_records() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "readme.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_records_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pictures

    assert pictures.stale() == []
    real = pictures.records()
    worse = {place: dataclasses.replace(record, mean=(record.mean or 0.0) - 0.01) for place, record in real.items()}
    monkeypatch.setattr(pictures, "records", lambda: worse)
    assert pictures.stale() == ["cliff.webp"]
    monkeypatch.setattr(pictures, "WEIGHT", "adjscc.cifar10")
    assert set(pictures.stale()) == {"send.webp", "cliff.webp"}
    monkeypatch.setattr(sys, "argv", ["pictures.py", "--check"])
    assert pictures.main() == 1


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace("my.jpg", str(sample_photo())), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.Size([1, 3, 384, 512]) tensor([0.06")
    assert Path("arrived.png").is_file()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_exist() -> None:
    verbs = set(re.findall(r"openjscc (\w+)", README))
    assert verbs <= {"send", "tx", "channel", "rx", "eval", "bench", "plot", "study", "train", "models"}
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
