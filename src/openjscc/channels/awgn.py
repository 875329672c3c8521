"""Additive white Gaussian noise."""

from __future__ import annotations

import torch

from ._base import Channel, Realisation, circular


class AWGN(Channel):
    """``y = z + sigma n`` with ``n ~ CN(0, 1)``: noise variance ``sigma^2`` per complex symbol, half of it per real dimension."""

    name = "awgn"

    def normal_count(self, k: int) -> int:
        return 2 * k

    def realise(self, drawn: torch.Tensor, k: int) -> Realisation:
        return Realisation(circular(drawn.unflatten(1, (k, 2))))
