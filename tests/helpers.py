"""What several tests share: a codec whose PSNR has a closed form, and ways to make frames and pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import torch
from torch import nn

from openjscc.codec import Conditions, Frame, Received, Reconstruction, Side, check_image
from openjscc.data.images import to_uint8
from openjscc.header import SCALE_STEP_DB, HeaderFormat, payload_of, quantize_scale
from openjscc.models import LearnedCodec
from openjscc.models.layers import tiling
from openjscc.power import normalize_power

if TYPE_CHECKING:
    from openjscc.training.recipe import Recipe

Network = TypeVar("Network", bound=nn.Module)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int, height: int = 16, width: int = 16, seed: int = 0) -> torch.Tensor:
    """Smooth pictures ``(B, 3, H, W)`` of different brightness and contrast."""
    source = generator(seed)
    coarse = torch.rand(batch, 3, 4, 4, generator=source) * torch.linspace(0.1, 1.0, batch)[:, None, None, None]
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def quantize(x: torch.Tensor) -> torch.Tensor:
    """Values as they are after storage with 8 bits: float32 multiples of 1/255."""
    return to_uint8(x).float() / 255


def random_frame(length: Sequence[int], seed: int = 0) -> Frame:
    """A frame of Gaussian symbols with unit power per image."""
    sent = torch.tensor(length)
    values = torch.randn(len(length), max(length), 2, generator=generator(seed))
    return Frame(normalize_power(torch.view_as_complex(values), sent), sent, Side(8, 8))


def noise_images(batch: int, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    """Independent pixels, ``(B, 3, H, W)`` in [0, 1)."""
    return torch.rand(batch, 3, height, width, generator=generator(seed))


def count(module: nn.Module | None) -> int:
    """Number of parameters."""
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def moved(network: Network, by: float = 0.05) -> Network:
    """A network, a little off every start at zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return network


def untrained(make: Callable[[Any], Network], config: object, by: float = 0.05) -> Network:
    """A codec in evaluation mode, always the same one, `moved`."""
    torch.manual_seed(0)
    return moved(make(config).eval(), by)


def assert_tiles_change_nothing(codec: LearnedCodec, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image in tiles gives the same symbols and the same image as in one piece."""

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            frame = codec.encode(x, Conditions(torch.tensor([7.0]), codec.ratios[-1]))
            image = codec.decode(Received(frame.symbols, torch.tensor([0.2]), None, frame.length)).image
        assert image is not None
        return frame.symbols, image

    symbols, image = run()
    with monkeypatch.context() as patch:
        patch.setattr(tiling, "WHOLE", 1000)
        patch.setattr(tiling, "TILE", 64)
        tiled_symbols, tiled_image = run()
        assert (symbols - tiled_symbols).abs().max() < 1e-4
        assert (image - tiled_image).abs().max() < 1e-4
        reach = tiling.reach
        patch.setattr(tiling, "reach", lambda stage: (0, *reach(stage)[1:]))
        assert (run()[0] - symbols).abs().max() > 1e-3, "without margins it must show"


def short_recipe(folder: Path, *more: str, name: str = "deepjscc-paper-2019") -> Recipe:
    """A recipe of four updates on the images of a folder, with further overrides."""
    from openjscc.training.recipe import load_recipe

    data = [f"data.train={json.dumps([str(folder)])}", f"data.validate={folder}", "data.validate_limit=1", "data.crop=32"]
    return load_recipe(name, [*data, "data.exclude=[]", "optimizer.batch=2", "optimizer.steps=4", *more])


def silent(text: str) -> None:
    """What a training says goes nowhere."""


class PixelCodec:
    """Uncoded transmission: pixels ``2x - 1`` as symbols, two to a symbol, at unit power; the received picture is not clipped.

    The power scale of each picture goes into the header, in steps of 1/16 dB; a last symbol takes up what the rounding leaves of
    the power. On AWGN the error of a pixel is ``scale * n / 2`` with n of variance ``noise_var / 2`` (see `psnr`).
    """

    name = "pixels"
    ratios: tuple[float, ...] = (0.5,)
    tasks: tuple[str, ...] = ("reconstruction",)
    uses_gain = False
    header = HeaderFormat(scale=True)

    def __init__(self) -> None:
        self.conditions: Conditions | None = None

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        check_image(x)
        self.conditions = conditions
        batch, _, height, width = x.shape
        symbols = self.map_pixels(2 * x - 1)
        scale = self.scale(symbols)
        payload = symbols / scale[:, None]
        energy = payload.abs().square().sum(1, keepdim=True)
        payload = torch.cat([payload, (payload.shape[1] + 1 - energy).sqrt()], dim=1)
        sent = torch.full((batch,), payload.shape[1])
        return self.header.frame(payload, sent, Side(height, width, scale=scale), conditions)

    def decode(self, received: Received) -> Reconstruction:
        side, ok = self.header.read(received)
        if side is None:
            return Reconstruction(ok=ok)
        return dataclasses.replace(self.decode_payload(received, side), ok=ok)

    def decode_payload(self, received: Received, side: Side) -> Reconstruction:
        assert side.scale is not None
        count = 3 * side.height * side.width
        payload = payload_of(received.symbols, side, (count + 1) // 2) * side.scale[:, None]
        values = torch.view_as_real(payload).flatten(1)[:, :count]
        return Reconstruction(image=(values.reshape(-1, 3, side.height, side.width) + 1) / 2)

    @staticmethod
    def map_pixels(values: torch.Tensor) -> torch.Tensor:
        """``(B, 3, H, W)`` to complex ``(B, ceil(3*H*W/2))``: neighbours in one picture make one symbol."""
        flat = values.flatten(1)
        flat = torch.nn.functional.pad(flat, (0, flat.shape[1] % 2))
        return torch.view_as_complex(flat.unflatten(1, (-1, 2)).contiguous())

    @staticmethod
    def scale(symbols: torch.Tensor) -> torch.Tensor:
        """The header's least scale at which the symbols' mean energy is at most 1."""
        rms = symbols.abs().square().mean(1).sqrt()
        return quantize_scale(rms * 10 ** (SCALE_STEP_DB / 40) * 1.0001)

    def psnr(self, x: torch.Tensor, noise_var: float | torch.Tensor) -> torch.Tensor:
        """The closed form per picture, ``(B,)``: MSE = scale^2 * noise_var / 8."""
        return -10 * torch.log10(self.scale(self.map_pixels(2 * x - 1)).square() * noise_var / 8)


def measured_psnr(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """PSNR per picture ``(B,)`` without rounding or clipping."""
    return -10 * torch.log10((x - y).double().square().mean((1, 2, 3)))
