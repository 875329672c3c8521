"""What a training step minimises: distortions per image, float32 ``(B,)``, and the table that recipes choose from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ..classes import VOID

LOG_FLOOR = 1e-5
"""Added to the MSE inside the logarithm (50 dB), so that a flat crop does not outweigh the rest of the batch."""


def mean_squared_error(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """MSE per image of ``(B, 3, H, W)`` on the scale [0, 1], ``(B,)``."""
    return (x.float() - y.float()).square().flatten(1).mean(1)


def weighted_squared_error(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of ``weights * (x - y)^2`` per image, ``(B,)`` (SP-JSCC, eq. 11); weights ``(B, 3, H, W)``."""
    return (weights * (x.float() - y.float()).square()).flatten(1).mean(1)


def divergence(sent: torch.Tensor, received: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence in nats of the received image's class distribution from the sent one's, ``(B,)``.

    Args:
        sent: scores ``(B, C)`` or ``(B, C, H, W)`` of the sent image; of a map, the mean over its positions counts.
        received: the same of the received one.
    """
    p, q = sent.float().log_softmax(1), received.float().log_softmax(1)
    values = (p.exp() * (p - q)).sum(1)
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def segmentation_loss(scores: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats of class scores ``(B, C, H, W)`` with masks ``(B, H, W)``, mean over the pixels whose class is known
    (not `openjscc.classes.VOID`), ``(B,)``; 0 where there is none (MTGSC, eq. 6)."""
    known = masks != VOID
    losses = F.cross_entropy(scores.float(), masks.long(), ignore_index=VOID, reduction="none")
    return losses.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)


def generative_loss(logits: torch.Tensor) -> torch.Tensor:
    """-ln sigmoid of a discriminator's logits ``(B, h, w)`` for received images, mean over patches, ``(B,)`` (perceptual JSCC,
    first term of eq. 2): what the generator minimises, in one stable step."""
    return F.softplus(-logits.float()).flatten(1).mean(1)


def discriminator_loss(real: torch.Tensor, received: torch.Tensor) -> torch.Tensor:
    """-ln f_d(real) - ln(1 - f_d(received)) of logits ``(B, h, w)``, mean over patches, ``(B,)`` (perceptual JSCC,
    eq. 3, which the discriminator minimises)."""
    return (F.softplus(-real.float()) + F.softplus(received.float())).flatten(1).mean(1)


def itself(distortion: torch.Tensor) -> torch.Tensor:
    """The distortion of each image as it is."""
    return distortion


def logarithm(distortion: torch.Tensor) -> torch.Tensor:
    """ln(distortion + 1e-5)."""
    return (distortion + LOG_FLOOR).log()


LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"mse": itself, "log_mse": logarithm}
"""Distortion per image on the scale of the mean squared error, ``(B,)``, to what is minimised."""
