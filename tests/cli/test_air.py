"""``tx | channel | rx``, as a user calls it: the file of ``send``, and what strangers and mistakes do to a recording."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import openjscc as openjscc_package
from conftest import CommandResult, run_command
from openjscc.errors import UsageError
from openjscc.recording import ARCHIVE, ARRAY, DATA, META, Burst, save_frames

pytest.importorskip("sigmf")
ROOT = Path(__file__).resolve().parents[2]


def air(*arguments: object, stdin: bytes = b"") -> tuple[CommandResult, bytes]:
    """``openjscc ARGUMENTS``, and the bytes on its standard output."""
    result = run_command(*arguments, stdin=stdin)
    return result, result.raw


def sent(*arguments: object) -> bytes:
    """What ``tx`` writes to a pipe."""
    result, stream = air("tx", *arguments)
    assert result.code == 0, result.err
    return stream


def files(folder: str) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(Path(folder).iterdir())
        if "side-by-side" not in path.name and "overlay" not in path.name
    }


def same_as_send(images: list[str], options: list[str], channel: str, snr: str = "15", sent: list[str] | None = None) -> None:
    """Folder S of ``send`` and folder R of the three programs in a pipe have the same files."""
    for folder in ("S", "R"):
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir()
    link = ["--channel", channel, "--snr", snr]
    together, _ = air("send", *(sent or images), *options, *link, "--seed", "3", "-o", "S")
    one, stream = air("tx", *images, *options, *link)
    two, stream = air("channel", "-", *link, "--seed", "3", stdin=stream)
    three, _ = air("rx", "-", "-o", "R", stdin=stream)
    assert [one.code, two.code, three.code] == [0, 0, together.code], three.err
    assert files("S")
    assert files("R") == files("S")
    assert three.out.split() == [f"R/{name}" for name in files("R")]


CHANNELS = ["awgn", "rayleigh:block", "rayleigh:fast", "rician:5", "rician:3:fast"]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("model", ["adjscc", "jpeg-ldpc"])
def test_three_programs_write_the_file_of_send(openjscc, photo: Path, model: str, channel: str) -> None:
    options = ["--model", model, "--ratio", "1/2" if model == "jpeg-ldpc" else "1/6"]
    same_as_send(["photo.png"], options, channel, "30")


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((64, 48), ["--task", "segmentation"]),
        ((64, 48), ["--model", "mtgsc:steps=2"]),
        ((64, 48), ["--model", "jpeg-ldpc+fcn.voc", "--task", "segmentation", "--ratio", "1/2"]),
        ((64, 48), ["--model", "mine.safetensors"]),
        ((64, 48), ["--model", "jpeg-ldpc:mcs=qpsk-1/2-n1944:iterations=20", "--ratio", "1/2"]),
        ((32, 32), ["--model", "adjscc.cifar10"]),
        ((32, 32), ["--model", "jpeg-ldpc", "--ratio", "1/2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_kinds_of_systems(
    openjscc, make_picture, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], options: list[str]
) -> None:
    monkeypatch.delenv("OPENJSCC_WEIGHTS")  # the released ones
    shutil.copy(ROOT / "src" / "openjscc" / "weights" / "adjscc.photo.safetensors", "mine.safetensors")
    make_picture(Path("photo.png"), *size)
    same_as_send(["photo.png"], options, "awgn")


def test_bpg(openjscc, make_picture) -> None:
    pytest.importorskip("av")
    make_picture(Path("photo.png"), 96, 80)
    same_as_send(["photo.png"], ["--model", "bpg-ldpc:chroma=420:preset=medium", "--ratio", "1/3"], "rayleigh:fast", "25")


def test_several_images_and_folders(openjscc, make_picture) -> None:
    Path("in").mkdir()
    names = ["in/a.png", "in/b.png"]
    for number, name in enumerate(names):
        make_picture(Path(name), 40 + 8 * number, 24, seed=number)
    same_as_send(names, [], "awgn")
    same_as_send(["in"], [], "awgn", sent=names)


@pytest.mark.parametrize("form", [META, ARCHIVE, ARRAY])
def test_forms(openjscc, photo: Path, make_picture, form: str) -> None:
    make_picture(Path("b.png"), 24, 24)
    first, second = f"one{form}", f"two{form}"
    result, _ = air("tx", photo, "b.png", "--snr", "10", "-o", first, "--json")
    result.assert_ok()
    report = json.loads(result.out)
    assert report["recording"] == first
    assert [frame["image"] for frame in report["frames"]] == [str(photo), "b.png"]
    result, _ = air("channel", first, "-o", second)
    assert result.out == f"{second}\n"
    result, _ = air("rx", second, "-o", "got.png")
    result.assert_ok()
    assert result.out.split() == ["got-1.png", "got-2.png"]
    assert [Image.open(name).size for name in result.out.split()] == [(40, 24), (24, 24)]
    shutil.copy(first, "copy" + form)
    air("channel", first, "-o", second)[0].assert_error(2, "exists", "two")
    air("tx", photo, "-o", first)[0].assert_error(2, "exists", "one")
    air("tx", photo, "-o", first, "-f")[0].assert_ok()
    result, _ = air("rx", first, "--json", "-o", "alone.png")
    assert [json.loads(result.out)[key] for key in ("ok", "output", "width", "height")] == [True, "alone.png", 40, 24]


def test_a_stream_of_several_frames_stays_one(openjscc, photo: Path) -> None:
    air("tx", photo, photo, "--snr", "10", "-o", "x.npy")[0].assert_ok()
    for last in ("y.npy", "y.sigmf-meta", "y.sigmf"):
        air("channel", "x.npy", "--snr", "20", "-o", last)[0].assert_ok()
        result, _ = air("rx", last, "-f")
        result.assert_ok()
        assert result.out.split() == ["received-1.png", "received-2.png"], last


def test_without_a_channel(openjscc, photo: Path) -> None:
    """No noise at all, of which nobody tells the receiver."""
    for model in ("adjscc", "jpeg-ldpc"):
        result, _ = air("rx", "-", "-f", stdin=sent(photo, "--model", model, "--ratio", "1/6", "--snr", "10"))
        assert result.code == 0, result.err


def test_a_short_header_names_no_system(openjscc, make_picture) -> None:
    make_picture(Path("small.png"), 32, 32)
    air("tx", "small.png", "--model", "adjscc.cifar10", "-o", "small.npy")[0].assert_ok()
    result, _ = air("rx", "small.npy")
    assert (result.code, result.out) == (1, "")
    air("rx", "small.npy", "--model", "adjscc.cifar10")[0].assert_ok()
    air("tx", "small.png", "--model", "adjscc.cifar10", "-o", "small.sigmf-meta")[0].assert_ok()
    assert json.loads(Path("small.sigmf-meta").read_text())["annotations"][0]["openjscc:agreed"] is True
    air("rx", "small.sigmf-meta", "-f")[0].assert_ok()


def test_one_image_to_standard_output(openjscc, photo: Path) -> None:
    stream = sent(photo)
    result, written = air("rx", "-", "-o", "-", stdin=stream)
    assert result.code == 0
    assert Image.open(io.BytesIO(written)).size == (40, 24)
    air("rx", "-", "-o", "-", "--json", stdin=stream)[0].assert_error(2, "--json")
    air("rx", "-", "-o", "-", stdin=sent(photo, photo))[0].assert_error(2, "several frames")
    assert sorted(path.name for path in Path().iterdir()) == ["photo.png"]


def test_masks_are_png(openjscc, make_picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENJSCC_WEIGHTS")
    make_picture(Path("photo.png"), 48, 48)
    stream = sent("photo.png", "--task", "segmentation")
    air("rx", "-", "-o", "mask.jpg", stdin=stream)[0].assert_error(2, "mask.jpg")


def test_systems_of_other_packages(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header names them as it names all others; one without a header is agreed on."""
    from openjscc import systems

    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_codec"))
    entries = [EntryPoint("uncoded", "own_codec:Uncoded", systems.GROUP)]
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: entries if group == systems.GROUP else [])
    same_as_send(["photo.png"], ["--model", "uncoded"], "rayleigh:fast")
    air("tx", photo, "--model", "uncoded", "-o", "x.npy")[0].assert_ok()
    air("rx", "x.npy")[0].assert_error(2, "frames of uncoded in a recording without annotations")
    stream = sent(photo, "--model", "uncoded")
    entries.clear()
    air("rx", "-", stdin=stream)[0].assert_error(3, "'uncoded'")


# -- recordings that are none


@pytest.fixture
def made(openjscc, photo: Path) -> Path:
    """A folder with frame.sigmf-meta and frame.sigmf-data of a 40x24 image."""
    air("tx", photo, "--snr", "10", "-o", "frame.sigmf-meta")[0].assert_ok()
    return Path()


def damaged(change: Callable[[dict], object], name: str = "frame.sigmf-meta") -> None:
    content = json.loads(Path(name).read_text())
    change(content)
    Path(name).write_text(json.dumps(content))


def refused(code: int, *words: str, name: str = "frame.sigmf-meta", stdin: bytes = b"") -> None:
    """``rx`` and ``channel`` refuse it in a line, soon, and write nothing."""
    before = sorted(Path().iterdir())
    for arguments in (["rx", name], ["channel", name, "-o", "out.sigmf"]):
        start = time.process_time()  # other work on the machine does not count
        result, _ = air(*arguments, stdin=stdin)
        assert time.process_time() - start < 10
        result.assert_error(code, *words)
        assert max(map(len, result.err.splitlines())) < 1000
    assert sorted(Path().iterdir()) == before


def test_other_json(made: Path) -> None:
    path = Path("frame.sigmf-meta")
    whole = path.read_text()
    for text in (
        "",
        "{",
        "[" * 200_000,
        '{"a":' * 200_000,
        "null",
        "[]",
        "{}",
        '{"global": []}',
        '{"global": {"core:datatype": "cf32_le"}, "captures": [], "annotations": [5]}',
        '{"global": {"core:datatype": "cf32_le"}, "captures": 7, "annotations": []}',
        '{"global": {"core:datatype": null}, "captures": [], "annotations": []}',
        '{"global": {"core:datatype": "cf32_le", "core:num_channels": 1' + "0" * 400 + '}, "captures": [], "annotations": []}',
        '{"global": {"core:datatype": "cf32_le", "core:num_channels": 1' + "0" * 9000 + '}, "captures": [], "annotations": []}',
        whole.replace('"core:sample_start": 0', '"core:sample_start": NaN'),
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1") + whole,
        "[" + "[]," * 2_700_000 + "[]]",
    ):
        path.write_text(text, encoding="latin-1")
        refused(4)
    path.write_bytes(b"\xff\xfe" + whole.encode("utf-16-be"))
    refused(4)
    with path.open("wb") as stream:
        stream.truncate(2**24)
    refused(4, "too large")


@pytest.mark.parametrize(
    "key", ["core:sample_start", "core:sample_count", "openjscc:noise_var", "openjscc:gain", "openjscc:system", "core:label"]
)
@pytest.mark.parametrize(
    "value",
    [-1, 10**400, -(10**400), 1.5, float("nan"), float("inf"), True, None, "\ud800", [], {}, [True, False], [1, "x"], [1e39, 0]],
    ids=lambda value: str(value)[:8],
)
def test_wrong_types_everywhere(made: Path, key: str, value: object) -> None:
    damaged(lambda content: content["annotations"][0].update({key: value}))
    if value is None and key in ("openjscc:noise_var", "openjscc:gain"):
        assert air("rx", "frame.sigmf-meta")[0].code == 0  # not known
    elif (key == "openjscc:noise_var" and value == 1.5) or (key in ("openjscc:system", "core:label") and value == "\ud800"):
        assert air("rx", "frame.sigmf-meta")[0].code == 0  # a number; a name that only a hint or a file's name depends on
    else:
        refused(4)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("core:datatype", "ci16_le", 2),
        ("core:datatype", "x" * 10**6, 2),
        ("core:datatype", ["cf32_le"], 4),
        ("core:num_channels", 2.0, 4),
        ("core:num_channels", 0, 4),
        ("core:num_channels", -(10**400), 4),
        ("core:num_channels", True, 4),
    ],
)
def test_wrong_types_of_the_whole(made: Path, key: str, value: object, code: int) -> None:
    damaged(lambda content: content["global"].update({key: value}))
    refused(code)


def test_places_of_frames(made: Path) -> None:
    damaged(lambda content: content["annotations"].append(dict(content["annotations"][0])))
    refused(4, "from 0 on")
    damaged(lambda content: content["annotations"][1].update({"core:sample_start": 5}))
    refused(4, "from 5 on")
    damaged(lambda content: content["annotations"][1].update({"core:sample_start": 10**4299 * 9}))
    refused(4)
    damaged(lambda content: content["annotations"].pop())
    Path("frame.sigmf-data").write_bytes(Path("frame.sigmf-data").read_bytes()[:-8])
    refused(4, "truncated")
    Path("frame.sigmf-data").write_bytes(Path("frame.sigmf-data").read_bytes()[:-3])
    refused(4, "bytes")
    Path("frame.sigmf-data").unlink()
    refused(3, "no samples")


def test_bytes_between_the_samples(made: Path) -> None:
    damaged(lambda content: content["captures"][0].update({"core:header_bytes": 4}))
    refused(2, "header_bytes")


@pytest.mark.parametrize("form", [META, ARCHIVE, ARRAY])
def test_what_is_no_file(openjscc, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"frame{form}"
    refused(3, "no recording", name=name)
    Path(name).mkdir()
    refused(2, "is a folder", name=name)
    Path(name).rmdir()
    os.mkfifo(name)
    refused(2, "no ordinary file", name=name)
    Path(name).unlink()
    Path(name).touch()
    refused(4, name=name)
    Path(name).write_text("no recording at all")
    refused(4, name=name)
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: os.fspath(path) != name and access(path, mode))
    air("rx", name)[0].assert_error(2, name)
    with pytest.raises(UsageError, match="no permission"):
        openjscc_package.load_frame(name)


def test_names_that_are_no_recordings(openjscc) -> None:
    for name in ("photo.png", "", ".", "x", "nul\0.sigmf", "a.sigmf.gz"):
        air("rx", name)[0].assert_error(2)
        air("tx", "-o", name)[0].assert_error(2)
    air("rx", "x" * 300 + ".sigmf")[0].assert_error(3)
    air("tx", "-o", "x" * 300 + ".sigmf")[0].assert_error(2)
    air("tx", "-o", "nowhere/x.sigmf")[0].assert_error(2, "nowhere")


def test_arrays(openjscc) -> None:
    for values, code in (
        (np.zeros(5, dtype=np.int16), 2),
        (np.zeros(5, dtype=">c8"), 2),
        (np.zeros((2, 2, 2), dtype=np.complex64), 2),
        (np.zeros(0, dtype=np.complex64), 2),
        (np.zeros(5, dtype=np.complex64), 1),
    ):
        np.save("x.npy", values)
        air("rx", "x.npy")[0].assert_error(code)
    np.savez("z.npz", a=np.zeros(10**6))
    Path("z.npz").rename("x.npy")
    refused(2, "several arrays", name="x.npy")
    np.save("x.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(4, name="x.npy")


def test_noise_and_other_versions(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).normal(size=2**21).astype(np.float32).view(np.complex64)
    for form in (META, ARCHIVE, ARRAY):
        save_frames(f"noise{form}", Burst(noise, label="noise"))
        start = time.process_time()
        result, _ = air("rx", f"noise{form}")
        assert time.process_time() - start < 10
        assert (result.code, result.out) == (1, "")
        assert "no header could be read" in result.err

    with monkeypatch.context() as patch:
        patch.setattr("openjscc.header.format.VERSION", 2)
        stream = sent(photo)
    air("rx", "-", stdin=stream)[0].assert_error(3, "version 2")


# -- archives


def members(stream: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive]  # pyright: ignore[reportOptionalMemberAccess]


def packed(*parts: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for member, content in parts:
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def special(kind: bytes, name: str = "a.sigmf-data") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member, b""


def test_archives_of_others(openjscc, photo: Path) -> None:
    """Samples first, folders, long names, other files: what the SigMF library and tar write."""
    meta, data = members(sent(photo))
    folder = special(tarfile.DIRTYPE, "frame")
    note = tarfile.TarInfo("README")
    note.size = 5
    assert air("rx", "-", stdin=packed(folder, (note, b"hello"), data, meta))[0].code == 0
    for stem, form in (
        ("é" * 120, tarfile.PAX_FORMAT),
        ("x" * 160, tarfile.GNU_FORMAT),
        ("/abs/../../" + "y" * 150, tarfile.PAX_FORMAT),
    ):
        meta[0].name, data[0].name = f"{stem}{META}", f"{stem}{DATA}"
        assert air("rx", "-", "-f", stdin=packed(meta, data, form=form))[0].code == 0
    import sigmf

    air("tx", photo, "-o", "one.sigmf-meta")[0].assert_ok()
    sigmf.fromfile("one.sigmf-meta").archive("library.sigmf")  # pyright: ignore[reportAttributeAccessIssue]
    air("rx", "library.sigmf", "-f")[0].assert_ok()


def test_hostile_archives(openjscc, photo: Path) -> None:
    stream = sent(photo, photo)
    meta, data, _, data2 = members(stream)
    refused(4, "holds no recording", name="-", stdin=b"")
    refused(4, "holds no recording", name="-", stdin=bytes(10240))
    refused(4, "no SigMF archive", name="-", stdin=gzip.compress(bytes(2**24)))
    refused(4, "no samples", name="-", stdin=packed(meta))
    refused(4, "no metadata", name="-", stdin=packed(data))
    refused(4, "no samples", name="-", stdin=packed(meta, data2))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
        refused(4, "of type", name="-", stdin=packed(special(kind)))
    claims = tarfile.TarInfo("a" + META)
    for size in (2**40, 2**62):
        claims.size = size
        refused(4, "bytes", name="-", stdin=claims.tobuf(tarfile.GNU_FORMAT))
    sparse = tarfile.TarInfo("a" + DATA)
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    refused(4, "sparse", name="-", stdin=packed((sparse, b"")))
    negative = bytearray(tarfile.TarInfo("a" + DATA).tobuf())
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b"%06o\0 " % sum(negative[:148] + b" " * 8 + negative[156:])
    refused(4, name="-", stdin=bytes(negative))
    chain = tarfile.TarInfo("x")
    chain.type = tarfile.XHDTYPE
    refused(4, name="-", stdin=chain.tobuf() * 5000)


@pytest.mark.parametrize("place", ["inside", "frame", "header"])
def test_a_stream_that_breaks_off_is_noticed(openjscc, photo: Path, place: str) -> None:
    """And what arrived before is kept."""
    stream = sent(photo, photo)
    half = (len(stream) - 1024) // 2
    cut = {"inside": stream[: half + 5000], "frame": stream[:half], "header": stream[:half] + b"\1" + stream[half + 1 :]}[place]
    result, _ = air("rx", "-", stdin=cut)
    assert result.code == 4, result.err
    assert result.out == "received.png\n"
    assert "error: standard input" in result.err
    assert Image.open("received.png").size == (40, 24)


# -- what a recording may do to a file system, and to a terminal


@pytest.mark.parametrize(
    "label",
    ["../../out.png", "/etc/passwd", "", ".", "..", "...", "x" * 5000, "é" * 5000,
     "a\0b", "\x1b[2J\n\r", "\ud800", "a/b", "C:\\x", "-rf", " ", ".hidden"],
    ids=lambda label: ascii(label)[:12],
)  # fmt: skip
def test_labels_lead_nowhere(made: Path, label: str) -> None:
    damaged(lambda content: content["annotations"][0].update({"core:label": label}))
    Path("deep/out").mkdir(parents=True)
    before = sorted(path for path in Path().rglob("*"))
    result, _ = air("rx", "frame.sigmf-meta", "-o", "deep/out")
    assert result.code == 0, result.err
    (new,) = [path for path in Path().rglob("*") if path not in before]
    assert new.parent == Path("deep/out")
    assert new.name.endswith("-received.png")
    assert new.name[0] not in ".-" or label == "-rf"
    assert result.out == f"{new}\n"
    assert all(line.isprintable() for line in [*result.err.splitlines(), new.name])


def test_labels_that_are_alike(openjscc, photo: Path) -> None:
    stream = sent(photo)
    meta, data = members(stream)
    parts = []
    for number, label in enumerate(("a-3.png", "a.png", "a.png", "a.jpg")):
        content = json.loads(meta[1])
        content["annotations"][0]["core:label"] = label
        text = json.dumps(content).encode()
        for suffix, some in ((META, text), (DATA, data[1])):
            member = tarfile.TarInfo(f"{number}{suffix}")
            member.size = len(some)
            parts.append((member, some))
    Path("out").mkdir()
    result, _ = air("rx", "-", "-o", "out", stdin=packed(*parts))
    assert result.code == 0
    assert len(files("out")) == len(set(result.out.split())) == 4


def test_a_recording_names_no_file(made: Path, tiny_weights: Path, tmp_path: Path) -> None:
    """Not as an agreed system, and not as a hint."""
    path = str(tmp_path / "w.safetensors")
    shutil.copy(tiny_weights / "deepjscc.photo.safetensors", path)
    names = (
        path,
        "./w.safetensors",
        "w.safetensors",
        "jpeg-ldpc+w.pth",
        "nobody",
        "\x1b[2J",
        "x" * 999,
        "adjscc.photo+",
        "jpeg-ldpc:mcs=x",
        "a\0+b",
    )
    for name in names:
        damaged(lambda content, name=name: content["annotations"][0].update({"openjscc:system": name, "openjscc:agreed": True}))
        assert air("rx", "frame.sigmf-meta", "-f")[0].code == 0, "the header decides"
    Path("frame.sigmf-data").write_bytes(np.ones(Path("frame.sigmf-data").stat().st_size // 8, dtype=np.complex64).tobytes())
    for name in names:
        damaged(lambda content, name=name: content["annotations"][0].update({"openjscc:system": name}))
        Path("received.png").unlink(missing_ok=True)
        result, _ = air("rx", "frame.sigmf-meta")
        result.assert_error(3, "is not here")


# -- processes


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "openjscc", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_a_pipe_of_processes(openjscc, photo: Path) -> None:
    one = start("tx", photo, "--snr", "10", stdout=subprocess.PIPE)
    two = start("channel", "-", stdin=one.stdout, stdout=subprocess.PIPE)
    three = start("rx", "-", stdin=two.stdout, stdout=subprocess.PIPE)
    for before in (one, two):
        assert before.stdout is not None
        before.stdout.close()
    assert three.communicate()[0] == b"received.png\n"
    assert [process.wait() for process in (one, two, three)] == [0, 0, 0]
    assert Image.open("received.png").size == (40, 24)


def test_nobody_reads_the_stream(openjscc, photo: Path) -> None:
    process = start("tx", *[photo] * 40, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert len(process.stdout.read(100)) == 100
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait() == 1
    assert "Traceback" not in said
    assert "Exception" not in said


def interrupted(folder: Path) -> Iterator[Path]:
    """What lies there after Ctrl-C in the middle of writing."""
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # tests in the background ignore it
    process = start("tx", *["photo.png"] * 5000, "-o", "long.sigmf-meta", cwd=folder, **heard)
    for _ in range(600):
        if any(path.stat().st_size for path in folder.glob(".long*")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait() == 130, said
    assert said.endswith("interrupted\n")
    yield from folder.iterdir()


def test_ctrl_c_leaves_no_file(openjscc, photo: Path, tmp_path: Path) -> None:
    assert [path.name for path in interrupted(tmp_path)] == ["photo.png"]


def test_a_bad_image_leaves_no_file(openjscc, photo: Path) -> None:
    Path("bad.png").write_text("no image")
    for form in (META, ARCHIVE, ARRAY):
        result, _ = air("tx", photo, "bad.png", "-o", f"x{form}")
        result.assert_error(2, "bad.png")
    assert sorted(path.name for path in Path().iterdir()) == ["bad.png", "photo.png"]
    result, stream = air("tx", photo, "bad.png")
    assert result.code == 2
    assert air("rx", "-", stdin=stream)[0].code == 4, "the stream has no end"


def test_a_terminal_is_no_place_for_samples(openjscc) -> None:
    import pty

    master, slave = pty.openpty()
    process = start("tx", stdout=slave)
    os.close(slave)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    os.close(master)
    assert process.wait() == 2
    assert said.startswith("error: samples to a terminal")


def test_memory_does_not_grow_with_the_frames(openjscc, make_picture) -> None:
    """Frames come as they are asked for: the most that is held of them is one."""
    make_picture(Path("small.png"), 16, 16)
    stream = sent("small.png")
    frame, end = stream[:-1024], stream[-1024:]

    class Endless(io.RawIOBase):
        """The same frame 40 times; how far it has been read."""

        left, asked = frame * 40 + end, 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            part = self.left[self.asked : self.asked + len(buffer)]
            buffer[: len(part)] = part
            self.asked += len(part)
            return len(part)

    from openjscc.radio import Receiver
    from openjscc.recording.archive import read_archive

    source = Endless()
    for number, got in enumerate(Receiver().receive(read_archive(io.BufferedReader(source), "stream")), start=1):
        assert got.ok
        assert source.asked <= number * len(frame) + 16384
    assert number == 40
