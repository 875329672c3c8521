"""What a study's page says besides its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bench.records import RECORDS, RUN, read_run
from ..configuration import convert
from ..errors import IntegrityError, UsageError
from ..weightfile import WeightFacts
from .pictures import Seen

STUDY = "study"
"""Key of the facts in ``run.json``."""


@dataclass(frozen=True)
class Weight:
    """A weight that was measured, and its training.

    Attributes:
        name: ``arch.tag``.
        parameters: number of parameters.
        sha256: of facts and parameters (hex).
        data: what it was trained on.
        steps: updates, where known.
        seconds: training time, where known.
        compute: devices of the training.
    """

    name: str
    parameters: int
    sha256: str
    data: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    compute: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: WeightFacts) -> Weight:
        """From the header of a weight file."""
        known = info.training
        steps, seconds = known.get("steps"), known.get("seconds")
        return cls(
            info.name, info.parameters, info.sha256, tuple(map(str, known.get("data", []))),
            steps if isinstance(steps, int) else None, float(seconds) if isinstance(seconds, (int, float)) else None,
            tuple(dict.fromkeys(map(str, known.get("compute", [])))),
        )  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a page says besides its records; kept in ``run.json`` under ``study``.

    Attributes:
        name: of the study: the page is NAME.md.
        command: that measures it again.
        quick: only some of the images that the study asks for.
        missing: metrics that were left out, and why.
        data_notes: what a reader must know of the data set.
        weights: of the learned systems, and of task networks that are part of one.
        seen: task networks of strips and heat maps.
    """

    name: str
    command: str
    quick: bool = False
    missing: dict[str, Any] = field(default_factory=dict)
    data_notes: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    seen: tuple[Seen, ...] = ()


def read_facts(folder: Path) -> Facts | None:
    """What ``run.json`` of a folder says of a study; None: nothing. Raises IntegrityError: it is damaged."""
    try:
        content = read_run(folder / RECORDS).get(STUDY)
        return None if content is None else convert(Facts, content, f"{folder / RUN}: {STUDY}")
    except (OSError, ValueError, UsageError) as error:
        raise IntegrityError(getattr(error, "message", f"{folder / RUN} is damaged: {error}"), "run the study again") from None
