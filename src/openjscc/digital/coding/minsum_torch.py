"""The decoder as tensor operations over blocks and circulants, for any device. Same integers as the compiled one."""

from __future__ import annotations

import torch

from .schedule import CERTAIN, LARGEST_MINIMUM, SCALE_SHIFT, UNIT, Schedule

AT_ONCE = 1024
"""Blocks decoded together, to bound the memory."""


def quantised(llr: torch.Tensor) -> torch.Tensor:
    """int32 ``(B, n)`` of float32 LLRs: scaled by a power of two so that the typical magnitude is between UNIT and 2*UNIT."""
    finite = llr.isfinite() & (llr != 0)
    exponents = torch.where(finite, torch.frexp(llr.double()).exponent, 0).long().sum(1)
    count = finite.sum(1)
    exponent = torch.div(2 * exponents + count, 2 * count.clamp(min=1), rounding_mode="floor")
    scaled = torch.ldexp(llr.double(), (UNIT.bit_length() - exponent)[:, None])
    return scaled.nan_to_num(0.0, CERTAIN, -CERTAIN).clamp(-CERTAIN, CERTAIN).round().to(torch.int32)


def decode(schedule: Schedule, llr: torch.Tensor, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """bits uint8 ``(B, k)`` and ok bool ``(B,)`` of LLRs float32 ``(B, n)``."""
    parts = [_decode(schedule, part, iterations) for part in llr.split(AT_ONCE)]
    return torch.cat([bits for bits, _ in parts]), torch.cat([ok for _, ok in parts])


def _decode(schedule: Schedule, llr: torch.Tensor, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    device, z, k = llr.device, schedule.z, schedule.k
    edges = [slice(int(a), int(b)) for a, b in zip(schedule.row_start[:-1], schedule.row_start[1:], strict=True)]
    columns, shifts = (torch.from_numpy(values).to(device).long() for values in (schedule.columns, schedule.shifts))
    places = columns[:, None] * z + (torch.arange(z, device=device) + shifts[:, None]) % z
    value = torch.from_numpy(schedule.start).to(device).int().flatten().repeat(len(llr), 1)
    value.index_add_(1, torch.from_numpy(schedule.sent).to(device).long(), quantised(llr)).clamp_(-CERTAIN, CERTAIN)
    message = torch.zeros(len(llr), len(columns), z, dtype=torch.int32, device=device)
    bits = torch.zeros(len(llr), k, dtype=torch.uint8, device=device)
    ok = torch.zeros(len(llr), dtype=torch.bool, device=device)
    open_blocks = torch.arange(len(llr), device=device)
    for iteration in range(iterations + 1):
        negative = value < 0
        done = (value[:, :k] != 0).all(1)
        for edge in edges:
            done &= ~(negative[:, places[edge]].sum(1) % 2).bool().any(1)
        stopped = done | (iteration == iterations)
        bits[open_blocks[stopped]] = negative[stopped, :k].to(torch.uint8)
        ok[open_blocks[stopped]] = done[stopped]
        if bool(stopped.any()):
            value, message, open_blocks = value[~stopped], message[~stopped], open_blocks[~stopped]
        if not len(open_blocks):
            break
        for edge in edges:
            _layer(value, message, places[edge], edge, schedule.factor)
    return bits, ok


def _layer(value: torch.Tensor, message: torch.Tensor, places: torch.Tensor, edge: slice, factor: int) -> None:
    """One block row of checks, in place."""
    extrinsic = value[:, places] - message[:, edge]
    magnitude = extrinsic.abs()
    if extrinsic.shape[1] == 1:
        least, where = magnitude, torch.zeros_like(magnitude[:, 0], dtype=torch.long)
        second = torch.full_like(magnitude[:, 0], LARGEST_MINIMUM)
    else:
        least, where = magnitude.topk(2, dim=1, largest=False, sorted=True)
        second, where = least[:, 1], where[:, 0]
    least, second = ((x.clamp(max=LARGEST_MINIMUM) * factor) >> SCALE_SHIFT for x in (least[:, 0], second))
    here = torch.arange(extrinsic.shape[1], device=value.device)[:, None] == where[:, None]
    new = torch.where(here, second[:, None], least[:, None])
    negative = extrinsic < 0
    odd = negative.sum(1, keepdim=True) % 2 == 1
    new = torch.where(negative ^ odd, -new, new)
    message[:, edge] = new
    value[:, places.flatten()] = (extrinsic + new).flatten(1)
