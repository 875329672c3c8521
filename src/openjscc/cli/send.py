"""``openjscc send``: an image through the whole chain, and what arrived."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import options as opt
from .console import aligned, print_reports, say
from .outcomes import Outcome, outcome_of, shares

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..codec import Codec
    from ..tasks import TaskNetwork

SEGMENTATION = "segmentation"

Images = Annotated[
    list[Path] | None, typer.Argument(metavar="IMAGE", help="Image files; without one, a bundled photograph is sent.")
]
MODEL = (
    "A released weight (openjscc models list) as ARCH or ARCH.TAG, a .safetensors file, a digital link such as bpg-ldpc, or "
    "CODEC+NETWORK. Default: adjscc; with --task or --request mtgsc; for 32x32 images with --task-network spjscc.distilled."
)
Model = Annotated[str | None, typer.Option("--model", metavar="M", help=MODEL)]
COMPARE = "Further systems at the same channel uses and noise, e.g. bpg-ldpc,bpg-capacity."
Compare = Annotated[str | None, typer.Option("--compare", metavar="LIST", help=COMPARE)]
LOOKED_BY = "Say what it sees before and after: classifier, a .safetensors or .th file."
LookedBy = Annotated[str | None, typer.Option("--task-network", metavar="NAME", help=LOOKED_BY)]
OUTPUT = "What is received (or a folder). Default: NAME-received.png, or -segmentation.png."
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help=OUTPUT)]


@dataclass(frozen=True)
class Link:
    """What all systems of one command share."""

    channel: str
    snr_db: float
    ratio: float | None
    task: str
    seed: int
    equalizer: str


@dataclass(frozen=True)
class _Sent:
    """What one system made of an image: what arrived, a caption for it, the report for JSON, lines for people."""

    outcome: Outcome
    caption: str
    report: dict[str, Any]
    lines: list[str]


def send(
    images: Images = None,
    model: Model = None,
    compare: Compare = None,
    channel: opt.ChannelName = "awgn",
    snr: opt.Snr = "10",
    ratio: opt.Ratio = None,
    seed: opt.Seed = 0,
    task: opt.Task = None,
    request: opt.Request = None,
    sentence_model: opt.SentenceModelName = None,
    task_network: LookedBy = None,
    equalizer: opt.Equalizer = "mmse",
    device: opt.Device = "cpu",
    output: Output = None,
    force: opt.Force = False,
    as_json: opt.Json = False,
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
    from ..channels import check_equalizer, make_channel
    from ..data.bundled import sample_photo
    from ..data.images import picture_size
    from ..devices import find_device

    where = find_device(device)
    law, snr_db, asked_ratio = make_channel(channel).name, opt.one_snr(snr), opt.one_ratio(ratio)
    check_equalizer(equalizer)
    opt.check_task(task)
    others = _others(model, compare)
    paths = images or [sample_photo()]
    sizes = [picture_size(path) for path in paths]
    wanted = opt.task_of(task, request, sentence_model)
    targets = _targets(paths, output, wanted.task, force)
    link = Link(law, snr_db, asked_ratio, wanted.task, seed, equalizer)
    network = _classifier(task_network, link.task)
    systems = _opened([model or _default(link, wanted.named, network, sizes), *others], link, where)
    reports = []
    for path, target in zip(paths, targets, strict=True):
        seen, sent = _send_one(systems, path, target, link, network, force)
        facts = {"image": str(path), "channel": link.channel, "snr_db": link.snr_db, "seed": seed, "task": link.task}
        reports.append({**facts, "request": wanted.report, "task_network": seen, "systems": sent})
        if not as_json:
            print(target, flush=True)
    if as_json:
        print_reports(reports)
    if not all(report["systems"][0]["ok"] for report in reports):
        raise typer.Exit(1)


def _others(model: str | None, compare: str | None) -> list[str]:
    """The systems of ``--compare``, their names and the model's checked."""
    from ..systems import check_name

    others = [] if compare is None else opt.names(compare, "list of systems to compare")
    for name in others if model is None else [model, *others]:
        check_name(name)
    return others


def _default(link: Link, named: bool, network: TaskNetwork | None, sizes: list[tuple[int, int]]) -> str:
    """The system where none is named; one made for classifiers where the images fit it, and it serves the ratio."""
    from ..systems import CLASSIFIED_SIZE, CLASSIFIED_SYSTEM, default_system, load

    classified = network is not None and {network.input_size, *sizes} == {CLASSIFIED_SIZE}
    if classified and (ratio := link.ratio) is not None:
        classified = any(math.isclose(ratio, served, rel_tol=1e-3) for served in load(CLASSIFIED_SYSTEM).ratios)
    return default_system(link.task, requested=named, classified=classified)


def _opened(asked: list[str], link: Link, device: torch.device) -> list[tuple[str, Codec]]:
    """Systems by the names asked for, each once."""
    from ..codec import check_task, resolved_name
    from ..systems import load

    systems: dict[str, tuple[str, Codec]] = {}
    for name in asked:
        codec = load(name, link.ratio, device=device)
        check_task(codec, link.task)
        systems.setdefault(resolved_name(codec), (name, codec))
    return list(systems.values())


def _classifier(name: str | None, task: str) -> TaskNetwork | None:
    if name is None:
        return None
    if task == SEGMENTATION:
        raise UsageError(
            f"a task network ({name}) with the task {SEGMENTATION}",
            f"it looks at received pictures, and none is: --model CODEC+{name}, if it is a network for segmentation",
        )
    from ..tasks import load_task_network

    network = load_task_network(name)
    if network.kind != "classification":
        raise UsageError(f"the task network {name!r} is for {network.kind}", "name a classifier, e.g. classifier")
    return network


def _targets(paths: list[Path], output: Path | None, task: str, force: bool) -> list[Path]:
    """One output path per image, each known to be free and writable, and no image among them that is sent."""
    from ..data.images import check_output

    what = "segmentation" if task == SEGMENTATION else "received"
    targets = [(output or Path()) / f"{path.stem}-{what}.png" for path in paths]
    if output is not None and not os.path.isdir(output):
        if len(paths) > 1:
            raise UsageError(f"{output} is no folder, for {len(paths)} pictures", f"make it first: mkdir -p {output}")
        targets = [output]
    if task == SEGMENTATION:
        opt.check_mask_file(targets[0])
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
    return target.with_name(f"{target.stem}-{'overlay' if task == SEGMENTATION else 'side-by-side'}.png")


def _send_one(
    systems: list[tuple[str, Codec]], path: Path, target: Path, link: Link, network: TaskNetwork | None, force: bool
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Sends one image by every system, writes and reports what arrived; the JSON report's part of the task network (None
    without one) and of the systems."""
    from ..data.images import read_image, write_png

    picture = read_image(path)
    x = picture.pixels[None]
    sent = _send_all(systems, x, link)
    reports = [one.report for one in sent]
    first = reports[0]
    first["output"] = str(target)
    seen = None if network is None else _look(network, x, sent)
    notes = [*picture.notes]
    if not first["ok"]:
        notes.append("the frame was lost: what is shown is not what was received")
    if target.suffix.lower() in (".jpg", ".jpeg"):
        notes.append("stored as JPEG: the file is not exactly what was received")
    if seen is not None and seen["resized_to"] is not None:
        notes.append(f"{seen['name']} looked at the pictures resized to {'x'.join(map(str, seen['resized_to'][::-1]))} pixels")
    sheet = sheet_path(target, link.task)
    write_png(target, sent[0].outcome.file, overwrite=force)
    write_png(sheet, _sheet(x[0], sent, seen), overwrite=force)

    height, width = x.shape[-2:]
    lines = [*sent[0].lines]
    if seen is not None:
        lines.append(f"seen      by {seen['name']}: sent {_shares(seen['seen'])}; received {_seen(first)}")
    lines += [f"note      {note}" for note in notes]
    lines += _comparison(reports) if len(reports) > 1 else []
    say(f"{path}: {width}x{height} pixels by {first['weight']} over {link.channel} at {link.snr_db:g} dB, seed {link.seed}")
    for line in [*lines, f"written   {target} and {sheet.name}"]:
        say(f"  {line}")
    return seen, reports


def _send_all(systems: list[tuple[str, Codec]], x: torch.Tensor, link: Link) -> list[_Sent]:
    """The image by every system, the learned ones first: the first sets the ratio, and the channel uses of the digital ones."""
    from ..bench import nominal_ratio
    from ..codec import CodecInfo

    order = sorted(range(len(systems)), key=lambda number: CodecInfo(systems[number][1]).any_ratio)
    results: dict[int, _Sent] = {}
    ratio, uses = link.ratio, None
    for number in order:
        name, codec = systems[number]
        try:
            nominal = nominal_ratio(codec, ratio, link.task)
        except UsageError as error:
            if link.ratio is not None:
                raise
            message = f"{error.message}, at which {systems[order[0]][0]} sends"
            raise UsageError(message, f"{error.hint}; all systems of one command need one ratio: --ratio") from None
        results[number] = _transmit(name, codec, x, link, nominal, uses if CodecInfo(codec).any_ratio else None)
        if uses is None:
            ratio, uses = nominal, results[number].report["channel_uses"]
    return [results[number] for number in range(len(systems))]


def _transmit(name: str, codec: Codec, x: torch.Tensor, link: Link, ratio: float | None, uses: int | None) -> _Sent:
    from ..codec import CodecInfo, resolved_name
    from ..devices import exact_float32
    from ..link import transmit
    from ..units import bandwidth_ratio, format_ratio

    with exact_float32():
        result = transmit(
            codec, link.channel, x, link.snr_db, ratio=ratio, task=link.task, seed=link.seed, equalizer=link.equalizer, uses=uses
        )
    sent, rate, schemes = int(result.frame.length[0]), result.frame.side.rate, CodecInfo(codec).schemes
    exact = bandwidth_ratio(sent, *x.shape[-2:])
    chosen = codec.ratios[int(rate[0])] if ratio is None and rate is not None else ratio
    nominal = format_ratio(exact if uses is not None else chosen)
    scheme = None if schemes is None or rate is None else schemes[int(rate[0])].name
    arrived = result.reconstruction.ok is None or bool(result.reconstruction.ok[0])
    outcome = outcome_of(codec, result, x, arrived)
    weight, bound = resolved_name(codec), CodecInfo(codec).bound
    report = {
        "system": name, "weight": weight, "ok": arrived, "bound": bound, "tool": CodecInfo(codec).tool, "scheme": scheme,
        **outcome.facts, "channel_uses": sent, "bandwidth_ratio": exact, "encode_ms": round(result.encode_ms, 3),
        "decode_ms": round(result.decode_ms, 3), "seen": None, "output": None,
    }  # fmt: skip
    shown = f"{weight} (bound)" if bound else weight
    caption = f"received: {shown}, {link.channel} {link.snr_db:g} dB, CBR {nominal}{outcome.caption}"
    lines = [
        f"sent      k = {sent} channel uses, CBR {nominal} ({exact:.6f} with header and padding)",
        *([] if scheme is None else [f"scheme    {scheme}"]),
        outcome.line,
        f"time      encode {result.encode_ms:.0f} ms, decode {result.decode_ms:.0f} ms",
    ]
    return _Sent(outcome, caption, report, lines)


def _sheet(x: torch.Tensor, sent: list[_Sent], seen: dict[str, Any] | None) -> Image.Image:
    """The sent image ``(3, H, W)`` and what each system made of it, with what was found in them."""
    from ..classes import voc_palette
    from ..data.sheets import side_by_side, stamped, with_legend

    pictures = [("sent" if seen is None else f"sent\nseen as {_share(seen['seen'][0])}", x)]
    found_names: dict[int, str] = {}
    for one in sent:
        report, shown = one.report, one.outcome.shown
        classes = report["classes"] or []
        found_names |= {found["number"]: found["class"] for found in classes}
        found = shares(classes, 3)
        if report["seen"] is not None:
            found = ("" if report["ok"] else "lost; grey ") + f"seen as {_share(report['seen'][0])}"
        caption = one.caption + (f"\n{found}" if found else "")
        pictures.append((caption, shown if report["ok"] else stamped(shown, "frame lost")))
    across = None if len(pictures) <= 3 else math.ceil(math.sqrt(len(pictures)))
    colours = voc_palette()
    legend = [(found_names[number], colours[number]) for number in sorted(found_names) if number]
    return with_legend(side_by_side(pictures, across), legend)


def _look(network: TaskNetwork, x: torch.Tensor, sent: list[_Sent]) -> dict[str, Any]:
    """What a classifier sees on the sent image, for JSON; what it sees on the received ones goes into their reports."""
    from ..tasks import top_classes

    def seen(picture: torch.Tensor) -> list[dict[str, Any]]:
        (classes,) = top_classes(network, picture.float())
        return [{"class": name, "probability": round(share, 4)} for name, share in classes]

    for one in sent:
        one.report["seen"] = seen(one.outcome.shown[None])
    size = network.input_size
    resized = None if size is None or tuple(size) == tuple(x.shape[-2:]) else list(size)
    return {"name": network.name, "sha256": network.sha256, "resized_to": resized, "seen": seen(x)}


def _share(seen: dict[str, Any]) -> str:
    """``dog 93 %``."""
    return f"{seen['class']} {100 * seen['probability']:.0f} %"


def _shares(seen: list[dict[str, Any]]) -> str:
    """The likeliest class, and others that are not out of the question."""
    return ", ".join(_share(one) for number, one in enumerate(seen) if number == 0 or one["probability"] >= 0.05)


def _seen(report: dict[str, Any]) -> str:
    """Of a received image; of a lost one what the grey image in its place is taken for."""
    return _shares(report["seen"]) if report["ok"] else f"lost (the grey picture: {_share(report['seen'][0])})"


def _comparison(reports: list[dict[str, Any]]) -> list[str]:
    """A line per system: what it sent and what arrived."""
    rows = []
    for report in reports:
        row = {"system": report["weight"], "k": str(report["channel_uses"])}
        if report["classes"] is not None:
            found = shares(report["classes"], 5)
            rows.append(row | {"found": found if report["ok"] else f"frame lost (in its place: {found})"})
            continue
        row |= {"PSNR (dB)": opt.figure(report["psnr"], 2), "SSIM": opt.figure(report["ssim"], 4)}
        row |= {} if report["seen"] is None else {"seen as": _seen(report)}
        remarks = ("" if report["ok"] else "frame lost", "bound" if report["bound"] else "", report["scheme"] or "")
        rows.append(row | {"remarks": ", ".join(filter(None, remarks))})
    return aligned(list(rows[0]), [list(row.values()) for row in rows])
