"""Pictures in and out: every pixel type that people have, and every way in which a file can be bad."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from openjscc.data.bundled import probe, sample_photo
from openjscc.data.images import check_output, picture_size, read_image, to_pil, to_uint8, write_png
from openjscc.data.sheets import heat, side_by_side
from openjscc.errors import IntegrityError, OpenJSCCError, UsageError

# Pillow warns about damaged files before it raises, and about large ones before we refuse them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # pyright: ignore[reportArgumentType]
    return path


def as_float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32) / 255).permute(2, 0, 1)


def assert_one_line_error(error: OpenJSCCError, path: Path) -> None:
    assert str(path) in error.message
    assert "\n" not in error.message
    assert error.hint
    assert "Traceback" not in str(error)


def test_plain_rgb_is_exact_and_has_no_notes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    picture = read_image(path)
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.is_contiguous()
    assert torch.equal(picture.pixels, as_float(COLOUR))
    assert (picture.notes, picture.path) == ((), path)
    assert torch.equal(to_uint8(picture.pixels), torch.from_numpy(COLOUR).permute(2, 0, 1))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (7, 5)])
def test_lossless_formats_and_odd_sizes(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    values = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(values), **options)
    assert torch.equal(read_image(path).pixels, as_float(values))
    assert picture_size(path) == (size[1], size[0])


def test_grey_and_one_bit_are_repeated(tmp_path: Path) -> None:
    grey = read_image(saved(tmp_path / "g.png", Image.fromarray(GREY))).pixels
    assert torch.equal(grey, as_float(np.repeat(GREY[..., None], 3, axis=2)))
    bits = GREY > 127
    picture = read_image(saved(tmp_path / "b.png", Image.fromarray(bits)))
    assert torch.equal(picture.pixels[1], torch.from_numpy(bits.astype(np.float32)))


def test_transparency_is_shown_on_white_and_said_so(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, np.full(GREY.shape, 255, np.uint8)])
    opaque = read_image(saved(tmp_path / "opaque.png", Image.fromarray(rgba)))
    assert opaque.notes == ()
    assert torch.equal(opaque.pixels, as_float(COLOUR))
    rgba[0, 0, 3], rgba[0, 1] = 0, (0, 0, 0, 128)
    picture = read_image(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    assert picture.notes == ("transparent pixels shown on white",)
    assert picture.pixels[:, 0, 0].tolist() == [1, 1, 1]
    assert picture.pixels[:, 0, 1].tolist() == pytest.approx([127 / 255] * 3, abs=1.1 / 255)
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (7, 5), 0)])
    picture = read_image(saved(tmp_path / "la.png", grey_alpha))
    assert picture.notes
    assert bool((picture.pixels == 1).all())


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).quantize(256)
    picture = read_image(saved(tmp_path / "p.png", image))
    assert picture.notes == ()
    assert torch.equal(picture.pixels, as_float(np.asarray(image.convert("RGB"))))
    index = image.getpixel((0, 0))
    picture = read_image(saved(tmp_path / "t.png", image, transparency=index))
    assert picture.notes
    assert picture.pixels[:, 0, 0].tolist() == [1, 1, 1]


def test_cmyk(tmp_path: Path) -> None:
    picture = read_image(saved(tmp_path / "c.jpg", Image.new("CMYK", (9, 6), (0, 255, 255, 0)), quality=95))
    assert picture.pixels.shape == (3, 6, 9)
    assert "CMYK" in picture.notes[0]
    assert picture.pixels[0].min() > 0.9
    assert picture.pixels[1:].max() < 0.1


def test_sixteen_bit_grey_keeps_its_precision(tmp_path: Path) -> None:
    values = np.array([[0, 1, 256], [32768, 65534, 65535]], np.uint16)
    for name in ("a.png", "a.tiff"):
        picture = read_image(saved(tmp_path / name, Image.fromarray(values)))
        assert picture.notes == ("16 bits a value",)
        assert torch.allclose(picture.pixels[2], torch.from_numpy(values.astype(np.float32) / 65535), atol=1e-7)
    whole = Image.fromarray(values.astype(np.int32))
    assert whole.mode == "I"
    assert torch.equal(read_image(saved(tmp_path / "i.tiff", whole)).pixels, read_image(tmp_path / "a.tiff").pixels)


def test_sixteen_bit_rgb_is_read_with_eight_and_said_so(tmp_path: Path) -> None:
    samples = np.full((1, 2, 3), 0xABCD, ">u2")

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    data = chunk(b"IDAT", zlib.compress(b"\0" + samples.tobytes()))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))
    picture = read_image(path)
    assert picture.notes == ("16 bits a value, read as 8",)
    assert picture.pixels.unique().tolist() == pytest.approx([0xAB / 255], abs=1.1 / 255)


def test_floating_point_tiff(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    picture = read_image(saved(tmp_path / "f.tiff", Image.fromarray(values)))
    assert torch.equal(picture.pixels[0], torch.from_numpy(values))
    picture = read_image(saved(tmp_path / "g.tiff", Image.fromarray(values * 300 - 10)))
    assert "scaled" in picture.notes[0]
    assert torch.allclose(picture.pixels[0], torch.from_numpy(values), atol=1e-6)
    values[0, 0] = np.nan
    picture = read_image(saved(tmp_path / "h.tiff", Image.fromarray(values)))
    assert bool(torch.isfinite(picture.pixels).all())
    assert "black" in picture.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_rotation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = Image.fromarray(COLOUR)
    names = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = upright.transpose(Image.Transpose[names[orientation - 2]]) if orientation > 1 else upright
    path = saved(tmp_path / f"a.{suffix}", lying, exif=exif)
    picture = read_image(path)
    assert torch.equal(picture.pixels, as_float(COLOUR))
    assert picture.notes == (("rotated as its EXIF data says",) if orientation > 1 else ())
    assert picture_size(path) == (5, 7)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    picture = read_image(path)
    assert "first of 3 frames" in picture.notes
    assert picture.pixels[:, 2, 3].tolist() == [1, 0, 0]


def test_not_a_picture_and_no_file(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.png", tmp_path / "empty.png"
    text.write_text("hello, this is no picture")
    empty.touch()
    for path, word in (
        (text, "not a picture"),
        (empty, "empty"),
        (tmp_path, "folder"),
        (tmp_path / "none.png", "does not exist"),
    ):
        for reader in (read_image, picture_size):
            with pytest.raises(UsageError, match=word) as caught:
                reader(path)
            assert_one_line_error(caught.value, path)
            assert caught.value.exit_code == 2
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(UsageError):
            read_image(name)


def test_unreadable_and_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="ordinary"):
        read_image(pipe)
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: say no in the system's place

        def refused(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(UsageError, match="permission"):
        read_image(path)


BIG = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_truncated_is_an_integrity_error(tmp_path: Path, kind: str, keep: float) -> None:
    if kind == "AVIF" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    content = stored(BIG, kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(IntegrityError) as caught:
        read_image(path)
    assert_one_line_error(caught.value, path)
    assert caught.value.exit_code == 4


def test_a_header_cut_short_is_an_integrity_error(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for kind in ("PNG", "JPEG", "GIF", "TIFF"):
        path.write_bytes(stored(BIG, kind)[:17])
        with pytest.raises(IntegrityError):
            read_image(path)


def test_one_flipped_bit_in_png_pixels_is_noticed(tmp_path: Path) -> None:
    content = bytearray(stored(BIG, "PNG", compress_level=0))  # stored blocks: decodes without complaint, other pixels
    content[len(content) // 2] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        read_image(path)


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_bomb_is_refused_from_the_header(tmp_path: Path, side: int) -> None:
    """A header that promises too many pixels, and 30 bytes of data: refused with the number, nothing decoded."""
    header = b"P6 %d %d 255\n" % (side, side)
    path = tmp_path / "bomb.ppm"
    path.write_bytes(header + bytes(30))
    with pytest.raises(UsageError, match=f"{side * side / 1e6:.1f} million") as caught:
        read_image(path)
    assert_one_line_error(caught.value, path)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert torch.equal(read_image(path).pixels, as_float(COLOUR))


SAMPLES = [stored(BIG.resize((9, 6)), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")]


def only_our_errors(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        picture = read_image(path)
    except OpenJSCCError as error:
        assert_one_line_error(error, path)
    else:
        assert picture.pixels.shape[0] == 3
        assert float(picture.pixels.min()) >= 0
        assert float(picture.pixels.max()) <= 1
        assert picture_size(path) == tuple(picture.pixels.shape[1:])


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@pytest.mark.filterwarnings("ignore")
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", *(sample[:30] for sample in SAMPLES)]))
def test_any_bytes_give_only_our_errors(tmp_path: Path, content: bytes, start: bytes) -> None:
    only_our_errors(tmp_path / "fuzz", start + content)


@FUZZ
@pytest.mark.filterwarnings("ignore")
@given(data=st.data(), sample=st.sampled_from(SAMPLES))
def test_damaged_pictures_give_only_our_errors(tmp_path: Path, data: st.DataObject, sample: bytes) -> None:
    content = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    only_our_errors(tmp_path / "fuzz", bytes(content[: data.draw(st.integers(1, len(content)))]))


def test_to_uint8_rounds_and_clamps() -> None:
    x = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0, 7.0], dtype=torch.float64)
    assert to_uint8(x).tolist() == [0, 0, 0, 1, 255, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(every.float() / 255), every)
    assert torch.equal(to_uint8(every), every)
    assert x[0] == -1.0  # the input is left alone
    assert to_uint8(torch.tensor([0.5])).tolist() == [128]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a", "a.PNG"])
def test_write_then_read_is_exact(tmp_path: Path, name: str) -> None:
    pixels = as_float(COLOUR)
    assert write_png(tmp_path / name, pixels) == tmp_path / name
    assert torch.equal(read_image(tmp_path / name).pixels, pixels)
    assert [item.name for item in tmp_path.iterdir()] == [name]  # no temporary file left


def test_write_jpeg(tmp_path: Path) -> None:
    pixels = torch.full((3, 16, 16), 0.5)
    assert torch.allclose(read_image(write_png(tmp_path / "a.jpg", pixels)).pixels, pixels, atol=0.02)


def test_write_refuses_with_a_reason(tmp_path: Path) -> None:
    pixels = torch.zeros(3, 2, 2)
    path = write_png(tmp_path / "a.png", pixels)
    with pytest.raises(UsageError, match="exists") as caught:
        write_png(path, torch.ones(3, 2, 2))
    assert "-f" in caught.value.hint
    assert float(read_image(path).pixels.max()) == 0
    write_png(path, torch.ones(3, 2, 2), overwrite=True)
    assert float(read_image(path).pixels.min()) == 1
    (tmp_path / "folder.png").mkdir()
    for name, word in (("a.xyz", "xyz"), ("no/a.png", "no folder"), ("folder.png", "folder"), ("a\0.png", "file name")):
        with pytest.raises(UsageError, match=word):
            write_png(tmp_path / name, pixels, overwrite=True)
    with pytest.raises(UsageError, match="ordinary"):
        check_output("/dev/null.png" if not Path("/dev/null").exists() else "/dev/null", overwrite=True)
    with pytest.raises(UsageError, match="shape"):
        write_png(tmp_path / "b.png", torch.zeros(1, 2, 2))
    for wrong, hint in ((torch.zeros(1, 3, 2, 2), "images[0]"), (np.zeros((2, 2, 3)), "tensor")):
        with pytest.raises(UsageError) as caught:
            write_png(tmp_path / "b.png", wrong)
        assert hint in caught.value.hint
    with pytest.raises(UsageError, match="finite"):
        to_pil(torch.full((3, 2, 2), torch.nan))
    with pytest.raises(UsageError, match=r"does not fit into WEBP"):
        write_png(tmp_path / "wide.webp", torch.zeros(3, 1, 16_400))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.png", "folder.png"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_png(tmp_path / "a.png", torch.zeros(3, 2, 2))
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OpenJSCCError, match="No space") as caught:
        write_png(path, torch.ones(3, 2, 2), overwrite=True)
    assert caught.value.exit_code == 1
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root writes everywhere: say no in the system's place
        monkeypatch.setattr(os, "access", lambda *_: False)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(UsageError, match="permission"):
        write_png(folder / "a.png", torch.zeros(3, 2, 2))


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (384, 512), (3, 900)])
def test_side_by_side_shows_both_with_room_for_the_captions(size: tuple[int, int]) -> None:
    red, blue = torch.zeros(3, *size), torch.zeros(3, *size)
    red[0], blue[2] = 1, 1
    sheet = side_by_side([("sent", red), ("received, 27.13 dB at 10 dB SNR", blue)])
    values = np.asarray(sheet).reshape(-1, 3)
    factor = -(-128 // max(size)) if max(size) < 128 else 1
    for colour in ((255, 0, 0), (0, 0, 255)):
        assert int((values == colour).all(axis=1).sum()) == size[0] * size[1] * factor**2
    assert int((values.sum(axis=1) < 200).sum()) > 100  # the captions' dark pixels
    assert sheet.width <= 2 * max(size[1] * factor, 240) + 50
    assert sheet.height <= size[0] * factor + 80


def test_side_by_side_of_large_and_unequal_pictures() -> None:
    sheet = side_by_side([("sent", torch.zeros(3, 3000, 4500)), ("received", torch.ones(3, 100, 60))])
    assert max(sheet.size[0], sheet.size[1] + 800) < 2300
    with pytest.raises(UsageError):
        side_by_side([])


def test_rows_have_names_beside_them() -> None:
    cells = [(text, torch.full((3, 32, 32), shade)) for text, shade in (("a", 0.2), ("b", 0.4), ("c", 0.6), ("d", 0.8))]
    plain, named = side_by_side(cells, columns=2), side_by_side(cells, columns=2, beside=["first row", "second\nrow"])
    assert named.height == plain.height
    margin = named.width - plain.width
    assert margin > 30
    values = np.asarray(named)
    assert np.array_equal(values[:, margin:], np.asarray(plain))
    dark = np.argwhere((values[:, :margin].sum(2) < 200).any(1))[:, 0]
    shown = [np.argwhere((values == round(255 * shade)).all(2))[:, 0] for shade in (0.2, 0.6)]
    for rows in shown:
        assert ((rows.min() < dark) & (dark < rows.max())).any(), "in the middle of its row"


def test_captions_are_not_cut_and_stand_nearest_to_their_own_row() -> None:
    long = "BPG+LDPC, 16-QAM 3/4 and so on\nPSNR 30.00 dB\na-name-that-is-wider-than-its-picture"
    high = "\n".join(str(number) for number in range(11))
    cells = [(text, torch.full((3, 32, 32), 0.8)) for text in ("sent", long) * 2]
    values = np.asarray(side_by_side(cells, columns=2, beside=["one", high]))
    dark, picture = values.sum(2) < 300, (values == 204).all(2)
    assert not dark[[0, -1]].any(), "nothing touches the upper or lower edge"
    assert not dark[:, [0, -1]].any()
    places = np.flatnonzero(picture.sum(1) > 200)
    second = places[np.flatnonzero(np.diff(places) > 1)[0] + 1]
    end = places[places < second].max()
    written = np.flatnonzero(dark[end + 1 : second].any(1))
    assert written[0] * 2 < second - end - written[-1], "twice as far from the next row"


def test_heat_is_ever_lighter() -> None:
    picture = heat(torch.linspace(0, 1, 511)[None])
    assert picture.shape == (3, 1, 511)
    assert picture.dtype == torch.uint8
    grey = (picture[:, 0].double() * torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)[:, None]).sum(0)
    assert (grey.diff() >= -0.1).all()
    assert grey[-1] - grey[0] > 150
    yellow, blue = picture[:2, 0].double().mean(0), picture[2, 0].double()
    assert (yellow - blue).diff().mean() > 0, "from blue to yellow, which all readers tell apart"
    assert torch.equal(heat(torch.tensor([[-1.0, 2.0]])), heat(torch.tensor([[0.0, 1.0]])))


def test_bundled_pictures() -> None:
    photo = read_image(sample_photo())
    assert (photo.pixels.shape, photo.notes) == ((3, 384, 512), ())
    assert sample_photo().stat().st_size < 120 * 1024
    assert probe().std() > 0.2
    assert torch.equal(probe()[0], photo.pixels[:, 250:346, 160:256])
