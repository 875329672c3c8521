"""``jpeg-ldpc``, ``webp-ldpc``, ``bpg-ldpc``: source coding, LDPC coding, QAM; real from the first bit to the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..codec import Conditions, Fading, Received, Side
from ..crc import crc
from ..errors import UsageError
from . import bler
from ._base import SeparateCodec
from .adaptation import Option, best_option, largest_option
from .mcs import MCS, BlockPlan, plan_blocks
from .source import SourceCodec

CRC = "24A"
CRC_BITS = 24
BLOCKS_AT_ONCE = 128
BLIND_SNR_DB = 0.0
"""What a transmitter that knows no SNR reckons with: the lowest that headers and learned codecs are made for."""


@dataclass(frozen=True)
class Group:
    """Images that share their blocks: row numbers of the batch, and how their symbols are used."""

    rows: range
    mcs: MCS
    plan: BlockPlan

    @property
    def share(self) -> int:
        """Information bits of each image."""
        return self.plan.information // len(self.rows)


class LDPCCodec(SeparateCodec):
    """A file, a CRC, LDPC blocks, Gray QAM.

    ::

        image --[source codec: best file that fits]--[CRC-24A]--[scrambler]--[LDPC blocks]--[QAM]--power--> symbols

    Per picture: the file, zero bytes up to its budget, a CRC-24A of all that (TS 38.212, section 5.1), the scrambler of IEEE
    802.11, full LDPC blocks and one shorter block (`openjscc.digital.mcs.plan_blocks`), symbols. All of it is counted,
    padding too. An image is lost (``ok`` False) if one of its blocks has an unsatisfied parity check, if the CRC does not
    fit, or if no file was small enough.

    The scheme is fixed, or chosen from a set for the image, the number of blocks, the average SNR and the law of the fading
    that the transmitter knows, by the stored block error rates: the one of highest rate whose frames are lost seldom enough, or
    the one of highest expected PSNR (`openjscc.digital.adaptation`). It goes into the header. A transmitter that knows no SNR
    reckons with `BLIND_SNR_DB`.

    The receiver knows the gain and the noise variance. It does not know the factor by which a frame's power was normalised
    (within one per cent of 1 for all but small images) and takes it as 1.
    """

    def __init__(
        self,
        name: str,
        source: SourceCodec,
        schemes: Sequence[MCS],
        *,
        target: float | None = None,
        pack: int = 1,
        demapper: str = "exact",
        iterations: int = 0,
    ) -> None:
        """
        Args:
            name: the spec that makes this system again.
            source: the source codec.
            schemes: what link adaptation chooses from; one: fixed.
            target: share of frames that may be lost, of which link adaptation makes the most; None, and where a whole frame
                meets one fade: the highest expected PSNR.
            pack: so many neighbouring images of a batch share their blocks (and a block's loss).
            demapper: one of `openjscc.digital.modulation.DEMAPPERS`.
            iterations: of the LDPC decoder at most, in one attempt; 0: `BlockCode.decode_thoroughly`.
        """
        super().__init__(name, source, rates=len(schemes))
        self.schemes = tuple(schemes)
        self.target = target
        self.pack = pack
        self.demapper = demapper
        self.iterations = iterations

    def _send(
        self, pictures: list[np.ndarray], payload: list[int], snr_db: list[float] | None, conditions: Conditions
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        symbols = torch.zeros(len(pictures), max(payload), dtype=torch.complex64)
        rate = torch.zeros(len(pictures), dtype=torch.int64)
        groups, words = [], []
        for rows in self._rows(len(pictures)):
            uses = self._shared_uses(payload, rows)
            known = None if snr_db is None else min(snr_db[row] for row in rows)
            index, group = self._choose([pictures[row] for row in rows], rows, uses, known, conditions)
            groups.append(group)
            rate[rows.start : rows.stop] = index
            words.append(self._information([pictures[row] for row in rows], group))
        for group, coded in zip(groups, encode_blocks(groups, words), strict=True):
            scheme = group.mcs.scheme
            filler = scrambling(group.plan.padding * scheme.bits_per_symbol)
            mapped = scheme.map(np.concatenate([*coded, filler]))
            uses = payload[group.rows.start]
            symbols[group.rows.start : group.rows.stop, :uses] = mapped.reshape(len(group.rows), uses)
        return symbols, rate, None

    def _receive(self, received: Received, side: Side, heard: list[bool]) -> list[bytes | None]:
        assert side.rate is not None
        assert side.uses is not None
        assert side.head is not None
        heads, rates = side.head.tolist(), side.rate.tolist()
        payload = (side.uses - side.head).tolist()
        files: list[bytes | None] = [None] * len(payload)
        groups, llrs = [], []
        for rows in self._rows(len(payload)):
            known = [row for row in rows if heard[row]]
            if not known:
                continue
            # Images that share blocks share scheme and uses: one header that was read serves its neighbours' symbols.
            mcs, uses, head = self.schemes[rates[known[0]]], payload[known[0]], heads[known[0]]
            groups.append(Group(rows, mcs, plan_blocks(mcs, uses * len(rows))))
            llrs.append(torch.cat([demap(received, row, head, uses, mcs, self.demapper) for row in rows]))
        for group, (bits, good) in zip(groups, decode_blocks(groups, llrs, self.iterations, alone=self.pack == 1), strict=True):
            bits = bits ^ scrambling(len(bits))
            for place, row in enumerate(group.rows):
                start, stop = place * group.share, (place + 1) * group.share
                word = bits[start:stop]
                if len(word) < CRC_BITS + 8 or not good[start:stop].all():
                    continue
                content = (len(word) - CRC_BITS) // 8 * 8
                data, check = word[:content], word[content : content + CRC_BITS]
                if np.array_equal(crc(data[None], CRC)[0], check):
                    files[row] = np.packbits(data).tobytes()
        return files

    def _rows(self, batch: int) -> list[range]:
        return [range(start, min(start + self.pack, batch)) for start in range(0, batch, self.pack)]

    @staticmethod
    def _shared_uses(payload: list[int], rows: range) -> int:
        uses = {payload[row] for row in rows}
        if len(uses) > 1:
            raise UsageError(f"pictures of {sorted(uses)} channel uses in one block", "give all pictures one ratio, or pack=1")
        return uses.pop()

    def _choose(
        self, pictures: list[np.ndarray], rows: range, uses: int, snr_db: float | None, conditions: Conditions
    ) -> tuple[int, Group]:
        index = 0
        if len(self.schemes) > 1:
            known = BLIND_SNR_DB if snr_db is None else snr_db
            options, fading = _options(self.schemes, uses, len(rows), known, conditions.fading), conditions.fading
            if self.target is None or (fading is not None and not fading.per_symbol):
                index = best_option(options, self.control, pictures).index
            else:
                index = largest_option(options, self.target, self.control, pictures).index
        return index, Group(rows, self.schemes[index], plan_blocks(self.schemes[index], uses * len(rows)))

    def _information(self, pictures: list[np.ndarray], group: Group) -> np.ndarray:
        """Scrambled information bits of all blocks of a group, uint8 ``(group.plan.information,)``."""
        bits = np.zeros(group.plan.information, dtype=np.uint8)
        budget = budget_bytes(group.share)
        for place, picture in enumerate(pictures):
            fitted = self.control.fit(picture, budget) if budget > 0 else None
            data = np.zeros(max(budget, 0), dtype=np.uint8)  # nothing fits: zeros, which are no file
            if fitted is not None:
                data[: len(fitted.data)] = np.frombuffer(fitted.data, dtype=np.uint8)
            word = np.unpackbits(data)
            start = place * group.share
            if budget > 0:
                bits[start : start + len(word) + CRC_BITS] = np.concatenate([word, crc(word[None], CRC)[0]])
        return bits ^ scrambling(len(bits))


def demap(received: Received, row: int, head: int, uses: int, mcs: MCS, demapper: str) -> torch.Tensor:
    """LLRs of one image's payload, float32 ``(uses * bits_per_symbol,)``."""
    sent = slice(head, head + uses)
    noise_var = received.noise_var[row, sent] if received.noise_var.ndim == 2 else received.noise_var[row]
    gain = None
    if received.gain is not None:
        gain = received.gain[row, sent] if received.gain.shape[1] > 1 else received.gain[row]
    return mcs.scheme.llr(received.symbols[row, sent], noise_var, gain, demapper)


def encode_blocks(groups: Sequence[Group], words: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Coded bits of every block of every group; blocks of one code are encoded together."""
    coded = [[np.zeros(0, np.uint8)] * len(group.plan.lengths) for group in groups]
    for (mcs, n), places in _by_code(groups).items():
        code = mcs.code(n)
        blocks = np.stack([words[number][start : start + code.k] for number, _, start, _ in places])
        for (number, block, _, _), row in zip(places, code.encode(blocks), strict=True):
            coded[number][block] = row
    return coded


def decode_blocks(
    groups: Sequence[Group], llrs: Sequence[torch.Tensor], iterations: int = 0, *, alone: bool = True
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Information bits of every group, and for each of them whether its block arrived; blocks of one code together."""
    results = [(np.zeros(group.plan.information, np.uint8), np.zeros(group.plan.information, dtype=bool)) for group in groups]
    lost: set[int] = set()
    for (mcs, n), places in _by_code(groups).items():
        code = mcs.code(n)
        left = places
        while left:  # the rest of an image is not decoded once one of its blocks is lost
            now, left = left[:BLOCKS_AT_ONCE], left[BLOCKS_AT_ONCE:]
            values = torch.stack([llrs[number][start : start + n] for number, _, _, start in now])
            found = code.decode(values, iterations) if iterations else code.decode_thoroughly(values)
            bits, ok = (part.cpu().numpy() for part in found)
            for (number, _, start, _), row, good in zip(now, bits, ok, strict=True):
                results[number][0][start : start + code.k] = row
                results[number][1][start : start + code.k] = good
                if not good and alone:
                    lost.add(number)
            left = [place for place in left if place[0] not in lost]
    return results


@lru_cache(maxsize=256)
def _options(schemes: tuple[MCS, ...], uses: int, pictures: int, snr_db: float, fading: Fading | None) -> tuple[Option, ...]:
    """What link adaptation chooses from, the same for all images of a point: ``pictures`` share a frame of ``uses`` each."""
    found = []
    for index, mcs in enumerate(schemes):
        group = Group(range(pictures), mcs, plan_blocks(mcs, uses * pictures))
        success = bler.table().success(mcs, group.plan.lengths, snr_db, fading)
        found.append(Option(index, budget_bytes(group.share), success))
    return tuple(found)


def _by_code(groups: Sequence[Group]) -> dict[tuple[MCS, int], list[tuple[int, int, int, int]]]:
    """For each code all its blocks: (group, number in the group, first information bit, first coded bit)."""
    places: dict[tuple[MCS, int], list[tuple[int, int, int, int]]] = defaultdict(list)
    for number, group in enumerate(groups):
        information = coded = 0
        for block, n in enumerate(group.plan.lengths):
            places[group.mcs, n].append((number, block, information, coded))
            information += int(n * group.mcs.rate)
            coded += n
    return places


def budget_bytes(information: int) -> int:
    """Bytes that a file may have where ``information`` bits carry it and its CRC; 0 or less: none."""
    return (information - CRC_BITS) // 8


def scrambling(count: int) -> np.ndarray:
    """The first ``count`` bits of the scrambler x^7 + x^4 + 1 of IEEE Std 802.11-2016, 17.3.5.5, started with ones; uint8."""
    return np.resize(_SCRAMBLING, count)


def _scrambling_period() -> np.ndarray:
    state, bits = [1] * 7, []
    for _ in range(127):
        bit = state[6] ^ state[3]
        bits.append(bit)
        state = [bit, *state[:6]]
    return np.array(bits, dtype=np.uint8)


_SCRAMBLING = _scrambling_period()
