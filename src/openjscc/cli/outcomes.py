"""What a receiver got of one image, as ``send`` writes, shows and reports it: an image, or what is where in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .options import figure

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..codec import Codec
    from ..link import Transmission


@dataclass(frozen=True)
class Outcome:
    """What came out of a transmission.

    Attributes:
        shown: ``(3, H, W)``, the image beside the sent one: what was received, or the sent one with its segments in colours.
        file: what is written.
        facts: ``psnr``, ``ssim`` and ``classes`` of the report; None for what the task does not have, or what was lost.
        caption: what the caption of ``shown`` ends with.
        line: for people.
    """

    shown: torch.Tensor
    file: torch.Tensor | Image.Image
    facts: dict[str, Any]
    caption: str
    line: str


def outcome_of(codec: Codec, result: Transmission, x: torch.Tensor, arrived: bool) -> Outcome:
    """Of a transmission of one image ``x`` ``(1, 3, H, W)``.

    Raises:
        UsageError: the codec gives nothing for the task.
    """
    return _segments(codec, result, x) if result.frame.side.task == "segmentation" else _picture(result, x, arrived)


def received(result: Transmission, x: torch.Tensor) -> torch.Tensor:
    """The received image ``(1, 3, H, W)`` on the CPU; grey where the receiver made none."""
    import torch

    from ..codec import LOST_GREY

    if result.image is None and result.reconstruction.ok is None:
        raise UsageError(f"the task {result.frame.side.task!r} gives no picture", "choose a codec whose task is reconstruction")
    return torch.full_like(x, LOST_GREY) if result.image is None else result.image.float().cpu()


def _picture(result: Transmission, x: torch.Tensor, arrived: bool) -> Outcome:
    import torch

    from ..metrics import psnr, ssim

    y = received(result, x)
    quality = (psnr(x, y).item(), ssim(x, y).item()) if arrived else (None, None)
    shown = torch.nan_to_num(y[0])
    facts = {"psnr": quality[0], "ssim": quality[1], "classes": None}
    line = f"received  PSNR {figure(quality[0], 2)} dB, SSIM {figure(quality[1], 4)}"
    return Outcome(shown, shown, facts, f", {figure(quality[0], 1)} dB" if arrived else ", lost", line)


def _segments(codec: Codec, result: Transmission, x: torch.Tensor) -> Outcome:
    import torch

    from ..data.masks import mask_picture
    from ..data.sheets import overlay

    scores = result.reconstruction.segmentation
    if scores is None:
        raise UsageError(f"{codec.name} gives no segmentation", "choose a codec whose task that is")
    names = class_names(codec, scores.shape[1])
    numbers = scores[0].argmax(0).to("cpu", torch.uint8)
    counts = torch.bincount(numbers.flatten().long(), minlength=len(names)).tolist()
    found = sorted((number for number, count in enumerate(counts) if count), key=lambda number: -counts[number])
    classes = [
        {"class": names[number], "number": number, "pixels": counts[number], "share": round(counts[number] / numbers.numel(), 6)}
        for number in found
    ]
    facts = {"psnr": None, "ssim": None, "classes": classes}
    caption = "" if result.reconstruction.ok is None or bool(result.reconstruction.ok[0]) else ", lost"
    return Outcome(overlay(x[0], numbers), mask_picture(numbers), facts, caption, f"found     {shares(classes)}")


def class_names(codec: Codec, count: int) -> tuple[str, ...]:
    """Names of a codec's classes: its own, VOC's where there are as many, else their numbers."""
    from ..classes import VOC
    from ..codec import CodecInfo

    own = CodecInfo(codec).classes
    if own is not None:
        return tuple(own)
    return VOC if count == len(VOC) else tuple(f"class {number}" for number in range(count))


def shares(classes: Sequence[dict[str, Any]], most: int | None = None) -> str:
    """``background 71.2 %, person 28.7 %, cat <0.1 %``; with ``most`` the first so many and how many more."""
    texts = [f"{one['class']} {'<0.1' if one['share'] < 0.001 else format(100 * one['share'], '.1f')} %" for one in classes]
    if most is not None and len(texts) > most:
        texts[most:] = [f"{len(texts) - most} more"]
    return ", ".join(texts)
