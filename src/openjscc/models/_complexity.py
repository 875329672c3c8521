"""What a codec costs: multiply-accumulates, counted by running its networks on the meta device."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..codec import Received, Side

if TYPE_CHECKING:
    from ._base import LearnedCodec

SIDE = 256


def macs_per_pixel(codec: LearnedCodec, task: str = "") -> float:
    """Multiply-accumulates of encoder and decoder per pixel of a 256x256 image.

    Counts convolutions and matrix products (half of PyTorch's count of floating-point operations), not element-wise work.

    Args:
        codec: any.
        task: one of its tasks; default the first one, at the highest rate. Another one is counted at the rate that it has.
    """
    model = copy.deepcopy(codec).to("meta").eval()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        x, snr_db = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1)
        if task in ("", codec.tasks[0]):
            rate = torch.zeros(1, dtype=torch.int64)
            model.synthesise(model.analyse(x, snr_db, rate), snr_db, rate, torch.ones(1))
        else:
            _, rate = model.choose(x, snr_db, None, task)
            most = model.header.uses(SIDE, SIDE) + codec.config.rates[-1] // 2 * math.ceil(SIDE / codec.stride) ** 2
            head = torch.tensor([model.header.uses(SIDE, SIDE)], device="cpu")
            side = Side(SIDE, SIDE, rate, task, torch.ones(1) if codec.config.send_scale else None, head)
            symbols = torch.zeros(1, most, dtype=torch.complex64)
            model.decode_payload(Received(symbols, torch.ones(1), None, torch.full((1,), most)), side)
    return counter.get_total_flops() / 2 / SIDE**2
