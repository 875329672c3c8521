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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.datasets import open_dataset
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..files import exclusive
from .batches import Batch, CropSource, prefetched
from .checkpoint import CHECKPOINT, TrainingState, load_checkpoint, save_checkpoint, save_travel
from .clock import Clock, Interruption
from .memory import check_memory
from .optimizer import learning_rate, make_optimizer, precision, update_average
from .progress import RunLog
from .recipe import Recipe, is_of_model
from .sections import OptimizerSection
from .steps import TrainingStep, step_class
from .steps._base import StepInput

try:
    from lightning_fabric import Fabric
except ImportError:  # the all-in-one package carries it under another name
    from lightning.fabric import Fabric  # pyright: ignore[reportMissingImports]

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
        return _Run(recipe, options, initial, say).go()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


class _Run:
    """A recipe at work: networks, optimisers, data, and how far it is."""

    def __init__(self, recipe: Recipe, options: RunOptions, initial: nn.Module | None, say: Callable[[str], None]) -> None:
        run, kind = recipe.run, step_class(recipe.step)
        torch.manual_seed(run.seed)
        network = initial if initial is not None else kind.create_network(recipe)
        network = network.to(memory_format=torch.channels_last).train().requires_grad_(True)  # pyright: ignore[reportCallIssue]
        step = kind(recipe, network).train()
        self.recipe, self.options, self.network, self.step = recipe, options, network, step
        self.fabric = _launched(recipe, step)
        said = say if self.fabric.is_global_zero else _nobody
        if text := check_memory(step, self.fabric.device):
            said(text)
        state = _previous_state(recipe, options, said)
        self.source = _source(recipe, step, options.data_dir, self.fabric.device, said)
        names = list(step.trained())
        self.model, *wrapped = self.fabric.setup(step, *(make_optimizer(step, name) for name in names))
        self.trained, self.optimizers = step.trained(), dict(zip(names, wrapped, strict=True))
        self.average = copy.deepcopy(network).requires_grad_(False).eval() if recipe.optimizer.ema else network
        if state is not None:
            state = self._restored(state)
        if run.compile:
            step.compile()
        self.start, self.exact = (state.step, state.exact) if state else (0, True)
        most = recipe.optimizer.steps
        self.stop = most if options.max_steps is None else min(most, self.start + options.max_steps)
        self.clock = Clock(before=state.seconds if state else 0.0, minutes=options.max_minutes)
        self.compute = [*(state.compute if state else []), _describe_compute(self.fabric, self.source.size)]
        self.seen = (state.images or self.start * recipe.optimizer.batch) if state else 0
        self.log = RunLog(options.out, self.start, self.stop, self.clock, enabled=self.fabric.is_global_zero, say=say)
        self.validation = step.validation(options.data_dir, options.out)

    def _restored(self, state: TrainingState) -> TrainingState:
        """The state without its tensors, which networks and optimisers have now."""
        try:
            self.average.load_state_dict(state.part("ema"))
            for name, optimizer in self.optimizers.items():
                self.trained[name].load_state_dict(state.part(name))
                _restore_optimizer(optimizer, state.part(_optimizer_part(name)))
        except (RuntimeError, KeyError, ValueError):
            model = self.recipe.model
            raise IntegrityError(
                f"the checkpoint does not fit {model.arch}.{model.config}", "it was made by another version: start again"
            ) from None
        return dataclasses.replace(state, tensors={})

    def go(self) -> RunResult:
        """All updates of this sitting."""
        section, step, ended = self.recipe.optimizer, self.start, None
        with self.log, Interruption() as interruption:
            if step and self._validates(step) and self.fabric.broadcast(self.log.lacks_validation):
                self._validate(step)  # the sitting before was ended between checkpoint and validation
            for step, batch in enumerate(prefetched(self.source, self._shares()), start=self.start):
                values, rate = self._updated(step, batch)
                step += 1
                self.log.update(step, values, rate, section.batch)
                last = step == self.stop
                if step % ASK_EVERY == 0 or self.fabric.world_size == 1:  # all processes must stop at the same step
                    last = self.fabric.broadcast(last or self.clock.out_of_time() or interruption.asked)
                if last:
                    ended = self._checkpoint(step)
                elif step % self.recipe.run.checkpoint_every == 0:
                    self._checkpoint(step)
                if self._validates(step):
                    self._validate(step)
                if last:
                    break
            if interruption.asked and step < section.steps:
                raise KeyboardInterrupt
        self.average.requires_grad_(False).eval()
        return RunResult(self.average, ended or self._state(step), finished=step >= section.steps)

    def _shares(self) -> Iterator[range]:
        """The samples of this process in each update."""
        batch, rank = self.recipe.optimizer.batch, self.fabric.global_rank
        share = batch // self.fabric.world_size
        for step in range(self.start, self.stop):
            yield range(step * batch + rank * share, step * batch + (rank + 1) * share)

    def _updated(self, step: int, batch: Batch) -> tuple[dict[str, torch.Tensor], float]:
        """One update of every optimiser whose turn it is: what was minimised, for the log, and the learning rate."""
        batch = dataclasses.replace(batch, x=batch.x.contiguous(memory_format=torch.channels_last))
        torch.manual_seed(_seed_of(self.recipe.run.seed, step, self.fabric.global_rank))  # for layers that draw, as dropout
        drawn, names, decay = self.step.prepare(batch, step), self.step.updates(step), self.recipe.optimizer.ema
        values: dict[str, torch.Tensor] = {}
        for name in names:
            values |= self._update(name, step, drawn)
        if decay and "model" in names:
            update_average(self.average, self.network, min(decay, (1 + step) / (10 + step)))
        return values, learning_rate(self.step.optimizer_section(names[0]), step)

    def _update(self, name: str, step: int, drawn: StepInput) -> dict[str, torch.Tensor]:
        """One optimiser's share of a step: what it minimised, for the log."""
        optimizer, settings = self.optimizers[name], self.step.optimizer_section(name)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        for other, module in self.trained.items():
            module.requires_grad_(other == name)
        values = {key: value.mean() for key, value in self.model(name, **vars(drawn)).items()}
        self.fabric.backward(values["loss"])
        if settings.clip:
            self.fabric.clip_gradients(self.model, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        shown = {key: value.detach() for key, value in values.items()}
        return shown if name == "model" else {f"{name}_{key}": value for key, value in shown.items()}

    def _validates(self, step: int) -> bool:
        return step % self.recipe.run.validate_every == 0 or step == self.recipe.optimizer.steps

    def _validate(self, step: int) -> None:
        if self.fabric.is_global_zero:
            self.average.eval()
            self.log.validated(step, self.validation(self.average, step))
            self.network.train()
        self.fabric.barrier()

    def _state(self, step: int) -> TrainingState:
        images = self.seen + (step - self.start) * self.recipe.optimizer.batch
        tensors = _tensors(self.trained, self.average, self.optimizers) if self.fabric.is_global_zero else {}
        return TrainingState(step, self.clock.seconds(), self.recipe.to_dict(), tensors, self.compute, self.exact, images)

    def _checkpoint(self, step: int) -> TrainingState:
        now = self._state(step)
        if not self.fabric.is_global_zero:
            return now
        out = self.options.out
        if not all(bool(torch.isfinite(value).all()) for value in now.tensors.values()):
            kept = "the last checkpoint is kept" if (out / CHECKPOINT).exists() else "there was no checkpoint yet"
            raise OpenJSCCError(f"the training has diverged by step {step}", f"{kept}; lower optimizer.lr")
        save_checkpoint(out, now)
        if self.options.travel is not None:
            save_travel(self.options.travel, now)
        return now


def _launched(recipe: Recipe, step: TrainingStep) -> Fabric:
    """The processes of a run, each on its device."""
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    processes, batch = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), recipe.optimizer.batch
    accelerator = "cuda" if torch.cuda.device_count() >= processes else "cpu"
    whole = len(step.trained()) == 1 and not step.leaves_unused
    strategy = "auto" if processes == 1 or whole else "ddp_find_unused_parameters_true"
    plugins = precision(recipe.run.precision, accelerator)
    fabric = Fabric(accelerator=accelerator, devices=processes, plugins=plugins, strategy=strategy)
    fabric.launch()
    if batch % fabric.world_size:
        raise UsageError(f"batch {batch} over {fabric.world_size} processes", "choose a multiple of their number")
    return fabric


def _source(
    recipe: Recipe, step: TrainingStep, data_dir: str | None, device: torch.device, say: Callable[[str], None]
) -> CropSource:  # fmt: skip
    """The crops that a step trains on."""
    data = recipe.data
    datasets = [open_dataset(name, data_dir, split="train", exclude=data.exclude) for name in data.train]
    step.say = say
    maps = step.attach(datasets, device)
    scaled = [step.scales(dataset) for dataset in datasets]
    source = CropSource(datasets, data.crop, data.flip, recipe.run.seed, device, maps, data.scale, scaled)
    if step.labels and not source.labelled:
        raise UsageError(f"{', '.join(data.train)}: images without class numbers", "train on data with labels: cifar10")
    return source


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
