"""One update of a codec that reconstructs pictures: encode, channel, decode, loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ...channels import Channel, Realisation
from ...codec import Conditions
from ...link import receive
from ...models import LearnedCodec


class ReconstructionStep(nn.Module):
    """The whole link as one module, so that data-parallel wrappers see one forward.

    Args:
        codec: what is trained.
        channel: what lies between.
        loss: per-image loss, one of `openjscc.training.losses.LOSSES`.
        equalizer: for channels with a gain.
    """

    def __init__(
        self, codec: LearnedCodec, channel: Channel, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], equalizer: str
    ) -> None:
        super().__init__()
        self.codec = codec
        self._channel, self._loss, self._equalizer = channel, loss, equalizer

    def forward(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: torch.Tensor, noise: torch.Tensor, gain: torch.Tensor | None
    ) -> torch.Tensor:
        """Loss per image ``(B,)`` for images ``(B, 3, H, W)``, their SNR ``(B,)``, ratio ``(B,)`` and channel draw.

        The draw comes as its two tensors: Fabric converts what it finds in the arguments, and refuses frozen dataclasses.
        """
        frame = self.codec.encode(x, Conditions(snr_db=snr_db, ratio=ratio))
        image = receive(self.codec, self._channel.apply(frame, snr_db, Realisation(noise, gain)), self._equalizer).image
        assert image is not None
        return self._loss(x, image)
