"""``openjscc tx``: images to a recording of frames, for another program to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .console import print_json, say
from .options import Device, Force, Json, Recording, Task, one_snr
from .request import Request, SentenceModelName, task_of

if TYPE_CHECKING:
    from ..recording import Burst


def tx(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="Image files or folders of them; without one, a bundled photograph."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="As in send: ARCH.TAG, a .safetensors file, bpg-ldpc. Default: adjscc."),
    ] = None,
    output: Recording = Path("-"),
    snr: Annotated[
        str | None, typer.Option("--snr", metavar="DB", help="The SNR in dB that the transmitter knows; else it knows none.")
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="C", help="The channel whose law the transmitter knows (digital systems adapt).")
    ] = "awgn",
    ratio: Annotated[str | None, typer.Option("--ratio", metavar="R", help="Bandwidth ratio (CBR) such as 1/16.")] = None,
    uses: Annotated[
        int | None, typer.Option("--uses", metavar="K", help="Channel uses of each frame, instead of --ratio (digital systems).")
    ] = None,
    task: Task = None,
    request: Request = None,
    sentence_model: SentenceModelName = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Encode images and write their frames as a recording.

    The recording holds one complex sample for each channel use: the header, then the payload. With the channel's own value for
    --snr the frames are those that send makes.

    \b
    openjscc tx photo.jpg --model adjscc.photo --ratio 1/16 --snr 10 -o frame.sigmf-meta
    openjscc tx photo.jpg --snr 10 | openjscc channel - --snr 10 | openjscc rx - -o received.png
    """
    from ..channels import make_channel
    from ..codec import check_task
    from ..data.bundled import sample_photo
    from ..data.images import read_image
    from ..devices import exact_float32, find_device
    from ..radio import transmit_frames
    from ..recording import PIPE, check_writable, save_frames
    from ..systems import default_system, load
    from ..units import parse_ratio

    check_writable(output, force)
    snr_db, asked = None if snr is None else one_snr(snr), None if ratio is None else parse_ratio(ratio)
    if uses is not None and asked is not None:
        raise UsageError(f"--uses {uses} and --ratio {ratio}", "give one of them")
    if as_json and str(output) == PIPE:
        raise UsageError("--json and a recording, both on standard output", "write the recording to a file with -o")
    law = make_channel(channel)
    paths = [path for given in (images or [sample_photo()]) for path in _images(given)]
    wanted = task_of(task, request, sentence_model)
    name = model or default_system(wanted.task, requested=request is not None or task is not None)
    codec = load(name, asked, device=find_device(device))
    check_task(codec, wanted.task)
    reports: list[dict[str, Any]] = []

    def frames() -> Iterator[Burst]:
        for path in paths:
            image = read_image(path)
            with exact_float32():
                (burst,) = transmit_frames(
                    codec,
                    image.pixels[None],
                    snr_db=snr_db,
                    channel=law,
                    ratio=asked,
                    task=wanted.task,
                    uses=uses,
                    label=path.name,
                )
            height, width = image.pixels.shape[-2:]
            k = len(burst.symbols)
            reports.append(
                {"image": str(path), "system": burst.system, "channel_uses": k, "bandwidth_ratio": k / (3 * height * width)}
            )
            say(f"{path}: {width}x{height} pixels by {burst.system}, {k} channel uses")
            for note in image.notes:
                say(f"  note      {note}")
            yield burst

    count = save_frames(output, frames(), overwrite=force)
    say(f"  written   {count} frame{'s' if count != 1 else ''} to {'standard output' if str(output) == PIPE else output}")
    if as_json:
        print_json({"recording": str(output), "frames": reports})
    elif str(output) != PIPE:
        print(output)


def _images(path: Path) -> list[Path]:
    """An image file itself; of a folder the images in it."""
    if not path.is_dir():
        return [path]
    from ..data.datasets import open_dataset

    return list(open_dataset(str(path), None, split="test").paths or [])
