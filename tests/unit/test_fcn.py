"""The fully convolutional task network: its size, its pyramid of scores, and its files."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from openjscc import tasks
from openjscc.classes import VOC
from openjscc.errors import IntegrityError, UsageError
from openjscc.models import create
from openjscc.tasks import FCN, FCNConfig, load_task_network, perceive

FACTS = {"steps": 0, "data": ["none"], "compute": ["none"]}
TINY = FCNConfig(stem=4, widths=(4, 6, 8, 8), depths=(1, 1, 1, 1))


@pytest.fixture
def network() -> FCN:
    torch.manual_seed(1)
    return FCN(TINY).eval()


def test_it_is_as_large_as_the_codec_that_it_is_compared_with() -> None:
    with torch.device("meta"), torch.no_grad():
        network, codec = tasks.create("fcn", "voc"), create("deeplab_jscc", "photo")
        with FlopCounterMode(display=False) as counter:
            scores = network(torch.zeros(1, 3, 256, 256))
    parameters = [sum(parameter.numel() for parameter in each.parameters()) for each in (network, codec)]
    assert scores.shape == (1, 21, 256, 256)
    assert parameters[0] == 1_140_775
    assert parameters[0] == pytest.approx(parameters[1], rel=0.05)
    assert counter.get_total_flops() / 2 / 256**2 == pytest.approx(codec.macs_per_pixel(), rel=0.05)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 96)])
def test_any_size_is_taken(network: FCN, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    scores = perceive(network, x)
    assert scores.shape == (2, 21, *size)
    torch.testing.assert_close(scores[:1], perceive(network, x[:1]), atol=1e-4, rtol=1e-4)


def test_scores_of_three_scales_are_added(network: FCN) -> None:
    """Without the finer scales' layers the coarsest scores are left, enlarged in three steps."""
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for score in network.scores[:2]:
            for parameter in score.parameters():
                parameter.zero_()
        y = network.stem(2 * x)
        kept: list = []
        network.stages[-1].register_forward_hook(lambda module, arguments, result: kept.append(result))
        whole = network(x)
        wanted = network.scores[-1](kept[0])
        for factor in (2, 2, 8):
            wanted = F.interpolate(wanted, scale_factor=float(factor), mode="bilinear", align_corners=False)
    assert y.shape[-1] == 16
    assert kept[0].shape[-1] == 2
    torch.testing.assert_close(whole, wanted)


def test_scores_are_differentiable_in_the_picture(network: FCN) -> None:
    x = torch.rand(2, 3, 40, 33, requires_grad=True)
    network(x)[:, 3].sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).norm(dim=1) > 0).all()


def test_round_trip(network: FCN, tmp_path: Path) -> None:
    path = tmp_path / "fcn.test.safetensors"
    info = tasks.export(network, path, tag="test", training=FACTS)
    loaded = load_task_network(path)
    assert isinstance(loaded, FCN)
    assert (loaded.name, loaded.kind, loaded.input_size, loaded.classes) == ("fcn.test", "segmentation", None, VOC)
    assert loaded.config == TINY
    assert (info.arch, info.input_size, info.self_test["picture"]) == ("fcn", [], "probe.png")
    assert info.self_test["scores"].keys() == set(VOC)
    assert "Long, E. Shelhamer" in info.paper
    x = torch.rand(2, 3, 40, 24)
    torch.testing.assert_close(loaded(x), network(x), atol=0.02, rtol=0.02)
    content = bytearray(path.read_bytes())
    content[-9] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        load_task_network(path)


def test_lists_and_facts(openjscc, network: FCN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {"steps": 5, "images": 40, "seconds": 9.0, "compute": ["none"], "data": ["voc"], "terms": "none", "recipe": {}}
    tasks.export(network, tmp_path / "fcn.voc.safetensors", tag="voc", training=training)
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    assert load_task_network("fcn").name == "fcn.voc"
    listed = openjscc("models", "list")
    listed.assert_ok()
    line = next(line for line in listed.out.splitlines() if line.startswith("fcn.voc"))
    assert line.split()[-5:] == ["segmentation", "21", "any", "size", "Apache-2.0"]
    facts = openjscc("models", "info", "fcn")
    facts.assert_ok()
    assert "segmentation of pictures of any size" in facts.out
    openjscc("models", "verify", "fcn.voc").assert_ok()


def test_other_configurations() -> None:
    with pytest.raises(UsageError, match="widths"):
        FCNConfig(widths=(8, 8), depths=(1, 1))
    with pytest.raises(UsageError, match="cifar10"):
        tasks.create("fcn", "cifar10")
