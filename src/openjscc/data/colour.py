"""Decoded pixels of any type to RGB: depth, sign, transparency, profiles. Notes say what is done."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms

from ..errors import UsageError

_SAME_COLOUR = 2
"""A profile that moves no colour by more than so many of 255 levels is one of sRGB, and is not applied."""

_PART = 4_000_000
"""So many pixels go from Pillow to torch at a time."""

_SRGB_GAMMA = 1 / 2.2
_SRGB_CHROMATICITY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_INTEROPERABILITY = 0xA005
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_UNSIGNED, _SIGNED = 1, 2


def to_rgb(image: Image.Image, deep: bool, notes: list[str], path: Path) -> torch.Tensor:
    """Float32 ``(3, H, W)`` in [0, 1], sRGB, from any pixel type.

    Args:
        image: decoded.
        deep: the file has 16 bits a value, of which Pillow keeps 8.
        notes: gets what was done.
        path: for errors.

    Raises:
        UsageError: pixels that cannot be turned into RGB.
    """
    tags: Any = getattr(image, "tag_v2", {})
    photometric, bits, sign = (_first(tags.get(tag, default)) for tag, default in _TIFF_DEFAULTS)
    signed = sign == _SIGNED
    if image.mode.startswith("I") or image.mode == "F" or (signed and image.mode == "L"):
        if "icc_profile" in image.info:
            notes.append("its colour profile is not applied")
        values = np.asarray(image)
        if values.dtype == np.int32 and bits == 32 and sign == _UNSIGNED:
            values = values.view(np.uint32)
        elif values.dtype == np.uint8:
            values = values.view(np.int8)
        grey = _from_wide_grey(values, bits if isinstance(bits, int) else 16, signed, notes)
        if tags and photometric == 0:  # white is 0; Pillow turns that round up to 8 bits only
            grey = grey.neg_().add_(1.0)
        return grey.expand(3, -1, -1).contiguous()
    if deep:
        notes.append("16 bits a value, read as 8")
    try:
        image = _in_srgb(image, notes)
        if image.mode == "RGBA":
            if image.getchannel("A").getextrema() != (255, 255):
                notes.append("transparent pixels shown on white")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
    except ValueError:
        message = f"{path} has pixels of type {image.mode}, which cannot be turned into RGB"
        raise UsageError(message, "save it as RGB") from None
    pixels = torch.empty((3, image.height, image.width), dtype=torch.float32)
    rows = max(1, _PART // image.width)
    for top in range(0, image.height, rows):  # in parts: a large image is in memory often enough
        part = np.array(image.crop((0, top, image.width, min(top + rows, image.height))))
        pixels[:, top : top + rows].copy_(torch.from_numpy(part).permute(2, 0, 1))
    return pixels.div_(255.0)


_TIFF_DEFAULTS = ((_PHOTOMETRIC, 0), (_BITS, None), (_SAMPLE_FORMAT, _UNSIGNED))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, Sequence) and value else value


def _from_wide_grey(values: np.ndarray, bits: int, signed: bool, notes: list[str]) -> torch.Tensor:
    """Grey ``(H, W)`` of more than 8 bits, with a sign, or floating-point, to float32 in [0, 1]."""
    grey = values.astype(np.float32)
    if values.dtype.kind == "f":
        if not np.isfinite(grey).all():
            notes.append("values that are no finite numbers shown as black")
            grey = np.nan_to_num(grey, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(grey.min()), float(grey.max())
        if low < 0.0 or high > 1.0:
            notes.append(f"floating-point values {low:.4g} to {high:.4g} scaled to 0 to 1")
            grey = _stretched(grey, low, high)
        else:
            notes.append("floating-point values")
    else:
        low, high = float(values.min()), float(values.max())
        if low < 0 or (signed and bits < 32):
            notes.append(f"signed values {low:.0f} to {high:.0f} scaled to 0 to 1")
            grey = _stretched(grey, low, high)
        elif high > 65535:
            notes.append(f"32 bits a value, scaled by its largest, {high:.0f}")
            grey /= high
        else:
            depth = bits if 8 < bits < 16 else 16
            notes.append(f"{depth} bits a value")
            grey /= 2.0**depth - 1
    return torch.from_numpy(grey).clamp_(0.0, 1.0)


def _stretched(grey: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps ``low`` to 0 and ``high`` to 1. Values that are all the same are white if positive, else black."""
    span = np.float64(high) - np.float64(low)
    return ((grey - np.float64(low)) / span).astype(np.float32) if span > 0 else np.full_like(grey, high > 0)


def _in_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB, or RGBA where there is transparency, in sRGB: by the colour profile where there is one.

    Raises:
        ValueError: Pillow cannot convert these pixels.
    """
    space, transform, name = _profile(image, notes)
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    if transform is not None and space == image.mode == "CMYK":
        notes.append(f"converted from {name} to sRGB")
        return ImageCms.applyTransform(image, transform) or image
    if image.mode not in ("RGB", "RGBA", "L", "LA", "La", "PA", "1", "P"):
        notes.append(f"converted from {image.mode} without a colour profile")
    grey = image.mode in ("L", "LA", "La", "1")
    if image.mode != wanted:
        image = image.convert(wanted)
    if transform is None:
        return image
    if space != ("GRAY" if grey else "RGB"):
        notes.append("its colour profile is one for other pixels, and is not applied")
        return image
    colours = image.getchannel(0) if grey else image if image.mode == "RGB" else image.convert("RGB")
    converted = ImageCms.applyTransform(colours, transform) or colours
    if wanted == "RGBA":
        converted.putalpha(image.getchannel("A"))
    notes.append(f"converted from {name} to sRGB")
    return converted


def _profile(image: Image.Image, notes: list[str]) -> tuple[str, ImageCms.ImageCmsTransform | None, str]:
    """Colour space, transform to sRGB (None: nothing to do) and name of the embedded profile."""
    content = image.info.get("icc_profile")
    if not isinstance(content, bytes) or not content:
        _note_other_colours(image, notes)
        return "", None, ""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        facts: Any = profile.profile
        space = facts.xcolor_space.strip()
        described = ImageCms.getProfileDescription(profile).strip()
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}[space]
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        same = _changes_nothing(transform, mode)
    except Exception:  # lcms says no more than that it cannot
        notes.append("its colour profile cannot be used")
        return "", None, ""
    name = "".join(c for c in described if c.isprintable())[:60] or "its colour profile"
    return space, None if same else transform, name


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the transform leaves a grid of all colours, or all levels of grey, as good as they are."""
    levels = np.arange(256, dtype=np.uint8)
    if mode == "L":
        before = np.repeat(levels[None, :, None], 3, axis=2)
        sample = Image.fromarray(levels[None])
    elif mode == "RGB":
        before = np.stack(np.meshgrid(levels[::15], levels[::15], levels[::15]), -1).reshape(18, -1, 3)
        sample = Image.fromarray(before)
    else:
        return False
    after = np.asarray(ImageCms.applyTransform(sample, transform))
    return int(np.abs(after.astype(int) - before).max()) <= _SAME_COLOUR


def _note_other_colours(image: Image.Image, notes: list[str]) -> None:
    """Notes colours that are said not to be sRGB by other means than a profile."""
    gamma, chromaticity = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" not in image.info:
        if isinstance(gamma, float) and abs(gamma - _SRGB_GAMMA) > 0.01:
            notes.append(f"its gamma of {gamma:.4g} is not applied")
        if isinstance(chromaticity, tuple) and not np.allclose(chromaticity, _SRGB_CHROMATICITY, atol=0.01):
            notes.append("its primaries are not those of sRGB, and are not applied")
    try:
        adobe = image.getexif().get_ifd(_INTEROPERABILITY).get(1) == "R03"
    except Exception:  # damaged EXIF data is no reason to refuse the image
        adobe = False
    if adobe:
        notes.append("its EXIF data says Adobe RGB, which is not applied")
