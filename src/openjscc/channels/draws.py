"""Which random draw an image meets: decided by what is sent and the trial, never by the batch, the system or the SNR."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from ..codec import check_image


def image_digest(image: torch.Tensor) -> str:
    """SHA-256 of what an image ``(3, H, W)`` in [0, 1] shows: its size and its 8-bit pixels."""
    pixels = (image.detach().cpu().float() * 255).round().clamp(0, 255).to(torch.uint8).contiguous()
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(pixels.numpy().tobytes())
    return digest.hexdigest()


def draw_seed(digest: str, trial: int, channel_name: str, seed: int) -> int:
    """A seed of 128 bits from `image_digest`, stable over processes and batch sizes.

    Two copies of one image meet the same draw in the same trial: tell them apart by ``trial``.

    Args:
        digest: of the image.
        trial: number of the repetition.
        channel_name: `Channel.name`.
        seed: the experiment's.
    """
    text = repr((digest, int(trial), channel_name, int(seed)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def content_seed(image: torch.Tensor, trial: int, channel_name: str, seed: int) -> int:
    """`draw_seed` of an image ``(3, H, W)`` in [0, 1]; float noise below 8-bit rounding does not change it."""
    return draw_seed(image_digest(image), trial, channel_name, seed)


def generators_for_digests(digests: Sequence[str], trial: int, channel_name: str, seed: int) -> list[np.random.Generator]:
    """One generator per image, seeded by all bits of `draw_seed`.

    They are numpy's (PCG64), because torch's CPU generator uses 32 bits of a seed: of 50,000 draws some pairs would be the
    same.
    """
    seeds = [draw_seed(digest, trial, channel_name, seed) for digest in digests]
    return [np.random.Generator(np.random.PCG64(each)) for each in seeds]


def generators_for(images: torch.Tensor, trial: int, channel_name: str, seed: int) -> list[np.random.Generator]:
    """`generators_for_digests` of the images ``(B, 3, H, W)``.

    Raises:
        UsageError: for what is no batch of images.
    """
    check_image(images)
    return generators_for_digests([image_digest(image) for image in images], trial, channel_name, seed)
