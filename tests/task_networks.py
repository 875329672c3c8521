"""Task networks for tests: one that sees brightness, and pictures whose class that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from openjscc.classes import VOC
from openjscc.tasks import TaskNetwork


class Brightness(TaskNetwork):
    """Takes a picture for the class of its mean value; of any size."""

    kind = "classification"
    classes = ("dark", "middle", "bright")

    def __init__(self, name: str = "brightness", centres: tuple[float, float, float] = (0.0, 0.5, 1.0)) -> None:
        super().__init__()
        self.name = name
        self.centres = torch.nn.Parameter(torch.tensor(centres))
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -50 * (x.mean((1, 2, 3))[:, None] - self.centres).square()


def labelled(path: Path, wrong: int = 3, count: int = 12, side: int = 16) -> Path:
    """An npz file of pictures that are dark, middle and bright in turn; the last ``wrong`` labels are the next class's."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    pictures = (np.array([30, 128, 220])[labels][:, None, None, None] + rng.integers(-20, 20, (count, side, side, 3))).astype(
        np.uint8
    )
    labels[count - wrong :] = (labels[count - wrong :] + 1) % 3
    arrays = {f"{part}_{split}": values for split in ("train", "test") for part, values in (("x", pictures), ("y", labels))}
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


class Shades(TaskNetwork):
    """Takes dark pixels for VOC's background and bright ones for a person; grey ones for a sheep, which nothing else is."""

    kind = "segmentation"
    classes = VOC

    def __init__(self, name: str = "shades", input_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.name = name
        self.input_size = input_size
        self.centres = torch.nn.Parameter(torch.tensor([0.15, 0.5, 0.85]))
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        likely = -50 * (x.mean(1, keepdim=True) - self.centres[:, None, None]).square()
        scores = x.new_full((len(x), len(VOC), *x.shape[-2:]), -100.0)
        return scores.index_copy(1, torch.tensor(SHADES, device=x.device), likely)


SHADES = tuple(VOC.index(name) for name in ("background", "sheep", "person"))
