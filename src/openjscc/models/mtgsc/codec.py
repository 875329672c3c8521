"""MTGSC: one link for two tasks, the image itself or what is where in it, with a diffusion transformer as decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch.nn import functional as F

from ...codec import Conditions, Frame, Received, Reconstruction, Side
from ...errors import UsageError
from ...units import format_ratio
from .._base import Arrived, PolicyDraw, TrainingOutput
from .._registry import register
from ..layers import ShortcutCodec
from .diffusion import Bridge, Denoising, noise_level
from .networks import (
    RECONSTRUCTION,
    SEGMENTATION,
    STRIDE,
    Encoder,
    MTGSCConfig,
    PictureDecoder,
    ReceiverKB,
    SegmentationDecoder,
    TransmitterKB,
)  # fmt: skip

MOST_STEPS = 50


PAPER = MTGSCConfig()
PHOTO = MTGSCConfig(
    snr_range=(0.0, 20.0),
    send_scale=True,
    channels=(48, 64, 96, 128),
    heads=2,
    hidden=96,
    front=48,
    gdn=True,
    told=True,
    width=192,
    depth=3,
    decoder_heads=6,
    token=1,
    span=7,
    expansion=2,
    shared=True,
    fine=24,
    state="signal",
    shortcut=True,
)
NOISE = MTGSCConfig(**{**PHOTO.__dict__, "state": "noise"})


@register("mtgsc", default_tag="photo", configs={"paper": PAPER, "photo": PHOTO, "photo-noise": NOISE})
class MTGSC(ShortcutCodec):
    """Multi-task generative semantic communication.

    W. Yuan, J. Ren, C. Wang, R. Zhang, J. Wei, D. I. Kim, S. Cui: Generative semantic communication for joint image transmission
    and segmentation, 2024.

    ::

        x --+--[Swin]-[merge]--f1--[Swin]-[merge]--f2--[Swin]-[merge]--f3        f = f1 + f2 + f3, or f2 + f3 for a segmentation
            +--[x, f]--[residual block, stride]--[conv of the task]--> z --power--> channel --> z'
        z' --[residual block]--[residual block]--> f'        (the first one's output alone for a segmentation)
        reconstruction: state, z', f' --patches--[DiT: time]--patches back--[up]--[residual block]--> x', once or several times
        segmentation:   f' --[residual block]--[residual block]--[conv 1x1]--[up]--> class scores

    >>> codec = MTGSC(PHOTO).eval()
    >>> frame = codec.encode(torch.rand(1, 3, 224, 224), Conditions(torch.tensor([10.0]), task="segmentation"))
    >>> int(frame.length[0])  # 6 symbols for each of 28 x 28 positions, and a header of 124
    4828

    Attributes:
        steps: how often the diffusion decoder runs for an image; the first result is the best in squared error.
        seed: of the noise that decoding starts from (``state = "noise"``) or adds between two steps (``"signal"``), the same for
            every image of a size.

    What the paper leaves open, and what was chosen: docs/models/mtgsc.md.
    """

    arch: ClassVar[str] = "mtgsc"
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "steps": f"of the diffusion decoder, 1 (default) to {MOST_STEPS}",
        "seed": "of the diffusion decoder's noise",
    }
    FREE: ClassVar[tuple[str, ...]] = ("state", "bridge", "dropout")
    tasks = (RECONSTRUCTION, SEGMENTATION)
    config: MTGSCConfig
    steps: int = 1
    seed: int = 0

    def __init__(self, config: MTGSCConfig) -> None:
        super().__init__(config)
        self.stride = STRIDE
        self.path = Bridge(config.bridge) if config.state == "signal" else Denoising()
        self.knowledge_encoder = TransmitterKB(config)
        self.encoder = Encoder(config, config.condition_count(scale=False) + 1)
        self.conditions = config.condition_count()
        self.receiver = ReceiverKB(config, self.conditions + 1)
        self.decoder = PictureDecoder(config, self.conditions)
        self.segmentation_decoder = SegmentationDecoder(config)
        if config.shortcut:
            last = (*self.encoder.heads[RECONSTRUCTION].parameters(), *self.decoder.last.parameters())
            self.add_shortcut(self.conditions, *last)

    def set_option(self, key: str, value: str) -> None:
        number = int(value) if value.isascii() and value.isdecimal() else -1
        least, most = {"steps": (1, MOST_STEPS), "seed": (0, 2**31 - 1)}[key]
        if not least <= number <= most:
            raise UsageError(
                f"{key}={value} of {self.name}", f"a whole number from {least} to {most}, e.g. {self.name}:{key}={least}"
            )
        setattr(self, key, number)

    def task_ratios(self, task: str) -> tuple[float, ...]:
        """Bandwidth ratios that a task is served at: a segmentation has one."""
        return self.ratios if task == RECONSTRUCTION else (self.ratios[self.config.segmentation_rate],)

    def choose(
        self, x: torch.Tensor, snr_db: torch.Tensor, ratio: float | torch.Tensor | None, task: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if task == RECONSTRUCTION:
            rate = self.rate_index(ratio, len(x), x.device)
            return self.analyse(x, snr_db, rate), rate
        narrow = self.config.segmentation_rate
        rate = torch.full((len(x),), narrow, device=x.device)
        if ratio is not None and not torch.equal(self.rate_index(ratio, len(x), x.device), rate):
            raise UsageError(
                f"{self.name} sends a segmentation at one bandwidth ratio",
                f"leave it out, or ask for {format_ratio(self.ratios[narrow])}",
            )
        latent = self._encoded(2 * x - 1, snr_db, rate, task)
        return F.pad(latent, (0, 0, 0, 0, 0, self.config.rates[-1] - latent.shape[1])), rate

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        x = 2 * x - 1
        return self.with_coefficients(self._encoded(x, snr_db, rate, RECONSTRUCTION), x)

    def forward_training(
        self, x: torch.Tensor, conditions: Conditions, channel: Callable[[Frame], Received], policy: PolicyDraw | None = None,
        *, progress: torch.Tensor | None = None, noise: torch.Tensor | None = None,
    ) -> TrainingOutput:  # fmt: skip
        """As `LearnedCodec.forward_training`; an image is decoded once, from a state between the image and the start of decoding.

        Args:
            x: images.
            conditions: as in `encode`.
            channel: what lies between encoder and decoder.
            policy: not used.
            progress: float32 ``(B,)`` in [0, 1], of the state: 0 at the image, 1 at the start; None: at the start.
            noise: ``(B, 3, H, W)``, the standard Gaussian noise of the state; None: what `seed` gives.
        """
        if conditions.task != RECONSTRUCTION:
            return super().forward_training(x, conditions, channel)
        frame = self.encode(x, conditions)
        arrived = self.arrived(channel(frame), frame.side)
        predicted, linear = self._predictor(arrived)
        progress = torch.ones_like(arrived.snr_db) if progress is None else progress
        y = predicted(self._state(x, linear, progress, noise), progress)
        return TrainingOutput(Reconstruction(image=(y[:, :, : x.shape[-2], : x.shape[-1]] + 1) / 2), arrived)

    def reconstruct(self, arrived: Arrived, side: Side) -> Reconstruction:
        if side.task == RECONSTRUCTION:
            return super().reconstruct(arrived, side)
        arrived = arrived._replace(latent=arrived.unscaled, scale=torch.ones_like(arrived.scale))  # the scale says no class
        features = self.receiver(arrived.latent, self._told(arrived, SEGMENTATION), SEGMENTATION)
        scores = self.segmentation_decoder(features).float()
        height, width = (STRIDE * size for size in scores.shape[-2:])
        scores = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
        return Reconstruction(segmentation=scores[:, :, : side.height, : side.width])

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return (self._refined(*self._predictor(Arrived(latent, snr_db, rate, scale))) + 1) / 2

    def _predictor(self, arrived: Arrived) -> tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], torch.Tensor]:
        """The decoder, which predicts the image in [-1, 1] from a state and its progress; and what the block transform gives."""
        latent, context = arrived.latent, self._told(arrived)
        features = self.receiver(latent, self._told(arrived, RECONSTRUCTION), RECONSTRUCTION)
        linear = self.linear_image(latent, context)
        level = noise_level(arrived.snr_db) if self.config.state == "signal" else torch.ones_like(arrived.snr_db)

        def predicted(state: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
            return linear + self.decoder(state, latent, features, progress * level, context).float()

        return predicted, linear

    def _encoded(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, task: str) -> torch.Tensor:
        context = self.told(snr_db, rate)
        return self.encoder(x, self.knowledge_encoder(x, task), _with_task(context, task), task)

    def _told(self, arrived: Arrived, task: str | None = None) -> torch.Tensor:
        context = self.told(arrived.snr_db, arrived.rate, arrived.scale)
        return context if task is None else _with_task(context, task)

    def _state(self, x: torch.Tensor, linear: torch.Tensor, progress: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """The state of training, between the sent image and the start."""
        noise = self._noises(linear)() if noise is None else noise
        bottom, right = (ours - theirs for ours, theirs in zip(linear.shape[-2:], x.shape[-2:], strict=True))
        return self.path.state(F.pad(2 * x - 1, (0, right, 0, bottom)), self.path.start(linear, noise), progress, noise)

    def _refined(self, predicted: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], linear: torch.Tensor) -> torch.Tensor:
        """The image after `steps` predictions of it; between two the state moves towards the last one."""
        noises = self._noises(linear)
        state = self.path.start(linear, noises())
        times = torch.linspace(1.0, 0.0, self.steps + 1, device=linear.device)[:, None].expand(-1, len(linear))
        for now, then in itertools.pairwise(times[:-1]):
            state = self.path.move(predicted(state, now), state, now, then, noises())
        return predicted(state, times[-2])

    def _noises(self, like: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Draws standard Gaussian noise, ``(1, 3, H, W)``, one after the other, from `seed`."""
        generator = torch.Generator().manual_seed(self.seed)
        return lambda: torch.randn((1, *like.shape[1:]), generator=generator).to(like)


def _with_task(context: torch.Tensor, task: str) -> torch.Tensor:
    return torch.cat([context, torch.full_like(context[:, :1], float(task == SEGMENTATION))], dim=1)
