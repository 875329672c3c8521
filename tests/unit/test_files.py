"""Files are written whole, and what killed runs left is removed where nobody is at work on it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch

from openjscc.data.images import write_png
from openjscc.errors import OpenJSCCError, UsageError
from openjscc.files import LEFT_OVER_SECONDS, cannot_write, claimed, sweep, write_atomically


def left(path: Path, seconds: float) -> Path:
    path.write_bytes(b"half")
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_what_killed_runs_left_of_a_file_goes_with_the_next_one(tmp_path: Path) -> None:
    old = [left(tmp_path / f".{name}.0123abcd.tmp", LEFT_OVER_SECONDS + 60) for name in ("a.json", "r[1].png")]
    stay = [
        left(tmp_path / ".a.json.89abcdef.tmp", LEFT_OVER_SECONDS - 60),  # perhaps at work
        left(tmp_path / ".b.json.0123abcd.tmp", LEFT_OVER_SECONDS + 60),  # of another file
        left(tmp_path / ".a.json.mine.tmp", LEFT_OVER_SECONDS + 60),  # of another program
        left(tmp_path / "a.json.0123abcd.tmp", LEFT_OVER_SECONDS + 60),
    ]
    write_atomically(tmp_path / "a.json", b"new")
    write_png(tmp_path / "r[1].png", torch.zeros(3, 4, 4))
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in stay)
    sweep(tmp_path)
    assert [path.exists() for path in stay] == [True, False, True, True]
    sweep(tmp_path / "missing")


def test_a_long_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 250 + ".json")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_no_wrong_usage() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        error = cannot_write(Path("a"), OSError(number, os.strerror(number)))
        assert (error.exit_code, os.strerror(number) in error.message) == (1, True)
    assert isinstance(cannot_write(Path("a"), PermissionError(errno.EACCES, "no")), UsageError)


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OpenJSCCError, match="full"):
        write_atomically(tmp_path / "a.json", b"new")
    assert not list(tmp_path.iterdir())


def test_a_claim_is_one_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "cells" / "a.lock"
    with claimed(path, wait=False) as mine, claimed(path, wait=False) as theirs:
        assert (mine, theirs) == (True, False)
    assert not path.exists()
    order: list[str] = []

    def second() -> None:
        with claimed(path, wait=True) as free:
            order.append(f"second {free}")

    with claimed(path, wait=True):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second True"]
    assert not path.exists()
    with claimed(path, wait=False) as free:  # of the last one nothing is left
        assert free


def test_the_claim_of_a_killed_process_is_lifted(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    program = f"""
import os
from pathlib import Path
from openjscc.files import claimed
with claimed(Path({str(path)!r}), wait=False):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert path.exists()
    with claimed(path, wait=False) as free:
        assert free
    assert not path.exists()


def test_where_there_are_no_locks_everybody_may_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    for module in (types.SimpleNamespace(flock=unsupported, LOCK_EX=2, LOCK_NB=4), None):
        monkeypatch.setattr("openjscc.files.fcntl", module)
        with claimed(tmp_path / "a.lock", wait=False) as mine, claimed(tmp_path / "a.lock", wait=False) as theirs:
            assert (mine, theirs) == (True, True)
