"""Crops of received images or segmentations side by side: of one image a row per condition, a column per system; of several a
column each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ..bench.kept import KeptPicture, read_kept
from ..bench.task_metrics import SEGMENTATION
from ..data.images import read_image
from ..data.sheets import side_by_side, stamped
from ..errors import IntegrityError, UsageError, unknown_name
from ..units import parse_numbers
from .columns import Value, in_order, in_words
from .labels import system_name
from .select import matching

CONDITIONS = ("channel", "snr_db", "ratio", "told_snr_db")

TRUTH = "ground truth"
SMALLEST_STAMPED = 96
"""A smaller crop is enlarged, letters in it too: the caption says that the image was lost."""

Crop = tuple[int, int, int, int]
Seen = Callable[[str, torch.Tensor, bool], str]
"""What is said of an image besides its PSNR, given its name, all its pixels ``(3, H, W)``, and whether it is the sent one."""
Sender = tuple[str, Value]
"""A system, and the nominal ratio that it alone has (None where all have the same ones)."""


def parse_crop(text: str) -> Crop:
    """``X,Y,W,H`` in pixels from the upper left corner."""
    values = parse_numbers(text, "crop")
    if len(values) != 4 or any(value != int(value) or value < 0 for value in values) or not all(values[2:]):
        raise UsageError(f"crop {text!r}", "write X,Y,W,H in whole pixels, e.g. 100,50,128,128")
    x, y, width, height = (int(value) for value in values)
    return x, y, width, height


def strip(
    folder: Path,
    picture: str,
    crop: Crop | None = None,
    *,
    systems: Sequence[str] | None = None,
    ratios: Sequence[float | None] = (),
    where: Mapping[str, Sequence[Value]] | None = None,
    source: Path | None = None,
    truth: Path | None = None,
    names: Mapping[str, str] | None = None,
    seen: Seen | None = None,
    uses: bool = False,
) -> Image.Image:
    """Received versions of one image, each under its system and PSNR, or mIoU.

    Args:
        folder: with the index of kept images.
        picture: which one; the suffix may be left out.
        crop: what part is shown; None: all.
        systems: which, in this order; None: all.
        ratios: nominal, of each of the systems, which may then be named repeatedly; each caption says the bandwidth ratio that
            was sent, and how much more that is than the first system's. Empty: systems have the same ratios.
        where: conditions on channel, snr_db, ratio and told_snr_db.
        source: file of the sent image, shown first.
        truth: file of its mask in colours, shown after it.
        names: of systems, for the captions.
        seen: more words for each caption, the sent image's too.
        uses: say the channel uses.

    Raises:
        UsageError: unknown image or system, conditions that nothing meets, a crop outside the image.
        MissingError: no images were kept. IntegrityError: a damaged file.
    """
    kept = _Kept.of(folder, picture, systems, ratios, where or {})
    cells: list[tuple[str, torch.Tensor]] = []
    for place in kept.places:
        condition = "".join(f"\n{word}" for word in [kept.condition(place)] if word)
        if source is not None:
            cells.append(_sent("sent", picture, source, crop, seen))
        if truth is not None:
            cells.append(_sent(TRUTH, picture, truth, crop, None))
        for sender in kept.senders:
            cells.append(kept.cell(place, sender, f"{system_name(sender[0], names)}{condition}\n", crop, seen, uses))
    return side_by_side(cells, columns=len(kept.senders) + (source is not None) + (truth is not None))


def strip_of_several(
    folder: Path,
    pictures: Sequence[str],
    sources: Sequence[Path],
    crop: Crop | None = None,
    *,
    systems: Sequence[str] | None = None,
    ratios: Sequence[float | None] = (),
    where: Mapping[str, Sequence[Value]] | None = None,
    truths: Sequence[Path] = (),
    names: Mapping[str, str] | None = None,
    seen: Seen | None = None,
    uses: bool = False,
) -> Image.Image:
    """Several images, a column each: the sent ones first, then a row per condition and system, each under its PSNR, or mIoU.

    Args:
        folder, crop, systems, ratios, where, names, seen, uses: as for `strip`.
        pictures: which.
        sources: files of the sent images.
        truths: files of their masks in colours, shown after them; empty: none are.

    Raises:
        As `strip`, and UsageError for images that were not kept under the same conditions.
    """
    kept = [_Kept.of(folder, picture, systems, ratios, where or {}) for picture in pictures]
    first = kept[0]
    for one, picture in zip(kept, pictures, strict=True):
        if one.places != first.places or set(one.senders) != set(first.senders):
            raise UsageError(f"{picture} and {pictures[0]} were not kept under the same conditions", "send both once more")
    cells = [_sent(picture, picture, source, crop, seen) for picture, source in zip(pictures, sources, strict=True)]
    cells += [_sent("", picture, truth, crop, None) for picture, truth in zip(pictures, truths, strict=False)]
    beside = ["sent", TRUTH.replace(" ", "\n")] if truths else ["sent"]
    for place in first.places:
        for sender in first.senders:
            words = [system_name(sender[0], names).replace(", ", ",\n"), first.condition(place).replace(", ", "\n")]
            beside.append("\n".join(word for word in words if word))
            cells += [one.cell(place, sender, "", crop, seen, uses) for one in kept]
    return side_by_side(cells, columns=len(pictures), beside=beside)


@dataclass(frozen=True)
class _Kept:
    """What was kept of one image.

    Attributes:
        folder: with the files.
        senders: in order.
        places: values of ``conditions``, in order.
        items: by place and sender.
        conditions: of `CONDITIONS`, those that senders have in common.
        varying: those of them that differ.
    """

    folder: Path
    senders: tuple[Sender, ...]
    places: tuple[tuple, ...]
    items: Mapping[tuple, Mapping[Sender, KeptPicture]]
    conditions: tuple[str, ...]
    varying: tuple[str, ...]

    @staticmethod
    def of(
        folder: Path,
        picture: str,
        systems: Sequence[str] | None,
        ratios: Sequence[float | None],
        where: Mapping[str, Sequence[Value]],
    ) -> _Kept:
        """Raises as `strip`."""
        everything = read_kept(folder)
        kept = [item for item in everything if picture in (item.picture, Path(item.picture).stem)]
        if not kept:
            raise unknown_name("picture", picture, {item.picture for item in everything})
        for column, values in where.items():
            if column not in CONDITIONS:
                raise unknown_name("condition", column, CONDITIONS)
            kept = matching(kept, column, values, "kept picture")
        known = list(dict.fromkeys(item.system for item in kept))
        for system in systems or ():
            if system not in known:
                raise unknown_name("system", system, known)
        senders: list[Sender] = (
            list(zip(systems or (), ratios, strict=True)) if ratios else [(name, None) for name in systems or known]
        )
        conditions = tuple(name for name in CONDITIONS if not (ratios and name == "ratio"))
        rows: dict[tuple, dict[Sender, KeptPicture]] = {}
        for sender in senders:
            theirs = [item for item in kept if item.system == sender[0]]
            for item in matching(theirs, "ratio", [sender[1]], f"kept picture of {sender[0]}") if ratios else theirs:
                row = rows.setdefault(tuple(getattr(item, name) for name in conditions), {})
                if sender in row:
                    hint = f"files: {row[sender].file}, {item.file}"
                    raise UsageError(f"{item.system} has several pictures {picture!r} at one condition", hint)
                row[sender] = item
        orders = {name: in_order(getattr(item, name) for item in kept) for name in conditions}
        places = sorted(rows, key=lambda key: [orders[name].index(value) for name, value in zip(conditions, key, strict=True)])
        varying = tuple(name for name, values in orders.items() if len(values) > 1)
        return _Kept(folder, tuple(senders), tuple(places), rows, conditions, varying)

    def condition(self, place: tuple) -> str:
        """What tells a place from the others, in words."""
        words = [in_words(name, value) for name, value in zip(self.conditions, place, strict=True) if name in self.varying]
        return ", ".join(word for word in words if word)

    def cell(
        self, place: tuple, sender: Sender, head: str, crop: Crop | None, seen: Seen | None, uses: bool
    ) -> tuple[str, torch.Tensor]:
        """Caption (``head``, bandwidth, PSNR or mIoU, channel uses, what is seen) and pixels."""
        item = self.items[place].get(sender)
        if item is None:
            return f"{head}not kept", torch.full((3, 1, 1), 255, dtype=torch.uint8)
        if not item.intact(self.folder):
            raise IntegrityError(
                f"{self.folder / item.file} is not the image that was kept", "run openjscc bench --keep N again, into that folder"
            )
        whole = read_image(self.folder / item.file).pixels
        pixels = cropped(whole, crop)
        large = min(pixels.shape[1:]) >= SMALLEST_STAMPED
        bandwidth = "" if "ratio" in self.conditions else _bandwidth(item, self.items[place].get(self.senders[0]))
        more = "" if seen is None else f"\n{seen(item.picture, whole, False)}"
        if uses and item.uses is not None:
            more = f"\nk = {item.uses:,}{more}"
        return f"{head}{bandwidth}{_value(item)}{more}", pixels if item.ok or not large else stamped(pixels, "lost")


def _bandwidth(item: KeptPicture, first: KeptPicture | None) -> str:
    """A line: what was sent, headers included, and how much more that is than for the first one."""
    if item.bandwidth_ratio is None:
        return ""
    words = f"CBR {item.bandwidth_ratio:.4f}"
    if first is not None and first.bandwidth_ratio and first is not item:
        words += f" ({round(100 * (item.bandwidth_ratio / first.bandwidth_ratio - 1)):+d} %)"
    return words.replace("(+0 %)", "(the same)") + "\n"


def _sent(head: str, picture: str, source: Path, crop: Crop | None, seen: Seen | None) -> tuple[str, torch.Tensor]:
    whole = read_image(source).pixels
    return head + ("" if seen is None else f"\n{seen(picture, whole, True)}"), cropped(whole, crop)


def _value(item: KeptPicture) -> str:
    if not item.ok:
        return "lost"
    if item.task == SEGMENTATION:
        return "no class" if item.miou is None else f"mIoU {item.miou:.3f}"
    return "identical" if item.psnr is None else f"PSNR {item.psnr:.2f} dB"


def cropped(pixels: torch.Tensor, crop: Crop | None) -> torch.Tensor:
    """The part of ``(C, H, W)``. Raises UsageError for one that reaches beyond it."""
    if crop is None:
        return pixels
    x, y, width, height = crop
    if x + width > pixels.shape[2] or y + height > pixels.shape[1]:
        size = f"{pixels.shape[2]}x{pixels.shape[1]}"
        raise UsageError(f"crop {x},{y},{width},{height} reaches beyond the {size} picture", f"stay within {size}")
    return pixels[:, y : y + height, x : x + width]
