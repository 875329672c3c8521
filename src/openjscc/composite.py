"""Systems for a task out of two parts that know nothing of it and of each other: ``CODEC+NETWORK``.

The codec sends the image; a task network looks at what arrives. This is what a receiver does that has no codec made for its
task, and what such codecs are compared with.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .codec import (
    Codec,
    CodecInfo,
    Conditions,
    Frame,
    Received,
    Reconstruction,
    device_of,
    resolved_name,
)
from .errors import UsageError
from .tasks import TaskNetwork, perceive

RECONSTRUCTION = "reconstruction"
SEPARATOR = "+"


@dataclass(frozen=True)
class CompositeWeight:
    """What a composite system is made of.

    Attributes:
        name: the codec's and the network's, as `openjscc.systems.load` takes them.
        sha256: of the codec's weight (of a digital system: its name), its options, and the network's.
    """

    name: str
    sha256: str


class CompositeCodec(nn.Module):
    """A codec that serves reconstruction, and a task network that segments the images at the receiver.

    The network looks at images as they are stored (8 bits, `openjscc.tasks.perceive`). A lost one is class 0 everywhere (rule
    C11). Scores of a network with an input size of its own are brought to the image's size, bilinear. In training mode
    nothing is rounded, and gradients reach both parts.

    The frame is the codec's own, header included: channel uses, ratios and power are those of the codec.

    Attributes:
        codec: the codec.
        network: the task network.
    """

    tasks = ("segmentation",)

    def __init__(self, codec: Codec, network: TaskNetwork) -> None:
        """
        Raises:
            UsageError: a codec that does not serve reconstruction, a network of another kind than segmentation.
        """
        super().__init__()
        if RECONSTRUCTION not in codec.tasks:
            raise UsageError(f"{codec.name}{SEPARATOR}{network.name}: {codec.name} gives no picture", "name a codec for pictures")
        if network.kind != "segmentation":
            raise UsageError(
                f"{codec.name}{SEPARATOR}{network.name}: the task network is for {network.kind}",
                "name one for segmentation; what a classifier sees is measured with --task-network",
            )
        self.codec = codec
        self.network = network
        self.train(isinstance(codec, nn.Module) and codec.training)

    @property
    def weight(self) -> CompositeWeight:
        info, name = CodecInfo(self.codec), resolved_name(self.codec)
        identity = name if info.weight is None else info.weight.sha256 + info.options
        digest = hashlib.sha256(f"{identity}\n{self.network.sha256}".encode()).hexdigest()
        return CompositeWeight(f"{name}{SEPARATOR}{self.network.name}", digest)

    @property
    def name(self) -> str:
        return f"{self.codec.name}{SEPARATOR}{self.network.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.network.classes

    @property
    def ratios(self) -> tuple[float, ...]:
        return self.codec.ratios

    @property
    def default_ratio(self) -> float:
        return CodecInfo(self.codec).default_ratio

    @property
    def uses_gain(self) -> bool:
        return self.codec.uses_gain

    @property
    def device(self) -> torch.device | None:
        """Where the codec takes images; the task network may be elsewhere."""
        return device_of(self.codec)

    @property
    def any_ratio(self) -> bool:
        return CodecInfo(self.codec).any_ratio

    @property
    def bound(self) -> bool:
        return CodecInfo(self.codec).bound

    @property
    def has_policy(self) -> bool:
        return CodecInfo(self.codec).has_policy

    @property
    def pack(self) -> int:
        return CodecInfo(self.codec).pack

    @property
    def tool(self) -> str | None:
        return CodecInfo(self.codec).tool

    @property
    def schemes(self) -> Any:
        return CodecInfo(self.codec).schemes

    @property
    def header(self) -> Any:
        return CodecInfo(self.codec).header

    @property
    def payload_uses(self) -> Any:
        return CodecInfo(self.codec).payload_uses

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        """Images ``(B, 3, H, W)`` to the codec's frame. Raises as the codec does."""
        frame = self.codec.encode(x, dataclasses.replace(conditions, task=RECONSTRUCTION))
        return dataclasses.replace(frame, side=dataclasses.replace(frame.side, task=self.tasks[0]))

    def decode(self, received: Received) -> Reconstruction:
        """What arrived to class scores ``(B, classes, H, W)``, and the codec's ``ok``."""
        return self._segmented(self.codec.decode(received))

    def _segmented(self, arrived: Reconstruction) -> Reconstruction:
        if arrived.image is None:
            if arrived.ok is None or bool(arrived.ok.any()):
                raise UsageError(f"{self.codec.name} gives no picture", "choose a codec whose task is reconstruction")
            return arrived
        scores = self._scores(arrived.image)
        if scores.shape[-2:] != arrived.image.shape[-2:]:
            scores = F.interpolate(scores, size=arrived.image.shape[-2:], mode="bilinear", align_corners=False)
        return Reconstruction(segmentation=scores, ok=arrived.ok)

    def _scores(self, image: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return perceive(self.network, image)
        size = self.network.input_size
        if size is not None and tuple(image.shape[-2:]) != tuple(size):
            image = F.interpolate(image, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
        return self.network(image)
