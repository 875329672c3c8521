"""``openjscc send``: an image through the whole chain, and what arrived."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, unknown_name
from .console import print_json, say
from .options import Device, Force, Json, Seed, Task, figure, names, one_snr
from .outcomes import Outcome, outcome_of, shares
from .request import Request, SentenceModelName, task_of

SEGMENTATION = "segmentation"

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..codec import Codec
    from ..link import Transmission
    from ..tasks import TaskNetwork


@dataclass(frozen=True)
class Link:
    """What all systems of one command share."""

    channel: str
    snr_db: float
    ratio: float | None
    task: str
    seed: int
    equalizer: str


def send(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Image files; without one, a bundled photograph is sent.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="M",
            help="A released weight (openjscc models list) as ARCH or ARCH.TAG, a .safetensors file, a digital link such as "
            "bpg-ldpc, or CODEC+NETWORK. Default: adjscc; with --task or --request mtgsc; for 32x32 images with "
            "--task-network spjscc.distilled.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare", metavar="LIST", help="Further systems at the same channel uses and noise, e.g. bpg-ldpc,bpg-capacity."
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="C", help="awgn, rayleigh:block, rayleigh:fast, rician:K or rician:K:fast.")
    ] = "awgn",
    snr: Annotated[str, typer.Option("--snr", metavar="DB", help="Average signal-to-noise ratio Es/N0 in dB.")] = "10",
    ratio: Annotated[
        str | None,
        typer.Option(
            "--ratio", metavar="R", help="Bandwidth ratio (CBR) such as 1/16; a learned model has some, digital systems any."
        ),
    ] = None,
    seed: Seed = 0,
    task: Task = None,
    request: Request = None,
    sentence_model: SentenceModelName = None,
    task_network: Annotated[
        str | None,
        typer.Option(
            "--task-network", metavar="NAME", help="Say what it sees before and after: classifier, a .safetensors or .th file."
        ),
    ] = None,
    equalizer: Annotated[str, typer.Option("--equalizer", metavar="E", help="Under fading: mmse or zf.")] = "mmse",
    device: Device = "cpu",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="What is received (or a folder). Default: NAME-received.png, or -segmentation.png.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Send images over a noisy channel and write what arrives.

    Writes the received image and, beside it, OUT-side-by-side.png with the sent one and those of --compare. Of a segmentation:
    the mask, a palette PNG of class numbers, and OUT-overlay.png, the segments on the sent image. The report goes to stderr,
    the path of what was received to stdout. All get the ratio of the first learned one, digital systems its uses.

    \b
    openjscc send photo.jpg --channel rayleigh:block --snr 7 --ratio 1/12 -o received.png
    openjscc send photo.jpg --snr 5 --compare bpg-ldpc,bpg-capacity
    openjscc send plane.png --snr 3 --compare adjscc.cifar10 --task-network classifier
    openjscc send dog.jpg --task segmentation --model bpg-ldpc+fcn --ratio 1/32
    openjscc send photo.jpg --request "please restore the photo as sharp as you can"
    """
    from ..channels import EQUALIZERS, make_channel
    from ..codec import TASKS, check_task, resolved_name
    from ..data.bundled import sample_photo
    from ..data.images import picture_size
    from ..devices import find_device
    from ..systems import CLASSIFIED_SIZE, CLASSIFIED_SYSTEM, check_name, default_system, load
    from ..units import parse_ratio

    where = find_device(device)
    channel, snr_db, asked_ratio = make_channel(channel).name, one_snr(snr), None if ratio is None else parse_ratio(ratio)
    if equalizer not in EQUALIZERS:
        raise unknown_name("equalizer", equalizer, EQUALIZERS)
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    others = names(compare, "list of systems to compare") if compare is not None else []
    for name in [*([] if model is None else [model]), *others]:
        check_name(name)
    paths = images or [sample_photo()]
    sizes = [picture_size(path) for path in paths]
    wanted = task_of(task, request, sentence_model)
    targets = _targets(paths, output, wanted.task, force)
    if task_network is not None and wanted.task == SEGMENTATION:
        raise UsageError(
            f"a task network ({task_network}) with the task {SEGMENTATION}",
            f"it looks at received pictures, and none is: --model CODEC+{task_network}, if it is a network for segmentation",
        )
    link = Link(channel, snr_db, asked_ratio, wanted.task, seed, equalizer)
    looked_by = None if task_network is None else _classifier(task_network)
    classified = looked_by is not None and {looked_by.input_size, *sizes} == {CLASSIFIED_SIZE}
    if classified and asked_ratio is not None:
        classified = any(math.isclose(asked_ratio, served, rel_tol=1e-3) for served in load(CLASSIFIED_SYSTEM).ratios)
    named = request is not None or task is not None
    first = default_system(link.task, requested=named, classified=classified) if model is None else model
    asked = [first, *others]
    systems: dict[str, tuple[str, Codec]] = {}
    for name in asked:
        codec = load(name, link.ratio, device=where)
        check_task(codec, link.task)
        systems.setdefault(resolved_name(codec), (name, codec))

    reports = []
    for path, target in zip(paths, targets, strict=True):
        seen, sent = _send_one(list(systems.values()), path, target, link, looked_by, force)
        facts = {"image": str(path), "channel": link.channel, "snr_db": link.snr_db, "seed": seed}
        facts |= {"task": link.task, "request": wanted.report}
        reports.append({**facts, "task_network": seen, "systems": sent})
        if not as_json:
            print(target, flush=True)
    if as_json:
        print_json(reports if len(reports) > 1 else reports[0])
    if not all(report["systems"][0]["ok"] for report in reports):
        raise typer.Exit(1)


def _targets(paths: list[Path], output: Path | None, task: str, force: bool) -> list[Path]:
    """One output path per image, each known to be free and writable, and no image among them that is sent."""
    from ..data.images import check_output

    if len(paths) > 1 and output is not None and not os.path.isdir(output):
        raise UsageError(f"{output} is no folder, for {len(paths)} pictures", f"make it first: mkdir -p {output}")
    if output is not None and not os.path.isdir(output):
        targets = [output]
    else:
        what = "segmentation" if task == SEGMENTATION else "received"
        targets = [(output or Path()) / f"{path.stem}-{what}.png" for path in paths]
    if task == SEGMENTATION and targets[0].suffix.lower() not in ("", ".png"):
        raise UsageError(f"{targets[0]}: a mask is no {targets[0].suffix} file", "its pixels are class numbers: write .png")
    everything = [item for target in targets for item in (target, sheet_path(target, task))]
    for item in everything:
        check_output(item, force)
        if everything.count(item) > 1:
            raise UsageError(f"{item} would be written twice", "send pictures of the same name one at a time, with -o")
        if any(os.path.realpath(item) == os.path.realpath(path) for path in paths):
            raise UsageError(f"{item} is a picture to be sent", "name another file with -o")
    return targets


def sheet_path(target: Path, task: str) -> Path:
    """Where the image of both goes: ``OUT-side-by-side.png`` beside ``OUT.png``; of a segmentation ``OUT-overlay.png``."""
    return target.parent / f"{target.stem}-{'overlay' if task == SEGMENTATION else 'side-by-side'}.png"


def _classifier(name: str) -> TaskNetwork:
    from ..tasks import load_task_network

    network = load_task_network(name)
    if network.kind != "classification":
        raise UsageError(f"the task network {name!r} is for {network.kind}", "name a classifier, e.g. classifier")
    return network


def _send_one(
    systems: list[tuple[str, Codec]], path: Path, target: Path, link: Link, network: TaskNetwork | None, force: bool
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Sends one image by every system, writes and reports what arrived; the JSON report's part of the task network (None
    without one) and of the systems."""
    from ..bench import nominal_ratio
    from ..codec import CodecInfo
    from ..data.images import read_image, write_png

    picture = read_image(path)
    x = picture.pixels[None]
    order = sorted(range(len(systems)), key=lambda number: CodecInfo(systems[number][1]).any_ratio)
    results: dict[int, _Sent] = {}
    ratio, uses = link.ratio, None
    for number in order:  # the learned ones first: the first of all sets the ratio, and the channel uses of the digital ones
        name, codec = systems[number]
        try:
            nominal_ratio(codec, ratio, link.task)
        except UsageError as error:
            if link.ratio is not None:
                raise
            message = f"{error.message}, at which {systems[order[0]][0]} sends"
            raise UsageError(message, f"{error.hint}; all systems of one command need one ratio: --ratio") from None
        results[number] = _transmit(name, codec, x, link, ratio, uses if CodecInfo(codec).any_ratio else None)
        if uses is None:
            ratio, uses = nominal_ratio(codec, ratio, link.task), results[number].report["channel_uses"]

    first = results[0]
    notes = [*picture.notes]
    if not first.report["ok"]:
        notes.append("the frame was lost: what is shown is not what was received")
    if target.suffix.lower() in (".jpg", ".jpeg"):
        notes.append("stored as JPEG: the file is not exactly what was received")
    first.report["output"] = str(target)
    seen = None if network is None else _look(network, x, [results[number] for number in range(len(systems))])
    if seen is not None and seen["resized_to"] is not None:
        notes.append(f"{seen['name']} looked at the pictures resized to {'x'.join(map(str, seen['resized_to'][::-1]))} pixels")
    write_png(target, first.outcome.file, overwrite=force)
    write_png(
        sheet_path(target, link.task), _sheet(x[0], [results[number] for number in range(len(systems))], seen), overwrite=force
    )

    height, width = x.shape[-2:]
    say(
        f"{path}: {width}x{height} pixels by {first.report['weight']} over {link.channel} at {link.snr_db:g} dB, seed {link.seed}"
    )
    for line in first.lines:
        say(f"  {line}")
    if seen is not None:
        say(f"  seen      by {seen['name']}: sent {_shares(seen['seen'])}; received {_seen(first.report)}")
    for note in notes:
        say(f"  note      {note}")
    if len(systems) > 1:
        _say_comparison([results[number].report for number in range(len(systems))])
    say(f"  written   {target} and {sheet_path(target, link.task).name}")
    return seen, [results[number].report for number in range(len(systems))]


def _sheet(x: torch.Tensor, sent: list[_Sent], seen: dict[str, Any] | None) -> Image.Image:
    """The sent image ``(3, H, W)`` and what each system made of it, with what was found in them."""
    from ..classes import voc_palette
    from ..data.sheets import side_by_side, stamped, with_legend

    pictures = [("sent" if seen is None else f"sent\nseen as {_share(seen['seen'][0])}", x)]
    names: dict[int, str] = {}
    for one in sent:
        report, shown = one.report, one.outcome.shown
        classes = report["classes"] or []
        names |= {found["number"]: found["class"] for found in classes}
        if seen is not None:
            found = ("" if report["ok"] else "lost; grey ") + f"seen as {_share(report['seen'][0])}"
        else:
            found = shares(classes, 3)
        caption = one.caption + (f"\n{found}" if found else "")
        pictures.append((caption, shown if report["ok"] else stamped(shown, "frame lost")))
    across = None if len(pictures) <= 3 else math.ceil(math.sqrt(len(pictures)))
    sheet = side_by_side(pictures, across)
    colours = voc_palette()
    return with_legend(sheet, [(names[number], colours[number]) for number in sorted(names) if number])


def _look(network: TaskNetwork, x: torch.Tensor, sent: list[_Sent]) -> dict[str, Any]:
    """What a classifier sees on the sent image, for JSON; what it sees on the received ones goes into their reports."""
    import torch

    from ..tasks import top_classes

    def seen(picture: torch.Tensor) -> list[dict[str, Any]]:
        (classes,) = top_classes(network, picture)
        return [{"class": name, "probability": round(share, 4)} for name, share in classes]

    for one in sent:
        one.report["seen"] = seen(one.outcome.shown[None].to(torch.float32))
    size = network.input_size
    resized = size is not None and tuple(size) != tuple(x.shape[-2:])
    return {
        "name": network.name,
        "sha256": network.sha256,
        "resized_to": list(size) if size is not None and resized else None,
        "seen": seen(x),
    }


def _share(seen: dict[str, Any]) -> str:
    """``dog 93 %``."""
    return f"{seen['class']} {100 * seen['probability']:.0f} %"


def _shares(seen: list[dict[str, Any]]) -> str:
    """The likeliest class, and others that are not out of the question."""
    return ", ".join(_share(one) for number, one in enumerate(seen) if number == 0 or one["probability"] >= 0.05)


def _seen(report: dict[str, Any]) -> str:
    """Of a received image; of a lost one what the grey image in its place is taken for."""
    return _shares(report["seen"]) if report["ok"] else f"lost (the grey picture: {_share(report['seen'][0])})"


@dataclass
class _Sent:
    """What one system made of an image: outcome, caption, report for JSON, lines for people."""

    outcome: Outcome
    caption: str
    report: dict[str, Any]
    lines: list[str]


def _transmit(name: str, codec: Codec, x: torch.Tensor, link: Link, ratio: float | None, uses: int | None) -> _Sent:
    from ..bench import nominal_ratio
    from ..codec import CodecInfo, resolved_name
    from ..devices import exact_float32
    from ..link import transmit
    from ..units import bandwidth_ratio, format_ratio

    with exact_float32():
        result = transmit(
            codec, link.channel, x, link.snr_db, ratio=ratio, task=link.task, seed=link.seed, equalizer=link.equalizer, uses=uses
        )
    sent = int(result.frame.length[0])
    exact = bandwidth_ratio(sent, *x.shape[-2:])
    known, rate = nominal_ratio(codec, ratio, link.task), result.frame.side.rate
    chosen = codec.ratios[int(rate[0])] if known is None and rate is not None else known
    nominal = format_ratio(exact if uses is not None else chosen)
    encode_ms, decode_ms = result.encode_ms, result.decode_ms
    arrived = result.reconstruction.ok is None or bool(result.reconstruction.ok[0])
    scheme = _scheme(codec, result)
    outcome = outcome_of(codec, result, x, arrived)
    del result  # the symbols of a large photograph are large too

    resolved = resolved_name(codec)
    shown = resolved + (" (bound)" if CodecInfo(codec).bound else "")
    caption = f"received: {shown}, {link.channel} {link.snr_db:g} dB, CBR {nominal}{outcome.caption}"
    report = {
        "system": name,
        "weight": resolved,
        "ok": arrived,
        "bound": CodecInfo(codec).bound,
        "tool": CodecInfo(codec).tool,
        "scheme": scheme,
        **outcome.facts,
        "channel_uses": sent,
        "bandwidth_ratio": exact,
        "encode_ms": round(encode_ms, 3),
        "decode_ms": round(decode_ms, 3),
        "seen": None,
        "output": None,
    }
    lines = [
        f"sent      k = {sent} channel uses, CBR {nominal} ({exact:.6f} with header and padding)",
        outcome.line,
        f"time      encode {encode_ms:.0f} ms, decode {decode_ms:.0f} ms",
    ]
    if scheme is not None:
        lines.insert(1, f"scheme    {scheme}")
    return _Sent(outcome, caption, report, lines)


def _scheme(codec: Codec, result: Transmission) -> str | None:
    """The modulation and coding scheme that a digital system used."""
    from ..codec import CodecInfo

    schemes, rate = CodecInfo(codec).schemes, result.frame.side.rate
    return None if schemes is None or rate is None else schemes[int(rate[0])].name


def _say_comparison(reports: list[dict[str, Any]]) -> None:
    """A line per system: what it sent and what arrived."""
    width = max(len(report["weight"]) for report in reports)
    if reports[0]["classes"] is not None:
        say(f"  {'system':<{width}}  {'k':>8}  found")
        for report in reports:
            lost = "" if report["ok"] else "frame lost (in its place: "
            found = f"{lost}{shares(report['classes'], 5)}{')' if lost else ''}"
            say(f"  {report['weight']:<{width}}  {report['channel_uses']:>8}  {found}")
        return
    seen = {report["weight"]: _seen(report) for report in reports if report["seen"] is not None}
    column = max((len(text) for text in seen.values()), default=0)
    head = f"{'seen as':<{column}}  " if seen else ""
    say(f"  {'system':<{width}}  {'k':>8}  {'PSNR (dB)':>9}  {'SSIM':>6}  {head}remarks")
    for report in reports:
        remarks = [text for text in ("bound" if report["bound"] else "", report["scheme"] or "") if text]
        if not report["ok"]:
            remarks.insert(0, "frame lost")
        figures = f"{figure(report['psnr'], 2):>9}  {figure(report['ssim'], 4):>6}"
        if seen:
            figures += f"  {seen[report['weight']]:<{column}}"
        say(f"  {report['weight']:<{width}}  {report['channel_uses']:>8}  {figures}  {', '.join(remarks)}".rstrip())
