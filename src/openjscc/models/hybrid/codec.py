"""Hybrid digital-analog transmission: a small file, and what it leaves as analog symbols."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from ...codec import LOST_GREY, Conditions, Frame, Received, Reconstruction, Side, check_image
from ...digital import bler
from ...digital._base import asked_uses
from ...digital.ldpc import budget_bytes
from ...digital.mcs import MCS, MCS_SETS, plan_blocks
from ...digital.source import RateControl, source_codec
from ...errors import IntegrityError, UsageError
from ...header import HeaderFormat, identity_of
from ...power import normalize_power
from .._base import Arrived, CodecConfig, LearnedCodec, PolicyDraw, TrainingOutput
from .._registry import register
from . import base as base_layer
from . import classes
from .base import NO_BASE, Base
from .network import PLANES, TOLD, Restorer, network_inputs
from .residual import BLOCK, COEFFICIENTS, Plan, base_levels, expected_error, plan, transform
from .symbols import WORDS_USES, digital_symbols, digital_uses, equalized, least_share, read_digital, read_share, share_symbols

SCHEMES: tuple[MCS, ...] = MCS_SETS["nr"]
BLIND_SNR_DB, BLIND_DESIGN_DB = 2.0, 10.0
"""What a transmitter that knows no SNR makes the base and the analog layer for."""
TARGET = 0.01
"""Share of bases that may be lost at the SNR told less the margin."""
SHARE_SNRS = (1.0, 4.0, 7.0, 10.0, 13.0, 19.0)
SHARES: dict[float, tuple[tuple[float, ...], ...]] = {
    1 / 48: ((1.0,),) * 6,
    1 / 24: ((0.8,), (1.0,), (1.0,), (1.0,), (1.0,), (1.0,)),
    1 / 16: ((0.8,), (0.6, 1.0), (1.0,), (1.0,), (1.0,), (1.0,)),
    1 / 12: ((0.8,), (0.6, 1.0), (0.4, 1.0), (0.3, 1.0), (1.0,), (1.0,)),
    1 / 6: ((0.65,), (0.5,), (0.4, 1.0), (0.3, 1.0), (0.2, 1.0), (0.2, 1.0)),
}
"""Shares of the channel uses that the base may take, by bandwidth ratio and SNR: the best for training photos, without the
network. Where the best depends on the image, the one of least expected error is taken. In between, the nearest ratio and SNR
hold: the best share jumps."""
BLIND_SHARE = 0.5
FADING_LEAST_DB, FADING_SLOPE_DB = 20.0, 2.5
"""By so much is an image that arrives better than none at one bit a channel use, and by so much more at two."""
FIXED_BYTES = 3
GAIN_STEP_DB, GAIN_LOWEST_DB = 0.125, -16.0
DESIGN_STEP_DB, DESIGN_LOWEST_DB = 0.25, -16.0
UNMAPPED_FROM_QP, UNMAPPED_FROM_SHARE = 40, 0.8
"""From this QP of the base or this share on, and for bases of half the size, the classes of blocks take more than they give."""
NO_BASE_SHARE, HALF_SHARE, MISTOLD_SHARE = 0.03, 0.12, 0.3
"""In training, how often there is no base, or one of half the size, and how often the transmitter is told another SNR."""


@dataclass(frozen=True)
class HybridConfig(CodecConfig):
    """What a hybrid codec is made of. Its rates (CBR 1/48 to 1/6) are examples: it serves any ratio.

    Attributes:
        width: channels of the network at 1/2 and 1/4 of the image's size.
        blocks: residual blocks before, at and after the lower scale.
    """

    rates: tuple[int, ...] = (32, 64, 96, 128, 256)
    snr_range: tuple[float, float] = (-5.0, 25.0)
    width: tuple[int, int] = (32, 96)
    blocks: tuple[int, int, int] = (2, 5, 2)


@dataclass(frozen=True)
class Layers:
    """An image as it is sent.

    Attributes:
        base: the digital layer.
        plan: of the analog layer.
        symbols: real, of mean square ``1 / gain^2``.
        gain_index, design_index: numbers of the factor of the symbols, and of the SNR that they are made for.
        error: expected mean squared error per coefficient at that SNR, without the network.
    """

    base: Base
    plan: Plan
    symbols: np.ndarray
    gain_index: int
    design_index: int
    error: float


class Classified(NamedTuple):
    """The residual, and what the transmitter knows of it.

    Attributes:
        coefficients, levels: ``(blocks, COEFFICIENTS)``, as `openjscc.models.hybrid.residual` has them.
        labels: class of each block, ``(blocks,)``.
        map: these as bytes; None where the receiver takes the usual ones.
    """

    coefficients: np.ndarray
    levels: np.ndarray
    labels: np.ndarray
    map: bytes | None


@register("hybrid", default_tag="photo", configs={"photo": HybridConfig()})
class Hybrid(LearnedCodec):
    """Hybrid digital-analog (HDA) transmission with a network at the receiver.

    U. Mittal, N. Phamdo: Hybrid digital-analog (HDA) joint source-channel codes for broadcasting and robust communications, IEEE
    Trans. Information Theory 48(5), 2002. The layers, tables and network are our own.

    ::

        image --+--[BPG]--[CRC, LDPC, QAM]-----------------------------> digital symbols --+
                |    |                                                                     +--> frame
                |    v base                                                                |
                +---(-)---[16x16 DCT]--[choose and scale by class]-----> analog symbols ---+

        receiver: base + linear MMSE estimate of the rest --[network]--> image

    A frame is the header, two short words (which share is digital), the digital symbols, the analog symbols. The digital part
    carries the base's file, the class of each block, and what the analog layer is scaled by. A base that is lost is a lost image.
    The transmitter has no network.
    """

    arch: ClassVar[str] = "hybrid"
    OPTIONS: ClassVar = {
        "margin": "SNR in dB by which the base is safer than told; default 1",
        "net": "full (default) or none: the linear estimate",
        "share": "of the channel uses that are digital; default: by ratio and SNR",
    }
    config: HybridConfig
    any_ratio = True
    uses_gain = True
    stride = BLOCK
    schemes = SCHEMES

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.header = HeaderFormat(identity_of(f"{self.arch} {config}"), None, len(SCHEMES), counts_uses=True)
        self.network = Restorer(config.width, config.blocks)
        self.margin, self.net = 1.0, "full"
        self.share: float | None = None

    @property
    def control(self) -> RateControl:
        """Fits files to budgets; shared by all of this process."""
        return _control()

    @property
    def tool(self) -> str:
        """The source coder and its version."""
        return self.control.codec.version

    def set_option(self, key: str, value: str) -> None:
        if key == "net":
            if value not in ("full", "none"):
                raise UsageError(f"option net={value}", "use full or none")
            self.net = value
            return
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        low, high = (-10.0, 30.0) if key == "margin" else (0.0, 1.0)
        if not low <= number <= high:
            raise UsageError(f"option {key}={value}", f"a number from {low:g} to {high:g}")
        setattr(self, key, number)

    def rate_index(self, ratio: float | torch.Tensor | None, batch: int, device: torch.device) -> torch.Tensor:
        asked_uses(self, Conditions(ratio=ratio), 32, 32, [0] * batch)
        return torch.zeros(batch, dtype=torch.int64, device=device)

    def analyse(self, x: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """The image itself: the transmitter has no network."""
        return x

    def synthesise(self, latent: torch.Tensor, snr_db: torch.Tensor, rate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """What the network makes of a base without an analog layer."""
        batch, _, height, width = latent.shape
        errors = latent.new_zeros(batch, PLANES, height // BLOCK, width // BLOCK)
        return self.network(latent, latent, errors, latent.new_zeros(batch, TOLD))

    # Transmitter

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        """Images ``(B, 3, H, W)`` to frames of the channel uses that the conditions give."""
        check_image(x)
        batch, _, height, width = x.shape
        head = self.header.lengths(height, width, conditions, batch).tolist()
        uses = asked_uses(self, conditions, height, width, head)
        told = [None] * batch if conditions.snr_db is None else conditions.snr_db.detach().double().cpu().expand(batch).tolist()
        pictures = (x.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        repeats = [count // self.header.uses(height, width) for count in head]
        rows = [
            self._payload(base_layer.padded(picture), count, snr, times, conditions)
            for picture, count, snr, times in zip(pictures, uses, told, repeats, strict=True)
        ]
        symbols = torch.zeros(batch, max(uses), dtype=torch.complex64)
        for place, (row, _) in enumerate(rows):
            symbols[place, : len(row)] = row
        length = torch.tensor(uses)
        side = Side(height, width, rate=torch.tensor([index for _, index in rows]).to(x.device))
        payload = normalize_power(symbols, length)
        return self.header.frame(payload.to(x.device), length.to(x.device), side, conditions)

    def _payload(
        self, picture: np.ndarray, uses: int, snr_db: float | None, repeats: int, conditions: Conditions
    ) -> tuple[torch.Tensor, int]:
        """Symbols of one image, and the number of the base's scheme."""
        words = WORDS_USES * repeats
        left = uses - words
        if left <= 0:
            return torch.ones(uses, dtype=torch.complex64), 0
        design = BLIND_DESIGN_DB if snr_db is None else snr_db
        index = self._choose(left, snr_db, conditions)
        shares = self._shares(uses / picture.size, None if conditions.fades else snr_db)
        packed = [self._packed(picture, SCHEMES[index], left, share, design) for share in shares]
        found = min((one for one in packed if one is not None), key=lambda one: one[1].error, default=None)
        if found is None:
            return torch.ones(uses, dtype=torch.complex64), index
        number, layers, class_map = found
        digital, base = digital_uses(number, left), layers.base
        kind = base.qp | (class_map is not None) << 6 | base.half << 7
        content = bytes([kind, layers.gain_index, layers.design_index]) + base.data + (class_map or b"")
        front = share_symbols(number).repeat(repeats)
        analog = torch.zeros(2 * (left - digital))
        analog[: len(layers.symbols)] = torch.from_numpy(layers.symbols) * (_gain(layers.gain_index) / math.sqrt(2))
        return torch.cat(
            [front, digital_symbols(SCHEMES[index], digital, content), torch.view_as_complex(analog.view(-1, 2))]
        ), index

    def _packed(
        self, picture: np.ndarray, scheme: MCS, uses: int, share: float, design_snr_db: float
    ) -> tuple[int, Layers, bytes | None] | None:
        """An image with a base of about that share of so many channel uses: share in 2^-12, layers, class map.

        None where not even the smallest base and its map fit.
        """
        beside = FIXED_BYTES
        for _ in range(3):  # the class map comes on top, and need not fit
            base = self._base(picture, scheme, uses, beside, share)
            residual = self._classified(picture, base, mapped=share < UNMAPPED_FROM_SHARE)
            size = FIXED_BYTES + len(residual.map or b"")
            number = least_share(scheme, uses, size + len(base.data))
            if number is not None:
                count = 2 * (uses - digital_uses(number, uses))
                return number, self._layers(base, residual, count, design_snr_db), residual.map
            beside += size
        return None

    def _choose(self, uses: int, snr_db: float | None, conditions: Conditions) -> int:
        """The base's scheme.

        The one of highest rate whose base is lost seldom enough at the SNR told less the margin. Where a whole frame meets one
        fade, none is: then the one of highest expected PSNR, which grows by about `FADING_SLOPE_DB` where the rate doubles.
        """
        fading = conditions.fading
        blind = snr_db is None or (conditions.fades and fading is None)
        safe = BLIND_SNR_DB if blind or snr_db is None else snr_db - self.margin
        best, highest = 0, -math.inf
        for index, scheme in enumerate(SCHEMES):
            lengths = plan_blocks(scheme, max(uses // 2, 1)).lengths
            success = bler.table().success(scheme, lengths, safe, fading)
            if fading is not None and not fading.per_symbol:
                value = success * (FADING_LEAST_DB + FADING_SLOPE_DB * math.log2(scheme.efficiency))
            else:
                value = scheme.efficiency if success >= 1 - TARGET else -1.0
            if value > highest:
                best, highest = index, value
        return best

    def _shares(self, ratio: float, snr_db: float | None) -> tuple[float, ...]:
        """Shares of the channel uses that the base may take, to be tried."""
        if self.share is not None:
            return (self.share,)
        if snr_db is None:
            return (BLIND_SHARE,)
        nearest = min(SHARES, key=lambda known: abs(math.log(known / ratio)))
        return SHARES[nearest][min(range(len(SHARE_SNRS)), key=lambda place: abs(SHARE_SNRS[place] - snr_db))]

    def _base(self, picture: np.ndarray, scheme: MCS, uses: int, beside: int, share: float) -> Base:
        """The base that fits into its share of the channel uses beside so many bytes, else one that fits into all of them."""
        base = base_layer.nothing(*picture.shape[:2])
        for part in (share, 1.0) if self.share is None else (share,):
            budget = budget_bytes(plan_blocks(scheme, math.floor(part * uses)).information) - beside
            if base.qp == NO_BASE and budget > 0:
                base = base_layer.fit(self.control, picture, budget)
        return base

    def _classified(self, picture: np.ndarray, base: Base, *, mapped: bool = True) -> Classified:
        coefficients, levels = transform(picture.astype(np.float32) - base.image), _levels(base)
        tables = _tables(base)
        bins = classes.bins_of(levels)
        if base.qp != NO_BASE and not (mapped and base.qp < UNMAPPED_FROM_QP and not base.half):
            return Classified(coefficients, levels, tables.usual[bins], None)
        labels = classes.classify(tables, coefficients, levels)
        return Classified(coefficients, levels, labels, classes.encode_map(labels, bins, picture.shape[1] // BLOCK, tables.seen))

    def _layers(self, base: Base, residual: Classified, count: int, design_snr_db: float) -> Layers:
        design = round(min(max((design_snr_db - DESIGN_LOWEST_DB) / DESIGN_STEP_DB, 0), 255))
        scheme = self._plan(base, residual.levels, residual.labels, count, design)
        symbols = residual.coefficients.ravel()[scheme.chosen] * scheme.amplitude
        power = float(np.mean(symbols.astype(np.float64) ** 2)) * len(symbols) / max(count, 1) if len(symbols) else 1.0
        gain = round(min(max((-10 * math.log10(max(power, 1e-9)) - GAIN_LOWEST_DB) / GAIN_STEP_DB, 0), 255))
        error = expected_error(scheme, residual.coefficients.ravel(), 10 ** (-design_snr_db / 10) / _gain(gain) ** 2)
        return Layers(base, scheme, symbols, gain, design, error)

    def _plan(self, base: Base, levels: np.ndarray, labels: np.ndarray, count: int, design_index: int) -> Plan:
        sizes = classes.expected_sizes(_tables(base), labels, levels)
        return plan(sizes, count, DESIGN_LOWEST_DB + DESIGN_STEP_DB * design_index)

    # Receiver

    def decode(self, received: Received) -> Reconstruction:
        """Received symbols to images; a lost base is a lost image."""
        side, ok = self.header.read(received)
        if side is None or side.uses is None:
            return Reconstruction(ok=ok)
        ok = ok & (side.uses <= received.symbols.shape[1])
        return self._decoded(received, side, ok)

    def decode_payload(self, received: Received, side: Side) -> Reconstruction:
        return self._decoded(received, side, torch.ones(len(received.symbols), dtype=torch.bool))

    def _decoded(self, received: Received, side: Side, ok: torch.Tensor) -> Reconstruction:
        image, device, ok = None, received.symbols.device, ok.clone()
        for row in range(len(ok)):
            arrived = self._arrived(received, side, row) if ok[row] else None
            if arrived is None:
                ok[row] = False
                continue
            if image is None:
                image = torch.full((len(ok), 3, side.height, side.width), LOST_GREY)
            image[row] = self._restored(*arrived)[0, :, : side.height, : side.width].clamp(0, 1)
        return Reconstruction(image=None if image is None else image.to(device), ok=ok)

    def _arrived(self, received: Received, side: Side, row: int) -> tuple[torch.Tensor, ...] | None:
        """What the network is given of one image; None where the base is lost."""
        assert side.head is not None
        assert side.uses is not None
        assert side.rate is not None
        height, width = side.height + -side.height % BLOCK, side.width + -side.width % BLOCK
        head, uses = int(side.head[row]), int(side.uses[row])
        repeats = head // self.header.uses(side.height, side.width)
        start = head + WORDS_USES * repeats
        left = uses - start
        if left <= 0:
            return None
        number = read_share(received, row, head, repeats)
        digital = digital_uses(number, left)
        data = read_digital(received, row, start, digital, SCHEMES[int(side.rate[row])])
        if data is None or len(data) < FIXED_BYTES:
            return None
        try:
            base, size = base_layer.read(self.control, data[FIXED_BYTES:], data[0] & 63, bool(data[0] >> 7), height, width)
        except IntegrityError:
            return None
        levels, tables = _levels(base), _tables(base)
        bins = classes.bins_of(levels)
        if data[0] & 64:
            labels = classes.decode_map(data[FIXED_BYTES + size :], bins, width // BLOCK, tables.seen)
        else:
            labels = tables.usual[bins]
        sizes = self._plan(base, levels, labels, 2 * (left - digital), data[2])
        symbols, noise = equalized(received, row, start + digital, start + digital + len(sizes.chosen) // 2 + 1)
        real = torch.view_as_real(symbols).reshape(-1).double().cpu().numpy() * math.sqrt(2) / _gain(data[1])
        variance = np.repeat(noise.double().cpu().numpy(), 2) / _gain(data[1]) ** 2
        count = len(sizes.chosen)
        return network_inputs(base, sizes, real[:count], variance[:count])

    def _restored(self, *given: torch.Tensor) -> torch.Tensor:
        if self.net == "none":
            return given[1]
        device = next(self.parameters()).device
        return self.network(*(part.to(device) for part in given)).cpu()

    # Training

    def forward_training(
        self, x: torch.Tensor, conditions: Conditions, channel: Callable[[Frame], Received], policy: PolicyDraw | None = None
    ) -> TrainingOutput:
        """One transmission of the analog layer, with gradients to the network; the base arrives.

        QP, size of the base and its share of the channel uses are drawn for each image, from its pixels; the bandwidth ratio
        follows from them, and that of ``conditions`` is not looked at.
        """
        batch, _, height, width = x.shape
        assert conditions.snr_db is not None
        most = self.payload_uses(height, width, len(self.ratios) - 1)
        pictures = (x.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # the source coder takes most of the time
            layers = list(pool.map(self._drawn, pictures, conditions.snr_db.tolist(), [most] * batch))
        length = torch.tensor([max(len(one.symbols) + 1 >> 1, 1) for one in layers])
        symbols = torch.zeros(batch, 2 * int(length.max()))
        for row, one in enumerate(layers):
            symbols[row, : len(one.symbols)] = torch.from_numpy(one.symbols) * (_gain(one.gain_index) / math.sqrt(2))
        payload = torch.view_as_complex(symbols.view(batch, -1, 2)).to(x.device)
        length = length.to(x.device)
        received = channel(Frame(normalize_power(payload, length), length, Side(height, width)))
        given = []
        for row, one in enumerate(layers):
            gain, count = _gain(one.gain_index), len(one.plan.chosen)
            heard, noise = equalized(received, row, 0, int(length[row]))
            real = torch.view_as_real(heard).reshape(-1).double().cpu().numpy() * math.sqrt(2) / gain
            variance = np.repeat(noise.double().cpu().numpy(), 2) / gain**2
            given.append(network_inputs(one.base, one.plan, real[:count], variance[:count]))
        parts = [torch.cat(part).to(x.device) for part in zip(*given, strict=True)]
        image = self.network(*parts)
        arrived = Arrived(parts[1], conditions.snr_db, torch.zeros(batch, dtype=torch.int64), torch.ones(batch, device=x.device))
        return TrainingOutput(Reconstruction(image=image), arrived)

    def _drawn(self, picture: np.ndarray, snr_db: float, most: int) -> Layers:
        """Layers of a training image, of at most so many channel uses."""
        draw = np.random.default_rng([zlib.crc32(picture.tobytes()), zlib.crc32(repr(snr_db).encode())])
        kind, qp, share, offset = draw.random(), int(draw.integers(16, 50)), draw.uniform(0.2, 1.05), draw.uniform(-6, 6)
        if kind < NO_BASE_SHARE:
            base = base_layer.nothing(*picture.shape[:2])
        else:
            base = base_layer.made(self.control.codec, picture, qp, half=kind < NO_BASE_SHARE + HALF_SHARE)
        design = snr_db + (offset if draw.random() < MISTOLD_SHARE else 0)
        digital = 8 * len(base.data) / math.log2(1 + 10 ** ((design - 2 - self.margin) / 10))
        uses = digital * (1 / share - 1) if base.qp != NO_BASE else draw.uniform(0.1, 1) * most
        return self._layers(base, self._classified(picture, base), 2 * int(min(max(uses, 0), most)), design)


def _levels(base: Base) -> np.ndarray:
    if base.qp == NO_BASE:
        return np.zeros((base.image.shape[0] * base.image.shape[1] // BLOCK**2, COEFFICIENTS), np.uint8)
    return base_levels(base.image, base.qp)


def _tables(base: Base) -> classes.Tables:
    return classes.tables(classes.number_of(None if base.qp == NO_BASE else base.qp, base.half))


def _gain(index: int) -> float:
    return 10 ** ((GAIN_LOWEST_DB + GAIN_STEP_DB * index) / 20)


_CONTROL: list[RateControl] = []


def _control() -> RateControl:
    if not _CONTROL:
        _CONTROL.append(RateControl(source_codec("bpg", preset=base_layer.PRESET)))
    return _CONTROL[0]
