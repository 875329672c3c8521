"""``openjscc send``: what it writes, what it prints, and that the figures are those of the library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KEYS = ["image", "channel", "snr_db", "seed", "task", "request", "task_network", "systems"]
SYSTEM_KEYS = [
    "system", "weight", "ok", "bound", "tool", "scheme", "psnr", "ssim", "classes", "channel_uses", "bandwidth_ratio",
    "encode_ms", "decode_ms", "seen", "output",
]  # fmt: skip


def test_picture_report_and_path(openjscc, photo: Path) -> None:
    result = openjscc("send", photo)
    result.assert_ok()
    assert result.out == "photo-received.png\n"
    assert Image.open("photo-received.png").size == (40, 24)
    with Image.open("photo-received-side-by-side.png") as both:
        assert both.width > 80
    uses = 124 + 8 * 10 * 6  # the header, and 8 symbols a position
    assert f"k = {uses} channel uses, CBR 1/6 ({uses / 2880:.6f}" in result.err
    for word in ("40x24", "adjscc.photo", "PSNR", "SSIM", "encode", "decode", "awgn at 10 dB"):
        assert word in result.err


def test_bundled_photo_without_arguments(openjscc) -> None:
    result = openjscc("send")
    result.assert_ok()
    assert result.out == "photo-received.png\n"
    assert Image.open("photo-received.png").size == (512, 384)


def test_json_has_exactly_the_documented_keys(openjscc, photo: Path) -> None:
    result = openjscc(
        "send", photo, "--json", "--snr", "-3.5", "--seed", 8, "--channel", "RAYLEIGH:block", "--ratio", "1/12", "-o", "x.png"
    )
    result.assert_ok()
    report = json.loads(result.out)
    assert list(report) == KEYS
    assert {key: report[key] for key in KEYS[:-1]} == {
        "image": str(photo), "channel": "rayleigh:block", "snr_db": -3.5, "seed": 8, "task": "reconstruction",
        "request": None, "task_network": None,
    }  # fmt: skip
    (system,) = report["systems"]
    assert list(system) == SYSTEM_KEYS
    assert system["system"] == "adjscc"
    assert system["weight"] == "adjscc.photo"
    assert system["ok"] is True
    assert system["output"] == "x.png"
    assert system["channel_uses"] == 4 * 124 + 4 * 10 * 6  # told of an SNR below 0 dB, it sends the header four times
    assert system["bandwidth_ratio"] == pytest.approx(system["channel_uses"] / (3 * 40 * 24), rel=1e-12)
    assert system["encode_ms"] > 0
    assert system["decode_ms"] > 0


def test_figures_and_picture_are_those_of_the_library(openjscc, photo: Path, tiny_weights: Path) -> None:
    import torch

    from openjscc import load, read_image, transmit
    from openjscc.data.images import to_uint8
    from openjscc.metrics import psnr, ssim

    report = json.loads(openjscc("send", photo, "--json", "--seed", 3, "--snr", 4).out)["systems"][0]
    x = read_image(photo).pixels[None]
    image = transmit(load(tiny_weights / "adjscc.photo.safetensors"), "awgn", x, 4.0, seed=3).image
    assert image is not None
    assert report["psnr"] == pytest.approx(psnr(x, image).item(), abs=1e-4)
    assert report["ssim"] == pytest.approx(ssim(x, image).item(), abs=1e-5)
    written = torch.from_numpy(np.array(Image.open("photo-received.png"))).permute(2, 0, 1)
    assert (written.int() - to_uint8(image[0]).int()).abs().max() <= 1


def test_seed_decides_the_noise(openjscc, photo: Path) -> None:
    def sent(seed: int) -> bytes:
        openjscc("send", photo, "--seed", seed, "-o", "out.png", "-f").assert_ok()
        return Path("out.png").read_bytes()

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_several_pictures_go_to_a_folder(openjscc, photo: Path, make_picture: Callable[..., Path], tmp_path: Path) -> None:
    other = make_picture(tmp_path / "other.png", 9, 13)
    (tmp_path / "out").mkdir()
    result = openjscc("send", photo, other, "-o", "out")
    result.assert_ok()
    assert result.out.splitlines() == [str(Path("out/photo-received.png")), str(Path("out/other-received.png"))]
    assert len(list((tmp_path / "out").iterdir())) == 4
    reports = json.loads(openjscc("send", photo, other, "--json").out)
    assert [report["image"] for report in reports] == [str(photo), str(other)]
    assert all(list(report) == KEYS for report in reports)


def test_several_pictures_need_a_folder(openjscc, photo: Path, make_picture: Callable[..., Path], tmp_path: Path) -> None:
    other = make_picture(tmp_path / "other.png")
    openjscc("send", photo, other, "-o", "single.png").assert_error(2, "single.png")
    assert not Path("single.png").exists()


def test_pictures_of_one_name_would_overwrite_each_other(
    openjscc, photo: Path, make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    again = make_picture(tmp_path / "sub" / "photo.png")
    openjscc("send", photo, again).assert_error(2, "photo-received.png")


@pytest.mark.parametrize("taken", ["photo-received.png", "photo-received-side-by-side.png"])
def test_existing_output_is_refused_before_any_work(openjscc, photo: Path, taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(taken).write_bytes(b"mine")
    monkeypatch.setattr("openjscc.models.load", lambda *_: pytest.fail("loaded a model"))
    result = openjscc("send", photo)
    result.assert_error(2, taken)
    assert "-f" in result.err
    assert Path(taken).read_bytes() == b"mine"
    assert sorted(path.name for path in Path().iterdir()) == sorted(["photo.png", taken])


def test_force_replaces(openjscc, photo: Path) -> None:
    Path("photo-received.png").write_bytes(b"old")
    openjscc("send", photo, "-f").assert_ok()
    assert Image.open("photo-received.png").size == (40, 24)


def test_the_picture_that_is_sent_is_never_overwritten(openjscc, photo: Path) -> None:
    before = photo.read_bytes()
    openjscc("send", photo, "-o", photo, "-f").assert_error(2, "photo.png")
    assert photo.read_bytes() == before


def test_webp_and_jpeg_outputs(openjscc, photo: Path) -> None:
    openjscc("send", photo, "-o", "a.webp").assert_ok()
    assert Image.open("a.webp").format == "WEBP"
    result = openjscc("send", photo, "-o", "b.jpg")
    result.assert_ok()
    assert "JPEG" in result.err
    assert Path("b-side-by-side.png").exists()


def test_identical_pictures_have_null_psnr(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.cli.outcomes.received", lambda result, x: x.clone())
    result = openjscc("send", photo, "--json")
    result.assert_ok()
    system = json.loads(result.out)["systems"][0]
    assert system["psnr"] is None
    assert system["ssim"] == pytest.approx(1.0)
    assert "PSNR infinite" in result.err


def test_a_lost_frame_is_exit_code_1_with_a_picture(openjscc, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from openjscc.codec import Reconstruction
    from openjscc.models import LearnedCodec

    monkeypatch.setattr(LearnedCodec, "decode", lambda self, received: Reconstruction(ok=torch.tensor([False])))
    monkeypatch.setattr("openjscc.models._weights._run_self_test", lambda *_: None)
    result = openjscc("send", photo, "--json")
    assert result.code == 1
    system = json.loads(result.out)["systems"][0]
    assert system["ok"] is False
    assert system["psnr"] is None
    assert "lost" in result.err
    assert np.array(Image.open("photo-received.png")).std() == 0


def test_a_weight_by_path(openjscc, photo: Path, tiny_weights: Path) -> None:
    result = openjscc("send", photo, "--model", tiny_weights / "deepjscc.photo.safetensors", "--json")
    result.assert_ok()
    assert json.loads(result.out)["systems"][0]["weight"] == "deepjscc.photo"


def test_a_true_process(tiny_weights: Path, photo: Path) -> None:
    command = [sys.executable, "-m", "openjscc", "send", str(photo), "-o", str(photo.with_name("out.png")), "--json"]
    import os

    environment = {**os.environ, "OPENJSCC_WEIGHTS": str(tiny_weights), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=photo.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["systems"][0]["ok"] is True
    assert "warning" not in done.stderr.lower()


def test_compare_gives_digital_systems_the_same_uses(openjscc, make_picture) -> None:
    photo = make_picture(Path("large.png"), 160, 96)
    result = openjscc("send", photo, "--compare", "jpeg-ldpc:mcs=qpsk-1/2-n1944,jpeg-capacity,deepjscc", "--snr", 9, "--json")
    result.assert_ok()
    systems = json.loads(result.out)["systems"]
    assert [system["system"] for system in systems] == ["adjscc", "jpeg-ldpc:mcs=qpsk-1/2-n1944", "jpeg-capacity", "deepjscc"]
    assert len({system["channel_uses"] for system in systems[:3]}) == 1
    assert [system["bound"] for system in systems] == [False, False, True, False]
    assert systems[1]["ok"] is True
    assert systems[1]["scheme"] == "qpsk-1/2-n1944"
    assert "Pillow" in systems[1]["tool"]
    assert systems[0]["tool"] is None
    assert systems[2]["psnr"] > systems[1]["psnr"]
    assert [system["output"] for system in systems] == ["large-received.png", None, None, None]
    assert "bound" in result.err
    assert "qpsk-1/2-n1944" in result.err


def test_a_lost_system_of_a_comparison_is_a_result(openjscc, make_picture) -> None:
    photo = make_picture(Path("large.png"), 160, 96)
    lost = "jpeg-ldpc:mcs=64qam-5/6-n1944"
    result = openjscc("send", photo, "--compare", lost, "--snr", 5)
    result.assert_ok()
    assert "frame lost" in result.err
    with Image.open("large-received-side-by-side.png") as sheet:
        assert sheet.width > 3 * 160
        pixels = np.array(sheet.convert("RGB"))
    grey = (pixels == 128).all(2)
    assert grey.sum() > 0.7 * 160 * 96
    rows, columns = grey.any(1).nonzero()[0], grey.any(0).nonzero()[0]
    inside = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (inside == 255).all(2).sum() > 20, "the words are in white"


def test_a_lost_model_is_exit_code_1_with_a_picture(openjscc, make_picture) -> None:
    photo = make_picture(Path("large.png"), 160, 96)
    result = openjscc("send", photo, "--model", "jpeg-ldpc:mcs=64qam-5/6-n1944", "--snr", 5, "--ratio", "0.2", "--json")
    assert result.code == 1
    (system,) = json.loads(result.out)["systems"]
    assert system["ok"] is False
    assert system["psnr"] is None
    assert system["channel_uses"] == int(0.2 * 3 * 160 * 96) + 148
    assert (np.array(Image.open("large-received.png")) == 128).all()


def test_unknown_systems_are_refused_before_anything_is_sent(openjscc, photo: Path) -> None:
    openjscc("send", photo, "--compare", "jpeg-ldcp").assert_error(2, "jpeg-ldcp")
    openjscc("send", photo, "--compare", "jpeg-ldpc:mcs=33qam-1/2-n1944").assert_error(2, "33qam")
    openjscc("send", photo, "--compare", "adjscc,,deepjscc").assert_error(2, "empty name")
    assert not Path("photo-received.png").exists()


def test_without_a_learned_system_the_first_one_sets_the_uses(openjscc, make_picture) -> None:
    photo = make_picture(Path("large.png"), 160, 96)
    systems = ["--model", "jpeg-capacity", "--compare", "jpeg-ldpc,jpeg-capacity,webp-capacity"]
    report = json.loads(openjscc("send", photo, *systems, "--ratio", "1/8", "--json").out)["systems"]
    assert [system["system"] for system in report] == ["jpeg-capacity", "jpeg-ldpc", "webp-capacity"]
    assert {system["channel_uses"] for system in report} == {160 * 96 * 3 // 8 + 148}


def test_one_weight_under_two_names_is_sent_once(openjscc, photo: Path) -> None:
    report = json.loads(openjscc("send", photo, "--compare", "adjscc.photo,deepjscc", "--json").out)
    assert [system["weight"] for system in report["systems"]] == ["adjscc.photo", "deepjscc.photo"]


def test_the_equaliser_that_is_asked_for_is_used(openjscc, photo: Path) -> None:
    """Under fast fading zero forcing amplifies what has faded; the default does not."""
    quality = {}
    for options in ((), ("--equalizer", "mmse"), ("--equalizer", "zf")):
        sent = openjscc("send", photo, "--channel", "rayleigh:fast", "--snr", 5, *options, "-f", "--json")
        sent.assert_ok()
        quality[options[-1:]] = json.loads(sent.out)["systems"][0]["psnr"]
    assert quality[()] == quality["mmse",]
    assert quality["mmse",] != pytest.approx(quality["zf",], abs=0.01)
