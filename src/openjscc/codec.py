"""The contracts: what a codec takes and gives, and what travels between transmitter, channel and receiver.

::

    image --Codec.encode--> Frame --channel--> Received --Codec.decode--> Reconstruction

A codec never sees the channel. Shapes: B images, k complex symbols, H x W pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from .classes import VOC
from .errors import UsageError, unknown_name
from .units import bandwidth_ratio

TASKS = ("reconstruction", "segmentation")


LOST_GREY = 0.5
"""The constant image that stands for one that was lost (`Reconstruction.ok` False)."""


@dataclass(frozen=True)
class Fading:
    """The law of a channel's gain, known before the transmission. It says nothing about the gain of the moment.

    Attributes:
        power: equally likely values of ``|h|^2``, ascending.
        per_symbol: the gain changes with every symbol; else it is one for the frame.
    """

    power: tuple[float, ...]
    per_symbol: bool


@dataclass(frozen=True)
class Conditions:
    """What both ends agreed before the transmission; none of it is sent.

    Attributes:
        snr_db: float32 ``(B,)``, the average SNR in dB that the transmitter knows; None where it knows nothing.
        ratio: the bandwidth ratio asked for, where the codec has several: a number, or one per image ``(B,)``.
            None: the codec's default; a codec with a policy (`CodecInfo.has_policy`) then chooses for every image.
        task: what the receiver wants, one of `TASKS`.
        fading: the law of the gain, where the channel fades; None: it does not, or nobody knows.
        fades: the channel is known to fade, whatever its law.
        uses: channel uses that each frame is given, header included. Only for a codec of any ratio
            (`CodecInfo.any_ratio`), and instead of ``ratio``.
    """

    snr_db: torch.Tensor | None = None
    ratio: float | torch.Tensor | None = None
    task: str = "reconstruction"
    fading: Fading | None = None
    fades: bool = False
    uses: int | None = None


@dataclass(frozen=True)
class Side:
    """The fields of the header. The transmitter writes them; the receiver makes its own from what it received
    (`openjscc.header.HeaderFormat.read`), and nothing else tells it. Their cost is in `Frame.length`.

    Attributes:
        height: H of the unpadded image.
        width: W of the unpadded image.
        rate: int64 ``(B,)``, index into the codec's ratios; None for a codec with one rate.
        task: the task that the frame was made for.
        scale: float32 ``(B,)``, root mean square of the symbols before their power was normalised, as the header has it
            (`openjscc.header.quantize_scale`); None for a codec that does not send it.
        head: int64 ``(B,)``, channel uses of the header itself.
        uses: int64 ``(B,)``, channel uses of the whole frame; None at the receiver where the header does not say it.
    """

    height: int
    width: int
    rate: torch.Tensor | None = None
    task: str = "reconstruction"
    scale: torch.Tensor | None = None
    head: torch.Tensor | None = None
    uses: torch.Tensor | None = None

    def replace(self, **changes: object) -> Side:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Frame:
    """What the transmitter sends.

    Attributes:
        symbols: complex64 ``(B, k)``: header, then payload; mean ``|z|^2 = 1`` per image over the first ``length[b]``
            symbols, zero after them.
        length: int64 ``(B,)``, channel uses really sent, header included, at most k.
        side: the header's fields as the transmitter knows them. They do not travel beside the symbols.
        genie: what a *bound* hands to its receiver past the channel. No system that could be built sets it (`CodecInfo.bound`).
    """

    symbols: torch.Tensor
    length: torch.Tensor
    side: Side
    genie: object = None

    @property
    def bandwidth_ratio(self) -> torch.Tensor:
        """CBR = k/n per image, ``(B,)``: all channel uses, header included, over 3*H*W of the unpadded image."""
        return self.length / bandwidth_ratio_denominator(self.side)


def bandwidth_ratio_denominator(side: Side) -> float:
    """n = 3*H*W of the unpadded image."""
    return 1.0 / bandwidth_ratio(1.0, side.height, side.width)


@dataclass(frozen=True)
class Received:
    """What reaches the receiver.

    Attributes:
        symbols: complex64 ``(B, k)``.
        noise_var: float32, noise variance per complex symbol as the receiver knows it: ``(B,)``, or ``(B, k)`` after
            the equalisation of a channel whose gain changes within the frame.
        gain: the channel's complex gain or its estimate, ``(B, 1)`` (block fading) or ``(B, k)`` (fast fading);
            None where there is none (AWGN) or where it has been equalised.
        length: int64 ``(B,)``, where each frame ends, as the receiver's framing has it.
        genie: as in `Frame`; None for every system that could be built.
    """

    symbols: torch.Tensor
    noise_var: torch.Tensor
    gain: torch.Tensor | None
    length: torch.Tensor
    genie: object = None

    def replace(self, **changes: object) -> Received:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Reconstruction:
    """What came out. A codec fills in what its task produces; the rest is None.

    Attributes:
        image: float32 ``(B, 3, H, W)`` in [0, 1]; any where ``ok`` is False.
        segmentation: logits ``(B, classes, H, W)``; any where ``ok`` is False.
        ok: bool ``(B,)``; False where the frame was lost: its header could not be read, or a digital link failed. Where all
            headers were lost nobody knows a size, and there is neither image nor segmentation.
    """

    image: torch.Tensor | None = None
    segmentation: torch.Tensor | None = None
    ok: torch.Tensor | None = None


@runtime_checkable
class Codec(Protocol):
    """A communication system without its channel: learned or digital.

    Attributes:
        name: ``arch.tag``, as users write it.
        ratios: the bandwidth ratios (payload, on an image that needs no padding) among which `Conditions.ratio` chooses.
        tasks: the tasks it can serve.
        uses_gain: True where `decode` wants the raw symbols and the gain; else the link equalises first.

    What a codec may say beyond that is in `CodecInfo`.
    """

    @property
    def name(self) -> str: ...
    @property
    def ratios(self) -> tuple[float, ...]: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def uses_gain(self) -> bool: ...

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        """``x`` float32 ``(B, 3, H, W)`` in [0, 1], any size from 1x1 up, to a `Frame`."""
        ...

    def decode(self, received: Received) -> Reconstruction:
        """`Received` to what the task asks for, at the size that the side information says."""
        ...


@dataclass(frozen=True)
class CodecInfo:
    """What a codec may say beyond the protocol, as attributes of its own; one that it lacks has a default here.

    Each is read when it is asked for: a `tool` may have to be loaded to know its version.

    Attributes:
        codec: any codec.
    """

    codec: Codec

    @property
    def any_ratio(self) -> bool:
        """It serves every bandwidth ratio, and any number of channel uses; `Codec.ratios` are then examples."""
        return bool(getattr(self.codec, "any_ratio", False))

    @property
    def has_policy(self) -> bool:
        """It chooses one of its ratios for each image where none is asked for."""
        return bool(getattr(self.codec, "has_policy", False))

    @property
    def bound(self) -> bool:
        """It is a theoretical bound, which hands its bits to the receiver past the channel."""
        return bool(getattr(self.codec, "bound", False))

    @property
    def default_ratio(self) -> float:
        """The ratio where none is asked for."""
        return getattr(self.codec, "default_ratio", self.codec.ratios[0])

    @property
    def weight(self) -> Any:
        """``name`` and ``sha256`` of its parameters; None: it has none, or they are untrained."""
        return getattr(self.codec, "weight", None)

    @property
    def options(self) -> str:
        """Options of its name, as ``:steps=10``."""
        return getattr(self.codec, "options", "")

    @property
    def tool(self) -> str | None:
        """Programs that it uses, with their versions."""
        return getattr(self.codec, "tool", None)

    @property
    def pack(self) -> int:
        """Number of neighbouring images that it codes together."""
        return getattr(self.codec, "pack", 1)

    @property
    def schemes(self) -> Sequence[Any] | None:
        """Modulation and coding schemes, of which `Side.rate` is an index; None: it has none."""
        return getattr(self.codec, "schemes", None)

    @property
    def classes(self) -> Sequence[str] | None:
        """Names of the classes of its segmentations; None: it names none."""
        return getattr(self.codec, "classes", None)

    @property
    def class_count(self) -> int:
        """Classes of its segmentations: as many as it names, or its configuration says; else VOC's."""
        return len(self.classes) if self.classes else getattr(getattr(self.codec, "config", None), "classes", len(VOC))

    @property
    def header(self) -> Any:
        """Format of its header (`openjscc.header.HeaderFormat`); None: not known."""
        return getattr(self.codec, "header", None)

    @property
    def payload_uses(self) -> Callable[[int, int, int], int] | None:
        """Channel uses of a payload by height, width and rate index; None: that does not follow from them."""
        return getattr(self.codec, "payload_uses", None)

    def task_ratios(self, task: str) -> tuple[float, ...]:
        """The bandwidth ratios at which it serves one of its tasks; by default all of its own."""
        of_task = getattr(self.codec, "task_ratios", None)
        return self.codec.ratios if of_task is None else tuple(of_task(task))


def device_of(codec: Codec) -> torch.device | None:
    """Where a codec takes its images: where it says (``device``), else where its parameters are; None: wherever they are, as
    digital links, which compute on the CPU."""
    parameters = codec.parameters() if isinstance(codec, nn.Module) else iter(())
    own = getattr(codec, "device", next((parameter.device for parameter in parameters), None))
    return None if own is None else torch.device(own)


def resolved_name(codec: Codec) -> str:
    """What the name of a system stands for: its weight as ``arch.tag``, with the options of the name; else its own name."""
    info = CodecInfo(codec)
    return codec.name if info.weight is None else info.weight.name + info.options


def stand_in_where_lost(reconstruction: Reconstruction, codec: Codec, x: torch.Tensor, task: str) -> Reconstruction:
    """With what stands for a lost image (``ok`` False), whatever a codec shows, so that all are measured alike: `LOST_GREY`,
    or class 0 (the background) everywhere.

    Args:
        reconstruction: of B images.
        codec: that decoded them.
        x: the sent images ``(B, 3, H, W)``.
        task: that they were sent for.
    """
    ok = reconstruction.ok
    if ok is None or bool(ok.all()):
        return reconstruction
    kept = ok.to(x.device)[:, None, None, None]
    if task == "segmentation":
        scores = reconstruction.segmentation
        if scores is None:
            scores = x.new_zeros(len(x), CodecInfo(codec).class_count, *x.shape[-2:])
        return dataclasses.replace(reconstruction, segmentation=torch.where(kept.to(scores.device), scores, 0.0))
    image = torch.full_like(x, LOST_GREY) if reconstruction.image is None else reconstruction.image
    return dataclasses.replace(reconstruction, image=torch.where(kept.to(image.device), image, LOST_GREY))


def check_task(codec: Codec, task: str) -> None:
    """Refuse a task that a codec does not serve, before anything is sent.

    Raises:
        UsageError: says which ones it serves; or an unknown task.
    """
    if task not in codec.tasks:
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        raise UsageError(f"{codec.name} does not serve the task {task!r}", f"it serves {', '.join(codec.tasks)}")


def check_image(x: torch.Tensor) -> None:
    """Refuse what is no batch of RGB images.

    Raises:
        UsageError: unless ``x`` is a floating-point ``(B, 3, H, W)`` with B, H, W >= 1.
    """
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape) < 1 or not x.is_floating_point():
        raise UsageError(f"image tensor of shape {tuple(x.shape)} and type {x.dtype}", "expected float32 (B, 3, H, W) in [0, 1]")
