"""Which random draw an image meets: decided by what is sent and the trial, never by the batch, the system or the SNR."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from ..codec import check_image


def content_seed(image: torch.Tensor, trial: int, channel_name: str, seed: int) -> int:
    """A seed from what the image shows, stable over processes, batch sizes and float noise below 8-bit rounding.

    Two copies of one picture meet the same draw in the same trial: tell them apart by ``trial``.

    Args:
        image: floating point ``(3, H, W)`` in [0, 1]; rounded to 8 bits for this.
        trial: number of the repetition.
        channel_name: `Channel.name`.
        seed: the experiment's.

    Returns:
        128 bits of a SHA-256.
    """
    pixels = (image.detach().cpu().float() * 255).round().clamp(0, 255).to(torch.uint8).contiguous()
    digest = hashlib.sha256(repr((tuple(pixels.shape), int(trial), channel_name, int(seed))).encode())
    digest.update(pixels.numpy().tobytes())
    return int.from_bytes(digest.digest()[:16], "big")


def generators_for(images: torch.Tensor, trial: int, channel_name: str, seed: int) -> list[np.random.Generator]:
    """One generator per image of ``(B, 3, H, W)``, seeded by all bits of `content_seed`.

    They are numpy's (PCG64), because torch's CPU generator uses 32 bits of a seed: of 50,000 draws some pairs would be the
    same.

    Raises:
        UsageError: for what is no batch of images.
    """
    check_image(images)
    seeds = [content_seed(image, trial, channel_name, seed) for image in images]
    return [np.random.Generator(np.random.PCG64(each)) for each in seeds]
