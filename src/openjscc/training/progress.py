"""What a run shows and leaves behind: a progress bar, ``log.csv``, validation figures and sample images."""

from __future__ import annotations

import csv
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
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

LOG, OLD_LOG = "log.csv", "log-old.csv"
LOG_EVERY = 50
"""Updates between two lines of ``log.csv``."""

SAY_EVERY = 10.0
"""Seconds between two lines about a step that takes long before training."""

FIELDS = ("step", "seconds", "loss", "lr", "images_per_s", "updates")
"""Columns of every log; then one for each further value of an update, and ``val_NAME`` for each figure of a validation.

``updates``: how many the means of a row are over; fewer than `LOG_EVERY` where a sitting began or ended in between.
"""


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
    return path.exists() and not any(int(row["step"]) == step and not row.get("lr") for row in rows_until(path, step))


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
        rows = rows_until(self._path, self._start)
        if rows and "validation" in rows[0]:  # of an older version, with figures in words: kept as it is beside the new one
            write_atomically(self._path.with_name(OLD_LOG), self._path.read_bytes())
            rows = [{name: row.get(name, "") for name in FIELDS} for row in rows]
        self._restart(dict.fromkeys([*FIELDS, *(rows[0] if rows else [])]), rows)
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
            row = {name: f"{value:.6g}" for name, value in means.items()}
            self._write(step, row | {"lr": f"{lr:.4g}", "images_per_s": f"{rate:.1f}", "updates": str(updates)})
            if self._bar is not None:
                shown = {"loss": means["loss"]} if "loss" in means else means  # no loss where the updates were other networks'
                self._bar.update(self._task, rate=f"{rate:.1f} images/s", figure=in_words(shown))

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """After a validation: its figures by name."""
        self._write(step, {f"val_{name}": f"{value:.6g}" for name, value in figures.items()})
        self._mark = time.monotonic()
        line = f"step {step}, {self._clock.seconds() / 60:.1f} min: {in_words(figures)}"
        if self._bar is not None:
            self._bar.console.print(line)
        else:
            self._say(line)

    def _write(self, step: int, values: dict[str, str]) -> None:
        if not values.keys() <= set(self._rows.fieldnames):
            self._file.close()
            self._restart(dict.fromkeys([*self._rows.fieldnames, *values]), rows_until(self._path, step))
        self._rows.writerow({"step": step, "seconds": f"{self._clock.seconds():.1f}"} | values)
        self._file.flush()

    def _restart(self, columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> None:
        """Write the file anew with these columns, and leave it open for further rows."""
        beginning = io.StringIO(newline="")
        table = csv.DictWriter(beginning, list(columns), restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
        write_atomically(self._path, beginning.getvalue().encode())
        self._file = self._path.open("a", newline="")
        self._rows = csv.DictWriter(self._file, table.fieldnames, restval="")


def in_words(figures: Mapping[str, float]) -> str:
    """``psnr_1/16 27.1234, lpips_1/16 0.1234``."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


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

    def __call__(self, network: nn.Module, step: int) -> dict[str, float]:
        """Mean figures as ``NAME_RATIO``, e.g. ``psnr_1/16`` in dB. A codec that decides its own rate adds ``NAME_policy``,
        and its bandwidth ratio with the header, ``cbr_policy``. Writes ``samples/step-*.png``: sent above, received below."""
        codec, figures = self.codec(network), dict[str, float]()
        for ratio in (*codec.ratios, *([None] if CodecInfo(codec).has_policy else [])):
            means = self._means(codec, ratio, step)
            used = means.pop("cbr")
            figures |= {f"{name}_{'policy' if ratio is None else format_ratio(ratio)}": value for name, value in means.items()}
            if ratio is None:
                figures["cbr_policy"] = used
        return figures

    def measured(self, sent: torch.Tensor, received: torch.Tensor) -> dict[str, float]:
        """What is measured of images ``(1, 3, H, W)``: PSNR in dB, and in subclasses further figures by name."""
        return {"psnr": METRICS["psnr"].function(sent, received).item()}

    @staticmethod
    def codec(network: nn.Module) -> LearnedCodec:
        """The network, which is a codec."""
        assert isinstance(network, LearnedCodec)
        return network

    def _means(self, codec: LearnedCodec, ratio: float | None, step: int) -> dict[str, float]:
        """Mean figures, and as ``cbr`` the mean bandwidth ratio with the header."""
        values: list[dict[str, float]] = []
        shown: list[tuple[torch.Tensor, torch.Tensor]] = []
        for picture in self.pictures:
            x = picture[None].float() / 255.0
            channel, snr_db = self.recipe.channel, self.recipe.run.validate_snr_db
            result = transmit(codec, channel.name, x, snr_db, ratio=ratio, equalizer=channel.equalizer)
            assert result.image is not None
            image = result.image.float().cpu()
            values.append(self.measured(x, image) | {"cbr": result.bandwidth_ratio[0].item()})
            if len(shown) < 4:
                shown.append((x[0], image[0]))
        if ratio == codec.default_ratio:
            self._write_strip(shown, step)
        return {name: statistics.fmean(each[name] for each in values) for name in values[0]}

    def _write_strip(self, shown: list[tuple[torch.Tensor, torch.Tensor]], step: int) -> None:
        from PIL import Image

        self._folder.mkdir(parents=True, exist_ok=True)
        height = min(sent.shape[1] for sent, _ in shown)
        columns = [torch.cat([sent[:, :height], received[:, :height]], dim=1)[:, :, :384] for sent, received in shown]
        strip = torch.cat(columns, dim=2)
        Image.fromarray(to_uint8(strip).permute(1, 2, 0).numpy()).save(self._folder / f"step-{step:06d}.png")
