"""The whole chain in one place: image, codec, channel, equaliser, codec, image."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from .channels import Channel, check_equalizer, equalize, generators_for, make_channel
from .codec import (
    Codec,
    CodecInfo,
    Conditions,
    Frame,
    Received,
    Reconstruction,
    check_image,
    check_task,
    device_of,
    stand_in_where_lost,
)
from .errors import UsageError
from .power import mean_power
from .stopwatch import timing
from .units import snr_tensor

SNR = float | Sequence[float] | torch.Tensor

POWER_TOLERANCE = 1e-3
"""How far an image's mean symbol energy may be from 1."""


@dataclass(frozen=True)
class Encoded:
    """What a transmitter made of B images, before any channel. `deliver` may send it as often as you like.

    Attributes:
        x: float32 ``(B, 3, H, W)``, where the codec is.
        frame: what is sent.
        channel: that it was made for.
        snr_db: float32 ``(B,)``, the average SNR in dB.
        encode_ms: time of the whole batch's `Codec.encode`, in milliseconds. Files that a digital link kept from an earlier call
            count with the time that they took then.
    """

    x: torch.Tensor
    frame: Frame
    channel: Channel
    snr_db: torch.Tensor
    encode_ms: float


@dataclass(frozen=True)
class Transmission:
    """What happened to B images on their way.

    Attributes:
        reconstruction: all that the receiver made of them.
        frame: what was sent.
        received: what the channel made of it, before any equalisation.
        snr_db: float32 ``(B,)``, the average SNR in dB.
        encode_ms: time of the whole batch's `Codec.encode`, in milliseconds. Files that a digital link kept from an earlier call
            count with the time that they took then.
        decode_ms: time of the whole batch's equalisation and `Codec.decode`, in milliseconds.
    """

    reconstruction: Reconstruction
    frame: Frame
    received: Received
    snr_db: torch.Tensor
    encode_ms: float
    decode_ms: float

    @property
    def image(self) -> torch.Tensor | None:
        """The received images ``(B, 3, H, W)``; None where the task makes none."""
        return self.reconstruction.image

    @property
    def bandwidth_ratio(self) -> torch.Tensor:
        """CBR per image ``(B,)``, header included."""
        return self.frame.bandwidth_ratio


def transmit(
    codec: Codec,
    channel: str | Channel,
    image: torch.Tensor | str | os.PathLike[str],
    snr_db: SNR,
    *,
    ratio: float | torch.Tensor | None = None,
    task: str = "reconstruction",
    seed: int = 0,
    trial: int = 0,
    equalizer: str = "mmse",
    told_snr_db: SNR | Literal["same"] | None = "same",
    uses: int | None = None,
) -> Transmission:
    """Send images over a channel.

    The channel's draw follows from the image, ``trial``, the channel and ``seed`` alone (`openjscc.channels.draws`): every
    codec, every SNR and every batch size meets the same one. No gradients are kept.

    Args:
        codec: the system.
        channel: a spec such as ``awgn`` or ``rayleigh:block``, or a `Channel`.
        image: floating point ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1], or the path of an image.
        snr_db: average SNR (Es/N0) in dB, one value or one per image.
        ratio: bandwidth ratio k/n, where the codec has several; one, or one per image ``(B,)``. None: its default, or its own
            choice for each image (`openjscc.codec.CodecInfo.has_policy`).
        task: what the receiver wants, one of `openjscc.codec.TASKS`.
        seed: the experiment's.
        trial: number of the repetition.
        equalizer: one of `openjscc.channels.EQUALIZERS`, for a codec that does not use the gain itself.
        told_snr_db: the SNR that the transmitter believes in, where that is not ``snr_db``; None: it knows nothing. The
            receiver always knows its noise variance.
        uses: channel uses of each frame, header included, instead of ``ratio``; only for a codec of any ratio.

    Raises:
        UsageError: for an image, SNR, channel, task, ratio or equaliser that cannot be used; for a bound whose transmitter
            does not know the SNR; for a codec that sends with more or less power than all others.
        OpenJSCCError: for an image that cannot be read.
    """
    check_equalizer(equalizer)
    sent = encode(codec, channel, image, snr_db, ratio=ratio, task=task, told_snr_db=told_snr_db, uses=uses)
    return deliver(codec, sent, seed=seed, trial=trial, equalizer=equalizer)


def encode(
    codec: Codec,
    channel: str | Channel,
    image: torch.Tensor | str | os.PathLike[str],
    snr_db: SNR,
    *,
    ratio: float | torch.Tensor | None = None,
    task: str = "reconstruction",
    told_snr_db: SNR | Literal["same"] | None = "same",
    uses: int | None = None,
) -> Encoded:
    """The transmitter's half of `transmit`, with its arguments and errors. What comes out will do for all trials."""
    channel = make_channel(channel)
    check_task(codec, task)
    if uses is not None and not CodecInfo(codec).any_ratio:
        raise UsageError(f"{uses} channel uses for {codec.name}", "it has ratios of its own: give one of those")
    if CodecInfo(codec).bound and not isinstance(told_snr_db, str):
        raise UsageError(f"{codec.name} with a transmitter that is told another SNR", "a bound is for one that knows it")
    x = _as_batch(image)
    x = x.to(device_of(codec) or x.device)
    snr = snr_tensor(snr_db, len(x), x.device)
    told = snr if isinstance(told_snr_db, str) else told_snr_db
    known = None if told is None else snr_tensor(told, len(x), x.device)

    fading = channel.fading if CodecInfo(codec).any_ratio else None  # the learned ones have no use for it
    with torch.no_grad(), timing() as watch:
        start = _clock(x.device)
        frame = codec.encode(x, Conditions(known, ratio, task, fading, channel.fades, uses))
        encoded = _clock(x.device)
    power = mean_power(frame.symbols, frame.length)
    if bool((wrong := (power - 1).abs() > POWER_TOLERANCE).any()):  # a NaN passes: it shows in what arrives
        energy = power[wrong][0].item()
        raise UsageError(
            f"{codec.name} sends symbols of mean energy {energy:.4g}",
            "it must be 1 for every image: openjscc.testing.check_codec",
        )
    return Encoded(x, frame, channel, snr, 1e3 * (encoded - start + watch.spared))


def deliver(codec: Codec, sent: Encoded, *, seed: int = 0, trial: int = 0, equalizer: str = "mmse") -> Transmission:
    """The other half of `transmit`: channel and receiver, with its arguments and errors."""
    check_equalizer(equalizer)
    with torch.no_grad():
        received = sent.channel(sent.frame, sent.snr_db, generators_for(sent.x, trial, sent.channel.name, seed))
        arrived = _clock(sent.x.device)
        reconstruction = receive(codec, received, equalizer)
        decoded = _clock(sent.x.device)
    reconstruction = stand_in_where_lost(reconstruction, codec, sent.x, sent.frame.side.task)
    return Transmission(reconstruction, sent.frame, received, sent.snr_db, sent.encode_ms, 1e3 * (decoded - arrived))


def receive(codec: Codec, received: Received, equalizer: str) -> Reconstruction:
    """The receiver: equalisation where the codec leaves that to the link, then `Codec.decode`. Keeps gradients."""
    return codec.decode(received if codec.uses_gain else equalize(received, equalizer))


def _as_batch(image: object) -> torch.Tensor:
    """What `transmit` takes as an image, as float32 ``(B, 3, H, W)`` in [0, 1]: a tensor of that shape or ``(3, H, W)``, a path,
    or a numpy array or Pillow image (`openjscc.data.images.pixels_of`)."""
    if not isinstance(image, torch.Tensor):
        from .data.images import pixels_of, read_image

        image = read_image(image).pixels if isinstance(image, (str, os.PathLike)) else pixels_of(image)
    x = image[None] if image.ndim == 3 else image
    check_image(x)
    x = x.float()
    low, high = (bound.item() for bound in torch.aminmax(x.detach()))
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise UsageError(f"image values from {low:g} to {high:g}", "expected [0, 1]: divide 8-bit values by 255")
    return x


def _clock(device: torch.device) -> float:
    """Seconds, once the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
