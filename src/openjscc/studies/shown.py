"""The sections of a study's TOML file that show pictures: strips and heat maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..bench.task_metrics import DEFAULT_METRICS, RECONSTRUCTION
from ..channels import make_channel
from ..errors import UsageError, unknown_name
from ..report.columns import Value, in_order
from ..report.strips import Crop
from ..tasks.semantics import WEIGHTINGS, Output
from ..units import AUTO
from .sections import BenchSection, check_file, ratio_of

STRIP_SUFFIXES = (".png", ".webp")


@dataclass(frozen=True)
class StripSection:
    """Received images side by side. Of one picture: a row per condition, a column per system; of several: a column per image,
    a row per condition and system.

    Attributes:
        file: name within the results' folder, ``.png`` or ``.webp``.
        picture: which one of the data set, or several; the suffix may be left out.
        systems: names.
        snr_db: average SNRs in dB.
        channel: spec.
        ratio: bandwidth ratio, as ``"1/16"`` or a number; left out: each system's default. A list: one for each of the systems,
            which may then be named repeatedly, and captions say who sends how much.
        crop: x, y, width and height in pixels; left out: all.
        told_snr_db: what the transmitter takes the SNR for; left out: it knows it.
        seed: of fading and noise.
        caption: below the images, on the page.
        task_network: the one whose class for each shown image is said; left out: none is.
        task: ``reconstruction``, or ``segmentation``: masks, beside the data set's own.
        uses: say the channel uses of each.
    """

    file: str
    picture: Any
    systems: tuple[str, ...]
    snr_db: tuple[float, ...]
    channel: str = "awgn"
    ratio: Any = None
    crop: Crop | None = None
    told_snr_db: float | None = None
    seed: int = 0
    caption: str = ""
    task_network: str = ""
    task: str = RECONSTRUCTION
    uses: bool = False

    def __post_init__(self) -> None:
        check_file(self.file, STRIP_SUFFIXES)
        _ = self.pictures
        if self.task not in DEFAULT_METRICS:
            raise unknown_name("task", self.task, DEFAULT_METRICS)
        if self.task_network and self.task != RECONSTRUCTION:
            raise UsageError(f"task_network {self.task_network!r} with the task {self.task}", "name systems CODEC+NETWORK")
        if self.crop is not None and (min(self.crop) < 0 or not all(self.crop[2:])):
            raise UsageError(f"crop {list(self.crop)}", "x, y, width and height in pixels, e.g. [100, 50, 128, 128]")
        if isinstance(self.ratio, (list, tuple)) and len(self.ratio) != len(self.systems):
            raise UsageError(f"ratio {list(self.ratio)} for {len(self.systems)} systems", "give one for each, or one for all")
        pairs = list(zip(self.systems, self.ratios or (None,) * len(self.systems), strict=True))
        if len(set(pairs)) < len(pairs):
            raise UsageError("a strip shows one system twice at the same ratio", "name each once, or give each its own ratio")
        _ = self.benches

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names, one or more."""
        return _pictures(self.picture)

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """One for each system; empty: all have the same, or their defaults."""
        return tuple(ratio_of(value) for value in self.ratio) if isinstance(self.ratio, (list, tuple)) else ()

    @property
    def benches(self) -> tuple[BenchSection, ...]:
        """What has to be sent: one for each different ratio."""
        if not self.ratios:
            return (self._bench(self.systems, () if self.ratio is None else (self.ratio,)),)
        pairs = list(zip(self.systems, self.ratios, strict=True))
        return tuple(
            self._bench(tuple(system for system, other in pairs if other == ratio), (AUTO if ratio is None else ratio,))
            for ratio in dict.fromkeys(self.ratios)
        )

    def _bench(self, systems: tuple[str, ...], ratio: tuple[Any, ...]) -> BenchSection:
        metrics = DEFAULT_METRICS[self.task][:1]
        return BenchSection(systems, self.snr_db, (self.channel,), ratio, metrics, told_snr_db=self.told_snr_db, seed=self.seed)

    def conditions(self, ratios: set[float | None]) -> dict[str, list[Value]]:
        """That its kept images meet, at these nominal ratios."""
        told: Value = self.told_snr_db
        return {
            "channel": [make_channel(self.channel).name],
            "snr_db": [*self.snr_db],
            "ratio": in_order(ratios),
            "told_snr_db": [told],
        }


@dataclass(frozen=True)
class HeatmapSection:
    """Semantic weights of images as heat maps: a row per image, a column per weighting.

    Attributes:
        file: name within the results' folder, ``.png`` or ``.webp``.
        picture: which one of the data set, or several; the suffix may be left out.
        task_network: whose gradients; left out: the data set's own network.
        weighting: of `openjscc.tasks.semantics.WEIGHTINGS`.
        output: what is differentiated, of `openjscc.tasks.semantics.OUTPUTS`.
        caption: below the images, on the page.
    """

    file: str
    picture: Any
    task_network: str = ""
    weighting: tuple[str, ...] = tuple(WEIGHTINGS)
    output: Output = "logits"
    caption: str = ""

    def __post_init__(self) -> None:
        check_file(self.file, STRIP_SUFFIXES)
        _ = self.pictures
        if not self.weighting:
            raise UsageError("weighting is empty", "give at least one")
        for name in self.weighting:
            if name not in WEIGHTINGS:
                raise unknown_name("weighting", name, WEIGHTINGS)
        if self.output == "softmax" and "literal" in self.weighting:
            raise UsageError("weighting literal of softmax outputs is zero", "leave it out, or take the logits")

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names, one or more."""
        return _pictures(self.picture)


def _pictures(value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not names or len(set(map(str, names))) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"picture {value!r}", "name one picture, or several, each once")
    return names
