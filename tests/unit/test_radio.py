"""Transmitter, channel and receiver as separate programs: they give what `transmit` gives, and the receiver is told nothing."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import pictures
from openjscc import header, radio
from openjscc.codec import Codec, Received, Side
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.link import transmit
from openjscc.models import list_models
from openjscc.radio import pass_channel, receive_frames, transmit_frames
from openjscc.recording import META, Burst, load_frames, save_frames
from openjscc.systems import load

pytest.importorskip("sigmf")
WEIGHTS = [info.name for info in list_models()]
SYSTEMS = [*WEIGHTS, "jpeg-ldpc", "jpeg-ldpc:mcs=qpsk-1/2-n1944", "jpeg-ldpc+fcn.voc"]


def sent_image(codec: Codec) -> torch.Tensor:
    agreed = getattr(getattr(codec, "header", None), "agreed_size", None)
    return pictures(1, *(agreed if agreed is not None and "ldpc" not in codec.name else (80, 96)), seed=3)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("channel", ["awgn", "rayleigh:fast"])
def test_three_programs_give_what_send_gives(name: str, channel: str, tmp_path: Path):
    codec = load(name)
    x, task = sent_image(codec), codec.tasks[-1]
    ratio = 1 / 6 if "ldpc" in name else None
    together = transmit(codec, channel, x, 7.0, task=task, seed=5, ratio=ratio).reconstruction
    files = tmp_path / f"sent{META}", tmp_path / f"received{META}"
    save_frames(files[0], transmit_frames(codec, x, snr_db=7.0, channel=channel, task=task, ratio=ratio))
    save_frames(files[1], (pass_channel(burst, channel, 7.0, seed=5) for burst in load_frames(files[0])))
    (got,) = receive_frames(load_frames(files[1]))
    assert got.ok == (together.ok is None or bool(together.ok[0]))
    assert got.ok
    assert not got.estimated
    assert got.system == radio.resolved_name(codec)
    for mine, theirs in (
        (got.reconstruction.image, together.image),
        (got.reconstruction.segmentation, together.segmentation),
    ):
        assert mine is theirs or (mine is not None and theirs is not None and torch.equal(mine, theirs))


@pytest.mark.parametrize("equalizer", ["zf", "mmse"])
def test_the_equaliser_and_the_trial_that_are_asked_for(equalizer: str):
    codec = load("adjscc.photo")
    x = sent_image(codec)
    together = transmit(codec, "rayleigh:fast", x, 3.0, trial=2, equalizer=equalizer).image
    (sent,) = transmit_frames(codec, x, snr_db=3.0, channel="rayleigh:fast")
    (got,) = receive_frames(pass_channel(sent, "rayleigh:fast", 3.0, trial=2), equalizer=equalizer)
    assert together is not None
    assert got.reconstruction.image is not None
    assert torch.equal(got.reconstruction.image, together)


def test_another_image_is_another_draw():
    codec = load("adjscc.photo")
    frames = [transmit_frames(codec, pictures(1, 32, 32, seed=seed))[0] for seed in (1, 2)]
    noises = [pass_channel(burst, "awgn", 0.0).symbols - burst.symbols for burst in frames]
    assert abs(np.vdot(noises[0], noises[1])) / len(noises[0]) < 0.2
    again = pass_channel(frames[0], "awgn", 0.0, trial=1).symbols - frames[0].symbols
    assert abs(np.vdot(noises[0], again)) / len(again) < 0.2


def test_a_frame_goes_through_one_channel():
    (burst,) = transmit_frames(load("adjscc.photo"), pictures(1))
    with pytest.raises(UsageError, match="has been through awgn"):
        pass_channel(pass_channel(burst, "awgn", 5.0), "awgn", 5.0)


def test_bounds_are_not_sent():
    with pytest.raises(UsageError, match="is a bound"):
        transmit_frames(load("jpeg-capacity"), pictures(1), snr_db=5.0)


@pytest.mark.parametrize("name", ["adjscc.photo", "adjscc.cifar10", "jpeg-ldpc"])
@pytest.mark.parametrize("snr_db", [3.0, 10.0, 20.0])
def test_the_noise_is_estimated_where_it_is_not_told(name: str, snr_db: float):
    """From 124 to 148 header symbols: a standard error of 9 %; from 20: 22 %."""
    codec = load(name)
    x = pictures(1, 32, 32) if "cifar" in name else pictures(1, 64, 96)
    (burst,) = transmit_frames(codec, x, snr_db=snr_db, ratio=1 / 6)
    (got,) = receive_frames(pass_channel(burst, "awgn", snr_db, tell_noise=False))
    assert got.ok
    assert got.estimated
    assert abs(10 * np.log10(got.noise_var) + snr_db) < (4.0 if "cifar" in name else 2.0)


def test_frames_one_after_another_are_found():
    """A recording without annotations: the headers say where the next frame begins; zeros between are skipped."""
    photo, digital = load("adjscc.photo"), load("jpeg-ldpc")
    bursts = [
        *transmit_frames(photo, pictures(1, 40, 24), ratio=1 / 16),
        *transmit_frames(digital, pictures(1, 64, 64, seed=2), snr_db=9.0, ratio=1 / 6),
        *transmit_frames(photo, pictures(1, 17, 33, seed=4), ratio=1 / 6),
    ]
    noisy = [pass_channel(burst, "awgn", 12.0).symbols for burst in bursts]
    gap = np.zeros(70_000, dtype=np.complex64)
    stream = np.concatenate([gap[:5], noisy[0], noisy[1], gap, noisy[2], gap[:9]])
    found = receive_frames(Burst(stream, framed=False))
    assert [one.ok for one in found] == [True] * 3
    assert [(one.side.height, one.side.width) for one in found if one.side] == [(40, 24), (64, 64), (17, 33)]
    assert [one.system for one in found] == ["adjscc.photo", "jpeg-ldpc", "adjscc.photo"]
    with pytest.raises(IntegrityError, match="truncated"):
        receive_frames(Burst(stream[:-50], framed=False))


def test_a_short_header_needs_the_agreed_system():
    (burst,) = transmit_frames(load("adjscc.cifar10"), pictures(1, 32, 32))
    assert burst.agreed
    stream = Burst(np.concatenate([burst.symbols, burst.symbols]), framed=False)
    assert [one.ok for one in receive_frames(stream)] == [False]
    assert [one.ok for one in receive_frames(stream, "adjscc.cifar10")] == [True, True]
    assert [one.ok for one in receive_frames(burst)] == [True]  # the recording says what was agreed


def test_the_header_decides_and_not_the_recordings_word():
    (burst,) = transmit_frames(load("adjscc.photo"), pictures(1))
    (got,) = receive_frames(burst.replace(system="deepjscc.photo"))
    assert got.system == "adjscc.photo"


def test_a_weight_that_is_not_here():
    codec = load("adjscc.photo")
    codec.header = dataclasses.replace(codec.header, identity=0x1234)  # pyright: ignore[reportAttributeAccessIssue]
    (burst,) = transmit_frames(codec, pictures(1))
    with pytest.raises(MissingError, match=r"1234 .*'mine\.best'") as found:
        receive_frames(burst.replace(system="mine.best"))
    assert found.value.exit_code == 3
    assert "OPENJSCC_WEIGHTS" in found.value.hint


def test_another_version(monkeypatch: pytest.MonkeyPatch):
    codec = load("adjscc.photo")
    monkeypatch.setattr("openjscc.header.format.VERSION", 2)
    (burst,) = transmit_frames(codec, pictures(1))
    monkeypatch.setattr("openjscc.header.format.VERSION", 1)
    with pytest.raises(MissingError, match="version 2"):
        receive_frames(burst)


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_noise_is_no_frame(count: int):
    values = np.random.default_rng(1).normal(size=(count, 2)).astype(np.float32).view(np.complex64)[:, 0]
    for framed in (True, False):
        (got,) = receive_frames(Burst(values, framed=framed))
        assert (got.ok, got.side, got.codec) == (False, None, None)


@pytest.mark.parametrize("name", ["adjscc.photo", "jpeg-ldpc"])
def test_damaged_samples_are_lost_or_another_image(name: str):
    """NaN, infinity, cuts and jumps: never a traceback, never an image larger than its samples could carry."""
    codec = load(name)
    (burst,) = transmit_frames(codec, pictures(1, 24, 24), snr_db=10.0, ratio=1 / 6)
    random = np.random.default_rng(2)
    for number in range(40):
        damaged = burst.symbols.copy()
        place = int(random.integers(len(damaged)))
        damaged[place : place + 200] = [np.nan, np.inf, 0, 1e30, -damaged[place]][number % 5]
        if number % 3 == 0:
            damaged = damaged[: int(random.integers(1, len(damaged)))]
        noise_var = [None, 0.1, 0.0, 1e20][number % 4]
        (got,) = receive_frames(burst.replace(symbols=damaged, noise_var=noise_var))
        assert got.ok in (True, False)


def test_a_header_that_claims_a_huge_image():
    """A valid header in front of too few symbols is a lost frame, before any memory is taken."""
    for name in ("adjscc.photo", "jpeg-ldpc"):
        codec = load(name)
        (burst,) = transmit_frames(codec, pictures(1, 24, 24), snr_db=10.0, ratio=1 / 6)
        form = codec.header  # pyright: ignore[reportAttributeAccessIssue]
        side = Side(65536, 65536, rate=torch.zeros(1, dtype=torch.int64), uses=torch.tensor([len(burst.symbols)]))
        head = form.symbols(side, 1, torch.tensor([form.uses(65536, 65536)]))[0].numpy()
        (got,) = receive_frames(burst.replace(symbols=np.concatenate([head, burst.symbols[-300:]])))
        assert not got.ok


@pytest.mark.parametrize("uses", [0, 1, 148])
def test_a_frame_is_longer_than_its_header(uses: int):
    """A header that claims fewer channel uses than it takes itself is a lost frame, and no endless search."""
    codec = load("jpeg-ldpc")
    form = codec.header  # pyright: ignore[reportAttributeAccessIssue]
    side = Side(24, 24, rate=torch.zeros(1, dtype=torch.int64), uses=torch.tensor([uses]))
    head = form.symbols(side, 1, torch.tensor([148]))[0].numpy()
    for framed in (True, False):
        (got,) = receive_frames(Burst(np.concatenate([head, head, head]), noise_var=0.1, framed=framed))
        assert not got.ok


def test_noise_is_not_read_to_its_end():
    """Of 80 MB without a header the first 1504 samples are looked at."""
    tracemalloc.start()
    (got,) = receive_frames(Burst(np.ones(10**7, dtype=np.complex64), framed=False))
    assert not got.ok
    assert tracemalloc.get_traced_memory()[1] < 90e6  # the samples themselves
    tracemalloc.stop()


def test_a_recording_names_systems_and_no_files(tmp_path: Path):
    receiver = radio.Receiver()
    (tmp_path / "adjscc.photo.safetensors").touch()
    for name in (str(tmp_path / "adjscc.photo.safetensors"), "x.safetensors", "jpeg-ldpc+x.pth", "jpeg-ldpc+", "", "a\0b", "+"):
        assert not receiver._is_at_hand(name), name
    for name in ("adjscc.photo", "mtgsc.photo:steps=3", "jpeg-ldpc:mcs=16qam-3/4-n1944", "jpeg-ldpc+fcn.voc"):
        assert receiver._is_at_hand(name), name


def test_a_receiver_keeps_few_systems(monkeypatch: pytest.MonkeyPatch):
    one = load("jpeg-ldpc")
    monkeypatch.setattr("openjscc.systems.load", lambda name, device: one)
    receiver = radio.Receiver()
    for number in range(50):
        receiver._load(f"mtgsc.photo:seed={number}")
    assert len(receiver._codecs) == radio.MOST_CODECS


def test_frames_from_the_top_of_the_package(tmp_path: Path):
    import openjscc

    (sent,) = openjscc.transmit_frames(openjscc.load("adjscc.photo"), pictures(1, 24, 40)[0], snr_db=10, label="a.png")
    path = tmp_path / f"a{META}"
    assert openjscc.save_frame(path, sent) == 1
    with pytest.raises(UsageError, match="exists"):
        openjscc.save_frame(path, [sent])
    assert openjscc.save_frame(path, [sent, sent], overwrite=True) == 2
    loaded = openjscc.load_frame(path)
    assert [burst.label for burst in loaded] == ["a.png"] * 2
    got = openjscc.receive_frames([openjscc.pass_channel(burst, "awgn", 10) for burst in loaded])
    assert [one.ok for one in got] == [True, True]
    for name in ("transmit_frames", "pass_channel", "receive_frames", "save_frame", "load_frame"):
        assert name in dir(openjscc)
        assert getattr(openjscc, name).__doc__
    with pytest.raises(UsageError, match="equalizer"):
        openjscc.receive_frames(sent, equalizer="dfe")


def test_a_crc_that_fits_by_chance_is_no_header(monkeypatch: pytest.MonkeyPatch):
    """About one frame in a thousand: neither noise nor a frame with a short header is then taken for another system's."""
    chance = header.Fields(2, 0x1234, 8, 8, 0, 0, 0, False, 124, fit=0.7)
    monkeypatch.setattr(radio, "listen", lambda received: [chance])
    (burst,) = transmit_frames(load("adjscc.cifar10"), pictures(1, 32, 32))
    assert [got.ok for got in receive_frames(burst)] == [True]
    noise = Burst(np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32).view(np.complex64)[:, 0])
    assert [got.side for got in receive_frames(noise)] == [None]
    monkeypatch.setattr(radio, "listen", lambda received: [dataclasses.replace(chance, fit=0.95)])
    with pytest.raises(MissingError, match="version 2"):
        receive_frames(noise)


def test_fit_of_headers_and_of_what_passes_by_chance():
    (burst,) = transmit_frames(load("adjscc.photo"), pictures(1, 32, 32))
    for snr_db, least in ((0.0, 0.75), (5.0, 0.95), (20.0, 0.999)):
        noisy = pass_channel(burst, "awgn", snr_db)
        received = Received(
            torch.from_numpy(noisy.symbols)[None], torch.tensor([noisy.noise_var]), None, torch.tensor([len(noisy.symbols)])
        )
        (fields,) = header.listen(received)
        assert fields is not None
        assert fields.fit > least
