"""The frame header: which fields, how many bits, which symbols. One rule for all codecs.

A bit costs one channel use: it is sent as one QPSK symbol at code rate 1/2 (the bit on I and again on Q). The header
is taken as received without error, which at these rates holds far below the SNRs of interest; it is counted in
`Frame.length` and so in every bandwidth ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .codec import Side
from .errors import UsageError

SIZE_BITS = 16
MAX_SIDE = 2**SIZE_BITS
SCALE_BITS = 10
SCALE_LOWEST_DB = -40.0
SCALE_STEP_DB = 1 / 16


def index_bits(count: int) -> int:
    """Bits that tell ``count`` possibilities apart (0 for one)."""
    return math.ceil(math.log2(count)) if count > 1 else 0


def scale_index(scale: torch.Tensor) -> torch.Tensor:
    """The header's number for a positive scale ``(B,)``: int64, steps of 1/16 dB from -40 dB, 1024 of them."""
    steps = (20 * torch.log10(scale.clamp(min=1e-9)) - SCALE_LOWEST_DB) / SCALE_STEP_DB
    return steps.round().clamp(0, 2**SCALE_BITS - 1).long()


def quantize_scale(scale: torch.Tensor) -> torch.Tensor:
    """The scale ``(B,)`` that the receiver reads from the header; the gradient is that of the unrounded one."""
    read = 10 ** ((SCALE_LOWEST_DB + SCALE_STEP_DB * scale_index(scale.detach())) / 20)
    return scale + (read.to(scale.dtype) - scale).detach()


@dataclass(frozen=True)
class HeaderFormat:
    """What a codec writes into its header.

    Attributes:
        agreed_size: ``(H, W)`` that both ends know (a data set's fixed size). Such a picture costs one flag bit for its
            size; every other costs the flag and 2 x 16 bits. None: no flag, always 2 x 16 bits.
        rates: number of rates that the codec chooses from.
        tasks: number of tasks that the codec chooses from.
        scale: the scale of the symbols is sent, in 10 bits.
    """

    agreed_size: tuple[int, int] | None = None
    rates: int = 1
    tasks: int = 1
    scale: bool = False

    def uses(self, height: int, width: int) -> int:
        """Channel uses of the header of an ``height`` x ``width`` picture."""
        size = 2 * SIZE_BITS
        if self.agreed_size is not None:
            size = 1 if (height, width) == tuple(self.agreed_size) else size + 1
        return size + index_bits(self.rates) + index_bits(self.tasks) + (SCALE_BITS if self.scale else 0)

    def bits(self, side: Side, batch: int, task_index: int = 0) -> torch.Tensor:
        """The header as bits, uint8 ``(B, uses)``: [size flag] [H-1, W-1] [rate] [task] [scale], most significant bit first.

        Raises:
            UsageError: for a picture of more than 65536 pixels on a side.
        """
        if max(side.height, side.width) > MAX_SIDE:
            raise UsageError(
                f"picture of {side.width}x{side.height}", f"a side may have at most {MAX_SIDE} pixels: scale it down"
            )
        agreed = self.agreed_size is not None and (side.height, side.width) == tuple(self.agreed_size)
        fields: list[tuple[int | torch.Tensor, int]] = []
        if self.agreed_size is not None:
            fields.append((0 if agreed else 1, 1))
        if not agreed:
            fields += [(side.height - 1, SIZE_BITS), (side.width - 1, SIZE_BITS)]
        fields.append((side.rate.cpu() if side.rate is not None else 0, index_bits(self.rates)))
        fields.append((task_index, index_bits(self.tasks)))
        if self.scale and side.scale is not None:
            fields.append((scale_index(side.scale.detach()).cpu(), SCALE_BITS))
        columns = [
            (torch.as_tensor(value).expand(batch) >> shift) & 1 for value, width in fields for shift in reversed(range(width))
        ]
        return torch.stack(columns, dim=1).to(torch.uint8) if columns else torch.zeros(batch, 0, dtype=torch.uint8)


def header_symbols(bits: torch.Tensor) -> torch.Tensor:
    """Bits ``(B, m)`` to unit-energy QPSK symbols complex64 ``(B, m)``, every bit on both dimensions (rate 1/2)."""
    level = (1.0 - 2.0 * bits.float()) / math.sqrt(2.0)
    return torch.complex(level, level)
