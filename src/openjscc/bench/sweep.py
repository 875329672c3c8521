"""Systems over a data set at every channel, SNR and ratio, in memory: what ``openjscc eval`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..channels import make_channel
from ..codec import Codec
from ..data.datasets import PictureDataset
from ..errors import UsageError
from ..tasks import TaskNetwork
from ..units import snr_tensor
from . import task_metrics
from .batches import BATCH_PIXELS
from .cells import Plan, plan_cells, send_cell
from .point import Precision
from .records import Record


@dataclass(frozen=True)
class Sweep:
    """What is measured.

    Attributes:
        channels: specs.
        snr_db: average SNRs in dB.
        ratios: nominal bandwidth ratios; None stands for the system's default.
        metrics: names of `openjscc.metrics.METRICS`, all of one task.
        trials: repetitions, each with its own fading and noise.
        seed: of the experiment.
        told_snr_db: the SNR that the transmitter believes in at every point; None: the true one.
    """

    channels: tuple[str, ...] = ("awgn",)
    snr_db: tuple[float, ...] = (10.0,)
    ratios: tuple[float | None, ...] = (None,)
    metrics: tuple[str, ...] = ("psnr", "ssim")
    trials: int = 1
    seed: int = 0
    told_snr_db: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"{self.trials} trials", "at least one")
        for channel in self.channels:
            make_channel(channel)
        task_metrics.check_metrics(self.metrics)
        snr_tensor(self.snr_db, len(self.snr_db))

    def plan(
        self, systems: Iterable[tuple[str, Codec, Sequence[float | None]]], dataset: PictureDataset, *,
        networks: Sequence[TaskNetwork] = (), device: torch.device | None = None, batch_pixels: int = BATCH_PIXELS,
    ) -> Plan:  # fmt: skip
        """The cells of some systems, each with the ratios that it is asked for. Arguments and errors: `plan_cells`."""
        return plan_cells(
            systems, dataset, channels=self.channels, snr_db=self.snr_db, metrics=self.metrics,
            precision=Precision(self.trials, most=max(self.trials, 100)), seed=self.seed, told_snr_db=self.told_snr_db,
            networks=networks, device=device, batch_pixels=batch_pixels,
        )  # fmt: skip


class Interrupted(KeyboardInterrupt):
    """The sweep was interrupted. ``records`` has the figures of the points that were through."""

    def __init__(self, records: list[Record]) -> None:
        super().__init__("interrupted")
        self.records = records


def evaluate(
    codec: Codec,
    dataset: PictureDataset,
    sweep: Sweep,
    *,
    system: str | None = None,
    networks: Sequence[TaskNetwork] = (),
    batch_pixels: int = BATCH_PIXELS,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda count: None,
    device: torch.device | None = None,
) -> list[Record]:
    """Measure a system, where its networks are.

    The draw of fading and noise follows from image, trial, channel and seed (`openjscc.link.transmit`), so figures do
    not depend on the batch, and all systems and SNRs meet the same draws. Under fading the receiver knows the gain;
    symbols are MMSE-equalised unless the codec uses the gain itself.

    Args:
        codec: the system.
        dataset: images, uint8 ``(3, H, W)`` each.
        sweep: what is measured.
        system: the name that records carry; None: the codec's.
        networks: whose view metrics of labels (accuracy, f1) are of.
        batch_pixels: neighbouring images of one size are sent together up to so many pixels.
        jobs: batches at work at the same time, in threads; what comes out does not depend on it.
        advance: told the number of images after each batch of each point and trial.
        device: where metrics with networks of their own compute, see `openjscc.bench.measure.measure`.

    Returns:
        One record per channel, ratio, SNR and metric (of labels: and network), in this order.

    Raises:
        UsageError: for a ratio that the codec does not have, and what `openjscc.bench.cells.plan_cells` refuses.
        Interrupted: on Ctrl-C, with what there is.
    """
    systems = [(system or codec.name, codec, sweep.ratios)]
    plan = sweep.plan(systems, dataset, networks=networks, device=device, batch_pixels=batch_pixels)
    records: list[Record] = []
    try:
        for found in run(plan, dataset, lambda _: jobs, advance):
            records += found
    except KeyboardInterrupt:
        raise Interrupted(records) from None
    return records


def run(
    plan: Plan, dataset: PictureDataset, jobs: Callable[[str], int], advance: Callable[[int], None] = lambda count: None
) -> Iterator[tuple[Record, ...]]:
    """The records of each cell of a plan, in order; the first error ends it.

    Args:
        plan: the cells.
        dataset: the plan's.
        jobs: how many batches of a system are at work at the same time.
        advance: see `evaluate`.
    """
    for cell in plan.cells:
        yield send_cell(plan, cell, dataset, jobs=jobs(cell.system), advance=advance).records
