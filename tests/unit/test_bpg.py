"""BPG files: every field of the headers, kinds that others write, what is refused, and how good they are."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjscc.bench.bjontegaard import bd_rate
from openjscc.digital.source import _hevc, bpg, read_bpg, source_codec, write_bpg
from openjscc.digital.source._bits import BitReader, BitWriter, DamagedBits, read_ue7, ue7
from openjscc.errors import IntegrityError, MissingError, UsageError

ROOT = Path(__file__).resolve().parents[2]
DATA = os.environ.get("OPENJSCC_DATA")


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 19 + y / 27), 128 + 90 * np.cos(y / 21), 128 + 60 * np.sin((x + y) / 23)]
    return np.rint(np.stack(waves, axis=2)).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(max(1e-12, np.mean((a.astype(np.float64) - b) ** 2) / 255**2))


# The specification's own examples of ue7, and the codes of H.265, table 9-2.
@pytest.mark.parametrize(("code", "value"), [("08", 8), ("841e", 542), ("acbe17", 728855), ("00", 0), ("8fffffff7f", 2**32 - 1)])
def test_ue7(code: str, value: int) -> None:
    assert ue7(value).hex() == code
    assert read_ue7(b"\xff" + ue7(value) + b"\xff", 1) == (value, 1 + len(code) // 2)


@pytest.mark.parametrize("code", ["", "80", "8001", "81", "ffffffffff7f", "9f80808000"])
def test_ue7_refused(code: str) -> None:
    with pytest.raises(DamagedBits):
        read_ue7(bytes.fromhex(code), 0)


def test_exponential_golomb_codes() -> None:
    """Table 9-2 of H.265: 0, 1, 2, 3, 6, 7 are 1, 010, 011, 00100, 00111, 0001000; then the stop bit and zeros."""
    bits, values = BitWriter(), (0, 1, 2, 3, 6, 7)
    for value in values:
        bits.ue(value)
    data = bits.aligned(stop_bit=True)
    assert data == 0b1_010_011_00100_00111_0001000_10000000.to_bytes(4, "big")
    reader = BitReader(data)
    assert tuple(reader.ue() for _ in values) == values
    for broken in (bytes(10), b"", b"\x01"):
        with pytest.raises(DamagedBits):
            BitReader(broken).ue()
    with pytest.raises(DamagedBits, match="at most 2"):
        BitReader(b"\x20").ue(largest=2)


@pytest.mark.parametrize("size", [(64, 96), (33, 200), (1, 9), (300, 5)])
@pytest.mark.parametrize("chroma", ["444", "420"])
def test_headers_byte_by_byte(size: tuple[int, int], chroma: str) -> None:
    height, width = size
    data = write_bpg(smooth(height, width), 30, chroma)
    assert data[:4] == bytes((0x42, 0x50, 0x47, 0xFB))
    assert data[4] == {"444": 0b011_0_0000, "420": 0b001_0_0000}[chroma]  # pixel format, alpha1, bit depth − 8
    assert data[5] == 0b0000_0_0_0_0  # BT.601, extension, alpha2, limited range, animation
    position = 6
    for expected in (width, height):
        coded = [expected] if expected < 128 else [0x80 | expected >> 7, expected & 127]
        assert list(data[position : position + len(coded)]) == coded
        position += len(coded)
    length, position = read_ue7(data, position)
    assert position + length == len(data)
    # hevc_header as x265's veryslow has it: blocks, depth 2 (011), SAO 1, no PCM 0, smoothing 1, no extension 0
    blocks = {
        (64, 96): "1 00100 1 00100",  # coding blocks 8 to 64, transforms 4 to 32
        (33, 200): "1 011 1 00100",  # 8 to 32, 4 to 32
        (1, 9): "010 1 1 011",  # 16 to 16, 4 to 16
        (300, 5): "010 1 1 011",
    }[size]
    header = "".join(f"{byte:08b}" for byte in data[position + 1 : position + 1 + data[position]])
    fields = blocks.replace(" ", "") + "0111010"
    assert header == fields + "0" * (-len(fields) % 8)
    # the first NAL unit has no start code and is the PPS, then comes one IDR slice after a start code of three bytes
    nals = data[position + 1 + data[position] :].split(b"\0\0\1")
    assert [nal[0] >> 1 for nal in nals] == [34, 20]
    assert not any(nal.endswith(b"\0") for nal in nals)


def test_the_whole_header_of_one_file() -> None:
    """768x512 in 4:4:4, worked out by hand from the tables of the specification."""
    data = write_bpg(smooth(512, 768), 40)
    body = len(data) - 12
    # blocks 8 to 64 (1, 00100), transforms 4 to 32 (1, 00100), depth 2 (011), SAO 1, PCM 0, smoothing 1, extension 0, then zeros
    hevc = 0b1_00100_1_00100_011_1_0_1_0_00000.to_bytes(3, "big")
    expected = bytes.fromhex("425047fb 60 00 8600 8400") + bytes((0x80 | body >> 7, body & 127)) + b"\x03" + hevc
    assert data[: len(expected)] == expected


def test_bytes_of_small_pictures_and_headers() -> None:
    assert 60 < len(write_bpg(smooth(32, 32), 26)) < 110
    assert len(write_bpg(smooth(1, 1), 51)) < 45
    flat = write_bpg(np.full((512, 768, 3), 90, np.uint8), 51)
    assert flat.index(b"\0\0\1") <= 22  # file header, short header and PPS


@pytest.mark.parametrize("size", [(16, 16), (16, 4500), (3, 5000), (520, 776), pytest.param((512, 768), marks=pytest.mark.slow)])
def test_sizes(size: tuple[int, int]) -> None:
    picture = smooth(*size)
    assert psnr(picture, read_bpg(write_bpg(picture, 10, "444", "ultrafast"))) > 43


def test_quality_on_a_smooth_picture() -> None:
    picture = smooth(128, 192)
    for chroma, floors in (("444", (30, 38, 45, 50)), ("420", (29, 36, 41, 44))):
        reached = [psnr(picture, read_bpg(write_bpg(picture, qp, chroma))) for qp in (45, 32, 18, 4)]
        assert all(value > floor for value, floor in zip(reached, floors, strict=True)), reached


def test_colour_conversion_is_that_of_jpeg() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [12, 200, 77]], np.uint8)[None]
    planes = bpg.rgb_to_ycbcr(colours)
    expected = [[0, 255, 76.245, 149.685, 29.07], [128, 128, 84.972, 43.528, 255.5], [128, 128, 255.5, 21.235, 107.265]]
    for plane, values in zip(planes, expected, strict=True):
        assert np.allclose(plane[0, :5], values, atol=1e-3)
    assert np.array_equal(bpg.ycbcr_to_rgb(*planes), colours)


def test_chroma_positions() -> None:
    """A ramp comes back as it was: between the columns (JPEG), or on the left one of each two (MPEG-2)."""
    ramp = np.arange(16, dtype=np.float32)[None].repeat(4, axis=0)
    small = bpg.halved(ramp)
    assert np.array_equal(small[0], np.arange(8) * 2 + 0.5)
    assert np.allclose(bpg.doubled(small, True, 1)[:, 1:-1], ramp[:2, 1:-1])
    assert np.allclose(bpg.doubled(ramp[:, ::2], False, 1)[:, :-1], ramp[:, :-1])
    assert np.allclose(bpg.doubled(small.T, True, 0)[1:-1], ramp[:2].T[1:-1])


def assembled(luma: np.ndarray) -> bytes:
    """A grey file, which `write_bpg` does not make."""
    height, width = luma.shape
    nals = _hevc.split_nals(_hevc.x265([luma], 0, 20, "medium", min_cb=8))
    tools = _hevc.parse_sps(nals[1], 0, height, width)
    body = bpg.write_hevc_header(tools) + b"\0\0\1".join(nals[2:])
    return bpg.MAGIC + b"\0\0" + ue7(width) + ue7(height) + ue7(len(body)) + body


def test_files_of_others_grey_and_mpeg2_chroma() -> None:
    luma = smooth(40, 64)[..., 1]
    shown = read_bpg(assembled(luma))
    assert np.array_equal(shown[..., 0], shown[..., 2])
    assert psnr(shown[..., 1], luma) > 40
    picture = smooth(41, 63)
    data = bytearray(write_bpg(picture, 15, "420"))
    between = read_bpg(bytes(data))
    data[4] = 0b100_0_0000
    left = read_bpg(bytes(data))
    assert left.shape == between.shape
    assert 0 < np.abs(left.astype(int) - between).mean() < 3


def test_files_of_others_with_metadata_open_end_or_further_nals() -> None:
    picture = smooth(24, 40)
    data = write_bpg(picture, 25)
    expected, header = read_bpg(data), bpg.read_header(data)
    start, stop = header.start, header.stop
    length = ue7(stop - start)
    extension = b"\1\3abc" + b"\2\0"
    with_metadata = data[:5] + b"\x08" + data[6 : start - len(length)] + length + ue7(len(extension)) + extension + data[start:]
    open_end = data[: start - len(length)] + b"\0" + data[start:]
    sei = b"\0\0\1" + bytes((39 << 1, 1, 5, 1, 7, 0x80))
    with_sei = data[: start - len(length)] + ue7(stop - start + len(sei)) + data[start:] + sei
    long_codes = data[: start - len(length)] + ue7(stop - start + 1) + data[start:].replace(b"\0\0\1", b"\0\0\0\1", 1)
    for other in (with_metadata, open_end, open_end + bytes(20), with_sei, long_codes, data + b"rest"):
        assert np.array_equal(read_bpg(other), expected)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (4, 0b011_1_0000, "alpha"),
        (5, 0b0000_0100, "alpha"),
        (5, 0b0000_0001, "animation"),
        (5, 0b0000_0010, "limited range"),
        (4, 0b011_0_0010, "10 bits"),
        (5, 0b0001_0000, "colour space 1"),
        (4, 0b010_0_0000, "pixel format 2"),
        (0, 0x41, "not a BPG file"),
    ],
)
def test_kinds_that_are_not_supported(place: int, value: int, words: str) -> None:
    data = bytearray(write_bpg(smooth(16, 16), 30))
    data[place] = value
    with pytest.raises(UsageError, match=words):
        read_bpg(bytes(data))
    with pytest.raises(IntegrityError, match=words):
        bpg.Bpg().decode(bytes(data), 16, 16)


def test_every_truncation_is_refused() -> None:
    data = write_bpg(smooth(40, 24), 20)
    for stop in range(4, len(data)):
        with pytest.raises(IntegrityError):
            read_bpg(data[:stop])


@settings(max_examples=300, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(4, 60) | st.integers(4, 10**6), st.integers(1, 255)), min_size=1, max_size=5),
    chroma=st.sampled_from(["444", "420"]),
)
def test_damage_ends_in_an_error_or_a_picture(flips: list[tuple[int, int]], chroma: str) -> None:
    data = bytearray(_FILES.setdefault(chroma, write_bpg(smooth(40, 24), 20, chroma)))
    for place, change in flips:
        data[4 + (place - 4) % (len(data) - 4)] ^= change
    try:
        shown = read_bpg(bytes(data))
    except (IntegrityError, UsageError):
        return
    assert shown.dtype == np.uint8
    assert shown.shape[2] == 3


_FILES: dict[str, bytes] = {}


def test_headers_that_claim_too_much_are_refused_before_anything_is_allocated() -> None:
    data = write_bpg(smooth(16, 16), 30)
    for height, width in ((16384, 16384), (0, 16), (16, 0), (2**31, 2**31), (1, 16385)):
        with pytest.raises(IntegrityError, match="pixels"):
            read_bpg(data[:6] + ue7(width) + ue7(height) + data[8:])


def test_bad_arguments() -> None:
    for arguments in ((52,), (-1,), (30, "411"), (30, "444", "slowest")):
        with pytest.raises(UsageError):
            write_bpg(smooth(8, 8), *arguments)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = write_bpg(smooth(64, 64), 30)
    read_bpg(data)
    with pytest.raises(IntegrityError):
        read_bpg(data[:18] + bytes(len(data) - 18))
    assert capfd.readouterr() == ("", "")


def test_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r"openjscc\[digital\]"):
        write_bpg(smooth(8, 8), 30)


def test_pyav_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, openjscc.digital.source as s; s.source_codec('jpeg'); sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_pyav_shows_when_the_codec_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match="PyAV"):
        source_codec("bpg")


def test_the_record_belongs_to_the_published_points() -> None:
    record = json.loads((ROOT / "results" / "bpg-kodak.json").read_text())
    published = json.loads((ROOT / record["published"]).read_text())
    points = record["points"]
    measured = bd_rate(published["bpp"], published["psnr"], [p["bpp"] for p in points], [p["psnr"] for p in points])
    assert record["bd_rate_percent"] == pytest.approx(measured, abs=1e-3)
    assert abs(measured) < 3
    assert record["images"] == 24


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="OPENJSCC_DATA is not set")
def test_two_kodak_pictures_are_as_recorded() -> None:
    """One QP: bytes and PSNR of two pictures, and 4:4:4 veryslow beside faster presets."""
    from openjscc.data.datasets import open_dataset

    dataset = open_dataset("kodak", limit=2)
    qps = (39, 34, 29, 24)
    curves = {}
    for preset in ("veryslow", "slow", "medium"):
        rates, qualities = np.zeros(4), np.zeros(4)
        for picture in (dataset[index].permute(1, 2, 0).contiguous().numpy() for index in range(2)):
            for index, qp in enumerate(qps):
                data = write_bpg(picture, qp, "444", preset)
                rates[index] += len(data) / 2
                qualities[index] += psnr(picture, read_bpg(data)) / 2
        curves[preset] = rates, qualities
    assert -0.5 < bd_rate(*curves["veryslow"], *curves["slow"]) < 1.5
    assert 1 < bd_rate(*curves["veryslow"], *curves["medium"]) < 6
