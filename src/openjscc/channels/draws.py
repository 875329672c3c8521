"""Which random draw an image meets: decided by what is sent and the trial, never by the batch, the system or the SNR."""

from __future__ import annotations

import hashlib

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
        63 bits of a SHA-256. (torch's CPU generator uses the lower 32.)
    """
    pixels = (image.detach().cpu().float() * 255).round().clamp(0, 255).to(torch.uint8).contiguous()
    digest = hashlib.sha256(repr((tuple(pixels.shape), int(trial), channel_name, int(seed))).encode())
    digest.update(pixels.numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generators_for(images: torch.Tensor, trial: int, channel_name: str, seed: int) -> list[torch.Generator]:
    """One CPU generator per image of ``(B, 3, H, W)``, seeded by `content_seed`.

    Raises:
        UsageError: for what is no batch of images.
    """
    check_image(images)
    return [torch.Generator().manual_seed(content_seed(image, trial, channel_name, seed)) for image in images]
