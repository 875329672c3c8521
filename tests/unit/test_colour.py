"""Pixels of every type become sRGB, and what was done is said."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from openjscc.data.images import read_image
from openjscc.errors import UsageError

RAMP = np.tile(np.linspace(0, 1, 96), (4, 1))
COLOUR = np.stack(np.meshgrid(np.arange(0, 256, 51), np.arange(0, 256, 17)), -1).astype(np.uint8)
COLOUR = np.dstack([COLOUR, 255 - COLOUR[..., :1]])


def write_tiff(
    path: Path,
    values: np.ndarray,
    *,
    white_is_zero: bool = False,
    kind: int = 1,
    bits: int | None = None,
    extra: int | None = None,
) -> Path:
    """An uncompressed TIFF ``(H, W)`` or ``(H, W, C)``; kind: 1 unsigned, 2 signed, 3 floating-point."""
    height, width, *rest = values.shape
    channels = rest[0] if rest else 1
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    stored = bits or 8 * values.itemsize
    photometric = 2 if channels == 3 else 0 if white_is_zero else 1
    tags = {256: [width], 257: [height], 258: [stored] * channels, 259: [1], 262: [photometric], 273: [0], 277: [channels]}
    tags |= {278: [height], 279: [len(data)], 339: [kind] * channels}
    if extra is not None:
        tags[338] = [extra]
    after = 8 + 2 + 12 * len(tags) + 4
    outside, entries = b"", b""
    for tag, numbers in sorted(tags.items()):
        if tag == 273:
            numbers = [after + sum(2 * len(n) for n in tags.values() if len(n) > 2)]
        form = "I" if tag in (273, 279) else "H"
        packed = struct.pack(f"<{len(numbers)}{form}", *numbers)
        if len(packed) > 4:
            outside, packed = outside + packed, struct.pack("<I", after + len(outside))
        entries += struct.pack("<HHI", tag, 4 if form == "I" else 3, len(numbers)) + packed.ljust(4, b"\0")
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + outside + data)
    return path


def profile(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float) -> bytes:
    """An ICC profile of three primaries (XYZ under D50) and a gamma."""

    def fixed(*numbers: float) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    name = b"desc\0\0\0\0" + struct.pack(">I", 9) + b"of a test" + b"\0" * 79
    white = (0.9642, 1.0, 0.8249)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none", b"wtpt": b"XYZ \0\0\0\0" + fixed(*white)}
    for letter, primary in zip(b"rgb", (red, green, blue), strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*primary)
        tags[bytes([letter]) + b"TRC"] = curve
    start = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s6H", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ", 2024, 1, 1, 0, 0, 0)
    head += b"acsp" + b"\0" * 28 + fixed(*white)
    return head.ljust(128, b"\0") + table + body


WIDE = profile((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407), 2.2)


def grey(path: Path) -> torch.Tensor:
    pixels = read_image(path).pixels
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
    return pixels[0]


@pytest.mark.parametrize("kind", ["u8", "u16", "f32"])
def test_white_is_zero_is_no_negative(tmp_path: Path, kind: str) -> None:
    full = {"u8": 255, "u16": 65535, "f32": 1}[kind]
    values = (full * (1 - RAMP)).round(0 if full > 1 else 9).astype(f"<{kind[0]}{int(kind[1:]) // 8}")
    path = write_tiff(tmp_path / "a.tif", values, white_is_zero=True, kind=3 if kind == "f32" else 1)
    assert torch.allclose(grey(path), torch.from_numpy(RAMP).float(), atol=1 / 255)


@pytest.mark.parametrize(
    ("values", "kind", "note"),
    [
        ((RAMP * 255 - 128).round().astype(np.int8), 2, "signed values -128 to 127"),
        ((RAMP * 65535 - 32768).round().astype(np.int16), 2, "signed values -32768 to 32767"),
        ((RAMP * 3000 + 100).round().astype(np.int16), 2, "signed values 100 to 3100"),
        ((RAMP * 65535 - 32768).round().astype(np.int32), 2, "signed values -32768 to 32767"),
        ((RAMP * 4294967295).round().astype(np.uint32), 1, "32 bits a value, scaled by its largest, 4294967295"),
    ],
)
def test_signed_and_32_bit_grey_is_a_whole_ramp_and_says_so(tmp_path: Path, values: np.ndarray, kind: int, note: str) -> None:
    path = write_tiff(tmp_path / "a.tif", values, kind=kind)
    assert torch.allclose(grey(path), torch.from_numpy(RAMP).float(), atol=1 / 255)
    assert read_image(path).notes[0].startswith(note)


def test_twelve_bit_grey_is_not_dark(tmp_path: Path) -> None:
    first, second = np.array([0, 4095, 2048, 100] * 24).reshape(2, -1, 2).transpose(2, 0, 1)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", packed.reshape(2, -1), bits=12)
    content = path.read_bytes().replace(struct.pack("<HHIH", 256, 3, 1, 72), struct.pack("<HHIH", 256, 3, 1, 48))
    path.write_bytes(content)
    picture = read_image(path)
    assert picture.notes == ("12 bits a value",)
    assert picture.pixels[0, 0, :4].tolist() == pytest.approx([0, 1, 2048 / 4095, 100 / 4095])


def test_all_the_same_signed_value(tmp_path: Path) -> None:
    for value, shown in ((0, 0.0), (-5, 0.0), (7, 1.0)):
        assert grey(write_tiff(tmp_path / "a.tif", np.full((3, 5), value, np.int16), kind=2)).unique().tolist() == [shown]


@pytest.mark.parametrize(
    ("values", "kind", "extra"),
    [
        (RAMP, 3, None),
        (RAMP.astype(np.float16), 3, None),
        (np.dstack([RAMP] * 3).astype(np.float32), 3, None),
        (np.dstack([RAMP * 65535] * 2).astype(np.uint16), 1, 2),
        (np.dstack([RAMP * 100] * 3).astype(np.int16), 2, None),
    ],
    ids=["float64", "float16", "rgb-float32", "grey-alpha-16", "rgb-signed"],
)
def test_types_that_are_not_read_are_no_damage(tmp_path: Path, values: np.ndarray, kind: int, extra: int | None) -> None:
    path = write_tiff(tmp_path / "a.tif", values, kind=kind, extra=extra)
    with pytest.raises(UsageError, match="pixels of a type") as caught:
        read_image(path)
    assert caught.value.exit_code == 2
    assert "16 bits" in caught.value.hint
    assert "get the file again" not in str(caught.value)


def test_a_compression_that_is_not_read_is_no_damage(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", (RAMP * 255).astype(np.uint8))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 34712)))
    with pytest.raises(UsageError, match="compression that is not read"):
        read_image(path)


def expected_in_srgb(values: np.ndarray, content: bytes) -> torch.Tensor:
    source = ImageCms.ImageCmsProfile(io.BytesIO(content))
    image = ImageCms.profileToProfile(Image.fromarray(values), source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_wide_gamut_is_converted_to_srgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path, icc_profile=WIDE, lossless=True)  # lossless: read by WebP only
    picture = read_image(path)
    assert picture.notes == ("converted from of a test to sRGB",)
    assert torch.equal(picture.pixels, expected_in_srgb(COLOUR, WIDE))
    assert float((picture.pixels - torch.from_numpy(COLOUR).permute(2, 0, 1) / 255).abs().max()) > 0.1


def test_transparency_and_palettes_have_their_profile_too(tmp_path: Path) -> None:
    whole = expected_in_srgb(COLOUR, WIDE)
    clear = np.dstack([COLOUR, np.full(COLOUR.shape[:2], 255, np.uint8)])
    clear[0, 0, 3] = 0
    Image.fromarray(clear).save(tmp_path / "a.png", icc_profile=WIDE)
    picture = read_image(tmp_path / "a.png")
    assert picture.pixels[:, 0, 0].tolist() == [1, 1, 1]
    assert torch.equal(picture.pixels[:, 1:], whole[:, 1:])
    assert len(picture.notes) == 2
    palette = Image.fromarray(COLOUR).quantize(256)
    palette.save(tmp_path / "p.png", icc_profile=WIDE)
    assert torch.equal(read_image(tmp_path / "p.png").pixels, expected_in_srgb(np.asarray(palette.convert("RGB")), WIDE))


def test_a_profile_of_srgb_changes_nothing(tmp_path: Path) -> None:
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=content)
    picture = read_image(tmp_path / "a.png")
    assert picture.notes == ()
    assert torch.equal(picture.pixels, torch.from_numpy(COLOUR).permute(2, 0, 1).float() / 255)


def test_profiles_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    stored = torch.from_numpy(COLOUR).permute(2, 0, 1).float() / 255
    for content in (WIDE[:200], b"no profile", WIDE.replace(b"RGB XYZ ", b"CMYKXYZ ")):
        Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=content)
        picture = read_image(tmp_path / "a.png")
        assert "profile" in picture.notes[0]
        assert torch.equal(picture.pixels, stored)
    Image.fromarray(COLOUR[..., 0]).save(tmp_path / "g.png", icc_profile=WIDE)  # three primaries for grey
    assert "profile" in read_image(tmp_path / "g.png").notes[0]
    Image.fromarray(COLOUR[..., 0].astype(np.uint16)).save(tmp_path / "w.png", icc_profile=WIDE)
    assert "its colour profile is not applied" in read_image(tmp_path / "w.png").notes


def test_the_name_of_a_profile_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", icc_profile=WIDE.replace(b"of a test", b"\x1b[2Jtests"))
    (note,) = read_image(tmp_path / "a.png").notes
    assert note.isprintable()


def test_colours_named_by_other_means_are_said(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    plain = path.read_bytes()
    for gamma, said in ((100_000, True), (45_455, False)):
        path.write_bytes(plain[:33] + chunk(b"gAMA", struct.pack(">I", gamma)) + plain[33:])
        assert bool(read_image(path).notes) == said
    wide = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    path.write_bytes(plain[:33] + chunk(b"cHRM", struct.pack(">8I", *wide)) + plain[33:])
    assert "primaries" in read_image(path).notes[0]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif)
    assert "Adobe RGB" in str(read_image(tmp_path / "a.jpg").notes)
