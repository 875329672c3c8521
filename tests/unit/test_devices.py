"""Devices by name, and measuring where the networks are: what is moved, and what stays on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from far_device import FAR, Far, far_device
from openjscc import metrics
from openjscc.bench.measure import computed_on
from openjscc.bench.records import Record
from openjscc.bench.sweep import Sweep, evaluate
from openjscc.codec import Codec, Received, Reconstruction, device_of
from openjscc.composite import CompositeCodec
from openjscc.data.datasets import PictureDataset
from openjscc.devices import exact_float32, find_device
from openjscc.digital import make_digital
from openjscc.errors import UsageError
from openjscc.models import LearnedCodec, create
from task_networks import Brightness, Shades

PICTURES = PictureDataset(
    "three",
    "test",
    ["0", "1", "2"],
    array=np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8),
    labels=torch.tensor([0, 1, 1]),
)


def figures(records: Sequence[Record]) -> list[Record]:
    """Without where and how fast."""
    return [dataclasses.replace(record, device=None, encode_ms=None, decode_ms=None) for record in records]


def cuda(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    cuda(monkeypatch, 2)
    names = ("cpu", "cuda", "cuda:1", "auto")
    assert [str(find_device(name)) for name in names] == ["cpu", "cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [str(find_device(name)) for name in names] == ["cpu", "cuda:1", "cuda:1", "cuda:1"]
    with pytest.raises(UsageError, match="cuda:2"):
        find_device("cuda:2")
    cuda(monkeypatch, 0)
    assert find_device("auto").type == "cpu"
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UsageError, match="no CUDA device"):
            find_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "CUDA", "cpu:0", "auto:1", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "meta"])
def test_what_is_no_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda(monkeypatch, 2)
    with pytest.raises(UsageError, match="device") as caught:
        find_device(name)
    assert "cuda:N" in str(caught.value.hint)


def test_float32_is_exact_only_while_measuring() -> None:
    def settings() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = settings()
    with exact_float32():
        assert settings() == ("highest", False)
    assert settings() == before


def test_the_second_device_keeps_to_itself() -> None:
    with far_device():
        one = torch.arange(3.0).to(FAR)
        assert isinstance(one, Far)
        assert (one.device, (one + 1).device, one.cpu().device.type) == (FAR, FAR, "cpu")
        assert (one + 1).tolist() == [1, 2, 3]
        for other in (torch.ones(3), torch.nn.Conv2d(3, 1, 1).weight):
            with pytest.raises(RuntimeError, match="two devices"):
                one.add(other)


@pytest.mark.parametrize(
    ("arch", "ratios"),
    [("adjscc", (None, 1 / 12)), ("spjscc", (None, 1 / 8)), pytest.param("witt", (None,), marks=pytest.mark.slow)],
)
def test_a_learned_system_gives_the_same_figures(arch: str, ratios: tuple, make_codec) -> None:
    torch.manual_seed(0)
    codec = make_codec() if arch == "adjscc" else create(arch, {"spjscc": "small"}.get(arch, "photo")).eval()
    network = Brightness()
    sweep = Sweep(("awgn", "rician:3:fast"), (5.0,), ratios, ("psnr", "ssim", "accuracy"), trials=2)
    expected = evaluate(codec, PICTURES, sweep, networks=[network])
    with far_device():
        assert device_of(codec.to(FAR)) == FAR
        found = evaluate(codec, PICTURES, sweep, networks=[network.to(FAR)], device=FAR)
    assert figures(found) == figures(expected)
    assert {str(record.device).partition(":")[0] for record in found} == {"meta"}
    assert {str(record.device).partition(":")[0] for record in expected} == {"cpu"}


def test_metrics_with_weights_are_moved_and_links_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def looked(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append((x.device, y.device))
        return metrics.psnr(x, y)

    stand_in = dataclasses.replace(metrics.get_metric("lpips"), function=looked)
    monkeypatch.setitem(metrics.METRICS, "lpips", stand_in)
    monkeypatch.setattr("openjscc.bench.task_metrics.check_metrics", lambda names: None)
    digital, sweep = make_digital("jpeg-ldpc"), Sweep(ratios=(1.0,), metrics=("psnr", "lpips"))
    expected = evaluate(digital, PICTURES, sweep)
    with far_device():
        found = evaluate(digital, PICTURES, sweep, device=FAR)
    assert figures(found) == figures(expected)
    assert seen == [(torch.device("cpu"),) * 2, (FAR, FAR)]
    (devices,) = {record.device for record in found}
    assert [name.partition(":")[0] for name in str(devices).split("; ")] == ["cpu", "meta"]
    assert device_of(digital) is None
    assert computed_on(digital, ("psnr",), (), FAR) == computed_on(digital, ("psnr",))


@pytest.mark.parametrize("digital", [False, True])
def test_codec_and_network_may_be_apart(digital: bool, make_codec) -> None:
    """The picture goes where the codec is, and then where the network is."""
    sender: Codec = make_digital("jpeg-ldpc") if digital else make_codec()
    codec = CompositeCodec(sender, Shades())
    masks = torch.zeros(3, 16, 16, dtype=torch.uint8)
    assert codec.device == (None if digital else torch.device("cpu"))
    expected = _segmented(codec, masks)
    with far_device():
        codec.network.to(FAR)
        assert device_of(codec) == (None if digital else torch.device("cpu"))
        assert _segmented(codec, masks) == expected


def _segmented(codec: Codec, masks: torch.Tensor) -> dict:
    from openjscc.bench.measure import measure
    from openjscc.bench.point import Point

    x = torch.stack([PICTURES[index] for index in range(3)]).float() / 255
    found = measure(codec, x, Point("awgn", 1 / 6, 10.0), ("miou",), trials=range(1), seed=0, masks=masks)
    return {name: np.stack([row[0] for row in rows]).tolist() for name, rows in found.collected.items()}


@pytest.mark.parametrize("verb", ["eval", "bench", "send"])
def test_every_verb_measures_in_exact_float32(
    verb: str, openjscc, tiny_weights: Path, tmp_path: Path, make_picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, decode = [], LearnedCodec.decode

    def looked(codec: LearnedCodec, received: Received) -> Reconstruction:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return decode(codec, received)

    monkeypatch.setattr(LearnedCodec, "decode", looked)
    (tmp_path / "pictures").mkdir()
    picture = make_picture(tmp_path / "pictures" / "1.png", 32, 24)
    name = str(tiny_weights / "adjscc.photo.safetensors")
    words = {
        "eval": ("--systems", name, "--data", picture.parent),
        "bench": ("--systems", name, "--data", picture.parent, "-o", tmp_path / "out"),
        "send": (picture, "--model", name, "-o", tmp_path / "received.png"),
    }
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        openjscc(verb, *words[verb]).assert_ok()
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen[-1] == ("highest", False), "the first ones are the weight's self-test, on the CPU"
