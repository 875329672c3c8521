"""The training loop. Every draw is keyed by the global sample index, so the state of a run is its step and its tensors."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..channels import Channel, Realisation, make_channel
from ..data.datasets import open_dataset
from ..errors import IntegrityError, OpenJSCCError, UsageError
from ..models import LearnedCodec, create
from .batches import CropSource, prefetched
from .checkpoint import CHECKPOINT, TrainingState, load_checkpoint, save_checkpoint, save_travel
from .draws import normals, uniforms
from .losses import LOSSES
from .progress import RunLog, Validation
from .recipe import OptimizerSection, Recipe
from .steps import ReconstructionStep

try:
    from lightning_fabric import Fabric
except ImportError:  # the all-in-one package carries it under another name
    from lightning.fabric import Fabric  # pyright: ignore[reportMissingImports]

STREAM_SNR, STREAM_RATE, STREAM_CHANNEL = 2, 3, 4
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
    """Where a sitting ended: the codec with its averaged parameters, updates done, and whether the recipe is through."""

    codec: LearnedCodec
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


def train(
    recipe: Recipe, options: RunOptions, initial: LearnedCodec | None = None, say: Callable[[str], None] = print
) -> RunResult:
    """Run a recipe, or go on with it.

    Args:
        recipe: what to do.
        options: where and for how long.
        initial: codec to start from instead of a fresh one (fine-tuning).
        say: receives one line of progress at a time.

    Raises:
        UsageError: a folder that already holds a run (without ``resume``), a batch that the processes cannot share, a
            checkpoint of another recipe.
        MissingError: data that is not there.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    accelerator = "cuda" if torch.cuda.device_count() >= processes else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=processes, precision=recipe.run.precision)
    fabric.launch()
    section, run = recipe.optimizer, recipe.run
    if section.batch % fabric.world_size:
        raise UsageError(f"batch {section.batch} over {fabric.world_size} processes", "choose a multiple of their number")
    state = _previous_state(recipe, options, say if fabric.is_global_zero else _nobody)

    torch.manual_seed(run.seed)
    codec = initial if initial is not None else create(recipe.model.arch, recipe.model.config)
    codec = codec.to(memory_format=torch.channels_last).train().requires_grad_(True)  # pyright: ignore[reportCallIssue]
    rates = rate_shares(recipe, codec)
    channel = make_channel(recipe.channel.name)
    source = CropSource(
        [open_dataset(name, options.data_dir, split="train", exclude=recipe.data.exclude) for name in recipe.data.train],
        recipe.data.crop, recipe.data.flip, run.seed, fabric.device,
    )  # fmt: skip
    step_module = ReconstructionStep(codec, channel, LOSSES[recipe.loss.kind], recipe.channel.equalizer)
    optimizer = torch.optim.AdamW(
        codec.parameters(), lr=section.lr, betas=section.betas, weight_decay=section.weight_decay, foreach=True
    )
    model, optimizer = fabric.setup(step_module, optimizer)
    average = copy.deepcopy(codec).requires_grad_(False).eval()
    if state is not None:
        try:
            codec.load_state_dict(state.part("model"))
            average.load_state_dict(state.part("ema"))
            _restore_optimizer(optimizer, state.part("optimizer"))
        except (RuntimeError, KeyError, ValueError):
            raise IntegrityError(
                f"the checkpoint does not fit {recipe.model.arch}.{recipe.model.config}",
                "it was made by another version: start again",
            ) from None
    if run.compile:
        codec.encoder.compile()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        codec.decoder.compile()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]

    start = state.step if state else 0
    stop = min(section.steps, start + options.max_steps) if options.max_steps is not None else section.steps
    clock = Clock(before=state.seconds if state else 0.0, minutes=options.max_minutes)
    compute = [*(state.compute if state else []), _describe_compute(fabric, source.size)]
    log = RunLog(options.out, start, stop, clock, enabled=fabric.is_global_zero, say=say)
    validation = Validation(recipe, options.data_dir, options.out)
    share = section.batch // fabric.world_size
    shares = (
        range(step * section.batch + fabric.global_rank * share, step * section.batch + (fabric.global_rank + 1) * share)
        for step in range(start, stop)
    )

    seen = (state.images or start * section.batch) if state else 0

    def current(step: int) -> TrainingState:
        exact = state.exact if state else True
        images = seen + (step - start) * section.batch
        tensors = _tensors(codec, average, optimizer)
        return TrainingState(step, clock.seconds(), recipe.to_dict(), tensors, compute, exact, images)

    def checkpoint(step: int) -> TrainingState:
        now = current(step)
        if not fabric.is_global_zero:
            return now
        if not all(bool(torch.isfinite(value).all()) for value in now.tensors.values()):
            raise OpenJSCCError(f"the training has diverged by step {step}", "the last checkpoint is kept; lower optimizer.lr")
        save_checkpoint(options.out, now)
        if options.travel is not None:
            save_travel(options.travel, now)
        return now

    step, ended = start, None
    with log, Interruption() as interruption:
        for step, (samples, x) in enumerate(prefetched(source, shares), start=start):
            rate = learning_rate(section, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            snr_db, ratio, draw = draw_conditions(recipe, codec, channel, rates, samples, x)
            loss = model(x.contiguous(memory_format=torch.channels_last), snr_db, ratio, draw.noise, draw.gain).mean()
            fabric.backward(loss)
            if section.clip:
                fabric.clip_gradients(model, optimizer, max_norm=section.clip, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad()
            _update_average(average, codec, min(section.ema, (1 + step) / (10 + step)) if section.ema else 0.0)
            step += 1
            log.update(step, loss, rate, section.batch)
            last = step == stop
            if step % ASK_EVERY == 0 or fabric.world_size == 1:  # all processes must stop at the same step
                last = fabric.broadcast(last or clock.out_of_time() or interruption.asked)
            if last or step % run.checkpoint_every == 0:
                ended = checkpoint(step)
            if step % run.validate_every == 0 or step == section.steps:
                if fabric.is_global_zero:
                    log.validated(step, validation(average, step))
                fabric.barrier()
            if last:
                break
        if interruption.asked and step < section.steps:
            raise KeyboardInterrupt
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


def rate_shares(recipe: Recipe, codec: LearnedCodec) -> torch.Tensor:
    """How often each rate is drawn, summed up: ``(rates,)``, the last one 1.

    Raises:
        UsageError: for ``loss.rate_weights`` that do not fit the codec.
    """
    weights = torch.tensor(recipe.loss.rate_weights or [1.0] * len(codec.ratios))
    if len(weights) != len(codec.ratios) or not bool((weights >= 0).all()) or not 0 < float(weights.sum()) < math.inf:
        raise UsageError(
            f"loss.rate_weights {list(recipe.loss.rate_weights)}", f"give {len(codec.ratios)} weights >= 0, one a rate, not all 0"
        )
    return weights.cumsum(0) / weights.sum()


def draw_conditions(
    recipe: Recipe, codec: LearnedCodec, channel: Channel, rates: torch.Tensor, samples: range, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, Realisation]:
    """SNR ``(B,)``, bandwidth ratio ``(B,)`` and channel draw of these global samples, each image its own.

    ``rates`` as `rate_shares` gives it.
    """
    seed, device = recipe.run.seed, x.device
    index = torch.tensor(list(samples), device=device)
    low, high = recipe.channel.snr_db
    snr_db = low + (high - low) * uniforms(seed, STREAM_SNR, index, 1)[:, 0]
    ratios = torch.tensor(codec.ratios, device=device)
    picks = uniforms(seed, STREAM_RATE, index, 1)[:, 0].contiguous()
    chosen = torch.searchsorted(rates.to(device), picks, right=True).clamp(max=len(ratios) - 1)
    height, width = x.shape[-2:]
    uses = codec.header.uses(height, width) + codec.payload_uses(height, width, len(ratios) - 1)
    realisation = channel.realise(normals(seed, STREAM_CHANNEL, index, channel.normal_count(uses)), uses)
    return snr_db, ratios[chosen], realisation


@torch.no_grad()
def _update_average(average: nn.Module, codec: nn.Module, decay: float) -> None:
    for mine, theirs in zip(average.parameters(), codec.parameters(), strict=True):
        mine.lerp_(theirs, 1.0 - decay)
    for mine, buffer in zip(average.buffers(), codec.buffers(), strict=True):
        mine.copy_(buffer)


def _tensors(codec: nn.Module, average: nn.Module, optimizer) -> dict[str, torch.Tensor]:
    tensors = {f"model.{key}": value for key, value in codec.state_dict().items()}
    tensors |= {f"ema.{key}": value for key, value in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in values.items()}
    return {key: value.detach().cpu().clone() for key, value in tensors.items()}


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
    ours, theirs = (json.loads(json.dumps(values)) for values in (recipe.to_dict(), state.recipe))  # tuples as lists
    if ours["model"] != theirs["model"]:
        raise UsageError(
            f"{source} holds a run of {json.dumps(theirs['model'])}",
            "resume with the same [model], or choose another folder with -o",
        )
    for section in ("data", "channel", "loss", "optimizer", "run"):
        for key, value in ours[section].items():
            if theirs[section].get(key) != value:
                say(f"note: {section}.{key} was {theirs[section].get(key)!r}, is now {value!r}")
    return state


def _nobody(text: str) -> None:
    """Says nothing."""


def _describe_compute(fabric: Fabric, pictures: int) -> str:
    if fabric.device.type == "cuda":
        machine = torch.cuda.get_device_name(fabric.device)
    else:
        machine = f"{torch.get_num_threads()} CPU thread(s) ({platform.machine()})"
    return f"{fabric.world_size} process(es), each on {machine}, torch {torch.__version__}, {pictures:,} training pictures"
