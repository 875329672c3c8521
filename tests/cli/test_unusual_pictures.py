"""Pictures as people have them: every size and pixel type is sent, and what was done to read it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

RNG = np.random.default_rng(5)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def grey16(path: Path) -> None:
    Image.fromarray(RNG.integers(0, 65536, (9, 14), dtype=np.uint16)).save(path)


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (14, 9), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(14, 9, 3)).save(path, exif=exif)  # 9 wide, 14 high as stored


CASES: list[tuple[str, Callable[[Path], object], str]] = [
    ("grey.png", lambda path: Image.fromarray(noise(9, 14)).save(path), ""),
    ("bilevel.png", lambda path: Image.fromarray(noise(9, 14)).convert("1").save(path), ""),
    ("palette.png", lambda path: Image.fromarray(noise(9, 14, 3)).quantize(16).save(path), ""),
    ("rgba.png", lambda path: Image.fromarray(noise(9, 14, 4)).save(path), "white"),
    ("grey-alpha.png", lambda path: Image.fromarray(noise(9, 14, 2)).save(path), "white"),
    ("cmyk.jpg", lambda path: Image.fromarray(noise(9, 14, 3)).convert("CMYK").save(path), "CMYK"),
    ("grey16.png", grey16, "16 bits"),
    ("rotated.jpg", rotated, "EXIF"),
    ("animated.gif", animated, "first of 3 frames"),
    ("animated.webp", animated, "first of 3 frames"),
    ("plain.bmp", lambda path: Image.fromarray(noise(9, 14, 3)).save(path), ""),
    ("plain.tif", lambda path: Image.fromarray(noise(9, 14, 3)).save(path), ""),
    ("ünï çødé ☂.png", lambda path: Image.fromarray(noise(9, 14, 3)).save(path), ""),
]


@pytest.mark.parametrize(("name", "write", "note"), CASES, ids=[case[0] for case in CASES])
def test_pixel_types(openjscc, tmp_path: Path, name: str, write: Callable[[Path], object], note: str) -> None:
    write(tmp_path / name)
    result = openjscc("send", name)
    result.assert_ok()
    received = Path(result.out.removesuffix("\n"))
    with Image.open(received) as image:
        assert (image.size, image.mode) == ((14, 9), "RGB")
    assert "14x9" in result.err
    assert note in result.err
    assert ("note" in result.err) == bool(note)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (3, 5), (33, 31), (41, 200)])
def test_sizes(openjscc, make_picture: Callable[..., Path], tmp_path: Path, size: tuple[int, int]) -> None:
    make_picture(tmp_path / "p.png", *size)
    result = openjscc("send", "p.png", "--json")
    result.assert_ok()
    system = json.loads(result.out)["systems"][0]
    width, height = size
    padded = -(-width // 4) * -(-height // 4)
    assert system["channel_uses"] == 124 + 8 * padded
    assert system["bandwidth_ratio"] == pytest.approx(system["channel_uses"] / (3 * width * height))
    with Image.open("p-received.png") as image:
        assert image.size == size
    assert Path("p-received-side-by-side.png").exists()


@pytest.mark.parametrize("channel", ["rayleigh:block", "rayleigh:fast", "rician:4", "rician:0:fast"])
def test_one_pixel_over_every_channel(openjscc, make_picture: Callable[..., Path], tmp_path: Path, channel: str) -> None:
    make_picture(tmp_path / "p.png", 1, 1)
    for equalizer in ("mmse", "zf"):
        openjscc("send", "p.png", "--channel", channel, "--equalizer", equalizer, "--snr", "-5", "-f").assert_ok()
