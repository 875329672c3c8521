"""A policy that chooses how many groups of features are sent, and how it learns although a number of groups has no gradient.

M. Yang, H.-S. Kim: Deep joint source-channel coding for wireless image transmission with adaptive rate control, ICASSP 2022. The
draw: E. Jang, S. Gu, B. Poole: Categorical reparameterization with Gumbel-softmax, ICLR 2017 (straight-through).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .modulation import perceptron, pooled

FIRST_TEMPERATURE = 5.0
TEMPERATURE_DECAY = 0.015
LOWEST_TEMPERATURE = 0.005


def temperature_at(
    epoch: float, first: float = FIRST_TEMPERATURE, decay: float = TEMPERATURE_DECAY, lowest: float = LOWEST_TEMPERATURE
) -> float:
    """Temperature of the Gumbel-softmax: ``first * exp(-decay * epoch)``, at least ``lowest``; the paper's where not given."""
    return max(first * math.exp(-decay * epoch), lowest)


@dataclass(frozen=True)
class Choice:
    """How many of G groups each picture sends.

    Attributes:
        index: int64 ``(B,)``, 0 to G.
        mask: float32 ``(B, G)``, 1 for the groups that are sent; its gradient is that of the soft choice.
    """

    index: torch.Tensor
    mask: torch.Tensor


class RatePolicy(nn.Module):
    """[global average of the features, conditions] -> MLP -> one logit for each number of groups, 0 to G.

    Args:
        channels: of the features.
        conditions: number of condition values (1 for the SNR alone).
        hidden: width of the two hidden layers.
        choices: G + 1.

    Shapes: features ``(B, C, H, W)``, conditions ``(B, conditions)`` -> float32 ``(B, choices)``.
    """

    def __init__(self, channels: int, conditions: int, hidden: int, choices: int) -> None:
        super().__init__()
        self.layers = perceptron(channels + conditions, hidden, hidden, choices)

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        return self.layers(pooled(features, conditions)).float()


def thermometer(choice: torch.Tensor) -> torch.Tensor:
    """Weights ``(B, G + 1)`` of the numbers 0 to G to weights ``(B, G)`` of the groups: the number n sends the first n."""
    return choice.flip(1).cumsum(1).flip(1)[:, 1:]


def fixed(index: torch.Tensor, choices: int) -> Choice:
    """The choice that somebody else made, int64 ``(B,)``: without any gradient."""
    return Choice(index, thermometer(nn.functional.one_hot(index, choices)).float())


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> Choice:
    """A random choice with probabilities softmax(logits), straight-through.

    Args:
        logits: float32 ``(B, G + 1)``.
        uniforms: as many independent numbers in [0, 1).
        temperature: of the soft choice whose gradient is taken.
    """
    inside = uniforms.clamp(2.0**-25, 1 - 2.0**-24)  # in single precision there is nothing between the latter and 1
    noisy = logits - (-inside.log()).log()
    index = noisy.argmax(1)
    soft = thermometer(torch.softmax(noisy / temperature, dim=1))
    return Choice(index, fixed(index, logits.shape[1]).mask + (soft - soft.detach()))
