"""Random draws of a training run, keyed by (seed, global sample index): no state to save, no dependence on the number of
processes, the batch size or the device.

The numbers come from a counter through the SplitMix64 finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014), in integer tensor arithmetic that is exact on every device (`normals` then take logarithms and
cosines, whose last bits may differ between devices). PyTorch has no counter-based
generator with a key per sample, and one generator object per sample is too slow to feed a GPU.
"""

from __future__ import annotations

import math

import torch

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def _shift_right(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift: torch's >> on int64 carries the sign along."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """An integer modulo 2**64, as int64 holds it."""
    return (value + 2**63) % 2**64 - 2**63


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shift_right(z, 30)) * _FIRST
    z = (z ^ _shift_right(z, 27)) * _SECOND
    return z ^ _shift_right(z, 31)


def uniforms(seed: int, stream: int, index: torch.Tensor, count: int) -> torch.Tensor:
    """Uniform numbers in [0, 1).

    Args:
        seed: of the run.
        stream: tells the purposes apart (crops, SNR, noise ...).
        index: int64 ``(B,)``, global sample index.
        count: numbers a sample.

    Returns:
        float32 ``(B, count)`` on the device of ``index``; the first numbers do not depend on ``count``.
    """
    key = _mix(_mix(index.new_tensor(_signed(seed + _GOLDEN))) + _signed((stream + 1) * _GOLDEN))
    base = _mix(index * _GOLDEN + key)
    counter = torch.arange(1, count + 1, device=index.device, dtype=torch.int64) * _GOLDEN
    return _shift_right(_mix(base[:, None] + counter), 40).float() * 2.0**-24


def normals(seed: int, stream: int, index: torch.Tensor, count: int) -> torch.Tensor:
    """Standard normal numbers, float32 ``(B, count)`` (Box-Muller on `uniforms`); prefix property as there."""
    pairs = uniforms(seed, stream, index, count + count % 2).unflatten(1, (-1, 2))
    radius = (-2.0 * torch.log1p(-pairs[..., 0])).sqrt()
    angle = 2.0 * math.pi * pairs[..., 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2).flatten(1)[:, :count]


def epoch_order(seed: int, epoch: int, size: int) -> torch.Tensor:
    """The order in which an epoch visits ``size`` images, int64 ``(size,)``, on the CPU."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) & (2**63 - 1))
    return torch.randperm(size, generator=generator)
