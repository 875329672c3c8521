"""The HEVC (ITU-T H.265) side of BPG: NAL units, parameter sets, and one picture through x265 and FFmpeg's decoder.

Clause numbers are those of ITU-T H.265. PyAV brings both tools; it is imported when first needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from ...errors import MissingError, UsageError
from ._bits import BitReader, BitWriter, DamagedBits

VPS, SPS, PPS = 32, 33, 34
IDR = (19, 20)
IGNORED = (35, 36, 37, 38, 39, 40)
"""Access unit delimiter, end of sequence and bitstream, filler, SEI: nothing that changes the picture."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
FORMATS = {0: "gray", 1: "yuv420p", 3: "yuv444p"}
"""FFmpeg's names by chroma_format_idc."""

START_CODE = b"\0\0\1"


@dataclass(frozen=True)
class Tools:
    """What the sequence parameter set (7.3.2.2) says beyond size and format, as far as BPG can express it.

    Attributes:
        log2_min_cb, log2_max_cb: smallest and largest coding block.
        log2_min_tb, log2_max_tb: smallest and largest transform block.
        depth_intra: max_transform_hierarchy_depth_intra.
        sao: sample_adaptive_offset_enabled_flag.
        pcm: the five PCM fields as they come (bit depths luma and chroma, minus 1; log2 of the smallest block minus 3 and of
            the largest over the smallest; loop filter disabled), or None.
        strong_smoothing: strong_intra_smoothing_enabled_flag.
        range_extension: the nine flags of sps_range_extension (7.3.2.2.2), the first as bit 8; None where it is absent.
    """

    log2_min_cb: int
    log2_max_cb: int
    log2_min_tb: int
    log2_max_tb: int
    depth_intra: int
    sao: bool
    pcm: tuple[int, int, int, int, int] | None
    strong_smoothing: bool
    range_extension: int | None

    def write_blocks(self, bits: BitWriter) -> None:
        for value in (
            self.log2_min_cb - 3,
            self.log2_max_cb - self.log2_min_cb,
            self.log2_min_tb - 2,
            self.log2_max_tb - self.log2_min_tb,
        ):
            bits.ue(value)

    def write_pcm(self, bits: BitWriter) -> None:
        """pcm_enabled_flag and, if it is set, the fields that go with it."""
        bits.u(1, self.pcm is not None)
        if self.pcm is not None:
            luma, chroma, smallest, more, unfiltered = self.pcm
            bits.u(4, luma)
            bits.u(4, chroma)
            bits.ue(smallest)
            bits.ue(more)
            bits.u(1, unfiltered)

    def write_extension(self, bits: BitWriter) -> None:
        bits.u(1, self.range_extension is not None)
        if self.range_extension is not None:
            bits.u(8, 0x80)
            bits.u(9, self.range_extension)


def read_blocks(bits: BitReader) -> tuple[int, int, int, int]:
    """log2 of the smallest and largest coding block and of the smallest and largest transform block."""
    min_cb = 3 + bits.ue(3)
    max_cb = min_cb + bits.ue(6 - min_cb)
    min_tb = 2 + bits.ue(3)
    max_tb = min_tb + bits.ue(5 - min_tb)
    if min_tb >= min_cb or max_tb > max_cb or max_cb < 4:
        raise DamagedBits("block sizes that HEVC does not allow")
    return min_cb, max_cb, min_tb, max_tb


def read_pcm(bits: BitReader) -> tuple[int, int, int, int, int] | None:
    return (bits.u(4), bits.u(4), bits.ue(2), bits.ue(2), bits.u(1)) if bits.flag() else None


def read_extension(bits: BitReader) -> int | None:
    """The nine flags of the range extension, None without it; another extension is a UsageError."""
    if not bits.flag():
        return None
    kinds = bits.u(8)
    if kinds & 0x7F:
        raise UsageError("BPG data with HEVC extensions other than the range extension", "they are not supported")
    return bits.u(9) if kinds else None


def split_nals(data: bytes) -> list[bytes]:
    """The NAL units of a byte stream (annex B), without start codes and trailing zeros. The first start code may be missing."""
    nals = [part.rstrip(b"\0") for part in data.split(START_CODE)]
    return [nal for nal in nals if nal]


def nal_type(nal: bytes) -> int:
    """nal_unit_type (7.3.1.2); a unit of another layer than 0 is a UsageError."""
    if len(nal) < 2 or nal[0] & 0x80 or not nal[1] & 7:
        raise DamagedBits("a header of a NAL unit that HEVC does not allow")
    if nal[0] & 1 or nal[1] >> 3:
        raise UsageError("BPG data with several layers", "pictures with an alpha channel are not supported")
    return nal[0] >> 1


def parse_sps(nal: bytes, chroma: int, height: int, width: int) -> Tools:
    """The tools of a sequence parameter set as x265 writes it.

    Raises:
        UsageError: it says something that BPG's short header has no field for.
    """
    bits = BitReader(nal[2:].replace(b"\0\0\3", b"\0\0"))  # emulation prevention, 7.4.2
    bits.u(4)
    _require(bits.u(3) == 0, "temporal sub-layers")
    bits.u(1 + 8 + 32 + 4 + 43 + 1 + 8)  # profile_tier_level without sub-layers
    _require(bits.ue() == 0, "an identifier other than 0")
    _require(bits.ue() == chroma, "another chroma format")
    if chroma == 3:
        _require(not bits.flag(), "separate colour planes")
    _require((bits.ue(), bits.ue()) == (width, height), "another size")
    _require(not bits.flag(), "a conformance window")
    _require(bits.ue() == bits.ue() == 0, "a bit depth other than 8")
    bits.ue()
    bits.flag()
    for _ in range(3):
        bits.ue()
    blocks = read_blocks(bits)
    bits.ue()
    depth = bits.ue(4)
    _require(not bits.flag(), "scaling lists")
    bits.flag()
    sao, pcm = bits.flag(), read_pcm(bits)
    _require(bits.ue() == 0, "reference picture sets")
    _require(not bits.flag(), "long-term references")
    bits.flag()
    smoothing = bits.flag()
    if bits.flag():
        _skip_vui(bits)
    return Tools(*blocks, depth, sao, pcm, smoothing, read_extension(bits))


def _skip_vui(bits: BitReader) -> None:
    """vui_parameters (E.2.1)."""
    if bits.flag() and bits.u(8) == 255:
        bits.u(32)
    if bits.flag():
        bits.u(1)
    if bits.flag():
        bits.u(4)
        if bits.flag():
            bits.u(24)
    if bits.flag():
        bits.ue()
        bits.ue()
    bits.u(3)
    _require(not bits.flag(), "a display window")
    if bits.flag():
        bits.u(64)
        if bits.flag():
            bits.ue()
        _require(not bits.flag(), "HRD parameters")
    if bits.flag():
        bits.u(3)
        for _ in range(5):
            bits.ue()


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise UsageError(f"the HEVC encoder made a stream with {what}, which a BPG file cannot express", "use another preset")


def parameter_sets(tools: Tools, chroma: int, height: int, width: int) -> bytes:
    """VPS and SPS with start codes, for 8 bits, with the values that the BPG specification (3.2) wants assumed."""
    vps = BitWriter()
    vps.u(4, 0)
    vps.u(2, 3)  # base layer internal and available
    vps.u(6, 0)
    vps.u(3, 0)
    vps.u(1, 1)
    vps.u(16, 0xFFFF)
    _profile(vps)
    vps.u(1, 1)
    for _ in range(3):  # decoded picture buffer: one picture, in order
        vps.ue(0)
    vps.u(6, 0)
    vps.ue(0)
    vps.u(2, 0)

    sps = BitWriter()
    sps.u(4, 0)
    sps.u(3, 0)
    sps.u(1, 1)
    _profile(sps)
    sps.ue(0)
    sps.ue(chroma)
    if chroma == 3:
        sps.u(1, 0)
    sps.ue(width)
    sps.ue(height)
    sps.u(1, 0)
    for value in (0, 0, 4):  # 8 bits luma and chroma; log2_max_pic_order_cnt_lsb_minus4
        sps.ue(value)
    sps.u(1, 1)
    for _ in range(3):
        sps.ue(0)
    tools.write_blocks(sps)
    sps.ue(tools.depth_intra)
    sps.ue(tools.depth_intra)
    sps.u(1, 0)
    sps.u(1, 1)  # amp_enabled_flag
    sps.u(1, tools.sao)
    tools.write_pcm(sps)
    sps.ue(0)
    sps.u(1, 0)
    sps.u(1, 1)  # sps_temporal_mvp_enabled_flag
    sps.u(1, tools.strong_smoothing)
    sps.u(1, 0)
    tools.write_extension(sps)
    return _nal(VPS, vps) + _nal(SPS, sps)


def _profile(bits: BitWriter) -> None:
    """profile_tier_level (7.3.3): format range extensions, level 8.5."""
    bits.u(8, 4)
    bits.u(32, 1 << (31 - 4))
    bits.u(4, 0b1001)  # progressive, frames only
    bits.u(44, 0)
    bits.u(8, 255)


def _nal(kind: int, bits: BitWriter) -> bytes:
    payload = re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", bits.aligned(stop_bit=True))
    return START_CODE + bytes((kind << 1, 1)) + payload


def libav() -> Any:
    """The module ``av``."""
    try:
        import av
    except ImportError:
        raise MissingError("BPG needs PyAV, which is not installed", 'pip install "openjscc[digital]"') from None
    return av


def x265(planes: Sequence[np.ndarray], chroma: int, qp: int, preset: str, *, min_cb: int, info: bool = False) -> bytes:
    """One intra picture as a byte stream with its parameter sets.

    Args:
        planes: uint8 luma and chroma; sides of the luma at least 16 and multiples of ``min_cb``.
        min_cb: smallest coding block, 8 or 16.
        info: with the SEI that names the encoder.
    """
    av = libav()
    height, width = planes[0].shape
    side = min(height, width)
    settings = {
        "qp": qp,
        "ipratio": 1,  # else the QP of an intra picture is 3 below the one asked for
        "keyint": 1,
        "ctu": 64 if side >= 64 else 32 if side >= 32 else 16,
        "min-cu-size": min_cb,
        "allow-non-conformance": 1,  # long thin pictures: a large level with small coding blocks
        "wpp": 0,  # rows of their own would cost bytes
        "pools": "none",
        "frame-threads": 1,
        "info": int(info),
        "log-level": "none",
    }
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = width, height, FORMATS[chroma]
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.thread_count = 1
    parameters = ":".join(f"{key}={value}" for key, value in settings.items())
    context.options = {"preset": preset, "tune": "ssim", "x265-params": parameters}
    frame = av.VideoFrame(width, height, FORMATS[chroma])
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.zeros((target.height, target.line_size), np.uint8)
        rows[:, : target.width] = plane
        target.update(rows)
    frame.pts = 0
    try:
        return b"".join(bytes(packet) for part in (frame, None) for packet in context.encode(part))
    except av.FFmpegError as error:
        raise UsageError(f"x265 cannot encode {width}x{height} pixels: {error.strerror}", "scale the picture down") from None


def decode(stream: bytes, chroma: int, height: int, width: int) -> list[np.ndarray]:
    """The planes of the one picture of a byte stream, uint8.

    Raises:
        DamagedBits: the decoder complains, or there is not exactly one picture of that size and format.
    """
    av = libav()
    context = av.CodecContext.create("hevc", "r")
    context.thread_count = 1
    context.options = {"err_detect": "crccheck+bitstream+buffer+careful+compliant+aggressive+explode"}
    try:
        frames = context.decode(av.Packet(stream)) + context.decode(None)
    except (av.FFmpegError, MemoryError, ValueError) as error:
        raise DamagedBits(f"the HEVC decoder says {getattr(error, 'strerror', None) or error}") from None
    if len(frames) != 1:
        raise DamagedBits(f"{len(frames)} pictures instead of one")
    frame = frames[0]
    if frame.is_corrupt:
        raise DamagedBits("parts of the picture are missing")
    if (frame.height, frame.width, frame.format.name.replace("yuvj", "yuv")) != (height, width, FORMATS[chroma]):
        raise DamagedBits("a picture of another size or format than announced")
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy() for plane in frame.planes
    ]


@cache
def tool_versions() -> str:
    """x265's version and PyAV's, e.g. ``x265 4.1 (PyAV 18.1.0, libavcodec 62.28.102)``; x265 says its own in the stream."""
    av = libav()
    stream = x265([np.zeros((16, 16), np.uint8)] * 3, 3, 30, "ultrafast", min_cb=8, info=True)
    found = re.search(rb"x265 \(build \d+\) - ([^:\s]+)", stream)
    release = found[1].decode("ascii", "replace") if found else "of unknown version"
    libavcodec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return f"x265 {release} (PyAV {av.__version__}, libavcodec {libavcodec})"
