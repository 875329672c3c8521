"""A plan measured into a folder: what is missing, cell by cell, shared with every other command at work there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch

from ..codec import CodecInfo
from ..data.datasets import PictureDataset
from ..data.images import write_png
from ..data.masks import mask_picture, masks_of
from ..files import claimed, sweep
from ..link import Transmission
from ..metrics import psnr
from ..metrics.task import confusion_entries, miou
from .cells import CellResult, Keep, Plan, cell_path, measure_cell, store, stored
from .kept import KeptPicture, add_kept, kept_files, picture_files
from .point import Cell
from .provenance import commit, versions
from .records import ACCOUNT


class Bar(Protocol):
    """A progress bar in images: called with the number of images that are through."""

    def __call__(self, count: int, /) -> None: ...

    def extend(self, count: int) -> None:
        """More images are to come than was said."""


def run_cells(
    plan: Plan,
    dataset: PictureDataset,
    folder: Path,
    *,
    jobs: Callable[[str], int],
    keep: int = 0,
    say: Callable[[str], None],
    progress: Callable[[int], AbstractContextManager[Bar]],
) -> tuple[list[CellResult], bool]:
    """Measure the cells that the folder does not have.

    Several commands may do so at the same time, also on several machines that share the folder: each cell is measured by the one
    that begins it.

    Args:
        plan: the cells.
        dataset: the plan's.
        folder: of the results, see `openjscc.bench.cells`.
        jobs: how many batches of a system are at work at the same time.
        keep: the received images of the first so many are kept.
        say: takes a line for the user.
        progress: makes a progress bar for a number of images.

    Returns:
        All results that there are, in order, and whether the run came to its end (Ctrl-C).
    """
    files = picture_files(dataset.ids)
    wanted = [files[name] for name in dataset.ids[:keep]]
    for place in (folder, folder / "cells", folder / "pictures"):
        sweep(place)
    found = _found(plan, plan.cells, folder, wanted)
    _say_found(plan, found, folder, say)
    left = [(cell, False) for cell in plan.cells if cell not in found]
    others = 0
    try:
        with progress(sum(len(dataset) * cell.precision.trials for cell, _ in left)) as bar:
            while left:
                cell, wait = left.pop(0)
                with claimed(cell_path(folder, cell).with_suffix(".lock"), wait=wait) as free:
                    if not free:  # another command is at work on it: first what nobody has
                        left.append((cell, True))
                    elif theirs := _found(plan, [cell], folder, wanted):
                        found |= theirs
                        others += 1
                        bar(len(dataset) * cell.precision.trials)
                    else:
                        found[cell] = result = _measured(plan, cell, dataset, folder, jobs(cell.system), keep, bar)
                        if result.error:
                            say(f"error in {cell.system}, {cell.channel}, {cell.snr_db:g} dB: {result.error}")
        complete = True
    except KeyboardInterrupt:
        complete = False
    if others:
        say(f"{others} cells were measured by another command meanwhile")
    return [found[cell] for cell in plan.cells if cell in found], complete


def _measured(plan: Plan, cell: Cell, dataset: PictureDataset, folder: Path, jobs: int, keep: int, bar: Bar) -> CellResult:
    """One cell, measured and stored with the images that are kept of it."""
    kept: list[KeptPicture] = []
    keeper = None if keep == 0 else _keeper(folder, cell, dataset, kept)
    result = measure_cell(
        plan, cell, dataset, jobs=jobs, advance=bar, keep=keeper, keep_pictures=keep, extend=bar.extend
    )  # fmt: skip
    if not result.error:
        add_kept(folder / "pictures", kept)  # before the cell: one without its images is measured again
    store(folder, result, dataset.ids)
    return result


def _found(plan: Plan, cells: Sequence[Cell], folder: Path, files: Sequence[str]) -> dict[Cell, CellResult]:
    """Those of the cells that need not be measured: of this account and source coder, whose images of these names were kept."""
    there = kept_files(folder / "pictures") if files else set()
    found: dict[Cell, CellResult] = {}
    for cell in cells:
        result = stored(folder, cell)
        now = (ACCOUNT, CodecInfo(plan.codec(cell)).tool)
        if result is None or any((record.account, record.tool) != now for record in result.records):
            continue
        if all(f"{cell.key}/{file}" in there for file in files):
            found[cell] = result
    return found


def _say_found(plan: Plan, found: dict[Cell, CellResult], folder: Path, say: Callable[[str], None]) -> None:
    if found:
        say(f"{len(found)} of {len(plan.cells)} cells are there already")
    now = (versions(), commit())
    if old := sum(any((record.versions, record.commit) != now for record in result.records) for result in found.values()):
        say(f"note: {old} of them are of another version of the software; without {folder / 'cells'} they are measured again")
    if moved := [result for cell, result in found.items() if _is_of_other_device(result, plan.computed_on(cell))]:
        there = ", ".join(dict.fromkeys(str(record.device) for result in moved for record in result.records))
        say(f"note: {len(moved)} of them are of another device ({there}), which changes figures by rounding only")


def _is_of_other_device(result: CellResult, now: str) -> bool:
    """Whether on the CPU what would now be on CUDA, or the other way round; ``now``: as `Record.device`."""

    def kinds(device: str) -> set[str]:
        return {name.partition(":")[0] for name in device.split("; ")}

    return any(record.device is not None and kinds(record.device) != kinds(now) for record in result.records)


def _keeper(folder: Path, cell: Cell, dataset: PictureDataset, kept: list[KeptPicture]) -> Keep:
    """Stores received images or masks of a cell as ``DIR/pictures/KEY/FILE`` and notes them."""
    files = picture_files(dataset.ids)

    def keep(ids: Sequence[str], x: torch.Tensor, result: Transmission) -> None:
        for place, name in enumerate(ids):
            path = folder / "pictures" / cell.key / files[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            quality = overlap = None
            if (scores := result.reconstruction.segmentation) is not None:
                found = scores[place : place + 1].argmax(1).cpu()
                write_png(path, mask_picture(found[0]), overwrite=True)
                value = miou(confusion_entries(found, masks_of(dataset)[dataset.ids.index(name)]))
                overlap = None if math.isnan(value) else value
            else:
                assert result.image is not None
                write_png(path, result.image[place].float().cpu(), overwrite=True)
                quality = psnr(x[place : place + 1], result.image[place : place + 1].to(x.device)).item()
            ok = result.reconstruction.ok is None or bool(result.reconstruction.ok[place])
            kept.append(
                KeptPicture(
                    file=str(path.relative_to(folder / "pictures")),
                    system=cell.system,
                    channel=cell.channel,
                    snr_db=cell.snr_db,
                    ratio=cell.ratio,
                    picture=name,
                    psnr=quality,
                    ok=ok,
                    told_snr_db=cell.told_snr_db,
                    bandwidth_ratio=float(result.bandwidth_ratio[place]),
                    uses=int(result.frame.length[place]),
                    task=cell.task,
                    miou=overlap,
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                )
            )

    return keep
