"""The training loop. Every draw is keyed by the global sample index, so the state of a run is its step and its tensors."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import logging
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.datasets import open_dataset
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..files import exclusive
from .batches import CropSource, prefetched
from .checkpoint import CHECKPOINT, TrainingState, load_checkpoint, save_checkpoint, save_travel
from .memory import check_memory
from .progress import RunLog
from .recipe import Recipe, is_of_model
from .sections import OptimizerSection
from .steps import TrainingStep, step_class
from .steps._base import StepInput

try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision, Precision
except ImportError:  # the all-in-one package carries it under another name
    from lightning.fabric import Fabric  # pyright: ignore[reportMissingImports]
    from lightning.fabric.plugins import MixedPrecision, Precision  # pyright: ignore[reportMissingImports]

FOREACH_LIMIT = 2**27
"""Adam works on all parameters at once up to so many; it takes another copy of them for that."""

ASK_EVERY = 10
"""Of several processes, the first is asked every so many updates whether time is up."""


@dataclass(frozen=True)
class RunOptions:
    """What is not part of the recipe: where, how long, from where.

    Attributes:
        out: folder of the run (checkpoint, log.csv, samples).
        data_dir: where data sets lie, else ``OPENJSCC_DATA``.
        resume: go on from the checkpoint in ``out`` (or the travelling state in ``travel``).
        max_minutes: stop after so many minutes of this sitting, with a checkpoint.
        max_steps: stop after so many updates of this sitting, with a checkpoint.
        travel: folder for a compact state that is written with every checkpoint.
    """

    out: Path
    data_dir: str | None = None
    resume: bool = False
    max_minutes: float = math.inf
    max_steps: int | None = None
    travel: Path | None = None


@dataclass(frozen=True)
class RunResult:
    """Where a sitting ended: the network with its averaged parameters, updates done, and whether the recipe is through."""

    network: nn.Module
    state: TrainingState
    finished: bool


def learning_rate(section: OptimizerSection, step: int) -> float:
    """Learning rate of update ``step`` (0-based)."""
    if step < section.warmup:
        return section.lr * (step + 1) / section.warmup
    if section.schedule == "constant":
        return section.lr
    progress = min((step - section.warmup) / max(section.steps - section.warmup, 1), 1.0)
    return section.final_lr + (section.lr - section.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


class _ExactInputs(MixedPrecision):  # pyright: ignore[reportGeneralTypeIssues]
    """Autocast inside, but pictures and draws come as they are: Fabric would round them to bfloat16."""

    def convert_input(self, data: Any) -> Any:
        return data


def precision(name: str, accelerator: str) -> Precision:
    """The plugin for a recipe's ``run.precision``."""
    return _ExactInputs("bf16-mixed", accelerator) if name == "bf16-mixed" else Precision()


def make_optimizer(step: TrainingStep, name: str) -> torch.optim.Optimizer:
    """The optimiser of one of a step's networks, as its section says."""
    section, parameters = step.optimizer_section(name), list(step.trained()[name].parameters())
    lr, decay, foreach = section.lr, section.weight_decay, sum(parameter.numel() for parameter in parameters) <= FOREACH_LIMIT
    if section.kind == "sgd":
        momentum = section.betas[0]
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=True, foreach=foreach)
    return torch.optim.AdamW(parameters, lr=lr, betas=section.betas, weight_decay=decay, foreach=foreach)


def train(recipe: Recipe, options: RunOptions, initial: nn.Module | None = None, say: Callable[[str], None] = print) -> RunResult:
    """Run a recipe, or go on with it.

    Args:
        recipe: what to do.
        options: where and for how long.
        initial: network to start from instead of a fresh one (fine-tuning).
        say: receives one line of progress at a time.

    Raises:
        UsageError: a folder that already holds a run (without ``resume``) or in which another process trains, a batch that
            the processes cannot share, a checkpoint of another recipe, data that the step cannot use.
        MissingError: data that is not there.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    with contextlib.ExitStack() as locks:
        for folder in dict.fromkeys((options.out, options.travel)):
            if folder is not None and os.environ.get("RANK", "0") == "0":
                if not folder.exists():
                    folder.mkdir(parents=True)
                    locks.callback(_remove_if_empty, folder)  # of a run that ended before it began
                locks.enter_context(exclusive(folder))
        return _train(recipe, options, initial, say)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _train(recipe: Recipe, options: RunOptions, initial: nn.Module | None, say: Callable[[str], None]) -> RunResult:
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    accelerator = "cuda" if torch.cuda.device_count() >= processes else "cpu"
    section, run, kind = recipe.optimizer, recipe.run, step_class(recipe.step)
    torch.manual_seed(run.seed)
    network = initial if initial is not None else kind.create_network(recipe)
    network = network.to(memory_format=torch.channels_last).train().requires_grad_(True)  # pyright: ignore[reportCallIssue]
    step_module = kind(recipe, network).train()
    names = list(step_module.trained())
    whole = len(names) == 1 and not step_module.leaves_unused
    strategy = "auto" if processes == 1 or whole else "ddp_find_unused_parameters_true"
    fabric = Fabric(accelerator=accelerator, devices=processes, plugins=precision(run.precision, accelerator), strategy=strategy)
    fabric.launch()
    if section.batch % fabric.world_size:
        raise UsageError(f"batch {section.batch} over {fabric.world_size} processes", "choose a multiple of their number")
    said = say if fabric.is_global_zero else _nobody
    if text := check_memory(step_module, fabric.device):
        said(text)
    state = _previous_state(recipe, options, said)
    datasets = [open_dataset(name, options.data_dir, split="train", exclude=recipe.data.exclude) for name in recipe.data.train]
    step_module.say = said
    maps = step_module.attach(datasets, fabric.device)
    data, scaled = recipe.data, [step_module.scales(dataset) for dataset in datasets]
    source = CropSource(datasets, data.crop, data.flip, run.seed, fabric.device, maps, data.scale, scaled)
    if step_module.labels and not source.labelled:
        raise UsageError(f"{', '.join(recipe.data.train)}: pictures without class numbers", "train on data with labels: cifar10")
    model, *wrapped = fabric.setup(step_module, *(make_optimizer(step_module, name) for name in names))
    trained, optimizers = step_module.trained(), dict(zip(names, wrapped, strict=True))
    average = copy.deepcopy(network).requires_grad_(False).eval() if section.ema else network
    if state is not None:
        try:
            average.load_state_dict(state.part("ema"))
            for name in names:
                trained[name].load_state_dict(state.part(name))
                _restore_optimizer(optimizers[name], state.part(_optimizer_part(name)))
            state = dataclasses.replace(state, tensors={})  # the networks and optimisers have them now
        except (RuntimeError, KeyError, ValueError):
            raise IntegrityError(
                f"the checkpoint does not fit {recipe.model.arch}.{recipe.model.config}",
                "it was made by another version: start again",
            ) from None
    if run.compile:
        step_module.compile()

    start = state.step if state else 0
    stop = min(section.steps, start + options.max_steps) if options.max_steps is not None else section.steps
    clock = Clock(before=state.seconds if state else 0.0, minutes=options.max_minutes)
    compute = [*(state.compute if state else []), _describe_compute(fabric, source.size)]
    log = RunLog(options.out, start, stop, clock, enabled=fabric.is_global_zero, say=say)
    validation = step_module.validation(options.data_dir, options.out)
    share = section.batch // fabric.world_size
    shares = (
        range(step * section.batch + fabric.global_rank * share, step * section.batch + (fabric.global_rank + 1) * share)
        for step in range(start, stop)
    )

    seen = (state.images or start * section.batch) if state else 0

    def current(step: int) -> TrainingState:
        exact = state.exact if state else True
        images = seen + (step - start) * section.batch
        tensors = _tensors(trained, average, optimizers) if fabric.is_global_zero else {}
        return TrainingState(step, clock.seconds(), recipe.to_dict(), tensors, compute, exact, images)

    def checkpoint(step: int) -> TrainingState:
        now = current(step)
        if not fabric.is_global_zero:
            return now
        if not all(bool(torch.isfinite(value).all()) for value in now.tensors.values()):
            kept = "the last checkpoint is kept" if (options.out / CHECKPOINT).exists() else "there was no checkpoint yet"
            raise OpenJSCCError(f"the training has diverged by step {step}", f"{kept}; lower optimizer.lr")
        save_checkpoint(options.out, now)
        if options.travel is not None:
            save_travel(options.travel, now)
        return now

    def update(name: str, step: int, drawn: StepInput) -> dict[str, torch.Tensor]:
        """One optimiser's share of a step: what it minimised, for the log."""
        optimizer, settings = optimizers[name], step_module.optimizer_section(name)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        for other, module in trained.items():
            module.requires_grad_(other == name)
        values = {key: value.mean() for key, value in model(name, **vars(drawn)).items()}
        fabric.backward(values["loss"])
        if settings.clip:
            fabric.clip_gradients(model, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        shown = {key: value.detach() for key, value in values.items()}
        return shown if name == "model" else {f"{name}_{key}": value for key, value in shown.items()}

    def validate(step: int) -> None:
        if fabric.is_global_zero:
            average.eval()
            log.validated(step, validation(average, step))
            network.train()
        fabric.barrier()

    def due(step: int) -> bool:
        return step % run.validate_every == 0 or step == section.steps

    step, ended = start, None
    with log, Interruption() as interruption:
        if start and due(start) and fabric.broadcast(log.lacks_validation):
            validate(start)  # the sitting before was ended between checkpoint and validation
        for step, batch in enumerate(prefetched(source, shares), start=start):
            batch = dataclasses.replace(batch, x=batch.x.contiguous(memory_format=torch.channels_last))
            torch.manual_seed(_seed_of(run.seed, step, fabric.global_rank))  # for layers that draw themselves, as dropout
            drawn = step_module.prepare(batch, step)
            values: dict[str, torch.Tensor] = {}
            rate = learning_rate(step_module.optimizer_section(step_module.updates(step)[0]), step)
            for name in step_module.updates(step):
                values |= update(name, step, drawn)
            if section.ema and "model" in step_module.updates(step):
                _update_average(average, network, min(section.ema, (1 + step) / (10 + step)))
            step += 1
            log.update(step, values, rate, section.batch)
            last = step == stop
            if step % ASK_EVERY == 0 or fabric.world_size == 1:  # all processes must stop at the same step
                last = fabric.broadcast(last or clock.out_of_time() or interruption.asked)
            if last:
                ended = checkpoint(step)
            elif step % run.checkpoint_every == 0:
                checkpoint(step)
            if due(step):
                validate(step)
            if last:
                break
        if interruption.asked and step < section.steps:
            raise KeyboardInterrupt
    average.requires_grad_(False).eval()
    return RunResult(average, ended or current(step), finished=step >= section.steps)


class Clock:
    """Training time over all sittings, and the end of this one."""

    def __init__(self, before: float, minutes: float) -> None:
        self._start, self._before, self._minutes = time.monotonic(), before, minutes

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    def out_of_time(self) -> bool:
        return time.monotonic() - self._start > 60 * self._minutes


class Interruption:
    """Turns the first Ctrl-C into a wish to stop after the current update, with a checkpoint; a second one stops at once."""

    asked = False

    def __enter__(self) -> Interruption:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@torch.no_grad()
def _update_average(average: nn.Module, codec: nn.Module, decay: float) -> None:
    for mine, theirs in zip(average.parameters(), codec.parameters(), strict=True):
        mine.lerp_(theirs, 1.0 - decay)
    for mine, buffer in zip(average.buffers(), codec.buffers(), strict=True):
        mine.copy_(buffer)


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Of the layers' own draws in an update, so that a resumed run has the same ones."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:7], "big")


def _optimizer_part(name: str) -> str:
    """Under which prefix a checkpoint has the optimiser of a network."""
    return "optimizer" if name == "model" else f"{name}-optimizer"


def _tensors(trained: Mapping[str, nn.Module], average: nn.Module, optimizers: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    tensors = {f"ema.{key}": value for key, value in average.state_dict().items()}
    for name, module in trained.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for index, values in optimizers[name].state_dict()["state"].items():
            part = f"{_optimizer_part(name)}.{index}"
            tensors |= {f"{part}.{key}": torch.as_tensor(value) for key, value in values.items() if value is not None}
    return {key: value.detach().cpu() for key, value in tensors.items()}


def _restore_optimizer(optimizer, tensors: dict[str, torch.Tensor]) -> None:
    content = optimizer.state_dict()
    content["state"] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        content["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(content)


def _previous_state(recipe: Recipe, options: RunOptions, say: Callable[[str], None]) -> TrainingState | None:
    options.out.mkdir(parents=True, exist_ok=True)
    existing = (options.out / CHECKPOINT).exists()
    if not options.resume:
        if existing:
            raise UsageError(f"{options.out} already holds a run", "go on with --resume, or choose another folder with -o")
        return None
    source = options.out if existing or options.travel is None else options.travel
    state = load_checkpoint(source)
    if not state.checked:
        say(f"note: the checkpoint in {source} is of an older version and has no checksum")
    ours, theirs = (json.loads(json.dumps(values)) for values in (recipe.to_dict(), state.recipe))  # tuples as lists
    if not is_of_model(theirs, recipe.model) or ours["step"] != theirs.get("step", "reconstruction"):
        raise UsageError(
            f"{source} holds a run of {json.dumps(theirs.get('model'))}",
            "resume with the same step and [model], or choose another folder with -o",
        )
    for section, keys in ours.items():
        before = theirs.get(section)
        if section == "model" or not isinstance(keys, dict) or not isinstance(before, dict):
            continue
        for key, value in keys.items():
            if key in before and before[key] != value:
                say(f"note: {section}.{key} was {before[key]!r}, is now {value!r}")
        if section == "optimizer":
            was, now = before.get("kind", OptimizerSection.kind), recipe.optimizer.kind
            if was != now:
                raise UsageError(
                    f"optimizer.kind was {was!r} in {source}, is now {now!r}, which cannot use the other's state",
                    f"resume with --set optimizer.kind={was}. Or export the weight with it (--resume --max-steps 0 "
                    "--export FILE) and fine-tune from that in another folder (--set model.init=FILE)",
                )
    return state


def _nobody(text: str) -> None:
    """Says nothing."""


def _describe_compute(fabric: Fabric, pictures: int) -> str:
    if fabric.device.type == "cuda":
        machine = torch.cuda.get_device_name(fabric.device)
    else:
        machine = f"{torch.get_num_threads()} CPU thread(s) ({platform.machine()})"
    return f"{fabric.world_size} process(es), each on {machine}, torch {torch.__version__}, {pictures:,} training pictures"
