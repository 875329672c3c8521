"""Where network weights are looked for, that only the genuine ones pass, and what is said when there are none."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.metrics import backbones, inception
from openjscc.metrics.backbones import ALEXNET, VGG16, WEIGHT_FILES, Backbone, find_weights, load_weights, tensors_digest


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights anywhere, no network."""
    monkeypatch.delenv("OPENJSCC_METRIC_WEIGHTS", raising=False)
    monkeypatch.delenv("OPENJSCC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    backbones._instance.cache_clear()


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Stand-in heads that count as the genuine ones."""
    tensors = {f"lin{stage}.model.1.weight": torch.full((1, 4, 1, 1), stage + 0.5) for stage in range(5)}
    file = dataclasses.replace(WEIGHT_FILES["lpips-alex"], digest=tensors_digest(tensors, list(tensors)))
    monkeypatch.setitem(WEIGHT_FILES, "lpips-alex", file)
    return tensors


def save(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, path)
    return path


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_order_of_places(heads: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_weights("lpips-alex") is None
    cached = save(heads, tmp_path / "cache" / "openjscc" / "alex.pth")
    assert find_weights("lpips-alex") == cached
    monkeypatch.setenv("OPENJSCC_DATA", str(tmp_path / "data"))
    assert find_weights("lpips-alex") == cached
    data = save(heads, tmp_path / "data" / "weights" / "lpips" / "lpips_lin_v0.1_alex.pth")
    assert find_weights("lpips-alex") == data
    given = save(heads, tmp_path / "given" / "alex.pth")
    monkeypatch.setenv("OPENJSCC_METRIC_WEIGHTS", str(tmp_path / "given"))
    assert find_weights("lpips-alex") == given
    assert same(load_weights("lpips-alex"), heads)
    monkeypatch.setenv("OPENJSCC_METRIC_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(UsageError) as caught:
        find_weights("lpips-alex")
    assert "gone" in caught.value.message


def test_downloads_of_torch_hub_are_found(tmp_path: Path) -> None:
    path = save({}, tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth")
    assert find_weights("vgg16") == path
    save({}, tmp_path / "torch" / "hub" / "checkpoints" / "weights.pt")  # somebody's; too common a name
    assert find_weights("dists") is None


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        load_weights(name)
    assert caught.value.exit_code == 3
    for word in (WEIGHT_FILES[name].url, str(tmp_path / "cache" / "openjscc"), "OPENJSCC_METRIC_WEIGHTS"):
        assert word in caught.value.hint
    assert not (tmp_path / "cache").exists()


def test_another_network_is_refused(heads: dict[str, torch.Tensor], tmp_path: Path) -> None:
    key = "lin3.model.1.weight"
    path = save(heads | {key: heads[key].nextafter(torch.tensor(1.0))}, tmp_path / "cache" / "openjscc" / "alex.pth")
    with pytest.raises(IntegrityError) as caught:
        load_weights("lpips-alex")
    assert str(path) in caught.value.message
    assert WEIGHT_FILES["lpips-alex"].url in caught.value.hint


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "keys", "types", "list"])
def test_damaged_files(damage: str, heads: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = save(heads, tmp_path / "cache" / "openjscc" / "alex.pth")
    if damage in ("keys", "types", "list"):
        torch.save({"keys": {"a": torch.ones(1)}, "types": dict.fromkeys(heads, 1.0), "list": [1]}[damage], path)
    else:
        path.write_bytes({"empty": b"", "text": b"not weights", "truncated": path.read_bytes()[:-900]}[damage])
    with pytest.raises(IntegrityError):
        load_weights("lpips-alex")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    path = tmp_path / "cache" / "openjscc" / "alex.pth"
    path.parent.mkdir(parents=True)
    torch.save({"lin0.model.1.weight": Payload()}, path)
    with pytest.raises(IntegrityError):
        load_weights("lpips-alex")
    assert not (tmp_path / "run").exists()


def published(heads: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Path:
    """A larger checkpoint at a file:// address, as the published one."""
    source = save(heads | {"classifier.weight": torch.ones(100)}, tmp_path / "server" / "full.pth")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    file = dataclasses.replace(WEIGHT_FILES["lpips-alex"], **({"url": source.as_uri(), "sha256": digest} | changes))
    monkeypatch.setitem(WEIGHT_FILES, "lpips-alex", file)
    monkeypatch.setenv("OPENJSCC_OFFLINE", "0")
    return tmp_path / "cache" / "openjscc"


def test_download(heads: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    cache = published(heads, tmp_path, monkeypatch)
    assert same(load_weights("lpips-alex"), heads)
    out, err = capfd.readouterr()
    assert out == ""
    assert "full.pth" in err
    assert [path.name for path in cache.iterdir()] == ["lpips_lin_v0.1_alex.pth"]
    assert same(torch.load(cache / "lpips_lin_v0.1_alex.pth", weights_only=True), heads)  # without the rest
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    assert same(load_weights("lpips-alex"), heads)


def test_download_of_another_file(heads: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = published(heads, tmp_path, monkeypatch, sha256="0" * 64)
    with pytest.raises(IntegrityError):
        load_weights("lpips-alex")
    assert list(cache.iterdir()) == []


def test_failed_download(heads: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(heads, tmp_path, monkeypatch, url=(tmp_path / "nothing.pth").as_uri())
    with pytest.raises(MissingError) as caught:
        load_weights("lpips-alex")
    assert "cannot be downloaded" in caught.value.message


@pytest.mark.parametrize(
    ("plan", "widths"), [(ALEXNET, (64, 192, 384, 256, 256)), (VGG16, (64, 128, 256, 512, 512))], ids=["alexnet", "vgg16"]
)
def test_stages(plan: backbones.Plan, widths: tuple[int, ...]) -> None:
    """Shapes of random networks; the smallest picture, and one pixel less."""
    kernels = {0: 11, 3: 5} if plan is ALEXNET else {}
    parameters, inputs = {}, 3
    for width, stage in zip(widths, plan.stages, strict=True):
        for conv in stage:
            kernel = kernels.get(conv.index, 3)
            parameters[f"features.{conv.index}.weight"] = torch.randn(width, inputs, kernel, kernel) / (kernel * inputs**0.5)
            parameters[f"features.{conv.index}.bias"] = torch.zeros(width)
            inputs = width
    network = Backbone(plan, parameters)
    assert not list(network.parameters())
    assert not network.state_dict()
    shapes = [tuple(stage.shape[1:]) for stage in network.stages(torch.randn(2, 3, 63, 95))]
    assert [shape[0] for shape in shapes] == list(widths)
    sizes = {"alex": [(15, 23), (7, 11), (3, 5), (3, 5), (3, 5)], "vgg": [(63, 95), (31, 47), (15, 23), (7, 11), (3, 5)]}
    assert [shape[1:] for shape in shapes] == sizes["alex" if plan is ALEXNET else "vgg"]
    *_, last = network.stages(torch.randn(1, 3, plan.smallest, plan.smallest))
    assert last.shape[2:] == (1, 1)
    with pytest.raises(UsageError) as caught:
        list(network.stages(torch.randn(1, 3, plan.smallest, plan.smallest - 1)))
    assert str(plan.smallest) in caught.value.hint


# ---------------------------------------------------------------- FID's network


@pytest.fixture(scope="module")
def stand_in() -> dict[str, torch.Tensor]:
    """Random weights with the keys and shapes of the published file, its classifier too."""
    torch.manual_seed(0)
    network = inception._network()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    return state | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


def as_published(tensors: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = save(tensors, tmp_path / "given" / "inception" / "pt_inception-2015-12-05-6726825d.pth")
    monkeypatch.setenv("OPENJSCC_METRIC_WEIGHTS", str(tmp_path / "given"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHT_FILES, "inception", dataclasses.replace(WEIGHT_FILES["inception"], sha256=digest))
    return path


def test_inception_is_built_like_the_published_one() -> None:
    with torch.device("meta"):
        network = inception._network()
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568
    state = network.state_dict()
    assert len([key for key in state if key.endswith("conv.weight")]) == 94
    for key, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3dbl_3.bn.running_var": (96,),
        "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
    }.items():
        assert tuple(state[key].shape) == shape


def test_inception_loader(stand_in: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_published(stand_in, tmp_path, monkeypatch)
    network = inception.FIDInception().eval()
    x = torch.rand(2, 3, 40, 50)
    features = network(x)
    assert features.shape == (2, 2048)
    assert not features.requires_grad
    assert float(features.std()) > 0
    resized = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
    assert torch.allclose(network(resized), features, atol=1e-4)
    blocks = network.network
    y = 2 * resized - 1
    sizes = {}
    for name, block in blocks.named_children():
        y = block(y)
        sizes[name] = tuple(y.shape[1:])
    assert sizes["Mixed_5d"] == (288, 35, 35)
    assert sizes["Mixed_6e"] == (768, 17, 17)
    assert sizes["Mixed_7c"] == (2048, 8, 8)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError):
        inception.FIDInception()
    short = {key: tensor for key, tensor in stand_in.items() if not key.startswith("Mixed_7c")}
    as_published(short, tmp_path, monkeypatch)
    with pytest.raises(IntegrityError):
        inception.FIDInception()


def test_pooling_of_the_blocks() -> None:
    """Average without the padding, but the maximum in the last block."""
    blocks = inception._network()
    ones = torch.ones(1, 288, 5, 5)
    ramp = torch.arange(25.0).reshape(1, 1, 5, 5).expand(1, 2048, 5, 5)
    for block, x, corner in ((blocks.Mixed_5d, ones, 1.0), (blocks.Mixed_7c, ramp, 6.0)):
        seen: list[torch.Tensor] = []
        block.branch_pool.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            block.eval()(x)
        assert float(seen[0][0, 0, 0, 0]) == pytest.approx(corner)


def test_importing_loads_nothing() -> None:
    code = (
        "import sys, openjscc.metrics as m; from openjscc.metrics import backbones; "
        "assert not backbones._instance.cache_info().currsize; assert 'torchvision' not in sys.modules; "
        "assert 'torchmetrics' not in sys.modules; assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
