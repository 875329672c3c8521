"""Image files that are cut, that claim more than they hold, or whose headers never end: refused soon, and in one line."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openjscc.data import decoding
from openjscc.data.images import picture_size, read_image
from openjscc.errors import IntegrityError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


def stored(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(COLOUR)).save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def plain(magic: str, values: np.ndarray, largest: int = 255) -> bytes:
    rows = "\n".join(" ".join(str(value) for value in row) for row in values.reshape(len(values), -1))
    head = f"{magic}\n# a comment\n{values.shape[1]} {values.shape[0]}\n" + ("" if magic == "P1" else f"{largest}\n")
    return (head + rows + "\n").encode()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


WHOLE: dict[str, Callable[[], bytes]] = {
    "png": lambda: stored("PNG"),
    "jpeg": lambda: stored("JPEG"),
    "jpeg-progressive": lambda: stored("JPEG", progressive=True),
    "webp": lambda: stored("WEBP", lossless=True),
    "gif": lambda: stored("GIF"),
    "bmp": lambda: stored("BMP"),
    "tiff": lambda: stored("TIFF"),
    "tiff-deflate": lambda: stored("TIFF", compression="tiff_adobe_deflate"),
    "avif": lambda: stored("AVIF"),
    "jp2": lambda: stored("JPEG2000"),
    "j2k": lambda: stored("JPEG2000", no_jp2=True),
    "jp2-tiles": lambda: stored("JPEG2000", tile_size=(4, 4)),
    "ppm": lambda: stored("PPM"),
    "ppm-16-bit": lambda: b"P6 9 6 1000\n" + (COLOUR * np.uint16(3)).astype(">u2").tobytes(),
    "plain-pbm": lambda: plain("P1", GREY // 128),
    "plain-pgm": lambda: plain("P2", GREY),
    "plain-ppm": lambda: plain("P3", COLOUR),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_never_another_image(tmp_path: Path, kind: str) -> None:
    """All pixels are there, or it is an error: code 4, but for the few first bytes, which are of no known format yet."""
    path = tmp_path / "cut"
    content = WHOLE[kind]()
    path.write_bytes(content)
    whole = read_image(path).pixels
    wrong = []
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        try:
            pixels = read_image(path).pixels
        except IntegrityError:
            continue
        except UsageError:
            wrong += [length] if length >= 20 else []
        else:
            wrong += [] if torch.equal(pixels, whole) else [length]
    assert wrong == []


def test_pnm_files_have_the_values_of_their_text(tmp_path: Path) -> None:
    path = tmp_path / "a.pnm"
    for content, values in (
        (plain("P3", COLOUR), COLOUR / 255),
        (plain("P3", COLOUR % 4, 7), np.rint(COLOUR % 4 / 7 * 255) / 255),
        (plain("P2", GREY.astype(int) * 257, 65535), GREY / 255),
        (plain("P1", GREY // 128), 1 - GREY // 128),
        (b"P5 9 6 100\n" + (GREY % 101).tobytes(), np.rint(GREY % 101 / 100 * 255) / 255),
        (b"P5 9 6 999\n" + (GREY * np.uint16(3)).astype(">u2").tobytes(), GREY * 3.0 / 999),
    ):
        values = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
        path.write_bytes(content)
        picture = read_image(path)
        assert torch.allclose(picture.pixels, torch.from_numpy(values).permute(2, 0, 1).float(), atol=1e-5)
        assert picture_size(path) == (6, 9)
    path.write_bytes(b"P6 9 6 65535\n" + (COLOUR * np.uint16(257)).astype(">u2").tobytes())
    assert read_image(path).notes == ("16 bits a value, read as 8",)
    assert torch.equal(read_image(path).pixels, torch.from_numpy(COLOUR / np.float32(255)).permute(2, 0, 1))
    for wrong in (b"P2 2 1 9\n1 10\n", b"P2 2 1 9\n1 -1\n", b"P2 2 1 9\n1 2.5\n", b"P2 2 1 9\n1 18446744073709551617\n"):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError):
            read_image(path)


def gif_comment() -> bytes:
    content = stored("GIF")
    at = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    return content[:at] + b"!\xfe" + (b"\x01a" * 10_000_000) + b"\0" + content[at:]


ENDLESS: dict[str, Callable[[], bytes]] = {
    "comment-of-pnm": lambda: b"P6 #" + b"a" * 50_000_000 + b"\n1 1 255\nabc",
    "comments-of-pnm": lambda: b"P3 1 1 255\n" + b"#\n" * 20_000_000 + b"1 2 3\n",
    "comment-of-gif": gif_comment,
    "chunks-of-png": lambda: stored("PNG")[:33] + chunk(b"IDAT", b"") * 4_000_000 + stored("PNG")[33:],
    "texts-of-png": lambda: stored("PNG")[:33] + chunk(b"tEXt", b"a\0b") * 3_000_000 + stored("PNG")[33:],
    "segments-of-jpeg": lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 10_000_000 + stored("JPEG")[2:],
}
"""Tens of megabytes that Pillow takes apart in Python."""

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from openjscc.data.images import read_image
from openjscc.errors import OpenJSCCError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(sys.argv[1])
except OpenJSCCError as error:
    assert chr(10) not in error.message and error.hint
    print(error.exit_code, end=" ")
else:
    print(0, end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def read_apart(path: Path) -> tuple[int, int]:
    """Exit code and MiB that reading took, in a process of its own with a minute of processor time."""
    result = subprocess.run([sys.executable, "-W", "error", "-c", LIMITED, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    code, memory = result.stdout.split()
    return int(code), int(memory)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_headers_and_comments_without_an_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "long"
    path.write_bytes(ENDLESS[kind]())
    code, memory = read_apart(path)
    assert code == 2
    assert memory < 1000


def test_reading_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"P6 #" + b"a" * 30_000 + b"\n1 1 255\nabc")
    for reader in (read_image, picture_size):
        with pytest.raises(UsageError, match="small parts"):
            reader(path)
    monkeypatch.setattr(decoding, "_HEADER_READS", 40_000)
    assert picture_size(path) == (1, 1)


def test_too_many_frames_are_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.fromarray(COLOUR + shift) for shift in range(20)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert "first of 20 frames" in read_image(path).notes
    monkeypatch.setattr(decoding, "_FRAME_READS", 10)
    assert "first of several frames" in read_image(path).notes


def j2k_claiming(width: int, height: int) -> bytes:
    content = bytearray(stored("JPEG2000", Image.new("L", (8, 8)), no_jp2=True, num_resolutions=1))
    for at, number in ((8, width), (12, height), (24, width), (28, height)):
        content[at : at + 4] = struct.pack(">I", number)
    return bytes(content)


def tiff_claiming(width: int, height: int) -> bytes:
    content = bytearray(stored("TIFF", Image.new("I;16", (8, 8)), compression="tiff_lzw"))
    for tag, number in ((256, width), (257, height), (278, height)):
        at = content.index(struct.pack("<HH", tag, 3))
        content[at : at + 12] = struct.pack("<HHII", tag, 4, 1, number)
    return bytes(content)


@pytest.mark.parametrize("content", [j2k_claiming(7000, 7000), tiff_claiming(37, 2_097_175)], ids=["j2k", "tiff"])
def test_a_small_file_cannot_claim_a_large_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="too many for a file"):
        read_image(path)
    with pytest.raises(IntegrityError, match="too many for a file"):
        picture_size(path)


def test_formats_with_hungry_decoders_have_a_lower_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(j2k_claiming(10_000, 9_999))
    with pytest.raises(UsageError, match="at most 50 million are read of JPEG2000"):
        read_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_within_the_limit_has_no_warning(tmp_path: Path, suffix: str) -> None:
    """A read under ``-W error``: 95 million pixels, above the number at which Pillow warns, in less than 2 GiB."""
    path = tmp_path / f"a.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("L", (9500, 10_000), 7).save(path, **({"compression": "packbits"} if suffix == "tif" else {}))
    code, memory = read_apart(path)
    assert code == 0
    assert memory < 1800


def test_memory_that_is_not_there_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(stored("PNG"))

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "crop", full)
    with pytest.raises(UsageError, match="memory"):
        read_image(path)


def test_trailing_zeros_and_boxes_of_jpeg_2000_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (WHOLE["j2k"]() + bytes(100), WHOLE["jp2"]() + struct.pack(">I", 12) + b"free" + bytes(4)):
        path.write_bytes(content)
        assert read_image(path).pixels.shape == (3, 6, 9)
