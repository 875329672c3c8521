"""The samples of one frame, and the names and bounds that all forms of a recording share."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingError, UsageError

META, DATA, ARCHIVE, ARRAY, PIPE = ".sigmf-meta", ".sigmf-data", ".sigmf", ".npy", "-"
DATATYPE = "cf32_le"
SAMPLE = np.dtype("<c8")
EXTENSION = {"name": "openjscc", "version": "1.0.0", "optional": True}
LARGEST_META = 2**23
"""Bytes of metadata: 37,000 frames."""
LARGEST_FRAME = 2**29
"""Bytes of one frame: 67 million samples."""
LONGEST_LABEL, LONGEST_TEXT = 255, 1000


@dataclass(frozen=True)
class Burst:
    """The samples of one frame, and what the recording says about them.

    Attributes:
        symbols: complex64 ``(k,)``.
        gain: complex64 ``(1,)`` or ``(k,)``, the channel's gain as the receiver knows it; None: 1.
        noise_var: noise variance per complex symbol; None: the receiver estimates it.
        label: name of the image.
        system: the system by name. A hint for people, and what both ends agreed on where `agreed`.
        agreed: the header names no system: it is short, or of a plug-in that has none.
        draw: SHA-256 of the sent image, by which simulated channels choose their draw (rule C12).
        channel: what a simulated channel did, as plain values.
        framed: the symbols are one frame; False: they may hold several, one after another, and exact zeros between them.
    """

    symbols: np.ndarray
    gain: np.ndarray | None = None
    noise_var: float | None = None
    label: str = ""
    system: str = ""
    agreed: bool = False
    draw: str = ""
    channel: dict[str, Any] = dataclasses.field(default_factory=dict)
    framed: bool = True

    def replace(self, **changes: Any) -> Burst:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def samples_of(burst: Burst) -> np.ndarray:
    """complex64 ``(k, 1)``, or ``(k, 2)`` with the gains beside the symbols."""
    symbols = np.ascontiguousarray(burst.symbols, dtype=SAMPLE)
    if symbols.ndim != 1 or not len(symbols):
        raise UsageError(f"a frame of shape {symbols.shape}", "give symbols (k,), one or more")
    if burst.gain is None or len(burst.gain) == 1:
        return symbols[:, None]
    return np.stack([symbols, np.asarray(burst.gain, dtype=SAMPLE)], axis=1)


def check_file(path: Path, kind: str, hint: str) -> None:
    """Raises MissingError where there is none, UsageError for what is no file or may not be read."""
    if not os.path.exists(path):
        raise MissingError(f"no {kind} {path}", hint)
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no ordinary file"
        raise UsageError(f"{path} is {what}", "name a file; of a pipe: openjscc rx - < PIPE")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: no permission to read it", "ask its owner, or copy it")
