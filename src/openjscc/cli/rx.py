"""``openjscc rx``: a recording to the images in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OpenJSCCError, UsageError
from .console import print_json, say
from .options import Device, Force, Json

if TYPE_CHECKING:
    from PIL import Image

    from ..radio import Reception

LONGEST_STEM = 100
"""Bytes of a file's name that come from a label."""


def rx(
    recording: Annotated[
        Path, typer.Argument(metavar="IN", help="A .sigmf-meta, .sigmf or .npy recording; - for standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT", help="The image, a folder, or - for a PNG on standard output. Default: received.png."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help="The system, for frames whose short header names none, or with options such as mtgsc:steps=10.",
        ),
    ] = None,
    equalizer: Annotated[str, typer.Option("--equalizer", metavar="E", help="Under fading: mmse or zf.")] = "mmse",
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Decode a recording: read each header, load the weight that it names, write what arrives.

    One frame goes to OUT. The frames of a longer recording go to OUT-1, OUT-2 and so on, or into the folder OUT under the names
    of their images. Of a segmentation the mask is written. Exit code 1: a frame was lost, or no header was found.

    \b
    openjscc rx received.sigmf-meta -o received.png
    openjscc rx received.npy --model adjscc.cifar10
    """
    from ..data.images import check_output, write_png
    from ..devices import exact_float32, find_device
    from ..radio import Receiver
    from ..recording import PIPE, check_recording, load_frames

    check_recording(recording)
    where = output or Path("received.png")
    to_stdout = str(where) == PIPE
    if to_stdout and (as_json or sys.stdout.isatty()):
        raise UsageError("an image to " + ("standard output with --json" if as_json else "a terminal"), "name a file with -o")
    folder = where.is_dir()
    if not folder and not to_stdout:
        check_output(where, force)
    receiver = Receiver(model, equalizer, find_device(device))
    if str(recording) == PIPE:
        receiver.prepare()
    reports: list[dict[str, Any]] = []
    waiting: Image.Image | None = None  # the first image, until its name is certain
    taken: set[str] = set()
    failure: OpenJSCCError | None = None

    def write(report: dict[str, Any], target: Path, image: Image.Image) -> None:
        if image.mode == "P" and target.suffix.lower() not in ("", ".png"):
            raise UsageError(f"{target}: a mask is no {target.suffix} file", "its pixels are class numbers: write .png")
        if to_stdout:
            image.save(sys.stdout.buffer, "PNG")
        else:
            write_png(target, image, overwrite=force)
            report["output"] = str(target)
            if not as_json:
                print(target, flush=True)
        say(_line(report))

    with exact_float32():
        try:
            for number, got in enumerate(receiver.receive(load_frames(recording)), start=1):
                report, image = _report(number, got), _image(got)
                reports.append(report)
                if number > 1 and to_stdout:
                    raise UsageError("several frames to standard output", "name a folder with -o")
                if waiting is not None:
                    write(reports[0], _numbered(where, 1), waiting)
                    waiting = None
                if image is None:
                    say(_line(report))
                elif folder:
                    write(report, where / _file_name(got, number, taken), image)
                elif number > 1:
                    write(report, _numbered(where, number), image)
                else:
                    waiting = image
        except OpenJSCCError as error:  # what arrived before it is kept
            failure = error
        if waiting is not None and not (to_stdout and failure):
            write(reports[0], where, waiting)
    if as_json and reports:
        print_json(reports if len(reports) > 1 else reports[0])
    if failure is not None:
        raise failure
    if not reports:
        raise OpenJSCCError(f"{recording} holds no frame", "all of its samples are zero")
    if not all(report["ok"] for report in reports):
        raise typer.Exit(1)


def _numbered(where: Path, number: int) -> Path:
    return where.with_name(f"{where.stem}-{number}{where.suffix or '.png'}")


def _file_name(got: Reception, number: int, taken: set[str]) -> str:
    """A new name in a folder, of the recording's label: a stranger's, so of letters, digits and a few signs alone."""
    what = "received" if got.reconstruction.segmentation is None else "segmentation"
    stem = re.sub(r"[^\w .()+-]", "_", Path(got.burst.label).stem).strip(" .")
    stem = stem.encode("utf-8", "replace")[:LONGEST_STEM].decode("utf-8", "ignore") or f"frame-{number}"
    name, copy = f"{stem}-{what}.png", number
    while name in taken:
        name, copy = f"{stem}-{copy}-{what}.png", copy + 1
    taken.add(name)
    return name


def _image(got: Reception) -> Image.Image | None:
    """What is written of a frame: the image or the mask; None where it was lost."""
    import torch

    from ..data.images import to_pil
    from ..data.masks import mask_picture

    if not got.ok:
        return None
    if got.reconstruction.segmentation is not None:
        return mask_picture(got.reconstruction.segmentation[0].argmax(0).to("cpu", torch.uint8))
    return None if got.reconstruction.image is None else to_pil(torch.nan_to_num(got.reconstruction.image[0].float().cpu()))


def _report(number: int, got: Reception) -> dict[str, Any]:
    side = got.side
    return {
        "frame": number,
        "label": got.burst.label,
        "ok": got.ok,
        "header": side is not None,
        "system": got.system or None,
        "width": None if side is None else side.width,
        "height": None if side is None else side.height,
        "task": None if side is None else side.task,
        "channel_uses": len(got.burst.symbols),
        "noise_var": got.noise_var,
        "noise_estimated": got.estimated,
        "output": None,
    }


def _line(report: dict[str, Any]) -> str:
    import math

    start = f"frame {report['frame']}" + (f" ({report['label']})" if report["label"] else "")
    if not report["header"] and not report["ok"]:
        return f"{start}: lost, no header could be read in {report['channel_uses']} samples"
    size = f"{report['width']}x{report['height']} pixels" if report["header"] else "an image"
    what = f"{size} by {report['system']}"
    snr = -10 * math.log10(max(report["noise_var"], 1e-12))
    noise = f"{snr:.1f} dB SNR{' (estimated)' if report['noise_estimated'] else ''}"
    if not report["ok"]:
        return f"{start}: {what}, {noise}: lost, the header arrived and its payload did not"
    return f"{start}: {what}, {noise}" + (f", written to {report['output']}" if report["output"] else "")
