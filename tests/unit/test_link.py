"""The link: the whole chain, what it hands to the codec, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import PixelCodec, pictures
from openjscc.channels import AWGN, equalize
from openjscc.codec import LOST_GREY, Codec, Received, Reconstruction
from openjscc.data.images import read_image
from openjscc.errors import OpenJSCCError, UsageError
from openjscc.link import Transmission, deliver, encode, transmit


class Listener(PixelCodec):
    """Keeps what it was given."""

    def __init__(self, uses_gain: bool = False) -> None:
        super().__init__()
        self.uses_gain = uses_gain
        self.heard: list[Received] = []

    def decode(self, received: Received) -> Reconstruction:
        self.heard.append(received)
        return super().decode(received)


def test_what_comes_back():
    x = pictures(3, 5, 7)
    sent = transmit(PixelCodec(), "awgn", x, [0.0, 10.0, 100.0])
    assert isinstance(PixelCodec(), Codec)
    assert isinstance(sent, Transmission)
    assert sent.image is sent.reconstruction.image
    assert sent.image is not None
    assert sent.image.shape == x.shape
    assert torch.allclose(sent.image[2], x[2], atol=1e-3)
    assert sent.bandwidth_ratio.tolist() == pytest.approx([(124 + 54) / 105] * 3)
    assert sent.snr_db.tolist() == [0.0, 10.0, 100.0]
    assert sent.encode_ms > 0
    assert sent.decode_ms > 0


@pytest.mark.parametrize(("factor", "refused"), [(1.1, True), (1.001, True), (0.999, True), (1.0003, False)])
def test_no_system_sends_with_more_power_than_others(factor: float, refused: bool):
    """The amplitude's factor; 1e-3 of the power is left to rounding."""

    class Loud(PixelCodec):
        def encode(self, x, conditions):
            frame = super().encode(x, conditions)
            return dataclasses.replace(frame, symbols=factor * frame.symbols)

    if not refused:
        assert transmit(Loud(), "awgn", pictures(2), 10.0).image is not None
        return
    with pytest.raises(UsageError, match=rf"mean energy {factor**2:.4g}".replace(".", r"\.")):
        transmit(Loud(), "awgn", pictures(2), 10.0)


def test_a_lost_picture_is_grey_whatever_the_codec_shows():
    class Peeking(PixelCodec):
        def decode(self, received: Received) -> Reconstruction:
            return Reconstruction(super().decode(received).image, ok=torch.tensor([True, False]))

    image = transmit(Peeking(), "awgn", pictures(2), 10.0).image
    assert image is not None
    assert len(image[0].unique()) > 1
    assert bool((image[1] == LOST_GREY).all())


def test_what_was_encoded_once_is_sent_as_often_as_asked():
    x = pictures(2)
    codec = PixelCodec()
    sent = encode(codec, "rayleigh:fast", x, 5.0, told_snr_db=20.0)
    for trial in (0, 1, 0):
        again = deliver(codec, sent, seed=3, trial=trial, equalizer="zf")
        whole = transmit(codec, "rayleigh:fast", x, 5.0, told_snr_db=20.0, seed=3, trial=trial, equalizer="zf")
        assert torch.equal(again.received.symbols, whole.received.symbols)
        assert again.image is not None
        assert whole.image is not None
        assert torch.equal(again.image, whole.image)
        assert again.encode_ms == sent.encode_ms
    first, second = (deliver(codec, sent, trial=trial).received.symbols for trial in (0, 1))
    assert not torch.allclose(first, second, atol=0.1), "another trial, another draw"
    with pytest.raises(UsageError, match="equalizer"):
        deliver(codec, sent, equalizer="none")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (13, 4)])
def test_any_size(height: int, width: int):
    x = pictures(2, height, width)
    image = transmit(PixelCodec(), "rayleigh:block", x, 100.0).image
    assert image is not None
    assert torch.allclose(image, x, atol=1e-2)


def test_one_image_without_a_batch():
    x = pictures(1)
    alone, batch = transmit(PixelCodec(), "awgn", x[0], 10).image, transmit(PixelCodec(), AWGN(), x, 10).image
    assert alone is not None
    assert batch is not None
    assert torch.equal(alone, batch)


def test_a_path(tmp_path: Path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (6, 4), (128, 64, 32)).save(path)
    for given in (path, str(path)):
        image = transmit(PixelCodec(), "awgn", given, 100.0).image
        assert image is not None
        assert image.shape == (1, 3, 4, 6)
        assert torch.allclose(image[0, :, 0, 0] * 255, torch.tensor([128.0, 64.0, 32.0]), atol=0.5)


def arrived(given: Any) -> torch.Tensor:
    image = transmit(PixelCodec(), "awgn", given, 10.0).image
    assert image is not None
    return image


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "I;16"])
def test_a_pillow_image_arrives_as_its_file_does(tmp_path: Path, mode: str):
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = (
        Image.fromarray(pixels).convert("L").convert("I").convert("I;16")
        if mode == "I;16"
        else Image.fromarray(pixels).convert(mode)
    )
    image.save(path)
    with Image.open(path) as opened:
        sent = [arrived(given) for given in (path, opened, read_image(path))]
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], sent[2])


def test_a_pillow_image_is_turned_as_its_file_is(tmp_path: Path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4), "red").save(path, exif=exif)
    with Image.open(path) as image:
        sent = [arrived(given) for given in (path, image)]
    assert sent[0].shape == (1, 3, 6, 4)
    assert torch.equal(sent[0], sent[1])


def test_a_numpy_array():
    bytes_ = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tensor = torch.from_numpy(bytes_).permute(2, 0, 1) / 255
    expected = arrived(tensor)
    arrays = [bytes_, bytes_[::-1][::-1], bytes_.astype(np.float32) / 255, bytes_.astype(np.float64) / 255]
    for array in arrays:
        before = array.copy()
        assert torch.allclose(arrived(array), expected, atol=1e-6)
        assert (array == before).all()


def test_a_path_to_nothing(tmp_path: Path):
    with pytest.raises(OpenJSCCError):
        transmit(PixelCodec(), "awgn", tmp_path / "none.png", 10.0)


def test_codecs_get_equalised_symbols_unless_they_use_the_gain():
    plain, own = Listener(), Listener(uses_gain=True)
    first = transmit(plain, "rayleigh:fast", pictures(2), 10.0, equalizer="zf")
    second = transmit(own, "rayleigh:fast", pictures(2), 10.0)
    assert plain.heard[0].gain is None
    assert own.heard[0] is second.received
    assert second.received.gain is not None
    assert torch.equal(first.received.symbols, second.received.symbols)  # the same channel for both
    assert torch.equal(plain.heard[0].symbols, equalize(second.received, "zf").symbols)


def test_what_the_transmitter_is_told():
    codec = PixelCodec()

    def told(**more) -> list[float] | None:
        transmit(codec, "awgn", pictures(2), [5.0, 7.0], **more)
        assert codec.conditions is not None
        return None if codec.conditions.snr_db is None else codec.conditions.snr_db.tolist()

    assert told() == [5.0, 7.0]
    assert told(told_snr_db=None) is None
    assert told(told_snr_db=12.0) == [12.0, 12.0]
    assert told(told_snr_db=torch.tensor([1.0, 2.0])) == [1.0, 2.0]


@pytest.mark.parametrize(("channel", "fades"), [("awgn", False), ("rayleigh:block", True), ("rician:4:fast", True)])
def test_the_transmitter_knows_whether_the_channel_fades(channel: str, fades: bool):
    codec = PixelCodec()
    length = transmit(codec, channel, pictures(1), 5.0).frame.length
    assert codec.conditions is not None
    assert codec.conditions.fades is fades
    assert length.tolist() == [(4 if fades else 1) * 124 + 384 + 1]


def test_mismatch_does_not_change_the_channel():
    x = pictures(2)
    matched, blind = (transmit(PixelCodec(), "awgn", x, 5.0, told_snr_db=told) for told in (5.0, None))
    assert torch.equal(matched.received.symbols, blind.received.symbols)
    assert torch.equal(matched.received.noise_var, blind.received.noise_var)


def test_ratio_and_task_reach_the_codec():
    codec = PixelCodec()
    transmit(codec, "awgn", pictures(1), 5.0, ratio=0.5)
    assert codec.conditions is not None
    assert codec.conditions.ratio == 0.5
    assert codec.conditions.task == "reconstruction"


def test_no_gradients_are_kept():
    image = transmit(PixelCodec(), "awgn", pictures(1).requires_grad_(), 5.0).image
    assert image is not None
    assert not image.requires_grad


def test_half_precision_image_is_sent_in_single():
    image = transmit(PixelCodec(), "awgn", pictures(1).half(), 100.0).image
    assert image is not None
    assert image.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel": "rayleigh"}, "does not say how it fades"),
        ({"channel": "awng"}, "unknown channel"),
        ({"image": torch.zeros(2, 2)}, "image tensor of shape"),
        ({"image": torch.zeros(1, 1, 4, 4)}, "image tensor of shape"),
        ({"image": torch.zeros(3, 4, 4, dtype=torch.uint8)}, "image tensor of shape"),
        ({"image": torch.zeros(0, 3, 4, 4)}, "image tensor of shape"),
        ({"image": torch.full((3, 4, 4), 255.0)}, "divide 8-bit values by 255"),
        ({"image": torch.full((3, 4, 4), float("nan"))}, "image values from nan"),
        ({"image": [[0.0]]}, "type list"),
        ({"image": None}, "type NoneType"),
        ({"image": np.zeros((4, 5), np.uint8)}, "numpy.stack"),
        ({"image": np.zeros((3, 4, 5), np.uint8)}, "transpose(1, 2, 0)"),
        ({"image": np.zeros((4, 5, 4), np.uint8)}, "image[..., :3]"),
        ({"image": np.zeros((2, 4, 5, 3), np.uint8)}, "expected (H, W, 3)"),
        ({"image": np.zeros((4, 5, 3), np.int64)}, "type int64"),
        ({"image": np.full((4, 5, 3), 255.0)}, "divide 8-bit values by 255"),
        ({"image": np.full((4, 5, 3), np.nan)}, "image values from nan"),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, "image tensor of shape"),
        ({"image": Image.new("RGB", (0, 5))}, "0x5 pixels"),
        ({"snr_db": float("inf")}, "SNR of inf dB"),
        ({"snr_db": [1.0, 2.0]}, "for 1 images"),
        ({"told_snr_db": float("nan")}, "SNR of nan dB"),
        ({"task": "segmentation"}, "pixels does not serve the task 'segmentation'"),
        ({"task": "segmentaton"}, "did you mean segmentation"),
        ({"equalizer": "zfe"}, "unknown equalizer"),
    ],
)
def test_refusals(change: dict, message: str):
    arguments = {"channel": "awgn", "image": pictures(1), "snr_db": 10.0, **change}
    with pytest.raises(UsageError) as caught:
        transmit(PixelCodec(), **arguments)
    assert message in str(caught.value)
    assert caught.value.hint
