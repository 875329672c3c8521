"""Full headers, of whatever codec, found in received symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..codec import Received
from ..crc import crc
from ..power import sent_mask
from .layouts import (
    CRC_BITS,
    LAYOUTS,
    MASKS,
    REPEATS,
    Fields,
    Layout,
    fields_of,
    to_bits,
)


def listen(received: Received, layouts: Sequence[Layout] = LAYOUTS) -> list[Fields | None]:
    """The full headers at the front of B received frames, of whatever codec; None where there is none."""
    batch, k = received.symbols.shape
    llr = header_llr(received, min(REPEATS * max(layout.uses for layout in layouts), k))
    found = listen_llr(llr, layouts, list(range(batch)))
    return [found.get(row) for row in range(batch)]


def listen_llr(llr: np.ndarray, layouts: Sequence[Layout], rows: list[int]) -> dict[int, Fields]:
    """The full headers among some rows of LLRs ``(B, 2k)``, by row number."""
    found: dict[int, Fields] = {}
    for repeats, mask in MASKS.items():
        for layout in layouts:
            left = [row for row in rows if row not in found]
            width = 2 * layout.uses
            if not left or llr.shape[1] < width * repeats:
                continue
            folded = llr[left, : width * repeats].reshape(len(left), repeats, width).sum(axis=1)
            wanted = to_bits(np.array([mask]), CRC_BITS)[0]

            def passes(paths: np.ndarray, wanted: np.ndarray = wanted) -> np.ndarray:
                content = np.ascontiguousarray(paths[..., :-CRC_BITS]).reshape(-1, paths.shape[-1] - CRC_BITS)
                check = crc(content, "16").reshape(*paths.shape[:-1], CRC_BITS) ^ wanted
                return (check == paths[..., -CRC_BITS:]).all(axis=-1)

            bits, passed = layout.code.decode(folded, passes)
            reached = (folded * (1.0 - 2.0 * layout.code.encode(bits))).sum(axis=1)
            fit = reached / np.maximum(np.abs(folded).sum(axis=1), 1e-30)
            for number in np.flatnonzero(passed).tolist():
                found[left[number]] = fields_of(layout, bits[number], layout.uses * repeats, float(fit[number]))
    return found


def header_llr(received: Received, k: int) -> np.ndarray:
    """LLRs log P(0) / P(1) of the first k symbols as QPSK: float32 ``(B, 2k)``, the real part's bit first."""
    symbols = received.symbols[:, :k].detach()
    noise_var = received.noise_var.detach()
    noise_var = noise_var[:, :k] if noise_var.ndim == 2 else noise_var[:, None]
    if received.gain is not None:
        symbols = symbols * received.gain[:, :k].detach().conj()
    # A bit is +-1/sqrt(2) in noise of variance noise_var / 2 per real dimension: LLR = 2 sqrt(2) y / noise_var.
    scaled = symbols * (2 * math.sqrt(2) / noise_var.clamp(min=1e-12))
    scaled = torch.where(sent_mask(received.length, k), scaled, torch.zeros_like(scaled))
    llr = torch.view_as_real(scaled).flatten(1).cpu().numpy()
    return np.nan_to_num(llr, nan=0.0, posinf=1e6, neginf=-1e6).clip(-1e6, 1e6)
