"""``openjscc rx``: a recording to the images in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, unknown_name
from .console import print_json, say
from .options import Device, Force, Json

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..radio import Reception


def rx(
    recording: Annotated[
        Path, typer.Argument(metavar="IN", help="A .sigmf-meta, .sigmf or .npy recording; - for standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="The image, or a folder. Default: received.png."),
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
    of their images. Exit code 1: a frame was lost, or no header was found.

    \b
    openjscc rx received.sigmf-meta -o received.png
    openjscc rx received.npy --model adjscc.cifar10 -o images/
    """
    from ..channels import EQUALIZERS
    from ..data.images import check_output, write_png
    from ..devices import exact_float32, find_device
    from ..radio import Receiver
    from ..recording import check_recording, load_frames

    check_recording(recording)
    if equalizer not in EQUALIZERS:
        raise unknown_name("equalizer", equalizer, EQUALIZERS)
    where = output or Path("received.png")
    folder = where.is_dir()
    if not folder:
        check_output(where, force)
    receiver = Receiver(model, equalizer, find_device(device))
    reports: list[dict[str, Any]] = []
    waiting: tuple[Path, torch.Tensor | Image.Image] | None = None  # the first image, until its name is certain
    taken: set[Path] = set()
    with exact_float32():
        for number, got in enumerate(receiver.receive(load_frames(recording)), start=1):
            report, file = _report(number, got), _file(got)
            reports.append(report)
            if file is None:
                continue
            if folder:
                stem = Path(got.burst.label).stem or f"frame-{number}"
                target = where / f"{stem}-received.png"
                target = target if target not in taken else where / f"{stem}-{number}-received.png"
            elif number == 1:
                waiting = where, file
                report["output"] = str(where)
                continue
            else:
                target = where.with_name(f"{where.stem}-{number}{where.suffix or '.png'}")
            taken.add(target)
            write_png(target, file, overwrite=force)
            report["output"] = str(target)
    if waiting is not None:
        if len(reports) > 1:
            waiting = where.with_name(f"{where.stem}-1{where.suffix or '.png'}"), waiting[1]
            reports[0]["output"] = str(waiting[0])
        write_png(*waiting, overwrite=force)
    if not reports:
        raise UsageError(f"{recording} holds no frame", "all of its samples are zero")
    for report in reports:
        say(_line(report))
    if as_json:
        print_json(reports if len(reports) > 1 else reports[0])
    else:
        for report in reports:
            if report["output"] is not None:
                print(report["output"])
    if not all(report["ok"] for report in reports):
        raise typer.Exit(1)


def _file(got: Reception) -> torch.Tensor | Image.Image | None:
    """What is written of a frame: the image ``(3, H, W)`` or the mask; None where it was lost."""
    import torch

    from ..data.masks import mask_picture

    if not got.ok:
        return None
    if got.reconstruction.segmentation is not None:
        return mask_picture(got.reconstruction.segmentation[0].argmax(0).to("cpu", torch.uint8))
    return None if got.reconstruction.image is None else torch.nan_to_num(got.reconstruction.image[0].float().cpu())


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
    if not report["header"]:
        return f"{start}: lost, no header could be read in {report['channel_uses']} samples"
    what = f"{report['width']}x{report['height']} pixels by {report['system']}"
    snr = -10 * math.log10(max(report["noise_var"], 1e-12))
    noise = f"{snr:.1f} dB SNR{' (estimated)' if report['noise_estimated'] else ''}"
    if not report["ok"]:
        return f"{start}: {what}, {noise}: lost, the header arrived and the payload did not"
    return f"{start}: {what}, {noise}" + (f", written to {report['output']}" if report["output"] else "")
