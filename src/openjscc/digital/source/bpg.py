"""BPG, Better Portable Graphics: an intra picture of HEVC behind a header of a few bytes.

The files are those of the BPG specification 0.9.5 by Fabrice Bellard (https://bellard.org/bpg/bpg_spec.txt), whose names of
fields are used here. The encoder is x265 and the decoder FFmpeg's, both through PyAV. HEVC data have no checksum, and the decoder
goes on with invented bits where data end too early; truncation shows by the length in the header (``picture_data_length``), which
`write_bpg` always writes and other writers may leave out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError, unknown_name
from . import _hevc
from ._base import SourceCodec, check_picture, check_size, damaged
from ._bits import BitReader, BitWriter, DamagedBits, read_ue7, ue7
from ._hevc import START_CODE, Tools

MAGIC = bytes.fromhex("425047fb")
CHROMA = {"444": 3, "420": 1}
"""pixel_format, which is also HEVC's chroma_format_idc, by name."""

LONGEST = 16384
"""Longest side in pixels that is written and read; HEVC's highest ordinary level, 6.2, ends at 16888."""

_PIXELS_PER_BYTE = 8 * 64 * 64
"""A coding unit has at most 64x64 pixels and takes more than a bit; a header that claims more pixels than this lies."""


@dataclass(frozen=True)
class Header:
    """What is before the HEVC data.

    Attributes:
        pixel_format: 0 grey, 1 and 4 4:2:0 (chroma between two columns, or on the left one), 3 4:4:4.
        height, width: of the picture itself.
        start, stop: where hevc_header lies and where the file ends.
    """

    pixel_format: int
    height: int
    width: int
    start: int
    stop: int

    @property
    def chroma(self) -> int:
        """chroma_format_idc."""
        return 1 if self.pixel_format == 4 else self.pixel_format


class Bpg(SourceCodec):
    """BPG with 8 bits, YCbCr of BT.601 in full range. Quality q is QP 51 − q.

    Args:
        chroma: ``444`` or ``420``.
        preset: of x265, ``veryslow`` or a faster one.
    """

    name = "bpg"
    qualities = range(52)

    def __init__(self, chroma: str = "444", preset: str = "veryslow") -> None:
        _check_options(chroma, preset)
        _hevc.libav()  # raises now rather than in the middle of some work
        self.chroma, self.preset = chroma, preset

    @property
    def version(self) -> str:
        return f"{_hevc.tool_versions()}, BPG {self.chroma[0]}:{self.chroma[1]}:{self.chroma[2]} {self.preset}"

    def encode(self, picture: np.ndarray, quality: int) -> bytes:
        self.check(picture, quality, LONGEST)
        return write_bpg(picture, 51 - int(quality), self.chroma, self.preset)

    def log_size(self, quality: int) -> float:
        return 0.12 * quality

    def first_guess(self, bits_per_pixel: float) -> int:
        return round(27 + 5 * math.log2(max(bits_per_pixel, 1e-3) / 1.3))

    def decode(self, data: bytes, height: int, width: int) -> np.ndarray:
        try:
            header = read_header(data)
            check_size(self.name, (header.height, header.width), (height, width))
            return _decode(data, header)
        except UsageError as error:
            raise damaged(self.name, error.message) from None


def write_bpg(picture: np.ndarray, qp: int, chroma: str = "444", preset: str = "veryslow") -> bytes:
    """A .bpg file of uint8 ``(H, W, 3)``.

    Args:
        qp: HEVC's quantisation parameter, 0 (best) to 51.
        chroma: ``444``, or ``420`` with chroma averaged over 2x2 pixels.
        preset: of x265.

    Raises:
        UsageError: a bad argument, or a side of more than `LONGEST` pixels.
        MissingError: PyAV is not installed.
    """
    check_picture(picture)
    _check_options(chroma, preset)
    if not 0 <= qp <= 51:
        raise UsageError(f"QP {qp}", "use 0 to 51")
    height, width = picture.shape[:2]
    if max(height, width) > LONGEST:
        raise UsageError(f"{width}x{height} does not fit into bpg", f"at most {LONGEST} pixels a side")
    block = 8 if min(height, width) > 8 else 16  # the encoder wants 16 pixels at least, the decoder pads to whole coding blocks
    padded = np.pad(picture, ((0, -height % block), (0, -width % block), (0, 0)), mode="edge")
    form = CHROMA[chroma]
    luma, *colour = rgb_to_ycbcr(padded)
    planes = [_rounded(plane) for plane in (luma, *(colour if form == 3 else map(halved, colour)))]
    nals = _hevc.split_nals(_hevc.x265(planes, form, qp, preset, min_cb=block))
    kinds = [_hevc.nal_type(nal) for nal in nals]
    tools = _hevc.parse_sps(nals[kinds.index(_hevc.SPS)], form, *padded.shape[:2])
    kept = [nal for nal, kind in zip(nals, kinds, strict=True) if kind == _hevc.PPS or kind in _hevc.IDR]
    body = write_hevc_header(tools) + START_CODE.join(kept)
    return MAGIC + bytes((form << 5, 0)) + ue7(width) + ue7(height) + ue7(len(body)) + body


def read_bpg(data: bytes) -> np.ndarray:
    """uint8 ``(H, W, 3)`` from a .bpg file: 8 bits, 4:4:4, 4:2:0 or grey, YCbCr of BT.601 in full range.

    Raises:
        UsageError: not a BPG file, or a kind that is not supported.
        IntegrityError: truncated or damaged.
        MissingError: PyAV is not installed.
    """
    return _decode(data, read_header(data))


def read_header(data: bytes) -> Header:
    """The file header (heic_file in the specification) up to hevc_header. Raises as `read_bpg`."""
    if data[:4] != MAGIC:
        raise UsageError("not a BPG file", "its first bytes are not those of the format")
    try:
        if len(data) < 6:
            raise DamagedBits("it ends too early")
        pixel_format, depth = data[4] >> 5, 8 + (data[4] & 15)
        colour_space, extension = data[5] >> 4, data[5] & 8
        for unsupported, what in (
            (data[4] & 16 or data[5] & 4, "an alpha channel"),
            (data[5] & 1, "an animation"),
            (data[5] & 2, "limited range"),
            (depth != 8, f"{depth} bits a value"),
            (colour_space != 0, f"colour space {colour_space}"),
            (pixel_format not in (0, 1, 3, 4), f"pixel format {pixel_format}"),
        ):
            if unsupported:
                raise UsageError(
                    f"BPG file with {what}", "8-bit 4:4:4, 4:2:0 and grey in full-range YCbCr of BT.601 are supported"
                )
        width, position = read_ue7(data, 6)
        height, position = read_ue7(data, position)
        length, position = read_ue7(data, position)
        if extension:
            skipped, position = read_ue7(data, position)
            position += skipped
        stop = position + length if length else len(data)
        if stop > len(data) or position >= stop:
            raise DamagedBits("it ends too early")
        if not (1 <= width <= LONGEST and 1 <= height <= LONGEST):
            raise DamagedBits(f"its header says {width}x{height} pixels")
        if width * height > (stop - position) * _PIXELS_PER_BYTE:
            raise DamagedBits(f"its header says {width}x{height} pixels in {stop - position} bytes")
    except DamagedBits as error:
        raise damaged("bpg", str(error)) from None
    return Header(pixel_format, height, width, position, stop)


def write_hevc_header(tools: Tools) -> bytes:
    """hevc_header: the fields of the sequence parameter set that differ between files, and their length in bytes before them."""
    bits = BitWriter()
    tools.write_blocks(bits)
    bits.ue(tools.depth_intra)
    bits.u(1, tools.sao)
    tools.write_pcm(bits)
    bits.u(1, tools.strong_smoothing)
    tools.write_extension(bits)
    content = bits.aligned(stop_bit=False)
    return ue7(len(content)) + content


def read_hevc_header(content: bytes) -> Tools:
    """hevc_header without its length."""
    bits = BitReader(content)
    blocks, depth = _hevc.read_blocks(bits), bits.ue(4)
    return Tools(*blocks, depth, bits.flag(), _hevc.read_pcm(bits), bits.flag(), _hevc.read_extension(bits))


def _decode(data: bytes, header: Header) -> np.ndarray:
    try:
        length, start = read_ue7(data, header.start)
        if start + length > header.stop:
            raise DamagedBits("it ends too early")
        tools = read_hevc_header(data[start : start + length])
        nals = _hevc.split_nals(data[start + length : header.stop])
        kinds = [_hevc.nal_type(nal) for nal in nals]
        for kind in kinds:
            if kind not in (_hevc.PPS, *_hevc.IDR, *_hevc.IGNORED):
                raise DamagedBits(f"a NAL unit of type {kind}")
        block = 1 << tools.log2_min_cb
        coded = header.height + -header.height % block, header.width + -header.width % block
        kept = [nal for nal, kind in zip(nals, kinds, strict=True) if kind not in _hevc.IGNORED]
        sets = _hevc.parameter_sets(tools, header.chroma, *coded)
        planes = _hevc.decode(sets + b"".join(START_CODE + nal for nal in kept), header.chroma, *coded)
    except DamagedBits as error:
        raise damaged("bpg", str(error)) from None
    height, width = header.height, header.width
    if header.chroma == 0:
        return np.repeat(planes[0][:height, :width, None], 3, axis=2)
    luma, *colour = (plane.astype(np.float32) for plane in planes)
    if header.chroma == 1:
        colour = [plane[: (height + 1) // 2, : (width + 1) // 2] for plane in colour]
        colour = [doubled(doubled(plane, True, 0), header.pixel_format == 1, 1) for plane in colour]
    return ycbcr_to_rgb(*(plane[:height, :width] for plane in (luma, *colour)))


def rgb_to_ycbcr(picture: np.ndarray) -> list[np.ndarray]:
    """Full-range Y, Cb, Cr of BT.601 as JPEG uses them, float32 ``(H, W)``, chroma around 128, from uint8 ``(H, W, 3)``."""
    red, green, blue = np.moveaxis(picture.astype(np.float32), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return [luma, (blue - luma) / 1.772 + 128, (red - luma) / 1.402 + 128]


def ycbcr_to_rgb(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """The inverse of `rgb_to_ycbcr`, rounded to uint8 ``(H, W, 3)``."""
    red = luma + 1.402 * (cr - 128)
    blue = luma + 1.772 * (cb - 128)
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return np.stack([_rounded(plane) for plane in (red, green, blue)], axis=2)


def halved(plane: np.ndarray) -> np.ndarray:
    """Mean over 2x2 pixels: samples between two rows and two columns, as pixel_format 1 says. Sides are even."""
    rows, columns = plane.shape
    return plane.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))


def doubled(plane: np.ndarray, between: bool, axis: int) -> np.ndarray:
    """Twice as many samples along ``axis``, interpolated linearly; the edge goes on as it is.

    Args:
        between: the given samples lie in the middle between two new ones (weights 3/4 and 1/4); else on the first of each two.
    """
    plane = np.moveaxis(plane, axis, 0)
    before, after = np.concatenate([plane[:1], plane[:-1]]), np.concatenate([plane[1:], plane[-1:]])
    pair = (0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after) if between else (plane, 0.5 * (plane + after))
    return np.moveaxis(np.stack(pair, axis=1).reshape(-1, *plane.shape[1:]), 0, axis)


def _rounded(plane: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def _check_options(chroma: str, preset: str) -> None:
    if chroma not in CHROMA:
        raise unknown_name("chroma format", str(chroma), CHROMA)
    if preset not in _hevc.PRESETS:
        raise unknown_name("preset", str(preset), _hevc.PRESETS)
