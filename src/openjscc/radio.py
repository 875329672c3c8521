"""Transmitter, channel and receiver as three steps that share nothing but `openjscc.recording.Burst`.

::

    image --transmit_frames--> Burst --pass_channel--> Burst --receive_frames--> Reception

`openjscc.link.transmit` with the same seed gives the same image bit for bit. The receiver knows the samples, the gain and
the noise variance where the recording has them, and the weights at hand. It reads the header, finds the system that it
names, and lets that decode. A recording comes from a stranger: it chooses among the systems at hand by their names and
loads no other file, and nothing is decoded before the header is known to fit the samples.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .channels import Channel, check_equalizer, generators_for_digests, image_digest, make_channel
from .codec import Codec, CodecInfo, Frame, Received, Reconstruction, Side, resolved_name
from .data.decoding import MAX_PIXELS
from .errors import IntegrityError, MissingError, OpenJSCCError, UsageError
from .header import LAYOUTS, REPEATS, VERSION, Fields, HeaderFormat, identity_of, listen, measured_noise_var
from .link import SNR, encode, receive
from .recording import Burst


@dataclass(frozen=True)
class Reception:
    """What a receiver made of one frame.

    Attributes:
        ok: whether header and payload arrived.
        reconstruction: of one image; empty where nothing arrived.
        side: the header's fields, None where it could not be read.
        codec: that decoded the frame; None where none was found.
        noise_var: noise variance per complex symbol, as known or estimated.
        estimated: it was estimated, from the header.
        burst: the frame's samples.
    """

    ok: bool
    reconstruction: Reconstruction
    side: Side | None
    codec: Codec | None
    noise_var: float
    estimated: bool
    burst: Burst

    @property
    def system(self) -> str:
        """The system that decoded the frame by name; empty where none did."""
        return "" if self.codec is None else resolved_name(self.codec)


def transmit_frames(
    codec: Codec,
    image: torch.Tensor | str | os.PathLike[str],
    *,
    snr_db: SNR | None = None,
    channel: str | Channel = "awgn",
    ratio: float | None = None,
    task: str = "reconstruction",
    uses: int | None = None,
    label: str = "",
) -> list[Burst]:
    """The frames of one image, or of B images ``(B, 3, H, W)``, to be written by `openjscc.recording.save_frames`.

    Args:
        codec: the system.
        image: as `openjscc.link.transmit` takes it.
        snr_db: SNR in dB that the transmitter knows; None: none.
        channel: whose law the transmitter knows, for systems that adapt to it.
        ratio: bandwidth ratio.
        task: what the receiver wants.
        uses: channel uses of each frame, instead of ``ratio``.
        label: name of the image.

    Raises:
        As `openjscc.link.encode`.
    """
    known, told = (0.0, None) if snr_db is None else (snr_db, "same")
    sent = encode(codec, channel, image, known, ratio=ratio, task=task, told_snr_db=told, uses=uses)
    if sent.frame.genie is not None:
        raise UsageError(f"{codec.name} cannot be sent", "it is a bound: choose a system")
    form = _header_of(codec)
    unnamed = form is None or form.is_short(*sent.x.shape[-2:])
    symbols = sent.frame.symbols.cpu().numpy()
    burst = Burst(symbols[0], label=label, system=resolved_name(codec), agreed=unnamed)
    return [
        burst.replace(symbols=symbols[row, : int(length)], draw=image_digest(sent.x[row]))
        for row, length in enumerate(sent.frame.length)
    ]


def pass_channel(
    burst: Burst, channel: str | Channel, snr_db: float, *, seed: int = 0, trial: int = 0, tell_noise: bool = True
) -> Burst:
    """A frame after a simulated channel, which meets the draw that `openjscc.link.transmit` gives its image (rule C12).

    Args:
        burst: as sent.
        channel: a spec, or a `Channel`.
        snr_db: average SNR in dB.
        seed: the experiment's.
        trial: number of the repetition.
        tell_noise: the receiver is told the noise variance; else it estimates it.

    Raises:
        UsageError: a burst that has been through a channel.
    """
    channel = make_channel(channel)
    if burst.channel or burst.gain is not None:
        before = burst.channel.get("channel", "a channel")
        raise UsageError(f"{burst.label or 'a frame'} has been through {before}", "pass on what tx wrote")
    symbols = torch.from_numpy(np.array(burst.symbols, dtype=np.complex64))[None]
    draw = burst.draw or hashlib.sha256(symbols.numpy().tobytes()).hexdigest()
    frame = Frame(symbols, torch.tensor([symbols.shape[1]]), Side(1, 1))
    received = channel(frame, snr_db, generators_for_digests([draw], trial, channel.name, seed))
    return burst.replace(
        symbols=received.symbols[0].numpy(),
        gain=None if received.gain is None else received.gain[0].numpy(),
        noise_var=float(received.noise_var[0]) if tell_noise else None,
        channel={"channel": channel.name, "snr_db": float(snr_db), "seed": seed, "trial": trial},
    )


class Receiver:
    """Finds headers, loads the systems that they name, and decodes.

    Args:
        model: a system by name, for frames whose header names none or one that is not among the weights at hand.
        equalizer: one of `openjscc.channels.EQUALIZERS`.
        device: where networks compute.

    Raises:
        UsageError: an unknown equaliser.
    """

    def __init__(self, model: str | None = None, equalizer: str = "mmse", device: torch.device | str = "cpu") -> None:
        check_equalizer(equalizer)
        self.model, self.equalizer, self.device = model, equalizer, device
        self._codecs: dict[str, Codec] = {}

    def prepare(self) -> None:
        """Load what the first frame is likely to need, while it is on its way through a pipe."""
        from .systems import DEFAULT_SYSTEM, load

        with contextlib.suppress(OpenJSCCError):  # said when a frame asks for it
            codec = load(self.model or DEFAULT_SYSTEM, device=self.device)
            self._codecs[self.model or resolved_name(codec)] = codec

    def receive(self, bursts: Iterable[Burst]) -> Iterator[Reception]:
        """What arrived, frame by frame.

        Raises:
            MissingError: a frame of a system that is not at hand, or of a later version.
            IntegrityError: a damaged recording or weight. UsageError: a system that cannot be loaded, or whose frames have
            no known length in a recording without annotations.
        """
        for burst in bursts:
            if burst.framed:
                yield self._one(burst)
            else:
                yield from self._several(burst)

    def _one(self, burst: Burst) -> Reception:
        heard, estimated = _received(burst, self.device, HEADER_MOST)
        codec, fields, side = self._named(burst, heard)
        form = _header_of(codec)
        if codec is None or (form is not None and (side is None or not _fits(codec, side, fields, len(burst.symbols)))):
            return Reception(False, Reconstruction(), side, codec, float(heard.noise_var[0]), estimated, burst)
        received, _ = _received(burst, self.device)
        if estimated and form is not None and side is not None:
            received = received.replace(noise_var=measured_noise_var(received, form, side).clamp(min=LEAST_NOISE))
        with torch.no_grad():
            result = receive(codec, received, self.equalizer)
        arrived = result.ok is None or bool(result.ok[0])
        return Reception(arrived, result, side, codec, float(received.noise_var[0]), estimated, burst)

    def _several(self, burst: Burst) -> Iterator[Reception]:
        """The frames of a recording that nobody cut, one after another; exact zeros between them are skipped."""
        symbols, start = burst.symbols, 0
        while True:
            start += _silence(symbols[start:])
            if start >= len(symbols):
                return
            ahead = _part(burst, start)
            length = self._length(ahead)
            if length is None:  # nothing that names its end: what is left is one frame, of an agreed system or of none
                yield self._one(ahead.replace(framed=True))
                return
            if length > len(symbols) - start:
                raise IntegrityError(
                    f"a frame of {length} samples, of which {len(symbols) - start} are there", "the recording is truncated"
                )
            yield self._one(_part(burst, start, start + length).replace(framed=True))
            start += length

    def _length(self, burst: Burst) -> int | None:
        """Channel uses of the frame that a recording starts with; None where no header says it."""
        received, _ = _received(burst, self.device, HEADER_MOST)
        codec, fields, side = self._named(burst, received)
        if codec is None or side is None:
            return None
        length = _uses(codec, side, fields)
        if length is None:
            raise UsageError(f"frames of {codec.name} in a recording without annotations", "record them as .sigmf-meta")
        return length if side.head is not None and length > int(side.head[0]) else None

    def _named(self, burst: Burst, received: Received) -> tuple[Codec | None, Fields | None, Side | None]:
        """The system that a frame is of, its full header, and what the header says to the system; None for what there is not."""
        codec, fields = self._system(burst, received)
        form = _header_of(codec)
        return codec, fields, None if form is None else form.read(received)[0]

    def _system(self, burst: Burst, received: Received) -> tuple[Codec | None, Fields | None]:
        agreed = None if self.model is None else self._load(self.model)
        missing: MissingError | None = None
        if agreed is None and burst.agreed and burst.system:
            try:
                agreed = self._agreed(burst.system)
            except MissingError as error:  # a full header may still say another
                missing = error
        form = _header_of(agreed)
        if form is not None and form.short is not None and form.read(received)[0] is not None:
            fields = listen(received)[0] if form.counts_uses else None
            return agreed, fields if fields is not None and fields.identity == form.identity else None
        fields = listen(received)[0]
        if fields is not None and (fields.fit >= BELIEVED_FIT or self._is_known(fields, burst.system)):
            if fields.version != VERSION:
                hint = f"this openjscc reads version {VERSION}: get a later one"
                raise MissingError(f"a header of version {fields.version}", hint)
            return self._find(fields.identity, burst.system), fields
        if missing is not None:
            raise missing
        return agreed, None

    def _is_known(self, fields: Fields, hint: str) -> bool:
        """Whether a header is of this version and of a system at hand. One that is not may be none: its CRC fits by chance."""
        if fields.version != VERSION:
            return False
        try:
            self._find(fields.identity, hint)
        except MissingError:
            return False
        return True

    def _load(self, name: str) -> Codec:
        from .systems import load  # slow, and a channel needs none of it

        if name not in self._codecs:
            while len(self._codecs) >= MOST_CODECS:
                del self._codecs[next(iter(self._codecs))]
            self._codecs[name] = load(name, device=self.device)
        return self._codecs[name]

    def _find(self, identity: int, hint: str) -> Codec:
        """The system that a header names. The recording's own word for it is a hint: the identity decides."""
        if self.model is not None and _identity(codec := self._load(self.model)) == identity:
            return codec
        if hint and self._is_at_hand(hint):
            with contextlib.suppress(OpenJSCCError):  # options that there are not
                if _identity(codec := self._load(hint)) == identity:
                    return codec
        name = self.known.get(identity)
        if name is not None:
            return self._load(name)
        called = f" ({hint!r}, as the recording says)" if hint else ""
        raise MissingError(f"the system with the identity {identity:04x}{called} is not here", HOW_TO_GET)

    def _agreed(self, name: str) -> Codec:
        """The system that both ends agreed on, as the recording says."""
        if self._is_at_hand(name):
            with contextlib.suppress(UsageError):  # options that there are not
                return self._load(name)
        raise MissingError(f"the system {name!r}, which a recording says was agreed on, is not here", HOW_TO_GET)

    @cached_property
    def known(self) -> dict[int, str]:
        """`known_systems`, looked up once."""
        return known_systems()

    def _is_at_hand(self, name: str) -> bool:
        """Whether a recording may name that system: one by name, with options or a task network by name, and no file."""
        from .models._weights import weight_files
        from .systems import DIGITAL_SYSTEMS, composite_parts, other_systems
        from .tasks import other_task_networks, released_names

        if name in self._codecs:
            return True
        codec, network = composite_parts(name) or (name, None)
        systems = {*weight_files(), *DIGITAL_SYSTEMS, *other_systems()}
        networks = {None, *released_names(), *other_task_networks()}
        return codec.partition(":")[0] in systems and network in networks


def receive_frames(
    bursts: Burst | Iterable[Burst], model: str | None = None, *, equalizer: str = "mmse", device: torch.device | str = "cpu"
) -> list[Reception]:
    """All frames of a recording, decoded; `Receiver.receive` gives one at a time.

    Args:
        bursts: of `openjscc.load_frame`, or one of them.
        model: a system by name, for frames whose header names none or one that is not among the weights at hand.
        equalizer: one of `openjscc.channels.EQUALIZERS`, for systems that do not use the gain themselves.
        device: where networks compute.

    Raises:
        As `Receiver` and its `receive`. A frame that was lost is a `Reception` with ``ok`` False, and no error.
    """
    return list(Receiver(model, equalizer, device).receive([bursts] if isinstance(bursts, Burst) else bursts))


def known_systems() -> dict[int, str]:
    """Systems at hand by the identity in a header: released weights, digital systems by their default names, other packages'."""
    from .models._weights import read_info, weight_files
    from .systems import DIGITAL_SYSTEMS, load, other_systems

    known: dict[int, str] = {}
    for name in other_systems():
        try:
            known[_identity(load(name))] = name
        except (OpenJSCCError, TypeError):
            continue
    known |= {identity_of(name): name for name in DIGITAL_SYSTEMS}
    for name, path in weight_files().items():
        try:
            known[identity_of(read_info(path).sha256)] = name
        except OpenJSCCError:
            continue
    return known


HOW_TO_GET = "get its weight and point OPENJSCC_WEIGHTS at its folder, or name it with --model"
BELIEVED_FIT = 0.9
"""`Fields.fit` from which a header of another version, or of a system that is not at hand, is believed and reported."""

HEADER_MOST = REPEATS * max(layout.uses for layout in LAYOUTS)
"""Samples in which a header ends."""
LEAST_NOISE = 1e-6
"""Estimated noise variance of a frame that met no channel."""
MOST_PIXELS = 1000
"""Pixels for each sample of a frame; ratios in use have fewer than 100."""
MOST_CODECS = 8
"""Systems that a receiver keeps."""


def _received(burst: Burst, device: torch.device | str, most: int | None = None) -> tuple[Received, bool]:
    """A batch of one frame. Without a noise variance: what the power of the samples says, which is 1 + noise_var."""
    symbols = torch.from_numpy(np.array(burst.symbols[:most], dtype=np.complex64))[None]
    gain = None if burst.gain is None else torch.from_numpy(np.array(burst.gain[:most], dtype=np.complex64))[None].to(device)
    noise_var = burst.noise_var
    if noise_var is None:
        power = 1.0 if gain is None else float(gain.abs().square().mean())
        noise_var = max(float(symbols.abs().double().square().mean()) - power, 1e-3 * power)
    variance, length = torch.tensor([noise_var], dtype=torch.float32), torch.tensor([symbols.shape[1]])
    return Received(symbols.to(device), variance.to(device), gain, length.to(device)), burst.noise_var is None


def _silence(symbols: np.ndarray, at_once: int = 2**16) -> int:
    """Samples at the start that are exactly zero."""
    for start in range(0, len(symbols), at_once):
        loud = np.flatnonzero(symbols[start : start + at_once])
        if len(loud):
            return start + int(loud[0])
    return len(symbols)


def _part(burst: Burst, start: int, stop: int | None = None) -> Burst:
    """Some of the samples, and their gains."""
    gain = burst.gain if burst.gain is None or len(burst.gain) == 1 else burst.gain[start:stop]
    return burst.replace(symbols=burst.symbols[start:stop], gain=gain)


def _uses(codec: Codec, side: Side, fields: Fields | None) -> int | None:
    """Channel uses of a frame, as its header says or implies; None where only the codec knows."""
    payload_uses = CodecInfo(codec).payload_uses
    if fields is not None and fields.counts_uses:
        return fields.value
    if side.head is None or side.rate is None or payload_uses is None:
        return None
    return int(side.head[0]) + payload_uses(side.height, side.width, int(side.rate[0]))


def _fits(codec: Codec, side: Side, fields: Fields | None, count: int) -> bool:
    """Whether so many samples can be the frame that the header speaks of: it is whole, and its image no larger than any."""
    pixels, uses = side.height * side.width, _uses(codec, side, fields)
    return pixels <= min(MAX_PIXELS, MOST_PIXELS * count) and (uses is None or uses <= count)


def _header_of(codec: Codec | None) -> HeaderFormat | None:
    form = None if codec is None else CodecInfo(codec).header
    return form if isinstance(form, HeaderFormat) else None


def _identity(codec: Codec) -> int:
    form = _header_of(codec)
    return -1 if form is None else form.identity
