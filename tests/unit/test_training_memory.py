"""What a run keeps in memory: no second copies, and a word before it starts."""

from pathlib import Path

import pytest
import torch

from helpers import short_recipe, silent
from openjscc.errors import UsageError
from openjscc.files import write_atomically
from openjscc.training import memory, progress
from openjscc.training.checkpoint import TrainingState, load_checkpoint, save_travel
from openjscc.training.loop import RunOptions, train
from openjscc.training.optimizer import FOREACH_LIMIT, make_optimizer
from openjscc.training.recipe import load_recipe
from openjscc.training.steps import step_class

pytest.importorskip("lightning_fabric")

CPU = torch.device("cpu")


def test_without_an_average_the_network_itself_is_validated(
    one_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In evaluation mode, and then it learns on as if nobody had looked."""
    modes: list[bool] = []
    validate = progress.Validation.__call__

    def watched(self: progress.Validation, network: torch.nn.Module, step: int) -> dict[str, float]:
        modes.extend(module.training for module in network.modules())
        return validate(self, network, step)

    monkeypatch.setattr(progress.Validation, "__call__", watched)
    often = train(
        short_recipe(one_image, "run.validate_every=1", name="arjscc-paper"), RunOptions(tmp_path / "often"), say=silent
    )
    assert modes
    assert not any(modes)
    seldom = train(short_recipe(one_image, name="arjscc-paper"), RunOptions(tmp_path / "seldom"), say=silent)
    for key, value in often.state.tensors.items():
        assert torch.equal(value, seldom.state.tensors[key]), key
    assert not often.network.training
    assert not any(parameter.requires_grad for parameter in often.network.parameters())
    saved = load_checkpoint(tmp_path / "often")
    for key, value in saved.part("ema").items():
        assert torch.equal(value, saved.part("model")[key]), key


@pytest.mark.parametrize(("ema", "copies"), [(0.0, 3), (0.9, 4)])
def test_a_state_holds_no_copies(ema: float, copies: int, one_image: Path, tmp_path: Path) -> None:
    result = train(short_recipe(one_image, f"optimizer.ema={ema}"), RunOptions(tmp_path, max_steps=2), say=silent)
    for key, value in result.network.state_dict().items():
        assert value.data_ptr() == result.state.tensors[f"ema.{key}"].data_ptr(), key
    size = sum(parameter.numel() for parameter in result.network.parameters())
    tensors = {value.data_ptr(): value for value in result.state.tensors.values()}.values()
    assert sum(value.numel() for value in tensors if value.ndim) == copies * size
    assert (tmp_path / "last.ckpt").stat().st_size < 4 * (copies + 0.5) * size


def test_without_an_average_a_state_travels(one_image: Path, tmp_path: Path) -> None:
    travel = tmp_path / "travel"
    plan = short_recipe(one_image, name="arjscc-paper")  # with whole numbers in its buffers
    train(plan, RunOptions(tmp_path / "here", max_steps=2, travel=travel), say=silent)
    assert train(plan, RunOptions(tmp_path / "there", resume=True, travel=travel), say=silent).finished


def test_values_that_half_precision_cannot_hold_travel_once_each(tmp_path: Path) -> None:
    large = torch.full((3,), 1e30)
    save_travel(tmp_path, TrainingState(1, 0.0, {}, {"model.a": large, "ema.a": large}, []))
    assert torch.equal(load_checkpoint(tmp_path).tensors["ema.a"], large)


def test_a_file_can_be_written_piece_by_piece(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", lambda file: [file.write(part) for part in (b"one", b"two")])
    assert (tmp_path / "a").read_bytes() == b"onetwo"

    def broken(file: object) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        write_atomically(tmp_path / "a", broken)
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_large_networks_are_updated_without_a_further_copy(one_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = short_recipe(one_image)
    step = step_class(plan.step)(plan, step_class(plan.step).create_network(plan))
    assert make_optimizer(step, "model").defaults["foreach"]
    monkeypatch.setattr("openjscc.training.optimizer.FOREACH_LIMIT", 100_000)
    assert not make_optimizer(step, "model").defaults["foreach"]
    assert 44_271_776 < FOREACH_LIMIT < 683_991_975  # DeepLab, MTGSC


@pytest.mark.parametrize(("changes", "copies"), [([], 4), (["optimizer.ema=0.9"], 5), (["optimizer.kind=sgd"], 3)])
def test_what_a_run_takes_is_known_before(
    changes: list[str], copies: int, one_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = short_recipe(one_image, "optimizer.lr=1e-6", *changes)
    size = 4 * 156_467
    step = step_class(plan.step)(plan, step_class(plan.step).create_network(plan))
    assert memory.least_memory(step) == copies * size
    assert memory.check_memory(step, CPU) == ""
    monkeypatch.setattr(memory, "SAID_FROM", copies * size)
    monkeypatch.setattr(memory, "free_memory", lambda device: (copies - 1) * size)  # the parameters are there already
    lines: list[str] = []
    train(plan, RunOptions(tmp_path / "run", max_steps=1), say=lines.append)
    assert lines[0].startswith("deepjscc.paper-2019: 156,467 parameters, their gradients and optimiser state")
    assert ("and average" in lines[0]) == (copies == 5)
    monkeypatch.setattr(memory, "free_memory", lambda device: (copies - 1) * size - 1)
    with pytest.raises(UsageError, match=r"parameters, their gradients.* GiB, and there are") as caught:
        train(plan, RunOptions(tmp_path / "none"), say=silent)
    assert ("optimizer.ema=0" in caught.value.hint) == (copies == 5)
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    assert train(plan, RunOptions(tmp_path / "unknown", max_steps=1), say=silent).state.step == 1


def test_the_papers_mtgsc_needs_ten_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = load_recipe("mtgsc-paper")
    with torch.device("meta"):
        network = step_class(plan.step).create_network(plan)
    step = step_class(plan.step)(plan, network)
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    assert memory.least_memory(step) == 4 * 4 * 683_991_975  # 10.2 GiB
    assert "10.2 GiB; what the images take comes on top" in memory.check_memory(step, torch.device("meta"))


def test_processes_of_one_machine_share_its_memory(one_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = short_recipe(one_image)
    step = step_class(plan.step)(plan, step_class(plan.step).create_network(plan))
    monkeypatch.setattr(memory, "free_memory", lambda device: 4 * 4 * 156_467)
    memory.check_memory(step, CPU)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="in 4 processes"):
        memory.check_memory(step, CPU)


def test_free_memory_is_between_nothing_and_all() -> None:
    free = memory.free_memory(CPU)
    assert free is None or 0 < free < 2**50
