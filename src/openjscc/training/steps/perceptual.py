"""One update of a generative codec and its opponent (perceptual JSCC): three stages in one run."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ...errors import UsageError
from ...metrics import LPIPS, dists
from ...metrics.backbones import find_weights
from ...metrics.perceptual import DISTS_SMALLEST
from ...models import load, resolve
from ...models.ganjscc import GANJSCC
from ..batches import Batch
from ..discriminator import PatchDiscriminator
from ..draws import uniforms
from ..losses import discriminator_loss, generative_loss, mean_squared_error
from ..progress import Validation
from ..recipe import OptimizerSection, Recipe
from ._base import StepInput, fresh_codec
from .reconstruction import ReconstructionInput, ReconstructionStep

STREAM_SHIFT = 15

PEAK = 255.0**2
"""The mean squared error counts on the scale of 0 to 255."""


@dataclass(frozen=True, kw_only=True)
class PerceptualInput(ReconstructionInput):
    """`ReconstructionInput`.

    Attributes:
        place: int64 ``(B, 2)``, row and column from which LPIPS sees each image.
    """

    place: torch.Tensor


class PerceptualStep(ReconstructionStep):
    """Codec and discriminator by turns, as `openjscc.training.sections.GanSection` says.

    J. Wang, S. Wang, J. Dai, Z. Si, D. Zhou, K. Niu: Perceptual learned source-channel coding for high-fidelity image
    semantic transmission, GLOBECOM 2022, eqs. (2) and (3).

    In an update of the third stage the codec comes first; the discriminator then sees the images that were received in its
    course, so they are made once. The discriminator's spectral norms move on with its own updates only.

    Raises:
        UsageError: another codec than GANJSCC, another ``loss.kind`` than ``mse``. MissingError: no weights for LPIPS.
    """

    inputs = PerceptualInput

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        super().__init__(recipe, network)
        if not isinstance(network, GANJSCC):
            raise UsageError(f"the step 'perceptual' with {recipe.model.arch}", "it trains ganjscc")
        if recipe.loss.kind != "mse":
            raise UsageError(
                f"loss.kind {recipe.loss.kind!r} in the step 'perceptual'", "its loss is that of [gan]: leave it out"
            )
        gan = recipe.gan
        self.gan, self.adversarial = gan, False
        self.lpips = LPIPS("alex")
        self.freeze("lpips", self.lpips)
        discriminator = PatchDiscriminator(network.config.rates[-1], network.stride, gan.codeword, gan.channels)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._received: tuple[torch.Tensor, torch.Tensor] | None = None

    def trained(self) -> Mapping[str, nn.Module]:
        return {"model": self.network, "discriminator": self.discriminator}

    def optimizer_section(self, name: str) -> OptimizerSection:
        section, gan = self.recipe.optimizer, self.gan
        if name == "model":
            return section
        return dataclasses.replace(
            section, kind="adamw", lr=gan.lr, betas=gan.betas, schedule="constant", warmup=0, weight_decay=0.0, clip=0.0
        )

    def updates(self, step: int) -> Sequence[str]:
        if not self.gan.beta_g or step < self.gan.pretrain:
            return ("model",)
        alone = step < self.gan.pretrain + self.gan.discriminator
        return ("discriminator",) if alone else ("model", "discriminator")

    def prepare(self, batch: Batch, step: int) -> PerceptualInput:
        self.adversarial = len(self.updates(step)) == 2
        index = torch.tensor(list(batch.samples), device=batch.x.device)
        place = (uniforms(self.recipe.run.seed, STREAM_SHIFT, index, 2) * self.gan.shift).long()
        return PerceptualInput(**vars(super().prepare(batch, step)), place=place)

    def losses(self, update: str, given: StepInput) -> dict[str, torch.Tensor]:
        assert isinstance(given, PerceptualInput)
        self.discriminator.train(update == "discriminator")
        if update == "model":
            return self._codec_loss(given.x, *self._received_of(given), given.place)
        shown, self._received = self._received, None
        if shown is None:
            with torch.no_grad():
                shown = self._received_of(given)
        return self._discriminator_loss(given.x, *shown)

    def _received_of(self, given: ReconstructionInput) -> tuple[torch.Tensor, torch.Tensor]:
        """Received images, not clipped, and the codeword that the discriminator is told; no gradient leads back from that."""
        output = self.transmitted(given)
        assert output.reconstruction.image is not None
        return output.reconstruction.image, output.arrived.unscaled.detach()

    def _codec_loss(
        self, x: torch.Tensor, y: torch.Tensor, codeword: torch.Tensor, place: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Eq. (2) for the images ``y`` that the codec just received ``(B, 3, H, W)``; without its first term before the third
        stage. What is logged is not weighted."""
        gan = self.gan
        with torch.no_grad():
            of_x = list(self.lpips.features(self._from(x, place)))
        of_y = list(self.lpips.features(self._from(y, place)))
        with torch.autocast(x.device.type, enabled=False):
            values = {"lpips": self.lpips.distance(of_x, of_y), "mse": PEAK * mean_squared_error(x, y)}
        loss = gan.beta_p * values["lpips"] + gan.beta_m * values["mse"]
        if self.adversarial:
            values["generator"] = generative_loss(self.discriminator(y, codeword))
            loss = loss + gan.beta_g * values["generator"]
            self._received = y.detach(), codeword
        return {"loss": loss} | values

    def _from(self, x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """What LPIPS sees of pictures: each from its row and column on."""
        less = self.gan.shift - 1
        if not less:
            return x
        height, width = x.shape[-2] - less, x.shape[-1] - less
        seen = [
            picture[:, top : top + height, left : left + width] for picture, (top, left) in zip(x, place.tolist(), strict=True)
        ]
        return torch.stack(seen).contiguous(memory_format=torch.channels_last)

    def _discriminator_loss(self, x: torch.Tensor, y: torch.Tensor, codeword: torch.Tensor) -> dict[str, torch.Tensor]:
        """Eq. (3) for sent ``x`` and received ``y``, and the share of patches that are told right of either."""
        real, received = self.discriminator(torch.cat([x, y]), torch.cat([codeword, codeword])).chunk(2)
        right = {"real": real > 0, "received": received < 0}
        return {"loss": discriminator_loss(real, received)} | {
            name: patches.float().flatten(1).mean(1) for name, patches in right.items()
        }

    def validation(self, data_dir: str | None, folder: Path) -> Validation:
        return PerceptualValidation(self.recipe, data_dir, folder, self.lpips)

    @classmethod
    def load_network(cls, recipe: Recipe) -> nn.Module:
        """As `TrainingStep.load_network`; a network without the generator's trunk will do, too (`GANJSCC.start_from`)."""
        name = resolve(recipe.model.init)
        source = load(name)
        network = fresh_codec(recipe)
        if source.arch == network.arch or not isinstance(network, GANJSCC):
            return super().load_network(recipe)
        new = network.start_from(source)
        if int(os.environ.get("RANK", "0")) == 0:
            total = sum(parameter.numel() for parameter in network.parameters())
            said = f"{total - new:,} of {total:,} parameters; the others, of the trunk, change nothing yet"
            print(f"model.init {source.name}: {said}", file=sys.stderr)
        return network


class PerceptualValidation(Validation):
    """`Validation`, LPIPS of the images at 8 bits, and where its network is at hand DISTS, which nothing is trained on."""

    def __init__(self, recipe: Recipe, data_dir: str | None, folder: Path, lpips: LPIPS) -> None:
        super().__init__(recipe, data_dir, folder)
        self._lpips = lpips
        self._with_dists = all(
            find_weights(name) is not None for name in ("dists", "vgg16")
        )  # nothing large is downloaded for it

    def measured(self, sent: torch.Tensor, received: torch.Tensor) -> dict[str, float]:
        device = self._lpips.get_buffer("shift").device
        x, y = (((picture * 255).round() / 255).to(device) for picture in (sent, received))
        with torch.no_grad():
            values = super().measured(sent, received) | {"lpips": self._lpips(x, y).item()}
            return values | {"dists": dists(x, y).item()} if self._with_dists and min(x.shape[-2:]) >= DISTS_SMALLEST else values
