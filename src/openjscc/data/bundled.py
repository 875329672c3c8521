"""The images that come with the package; their authors and licences are in ``samples/README.md``."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import torch

from ..errors import MissingError
from .images import read_image


def sample_photo() -> Path:
    """A 512x384 photograph to try things with."""
    return _sample("photo.webp")


def probe() -> torch.Tensor:
    """The image on which a weight file tests itself: float32 ``(1, 3, 96, 96)`` in [0, 1], stored without loss."""
    return read_image(_sample("probe.png")).pixels.unsqueeze(0)


def _sample(name: str) -> Path:
    with as_file(files("openjscc.data") / "samples" / name) as path:
        if not path.is_file():
            raise MissingError(
                f"the bundled picture {name} is missing from this installation", "pip install --force-reinstall openjscc"
            )
        return path
