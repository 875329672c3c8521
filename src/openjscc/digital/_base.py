"""What the separation-based systems share: how many symbols a frame has, and images between tensors and files."""

from __future__ import annotations

import dataclasses
import math
import threading
import weakref
from abc import ABC, abstractmethod

import numpy as np
import torch

from ..codec import LOST_GREY, Codec, CodecInfo, Conditions, Frame, Received, Reconstruction, Side, check_image
from ..errors import IntegrityError, UsageError
from ..header import HeaderFormat, identity_of
from ..power import normalize_power
from .source import RateControl, SourceCodec

RATIOS = (1 / 48, 1 / 24, 1 / 16, 1 / 12, 1 / 6)
"""Examples, and what suites try: these systems take any ratio."""
AGREED_SIZE = (32, 32)
"""The size of CIFAR images: they have a short header, of 20 uses instead of 148."""


class SeparateCodec(ABC):
    """A source codec, then anything that carries its bits: the part without the link.

    Attributes:
        name: the spec that makes this system again.
        source: the source codec.
        control: fits its files to budgets; shared, with its cache, by all systems of this process with the same source coder.
    """

    any_ratio = True
    bound = False
    tasks: tuple[str, ...] = ("reconstruction",)
    uses_gain = True
    ratios: tuple[float, ...] = RATIOS
    default_ratio = RATIOS[-1]

    def __init__(self, name: str, source: SourceCodec, rates: int = 1) -> None:
        """
        Args:
            name: the spec that makes this system again.
            source: the source codec.
            rates: number of schemes that the header tells apart.
        """
        self.name = name
        self.source = source
        self.control = _shared_control(source)
        self.header = HeaderFormat(identity_of(name), AGREED_SIZE, rates, counts_uses=True)

    def __getstate__(self) -> dict[str, object]:
        """Without the cache: in another process the systems there share one."""
        return {name: value for name, value in self.__dict__.items() if name != "control"}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.control = _shared_control(self.source)

    @property
    def tool(self) -> str:
        """The source coder and its version."""
        return self.source.version

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        """Images ``(B, 3, H, W)`` to a frame, within the channel uses that the conditions give.

        Raises:
            UsageError: for a ratio outside (0, 10], or fewer uses than the header takes.
        """
        check_image(x)
        batch, _, height, width = x.shape
        head = self.header.lengths(height, width, conditions, batch).tolist()
        payload = asked_uses(self, conditions, height, width, head)
        pictures = list((x.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        snr_db = None if conditions.snr_db is None else conditions.snr_db.detach().double().cpu().tolist()
        symbols, rate, genie = self._send(pictures, payload, snr_db, conditions)
        length = torch.tensor(payload).to(x.device)
        side = Side(height, width, rate.to(x.device))
        frame = self.header.frame(normalize_power(symbols.to(x.device), length), length, side, conditions)
        return frame if genie is None else dataclasses.replace(frame, genie=(frame.side, genie))

    def decode(self, received: Received) -> Reconstruction:
        """What arrived: ``ok`` ``(B,)``, and the images, grey where it is False."""
        side, heard = self._read(received)
        if side is None:
            return Reconstruction(ok=heard)
        files = self._receive(received, side, heard.tolist())
        image, device = None, received.symbols.device
        ok = torch.zeros(len(files), dtype=torch.bool)
        for index, data in enumerate(files):
            if data is None or not heard[index]:
                continue
            try:
                picture = self.source.decode(data, side.height, side.width)
            except IntegrityError:  # bits that passed every check and are no file: nothing fitted into the frame, or chance
                continue
            if image is None:  # not before: a header alone may say any size
                image = torch.full((len(files), 3, side.height, side.width), LOST_GREY)
            image[index] = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
            ok[index] = True
        return Reconstruction(image=None if image is None else image.to(device), ok=ok.to(device))

    def _read(self, received: Received) -> tuple[Side | None, torch.Tensor]:
        """The header's fields, and which of the B headers were read (`HeaderFormat.read`)."""
        side, heard = self.header.read(received)
        if side is not None and side.uses is not None and side.head is not None:
            heard &= (side.uses > side.head) & (side.uses <= received.symbols.shape[1])
        return side, heard

    @abstractmethod
    def _send(
        self, pictures: list[np.ndarray], payload: list[int], snr_db: list[float] | None, conditions: Conditions
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[object, ...] | None]:
        """Images to payload symbols complex64 ``(B, max(payload))``, header's rate index int64 ``(B,)``, and what a bound
        hands over, one object per image."""

    @abstractmethod
    def _receive(self, received: Received, side: Side, heard: list[bool]) -> list[bytes | None]:
        """The file of each image, possibly followed by zero bytes; None where it was lost. ``heard``: whose header was read."""


def asked_uses(codec: Codec, conditions: Conditions, height: int, width: int, head: list[int]) -> list[int]:
    """Channel uses of each payload that the conditions give a codec of any ratio.

    Args:
        codec: asked.
        conditions: with ``uses``, or a ratio, or neither: the codec's default ratio.
        height: H of the images.
        width: W.
        head: channel uses of each header.

    Raises:
        UsageError: a ratio outside (0, 10], or fewer uses than a header takes.
    """
    if conditions.uses is not None:
        if conditions.uses <= max(head):
            raise UsageError(f"{conditions.uses} channel uses for a frame of {codec.name}", f"its header alone takes {max(head)}")
        return [conditions.uses - uses for uses in head]
    ratio = CodecInfo(codec).default_ratio if conditions.ratio is None else conditions.ratio
    try:
        ratios = torch.as_tensor(ratio, dtype=torch.float64).expand(len(head)).tolist()
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"bandwidth ratio {ratio!r} for {len(head)} images", "give a number such as 1/16, or one per image"
        ) from None
    for value in ratios:
        if not (math.isfinite(value) and 0 < value <= 10):
            raise UsageError(f"bandwidth ratio {value:g}", "complex channel uses per source value, above 0 and at most 10")
    return [max(math.floor(value * 3 * height * width + 1e-6), 1) for value in ratios]


def _shared_control(source: SourceCodec) -> RateControl:
    """One for each source coder and its settings, as long as a system uses it: a file is made once for all of them."""
    with _LOCK:
        control = _CONTROLS.get(source.version)
        if control is None:
            control = _CONTROLS[source.version] = RateControl(source)
        return control


_LOCK = threading.Lock()
_CONTROLS: weakref.WeakValueDictionary[str, RateControl] = weakref.WeakValueDictionary()
