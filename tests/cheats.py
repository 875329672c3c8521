"""Codecs that break the contract, each in one way: `openjscc.testing.check_codec` must find them out."""

from __future__ import annotations

import dataclasses

import torch

from helpers import PixelCodec
from openjscc.codec import Conditions, Frame, Received, Reconstruction, Side
from openjscc.errors import UsageError


class Honest(PixelCodec):
    """Keeps every rule."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        if conditions.ratio not in (None, 0.5):
            raise UsageError(f"bandwidth ratio {conditions.ratio}", "pixels have 1/2 only")
        return super().encode(x, conditions)

    def decode(self, received: Received) -> Reconstruction:
        result = super().decode(received)
        return result if result.image is None else dataclasses.replace(result, image=result.image.clamp(0, 1))


class HidesInItself(Honest):
    """The receiver looks into the transmitter."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        self.kept = x
        return super().encode(x, conditions)

    def decode(self, received: Received) -> Reconstruction:
        kept = getattr(self, "kept", None)
        return super().decode(received) if kept is None else Reconstruction(image=kept)


class HidesInItsClass(Honest):
    """The same, past any copy."""

    kept: torch.Tensor | None = None

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        type(self).kept = x
        return super().encode(x, conditions)

    def decode(self, received: Received) -> Reconstruction:
        kept = type(self).kept
        fits = kept is not None and len(kept) == len(received.symbols)
        return Reconstruction(image=kept) if fits else super().decode(received)


class HidesInAName(Honest):
    """Draws noise by a seed that both ends know, and finds the image in a module: not pickled, so caught by noise alone."""

    def __getstate__(self):
        raise TypeError("cannot be pickled")

    def __deepcopy__(self, memo: object) -> HidesInAName:
        return self

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        self.kept = x
        return super().encode(x, conditions)

    def decode(self, received: Received) -> Reconstruction:
        return Reconstruction(image=self.kept[: len(received.symbols)])


class HidesInTheLength(Honest):
    """Sends more symbols of brighter images, and the length is not paid for as information."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        extra = (x.mean((1, 2, 3)) * 7).round().long()
        more = torch.ones(len(x), 8, dtype=frame.symbols.dtype)
        symbols = torch.cat([frame.symbols, more], dim=1)
        length = frame.length + extra
        index = torch.arange(symbols.shape[1])
        return Frame(torch.where(index < length[:, None], symbols, 0), length, frame.side)


class FreeScale(Honest):
    """Has a float in `Side.scale` that its header does not send."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        self.scale_sent = frame.side.scale
        head = self.header.uses(*x.shape[-2:])
        return Frame(frame.symbols[:, head:], frame.length - head, frame.side)

    def decode(self, received: Received) -> Reconstruction:
        return Reconstruction(image=received.side.scale)  # pyright: ignore[reportAttributeAccessIssue]


class PastTheChannel(Honest):
    """Uses the field of the bounds without being one."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        return dataclasses.replace(super().encode(x, conditions), genie=x)

    def decode(self, received: Received) -> Reconstruction:
        assert isinstance(received.genie, torch.Tensor)
        return Reconstruction(image=received.genie)


class Naive(Honest):
    """Averages 2x2 pixels without a thought of images of one pixel."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        torch.nn.functional.avg_pool2d(x, 2)
        return super().encode(x, conditions)


class Loud(Honest):
    """Sends with twice the power."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        return dataclasses.replace(frame, symbols=frame.symbols * 2**0.5)


class Neighbourly(Honest):
    """Normalises the power over the batch."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        head = frame.side.head[0]
        loud = frame.symbols * torch.linspace(0.5, 1.5, len(x))[:, None]
        loud = loud / loud.abs().square().mean().sqrt()
        return dataclasses.replace(frame, symbols=torch.cat([frame.symbols[:, :head], loud[:, head:]], dim=1))


class WrongSize(Honest):
    """Says another size to itself than to the header."""

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        return dataclasses.replace(frame, side=Side(1, 2, scale=frame.side.scale, head=frame.side.head))


CHEATS = {
    HidesInItself: "",  # the second instance never saw the image: what it decodes is honest
    HidesInItsClass: "rule C4: another process decodes another result",
    HidesInAName: "rule C4: an image comes out of noise alone",
    HidesInTheLength: "rule C4: .* the length differs between images of one size and ratio",
    FreeScale: "rule C4: decode from received symbols alone raised AttributeError",
    PastTheChannel: "rule C4: .* something reaches the receiver past the channel",
    Naive: "rule C3: encode of 3 images of 1x1 raised RuntimeError",
    Loud: "rule C6: .* mean symbol energy per image is",
    Neighbourly: "rule C6: .* mean symbol energy per image is",
    WrongSize: "rule C4: .* `Frame.side` says 2x1",
}
"""What each is told."""
