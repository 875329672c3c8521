"""Task networks: the contract, released files, public ResNets, and networks of other packages."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from openjscc import tasks
from openjscc.codec import LOST_GREY
from openjscc.data.datasets import open_dataset
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.models import read_info as read_codec_info
from openjscc.tasks import (
    CIFAR10_CLASSES,
    CifarResNet,
    Classifier,
    ClassifierConfig,
    TaskNetwork,
    create,
    export,
    load_task_network,
    perceive,
    top_classes,
)
from openjscc.weightfile import digest, weight_files
from task_networks import Brightness

FACTS = {"steps": 0, "data": ["none"], "compute": ["none"]}
RESNET20 = Path(os.environ.get("OPENJSCC_DATA", "none")) / "weights" / "cifar_resnet20" / "resnet20-12fca82f.th"


@pytest.fixture
def network() -> Classifier:
    torch.manual_seed(1)
    return Classifier(ClassifierConfig(widths=(4, 6, 8, 10))).eval()


@pytest.fixture
def released(network: Classifier, tmp_path: Path) -> Path:
    path = tmp_path / "classifier.test.safetensors"
    export(network, path, tag="test", training=FACTS)
    return path


def state_of(network: torch.nn.Module, prefix: str = "module.") -> dict[str, torch.Tensor]:
    """As the public files have it: no counters of batches."""
    return {prefix + key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def test_the_released_configuration_fits_into_a_mebibyte() -> None:
    network = create("classifier", "cifar10")
    assert sum(parameter.numel() for parameter in network.parameters()) == 474_306
    assert network.classes == CIFAR10_CLASSES
    with pytest.raises(UsageError, match="cifar100"):
        create("classifier", "cifar100")
    with pytest.raises(UsageError, match="segmenter"):
        create("segmenter", "cifar10")


def test_round_trip(network: Classifier, released: Path) -> None:
    loaded = load_task_network(released)
    assert (loaded.name, loaded.kind, loaded.input_size) == ("classifier.test", "classification", (32, 32))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.weight is not None
    assert loaded.sha256 == loaded.weight.sha256 == tasks.read_info(released).sha256
    assert "He et al." in loaded.weight.paper
    for key, value in network.state_dict().items():
        kept = value.half().float() if value.is_floating_point() else value
        assert torch.equal(kept, loaded.state_dict()[key]), key
    x = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(loaded(x), network(x), atol=0.02, rtol=0.02)


def test_scores_are_differentiable_in_the_picture(network: Classifier) -> None:
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    network(x)[:, 3].sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("position", [12, 300, 1000, -1])
def test_one_flipped_bit(released: Path, position: int) -> None:
    content = bytearray(released.read_bytes())
    content[position] ^= 0x10
    released.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        load_task_network(released)


def with_facts(path: Path, **about: object) -> Path:
    """The file, with other facts in its header."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["openjscc"])
    save_file(load_file(path), path, {"openjscc": json.dumps(facts | about)})
    return path


def test_other_scores_are_an_error(released: Path) -> None:
    info, tensors = tasks.read_info(released), load_file(released)
    tensors["head.bias"] += 0.1
    facts = {key: value for key, value in vars(info).items() if key not in ("path", "file_bytes", "sha256")}
    save_file(tensors, released, {"openjscc": json.dumps(facts | {"sha256": digest(facts, tensors)})})
    with pytest.raises(IntegrityError, match="fails its self-test: a score of"):
        load_task_network(released)
    assert tasks.load(released, verify=False).name == "classifier.test"


def test_roles_are_not_mixed(released: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is a task network, not a codec"):
        read_codec_info(released)
    with pytest.raises(UsageError, match="is a codec, not a task network"):
        load_task_network(tiny_weights / "adjscc.photo.safetensors")
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    assert "classifier.cifar10" in weight_files("task")
    assert "adjscc.photo" in weight_files(None)
    assert not weight_files("task").keys() & weight_files(None).keys()


def test_names(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    assert load_task_network("classifier").name == load_task_network("classifier.cifar10").name == "classifier.cifar10"
    with pytest.raises(UsageError) as caught:
        load_task_network("clasifier")
    assert "classifier" in caught.value.hint
    for gone in ("none.safetensors", "none.th"):
        with pytest.raises(MissingError, match="none"):
            load_task_network(tmp_path / gone)
    monkeypatch.setattr("openjscc.weightfile.weight_files", lambda role: {})
    with pytest.raises(MissingError, match=r"classifier\.cifar10") as missing:
        load_task_network("classifier")
    assert "openjscc train classifier-cifar10" in missing.value.hint


def test_pictures_are_seen_as_they_are_stored() -> None:
    network = Brightness().eval()
    x = torch.rand(4, 3, 9, 7) * 1.4 - 0.2
    stored = (x.clamp(0, 1) * 255).round() / 255
    torch.testing.assert_close(perceive(network, x), network(stored), atol=1e-5, rtol=0)
    assert perceive(network, x.requires_grad_()).requires_grad is False


def test_images_of_another_range_are_refused(network: Classifier) -> None:
    with pytest.raises(UsageError, match="image values from 0 to 255"):
        perceive(network, 255 * torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32))


def test_other_sizes_are_resized_without_aliasing(network: Classifier) -> None:
    board = (torch.arange(64)[:, None] + torch.arange(96)) % 2  # finer than 32x32 can show: its mean is left
    seen = perceive(network, board.expand(1, 3, 64, 96).float())
    torch.testing.assert_close(seen, perceive(network, torch.full((1, 3, 32, 32), 0.5)), atol=0.05, rtol=0)
    assert perceive(network, torch.rand(2, 3, 1, 1)).shape == (2, 10)


def test_neighbours_do_not_matter(network: Classifier) -> None:
    x = torch.rand(16, 3, 32, 32)
    alone = torch.cat([perceive(network, picture[None]) for picture in x])
    torch.testing.assert_close(perceive(network, x), alone, atol=1e-4, rtol=0)


def test_likeliest_classes() -> None:
    network = Brightness().eval()
    dark, grey = top_classes(network, torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), LOST_GREY)]))
    assert [name for name, _ in dark] == ["dark", "middle", "bright"]
    assert grey[0][0] == "middle"
    assert sum(share for _, share in dark) == pytest.approx(1)
    network.kind = "segmentation"
    with pytest.raises(UsageError, match="segmentation"):
        top_classes(network, torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"self_test": {}}, "does not test every class"),
        ({"self_test": {"picture": "probe.png, its middle", "scores": {"airplane": 0.0}}}, "does not test every class"),
        ({"self_test": {"picture": "other.png", "scores": dict.fromkeys(CIFAR10_CLASSES, 0.0)}}, "of another kind"),
        ({"self_test": {"picture": "probe.png, its middle", "scores": dict.fromkeys(CIFAR10_CLASSES, "0")}}, "of another kind"),
        ({"config": {"widths": [4, 6, 8, 60_000]}}, "more parameters"),
        ({"config": {"widths": [4, 6, 8, 10**12]}}, "beyond"),
        ({"config": {"widths": [4, 6, 8, -1]}}, "cannot be made"),
        ({"config": {"widths": [4, 6, 8, 10], "mean": []}}, "cannot be run"),
        ({"classes": [], "self_test": {"scores": {}}}, "0 classes"),
        ({"input_size": [64, 64]}, "task, classes or size"),
        ({"parameters": 3}, "not 3"),
    ],
)
def test_headers_that_lie(released: Path, about: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openjscc.weightfile.digest", lambda facts, tensors: "same")
    with pytest.raises(IntegrityError, match=message):
        tasks.load(with_facts(released, **about, sha256="same"))


def test_scores_of_other_classes_are_refused() -> None:
    network = Brightness().eval()
    network.classes = ("dark", "bright")
    with pytest.raises(UsageError, match=r"gives \(1, 3\)"):
        perceive(network, torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(("blocks", "classes"), [(1, 10), (3, 10), (2, 100)])
def test_a_resnet_tells_its_depth(blocks: int, classes: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = CifarResNet(blocks, classes=tuple(map(str, range(classes)))).eval()
    path = tmp_path / "mine.th"
    torch.save({"state_dict": state_of(original), "best_prec1": 50.0}, path)
    loaded = load_task_network(path)
    assert (loaded.name, len(loaded.classes)) == ("mine", classes)
    assert isinstance(loaded, CifarResNet)
    assert len(loaded.layer2) == blocks
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(x), original(x))
    torch.save(state_of(original, prefix=""), tmp_path / "plain.pt")
    assert load_task_network(tmp_path / "plain.pt").sha256 == loaded.sha256


def test_no_resnet_is_built_that_its_file_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 180 kB says three stages 4,096 wide, which take 11 GiB."""
    built, empty, state = [0], torch.empty, state_of(CifarResNet(1), prefix="")
    state["layer3.0.conv1.weight"] = torch.zeros(1).expand(4096, 32, 3, 3)
    torch.save(state, tmp_path / "net.th")

    def counted(*size: object, **options: object) -> torch.Tensor:
        made = empty(*size, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
        built.append(0 if made.is_meta else made.numel())
        return made

    monkeypatch.setattr(torch, "empty", counted)
    with pytest.raises(IntegrityError, match=r"net\.th"):
        load_task_network(tmp_path / "net.th")
    assert max(built) < 2**20


class Allocates:
    def __reduce__(self) -> tuple:
        return (bytearray, (2**30,))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_allocates_no_more_than_it_holds(legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.load` lets a pickle make a bytearray of any size."""
    torch.save({"a": Allocates()}, tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpickled"))
    with pytest.raises(IntegrityError, match=r"net\.pth"):
        load_task_network(tmp_path / "net.pth")


def test_a_resnet_in_the_old_format_of_torch(tmp_path: Path) -> None:
    original = CifarResNet(1).eval()
    torch.save(state_of(original), tmp_path / "net.th", _use_new_zipfile_serialization=False)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_task_network(tmp_path / "net.th")(x), original(x))


def test_the_paper_s_parameter_counts() -> None:
    """Table 6 of He et al.: 0.27, 0.46, 0.66, 0.85 M for 20, 32, 44, 56 layers."""
    counts = [sum(p.numel() for p in CifarResNet(blocks).parameters()) / 1e6 for blocks in (3, 5, 7, 9)]
    assert counts == pytest.approx([0.27, 0.46, 0.66, 0.85], abs=0.006)


@pytest.mark.parametrize("what", ["text", "truncated", "other", "missing", "infinite", "code", "expanded", "compressed"])
def test_files_that_are_no_resnet(what: str, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "was-here",))

    path, state = tmp_path / "net.pth", state_of(CifarResNet(1), prefix="")
    if what == "missing":
        del state["layer3.0.conv2.weight"]
    if what == "infinite":
        state["linear.bias"][0] = torch.inf
    if what == "expanded":  # what one value says of 11 GiB
        state["layer3.0.conv1.weight"] = torch.zeros(1).expand(40_000, 8000, 3, 3)
    torch.save({"a": torch.zeros(3)} if what == "other" else state, path)
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    if what == "text":
        path.write_text("no weights")
    if what == "code":
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    if what == "compressed":
        with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as after:
            for name in before.namelist():
                after.writestr(name, before.read(name))
        (tmp_path / "packed").replace(path)
    with pytest.raises(IntegrityError, match=r"net\.pth"):
        load_task_network(path)
    assert not (tmp_path / "was-here").exists()


def test_networks_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    module = ModuleType("somebodys_network")
    module.make, module.nothing, module.bare = Brightness, dict, TaskNetwork  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "somebodys_network", module)
    group = tasks._registry.GROUP
    assert group == "openjscc.task_networks"
    entries = [EntryPoint(name, f"somebodys_network:{name}", group) for name in ("make", "nothing", "bare", "gone")]
    monkeypatch.setattr("openjscc.plugins.entry_points", lambda group: [entry for entry in entries if entry.group == group])
    loaded = load_task_network("make")
    assert (loaded.name, loaded.classes[0], loaded.training) == ("make", "dark", False)
    before = loaded.sha256
    assert before == load_task_network("make").sha256
    with torch.no_grad():
        next(loaded.parameters()).add_(0.1)
    assert loaded.sha256 != before
    for wrong in ("nothing", "bare", "gone"):
        with pytest.raises(UsageError, match=wrong):
            load_task_network(wrong)


def accuracy_on_cifar10(network: TaskNetwork) -> tuple[float, int]:
    try:
        dataset = open_dataset("cifar10")
    except MissingError:
        pytest.skip("no CIFAR-10: set OPENJSCC_DATA")
    assert dataset.labels is not None
    hits = 0
    for start in range(0, len(dataset), 250):
        numbers = range(start, min(start + 250, len(dataset)))
        x = torch.stack([dataset.shared(number) for number in numbers]).float() / 255
        hits += int((perceive(network, x).argmax(1) == dataset.labels[start : numbers.stop]).sum())
    return hits / len(dataset), len(dataset)


@pytest.mark.slow
@pytest.mark.skipif(not RESNET20.is_file(), reason="no resnet20-12fca82f.th in OPENJSCC_DATA/weights/cifar_resnet20")
def test_the_public_resnet20_is_as_good_as_its_authors_say() -> None:
    """91.73 % on the whole test set; on a part of it within four standard deviations."""
    accuracy, pictures = accuracy_on_cifar10(load_task_network(RESNET20))
    tolerance = 2e-4 if pictures == 10_000 else 4 * np.sqrt(0.9173 * 0.0827 / pictures)
    assert accuracy == pytest.approx(0.9173, abs=tolerance)


@pytest.mark.skipif("classifier.cifar10" not in weight_files("task"), reason="the weight classifier.cifar10 is not at hand")
def test_the_released_classifier_has_its_card() -> None:
    root = Path(__file__).resolve().parents[2]
    info = tasks.read_info(weight_files("task")["classifier.cifar10"])
    assert info.file_bytes <= 2**20
    assert tuple(info.classes) == CIFAR10_CLASSES
    card = (root / "cards" / "classifier.cifar10.md").read_text()
    figures = {record["metric"]: record for record in info.reference}
    assert {record["images"] for record in info.reference} == {10_000}
    assert f"{100 * figures['accuracy']['mean']:.2f} % of the 10,000 test pictures" in card
    assert f"F1 {figures['f1']['mean']:.4f}" in card
    assert f"{info.parameters:,}" in card
    assert all(line in card for line in (info.training["terms"], *info.training["compute"]))
    assert (root / "results" / "training" / "classifier.cifar10.csv").is_file()


@pytest.mark.slow
@pytest.mark.skipif("classifier.cifar10" not in weight_files("task"), reason="the weight classifier.cifar10 is not at hand")
def test_the_released_classifier_is_as_good_as_its_file_says() -> None:
    network = load_task_network("classifier")
    assert network.weight is not None
    (record,) = [item for item in network.weight.reference if item["metric"] == "accuracy"]
    accuracy, pictures = accuracy_on_cifar10(network)
    expected = record["mean"]
    tolerance = 3e-4 if pictures == record["images"] else 4 * np.sqrt(expected * (1 - expected) / pictures)
    assert accuracy == pytest.approx(expected, abs=tolerance)


def test_the_network_of_the_page_keeps_the_contract() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(code, names)
    network = names["Brightness"]().eval()
    assert [
        classes[0][0] for classes in top_classes(network, torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 4, 4))
    ] == [
        "dark",
        "middle",
        "bright",
    ]
    assert len(network.sha256) == 64
