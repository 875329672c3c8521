"""The header of one codec: written in front of a payload, and read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..codec import Conditions, Frame, Received, Side
from ..crc import crc
from ..errors import UsageError
from ..power import sent_mask
from .layouts import (
    CRC_BITS,
    LAYOUTS,
    MASKS,
    MAX_SIDE,
    PLAIN,
    RATE_BITS,
    REPEAT_BELOW_DB,
    REPEATS,
    SCALE_BITS,
    SCALED,
    SHORT_POSTERIOR,
    SHORT_SURE,
    TASK_BITS,
    VERSION,
    Fields,
    Layout,
    ShortCode,
    qpsk,
    quantize_scale,
    scale_index,
    scale_of,
    to_bits,
    widths,
)
from .listening import header_llr, listen_llr


@dataclass(frozen=True)
class HeaderFormat:
    """What a codec writes into its header.

    Attributes:
        identity: the 16 bits that name the codec and its parameters (`identity_of`).
        agreed_size: ``(H, W)`` that both ends know (a data set's fixed size): such an image has a short header, where that
            has room for the codec's pairs of rate and task (64, with a scale 8). None: headers are full.
        rates: number of rates that the codec chooses from, at most 64.
        tasks: the tasks that the codec chooses from, at most 4.
        scale: the scale of the symbols is sent.
        counts_uses: the channel uses of the frame are sent (a codec of any ratio; it has no scale).
    """

    identity: int = 0
    agreed_size: tuple[int, int] | None = None
    rates: int = 1
    tasks: tuple[str, ...] = ("reconstruction",)
    scale: bool = False
    counts_uses: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.rates <= 2**RATE_BITS or not 1 <= len(self.tasks) <= 2**TASK_BITS:
            raise UsageError(
                f"a header for {self.rates} rates and {len(self.tasks)} tasks",
                f"it tells at most {2**RATE_BITS} rates and {2**TASK_BITS} tasks apart",
            )

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """The full layouts that the codec uses, by the size of the image."""
        return tuple(layout for layout in LAYOUTS if layout.counts_uses == self.counts_uses)

    @cached_property
    def short(self) -> ShortCode | None:
        """The code of short headers; None where the codec has none."""
        code = SCALED if self.scale else PLAIN
        return code if self.agreed_size is not None and self.rates * len(self.tasks) <= code.choices else None

    def is_short(self, height: int, width: int) -> bool:
        """Whether an image of that size has a short header."""
        return self.short is not None and self.agreed_size is not None and (height, width) == tuple(self.agreed_size)

    def quantize(self, scale: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """`quantize_scale` as the header of an image of that size has it."""
        return quantize_scale(scale, coarse=self.is_short(height, width))

    def uses(self, height: int, width: int, snr_db: float | None = None, fades: bool = False) -> int:
        """Channel uses of the header of an ``height`` x ``width`` image.

        Args:
            height: H.
            width: W.
            snr_db: the SNR in dB that the transmitter knows; None: none.
            fades: it knows that the channel fades.

        Raises:
            UsageError: for an image of more than 65536 pixels on a side.
        """
        if self.short is not None and self.is_short(height, width):
            return self.short.uses
        repeats = REPEATS if fades or (snr_db is not None and snr_db < REPEAT_BELOW_DB) else 1
        return repeats * self._layout(height, width).uses

    def lengths(self, height: int, width: int, conditions: Conditions, batch: int) -> torch.Tensor:
        """`uses` of each of B images under these conditions, int64 ``(B,)`` on the CPU."""
        snr_db = conditions.snr_db
        known = [None] * batch if snr_db is None else snr_db.detach().cpu().expand(batch).tolist()
        return torch.tensor([self.uses(height, width, snr, conditions.fades) for snr in known])

    def frame(self, payload: torch.Tensor, sent: torch.Tensor, side: Side, conditions: Conditions, genie: object = None) -> Frame:
        """The payload with its header in front.

        Args:
            payload: complex64 ``(B, k)``, mean energy 1 over the first ``sent`` symbols, zero after them.
            sent: int64 ``(B,)``.
            side: what the header says. ``uses`` and ``head`` are filled in here.
            conditions: what the transmitter knows of the channel decides how often the header is sent.
            genie: see `openjscc.codec.Frame`.
        """
        batch, device = len(payload), payload.device
        head = self.lengths(side.height, side.width, conditions, batch)
        length = sent + head.to(device)
        side = side.replace(head=head.to(device), uses=length)
        front = self.symbols(side, batch, head).to(device)
        if len(set(head.tolist())) == 1:
            return Frame(torch.cat([front, payload], dim=1), length, side, genie)
        whole = payload.new_zeros(batch, int((head + payload.shape[1]).max()))
        for row, start in enumerate(head.tolist()):
            whole[row, :start] = front[row, :start]
            whole[row, start : start + payload.shape[1]] = payload[row]
        return Frame(whole[:, : int(length.max())], length, side, genie)

    def read(self, received: Received) -> tuple[Side | None, torch.Tensor]:
        """What the headers of B received frames say.

        The images of a batch share a size and a task. A frame whose header cannot be read, names another codec, or says
        another size or task than most of the batch, is lost.

        Returns:
            The header's fields, with rate 0, scale 1 and the channel uses of a header sent once where a frame is lost; None where
            all are. And bool ``(B,)``: which headers were read.
        """
        batch, k = received.symbols.shape
        device = received.symbols.device
        found: list[Fields | None] = [None] * batch
        llr = header_llr(received, min(REPEATS * self.layouts[-1].uses, k))
        words = self._words(llr, self.short) if self.short is not None else {}
        for row, (fields, sure) in words.items():
            if sure:
                found[row] = fields
        for row, fields in listen_llr(llr, self.layouts, [row for row in range(batch) if found[row] is None]).items():
            found[row] = fields
        for row, (fields, _) in words.items():
            found[row] = found[row] or fields
        valid = [fields if fields is not None and self._is_ours(fields) else None for fields in found]
        shapes = Counter((one.height, one.width, one.task) for one in valid if one is not None)
        if not shapes:
            return None, torch.zeros(batch, dtype=torch.bool, device=device)
        height, width, task = shape = shapes.most_common(1)[0][0]
        ok = [one is not None and (one.height, one.width, one.task) == shape for one in valid]
        lost = Fields(VERSION, 0, height, width, 0, task, scale_index(torch.ones(1)).item(), False, self.uses(height, width))  # pyright: ignore[reportArgumentType]
        rows = [one if one is not None and kept else lost for one, kept in zip(valid, ok, strict=True)]
        values = torch.tensor([one.value for one in rows], device=device)
        counted = torch.tensor([one.value if one.counts_uses else 0 for one in rows], device=device)
        side = Side(
            height,
            width,
            rate=torch.tensor([one.rate for one in rows], device=device),
            task=self.tasks[task],
            scale=scale_of(values) if self.scale else None,
            head=torch.tensor([one.head for one in rows], device=device),
            uses=torch.where(counted > 0, counted, received.length) if self.counts_uses else None,
        )
        return side, torch.tensor(ok, device=device)

    def _is_ours(self, fields: Fields) -> bool:
        return (
            fields.version == VERSION
            and fields.identity == self.identity
            and fields.rate < self.rates
            and fields.task < len(self.tasks)
        )

    def _layout(self, height: int, width: int) -> Layout:
        for layout in self.layouts:
            if max(height, width) <= 2**layout.side_bits:
                return layout
        raise UsageError(f"an image of {width}x{height}", f"a side may have at most {MAX_SIDE} pixels: scale it down")

    def symbols(self, side: Side, batch: int, head: torch.Tensor) -> torch.Tensor:
        """Header symbols complex64 ``(B, max(head))`` on the CPU, for images whose headers take ``head`` ``(B,)`` uses."""
        head = head.cpu()
        rate = (side.rate if side.rate is not None else torch.zeros(batch, dtype=torch.int64)).cpu().expand(batch)
        task = self.tasks.index(side.task)
        if self.short is not None and self.is_short(side.height, side.width):
            number = task * self.rates + rate
            if self.scale:
                scale = torch.ones(batch) if side.scale is None else side.scale.detach().cpu()
                number = number << self.short.scale_bits | scale_index(scale) >> SCALE_BITS - self.short.scale_bits
            return qpsk(self.short.words[number.numpy()])
        layout = self._layout(side.height, side.width)
        if layout.counts_uses:
            assert side.uses is not None
            value = side.uses.cpu()
        elif self.scale and side.scale is not None:
            value = scale_index(side.scale.detach()).cpu()
        else:
            value = torch.zeros(batch, dtype=torch.int64)
        sizes = widths(layout)
        fields = (VERSION, self.identity, side.height - 1, side.width - 1, rate, task, value)
        bits = np.concatenate(
            [to_bits(torch.as_tensor(field).expand(batch).numpy(), width) for field, width in zip(fields, sizes, strict=True)],
            axis=1,
        )
        most = int(head.max()) // layout.uses
        rows = []
        for row, uses in enumerate(head.tolist()):
            repeats = uses // layout.uses
            check = crc(bits[row : row + 1], "16") ^ to_bits(np.array([MASKS[repeats]]), CRC_BITS)
            coded = layout.code.encode(np.concatenate([bits[row : row + 1], check], axis=1))[0]
            rows.append(np.tile(coded, most))
        return qpsk(np.stack(rows))

    def _words(self, llr: np.ndarray, code: ShortCode) -> dict[int, tuple[Fields, bool]]:
        """What the rows say as short headers, where that is likely: fields, and whether no other reading need be tried."""
        assert self.agreed_size is not None
        if llr.shape[1] < 2 * code.uses:
            return {}
        known = self.rates * len(self.tasks) << code.scale_bits
        part = llr[:, : 2 * code.uses].astype(np.float64)
        correlation = part @ (1.0 - 2.0 * code.words[:known].T)
        best, top = correlation.argmax(axis=1), correlation.max(axis=1)
        posterior = 1 / np.exp((correlation - top[:, None]) / 2).sum(axis=1)
        fit = top / np.maximum(np.abs(part).sum(axis=1), 1e-30)
        found = {}
        for row in np.flatnonzero((posterior >= SHORT_POSTERIOR) & (fit >= code.fit)).tolist():
            pair, scale = divmod(int(best[row]), 2**code.scale_bits)
            task, rate = divmod(pair, self.rates)
            value = scale << SCALE_BITS - code.scale_bits if self.scale else 0
            fields = Fields(VERSION, self.identity, *self.agreed_size, rate, task, value, False, code.uses)
            found[row] = fields, bool(fit[row] >= SHORT_SURE)
        return found


def measured_noise_var(received: Received, form: HeaderFormat, side: Side) -> torch.Tensor:
    """Noise variance float32 ``(B,)`` from the header's own symbols, once they are known: the mean of ``|y - h z|^2``."""
    assert side.head is not None
    known = form.symbols(side, len(received.symbols), side.head).to(received.symbols.device)
    k = known.shape[1]
    gain = 1.0 if received.gain is None else received.gain[:, :k]
    error = (received.symbols[:, :k] - gain * known).abs().square()
    sent = sent_mask(side.head, k)
    return torch.where(sent, error, 0.0).sum(1) / side.head


def payload_of(symbols: torch.Tensor, side: Side, k: int) -> torch.Tensor:
    """The k symbols ``(B, k)`` after each frame's header, zero where there are no more. Differentiable."""
    assert side.head is not None
    starts = side.head.tolist()
    if len(set(starts)) == 1:
        payload = symbols[:, starts[0] : starts[0] + k]
        missing = k - payload.shape[1]
        return torch.cat([payload, payload.new_zeros(len(payload), missing)], dim=1) if missing else payload
    rows = [symbols[row, start : start + k] for row, start in enumerate(starts)]
    return torch.stack([torch.cat([row, row.new_zeros(k - len(row))]) for row in rows])
