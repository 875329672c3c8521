"""Every documented bad input: the exit code, one ``error:`` line that names the value, a ``hint:``, never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

VERBS = ["send", "eval", "train", "models", "models list", "models info", "models verify"]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ("sned", "sned"),
        ("send --snrr 3", "--snrr"),
        ("send --snr", "--snr"),
        ("send --snr nan", "nan"),
        ("send --snr inf", "inf"),
        ("send --snr -inf", "-inf"),
        ("send --snr 1e9", "1e9"),
        ("send --snr loud", "loud"),
        ("send --snr 1,4", "1,4"),
        ("send --seed one", "one"),
        ("send --ratio 1/7", "1/7"),
        ("send --ratio 0", "0"),
        ("send --ratio nan", "nan"),
        ("send --ratio sixth", "sixth"),
        ("send --channel rician", "rician"),
        ("send --channel rayleigh:blok", "rayleigh:blok"),
        ("send --task painting", "painting"),
        ("send --task segmentation --ratio 1/6", "1/6"),
        ("send --task segmentation --model adjscc", "adjscc.photo does not serve the task 'segmentation'"),
        ("send --task segmentation --model bpg-capacity", "segmentation"),
        ("send --request photo --task reconstruction", "reconstruction"),
        ("send --request=", "''"),
        ("send --sentence-model some", "some"),
        ("send --equalizer dfe", "dfe"),
        ("send -o out.gif", "out.gif"),
        ("send -o nowhere/out.png", "nowhere"),
        ("eval --snr 0:20:nan", "0:20:nan"),
        ("eval --snr 20:0:2", "20:0:2"),
        ("eval --snr 400", "400"),
        ("eval --metrics psnr,,ssim", "psnr,,ssim"),
        ("eval --task segmentation --metrics psnr", "psnr"),
        ("eval --task segmentation --systems adjscc", "adjscc.photo does not serve the task 'segmentation'"),
        ("eval --task painting", "painting"),
        ("eval --trials 0", "0"),
        ("eval --limit 0", "0"),
        ("eval --ratio 1/6,1/7 --data .", "1/7"),
        ("eval --data nowhere/at/all", "nowhere/at/all"),
        ("eval --data .", "."),
        ("eval -o records.txt", "records.txt"),
        ("train", "recipe"),
        ("train adjscc-photo --set optimizer.stepz=3", "stepz"),
        ("train adjscc-photo --set optimizer.steps=many", "many"),
        ("train adjscc-photo --set steps", "steps"),
        ("train adjscc-photo --max-steps -1", "-1"),
        ("train adjscc-photo --max-minutes nan", "nan"),
        ("train adjscc-photo --export weight.bin", "weight.bin"),
        ("send --device gpu", "gpu"),
        ("eval --data . --device cuda:99", "cuda:99"),
        ("bench --data . --device cpu:1 -o out", "cpu:1"),
        ("study kodak-snr --device xpu -o out", "xpu"),
        ("survey make perceptual-pairs --device auto -o out", "--device"),
        ("models info", "NAME"),
        ("models inof", "inof"),
    ],
)
def test_bad_values_are_usage_errors(openjscc, arguments: str, value: str) -> None:
    openjscc(*arguments.split()).assert_error(2, value)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ("send --model adjsc", "adjscc"),
        ("send --model adjscc.foto", "adjscc.photo"),
        ("send --channel rayleigh:blokc", "rayleigh:block"),
        ("send --channel awng", "awgn"),
        ("eval --systems adjscc,depjscc", "deepjscc"),
        ("eval --metrics psrn", "psnr"),
        ("eval --data kodac", "kodak"),
        ("eval --channel awgn,reyleigh:fast", "rayleigh:fast"),
        ("train adjscc-foto", "adjscc-photo"),
        ("models info adjsccc", "adjscc"),
        ("models verify adjscc.cifar", "adjscc.cifar10"),
        ("send --task reconstrution", "reconstruction"),
    ],
)
def test_near_misses_are_shown(openjscc, arguments: str, near: str) -> None:
    result = openjscc(*arguments.split())
    result.assert_error(2, arguments.split()[-1].split(",")[-1])
    assert near in result.err.splitlines()[-1]


def test_rice_has_no_k(openjscc) -> None:
    for spec in ("rician:nan", "rician:-1", "rician:x"):
        openjscc("send", "--channel", spec).assert_error(2, spec)


def test_pictures_that_are_none(openjscc, tmp_path: Path, photo: Path) -> None:
    whole = photo.read_bytes()
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder").mkdir()
    openjscc("send", "text.png").assert_error(2, "text.png")
    openjscc("send", "empty.jpg").assert_error(2, "empty.jpg")
    openjscc("send", "cut.png").assert_error(4, "cut.png")
    openjscc("send", "folder").assert_error(2, "folder")
    openjscc("send", "absent.png").assert_error(2, "absent.png")
    openjscc("send", "").assert_error(2)
    openjscc("send", "line\nbreak.png").assert_error(2, "break.png")
    assert not list(tmp_path.glob("*received*"))


def test_one_bad_picture_stops_all_before_the_first(openjscc, photo: Path) -> None:
    openjscc("send", photo, "absent.png").assert_error(2, "absent.png")
    assert not list(Path().glob("*received*"))


def test_a_decompression_bomb(openjscc, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    openjscc("send", "bomb.png").assert_error(2, "bomb.png")


def test_an_unwritable_folder(openjscc, photo: Path, locked_folder: Path) -> None:
    openjscc("send", photo, "-o", locked_folder / "out.png").assert_error(2, "out.png")
    openjscc("eval", "--data", photo.parent, "-o", locked_folder / "out.csv").assert_error(2, "out.csv")
    openjscc("train", "adjscc-photo", "-o", locked_folder / "run").assert_error(2, "run")


def test_names_that_no_file_system_takes(openjscc, photo: Path) -> None:
    openjscc("send", photo, "-o", "x" * 300 + ".png").assert_error(2)
    openjscc("send", "y" * 300 + ".png").assert_error(2)
    openjscc("send", photo, "-o", "nul\0byte.png").assert_error(2)


def test_weight_files_that_are_none(openjscc, photo: Path, tiny_weights: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    good = (tiny_weights / "adjscc.photo.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(good[:-100])
    (tmp_path / "noise.safetensors").write_bytes(b"\xff" * 500)
    (tmp_path / "empty.safetensors").touch()
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    flipped = bytearray(good)
    flipped[-50] ^= 0xFF
    (tmp_path / "flipped.safetensors").write_bytes(flipped)
    for name in ("cut", "noise", "empty", "foreign", "flipped"):
        path = f"{name}.safetensors"
        for verb in (["send", photo, "--model", path], ["models", "info", path], ["eval", "--data", tmp_path, "--model", path]):
            openjscc(*verb).assert_error(4, path)
        result = openjscc("models", "verify", path)
        assert result.code == 4
        assert result.err.count("error: ") == 1
        assert "FAILED" in result.out
    openjscc("send", photo, "--model", "absent.safetensors").assert_error(3, "absent.safetensors")
    assert not list(tmp_path.glob("*received*"))


def test_missing_data(openjscc) -> None:
    result = openjscc("eval", "--data", "kodak")
    result.assert_error(3, "kodak")
    assert "r0k.us" in result.err


def test_hints_for_newcomers(openjscc, make_picture, tmp_path: Path) -> None:
    """Mistakes of the first five minutes, each with a hint that leads on."""
    (tmp_path / "photos").mkdir()
    make_picture(tmp_path / "photos" / "one.png")
    for arguments, code, said, hint in (
        (["send", "--snr"], 2, "--snr", "see openjscc send --help"),
        (["sned"], 2, "sned", "see openjscc --help"),
        (["send", "--model", "bpg"], 2, "'bpg'", "did you mean bpg-capacity or bpg-ldpc?"),
        (["eval", "photos"], 2, "photos is a folder", "--data photos"),
        (["eval"], 3, "kodak", "a folder of your own images"),
        (["models", "info", "jpeg-ldpc"], 2, "jpeg-ldpc is a digital link", "openjscc models list"),
        (["plot", "photos", "-o", "a.svg"], 2, "photos/records.csv", "a folder of openjscc bench"),
        (["study", "kodak-snr", "--limit", "1"], 3, "kodak", "--data-dir"),
    ):
        result = openjscc(*arguments)
        result.assert_error(code, said)
        assert hint in result.err, result.err
        assert "downloading" not in result.err


def test_missing_extra(openjscc, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "lightning_fabric" else find(name, *rest)
    )
    result = openjscc("train", "adjscc-photo")
    result.assert_error(3, "lightning-fabric")
    assert "pip install 'openjscc[train]'" in result.err


def test_a_full_disk_and_too_little_memory(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "out.png")

    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        )

    monkeypatch.setattr("openjscc.data.images.write_png", full)
    openjscc("send", photo).assert_error(1, "No space left")
    monkeypatch.setattr("openjscc.link.transmit", too_large)
    openjscc("send", photo).assert_error(1, "memory")


def test_interruption(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openjscc.link.transmit", interrupted)
    result = openjscc("send", photo)
    assert result.code == 130
    assert "interrupted" in result.err
    assert "Traceback" not in result.err


def test_a_fault_of_ours_is_not_hidden(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("openjscc.link.transmit", broken)
    with pytest.raises(ZeroDivisionError):
        openjscc("send", photo)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help(openjscc, verb: str) -> None:
    result = openjscc(*verb.split(), "--help")
    result.assert_ok()
    assert result.err == ""
    assert result.out.startswith(f"Usage: openjscc {verb}".rstrip())


def test_verbs_without_arguments_show_help(openjscc) -> None:
    for verb in ([], ["models"]):
        result = openjscc(*verb)
        result.assert_ok()
        assert "Commands:" in result.out


def test_version(openjscc) -> None:
    result = openjscc("--version")
    result.assert_ok()
    assert result.out.startswith("openjscc ")


def test_help_does_not_wait_for_torch() -> None:
    """0.1 s in place of 2: the whole process, for every verb."""
    program = f"""
import sys
from openjscc.cli import main
for verb in {[verb.split() for verb in VERBS]!r} + [[]]:
    assert main([*verb, "--help"]) == 0
assert main(["sned"]) == 2
assert main(["send", "--snrr", "3"]) == 2
slow = sorted({{"torch", "numpy", "PIL", "rich", "safetensors", "matplotlib"}} & set(sys.modules))
assert not slow, slow
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_traceback() -> None:
    program = "import sys; from openjscc.cli import main; sys.exit(main(['train', '--list']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["stdout", "stderr", "all"])
def test_closed_streams_are_no_failure(tmp_path: Path, make_picture: Callable[..., Path], closed: tuple[int, ...]) -> None:
    """As of a daemon: nobody reads, and the image is written."""
    source = make_picture(tmp_path / "a.png", 16, 16)
    command = [sys.executable, "-m", "openjscc", "send", str(source), "-o", str(tmp_path / "r.png")]
    program = f"import os; [os.close(n) for n in {closed}]; os.execv({command[0]!r}, {command!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "r.png").size == (16, 16)
    assert done.stdout == ("" if 1 in closed else f"{tmp_path / 'r.png'}\n"), "what is for stderr stays out of stdout"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("verb", [["train", "--list"], ["--help"], ["models", "list", "--json"]], ids=" ".join)
def test_stdout_on_a_full_disk(verb: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "openjscc", *verb], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: No space left on device"
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("verb", ["send", "eval", "bench"])
def test_a_full_disk_has_one_exit_code(
    openjscc, verb: str, tmp_path: Path, make_picture: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_picture(tmp_path / "a.png", 16, 16)
    options = {
        "send": [tmp_path / "a.png", "-o", "r.png"],
        "eval": ["--data", tmp_path, "--metrics", "psnr", "-o", "r.csv"],
        "bench": ["--data", tmp_path, "--metrics", "psnr", "-o", "out"],
    }

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    result = openjscc(verb, *options[verb])
    assert result.code == 1
    assert "error: " in result.err
    assert "No space left on device" in result.err
    assert not [path for path in Path().rglob("*") if path.name.endswith(".tmp")]


def test_ctrl_c_before_the_command_line_is_there() -> None:
    program = """
import builtins, sys
real = builtins.__import__
def interrupted(name, *arguments, **options):
    if name == "typer":
        raise KeyboardInterrupt
    return real(name, *arguments, **options)
builtins.__import__ = interrupted
from openjscc.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_the_installed_command_is_the_one_that_heeds_ctrl_c() -> None:
    with open(Path(__file__).parents[2] / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["scripts"] == {"openjscc": "openjscc.__main__:main"}


@pytest.mark.parametrize(
    "arguments",
    [
        "send absent.png --model NOPE",
        "send absent.png --model NOPE+fcn",
        "send absent.png --compare adjscc,NOPE",
        "send absent.png --channel NOPE",
        "send absent.png --task NOPE",
        "eval NOPE --data absent -o absent/r.csv",
        "eval --data absent --channel NOPE -o absent/r.csv",
        "eval --data absent --metrics NOPE -o absent/r.csv",
        "bench --systems NOPE --data absent -o file.png",
        "bench --channel NOPE --data absent -o file.png",
        "bench --metrics NOPE --data absent -o file.png",
        "plot absent.csv --y NOPE -o absent/a.svg",
        "plot absent.csv --x NOPE -o absent/a.svg",
        "plot absent.csv --style NOPE -o absent/a.svg",
        "study NOPE -o file.png",
        "train NOPE -o file.png",
    ],
)
def test_names_are_looked_at_before_paths(openjscc, arguments: str) -> None:
    Path("file.png").write_bytes(b"a file")
    openjscc(*arguments.split()).assert_error(2, "NOPE")


def test_packaged_names_are_looked_at_before_torch() -> None:
    program = """
import sys
from openjscc.cli import main
for arguments in (["train", "adjscc-foto"], ["study", "kodak-snrr"]):
    assert main(arguments) == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "adjscc-photo" in done.stderr
    assert "kodak-snr" in done.stderr
