"""Data sets that a stranger made: batches, archives and npz files that claim, call or hide what they should not."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openjscc.data.datasets import open_dataset
from openjscc.errors import IntegrityError, MissingError


def array_pickle(dtype: bytes, content: bytes, shape: bytes = b"K\x01M\x00\x0c\x86") -> bytes:
    """A batch as Python 2 wrote it, whose array is of any dtype, shape (1 x 3072) and content."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = (
        b"cnumpy\ndtype\nU"
        + bytes([len(dtype)])
        + dtype
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    state = b"(K\x01" + shape + kind + b"\x89T" + len(content).to_bytes(4, "little") + content + b"tb"
    return b"\x80\x02}(U\x04data" + reconstruct + state + b"U\x06labels]K\x05au."


def write_test_batch(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir(exist_ok=True)
    (folder / "test_batch").write_bytes(content)


def test_the_batch_of_the_attacks_is_good_without_them(tmp_path: Path) -> None:
    pixels = bytes(range(256)) * 12
    write_test_batch(tmp_path, array_pickle(b"u1", pixels))
    data = open_dataset("cifar10", tmp_path)
    assert torch.equal(data[0], torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(3, 32, 32))
    assert data.labels is not None
    assert data.labels.tolist() == [5]


NESTED = b"]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
"""A list of two lists of two lists ...: 2**60 numbers for whoever counts them."""

HOSTILE = {
    "objects": array_pickle(b"O8", b"\x41" * 8 * 3072),
    "floats": array_pickle(b"f4", bytes(4 * 3072)),
    "texts": array_pickle(b"S3072", bytes(3072)),
    "fields": array_pickle(b"u1,u1", bytes(2 * 3072)),
    "times": array_pickle(b"M8", bytes(8 * 3072)),
    "more than there is": array_pickle(b"u1", b"", b"J\x00\x00\x00\x7fM\x00\x0c\x86"),
    "less than there is": array_pickle(b"u1", bytes(3073)),
    "a place in the memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a long text": b"\x80\x02T\xff\xff\xff\x7f.",
    "a bytearray": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
    "a bytes object": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
    "text that grows": b"\x80\x02}(U\x04datac_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00utf-32\x86Rs.",
    "a deep list as labels": array_pickle(b"u1", bytes(3072)).replace(b"]K\x05a", NESTED),
    "a deep list as dtype": b"\x80\x02cnumpy\ndtype\n" + NESTED + b"\x85R.",
    "a deep list as name": b"\x80\x04" + NESTED + NESTED + b"\x93.",
    "keys that are numbers": b"\x80\x02}K\x01K\x02s.",
    "a million instructions": b"\x80\x02}" + b"N" * 1_000_000 + b".",
    "a label of -1": array_pickle(b"u1", bytes(3072)).replace(b"]K\x05a", b"]J\xff\xff\xff\xffa"),
    "a label of 10": array_pickle(b"u1", bytes(3072)).replace(b"]K\x05a", b"]K\x0aa"),
    "a label for two": array_pickle(b"u1", bytes(3072)).replace(b"]K\x05a", b"]K\x05aK\x05a"),
    "nothing": b"",
    "no end": array_pickle(b"u1", bytes(3072))[:-1],
    "an instance": b"\x80\x02(iposix\nsystem\n.",
    "a persistent name": b"\x80\x02Pname\n.",
}
APART = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from openjscc.data.datasets import open_dataset
from openjscc.errors import OpenJSCCError
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[1:]:
    try:
        open_dataset(folder if folder.endswith("npz") else "cifar10", folder)
    except OpenJSCCError as error:
        assert chr(10) not in error.message and error.hint and len(error.message) < 600
        print(error.exit_code)
    else:
        print(0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def opened_apart(paths: list[Path]) -> tuple[list[int], int]:
    """Exit codes and MiB taken, in a process of its own: one that crashes or does not end is a failure here."""
    result = subprocess.run([sys.executable, "-c", APART, *map(str, paths)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, (result.returncode, result.stderr)
    *codes, memory = map(int, result.stdout.split())
    return codes, memory


def test_hostile_batches_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / str(number)).mkdir()
        write_test_batch(tmp_path / str(number), content)
    codes, memory = opened_apart([tmp_path / str(number) for number in range(len(HOSTILE))])
    assert dict(zip(HOSTILE, codes, strict=True)) == dict.fromkeys(HOSTILE, 4)
    assert memory < 500


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def write_archive(path: Path, members: dict[str, bytes], claims: int | None = None) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content) if claims is None else claims
            file.write(info.tobuf() + content + bytes(-len(content) % 512))
        file.write(bytes(1024))


@pytest.mark.slow
def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    name = "cifar-10-batches-py/test_batch"
    good = array_pickle(b"u1", bytes(3072))
    cases: dict[str, Callable[[Path], None]] = {
        "unpacks to 2 GiB": lambda path: write(path, gzip.compress(bytes(2**28), 1) * 8),
        "a batch of 100 MiB": lambda path: write_archive(path, {name: bytes(100 * 2**20)}),
        "a batch that claims 8 GiB": lambda path: write_archive(path, {name: b"N."}, 2**33 - 1),
        "no batch": lambda path: write_archive(path, {"other": good}),
        "a thousand others first": lambda path: write_archive(path, {**{str(i): b"" for i in range(1000)}, name: good}),
        "no archive": lambda path: write(path, b"no archive" * 100),
    }
    for number, make in enumerate(cases.values()):
        (tmp_path / str(number)).mkdir()
        make(tmp_path / str(number) / "cifar-10-python.tar.gz")
    codes, memory = opened_apart([tmp_path / str(number) for number in range(len(cases))])
    assert dict(zip(cases, codes, strict=True)) == dict.fromkeys(cases, 4)
    assert memory < 1000
    write_archive(tmp_path / "cifar-10-python.tar.gz", {name: good})
    assert len(open_dataset("cifar10", tmp_path)) == 1


def test_an_archive_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("cifar-10-python.tar.gz", "cifar10.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(MissingError):
        open_dataset("cifar10", tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    os.mkfifo(tmp_path / "cifar-10-batches-py" / "test_batch")
    with pytest.raises(IntegrityError):
        open_dataset("cifar10", tmp_path)


def write_claim(path: Path, shape: tuple[int, ...], dtype: str = "|u1", compression: int = zipfile.ZIP_DEFLATED) -> None:
    """An npz file whose x_test is said to have that shape, with one byte of it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x_test.npy", header.getvalue() + b"a")


def test_hostile_npz_files_are_refused(tmp_path: Path) -> None:
    cases: dict[str, int] = {}
    for name, shape, dtype, compression, code in (
        ("large", (2**20, 32, 32, 3), "|u1", zipfile.ZIP_DEFLATED, 2),
        ("absurd", (2**62, 2**62, 32, 3), "|u1", zipfile.ZIP_DEFLATED, 2),
        ("cut", (5, 32, 32, 3), "|u1", zipfile.ZIP_DEFLATED, 4),
        ("objects", (5, 32, 32, 3), "|O", zipfile.ZIP_DEFLATED, 4),
        ("lzma", (5, 32, 32, 3), "|u1", zipfile.ZIP_LZMA, 4),
    ):
        write_claim(tmp_path / f"{name}.npz", shape, dtype, compression)
        cases[name] = code
    np.savez_compressed(tmp_path / "many.npz", x_test=np.zeros((2**21 + 1, 1, 1, 3), np.uint8))
    cases["many"] = 2
    codes, memory = opened_apart([tmp_path / f"{name}.npz" for name in cases])
    assert dict(zip(cases, codes, strict=True)) == cases
    assert memory < 700


@pytest.mark.parametrize("label", [-1, 2**62])
@pytest.mark.parametrize("key", ["y_test", "i_test"])
def test_numbers_that_count_from_no_zero_are_refused(tmp_path: Path, key: str, label: int) -> None:
    path = tmp_path / "a.npz"
    arrays: dict[str, Any] = {"x_test": np.zeros((2, 4, 4, 3), np.uint8), key: np.array([0, label])}
    np.savez(path, **arrays)
    with pytest.raises(IntegrityError, match=str(label)):
        open_dataset(path)


def test_cifar10_has_ten_classes(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x_test": np.zeros((2, 4, 4, 3), np.uint8), "y_test": np.array([0, 10])}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    assert open_dataset(tmp_path / "cifar10.npz").labels is not None  # another data set may have more
    with pytest.raises(IntegrityError, match="class number 10"):
        open_dataset("cifar10", tmp_path)
