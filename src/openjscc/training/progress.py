"""What a run shows and leaves behind: a progress bar, ``log.csv``, validation figures and sample images."""

from __future__ import annotations

import csv
import io
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..codec import CodecInfo
from ..data.datasets import open_dataset
from ..data.images import to_uint8
from ..files import write_atomically
from ..link import transmit
from ..metrics import METRICS
from ..models import LearnedCodec
from ..units import format_ratio
from .recipe import Recipe

if TYPE_CHECKING:
    from .clock import Clock

LOG = "log.csv"
LOG_EVERY = 50
"""Updates between two lines of ``log.csv``."""

SAY_EVERY = 10.0
"""Seconds between two lines about a step that takes long before training."""

FIELDS: tuple[str, ...] = ("step", "seconds", "loss", "lr", "images_per_s", "validation", "terms", "updates")
"""``updates``: how many the means of ``loss`` and ``terms`` are over; fewer than `LOG_EVERY` where a sitting began or
ended in between."""


def rows_until(path: Path, step: int) -> list[dict[str, str]]:
    """The rows of a ``log.csv`` up to a step; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal()]
    return [row for row in rows if int(row["step"]) <= step]


def lacks_validation(folder: Path, step: int) -> bool:
    """Whether a run was ended between its checkpoint at a step where a validation is due, and that validation."""
    path = folder / LOG
    return path.exists() and not any(int(row["step"]) == step and row.get("validation") for row in rows_until(path, step))


class Count:
    """One line now and then about a step that takes long, with how many are done and how fast. Call it with their number.

    Args:
        label: what is made.
        total: of how many images.
        say: receives the lines.
    """

    def __init__(self, label: str, total: int, say: Callable[[str], None]) -> None:
        self._label, self._total, self._say = label, total, say
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not done:
            self._start = now
        elif done < self._total and now - self._last < SAY_EVERY:
            return
        self._last = now
        rate = f", {done / max(now - self._start, 1e-9):.1f} images/s" if done else ""
        self._say(f"{self._label}: {done:,} of {self._total:,} images{rate}")


class RunLog:
    """``log.csv`` and the progress bar (on a terminal; elsewhere one line a validation).

    Attributes:
        lacks_validation: see `lacks_validation`, of the step that this sitting begins with.
    """

    def __init__(self, folder: Path, start: int, stop: int, clock: Clock, enabled: bool, say: Callable[[str], None]) -> None:
        self._path, self._start, self._stop = folder / LOG, start, stop
        self._clock, self._enabled, self._say = clock, enabled, say
        self._count = 0
        self.lacks_validation = lacks_validation(folder, start)
        self._terms: dict[str, list[torch.Tensor]] = {}
        self._bar = None

    def __enter__(self) -> RunLog:
        if not self._enabled:
            return self
        kept = rows_until(self._path, self._start)
        beginning = io.StringIO(newline="")
        rows = csv.DictWriter(beginning, FIELDS, restval="", extrasaction="ignore")
        rows.writeheader()
        rows.writerows(kept)
        write_atomically(self._path, beginning.getvalue().encode())
        self._file = self._path.open("a", newline="")
        self._rows = csv.DictWriter(self._file, FIELDS, restval="", extrasaction="ignore")
        self._mark = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figure]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=self._stop, completed=self._start, rate="", figure="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._file.close()
            if self._bar is not None:
                self._bar.stop()

    def update(self, step: int, values: Mapping[str, torch.Tensor], lr: float, batch: int) -> None:
        """After every step: what was minimised (``loss``) and further values by name, each a number."""
        self._count += 1
        if not self._enabled:
            return
        for name, value in values.items():
            self._terms.setdefault(name, []).append(value.detach())
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if step % LOG_EVERY == 0 or step == self._stop:
            now = time.monotonic()
            rate = self._count * batch / (now - self._mark)
            updates, self._mark, self._count = self._count, now, 0
            means = {name: torch.stack(terms).mean().item() for name, terms in self._terms.items()}
            self._terms.clear()
            mean = means.pop("loss", None)  # None where the updates were other networks'
            row: dict[str, object] = {
                "step": step,
                "seconds": f"{self._clock.seconds():.1f}",
                "loss": "" if mean is None else f"{mean:.6g}",
                "lr": f"{lr:.4g}",
                "terms": ", ".join(f"{name} {value:.6g}" for name, value in means.items()),
                "updates": updates,
            }
            self._rows.writerow(row | {"images_per_s": f"{rate:.1f}"})
            self._file.flush()
            if self._bar is not None:
                self._bar.update(
                    self._task, rate=f"{rate:.1f} images/s", figure=row["terms"] if mean is None else f"loss {mean:.4g}"
                )

    def validated(self, step: int, text: str) -> None:
        """After a validation: its figures in words."""
        self._rows.writerow({"step": step, "seconds": f"{self._clock.seconds():.1f}", "validation": text})
        self._file.flush()
        self._mark = time.monotonic()
        line = f"step {step}, {self._clock.seconds() / 60:.1f} min: {text}"
        if self._bar is not None:
            self._bar.console.print(line)
        else:
            self._say(line)


class Validation:
    """PSNR of the averaged codec at every rate, and a strip of received images, on images it is not trained on."""

    def __init__(self, recipe: Recipe, data_dir: str | None, folder: Path) -> None:
        self.recipe, self._folder = recipe, folder / "samples"
        dataset = open_dataset(recipe.data.validate, data_dir, split="test")
        count = min(recipe.data.validate_limit, len(dataset))
        chosen = [i * len(dataset) // count for i in range(count)]
        self.dataset, self.chosen = dataset, chosen
        self.pictures = [dataset[i] for i in chosen]
        self.labels = None if dataset.labels is None else dataset.labels[chosen].tolist()

    def __call__(self, network: nn.Module, step: int) -> str:
        """Mean PSNR in dB by bandwidth ratio, in words; writes ``samples/step-*.png``: sent above, received below."""
        codec = self.codec(network)
        figures = [f"CBR {format_ratio(ratio)} {self._figures(codec, ratio, step)[0]}" for ratio in codec.ratios]
        if CodecInfo(codec).has_policy:
            text, used = self._figures(codec, None, step)
            figures.append(f"policy {text} at CBR {used:.4f}")
        return ", ".join(figures)

    def measured(self, sent: torch.Tensor, received: torch.Tensor) -> dict[str, float]:
        """What is measured of images ``(1, 3, H, W)``: PSNR in dB, and in subclasses further figures by name."""
        return {"PSNR": METRICS["psnr"].function(sent, received).item()}

    @staticmethod
    def codec(network: nn.Module) -> LearnedCodec:
        """The network, which is a codec."""
        assert isinstance(network, LearnedCodec)
        return network

    def _figures(self, codec: LearnedCodec, ratio: float | None, step: int) -> tuple[str, float]:
        """Mean figures, in words, and mean bandwidth ratio with the header."""
        values: list[dict[str, float]] = []
        used: list[float] = []
        shown: list[tuple[torch.Tensor, torch.Tensor]] = []
        for picture in self.pictures:
            x = picture[None].float() / 255.0
            channel, snr_db = self.recipe.channel, self.recipe.run.validate_snr_db
            result = transmit(codec, channel.name, x, snr_db, ratio=ratio, equalizer=channel.equalizer)
            assert result.image is not None
            image = result.image.float().cpu()
            values.append(self.measured(x, image))
            used.append(result.bandwidth_ratio[0].item())
            if len(shown) < 4:
                shown.append((x[0], image[0]))
        if ratio == codec.default_ratio:
            self._write_strip(shown, step)
        means = {name: statistics.fmean(each[name] for each in values) for name in values[0]}
        text = [f"{means.pop('PSNR'):.2f} dB", *(f"{name} {mean:.4f}" for name, mean in means.items())]
        return " ".join(text), statistics.fmean(used)

    def _write_strip(self, shown: list[tuple[torch.Tensor, torch.Tensor]], step: int) -> None:
        from PIL import Image

        self._folder.mkdir(parents=True, exist_ok=True)
        height = min(sent.shape[1] for sent, _ in shown)
        columns = [torch.cat([sent[:, :height], received[:, :height]], dim=1)[:, :, :384] for sent, received in shown]
        strip = torch.cat(columns, dim=2)
        Image.fromarray(to_uint8(strip).permute(1, 2, 0).numpy()).save(self._folder / f"step-{step:06d}.png")
