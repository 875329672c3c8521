"""Images in and out: any common image file to float32 RGB in [0, 1], and back to 8 bits.

Nothing here decides silently: whatever was done to make RGB out of a file is in `Picture.notes`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ..errors import IntegrityError, UsageError
from ..files import check_target, write_atomically
from .colour import to_rgb
from .decoding import frame_count, load, opened

_WRITERS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        pixels: float32 ``(3, H, W)`` in [0, 1], sRGB: a colour profile in the file is applied.
        notes: what was done to the file to get there, e.g. ``first of 12 frames``; empty for plain 8-bit RGB.
        path: where it came from.
    """

    pixels: torch.Tensor
    notes: tuple[str, ...]
    path: Path


def read_image(path: str | os.PathLike[str]) -> Picture:
    """Read an image file of any common format, size and pixel type.

    The first frame of an animation, upright as EXIF says, grey repeated to three channels, transparency shown on white,
    16-bit grey kept at full precision. 16-bit RGB comes with 8 bits, as Pillow has no type for more.

    Args:
        path: the file.

    Raises:
        UsageError: no such file, a folder, empty, unreadable, not an image, pixels of a type that is not
            read, or more than `openjscc.data.decoding.MAX_PIXELS`.
        IntegrityError: an image, but truncated or corrupt.
    """
    path = Path(path)
    notes: list[str] = []
    with opened(path) as image:
        frames = frame_count(image)
        if frames != 1:
            notes.append(f"first of {frames} frames" if frames else "first of several frames")
        deep = ";16" in str(getattr(image, "tile", "")) or image.info.get("deep") is True
        turned = _orientation(image) != 1
        load(image)
        upright = image
        if (orientation := _orientation(image)) != 1:  # TIFF files have been turned by load() already
            upright = image.transpose(_ORIENTATIONS[orientation])
        if turned:
            notes.append("rotated as its EXIF data says")
        pixels = to_rgb(upright, deep, notes, path)
    return Picture(pixels, tuple(notes), path)


def pixels_of(image: object) -> torch.Tensor:
    """An image in memory as a tensor, float32 ``(3, H, W)`` in [0, 1].

    Args:
        image: `Picture`; Pillow image of any pixel type, converted and turned as `read_image` does; or array
            ``(H, W, 3)``, RGB, uint8 or floating point in [0, 1].

    Raises:
        UsageError: another type or shape, or a Pillow image whose file cannot be read to the end.
    """
    if isinstance(image, Picture):
        return image.pixels
    if isinstance(image, Image.Image):
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise UsageError(f"a Pillow image that cannot be read: {error}", "load the file again") from None
        if min(image.size) < 1:
            raise UsageError(f"a Pillow image of {image.width}x{image.height} pixels", "give one of 1x1 or more")
        orientation = _orientation(image)
        upright = image if orientation == 1 else image.transpose(_ORIENTATIONS[orientation])
        return to_rgb(upright, False, [], Path("the Pillow image"))
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"an image of type {type(image).__name__}",
            "give a tensor (3, H, W) or (B, 3, H, W) in [0, 1], a numpy array (H, W, 3), a Pillow image or a path",
        )
    if image.ndim != 3 or image.shape[2] != 3:
        hint = "expected (H, W, 3)"
        if image.ndim == 3 and image.shape[0] == 3:
            hint += ": image.transpose(1, 2, 0)"
        elif image.ndim == 3 and image.shape[2] == 4:
            hint += ": image[..., :3], without transparency"
        elif image.ndim == 2:
            hint += ": numpy.stack([image] * 3, axis=-1), for grey"
        raise UsageError(f"image array of shape {image.shape}", hint)
    if image.dtype == np.uint8:
        return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).div(255.0).contiguous()
    if image.dtype.kind == "f":
        return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).contiguous()
    raise UsageError(f"image array of type {image.dtype}", "expected uint8, or floating point in [0, 1]")


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """``(H, W)`` of the image as `read_image` would give it, from the header alone. Raises as `read_image`."""
    with opened(Path(path), pixels=False) as image:
        width, height = image.size
        turned = image.format != "TIFF" and _orientation(image) >= 5
    return (width, height) if turned else (height, width)


def read_indices(path: str | os.PathLike[str]) -> torch.Tensor:
    """The numbers that a palette or grey image stores, uint8 ``(H, W)``; no colour is looked up, EXIF is not heeded.

    Raises:
        IntegrityError: not there, damaged, or with pixels of another type, such as RGB: the numbers are lost then.
    """
    path = Path(path)
    if not path.is_file():
        raise IntegrityError(f"{path} is missing", "get the file again")
    with opened(path) as image:
        if image.mode not in ("P", "L"):
            raise IntegrityError(f"{path} has {image.mode} pixels", "masks are palette pictures, whose pixels are class numbers")
        return torch.from_numpy(np.array(image, dtype=np.uint8))


def middle(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """The middle ``(C, side, side)`` of an image ``(C, H, W)``. Raises UsageError for a smaller one."""
    top, left = ((length - side) // 2 for length in pixels.shape[1:])
    if min(top, left) < 0:
        raise UsageError(f"a picture of {pixels.shape[2]}x{pixels.shape[1]} pixels", f"its sides must be {side} or more")
    return pixels[:, top : top + side, left : left + side]


def squared(pixels: torch.Tensor, side: int, *, mask: bool = False) -> torch.Tensor:
    """The middle square of ``(C, H, W)``, scaled: `resized`."""
    return resized(middle(pixels, min(pixels.shape[1:])), side, mask=mask)


def resized(square: torch.Tensor, side: int, *, mask: bool = False) -> torch.Tensor:
    """``(C, S, S)`` to ``(C, side, side)``, of its type: bilinear, antialiased where it shrinks; a mask by the nearest pixel."""
    if square.shape[-1] == side:
        return square
    if mask:
        return F.interpolate(square[None], size=(side, side), mode="nearest-exact")[0]
    shrinks = square.shape[-1] > side
    scaled = F.interpolate(square[None].float(), size=(side, side), mode="bilinear", antialias=shrinks, align_corners=False)[0]
    return scaled if square.is_floating_point() else scaled.round().clamp(0, 255).to(square.dtype)


def to_uint8(x: torch.Tensor) -> torch.Tensor:
    """``round(255 * clamp(x, 0, 1))`` as uint8, any shape; exact halves go to the even neighbour, as IEEE 754 rounds.

    uint8 input is returned as it is.
    """
    if x.dtype == torch.uint8:
        return x
    return x.detach().to(torch.float32).clamp(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)


def write_png(
    path: str | os.PathLike[str], pixels: torch.Tensor | Image.Image, overwrite: bool = False, quality: int | None = None
) -> Path:
    """Write an image whole or not at all: to a temporary file beside the goal, then moved into place.

    Args:
        path: PNG where it has no suffix or ``.png``; ``.webp`` (lossless) and ``.jpg`` (quality 95, 4:4:4) by the suffix.
        pixels: ``(3, H, W)``, float in [0, 1] (rounded as `to_uint8`) or uint8; or a Pillow image.
        overwrite: replace an existing file.
        quality: of a ``.webp`` that may lose some of it, 1 to 100, where that takes fewer bytes than losing nothing.

    Returns:
        The path written.

    Raises:
        UsageError: the file exists, its folder is missing or not writable, an unknown suffix, or a shape that is no image.
    """
    path = Path(path)
    check_output(path, overwrite)
    kind, options = _WRITERS[path.suffix.lower() or ".png"]
    image = pixels if isinstance(pixels, Image.Image) else to_pil(pixels)
    try:
        content = _encoded(image, kind, options)
        if kind == "WEBP" and quality is not None:
            content = min(content, _encoded(image, kind, {"quality": quality, "method": 6}), key=len)
    except (OSError, ValueError) as error:  # the encoder's own complaint
        message = f"{path}: {image.width}x{image.height} does not fit into {kind} ({error})"
        raise UsageError(message, "write .png") from None
    write_atomically(Path(os.path.realpath(path)), content)  # a link keeps pointing where it points
    return path


def _encoded(image: Image.Image, kind: str, options: Mapping[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Refuse an output path that `write_png` could not write to; cheap, so call it before the long work.

    Raises:
        UsageError: as `write_png`.
    """
    check_target(Path(path), overwrite, (".png", "", *_WRITERS), f"use one of {', '.join(_WRITERS)}")


def to_pil(pixels: torch.Tensor) -> Image.Image:
    """``(3, H, W)``, float in [0, 1] or uint8, as a Pillow RGB image of 8 bits.

    Raises:
        UsageError: another shape, or values that are not finite.
    """
    if not isinstance(pixels, torch.Tensor):
        raise UsageError(f"an image of type {type(pixels).__name__}", "give a tensor (3, H, W) or a Pillow image")
    if pixels.ndim != 3 or pixels.shape[0] != 3 or min(pixels.shape) < 1:
        hint = "expected (3, H, W)" + (": of a batch give one image, e.g. images[0]" if pixels.ndim == 4 else "")
        raise UsageError(f"picture of shape {tuple(pixels.shape)}", hint)
    if pixels.is_floating_point() and not bool(torch.isfinite(pixels).all()):
        raise UsageError("picture with values that are not finite numbers", "this is a fault of what made it, not of the file")
    return Image.fromarray(to_uint8(pixels).permute(1, 2, 0).contiguous().cpu().numpy())


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF data is no reason to refuse the image
        return 1
    return value if value in _ORIENTATIONS else 1
