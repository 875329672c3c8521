"""How much memory a run takes at least, found out before its first update."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import UsageError
from .steps import TrainingStep

SAID_FROM = 2**30
"""From so many bytes on a run says what it takes."""
GIB = 2**30


def least_memory(step: TrainingStep) -> int:
    """Bytes of all trained parameters, their optimisers' moments, the largest network's gradients, and the average."""
    bytes_of = {
        name: sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
        for name, module in step.trained().items()
    }
    moments = {"adamw": 2, "sgd": 1}
    total = sum(size * (1 + moments[step.optimizer_section(name).kind]) for name, size in bytes_of.items())
    return total + max(bytes_of.values()) + (bytes_of["model"] if step.recipe.optimizer.ema else 0)


def free_memory(device: torch.device) -> int | None:
    """Bytes that a process may still take on a device, of a CPU with swap; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        free = 1024 * (kib["MemAvailable"] + kib["SwapFree"])
    except (OSError, KeyError, ValueError):
        return None
    return min(free, _free_in_container() or free)


def _free_in_container() -> int | None:
    """What is left of the limit of a container; what it has in the page cache counts as free."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = int((folder / "memory.max").read_text()), int((folder / "memory.current").read_text())
        cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - used + int(cached["file"])
    except (OSError, KeyError, ValueError):  # "max": no limit
        return None


def check_memory(step: TrainingStep, device: torch.device) -> str:
    """What a run takes, in a sentence; empty where it is little.

    Raises:
        UsageError: the device has less.
    """
    section, model = step.recipe.optimizer, step.recipe.model
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
    need, free = processes * least_memory(step), free_memory(device)
    parameters = [parameter for module in step.trained().values() for parameter in module.parameters()]
    taken = processes * sum(each.numel() * each.element_size() for each in parameters if each.device.type == device.type)
    count = sum(parameter.numel() for parameter in step.network.parameters())
    text = f"{model.arch}.{model.config}: {count:,} parameters, their gradients and optimiser state"
    text += f"{' and average' if section.ema else ''} take {need / GIB:.1f} GiB"
    text += f" in {processes} processes" if processes > 1 else ""
    if free is not None and need > free + taken:
        without = "leave out the average (optimizer.ema=0), " if section.ema else ""
        raise UsageError(
            f"{text}, and there are {(free + taken) / GIB:.1f} GiB",
            f"{without}take a smaller configuration (model.config) or a machine with more memory",
        )
    return f"{text}; what the images take comes on top" if need >= SAID_FROM else ""
