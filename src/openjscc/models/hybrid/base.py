"""The base layer: a small file of the image, and what both ends make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...digital.source import Fitted, RateControl, SourceCodec
from ...digital.source.bpg import MAGIC, read_header
from ...errors import IntegrityError, UsageError
from .residual import BLOCK, transform

NO_BASE = 63
"""In the place of a QP: there is no file."""
GREY = 128
PRESET = "slow"
"""Of x265: the fastest whose quantisation minimises rate and distortion (RDOQ), which is most of what ``veryslow`` gains."""
HALF_FROM_QP = 44
"""From this QP on, the base is looked for at half the size, too."""


@dataclass(frozen=True)
class Base:
    """A base layer.

    Attributes:
        image: uint8 ``(H, W, 3)``, sides that 16 divides.
        qp: of the file; `NO_BASE` where there is none.
        half: the file has half the image's size.
        data: the file without what all of them begin with.
    """

    image: np.ndarray
    qp: int
    half: bool
    data: bytes


def nothing(height: int, width: int) -> Base:
    """A grey image."""
    return Base(np.full((height, width, 3), GREY, np.uint8), NO_BASE, False, b"")


def fit(control: RateControl, picture: np.ndarray, budget: int) -> Base:
    """The best base whose file has at most ``budget`` bytes.

    Args:
        control: of the source coder.
        picture: uint8 ``(H, W, 3)``, sides that 16 divides.
        budget: bytes.
    """
    height, width = picture.shape[:2]
    whole = _fitted(control, picture, budget)
    found = (
        nothing(height, width) if whole is None else _base(control.codec, whole.data, 51 - whole.quality, False, height, width)
    )
    if budget > 0 and (found.qp == NO_BASE or found.qp >= HALF_FROM_QP):
        half = _fitted(control, halved(picture), budget)
        if half is not None:
            other = _base(control.codec, half.data, 51 - half.quality, True, height, width)
            if _error(picture, other.image) < _error(picture, found.image):
                found = other
    return found


def _fitted(control: RateControl, picture: np.ndarray, budget: int) -> Fitted | None:
    """A file of at most ``budget`` bytes beside what all of them begin with, searched for from `likely_qp` on."""
    return control.fit(picture, budget + len(MAGIC), 51 - likely_qp(padded(picture), 8 * budget)) if budget > 0 else None


def likely_qp(picture: np.ndarray, bits: float) -> int:
    """The QP at which a base of a photo takes about so many bits.

    These are about log2(1 + (c / step)^2) summed over the coefficients c of a 16x16 DCT, without the mean of each block.
    """
    energy = transform(picture.astype(np.float32)) ** 2
    energy[:, :: BLOCK * BLOCK] = 0
    low, high = 0, 51
    while low < high:
        middle = (low + high) // 2
        if float(np.log2(1 + energy * 2.0 ** ((4 - middle) / 3)).sum()) > bits:
            low = middle + 1
        else:
            high = middle
    return low


def made(codec: SourceCodec, picture: np.ndarray, qp: int, *, half: bool = False) -> Base:
    """The base of one QP, of the image or of one of half its size."""
    height, width = picture.shape[:2]
    return _base(codec, codec.encode(halved(picture) if half else picture, 51 - qp), qp, half, height, width)


def read(control: RateControl, data: bytes, qp: int, half: bool, height: int, width: int) -> tuple[Base, int]:
    """The base at the start of ``data``, and how many bytes it takes.

    Raises:
        IntegrityError: a damaged file.
    """
    if qp == NO_BASE:
        return nothing(height, width), 0
    try:
        stop = read_header(MAGIC + data).stop
    except UsageError as error:
        raise IntegrityError("the base is damaged", "it was changed on its way") from error
    return _base(control.codec, (MAGIC + data)[:stop], qp, half, height, width), stop - len(MAGIC)


def _base(codec: SourceCodec, data: bytes, qp: int, half: bool, height: int, width: int) -> Base:
    if half:
        image = doubled(codec.decode(data, height // 2, width // 2))
    else:
        image = codec.decode(data, height, width)
    return Base(image, qp, half, data[len(MAGIC) :])


def halved(image: np.ndarray) -> np.ndarray:
    """Means over 2x2 pixels, uint8."""
    height, width = image.shape[:2]
    return np.rint(image.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))).astype(np.uint8)


def doubled(image: np.ndarray) -> np.ndarray:
    """Twice the size, uint8: Catmull-Rom interpolation at 1/4 and 3/4 between samples, in integers."""
    for axis in (0, 1):
        image = _doubled(np.moveaxis(image, axis, 0), axis)
    return image


def _doubled(rows: np.ndarray, axis: int) -> np.ndarray:
    padded = np.concatenate([rows[:1], rows[:1], rows, rows[-1:], rows[-1:]]).astype(np.int32)
    count = len(rows)
    near = [padded[shift : shift + count] for shift in range(5)]
    before = -3 * near[0] + 29 * near[1] + 111 * near[2] - 9 * near[3]
    after = -9 * near[1] + 111 * near[2] + 29 * near[3] - 3 * near[4]
    both = np.stack([before, after], axis=1).reshape(2 * count, *rows.shape[1:])
    return np.moveaxis(np.clip((both + 64) >> 7, 0, 255).astype(np.uint8), 0, axis)


def padded(picture: np.ndarray) -> np.ndarray:
    """With sides that `BLOCK` divides: the last row and column repeated."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")


def _error(picture: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean((picture.astype(np.float32) - other) ** 2))
