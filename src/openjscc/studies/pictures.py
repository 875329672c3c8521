"""A study's strips of received images and heat maps of semantic weights: the files, drawn when they are measured, and their part
of the page, from the study's file and `Seen`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..bench.kept import picture_files
from ..bench.task_metrics import SEGMENTATION
from ..classes import VOC, VOID, voc_palette
from ..data.images import read_indices, write_png
from ..data.masks import mask_picture, masks_of
from ..data.sheets import heat, side_by_side, with_legend
from ..report.columns import in_words
from ..report.strips import cropped, strip, strip_of_several
from ..tasks import TaskNetwork, top_classes
from ..tasks.semantics import semantic_weights
from .plan import HeatmapPlan, StripPlan
from .shown import HeatmapSection, StripSection

WEIGHTING_WORDS = {
    "literal": "the absolute value of the mean over the classes",
    "mean_abs": "the mean over the classes of the absolute values",
    "rms": "the root mean square over the classes, of centred scores",
    "mean_square": "the mean square over the classes, of centred scores",
}

LEAST_SHOWN = 0.01
LEGEND_WORDS = f"The legend has the classes that cover {100 * LEAST_SHOWN:g} % or more of what one of these masks shows."
QUALITY = 90
"""Of WebP strips and heat maps, where losing nothing takes more."""
SHARE = 0.99
"""Of the pixels of a heat map that are within its scale: the largest weights are those of single pixels."""


@dataclass(frozen=True)
class Seen:
    """A task network that looked at the images of a file.

    Attributes:
        file: of the strip or heat map.
        network: its name.
        sha256: of the network (hex).
        labels: whether the data set has true classes, which the file shows too.
    """

    file: str
    network: str
    sha256: str
    labels: bool


def seen_by(plan: StripPlan | HeatmapPlan) -> Seen | None:
    """The task network of a strip or heat map, where there is one."""
    network = plan.network
    return None if network is None else Seen(plan.section.file, network.name, network.sha256, bool(plan.labels))


def write_strip(folder: Path, plan: StripPlan, names: Mapping[str, str]) -> None:
    """Put kept images side by side.

    Args:
        folder: of the study, with ``pictures/``.
        plan: which.
        names: of systems, for the captions.
    """
    section, kept = plan.section, folder / "pictures"
    ids, sources, truths = [], [], []
    for grid in plan.grids:
        ids.append(grid.dataset.ids[0])
        stem = Path(ids[-1]).stem
        sources.append(write_png(kept / f"{stem}.png", grid.dataset[0], overwrite=True))
        if section.task == SEGMENTATION:
            mask = mask_picture(masks_of(grid.dataset)[0][0])
            truths.append(write_png(kept / f"{stem}-mask.png", mask, overwrite=True))
    where = section.conditions({cell.ratio for grid in plan.grids for cell in grid.plan.cells})
    network = plan.network
    seen = None if network is None else partial(_seen, network, plan.labels)
    if len(ids) == 1:
        sheet = strip(
            kept, ids[0], section.crop, systems=section.systems, ratios=plan.ratios, where=where, source=sources[0],
            truth=truths[0] if truths else None, names=names, seen=seen, uses=section.uses,
        )  # fmt: skip
    else:
        sheet = strip_of_several(
            kept, ids, sources, section.crop, systems=section.systems, ratios=plan.ratios, where=where, truths=truths,
            names=names, seen=seen, uses=section.uses,
        )  # fmt: skip
    if truths:
        sheet = with_legend(sheet, _legend(kept, plan, truths))
    write_png(folder / section.file, sheet, overwrite=True, quality=QUALITY)


def strip_words(section: StripSection, seen: Seen | None) -> str:
    """A strip's part of the page."""
    what = ", ".join(section.pictures)
    part = "" if section.crop is None else ", {2}x{3} pixels from ({0}, {1})".format(*section.crop)
    sent = [in_words("snr_db", section.snr_db[0])] if len(section.snr_db) == 1 else []
    if section.ratio is not None and not section.ratios:
        sent += [in_words("ratio", ratio) for ratio in section.benches[0].ratios]
    where = ", ".join([f"{what}{part}", section.channel, *sent])
    words = [section.caption or f"{where}."]
    if section.task == SEGMENTATION:
        words.append(f"mIoU is that of the one picture, over all classes of it and of what was found. {LEGEND_WORDS}")
    elif not section.caption:
        words.append("PSNR is that of the whole picture.")
    if section.ratios:
        words.append("CBR: what was sent for it, headers included; in brackets how much more than for the first system.")
    if section.uses:
        words.append("k: channel uses, header included.")
    if seen is not None:
        by = f"the class that `{seen.network}` (sha256 `{seen.sha256[:16]}`) finds most likely in the whole picture"
        words.append(f"Seen: {by}" + ("; right where it is the data set's label." if seen.labels else "."))
    return f"![{what}, received]({section.file})\n\n{' '.join(words)}"


def _legend(kept: Path, plan: StripPlan, truths: Sequence[Path]) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours of the classes that cover `LEAST_SHOWN` of what is shown of one of the masks, and of void."""
    masks = [*truths]
    for grid in plan.grids:
        (file,) = picture_files(grid.dataset.ids).values()
        masks += [kept / cell.key / file for cell in grid.plan.cells]
    shown = [cropped(read_indices(mask)[None], plan.section.crop) for mask in masks]
    counts = [torch.bincount(part.flatten().long(), minlength=256) for part in shown]
    shares = torch.stack([count / count.sum() for count in counts]).amax(0)
    colours = voc_palette()
    numbers = [number for number in range(len(VOC)) if shares[number] >= LEAST_SHOWN]
    return [(VOC[number], colours[number]) for number in numbers] + ([("void", colours[VOID])] if shares[VOID] > 0 else [])


def _seen(network: TaskNetwork, labels: Mapping[str, str], name: str, pixels: torch.Tensor, sent: bool) -> str:
    """An `openjscc.report.strips.Seen`, once it has a network and the true classes."""
    found, truth = top_classes(network, pixels[None], 1)[0][0][0], labels.get(name)
    words = f"seen: {found}"
    if truth is None:
        return words
    return (f"label: {truth}\n" if sent else "") + f"{words}, {'right' if found == truth else 'wrong'}"


def write_heatmap(folder: Path, plan: HeatmapPlan) -> None:
    """Compute and draw heat maps, each from 0 to what `SHARE` of its pixels do not exceed.

    Args:
        folder: of the study.
        plan: which.
    """
    section, network = plan.section, plan.network
    cells, beside = [], []
    for picture in plan.pictures:
        name, pixels = picture.ids[0], picture[0]
        cells.append(("sent", pixels))
        beside.append("\n".join(word for word in (name, plan.labels.get(name)) if word))
        for weighting in section.weighting:
            weights = semantic_weights(network, pixels[None].float() / 255, weighting, section.output)[0].mean(0)
            top = float(weights.flatten().quantile(SHARE))
            cells.append((f"{weighting}\n0 to {top:.2f}", heat(weights / top)))
    sheet = side_by_side(cells, columns=1 + len(section.weighting), beside=beside)
    write_png(folder / section.file, sheet, overwrite=True, quality=QUALITY)


def heatmap_words(section: HeatmapSection, seen: Seen) -> str:
    """The heat maps' part of the page."""
    what = ", ".join(section.pictures)
    words = [
        section.caption or f"Semantic weights of the pixels of {what}.",
        f"Gradients of the {section.output} of `{seen.network}` (sha256 `{seen.sha256[:16]}`) with respect to the picture: "
        + "; ".join(f"{name}, {WEIGHTING_WORDS[name]}" for name in section.weighting)
        + ". Mean over red, green and blue; 1 is the root mean square of a picture's weights.",
        "Each map has a scale of its own, from 0 (dark blue) over half (grey) to the number below it (yellow), which "
        f"{100 * SHARE:g} % of its pixels do not exceed.",
    ]
    return f"![Semantic weights of {what}]({section.file})\n\n{' '.join(words)}"
