"""The frame header: what it says, how it is coded, and how a receiver reads it (rule C4 of docs/conventions.md).

A header is a row of bits with a CRC, coded by a polar code and sent as QPSK symbols at the front of the frame::

    full:  [version 2][identity 16][H-1, W-1][rate 6][task 2][scale 10, or uses][CRC 16] --polar code--> QPSK
    short: [rate and task] or [rate and task][scale] --block code--> 20 or 30 QPSK symbols

There are four full layouts (`LAYOUTS`): sides up to 1024 pixels or larger, and a codec's scale or a digital link's channel uses
as the last field. The short header is for images of an agreed size, sent with an agreed codec. A transmitter that knows an SNR
below 0 dB, or that the channel fades, sends a full header four times. The receiver tries these forms in turn, and the CRC
decides.

Nothing of the header is known to the receiver beforehand but the codec's own format (`HeaderFormat`). `HeaderFormat.read` makes
`openjscc.codec.Side` from received symbols; `listen` reads full headers of any codec.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .codec import Conditions, Frame, Received, Side
from .crc import crc
from .errors import UsageError
from .polar import PolarCode
from .power import sent_mask

VERSION = 1
VERSION_BITS, IDENTITY_BITS, RATE_BITS, TASK_BITS, CRC_BITS = 2, 16, 6, 2, 16
SCALE_BITS = 10
SCALE_LOWEST_DB = -40.0
SCALE_STEP_DB = 1 / 16
MAX_SIDE = 2**16

REPEATS = 4
"""How often a full header is sent where the transmitter knows an SNR below `REPEAT_BELOW_DB`, or that the channel fades: there
the payload of a learned codec degrades where a header that is sent once is lost."""
REPEAT_BELOW_DB = 0.0
MASKS = {1: 0x3C96, REPEATS: 0x5A5A}
"""Added to the CRC: silence is no header, and the first of several repetitions is none that is sent once."""


@dataclass(frozen=True)
class Layout:
    """One of the forms of a full header.

    Attributes:
        side_bits: of H - 1 and of W - 1 each.
        value_bits: of the last field.
        counts_uses: the last field is the frame's channel uses; else the scale of the symbols.
        code: the polar code.
    """

    side_bits: int
    value_bits: int
    counts_uses: bool
    code: PolarCode

    @property
    def uses(self) -> int:
        """Channel uses of the header, sent once."""
        return self.code.n // 2


# Information bits chosen by density evolution in the Gaussian approximation at 0 dB; tests/unit/test_polar.py does it again.
LAYOUTS = (
    Layout(10, 10, False, PolarCode(248, "0000000000000001000000010001037f000000030007177f011717ff177fffff")),
    Layout(16, 10, False, PolarCode(
        288,
        "0000000000000000000000000000000100000000000000010000000100151557"
        "0000000000000005000001150115155700010115015555570555555755575557",
    )),
    Layout(10, 25, True, PolarCode(
        296,
        "0000000000000000000000000000000100000000000000010000000100151557"
        "0000000000000005000101150115155700010115015555571555555755575757",
    )),
    Layout(16, 38, True, PolarCode(
        376,
        "0000000000000000000000000000000100000000000000010000001101171777"
        "0000000000000117000101170117177700010117013777770557777777777777",
    )),
)  # fmt: skip


@dataclass(frozen=True)
class ShortCode:
    """The code of a short header: a linear block code whose every word is compared with what was received.

    Attributes:
        bits: information bits.
        words: all codewords, uint8 ``(2^bits, n)``.
        scale_bits: of them, at the end, for the scale of the symbols.
        fit: correlation with the likeliest word, as a share of the sum of all magnitudes, below which there is no short header.
    """

    bits: int
    words: np.ndarray
    scale_bits: int
    fit: float

    @property
    def uses(self) -> int:
        """Channel uses."""
        return self.words.shape[1] // 2

    @property
    def choices(self) -> int:
        """Pairs of rate and task that it can tell apart."""
        return 2 ** (self.bits - self.scale_bits)


def _linear(columns: Sequence[int], bits: int) -> np.ndarray:
    """Codewords of a generator matrix whose columns are numbers of so many bits."""
    return np.array([[(word & column).bit_count() & 1 for column in columns] for word in range(2**bits)], dtype=np.uint8)


def _cyclic(generator: int, bits: int) -> np.ndarray:
    """Codewords of a shortened cyclic code: all multiples of a generator polynomial."""
    length = bits + generator.bit_length() - 1
    rows = np.array([[generator << shift >> place & 1 for place in reversed(range(length))] for shift in range(bits)])
    numbers = np.arange(2**bits)[:, None] >> np.arange(bits) & 1
    return (numbers @ rows % 2).astype(np.uint8)


PLAIN = ShortCode(
    6,
    _linear(
        (
            1, 2, 4, 7, 8, 9, 11, 12, 13, 14, 15, 16, 19, 21, 22, 25, 26, 28, 31, 32,
            33, 35, 37, 38, 41, 42, 43, 44, 47, 49, 50, 51, 52, 53, 54, 55, 56, 59, 61, 62,
        ),
        6,
    ),
    0,
    0.5,
)  # fmt: skip
"""(40, 6), least distance 18: found by a search that minimised the union bound at 0 dB. For codecs without a scale."""

SCALED = ShortCode(12, _cyclic(0x156B51C674D7D, 12), 9, 0.55)
"""(60, 12), least distance 24: the even words of the BCH code of length 63 with designed distance 23, shortened by 3."""

SHORT_POSTERIOR = 0.8
"""A short header whose likeliest value has a smaller posterior probability is lost (an erasure)."""
SHORT_SURE = 0.8
"""Share of the magnitudes, as `ShortCode.fit`, from which no full header is looked for."""


def index_bits(count: int) -> int:
    """Bits that tell ``count`` possibilities apart (0 for one)."""
    return math.ceil(math.log2(count)) if count > 1 else 0


def scale_index(scale: torch.Tensor) -> torch.Tensor:
    """The header's number for a positive scale ``(B,)``: int64, steps of 1/16 dB from -40 dB, 1024 of them."""
    steps = (20 * torch.log10(scale.clamp(min=1e-9)) - SCALE_LOWEST_DB) / SCALE_STEP_DB
    return steps.round().clamp(0, 2**SCALE_BITS - 1).long()


def scale_of(index: torch.Tensor) -> torch.Tensor:
    """The scale float32 ``(B,)`` that a header's number stands for."""
    return (10 ** ((SCALE_LOWEST_DB + SCALE_STEP_DB * index.double()) / 20)).float()


def quantize_scale(scale: torch.Tensor, coarse: bool = False) -> torch.Tensor:
    """The scale ``(B,)`` that the receiver reads from the header; the gradient is that of the unrounded one.

    Short headers are ``coarse``: they have every other step.
    """
    index = scale_index(scale.detach())
    read = scale_of(index // 2 * 2 if coarse else index)
    return scale + (read.to(scale.dtype) - scale).detach()


def identity_of(text: str) -> int:
    """The 16 bits by which a header names a system: the start of the SHA-256 of what tells it from others."""
    return int(hashlib.sha256(text.encode()).hexdigest()[: IDENTITY_BITS // 4], 16)


@dataclass(frozen=True)
class Fields:
    """What one header says. ``value`` is the last field, ``head`` the header's channel uses. ``fit``: the correlation of what was
    received with the header's symbols, as a share of the sum of all magnitudes; 0.86 in the mean at 0 dB, 1 without noise. What
    passes the CRC by chance (about one frame of noise in a thousand) has about 0.7."""

    version: int
    identity: int
    height: int
    width: int
    rate: int
    task: int
    value: int
    counts_uses: bool
    head: int
    fit: float = 1.0


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
            return _qpsk(self.short.words[number.numpy()])
        layout = self._layout(side.height, side.width)
        if layout.counts_uses:
            assert side.uses is not None
            value = side.uses.cpu()
        elif self.scale and side.scale is not None:
            value = scale_index(side.scale.detach()).cpu()
        else:
            value = torch.zeros(batch, dtype=torch.int64)
        widths = _widths(layout)
        fields = (VERSION, self.identity, side.height - 1, side.width - 1, rate, task, value)
        bits = np.concatenate(
            [_to_bits(torch.as_tensor(field).expand(batch).numpy(), width) for field, width in zip(fields, widths, strict=True)],
            axis=1,
        )
        most = int(head.max()) // layout.uses
        rows = []
        for row, uses in enumerate(head.tolist()):
            repeats = uses // layout.uses
            check = crc(bits[row : row + 1], "16") ^ _to_bits(np.array([MASKS[repeats]]), CRC_BITS)
            coded = layout.code.encode(np.concatenate([bits[row : row + 1], check], axis=1))[0]
            rows.append(np.tile(coded, most))
        return _qpsk(np.stack(rows))

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
            wanted = _to_bits(np.array([mask]), CRC_BITS)[0]

            def passes(paths: np.ndarray, wanted: np.ndarray = wanted) -> np.ndarray:
                content = np.ascontiguousarray(paths[..., :-CRC_BITS]).reshape(-1, paths.shape[-1] - CRC_BITS)
                check = crc(content, "16").reshape(*paths.shape[:-1], CRC_BITS) ^ wanted
                return (check == paths[..., -CRC_BITS:]).all(axis=-1)

            bits, passed = layout.code.decode(folded, passes)
            reached = (folded * (1.0 - 2.0 * layout.code.encode(bits))).sum(axis=1)
            fit = reached / np.maximum(np.abs(folded).sum(axis=1), 1e-30)
            for number in np.flatnonzero(passed).tolist():
                found[left[number]] = _fields(layout, bits[number], layout.uses * repeats, float(fit[number]))
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


def _fields(layout: Layout, word: np.ndarray, head: int, fit: float) -> Fields:
    values, start = [], 0
    for width in _widths(layout):
        values.append(int("".join(map(str, word[start : start + width])), 2))
        start += width
    version, identity, height, width, rate, task, value = values
    return Fields(version, identity, height + 1, width + 1, rate, task, value, layout.counts_uses, head, fit)


def _widths(layout: Layout) -> tuple[int, ...]:
    return VERSION_BITS, IDENTITY_BITS, layout.side_bits, layout.side_bits, RATE_BITS, TASK_BITS, layout.value_bits


def _to_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Numbers ``(B,)`` as bits uint8 ``(B, width)``, most significant first."""
    return (values.astype(np.int64)[:, None] >> np.arange(width - 1, -1, -1) & 1).astype(np.uint8)


def _qpsk(bits: np.ndarray) -> torch.Tensor:
    """Bits ``(B, 2k)`` to unit-energy QPSK symbols complex64 ``(B, k)``."""
    level = torch.from_numpy((1.0 - 2.0 * bits.astype(np.float32)) / math.sqrt(2.0))
    return torch.view_as_complex(level.unflatten(1, (-1, 2)).contiguous())
