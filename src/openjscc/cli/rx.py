"""``openjscc rx``: a recording to the images in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OpenJSCCError, UsageError
from .console import print_reports, say
from .options import Device, Equalizer, Force, Json, check_mask_file

if TYPE_CHECKING:
    from PIL import Image

    from ..radio import Reception

LONGEST_STEM = 100
"""Bytes of a file's name that come from a label."""


IN = "A .sigmf-meta, .sigmf or .npy recording; - for standard input."
In = Annotated[Path, typer.Argument(metavar="IN", help=IN)]
OUT = "The image, a folder, or - for a PNG on standard output. Default: received.png."
Out = Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help=OUT)]
MODEL = "The system, for frames whose short header names none, or with options such as mtgsc:steps=10."
Model = Annotated[str | None, typer.Option("--model", metavar="M", help=MODEL)]


def rx(
    recording: In,
    output: Out = None,
    model: Model = None,
    equalizer: Equalizer = "mmse",
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
    from ..devices import exact_float32, find_device
    from ..radio import Receiver
    from ..recording import PIPE, check_recording, load_frames

    check_recording(recording)
    written = _Written(output or Path("received.png"), force, as_json)
    receiver = Receiver(model, equalizer, find_device(device))
    if str(recording) == PIPE:
        receiver.prepare()
    failure: OpenJSCCError | None = None
    with exact_float32():
        try:
            for got in receiver.receive(load_frames(recording)):
                written.add(got)
        except OpenJSCCError as error:  # what arrived before it is kept
            failure = error
        written.close(failure is None)
    reports = written.reports
    if as_json and reports:
        print_reports(reports)
    if failure is not None:
        raise failure
    if not reports:
        raise OpenJSCCError(f"{recording} holds no frame", "all of its samples are zero")
    if not all(report["ok"] for report in reports):
        raise typer.Exit(1)


class _Written:
    """Images to ``where``: one file, files with numbers, a folder, or standard output.

    Attributes:
        reports: of the frames, for JSON.
    """

    def __init__(self, where: Path, force: bool, as_json: bool) -> None:
        from ..data.images import check_output
        from ..recording import PIPE

        self.where, self.force, self.as_json = where, force, as_json
        self.to_stdout, self.folder = str(where) == PIPE, where.is_dir()
        if self.to_stdout and (as_json or sys.stdout.isatty()):
            raise UsageError("an image to " + ("standard output with --json" if as_json else "a terminal"), "name a file with -o")
        if not self.folder and not self.to_stdout:
            check_output(where, force)
        self.reports: list[dict[str, Any]] = []
        self._first: Image.Image | None = None  # until its name is certain
        self._taken: set[str] = set()

    def add(self, got: Reception) -> None:
        """The next frame."""
        number = len(self.reports) + 1
        report, image = _report(number, got), _image(got)
        self.reports.append(report)
        if number > 1 and self.to_stdout:
            raise UsageError("several frames to standard output", "name a folder with -o")
        self._write_first(_numbered(self.where, 1))
        if image is None:
            say(_line(report))
        elif self.folder:
            self._write(report, self.where / _file_name(got, number, self._taken), image)
        elif number > 1:
            self._write(report, _numbered(self.where, number), image)
        else:
            self._first = image

    def close(self, complete: bool) -> None:
        """After the last frame; ``complete``: no error came between."""
        if complete or not self.to_stdout:
            self._write_first(self.where)

    def _write_first(self, target: Path) -> None:
        if self._first is not None:
            image, self._first = self._first, None
            self._write(self.reports[0], target, image)

    def _write(self, report: dict[str, Any], target: Path, image: Image.Image) -> None:
        from ..data.images import write_png

        if image.mode == "P":
            check_mask_file(target)
        if self.to_stdout:
            image.save(sys.stdout.buffer, "PNG")
        else:
            write_png(target, image, overwrite=self.force)
            report["output"] = str(target)
            if not self.as_json:
                print(target, flush=True)
        say(_line(report))


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
