"""Optimisers, the schedule of the learning rate, the average of the parameters, and the precision of a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .sections import OptimizerSection
from .steps import TrainingStep

try:
    from lightning_fabric.plugins import MixedPrecision, Precision
except ImportError:  # the all-in-one package carries it under another name
    from lightning.fabric.plugins import MixedPrecision, Precision  # pyright: ignore[reportMissingImports]

FOREACH_LIMIT = 2**27
"""Adam works on all parameters at once up to so many; it takes another copy of them for that."""


def learning_rate(section: OptimizerSection, step: int) -> float:
    """Learning rate of update ``step`` (0-based)."""
    if step < section.warmup:
        return section.lr * (step + 1) / section.warmup
    if section.schedule == "constant":
        return section.lr
    progress = min((step - section.warmup) / max(section.steps - section.warmup, 1), 1.0)
    return section.final_lr + (section.lr - section.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


class _ExactInputs(MixedPrecision):  # pyright: ignore[reportGeneralTypeIssues]
    """Autocast inside, but images and draws come as they are: Fabric would round them to bfloat16."""

    def convert_input(self, data: Any) -> Any:
        return data


def precision(name: str, accelerator: str) -> Precision:
    """The plugin for a recipe's ``run.precision``."""
    return _ExactInputs("bf16-mixed", accelerator) if name == "bf16-mixed" else Precision()


def make_optimizer(step: TrainingStep, name: str) -> torch.optim.Optimizer:
    """The optimiser of one of a step's networks, as its section says."""
    section, parameters = step.optimizer_section(name), list(step.trained()[name].parameters())
    lr, decay, foreach = section.lr, section.weight_decay, sum(parameter.numel() for parameter in parameters) <= FOREACH_LIMIT
    if section.kind == "sgd":
        momentum = section.betas[0]
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=True, foreach=foreach)
    return torch.optim.AdamW(parameters, lr=lr, betas=section.betas, weight_decay=decay, foreach=foreach)


@torch.no_grad()
def update_average(average: nn.Module, codec: nn.Module, decay: float) -> None:
    """Exponential moving average: parameters move by 1 - ``decay`` towards those of the codec, buffers are copied."""
    for mine, theirs in zip(average.parameters(), codec.parameters(), strict=True):
        mine.lerp_(theirs, 1.0 - decay)
    for mine, buffer in zip(average.buffers(), codec.buffers(), strict=True):
        mine.copy_(buffer)
