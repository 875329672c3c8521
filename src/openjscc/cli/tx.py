"""``openjscc tx``: images to a recording of frames, for another program to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import options as opt
from .console import frames_in_words, print_json, say

if TYPE_CHECKING:
    from ..codec import Codec
    from ..recording import Burst


Images = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IMAGE", help="Image files or folders of them; without one, a bundled photograph."),
]
MODEL = "As in send: ARCH.TAG, a .safetensors file, bpg-ldpc. Default: adjscc."
Model = Annotated[str | None, typer.Option("--model", metavar="M", help=MODEL)]
SNR = "The SNR in dB that the transmitter knows; else it knows none."
KnownSnr = Annotated[str | None, typer.Option("--snr", metavar="DB", help=SNR)]
CHANNEL = "The channel whose law the transmitter knows (digital systems adapt)."
KnownChannel = Annotated[str, typer.Option("--channel", metavar="C", help=CHANNEL)]
USES = "Channel uses of each frame, instead of --ratio (digital systems)."
Uses = Annotated[int | None, typer.Option("--uses", metavar="K", help=USES)]


def tx(
    images: Images = None,
    model: Model = None,
    output: opt.Recording = Path("-"),
    snr: KnownSnr = None,
    channel: KnownChannel = "awgn",
    ratio: opt.Ratio = None,
    uses: Uses = None,
    task: opt.Task = None,
    request: opt.Request = None,
    sentence_model: opt.SentenceModelName = None,
    device: opt.Device = "cpu",
    force: opt.Force = False,
    as_json: opt.Json = False,
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
    from ..devices import find_device
    from ..recording import PIPE, check_writable, save_frames
    from ..systems import default_system, load

    check_writable(output, force)
    snr_db, asked = None if snr is None else opt.one_snr(snr), opt.one_ratio(ratio)
    if uses is not None and asked is not None:
        raise UsageError(f"--uses {uses} and --ratio {ratio}", "give one of them")
    if as_json and str(output) == PIPE:
        raise UsageError("--json and a recording, both on standard output", "write the recording to a file with -o")
    law = make_channel(channel)
    paths = [path for given in (images or [sample_photo()]) for path in _images(given)]
    wanted = opt.task_of(task, request, sentence_model)
    name = model or default_system(wanted.task, requested=wanted.named)
    codec = load(name, asked, device=find_device(device))
    check_task(codec, wanted.task)
    reports: list[dict[str, Any]] = []
    sent = {"snr_db": snr_db, "channel": law, "ratio": asked, "task": wanted.task, "uses": uses}
    count = save_frames(output, _frames(codec, paths, sent, reports), overwrite=force)
    say(f"  written   {frames_in_words(count)} to {'standard output' if str(output) == PIPE else output}")
    if as_json:
        print_json({"recording": str(output), "frames": reports})
    elif str(output) != PIPE:
        print(output)


def _frames(codec: Codec, paths: list[Path], how: dict[str, Any], reports: list[dict[str, Any]]) -> Iterator[Burst]:
    """The frames of images, each made when it is asked for, and then reported. ``how``: of `openjscc.radio.transmit_frames`."""
    from ..data.images import read_image
    from ..devices import exact_float32
    from ..radio import transmit_frames
    from ..units import bandwidth_ratio

    for path in paths:
        image = read_image(path)
        with exact_float32():
            (burst,) = transmit_frames(codec, image.pixels[None], label=path.name, **how)
        height, width = image.pixels.shape[-2:]
        k = len(burst.symbols)
        ratio = bandwidth_ratio(k, height, width)
        reports.append({"image": str(path), "system": burst.system, "channel_uses": k, "bandwidth_ratio": ratio})
        say(f"{path}: {width}x{height} pixels by {burst.system}, {k} channel uses")
        for note in image.notes:
            say(f"  note      {note}")
        yield burst


def _images(path: Path) -> list[Path]:
    """An image file itself; of a folder the images in it."""
    if not path.is_dir():
        return [path]
    from ..data.datasets import open_dataset

    return list(open_dataset(str(path), None, split="test").paths or [])
