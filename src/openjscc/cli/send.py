"""``openjscc send``: a picture through the whole chain, and what arrived."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, unknown_name
from .console import print_json, say
from .options import Force, Json, Seed, figure, one_snr

if TYPE_CHECKING:
    import torch

    from ..codec import Codec
    from ..link import Transmission

LOST_GREY = 0.5
"""What is shown where the receiver made no picture."""


def send(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Picture files; without one, a bundled photograph is sent.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="ARCH, ARCH.TAG or a .safetensors file; see 'openjscc models list'.")
    ] = "adjscc",
    channel: Annotated[
        str, typer.Option("--channel", metavar="C", help="awgn, rayleigh:block, rayleigh:fast, rician:K or rician:K:fast.")
    ] = "awgn",
    snr: Annotated[str, typer.Option("--snr", metavar="DB", help="Average signal-to-noise ratio Es/N0 in dB.")] = "10",
    ratio: Annotated[
        str | None,
        typer.Option("--ratio", metavar="R", help="Bandwidth ratio (CBR) such as 1/16; one of the model's, else its default."),
    ] = None,
    seed: Seed = 0,
    task: Annotated[str, typer.Option("--task", metavar="T", help="What the receiver wants: reconstruction or segmentation.")] = (
        "reconstruction"
    ),
    equalizer: Annotated[str, typer.Option("--equalizer", metavar="E", help="Under fading: mmse or zf.")] = "mmse",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="Received picture (or a folder). Default: NAME-received.png here."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Send pictures over a noisy channel and write what arrives.

    Writes the received picture and, beside it, OUT-side-by-side.png with the sent one. The report goes to stderr, the path of
    the received picture to stdout.

    \b
    openjscc send photo.jpg --channel rayleigh:block --snr 7 --ratio 1/12 -o received.png
    """
    from ..channels import EQUALIZERS, make_channel
    from ..codec import TASKS
    from ..data.bundled import sample_photo
    from ..data.images import picture_size
    from ..models import load, resolve
    from ..units import parse_ratio

    channel = make_channel(channel).name
    snr_db = one_snr(snr)
    wanted = None if ratio is None else parse_ratio(ratio)
    for kind, name, known in (("task", task, TASKS), ("equalizer", equalizer, EQUALIZERS)):
        if name not in known:
            raise unknown_name(kind, name, known)
    paths = images or [sample_photo()]
    targets = _targets(paths, output, force)
    for path in paths:
        picture_size(path)
    codec = load(resolve(model, wanted))

    reports = []
    for path, target in zip(paths, targets, strict=True):
        system = _send_one(codec, path, target, channel, snr_db, wanted, task, seed, equalizer, force)
        system = {"system": model, **system}
        reports.append(
            {"image": str(path), "channel": channel, "snr_db": snr_db, "seed": seed, "task": task, "systems": [system]}
        )
        if not as_json:
            print(target, flush=True)
    if as_json:
        print_json(reports if len(reports) > 1 else reports[0])
    if not all(report["systems"][0]["ok"] for report in reports):
        raise typer.Exit(1)


def _targets(paths: list[Path], output: Path | None, force: bool) -> list[Path]:
    """One output path per picture, each known to be free and writable, and no picture among them that is sent."""
    from ..data.images import check_output

    if len(paths) > 1 and output is not None and not os.path.isdir(output):
        raise UsageError(f"{output} is no folder, for {len(paths)} pictures", f"make it first: mkdir -p {output}")
    if output is not None and not os.path.isdir(output):
        targets = [output]
    else:
        targets = [(output or Path()) / f"{path.stem}-received.png" for path in paths]
    everything = [item for target in targets for item in (target, side_by_side_path(target))]
    for item in everything:
        check_output(item, force)
        if everything.count(item) > 1:
            raise UsageError(f"{item} would be written twice", "send pictures of the same name one at a time, with -o")
        if any(os.path.realpath(item) == os.path.realpath(path) for path in paths):
            raise UsageError(f"{item} is a picture to be sent", "name another file with -o")
    return targets


def side_by_side_path(target: Path) -> Path:
    """Where the picture of both goes: ``OUT-side-by-side.png`` beside ``OUT.png``."""
    return target.parent / f"{target.stem}-side-by-side.png"


def _send_one(
    codec: Codec, path: Path, target: Path, channel: str, snr_db: float, ratio: float | None, task: str, seed: int,
    equalizer: str, force: bool,
) -> dict[str, Any]:  # fmt: skip
    import torch

    from ..bench import nominal_ratio
    from ..data.images import read_image, side_by_side, write_png
    from ..link import transmit
    from ..metrics import psnr, ssim
    from ..units import bandwidth_ratio, format_ratio

    picture = read_image(path)
    x = picture.pixels[None]
    height, width = x.shape[-2:]
    result = transmit(codec, channel, x, snr_db, ratio=ratio, task=task, seed=seed, equalizer=equalizer)
    uses = int(result.frame.length[0])
    nominal = format_ratio(nominal_ratio(codec, ratio))
    exact = bandwidth_ratio(uses, height, width)
    encode_ms, decode_ms = result.encode_ms, result.decode_ms
    arrived = result.reconstruction.ok is None or bool(result.reconstruction.ok[0])
    y = _shown(result, x)
    del result  # the symbols of a large photograph are large too
    quality = (psnr(x, y).item(), ssim(x, y).item()) if arrived else (None, None)

    weight = getattr(codec, "weight", None)
    name = weight.name if weight is not None else codec.name
    notes = [*picture.notes]
    if not arrived:
        notes.append("the frame was lost: what is shown is not what was received")
    if target.suffix.lower() in (".jpg", ".jpeg"):
        notes.append("stored as JPEG: the file is not exactly what was received")
    caption = f"received: {name}, {channel} {snr_db:g} dB, CBR {nominal}"
    caption += f", {figure(quality[0], 1)} dB" if arrived else ", lost"
    write_png(target, y[0], overwrite=force)
    write_png(side_by_side_path(target), side_by_side([("sent", x[0]), (caption, torch.nan_to_num(y[0]))]), overwrite=force)

    say(f"{path}: {width}x{height} pixels by {name} over {channel} at {snr_db:g} dB, seed {seed}")
    say(f"  sent      k = {uses} channel uses, CBR {nominal} ({exact:.6f} with header and padding)")
    say(f"  received  PSNR {figure(quality[0], 2)} dB, SSIM {figure(quality[1], 4)}")
    say(f"  time      encode {encode_ms:.0f} ms, decode {decode_ms:.0f} ms")
    for note in notes:
        say(f"  note      {note}")
    say(f"  written   {target} and {side_by_side_path(target).name}")
    return {
        "weight": name,
        "ok": arrived,
        "psnr": quality[0],
        "ssim": quality[1],
        "channel_uses": uses,
        "bandwidth_ratio": exact,
        "encode_ms": round(encode_ms, 3),
        "decode_ms": round(decode_ms, 3),
        "output": str(target),
    }


def _shown(result: Transmission, x: torch.Tensor) -> torch.Tensor:
    """The received picture ``(1, 3, H, W)`` on the CPU; grey where the receiver made none."""
    import torch

    return torch.full_like(x, LOST_GREY) if result.image is None else result.image.float().cpu()
