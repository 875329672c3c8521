"""Weight files: they say what they are, test themselves, and no damage goes unnoticed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import openjscc.weightfile as weights
from openjscc.codec import Conditions
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.models import create, export, list_models, load, read_info, resolve, verify

FACTS = {"steps": 0, "data": ["none"], "compute": ["none"]}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weight") / "deepjscc.test.safetensors"
    export(create("deepjscc", "paper-2019"), path, tag="test", training=FACTS)
    return path


def rewritten(source: Path, target: Path, about: dict | None = None, change: float = 0.0) -> Path:
    """The file with other facts or other parameters."""
    from safetensors import safe_open

    with safe_open(source, framework="pt") as file:
        facts = json.loads(file.metadata()["openjscc"])
    tensors = load_file(source)
    for value in tensors.values():
        if value.is_floating_point():
            value += change
    save_file(tensors, target, {"openjscc": json.dumps(facts | (about or {}))})
    return target


def test_round_trip(released: Path) -> None:
    torch.manual_seed(1)
    original = create("deepjscc", "paper-2019")
    codec = load(released)
    assert codec.name == "deepjscc.test"
    assert codec.weight is not None
    assert codec.weight.parameters == 156_467
    assert codec.weight.training["data"] == ["none"]
    assert "Bourtsoulatze" in codec.weight.paper
    assert not codec.training
    for key, value in original.state_dict().items():
        assert torch.equal(value.half().float(), codec.state_dict()[key])
    assert verify(released).self_test["psnr_db"].keys() == {"1/6"}


def test_round_trip_of_a_network_with_buffers_that_are_not_stored(tmp_path: Path) -> None:
    original, path = create("adjscc", "photo"), tmp_path / "adjscc.lapped.safetensors"
    assert len(list(original.buffers())) > len(original.state_dict()) - len(list(original.parameters()))
    export(original, path, tag="lapped", training=FACTS)
    assert load(path).state_dict().keys() == original.state_dict().keys()


def test_half_precision_halves_the_file(released: Path) -> None:
    assert released.stat().st_size < 156_467 * 2 + 10_000


@pytest.mark.parametrize("keep", [0, 4, 100, 1000, 200_000])
def test_truncated(released: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(released.read_bytes()[:keep])
    with pytest.raises(IntegrityError):
        load(path)


@pytest.mark.parametrize("position", [12, 300, 1000, 3000, 100_000, -1])
def test_one_flipped_bit(released: Path, tmp_path: Path, position: int) -> None:
    data = bytearray(released.read_bytes())
    data[position] ^= 0x10
    path = tmp_path / "t.safetensors"
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError):
        load(path)


def test_foreign_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(IntegrityError, match="not an openjscc weight"):
        load(path)


def test_changed_behaviour_is_an_error(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trap of the field: a checkpoint that loses decibels on a newer torch without an error."""
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    path = rewritten(released, tmp_path / "t.safetensors", {"sha256": "same"}, change=0.01)
    with pytest.raises(IntegrityError, match=r"fails its self-test: .* dB at CBR 1/6, expected"):
        load(path)
    assert load(path, verify=False).name == "deepjscc.test"


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"config": {"rates": [16], "surprise": 1}}, "surprise"),
        ({"arch": "nonesuch", "name": "nonesuch.test"}, "unknown architecture"),
        ({"config": {"rates": [8]}}, "does not fit"),
    ],
)
def test_an_intact_file_of_another_version(
    released: Path, tmp_path: Path, about: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(released, tmp_path / "t.safetensors", about | {"sha256": "same"})
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    with pytest.raises(IntegrityError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"arch": "nonesuch", "name": "nonesuch.test"}, "checksum"),
        ({"config": {"rates": [16], "surprise": 1}}, "checksum"),
        ({"config": {"rates": [16, 10**9]}}, "checksum"),
        ({"sha256": "0"}, "checksum"),
        ({"parameters": "many"}, "parameters"),
    ],
)
def test_facts_that_do_not_fit(released: Path, tmp_path: Path, about: dict, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        load(rewritten(released, tmp_path / "t.safetensors", about))


def test_names(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tag, config in (("photo", "photo"), ("cifar10", "cifar10")):
        export(create("adjscc", config), tmp_path / f"adjscc.{tag}.safetensors", tag=tag, training=FACTS)
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    assert {"adjscc.photo", "adjscc.cifar10"} <= {info.name for info in list_models()}
    assert resolve("adjscc") == "adjscc.photo"
    assert resolve("adjscc", data="cifar10") == "adjscc.cifar10"
    assert resolve("adjscc", ratio=1 / 48, data="cifar10") == "adjscc.photo"
    assert resolve(str(released)) == str(released)
    with pytest.raises(UsageError, match="1/5") as caught:
        resolve("adjscc", ratio=1 / 5)
    assert "adjscc.photo: 1/48, 1/24, 1/16, 1/12, 1/6" in caught.value.hint
    for wrong, near in (("adjsc", "adjscc"), ("adjscc.foto", "adjscc.photo"), ("ADJSCC.photo", "adjscc.photo")):
        with pytest.raises(UsageError) as caught:
            resolve(wrong)
        assert near in caught.value.hint
    with pytest.raises(MissingError):
        load(tmp_path / "none.safetensors")


def test_a_file_under_a_wrong_name(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deepjscc.best.safetensors").write_bytes(released.read_bytes())
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    with pytest.raises(IntegrityError, match=r"holds deepjscc\.test"):
        load("deepjscc.best")


@pytest.mark.parametrize("config", ["photo", "cifar10"])
def test_export_of_a_codec_in_channels_last(config: str, tmp_path: Path) -> None:
    """As the training loop hands it over; 1x1 convolutions have odd strides then."""
    torch.manual_seed(0)
    codec = create("adjscc", config)
    infos = []
    for layout in (torch.contiguous_format, torch.channels_last):
        codec = codec.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        infos.append(export(codec, tmp_path / f"{len(infos)}.safetensors", tag="t", training=FACTS))
    assert infos[0].sha256 == infos[1].sha256
    for key, value in load(tmp_path / "1.safetensors").state_dict().items():
        assert torch.equal(value, codec.state_dict()[key].half().float())


def test_export_refuses_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    codec = create("deepjscc", "paper-2019")
    with torch.no_grad():
        next(codec.parameters()).fill_(1e6)
    with pytest.raises(UsageError, match="half precision"):
        export(codec, tmp_path / "t.safetensors", tag="t", training=FACTS)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="safetensors"):
        export(create("deepjscc", "paper-2019"), tmp_path / "t.pt", tag="t", training=FACTS)


@pytest.mark.parametrize(("arch", "ratios"), [("deeplab_jscc", {"1/32"}), ("mtgsc", {"1/16", "1/32"})])
def test_segmentations_are_tested_by_their_scores(
    arch: str, ratios: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    path = tmp_path / f"{arch}.test.safetensors"
    promised = export(create(arch, "photo"), path, tag="test", training=FACTS).self_test
    assert promised["psnr_db"].keys() == (ratios if arch == "mtgsc" else set())
    assert {ratio: len(scores) for ratio, scores in promised["scores"].items()} == {"1/32": 21}
    assert verify(path).name == f"{arch}.test"
    promised["scores"]["1/32"][3] += 0.1
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    changed = rewritten(path, tmp_path / "t.safetensors", {"self_test": promised, "sha256": "same"})
    with pytest.raises(IntegrityError, match=r"fails its self-test: a mean score of .* for class 3 at CBR 1/32, expected"):
        load(changed)


def test_a_weight_serves_unseen_sizes_with_its_facts_attached(released: Path) -> None:
    frame = load(released).encode(torch.rand(1, 3, 33, 50), Conditions())
    assert frame.side.height == 33


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"self_test": {}}, "tests nothing"),
        ({"self_test": {"picture": "probe.png", "snr_db": 10.0, "psnr_db": {}}}, "tests nothing"),
        ({"self_test": {"picture": "probe.png", "snr_db": 10.0, "psnr_db": "x"}}, "tests nothing"),
        ({"self_test": {"picture": "probe.png", "snr_db": 10.0, "psnr_db": {"1/3": 20.0}}}, "no self-test of everything"),
        ({"self_test": {"picture": "probe.png", "snr_db": 10.0, "psnr_db": {"1/6": "20"}}}, "no self-test of everything"),
        ({"self_test": {"picture": "other.png", "snr_db": 10.0, "psnr_db": {"1/6": 20.0}}}, "no self-test of everything"),
        ({"name": "a" * 10**6}, "damaged header"),
        ({"name": "deepjscc.t\nest", "tag": "t\nest"}, "damaged header"),
        ({"paper": "\ud800"}, "lone surrogate"),
        ({"ratios": [float("nan")]}, "damaged header"),
        ({"ratios": []}, "ratios"),
        ({"ratios": [0.25], "default_ratio": 0.25}, "other bandwidth ratios"),
        ({"default_ratio": float("nan")}, "damaged header"),
        ({"default_ratio": 0.5}, "default 0.5"),
        ({"parameters": 10**400}, "parameters is 1000"),
        ({"parameters": 5}, "156,467 parameters, not 5"),
    ],
)
def test_headers_that_lie(released: Path, tmp_path: Path, about: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum is right: whoever can write a header can compute it."""
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    with pytest.raises(IntegrityError, match=message) as caught:
        load(rewritten(released, tmp_path / "t.safetensors", about | {"sha256": "same"}))
    assert len(caught.value.message) < 500
    assert "\n" not in caught.value.message


TINY = {"rates": [8, 16], "network": "cifar10", "channels": [8, 8, 8]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rates": [8, 10**18]}, "beyond"),
        ({"rates": [8, 60_000]}, "more parameters"),
        ({"snr_range": [-1e308, 1e308]}, "beyond"),
        ({"snr_range": [20.0, 0.0]}, "snr_range"),
        ({"agreed_size": [0, 32]}, "agreed_size"),
        ({"snr_range": [10**400, 0.0]}, "snr_range[0] is 1000"),
        ({"default_rate": 99}, "default_rate 99 of 2"),
        ({"channels": [-5, 8, 8]}, "cannot be made"),
        ({"channels": [8.5, 8, 8]}, "channels[0] is 8.5"),
        ({"channels": [60_000, 8, 8]}, "more parameters"),
        ({"blocks": [60_000, 0, 0]}, "more parameters"),
        ({"channels": [8]}, "channels (8,) of the network 'cifar10'"),
        ({"network": "nonesuch"}, "nonesuch"),
        ({"network": {"kernels": [3], "strides": [2], "channels": []}}, "does not fit"),
        ({"network": {"kernels": [{}], "strides": ["2"], "channels": 3}}, "does not fit"),
    ],
)
def test_configurations_that_lie(
    tiny_weights: Path, tmp_path: Path, config: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_weights / "adjscc.photo.safetensors"
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    with pytest.raises(IntegrityError) as caught:
        load(rewritten(source, tmp_path / "t.safetensors", {"config": TINY | config, "sha256": "same"}))
    assert message in f"{caught.value}"
    assert load(rewritten(source, tmp_path / "t.safetensors", {"sha256": "same"})).name == "adjscc.photo"


def test_a_network_is_not_built_before_its_shapes_are_known(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is built that has more values than the file."""
    monkeypatch.setattr(weights, "digest", lambda facts, tensors: "same")
    built: list[int] = []
    empty = torch.empty

    def counted(*size: int, **options: object) -> torch.Tensor:
        made = empty(*size, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
        built.append(0 if made.is_meta else made.numel())
        return made

    monkeypatch.setattr(torch, "empty", counted)
    large = {"config": TINY | {"channels": [8192, 8, 8]}, "sha256": "same"}
    most = read_info(tiny_weights / "adjscc.photo.safetensors").parameters
    with pytest.raises(IntegrityError, match="more parameters"):
        load(rewritten(tiny_weights / "adjscc.photo.safetensors", tmp_path / "t.safetensors", large))
    assert max(built, default=0) < most


def test_parameters_of_another_type(released: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(released, framework="pt") as file:
        metadata = file.metadata()
    tensors = {key: value.bfloat16() for key, value in load_file(released).items()}
    save_file(tensors, tmp_path / "t.safetensors", metadata)
    with pytest.raises(IntegrityError, match="bfloat16"):
        load(tmp_path / "t.safetensors")


@pytest.mark.parametrize("text", ["[" * 20_000, '{"format": ' + "9" * 5000 + "}", "{}", "[]", '"x"', '{"format": [1]}'])
def test_headers_that_are_none(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "t.safetensors", {"openjscc": text})
    with pytest.raises(IntegrityError) as caught:
        load(tmp_path / "t.safetensors")
    assert len(caught.value.message) < 500


def test_one_bad_file_does_not_break_the_others(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in tiny_weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file({"a": torch.zeros(3)}, tmp_path / "adjscc.bad.safetensors", {"openjscc": "[" * 20_000})
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tmp_path))
    with pytest.warns(UserWarning, match="left out") as caught:
        assert "adjscc.photo" in {info.name for info in list_models()}
    assert len(caught) == 2
    with pytest.warns(UserWarning, match="left out"):
        assert resolve("adjscc", ratio=1 / 6) == "adjscc.photo"
    assert load("adjscc").name == "adjscc.photo"
    (tmp_path / "adjscc.photo.safetensors").write_bytes(b"junk")
    with pytest.raises(IntegrityError, match=r"adjscc\.photo"):  # what is meant is not replaced by another one
        resolve("adjscc", ratio=1 / 6)


@pytest.mark.parametrize("name", ["adjscc.photo", "arjscc.cifar10", "ganjscc.photo", "mtgsc.photo", "witt.photo", "jpeg-ldpc"])
def test_sending_does_not_load_torchs_compiler(name):
    """Arithmetic on the meta device, on which a network is planned, imports it: two seconds of every command."""
    code = (
        "import sys, torch, openjscc\n"
        f"codec = openjscc.load({name!r})\n"
        "size = codec.config.agreed_size or (64, 64) if hasattr(codec, 'config') else (64, 64)\n"
        "openjscc.transmit(codec, 'awgn', torch.rand(1, 3, *size), snr_db=10)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
