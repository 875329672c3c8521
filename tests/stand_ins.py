"""Networks of the right shape with the wrong weights, where a test needs one and its result does not matter."""

from __future__ import annotations

import torch
from torch import nn

from openjscc.metrics.backbones import ALEXNET, Backbone
from openjscc.metrics.perceptual import LPIPS, LPIPS_SCALE, LPIPS_SHIFT


class StandInLPIPS(LPIPS):
    """LPIPS on a slim AlexNet with random weights, always the same."""

    def __init__(self, net: str = "alex", width: int = 8) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(0)
        parameters: dict[str, torch.Tensor] = {}
        narrow = 3
        for key, kernel in zip(ALEXNET.keys[::2], (11, 5, 3, 3, 3), strict=True):
            bound = (narrow * kernel**2) ** -0.5
            parameters[key] = bound * torch.randn(width, narrow, kernel, kernel, generator=generator)
            parameters[key.replace("weight", "bias")] = torch.zeros(width)
            narrow = width
        self.backbone = Backbone(ALEXNET, parameters)
        self.heads = 5
        for stage in range(5):
            self.register_buffer(f"head_{stage}", torch.full((1, width, 1, 1), 1 / width), persistent=False)
        for name, values in (("shift", LPIPS_SHIFT), ("scale", LPIPS_SCALE)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
