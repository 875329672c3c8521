"""The conformance suite for channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..channels import Channel, Realisation, make_channel
from ..codec import Frame, Received, Side
from ..power import normalize_power
from ._failure import require

TOLERANCE_DB = 0.05
"""How far the measured noise may be from the asked one; the standard error of the measurement is 0.0085 dB."""

SYMBOLS = 2**18
FRAMES = 20_000


def check_channel(channel: str | Channel) -> None:
    """Whether a channel keeps the rules of `openjscc.channels.Channel`. Takes about two seconds.

    Shapes and types; the same draw from the same seed, whatever the batch and its other images, and the start of a longer
    draw; zero after a frame's end; gradients; an SNR per image that sets that image's noise alone; noise of the asked
    variance per complex symbol, circular, the same draw at every SNR; ``E|h|^2 = 1`` with a phase.

    Args:
        channel: a spec, or the channel.

    Raises:
        CheckFailed: for the first rule that it breaks.
        UsageError: for a spec that names no channel.
    """
    channel = make_channel(channel)
    _check_shapes(channel)
    _check_seeds(channel)
    _check_gradients(channel)
    _check_images_apart(channel)
    _check_noise(channel)
    _check_gain(channel)


def _seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _frame(length: Sequence[int], seed: int = 1) -> Frame:
    k, sent = max(length), torch.tensor(length)
    values = torch.randn(len(length), k, 2, generator=torch.Generator().manual_seed(seed))
    return Frame(normalize_power(torch.view_as_complex(values), sent), sent, Side(8, 8))


def _fading_part(received: Received, frame: Frame) -> torch.Tensor:
    return frame.symbols if received.gain is None else received.gain * frame.symbols


def _check_shapes(channel: Channel) -> None:
    require(isinstance(channel.name, str) and bool(channel.name), "name is a non-empty string", channel.name)
    frame = _frame([40, 33, 7])
    drawn = channel.draw(3, 40, torch.Generator().manual_seed(0))
    _require_tensor("the noise of a draw", drawn.noise, [(3, 40)], torch.complex64)
    if drawn.gain is not None:
        _require_tensor("the gain of a draw", drawn.gain, [(3, 1), (3, 40)], torch.complex64)
    received = channel.apply(frame, 10.0, drawn)
    _require_tensor("received symbols", received.symbols, [(3, 40)], torch.complex64)
    _require_tensor("noise_var", received.noise_var, [(3,)], torch.float32)
    if received.gain is not None:
        _require_tensor("the received gain", received.gain, [(3, 1), (3, 40)], torch.complex64)
    require(torch.equal(received.length, frame.length), "the length passes unchanged")
    after = max(float(row[end:].abs().sum()) for row, end in zip(received.symbols, (40, 33, 7), strict=True))
    require(after == 0, "symbols after the frame's length are zero", after)


def _require_tensor(what: str, tensor: torch.Tensor, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    kept = tuple(tensor.shape) in shapes and tensor.dtype == dtype
    rule = f"{what}: {' or '.join(map(str, shapes))} {dtype}"
    require(kept, rule, f"found {tuple(tensor.shape)} {tensor.dtype}")


def _same(a: Realisation, b: Realisation) -> bool:
    if (a.gain is None) != (b.gain is None):
        return False
    same_gain = a.gain is None or b.gain is None or torch.equal(a.gain, b.gain)
    return torch.equal(a.noise, b.noise) and same_gain


def _row(drawn: Realisation, index: int, k: int) -> Realisation:
    row = slice(index, index + 1)
    return Realisation(drawn.noise[row, :k], None if drawn.gain is None else drawn.gain[row, :k])


def _check_seeds(channel: Channel) -> None:
    batch = channel.draw(3, 100, _seeded(5, 6, 7))
    require(_same(batch, channel.draw(3, 100, _seeded(5, 6, 7))), "the same seeds give the same draw")
    alone = channel.draw(1, 100, _seeded(6))
    require(_same(alone, _row(batch, 1, 100)), "an image's draw does not depend on the batch")
    require(not torch.equal(batch.noise[0], batch.noise[1]), "other seeds give another draw")
    turns = channel.draw(2, 100, torch.Generator().manual_seed(5))
    require(not torch.equal(turns.noise[0], turns.noise[1]), "one generator gives every image its own draw")
    if turns.gain is not None:
        require(not torch.equal(turns.gain[0], turns.gain[1]), "one generator gives every image its own gain")
    for k in (1, 2, 7, 8, 9, 31, 99):
        require(_same(channel.draw(1, k, _seeded(6)), _row(batch, 1, k)), "a short draw is the start of a longer one", f"k = {k}")


def _check_gradients(channel: Channel) -> None:
    frame = _frame([16, 9])
    symbols = frame.symbols.clone().requires_grad_()
    received = channel(Frame(symbols, frame.length, frame.side), 5.0, _seeded(1, 2))
    require(received.symbols.requires_grad, "the received symbols are differentiable in the sent ones")
    received.symbols.abs().square().sum().backward()
    gradient = symbols.grad
    kept = gradient is not None and bool(torch.isfinite(torch.view_as_real(gradient)).all())
    require(kept, "gradients are finite")
    if gradient is not None:
        require(bool((gradient[0].abs() > 0).all()), "every sent symbol has a gradient")
        require(not bool(gradient[1, 9:].any()), "a symbol that is not sent has none")


def _check_images_apart(channel: Channel) -> None:
    frame = _frame([64, 64, 64])
    drawn = channel.draw(3, 64, _seeded(1, 2, 3))
    quiet = channel.apply(frame, [0.0, 10.0, 20.0], drawn)
    expected = torch.tensor([1.0, 0.1, 0.01])
    require(torch.allclose(quiet.noise_var, expected, rtol=1e-4), "noise_var = 10^(-SNR/10) per image", quiet.noise_var.tolist())
    for index, snr_db in enumerate((0.0, 10.0, 20.0)):
        single = channel.apply(frame, snr_db, drawn).symbols[index]
        require(torch.allclose(single, quiet.symbols[index], atol=1e-5), "an image's SNR sets its own noise", f"image {index}")
    factor = torch.tensor([30.0, 1.0, 1.0])[:, None]
    loud_frame = Frame(frame.symbols * factor, frame.length, frame.side)
    loud = channel.apply(loud_frame, [0.0, 10.0, 20.0], drawn)
    require(torch.equal(loud.symbols[1:], quiet.symbols[1:]), "one image's power does not change another's result")
    before = quiet.symbols[0] - _fading_part(quiet, frame)[0]
    after = loud.symbols[0] - _fading_part(loud, loud_frame)[0]
    require(torch.allclose(before, after, atol=1e-3), "the noise follows the asked SNR, not the measured power of the symbols")


def _check_noise(channel: Channel) -> None:
    frame = _frame([SYMBOLS // 4] * 4)
    drawn = channel.draw(4, SYMBOLS // 4, _seeded(11, 12, 13, 14))
    kept: torch.Tensor | None = None
    for snr_db in (0.0, 13.0):
        received = channel.apply(frame, snr_db, drawn)
        noise = (received.symbols - _fading_part(received, frame)) * 10 ** (snr_db / 20)
        measured = snr_db - 10 * math.log10(float(noise.abs().double().square().mean()))
        require(abs(measured - snr_db) < TOLERANCE_DB, f"asked for {snr_db:g} dB, measured", f"{measured:.2f} dB")
        require(kept is None or torch.allclose(noise, kept, atol=1e-4), "all SNRs meet the same draw")
        kept = noise
    if kept is None:
        return
    parts = torch.view_as_real(kept).flatten(0, 1).double()
    covariance = parts.T @ parts / len(parts)
    off = float((covariance - 0.5 * torch.eye(2)).abs().max())
    require(off < 0.01, "the noise is circular: variance 1/2 per real dimension, uncorrelated", covariance.tolist())
    require(float(parts.mean(0).abs().max()) < 0.01, "the noise has mean zero", parts.mean(0).tolist())
    across = (kept @ kept.conj().T / kept.shape[1]).fill_diagonal_(0).abs().max()
    require(float(across) < 0.03, "the noise of two images is uncorrelated", float(across))


def _check_gain(channel: Channel) -> None:
    first = channel.draw(1, 16, torch.Generator().manual_seed(21)).gain
    if first is None:
        return
    if first.shape[1] == 1:
        gain = channel.draw(FRAMES, 1, torch.Generator().manual_seed(21)).gain
    else:
        gain = channel.draw(FRAMES // 16, 16, torch.Generator().manual_seed(21)).gain
    if gain is None:
        require(False, "a channel fades always or never")
        return
    power = float(gain.abs().double().square().mean())
    require(abs(power - 1) < 0.03, "E|h|^2 = 1", f"{power:.3f}")
    parts = torch.view_as_real(gain).flatten(0, 1)
    require(bool((parts.std(0) > 0.05).all()), "the gain is complex, with a phase", f"spread of re, im: {parts.std(0).tolist()}")
    require(float(parts.mean(0).abs().max()) < 0.1, "the phase is uniform, so E h = 0", parts.mean(0).tolist())
