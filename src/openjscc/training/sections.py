"""What a recipe's sections say: one frozen dataclass each, with the defaults and what values are refused.

Whole numbers have an upper bound, far above what anyone trains with, so that a slip of the pen is an error and not a
full memory: `COUNT_LIMIT` for updates, and what the sections say for the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..codec import TASKS
from ..errors import UsageError
from ..units import SNR_LIMIT_DB

COUNT_LIMIT = 10**12
"""Most updates of a run."""
BATCH_LIMIT, CROP_LIMIT, WIDTH_LIMIT = 2**20, 2**14, 2**14
"""Most images in a batch, pixels along a crop's side, and channels of a layer."""


@dataclass(frozen=True)
class ModelSection:
    """Which network.

    Attributes:
        arch: architecture, e.g. ``adjscc``.
        config: name of one of its configurations.
        init: a released weight (``arch.tag``) or an exported file to start from (fine-tuning; the step ``perceptual`` takes a
            network without a generator's trunk, too); empty: from scratch.
        rates: real latent channels sent at each bandwidth ratio, ascending and even; R channels of a codec that works at 1/S of
            the image's size are CBR R / (6 S^2). Empty: those of the configuration.
    """

    arch: str
    config: str
    init: str = ""
    rates: tuple[int, ...] = ()


@dataclass(frozen=True)
class DataSection:
    """Which images.

    Attributes:
        train: data sets or folders, joined.
        validate: data set or folder of the validation images (never trained on).
        validate_limit: at most so many of them, evenly spaced.
        crop: side of the square random crops, at most 16,384; images that are smaller are enlarged by repeating their
            border.
        flip: mirror half of the crops.
        scale: smallest and largest factor by which an image (and its mask) is scaled before its crop is taken, drawn evenly on a
            logarithmic scale; by the step ``multitask`` only where there is a mask.
        exclude: file-name prefixes that are held out of the training images.
        terms: under what terms the images may be used, for the card.
    """

    train: tuple[str, ...]
    validate: str
    validate_limit: int = 24
    crop: int = 128
    flip: bool = True
    scale: tuple[float, float] = (1.0, 1.0)
    exclude: tuple[str, ...] = ()
    terms: str = ""

    def __post_init__(self) -> None:
        _within(self, 1, CROP_LIMIT, "crop")
        _within(self, 1, COUNT_LIMIT, "validate_limit")
        if not 0 < self.scale[0] <= self.scale[1] <= 16:
            raise UsageError(f"scale {list(self.scale)}", "give the smallest and the largest factor, e.g. [0.5, 2.0]")


@dataclass(frozen=True)
class ChannelSection:
    """What lies between the two halves in training.

    Attributes:
        name: a channel, e.g. ``awgn``.
        snr_db: lowest and highest SNR; one is drawn uniformly per image.
        levels: so many SNRs, evenly spaced and with both ends, are drawn from; 0: any number between.
        equalizer: ``mmse`` or ``zf``, for channels with a gain.
    """

    name: str = "awgn"
    snr_db: tuple[float, float] = (0.0, 20.0)
    levels: int = 0
    equalizer: Literal["mmse", "zf"] = "mmse"

    def __post_init__(self) -> None:
        _within(self, 0, BATCH_LIMIT, "levels")
        low, high = self.snr_db
        if not -SNR_LIMIT_DB <= low <= high <= SNR_LIMIT_DB:
            raise UsageError(f"snr_db {list(self.snr_db)}", "give the lowest and the highest SNR in dB, e.g. [0.0, 20.0]")


@dataclass(frozen=True)
class LossSection:
    """What is minimised.

    Attributes:
        kind: ``mse``: the distortion itself, mean squared error on [0, 1]; ``log_mse``: ln(distortion + 1e-5) of each image,
            which for the plain error is the mean PSNR up to sign and scale. What a step adds to the distortion (rate,
            semantics) is added before the logarithm, so it weighs the same against the error of an image either way.
        rate_weights: how often each rate is drawn, in the order of the configuration's rates; empty: equally often.
    """

    kind: Literal["mse", "log_mse"] = "mse"
    rate_weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class RateSection:
    """How a codec that decides its own rate (AR-JSCC) learns to.

    Attributes:
        weight: of the number of selected groups, beside the mean squared error on [0, 1]. (A paper's weight for images
            in [-1, 1] is four times as large.)
        policy_share: share of the images whose rate is left to the policy; the others' is drawn (``loss.rate_weights``).
        temperature: of the Gumbel softmax at the start.
        decay: of the temperature per epoch: ``temperature * exp(-decay * epoch)``.
        floor: lowest temperature.
    """

    weight: float = 3.75e-4
    policy_share: float = 1.0
    temperature: float = 5.0
    decay: float = 0.015
    floor: float = 0.005

    def __post_init__(self) -> None:
        _at_least(self, 0, "weight", "decay")
        _at_least(self, 1e-6, "temperature", "floor")
        _share("policy_share", self.policy_share)

    def temperature_at(self, epoch: float) -> float:
        """Temperature of the Gumbel-softmax."""
        return max(self.temperature * math.exp(-self.decay * epoch), self.floor)


@dataclass(frozen=True)
class SemanticSection:
    """What a frozen task network adds to the distortion, for the step ``semantic``.

    The distortion of an image is ``mse_share * MSE + (1 - mse_share) * weighted MSE + kl * KL``; then comes ``loss.kind``.

    Attributes:
        task_network: as `openjscc.tasks.load_task_network` takes it.
        weighting: a key of `openjscc.tasks.semantics.WEIGHTINGS`, or ``none``.
        output: of the task network, whose gradients are taken: ``logits`` or ``softmax``.
        mse_share: of the plain mean squared error, beside the weighted one.
        kl: of the Kullback-Leibler divergence, in nats, of what the task network says of the received image from what
            it says of the sent one; no labels are used.
        start: updates before which the plain mean squared error stands in for all that.
    """

    task_network: str = "classifier"
    start: int = 0
    weighting: Literal["none", "literal", "mean_abs", "rms", "mean_square"] = "rms"
    output: Literal["logits", "softmax"] = "logits"
    mse_share: float = 0.0
    kl: float = 0.0

    def __post_init__(self) -> None:
        _share("mse_share", self.mse_share)
        if self.mse_share and self.weighting == "none":
            raise UsageError(
                f"mse_share is {self.mse_share}, weighting is 'none'", "without weights all of it is plain: leave it out"
            )
        _at_least(self, 0, "kl")
        _within(self, 0, COUNT_LIMIT, "start")


@dataclass(frozen=True)
class GanSection:
    """How an image is made to look real, for the step ``perceptual``: three stages in one run. First the codec alone, on
    ``beta_p * LPIPS + beta_m * MSE``; then the discriminator alone; then, until ``optimizer.steps``, both in every update, and
    ``beta_g`` times the generative loss is added to the codec's.

    Attributes:
        pretrain: updates of the first stage.
        discriminator: updates of the second.
        beta_p: weight of LPIPS (AlexNet).
        beta_m: weight of the mean squared error on the scale of 0 to 255.
        beta_g: weight of the generative loss; 0: no discriminator, the first stage lasts to the end.
        lr: learning rate of the discriminator, constant.
        betas: of its Adam.
        channels: of its four convolutions, which halve the image's size each.
        codeword: channels that it makes of the received codeword before it lays them beside the image.
        shift: LPIPS sees each image from a place drawn among the first ``shift`` rows and columns, sent and received alike. Its
            first convolution has a stride of 4: at 1 it always lies alike on the codec's grid, which then learns to hide errors
            from it (docs/models/ganjscc.md). 8 are all places of a codec that works on 8x8 blocks.
    """

    pretrain: int = 100_000
    discriminator: int = 10_000
    beta_p: float = 1.0
    beta_m: float = 1e-5
    beta_g: float = 1e-3
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    codeword: int = 12
    shift: int = 1

    def __post_init__(self) -> None:
        _within(self, 1, CROP_LIMIT, "shift")
        _within(self, 0, COUNT_LIMIT, "pretrain", "discriminator")
        _at_least(self, 0, "beta_p", "beta_m", "beta_g", "lr")
        _within(self, 1, WIDTH_LIMIT, "channels", "codeword")
        _decays("betas", self.betas)


@dataclass(frozen=True)
class MultitaskSection:
    """How one codec learns two tasks, by the step ``multitask``. Crops of data that has masks are sent for a segmentation, the
    others as images.

    Attributes:
        tasks: what is learned: ``reconstruction``, ``segmentation`` or both.
        segmentation_weight: of the cross-entropy, beside the images' loss.
        masked_pictures: crops that have masks are sent a second time, as images.
        start_share: share of the crops whose decoder starts where decoding does; the others' state is anywhere between that and
            the image.
    """

    tasks: tuple[str, ...] = ("reconstruction", "segmentation")
    segmentation_weight: float = 0.2
    masked_pictures: bool = False
    start_share: float = 0.9

    def __post_init__(self) -> None:
        if not self.tasks or not set(self.tasks) <= set(TASKS):
            raise UsageError(f"tasks {list(self.tasks)}", f"one or both of {', '.join(TASKS)}")
        _at_least(self, 0, "segmentation_weight")
        _share("start_share", self.start_share)


@dataclass(frozen=True)
class SegmentationSection:
    """What images a task network for segmentation is trained on, by the step ``segmentation``. (A codec is trained on images
    as they are; what degrades them is its channel.)

    Attributes:
        jpeg_share: share of the crops that are compressed as JPEG.
        jpeg_quality: lowest and highest quality of these, 1 to 95, drawn evenly.
    """

    jpeg_share: float = 0.0
    jpeg_quality: tuple[int, int] = (1, 50)

    def __post_init__(self) -> None:
        _share("jpeg_share", self.jpeg_share)
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 95:
            raise UsageError(f"jpeg_quality {list(self.jpeg_quality)}", "give the lowest and the highest quality, from 1 to 95")


@dataclass(frozen=True)
class ClassificationSection:
    """How a classifier is trained, by the step ``classification``.

    Attributes:
        smoothing: share of a label that is spread over all classes.
        shift: images are moved by up to so many pixels each way.
        cut: side of the square hole in every image; 0: none.
    """

    smoothing: float = 0.1
    shift: int = 4
    cut: int = 8

    def __post_init__(self) -> None:
        _share("smoothing", self.smoothing)
        _within(self, 0, CROP_LIMIT, "shift", "cut")


@dataclass(frozen=True)
class OptimizerSection:
    """Adam (or SGD) and its schedule.

    Attributes:
        kind: ``adamw``, or ``sgd`` with Nesterov momentum.
        batch: images a step, over all processes; at most 1,048,576, and 2^30 pixels.
        steps: length of the run, at most 10^12.
        lr: peak learning rate.
        final_lr: learning rate at the end, for the cosine schedule.
        warmup: steps of linear warm-up.
        schedule: ``cosine`` from lr to final_lr, or ``constant``.
        betas: Adam's; SGD's momentum is the first one.
        weight_decay: decoupled in AdamW (0 is Adam), added to the gradient in SGD.
        clip: largest gradient norm; 0: no clipping.
        ema: decay of the exponential moving average of the parameters that is validated and exported; 0: none. It
            is warmed up as min(ema, (1 + step) / (10 + step)).
    """

    batch: int
    steps: int
    kind: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    final_lr: float = 0.0
    warmup: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        _within(self, 1, BATCH_LIMIT, "batch")
        _within(self, 1, COUNT_LIMIT, "steps")
        _within(self, 0, COUNT_LIMIT, "warmup")
        _at_least(self, 0, "lr", "final_lr", "weight_decay", "clip")
        _decays("ema", (self.ema,))
        _decays("betas", self.betas)


@dataclass(frozen=True)
class RunSection:
    """How it is run.

    Attributes:
        seed: of initialisation and every draw.
        precision: Lightning Fabric's, e.g. ``32-true`` or ``bf16-mixed``.
        compile: torch.compile the networks (worth it on a GPU).
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        validate_snr_db: SNR of the validation, in dB.
    """

    seed: int = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    validate_every: int = 1000
    checkpoint_every: int = 500
    validate_snr_db: float = 10.0

    def __post_init__(self) -> None:
        _within(self, 1, COUNT_LIMIT, "validate_every", "checkpoint_every")
        if not 0 <= self.seed < 2**53:
            raise UsageError(f"seed {self.seed}", "a whole number from 0 up to 2^53")
        if not abs(self.validate_snr_db) <= SNR_LIMIT_DB:
            raise UsageError(f"validate_snr_db {self.validate_snr_db}", "a number of dB, e.g. 10.0")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"{name} {value}", "a share from 0 to 1")


def _decays(name: str, values: tuple[float, ...]) -> None:
    if not all(0 <= value < 1 for value in values):
        raise UsageError(f"{name} {', '.join(map(str, values))}", "a decay lies in [0, 1), e.g. 0.999")


def _at_least(section: object, lowest: float, *names: str) -> None:
    for name in names:
        if not lowest <= (value := getattr(section, name)) < math.inf:
            raise UsageError(f"{name} {value}", f"a number from {lowest} up")


def _within(section: object, lowest: int, highest: int, *names: str) -> None:
    for name in names:
        found = getattr(section, name)
        for value in found if isinstance(found, tuple) else (found,):
            if not lowest <= value <= highest:
                raise UsageError(f"{name} {value}", f"a whole number from {lowest} to {highest:,}")
