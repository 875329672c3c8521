"""What a codec costs: multiply-accumulates, counted by running its networks on the meta device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from ._base import LearnedCodec

SIDE = 256


def macs_per_pixel(codec: LearnedCodec) -> float:
    """Multiply-accumulates of `analyse` and `synthesise` per pixel of a 256x256 picture, at the highest rate.

    Counts convolutions and matrix products (half of PyTorch's count of floating-point operations), not element-wise work.
    """
    model = copy.deepcopy(codec).to("meta")
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        snr_db = torch.zeros(1)
        rate = torch.zeros(1, dtype=torch.int64)
        latent = model.analyse(torch.zeros(1, 3, SIDE, SIDE), snr_db, rate)
        model.synthesise(latent, snr_db, rate, torch.ones(1))
    return counter.get_total_flops() / 2 / SIDE**2
