"""What all learned codecs share: padding, rates, power, header. The networks themselves live in the model files."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ..codec import Conditions, Frame, Received, Reconstruction, Side, check_image
from ..configuration import name_options
from ..errors import UsageError
from ..header import HeaderFormat, identity_of, payload_of
from ..power import mean_power, normalize_power, sent_mask
from ..units import format_ratio, snr_from_noise_var

if TYPE_CHECKING:
    from ._weights import WeightInfo

RATIO_TOLERANCE = 0.02
"""A ratio names a rate if it lies within two per cent of it (so 0.0625, 0.063 and 1/16 are one)."""


@dataclass(frozen=True)
class CodecConfig:
    """What every learned codec is configured by.

    Attributes:
        rates: real latent channels sent at each rate, ascending and even; the image's latent has ``rates[-1]``
            channels and a lower rate sends the first ones only.
        default_rate: index of the rate that is used when nobody asks for one; -1 the highest.
        agreed_size: ``(H, W)`` that both ends know (see `openjscc.header.HeaderFormat`), or None.
        snr_range: lowest and highest SNR in dB that the network was made for; what it is told is clamped to that.
        send_scale: the header carries the scale that the symbols had before their power was normalised, and the decoder
            gets its latent at that scale.
    """

    rates: tuple[int, ...] = (16,)
    default_rate: int = -1
    agreed_size: tuple[int, int] | None = None
    snr_range: tuple[float, float] = (0.0, 20.0)
    send_scale: bool = False

    def __post_init__(self) -> None:
        if not self.rates or list(self.rates) != sorted(set(self.rates)) or any(rate < 2 or rate % 2 for rate in self.rates):
            raise UsageError(f"rates {self.rates}", "give ascending, even numbers of real latent channels, e.g. [8, 16]")

    def condition_count(self, *, rate: bool = True, scale: bool = True) -> int:
        """Number of values that `LearnedCodec.told` gives: the SNR, one for each of several rates, the scale where it is sent."""
        return 1 + (len(self.rates) if rate and len(self.rates) > 1 else 0) + (scale and self.send_scale)


class Arrived(NamedTuple):
    """Received symbols as a decoder's networks take them.

    Attributes:
        latent: ``(B, rates[-1], H/stride, W/stride)``, zero where nothing was sent, at the scale that it had at the
            transmitter where that is sent.
        snr_db: float32 ``(B,)`` at the receiver, clamped to the range that the networks were made for.
        rate: index ``(B,)``.
        scale: ``(B,)``; 1 where it is not sent.
    """

    latent: torch.Tensor
    snr_db: torch.Tensor
    rate: torch.Tensor
    scale: torch.Tensor

    @property
    def unscaled(self) -> torch.Tensor:
        """The latent at a mean symbol energy of 1 and that of the noise."""
        return self.latent / self.scale[:, None, None, None]


@dataclass(frozen=True)
class PolicyDraw:
    """The random choice of a policy in training.

    Attributes:
        uniforms: numbers in [0, 1), ``(B, rates)``.
        temperature: of the soft choice whose gradient is taken.
    """

    uniforms: torch.Tensor
    temperature: float


@dataclass(frozen=True)
class TrainingOutput:
    """What a loss needs of one transmission (`LearnedCodec.forward_training`).

    Attributes:
        reconstruction: what came out; in training mode the image is not clipped.
        arrived: what the decoder received.
        selected: number of groups ``(B,)`` that a policy selected, which has a price; its gradient is that of the soft choice.
            None: the codec has no policy.
    """

    reconstruction: Reconstruction
    arrived: Arrived
    selected: torch.Tensor | None = None


class LearnedCodec(nn.Module):
    """A learned codec: two networks (`analyse`, `synthesise`) behind the `openjscc.codec.Codec` contract.

    `weight` says where the parameters come from; None where they are untrained. `options` are those of the name, as in
    ``mtgsc:steps=10`` (`set_options`); `OPTIONS` says which there are. `FREE` are fields of the configuration that change no
    parameter's shape: training may start from a weight in which they are others. `trained_as` names a network that several
    architectures train, each in its own way: training of one may start from a weight of another.

    A subclass sets `stride` and implements the two networks on latents ``(B, rates[-1], H/stride, W/stride)``. One that
    decides the rate from the image sets `has_policy` and overrides `choose`.

    Symbols: header, then the latent channels in order; channels 2i and 2i+1 at one position are the real and imaginary
    part of one symbol, so a lower rate is a prefix, and no symbol mixes images.
    """

    arch: ClassVar[str] = ""
    trained_as: ClassVar[str] = ""
    OPTIONS: ClassVar[Mapping[str, str]] = {}
    FREE: ClassVar[tuple[str, ...]] = ()
    options: str = ""
    tasks: tuple[str, ...] = ("reconstruction",)
    uses_gain = False
    has_policy = False
    stride: int
    weight: WeightInfo | None = None

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.name = self.arch
        self.header = HeaderFormat(
            identity_of(f"{self.arch} {config}"), config.agreed_size, len(config.rates), self.tasks, config.send_scale
        )

    @abstractmethod
    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Padded image ``(B, 3, H, W)``, SNR in dB ``(B,)``, rate index ``(B,)`` to a latent of any scale."""

    @abstractmethod
    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Received latent (zero where nothing was sent) to an image ``(B, 3, H, W)``, not yet clipped, or to what else the
        codec's first task asks for.

        The latent comes at the scale ``(B,)`` that it had at the transmitter, where that is sent; else scale is 1.

        In training mode `decode` leaves it so: a clipped value has no gradient.
        """

    def choose(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: float | torch.Tensor | None, task: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latent of padded images (as `analyse`) for one of `tasks`, and the rate index ``(B,)`` that each is sent at.

        Raises:
            UsageError: for a ratio that the codec does not have, or not for this task.
        """
        rate = self.rate_index(ratio, len(x), x.device)
        return self.analyse(x, snr_db, rate), rate

    def told(self, snr_db: torch.Tensor, rate: torch.Tensor | None = None, scale: torch.Tensor | None = None) -> torch.Tensor:
        """What a network is told beside its input, as numbers of about 1: float32 ``(B, condition_count)``.

        Args:
            snr_db: ``(B,)`` in dB; the configuration's range is mapped to [-1, 1].
            rate: index ``(B,)``, told one-hot where there are several rates; None: not told.
            scale: ``(B,)`` of the latent, told as its logarithm where it is sent; None: not told.
        """
        low, high = self.config.snr_range
        values = [(2 * (snr_db - low) / max(high - low, 1e-6) - 1)[:, None]]
        if rate is not None and len(self.config.rates) > 1:
            values.append(F.one_hot(rate, len(self.config.rates)).float())
        if scale is not None and self.config.send_scale:
            values.append(scale.log()[:, None])
        return torch.cat(values, dim=1)

    def set_options(self, parts: Sequence[str]) -> None:
        """Options of the name, ``KEY=VALUE`` each; the name says them from then on.

        Raises:
            UsageError: an unknown key, or a value that it cannot have.
        """
        options = name_options(self.name, parts, self.OPTIONS)
        for key, value in options.items():
            self.set_option(key, value)
        self.options = "".join(f":{key}={value}" for key, value in options.items())
        self.name += self.options

    def set_option(self, key: str, value: str) -> None:
        """One of `OPTIONS`. Raises UsageError for a value that it cannot have."""
        raise NotImplementedError

    @property
    def ratios(self) -> tuple[float, ...]:
        """Bandwidth ratios of the payload on an image that needs no padding."""
        return tuple(channels / 2 / (3 * self.stride**2) for channels in self.config.rates)

    @property
    def default_ratio(self) -> float:
        """The ratio used when nobody asks for one; of a codec with a policy, which then chooses, a ratio to name it by."""
        return self.ratios[self.config.default_rate]

    def rate_index(self, ratio: float | torch.Tensor | None, batch: int, device: torch.device) -> torch.Tensor:
        """Rate index ``(B,)`` for a ratio (one, or one per image; None the default).

        Raises:
            UsageError: for a ratio that the codec does not have; the hint lists those it has.
        """
        if ratio is None:
            return torch.full((batch,), range(len(self.ratios))[self.config.default_rate], device=device)
        try:
            asked = torch.as_tensor(ratio, dtype=torch.float64, device=device).expand(batch)
        except (TypeError, ValueError, RuntimeError):
            raise UsageError(
                f"bandwidth ratio {ratio!r} for {batch} images", "give a number such as 1/16, or one per image"
            ) from None
        known = torch.tensor(self.ratios, dtype=torch.float64, device=device)
        error = (asked[:, None] / known - 1).abs()
        if not bool((error.min(1).values <= RATIO_TOLERANCE).all()):
            worst = asked[error.min(1).values.nan_to_num(math.inf).argmax()].item()
            raise UsageError(
                f"{self.name} has no bandwidth ratio {format_ratio(worst) if math.isfinite(worst) else worst}",
                f"it has {', '.join(format_ratio(known_ratio) for known_ratio in self.ratios)}",
            )
        return error.argmin(1)

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        """Image ``(B, 3, H, W)`` in [0, 1], any size, to symbols ``(B, k)``. See `openjscc.codec.Codec.encode`."""
        padded, snr_db = self._prepared(x, conditions)
        latent, rate = self.choose(padded, snr_db, conditions.ratio, conditions.task)
        return self._framed(latent, rate, x, conditions)

    def _prepared(self, x: torch.Tensor, conditions: Conditions) -> tuple[torch.Tensor, torch.Tensor]:
        """What `choose` is given: the padded images, and the SNR that the transmitter knows."""
        check_image(x)
        if conditions.task not in self.tasks:
            raise UsageError(f"{self.name} does not serve the task {conditions.task!r}", f"it serves {', '.join(self.tasks)}")
        return pad_to_multiple(x, self.stride), self._known_snr(conditions.snr_db, len(x), x.device)

    def _framed(self, latent: torch.Tensor, rate: torch.Tensor, x: torch.Tensor, conditions: Conditions) -> Frame:
        """The latent as symbols of unit power, after a header."""
        height, width = x.shape[-2:]
        payload = latent.float().unflatten(1, (-1, 2)).movedim(2, -1).flatten(1, 3).contiguous()
        symbols = torch.view_as_complex(payload)
        sent = self._channels(rate) // 2 * (latent.shape[2] * latent.shape[3])
        k = int(sent.max())
        rms = mean_power(symbols[:, :k], sent).clamp(min=1e-12).sqrt()
        scale = self.header.quantize(rms, height, width) if self.config.send_scale else None
        symbols = normalize_power(symbols[:, :k], sent)
        side = Side(height, width, rate=rate, task=conditions.task, scale=scale)
        return self.header.frame(symbols, sent, side, conditions)

    def decode(self, received: Received) -> Reconstruction:
        """Received symbols to an image: the header is read, then the payload. See `openjscc.codec.Codec.decode`."""
        side, ok = self.header.read(received)
        if side is not None:
            ok = ok & (self._length(side) == received.length)  # else cut, or not what it says
        if side is None or not bool(ok.any()):
            return Reconstruction(ok=ok)
        return dataclasses.replace(self.decode_payload(received, side), ok=ok)

    def _length(self, side: Side) -> torch.Tensor:
        """Channel uses ``(B,)`` of frames with such headers."""
        assert side.head is not None
        assert side.rate is not None
        positions = math.ceil(side.height / self.stride) * math.ceil(side.width / self.stride)
        return side.head + self._channels(side.rate) // 2 * positions

    def decode_payload(self, received: Received, side: Side) -> Reconstruction:
        """Received symbols to an image, where the header's fields are known."""
        return self.reconstruct(self.arrived(received, side), side)

    def forward_training(
        self, x: torch.Tensor, conditions: Conditions, channel: Callable[[Frame], Received], policy: PolicyDraw | None = None
    ) -> TrainingOutput:
        """One transmission with gradients. The receiver is given the transmitter's own header fields.

        Args:
            x: images as in `encode`.
            conditions: as in `encode`; among ratios ``(B,)`` a NaN leaves that image to the policy, where there is one.
            channel: what lies between encoder and decoder, equalisation included.
            policy: the draw of the policy, where there is one; None: from torch's own generator.
        """
        frame = self.encode(x, conditions)
        arrived = self.arrived(channel(frame), frame.side)
        return TrainingOutput(self.reconstruct(arrived, frame.side), arrived)

    def reconstruct(self, arrived: Arrived, side: Side) -> Reconstruction:
        """What the decoder makes of a received latent, cropped to the size of the source."""
        image = self.synthesise(arrived.latent, arrived.snr_db, arrived.rate, arrived.scale)
        image = image[:, :, : side.height, : side.width]
        return Reconstruction(image=image if self.training else image.clamp(0.0, 1.0))

    def arrived(self, received: Received, side: Side) -> Arrived:
        """What `synthesise` is given of the received symbols."""
        batch = received.symbols.shape[0]
        rate = side.rate if side.rate is not None else self.rate_index(None, batch, received.symbols.device)
        grid = (math.ceil(side.height / self.stride), math.ceil(side.width / self.stride))
        positions = grid[0] * grid[1]
        full = self.config.rates[-1] // 2 * positions
        payload = payload_of(received.symbols, side, full)
        payload = torch.where(sent_mask(self._channels(rate) // 2 * positions, full), payload, 0)
        payload = torch.view_as_real(payload)
        latent = payload.unflatten(1, (-1, *grid)).movedim(-1, 2).flatten(1, 2)
        scale = torch.ones(batch, device=latent.device) if side.scale is None else side.scale
        return Arrived(latent * scale[:, None, None, None], self._effective_snr(received), rate, scale)

    def payload_uses(self, height: int, width: int, rate: int) -> int:
        """Channel uses of the payload of an ``height`` x ``width`` image at rate index ``rate``."""
        return self.config.rates[rate] // 2 * math.ceil(height / self.stride) * math.ceil(width / self.stride)

    def _channels(self, rate: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.config.rates, device=rate.device)[rate]

    def _known_snr(self, snr_db: torch.Tensor | None, batch: int, device: torch.device) -> torch.Tensor:
        """What the network is told: the SNR clamped to its range; the middle of the range where nobody knows."""
        low, high = self.config.snr_range
        if snr_db is None:
            return torch.full((batch,), (low + high) / 2, device=device)
        return snr_db.to(device).expand(batch).clamp(low, high)

    def _effective_snr(self, received: Received) -> torch.Tensor:
        noise_var = received.noise_var
        if noise_var.ndim == 2:
            sent = sent_mask(received.length, noise_var.shape[1])
            noise_var = torch.where(sent, noise_var, 0.0).sum(1) / received.length
        return self._known_snr(snr_from_noise_var(noise_var), len(noise_var), noise_var.device)

    def macs_per_pixel(self, task: str = "") -> float:
        """Multiply-accumulates of encoder and decoder for one pixel, counted on 256x256, for a task (default: the first one,
        at the highest rate)."""
        from ._complexity import macs_per_pixel

        return macs_per_pixel(self, task)


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad right and bottom by repeating the border until both sides divide by ``multiple``."""
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
