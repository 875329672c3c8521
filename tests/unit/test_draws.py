"""Draws: decided by the picture, the trial, the channel and the seed; met by all systems, SNRs and batch sizes alike."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import PixelCodec, generator, pictures
from openjscc.channels import CHANNELS, content_seed, generators_for, make_channel
from openjscc.channels._base import CHUNK, normals
from openjscc.codec import Conditions, Frame, Received, Reconstruction
from openjscc.errors import UsageError
from openjscc.link import transmit
from openjscc.power import normalize_power

SPECS = ("awgn", "rayleigh:block", "rayleigh:fast", "rician:4", "rician:4:fast")

PROBE = """
import torch
from openjscc.channels import content_seed
print(content_seed(torch.arange(3 * 5 * 7).reshape(3, 5, 7) / 105, 2, "rayleigh:block", 9))
"""


SEED_OF_PROBE = 34414514128895824043810782713675008682  # every published record rests on this staying as it is


class ShortCodec(PixelCodec):
    """Another system: it sends half the symbols, so its k differs."""

    name = "half"

    def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
        frame = super().encode(x, conditions)
        k = frame.symbols.shape[1] // 2
        length = torch.full_like(frame.length, k)
        return Frame(normalize_power(frame.symbols[:, :k], length), length, frame.side)

    def decode(self, received: Received) -> Reconstruction:
        return Reconstruction()


def test_every_channel_is_listed_here():
    assert {spec.split(":")[0] for spec in SPECS} == set(CHANNELS)


def test_seed_is_that_of_the_rule():
    """128 bits of the SHA-256 of the image's digest, the trial, the channel and the seed (rule C12)."""
    pixels = bytes(round(255 * value / 105) for value in range(105))
    digest = hashlib.sha256(repr((3, 5, 7)).encode() + pixels).hexdigest()
    facts = repr((digest, 2, "rayleigh:block", 9))
    assert int(hashlib.sha256(facts.encode()).hexdigest()[:32], 16) == SEED_OF_PROBE


def test_seed_is_the_same_in_every_process():
    for hash_seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=env, check=True)
        assert int(done.stdout) == SEED_OF_PROBE


def test_seed_has_128_bits_and_depends_on_everything_it_should():
    x = pictures(1, 4, 6)[0]
    seeds = [
        content_seed(x, 0, "awgn", 0),
        content_seed(x, 1, "awgn", 0),
        content_seed(x, 0, "rayleigh:block", 0),
        content_seed(x, 0, "awgn", 1),
        content_seed(x.reshape(3, 6, 4), 0, "awgn", 0),
        content_seed((x * 255 + 1) / 255, 0, "awgn", 0),
    ]
    assert len(set(seeds)) == len(seeds)
    seeds += [content_seed(x, trial, "awgn", 0) for trial in range(2, 66)]
    assert all(0 <= seed < 2**128 for seed in seeds)
    for place in range(128):
        assert {seed >> place & 1 for seed in seeds} == {0, 1}, place


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.floats(-0.4, 0.4))
def test_float_noise_below_rounding_changes_nothing(seed: int, noise: float):
    x = torch.randint(0, 256, (3, 3, 4), generator=generator(seed)).float() / 255
    expected = content_seed(x, 0, "awgn", 0)
    assert content_seed((x + noise / 255), 0, "awgn", 0) == expected
    assert content_seed(x.double(), 0, "awgn", 0) == expected
    assert content_seed(x.contiguous(memory_format=torch.contiguous_format).mT.contiguous().mT, 0, "awgn", 0) == expected


def test_one_cpu_generator_per_image():
    x = pictures(3)
    drawn = [one.random(4).tolist() for one in generators_for(x, 1, "awgn", 2)]
    assert drawn == [np.random.default_rng(content_seed(image, 1, "awgn", 2)).random(4).tolist() for image in x]
    with pytest.raises(UsageError, match="image tensor"):
        generators_for(x[0], 0, "awgn", 0)


def test_every_bit_of_the_seed_counts(monkeypatch: pytest.MonkeyPatch):
    """torch's generator leaves out all from the 33rd on."""
    drawn = []
    for seed in (5, *(5 ^ 1 << place for place in range(128))):
        monkeypatch.setattr("openjscc.channels.draws.draw_seed", lambda *facts, seed=seed: seed)
        (one,) = generators_for(pictures(1), 0, "awgn", 0)
        drawn.append(tuple(normals(8, one).tolist()))
    assert len(set(drawn)) == 129


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.integers(0, 400))
def test_fewer_normals_are_the_start_of_more(count: int, more: int):
    assert torch.equal(normals(count, generator(1)), normals(count + more, generator(1))[:count])
    few, many = (normals(number, np.random.default_rng(1)) for number in (count, count + more))
    assert few.dtype == torch.float32
    assert torch.equal(few, many[:count])


def test_normals_are_standard():
    """Mean 0, variance 1, kurtosis 3, no correlation of neighbours: each within four standard errors over 10^6."""
    x = normals(10**6, np.random.default_rng(2)).double()
    error = 1e-3
    assert abs(x.mean().item()) < 4 * error
    assert abs(x.square().mean().item() - 1) < 4 * 2**0.5 * error
    assert abs((x**4).mean().item() - 3) < 4 * 96**0.5 * error
    assert abs((x[1:] * x[:-1]).mean().item()) < 4 * error
    assert 4.5 < x.abs().max().item() < 6


def test_plain_randn_has_no_such_prefix():
    """Why `normals` rounds up: without it, the last numbers of a draw depend on how many were asked for."""
    assert not torch.equal(torch.randn(CHUNK + 3, generator=generator(1)), torch.randn(64, generator=generator(1))[: CHUNK + 3])


@pytest.mark.parametrize("spec", SPECS)
def test_all_snrs_systems_and_batch_sizes_meet_the_same_draw(spec: str):
    x = pictures(4)
    channel = make_channel(spec)

    def draw(codec: PixelCodec, images: torch.Tensor, snr_db: float):
        """Unit noise and gain as they arrive, from the result of the whole link."""
        sent = transmit(codec, channel, images, snr_db)
        gain = sent.received.gain
        faded = sent.frame.symbols if gain is None else gain * sent.frame.symbols
        noise = (sent.received.symbols - faded) * 10 ** (snr_db / 20)
        return noise, gain

    noise, gain = draw(PixelCodec(), x, 5.0)
    k = noise.shape[1] // 2
    others = [
        draw(PixelCodec(), x, 15.0),
        draw(ShortCodec(), x, 5.0),
        tuple(
            None if part[0] is None else torch.cat(part)
            for part in zip(*(draw(PixelCodec(), x[i : i + 1], 5.0) for i in range(4)), strict=True)
        ),
    ]
    for other_noise, other_gain in others:
        assert torch.allclose(other_noise[:, :k], noise[:, :k], atol=1e-4)
        assert (other_gain is None) == (gain is None)
        if gain is not None and other_gain is not None:
            assert torch.equal(other_gain[:, :k], gain[:, :k])
    again, _ = draw(PixelCodec(), x.flip(0), 5.0)
    assert torch.allclose(again.flip(0), noise, atol=1e-6)


def test_trials_differ():
    x = pictures(1)
    first, second = (transmit(PixelCodec(), "awgn", x, 5.0, trial=trial).received.symbols for trial in (0, 1))
    assert not torch.allclose(first, second)
    third = transmit(PixelCodec(), "awgn", x, 5.0, seed=1).received.symbols
    assert not torch.allclose(first, third)
