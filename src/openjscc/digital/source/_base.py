"""What a source codec is, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from ...errors import IntegrityError, UsageError


class SourceCodec(ABC):
    """An image file format as one end of a separation-based link: 8-bit RGB images to bytes and back.

    Attributes:
        name: as `source_codec` knows it.
        qualities: what `encode` takes, ascending; the first makes the smallest file, as a rule.
    """

    name: ClassVar[str]
    qualities: range

    @property
    @abstractmethod
    def version(self) -> str:
        """The tools and settings that make the files, for records."""

    @abstractmethod
    def encode(self, picture: np.ndarray, quality: int) -> bytes:
        """A file from uint8 ``(H, W, 3)``. The same image and quality give the same bytes.

        Raises:
            UsageError: not such an image, larger than the format allows, or a quality outside `qualities`.
            MissingError: a library is not installed.
        """

    @abstractmethod
    def decode(self, data: bytes, height: int, width: int) -> np.ndarray:
        """uint8 ``(H, W, 3)`` from a file. Zero bytes after its end are ignored: they are the padding of a link.

        Formats have no checksum of their own: a flipped bit may go unnoticed and spoil the image.

        Raises:
            IntegrityError: damaged, truncated, or an image of another size.
            MissingError: a library is not installed.
        """

    @abstractmethod
    def log_size(self, quality: int) -> float:
        """ln(bytes) of a file, roughly, but for what depends on the picture: where a search for a file of some size looks."""

    def first_guess(self, bits_per_pixel: float) -> int:
        """The quality at which a photograph takes about so many bits: where a search for a file of some size begins."""
        return self.qualities[len(self.qualities) // 2]

    def check(self, picture: np.ndarray, quality: int, longest: int) -> None:
        """The errors of `encode`; ``longest`` is the longest side that the format can express."""
        check_picture(picture)
        if isinstance(quality, bool) or not isinstance(quality, int | np.integer) or int(quality) not in self.qualities:
            raise UsageError(f"{self.name} quality {quality!r}", f"use {self.qualities[0]} to {self.qualities[-1]}")
        if max(picture.shape[:2]) > longest:
            raise UsageError(
                f"{picture.shape[1]}x{picture.shape[0]} does not fit into {self.name}", f"at most {longest} pixels a side"
            )


def check_picture(picture: np.ndarray) -> None:
    """Raise UsageError for anything but uint8 ``(H, W, 3)``."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        kind = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise UsageError(f"picture of type {kind}", "expected a uint8 array")
    if picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape) < 1:
        raise UsageError(f"picture of shape {picture.shape}", "expected (H, W, 3)")


def damaged(name: str, reason: str) -> IntegrityError:
    """The error for a file that cannot be decoded."""
    return IntegrityError(f"{name} data is damaged: {reason}", "it was truncated or changed on its way")


def check_size(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Raise IntegrityError unless both are the same ``(H, W)``."""
    if size != expected:
        raise damaged(name, f"a picture of {size[1]}x{size[0]}, expected {expected[1]}x{expected[0]}")
