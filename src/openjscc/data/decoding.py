"""Image files opened with Pillow: what a file is, whether it is whole, and bounds on the cost."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from ..errors import IntegrityError, OpenJSCCError, UsageError

MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels; checked from the header."""

HEAVY = {"AVIF": 50_000_000, "JPEG2000": 50_000_000, "WEBP": 50_000_000}
"""The same for formats whose decoders need far more memory than the image has."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is read. Pillow knows more, but some of those start other programs (EPS) or are hardly tested."""

_READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF and JPEG 2000 can be read"
_SIGNATURES = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|....ftypavi|"
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    re.DOTALL,
)
_UNSUPPORTED = re.compile(
    r"unknown pixel mode|unknown data organization|unsupported|cannot handle|unable to determine|\d{5}$", re.I
)
"""What Pillow says of whole files whose pixels or compression it does not read (five digits: TIFF)."""

_CHEAP_PIXELS = 16_000_000
_PIXELS_PER_BYTE = 10_000
"""A larger image has at most so many pixels a byte of its file. DEFLATE reaches 8,256 at one bit."""

_HEADER_READS = 20_000
_FRAME_READS = 50_000
_PIXEL_READS = 1_000_000
_COMMENTS = 10_000
_JPEG2000_END = b"\xff\xd9"


def is_image(path: Path) -> bool:
    """Whether a file starts as an image of `FORMATS` does (BMP and PPM excepted: two letters say little)."""
    try:
        with open(path, "rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return regular and _SIGNATURES.match(file.read(16)) is not None
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def opened(path: Path, pixels: bool = True) -> Iterator[Image.Image]:
    """The file as a Pillow image, pixels not decoded yet. Failures in the body become our errors.

    Args:
        path: the file.
        pixels: whether the body decodes pixels: the file is checked for that, as far as its decoder does not.

    Raises:
        UsageError: no such file, a folder, empty, unreadable, not an image, too large, or with
            pixels that are not read.
        IntegrityError: an image, but truncated or corrupt.
    """
    start = _check_file(path)
    try:
        with _File(path) as file:
            image = _identified(path, file, start)
            _check_size(path, image, file.length)
            if pixels:
                image = _checked(image, file, start)
            yield image
    except OpenJSCCError:
        raise
    except _TooManyReads:
        message = f"{path} is in so many small parts that reading it would take too long"
        raise UsageError(message, "save it again with another program, e.g. as PNG") from None
    except MemoryError:
        raise UsageError(f"{path} does not fit into memory", "scale it down, or crop it") from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged data
        raise _refusal(path, error) from None


def load(image: Image.Image) -> None:
    """Decodes the pixels, without Pillow's warning for images that are within our limit."""
    if image.width * image.height < _CHEAP_PIXELS:
        image.load()
        return
    with _WARNINGS, warnings.catch_warnings():  # one thread at a time: the filters are the process's
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()


_WARNINGS = threading.Lock()


def frame_count(image: Image.Image) -> int:
    """Number of frames; 0 where there are several, and too many to count or a damaged one."""
    with _reads(image, _FRAME_READS):
        try:
            count = int(getattr(image, "n_frames", 1))
        except Exception:  # a damaged later frame is no reason to refuse the first
            count = 0
    image.seek(0)
    return count


class _TooManyReads(Exception):
    pass


class _File(io.BufferedReader):
    """A file that can be read in a limited number of pieces.

    Pillow takes headers apart in Python, some byte by byte: a comment of 50 MB would take a minute. A
    count is the same on every machine, and an honest header has a few hundred pieces.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.length = os.fstat(self.fileno()).st_size
        self.reads_left = _HEADER_READS
        self.ended = False
        """Whether more was read than is there."""

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise _TooManyReads
        if size is None or size < 0:
            return super().read()
        # a length that the file only claims is not made room for
        content = super().read(size if size < 2**20 else min(size, max(0, self.length - self.tell())))
        self.ended |= len(content) < size
        return content


@contextlib.contextmanager
def _reads(image: Image.Image, count: int) -> Iterator[None]:
    """Other bounds on reading for a part of the work."""
    file = getattr(image, "fp", None)
    if not isinstance(file, _File):
        yield
        return
    before, file.reads_left = file.reads_left, count
    yield
    file.reads_left = before


def _identified(path: Path, file: _File, start: bytes) -> ImageFile.ImageFile:
    """What `PIL.Image.open` does for `FORMATS`, without its warning for images within our limit.

    Raises:
        UsageError: not an image. Pillow's own errors say why a file cannot be opened.
    """
    Image.init()
    known = [Image.OPEN[name] for name in FORMATS if name in Image.OPEN]
    failure = None
    for make, accepts in known:
        if accepts is not None and accepts(start) is not True:
            continue  # False, or a text: not in this build of Pillow
        file.seek(0)
        try:
            return make(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            failure = failure or error
    if failure is not None and file.ended and _SIGNATURES.match(start):
        raise _corrupt(path, "its header is not whole")
    if failure is not None and (_SIGNATURES.match(start) or _UNSUPPORTED.search(str(failure))):
        raise failure
    if _SIGNATURES.match(start):
        raise UsageError(f"{path}: this Pillow does not read its format", "pip install --upgrade pillow")
    raise UsageError(f"{path} is not a picture", _READABLE)


def _checked(image: ImageFile.ImageFile, file: _File, start: bytes) -> Image.Image:
    """The image, of a file that was looked at where its decoder does not look."""
    file.reads_left = _PIXEL_READS
    if image.format == "PNG":  # Pillow decodes pixels without looking at their checksums
        make, _ = Image.OPEN["PNG"]
        image.verify()
        file.seek(0)
        file.reads_left = _PIXEL_READS
        return make(file, "")
    if image.format == "JPEG2000":
        at = file.tell()
        _check_jpeg2000(file, start)
        file.seek(at)
    if image.format == "PPM" and image.tile[0][0] != "raw":
        return _decoded_pnm(image, file)
    return image


def _check_jpeg2000(file: _File, start: bytes) -> None:
    """ValueError where the codestream lacks its end: the decoder fills what is missing without a word."""
    at, length = 0, file.length
    if not start.startswith(b"\xff\x4f"):  # boxes around the codestream
        kind = b""
        while kind != b"jp2c":
            at += length if kind else 0
            file.seek(at)
            head = file.read(16)
            kind, length = head[4:8], int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:
                length = file.length - at
            if len(head) < 8 or length < 8 or at + length > file.length:
                raise ValueError("a box of it is not whole")
    tail = min(length, 4096)
    file.seek(at + length - tail)
    if not file.read(tail).rstrip(b"\0").endswith(_JPEG2000_END):
        raise ValueError("the end of its codestream is missing")


def _decoded_pnm(image: ImageFile.ImageFile, file: _File) -> Image.Image:
    """The pixels of PNM files that Pillow would decode value by value in Python.

    These are files of plain text, and files whose largest value is neither 255 nor, in grey, 65535.

    Raises:
        ValueError: values are missing or too large.
    """
    decoder, _, offset, args = image.tile[0]
    bands, (width, height) = len(image.getbands()), image.size
    count = width * height * bands
    file.seek(offset)
    if args == "1;I":
        digits = _plain_text(file, 2 * count).translate(None, b" \t\n\r\v\f")[:count]
        values, largest = np.frombuffer(digits, np.uint8) - np.uint8(ord("0")), 1
    else:
        assert isinstance(args, tuple)
        largest = int(args[-1])
        if decoder == "ppm_plain":
            values = _plain_values(_plain_text(file, 16 * count), count)
        else:
            stored = np.dtype(">u2" if largest > 255 else "u1")
            content = file.read(count * stored.itemsize)
            values = np.frombuffer(content[: len(content) // stored.itemsize * stored.itemsize], stored)
    if values.size < count:
        raise ValueError(f"it has {values.size} values of {count}")
    if values.max() > largest or values.min() < 0:
        raise ValueError(f"a value is not within 0 to {largest}")
    deep = largest > 255
    full = 65535 if deep and bands == 1 else 255
    table = np.rint(np.arange(largest + 1) / largest * full).astype(np.uint16 if full > 255 else np.uint8)
    if args == "1;I":
        table = table[::-1]  # 1 is black
    decoded = Image.fromarray(table[values].reshape((height, width, 3) if bands == 3 else (height, width)))
    decoded.info["deep"] = deep and bands == 3
    return decoded


def _plain_text(file: _File, most: int) -> bytes:
    """What follows in the file, at most so many bytes and 1 MiB, without its comments."""
    text = file.read(most + 2**20)
    if text.count(b"#") > _COMMENTS:
        raise _TooManyReads
    return re.sub(rb"#[^\r\n]*", b"", text)


def _plain_values(text: bytes, count: int) -> np.ndarray:
    if text.translate(None, b"0123456789 \t\n\r\v\f"):
        raise ValueError("a character of it is no digit")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip() else np.zeros(0, np.int64)
    if values.size == count and not text[-1:].isspace():
        raise ValueError("white space after its last value is missing, so that it may be cut")
    return values[:count]


def _check_file(path: Path) -> bytes:
    """The file's first bytes, or the reason why it cannot be an image."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path} is a folder, not a picture", "name one picture file")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path} is not an ordinary file", "name one picture file")
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        gone = "is a link to a file that does not exist" if os.path.islink(path) else "does not exist"
        raise UsageError(f"{path} {gone}", "check the path") from None
    except PermissionError:
        message = f"{path} cannot be read: permission denied"
        raise UsageError(message, "check the file's permissions") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except UsageError:
        raise
    except ValueError:  # a NUL character in the path
        raise UsageError(f"{str(path)!r} is not a file name", "check the path") from None
    if not start:
        raise UsageError(f"{path} is empty", "it has 0 bytes: was it saved or copied completely?")
    return start


def _check_size(path: Path, image: Image.Image, length: int) -> None:
    """Refuses sizes from the header: none, too large, or larger than a file of ``length`` bytes can hold."""
    width, height = image.size
    count, most = width * height, HEAVY.get(image.format or "", MAX_PIXELS)
    if min(width, height) < 1:
        raise _corrupt(path, f"its header says {width}x{height} pixels")
    if count > most:
        message = f"{path} has {count / 1e6:.1f} million pixels; at most {most // 1_000_000} million are read"
        message += f" of {image.format}" if most < MAX_PIXELS else ""
        raise UsageError(message, "scale it down, or crop it")
    if count > _CHEAP_PIXELS and count > _PIXELS_PER_BYTE * length:
        said = f"its header says {width}x{height} pixels"
        raise _corrupt(path, f"{said}, too many for a file of {length} bytes")


def _refusal(path: Path, error: Exception) -> OpenJSCCError:
    reason = "".join(c for c in " ".join(str(error).split())[:120] if c.isprintable()) or type(error).__name__
    if _UNSUPPORTED.search(reason):
        message = f"{path} has pixels of a type or a compression that is not read: {reason}"
        hint = "save it with 8 or 16 bits a value (grey: also 32, or 32-bit floating-point), e.g. as PNG"
        return UsageError(message, hint)
    return _corrupt(path, reason)


def _corrupt(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(f"{path} is truncated or corrupt: {reason}", "get the file again")
