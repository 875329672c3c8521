"""WebP, lossy, as Pillow writes it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, features
from PIL import __version__ as pillow_version

from ._base import SourceCodec, check_size, damaged

LONGEST = 16383
"""Longest side in pixels: VP8 has 14 bits for it."""

_HEADER = 30  # RIFF header, header of the VP8 chunk, frame tag, start code and size


class WebP(SourceCodec):
    """Lossy WebP (a VP8 intra frame, 4:2:0), the slowest and best method of libwebp; every byte of the file counts."""

    name = "webp"
    qualities = range(101)

    @property
    def version(self) -> str:
        return f"libwebp {features.version('webp')} (Pillow {pillow_version}), method 6"

    def encode(self, picture: np.ndarray, quality: int) -> bytes:
        self.check(picture, quality, LONGEST)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "WEBP", quality=int(quality), method=6)
        return file.getvalue()

    def log_size(self, quality: int) -> float:
        share = quality / 100
        return 4 * float(np.cbrt(share * 2 / 3 if share < 0.75 else 2 * share - 1))  # libwebp's curve from quality to quantiser

    def decode(self, data: bytes, height: int, width: int) -> np.ndarray:
        """Reads lossy files without further chunks, as `encode` makes them."""
        if len(data) < _HEADER or data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8 " or data[23:26] != b"\x9d\x01\x2a":
            raise damaged(self.name, "not the start of a lossy WebP file")
        length = 8 + int.from_bytes(data[4:8], "little")
        chunk = int.from_bytes(data[16:20], "little")
        if length > len(data) or length != 20 + chunk + chunk % 2:
            raise damaged(self.name, "it ends too early")
        size = tuple(int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (28, 26))
        check_size(self.name, (size[0], size[1]), (height, width))  # before the decoder allocates anything
        try:
            with Image.open(io.BytesIO(data[:length]), formats=["WEBP"]) as image:
                picture = np.array(image.convert("RGB"))
        except Exception as error:  # Pillow's readers raise almost anything on damaged data
            raise damaged(self.name, " ".join(str(error).split())[:120] or type(error).__name__) from None
        check_size(self.name, picture.shape[:2], (height, width))
        return picture
