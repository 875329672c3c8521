"""JPEG as Pillow writes it, and a short form for small images, whose tables both ends have beforehand.

An ordinary file has about 600 bytes of tables and headers, more than a 32x32 image needs for its pixels. The short form is what
is left of a baseline file with the standard tables (ITU-T T.81, annex K, scaled by the quality) without all that the receiver can
write itself: the quality (1 byte), height and width (1 to 3 bytes each), the entropy-coded data, and the marker EOI (2 bytes).
T.81 knows such abbreviated formats (B.4), though not quite this short. The first byte tells the forms apart: a file starts
with 0xFF, a quality is 100 at most.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image, JpegImagePlugin, features
from PIL import __version__ as pillow_version

from ...errors import IntegrityError
from ._base import SourceCodec, check_size, damaged
from ._bits import DamagedBits, read_ue7, ue7

LONGEST = 65500
"""Longest side in pixels that libjpeg writes."""

_SOI, _EOI, _SOF, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xda"


class Jpeg(SourceCodec):
    """JPEG, 4:2:0: the shorter one of a progressive file with its own Huffman tables and the short form."""

    name = "jpeg"
    qualities = range(1, 101)

    @property
    def version(self) -> str:
        library = features.version("libjpeg_turbo")
        tool = f"libjpeg-turbo {library}" if library else f"libjpeg {features.version('jpg')}"
        return f"{tool} (Pillow {pillow_version}), 4:2:0 progressive, tables agreed beforehand where shorter"

    def encode(self, picture: np.ndarray, quality: int) -> bytes:
        self.check(picture, quality, LONGEST)
        return min(self.full(picture, quality), self.short(picture, quality), key=len)

    def full(self, picture: np.ndarray, quality: int) -> bytes:
        """An ordinary progressive file."""
        return _save(picture, int(quality), progressive=True, optimize=True)

    def short(self, picture: np.ndarray, quality: int) -> bytes:
        """The short form."""
        file = _save(picture, int(quality), progressive=False)
        height, width = picture.shape[:2]
        return bytes((int(quality),)) + ue7(height) + ue7(width) + file[_scan(file) :]

    def log_size(self, quality: int) -> float:
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality  # of the quantisation tables, in percent, as libjpeg has it
        return -0.75 * math.log(max(2, scale))

    def decode(self, data: bytes, height: int, width: int) -> np.ndarray:
        data = data.rstrip(b"\0")
        if not data.endswith(_EOI):
            raise damaged(self.name, "it ends too early")
        if not data.startswith(_SOI):
            data = self._completed(data, height, width)
        try:
            with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
                check_size(self.name, (image.height, image.width), (height, width))  # before anything is decoded
                return np.array(image.convert("RGB"))
        except IntegrityError:
            raise
        except Exception as error:  # Pillow's readers raise almost anything on damaged data
            raise damaged(self.name, " ".join(str(error).split())[:120] or type(error).__name__) from None

    def _completed(self, data: bytes, height: int, width: int) -> bytes:
        """A file from the short form."""
        if data[0] not in self.qualities:
            raise damaged(self.name, "neither a file nor a quality at its start")
        try:
            rows, position = read_ue7(data, 1)
            columns, position = read_ue7(data, position)
        except DamagedBits as error:
            raise damaged(self.name, str(error)) from None
        check_size(self.name, (rows, columns), (height, width))
        before, after = _frame_header(data[0])
        return before + height.to_bytes(2, "big") + width.to_bytes(2, "big") + after + data[position:]


def _save(picture: np.ndarray, quality: int, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0", **options)
    return file.getvalue()


def _scan(file: bytes) -> int:
    """Where the entropy-coded data of a baseline file starts."""
    at = _segment(file, _SOS)
    return at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")


def _segment(file: bytes, marker: bytes) -> int:
    """Where the first segment of a kind starts."""
    at = 2
    while file[at : at + 2] != marker:
        at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    return at


@lru_cache(maxsize=128)
def _frame_header(quality: int) -> tuple[bytes, bytes]:
    """All that comes before the data in a baseline file, without height and width: what is before them and what is after."""
    file = _save(np.zeros((1, 1, 3), np.uint8), quality, progressive=False)
    at = _segment(file, _SOF) + 5  # marker, length, precision
    return file[:at], file[at + 4 : _scan(file)]
