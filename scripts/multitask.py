"""What one system for two tasks costs, and what two systems for one task each; and the studies on the page about the paper.

    python scripts/multitask.py cost
    python scripts/multitask.py floor           # results/multitask-floor.json; needs VOC (--data-dir, OPENJSCC_DATA)
    python scripts/multitask.py unseen          # results/multitask-unseen.json; after openjscc study multitask-psnr-224
    python scripts/multitask.py page            # fills docs/papers/generative-multitask.md, draws the training's curves

`cost` writes results/multitask-cost.json and prints it as a table. Of each task: the parameters that transmitter and receiver
need (those that its result depends on), the bytes that they take in half precision, the multiply-accumulates of both ends for a
pixel, and the channel uses of a picture, header included. All that follows from the configurations: no weight is needed.
`floor` measures what an answer scores that has never seen a picture: background everywhere. `unseen` compares PSNR on the
pictures of 224x224 without those by which the network was chosen, from the cells that the study left in its folder.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import multitask_figures
import torch
from marked import fill
from multitask_goals import RIVALS, goals

from openjscc import tasks
from openjscc.bench.differences import difference
from openjscc.codec import CodecInfo, Conditions, Received
from openjscc.data.datasets import open_dataset
from openjscc.data.masks import masks_of
from openjscc.files import write_atomically
from openjscc.metrics import get_metric
from openjscc.metrics.task import confusion_entries
from openjscc.models import LearnedCodec, create

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "multitask-cost.json"
FLOOR = ROOT / "results" / "multitask-floor.json"
UNSEEN = ROOT / "results" / "multitask-unseen.json"
STUDIES = ROOT / "results" / "studies"
PAGE = ROOT / "docs" / "papers" / "generative-multitask.md"
LOGS, CURVES = ROOT / "results" / "training", ROOT / "results" / "figures" / "mtgsc-training.svg"
METRICS = ("miou", "miou_nine", "pixel_accuracy")
RECONSTRUCTION, SEGMENTATION = "reconstruction", "segmentation"
RATIO = 1 / 16
CHOSEN_BY = 12
"""The network was chosen by crops of so many pictures, the first ones of DIV2K's validation pictures."""
DIV2K = [f"{number:04}.png" for number in range(801, 901)]
OVER = ("adjscc", "witt", "deepjscc")
SIZES = ((224, 224), (768, 512))
"""Width and height of the pictures whose channel uses are counted."""
MTGSC = (("mtgsc", "photo", RECONSTRUCTION), ("mtgsc", "photo", SEGMENTATION))
DEEPLAB = ("deeplab_jscc", "photo", SEGMENTATION)
SYSTEMS: tuple[tuple[str, bool, tuple[tuple[str, str, str], ...]], ...] = (
    ("MTGSC", True, MTGSC),
    ("MTGSC twice, a task each", False, MTGSC),
    ("WITT and DeepLab JSCC", False, (("witt", "photo", RECONSTRUCTION), DEEPLAB)),
    ("ADJSCC and DeepLab JSCC", False, (("adjscc", "photo", RECONSTRUCTION), DEEPLAB)),
)
"""Title, whether it is one network, and what serves each task: architecture, configuration, task."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "floor", "unseen", "page"))
    parser.add_argument("-o", "--output", type=Path, help="the JSON file")
    parser.add_argument("--study", type=Path, default=STUDIES / "multitask-psnr-224", help="folder of the study, with its cells")
    parser.add_argument("--data-dir", help="folder of VOC")
    options = parser.parse_args()
    if options.what == "page":
        page()
        return
    if options.what == "cost":
        found, words, target = cost(), table, RESULT
    elif options.what == "floor":
        found, words, target = [floor(name, options.data_dir) for name in ("voc", "voc-224")], floor_words, FLOOR
    else:
        found, words, target = unseen(options.study), unseen_words, UNSEEN
    write_atomically(options.output or target, (json.dumps(found, indent=1) + "\n").encode())
    print(words(found))


def page() -> None:
    """Fill the page from the records, and draw its figure from the logs."""
    write_atomically(PAGE, filled(PAGE.read_text("utf-8")).encode())
    multitask_figures.draw(LOGS, CURVES)


def filled(text: str) -> str:
    """The page with the tables of the records."""
    floors, others = floor_words(json.loads(FLOOR.read_text())), unseen_words(json.loads(UNSEEN.read_text()))
    contents = {"floor": floors, "unseen": others, "goals": goals(STUDIES)}
    return fill(text, "scripts/multitask.py page", contents)


def floor(data: str, data_dir: str | None) -> dict[str, Any]:
    """What background everywhere scores on the pictures of a data set."""
    dataset = open_dataset(data, data_dir, split="test")
    masks = masks_of(dataset)
    entries = []
    for index in range(len(dataset)):
        mask = masks[index].long()
        entries += confusion_entries(torch.zeros_like(mask), mask)
    facts = {"data": data, "data_sha256": dataset.fingerprint(), "masks_sha256": masks.fingerprint(), "images": len(dataset)}
    return facts | {metric: get_metric(metric).reduce(entries) for metric in METRICS}


def floor_words(found: list[dict[str, Any]]) -> str:
    """In Markdown."""
    lines = ["| background everywhere | mIoU, 21 classes | mIoU, nine | pixel accuracy |", "|---|---|---|---|"]
    for one in found:
        lines.append(
            f"| {one['data']}, {one['images']} pictures | " + " | ".join(f"{one[metric]:.4f}" for metric in METRICS) + " |"
        )
    return "\n".join(lines) + "\n"


def unseen(study: Path) -> list[dict[str, Any]]:
    """PSNR of MTGSC less that of the other learned systems over AWGN, on the pictures that nothing was chosen by."""
    tables: dict[tuple[str, float], list[list[float]]] = {}
    for path in sorted((study / "cells").glob("*.json")):
        cell = json.loads(path.read_text())
        for record in (one for one in cell["records"] if one["metric"] == "psnr" and one["channel"] == "awgn"):
            if cell["pictures"]["ids"] != DIV2K or record["error"] is not None or abs(record["ratio"] - RATIO) > 1e-9:
                raise SystemExit(f"{path}: not of all DIV2K's validation pictures at CBR 1/16")
            tables[record["system"], record["snr_db"]] = cell["pictures"]["values"]["psnr"][CHOSEN_BY:]
    missing = [key for key in ((over, snr) for over in OVER for _, snr in tables) if key not in tables]
    if not tables or missing:
        raise SystemExit(f"cells are missing in {study}: run openjscc study {study.name}")
    return [
        {"over": over, "snr_db": snr} | asdict(difference(tables["mtgsc", snr], tables[over, snr]))
        for over in OVER
        for system, snr in sorted(tables)
        if system == "mtgsc"
    ]


def unseen_words(found: list[dict[str, Any]]) -> str:
    """In Markdown."""
    snrs = list(dict.fromkeys(one["snr_db"] for one in found))
    (pictures,) = {one["pictures"] for one in found}
    lines = [
        f"| PSNR above, {pictures} pictures | " + " | ".join(f"{snr:g} dB" for snr in snrs) + " |",
        "|---" * (len(snrs) + 1) + "|",
    ]
    for over in dict.fromkeys(one["over"] for one in found):
        there = [f"{one['value']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]" for one in found if one["over"] == over]
        lines.append("| " + " | ".join([RIVALS[over], *there]) + " |")
    return "\n".join(lines) + "\n"


def cost() -> list[dict[str, Any]]:
    """A record for each task of each entry of `SYSTEMS` and for both together, and one for the network after digital links."""
    records: list[dict[str, Any]] = []
    for title, shared, parts in SYSTEMS:
        sent: dict[str, int] = {}
        received: dict[str, int] = {}
        for number, (arch, config, task) in enumerate(parts):
            codec = create(arch, config).eval()
            ends = needed(codec, task)
            about = {"system": title, "network": f"{arch}.{config}", "task": task}
            records.append(about | stored(*ends) | use(codec, task))
            for both, end in zip((sent, received), ends, strict=True):
                both |= {name if shared else f"{number}.{name}": size for name, size in end.items()}
        records.append({"system": title, "network": None, "task": "both"} | stored(sent, received))
    network = tasks.create("fcn", "voc")
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    records.append({"system": "FCN, after any link", "network": "fcn.voc", "task": SEGMENTATION} | stored({}, sizes))
    return records


def needed(codec: LearnedCodec, task: str) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes of the parameters that the symbols of a task depend on, and of those that its result depends on at the receiver."""
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    frame = codec.encode(x, Conditions(snr_db=torch.tensor([10.0]), task=task))
    side = frame.side if frame.side.scale is None else replace(frame.side, scale=frame.side.scale.detach())
    frame.symbols.abs().sum().backward()
    sent = touched(codec)
    result = codec.decode_payload(Received(frame.symbols.detach(), torch.tensor([0.1]), None, frame.length), side)
    found = result.image if task == RECONSTRUCTION else result.segmentation
    assert found is not None
    found.sum().backward()
    return sent, touched(codec)


def touched(codec: LearnedCodec) -> dict[str, int]:
    """Sizes of the parameters with a gradient, which is then taken from them."""
    sizes = {name: parameter.numel() for name, parameter in codec.named_parameters() if parameter.grad is not None}
    codec.zero_grad(set_to_none=True)
    return sizes


def stored(sent: dict[str, int], received: dict[str, int]) -> dict[str, int]:
    """Parameters of both ends. What both have is counted for each, and once in the file of a weight."""
    together = sum((sent | received).values())
    return {"transmitter": sum(sent.values()), "receiver": sum(received.values()), "parameters": together, "bytes": 2 * together}


def use(codec: LearnedCodec, task: str) -> dict[str, Any]:
    """Work and channel uses: of a picture at CBR 1/16, of a segmentation at the ratio that the codec has for it."""
    ratio = RATIO if task == RECONSTRUCTION else CodecInfo(codec).task_ratios(task)[-1]
    rate = int(codec.rate_index(ratio, 1, torch.device("cpu"))[0])
    uses = {
        f"{width}x{height}": codec.header.uses(height, width) + codec.payload_uses(height, width, rate) for width, height in SIZES
    }
    return {"ratio": ratio, "macs_per_pixel": round(codec.macs_per_pixel(task), 1), "channel_uses": uses}


def table(records: list[dict[str, Any]]) -> str:
    """In Markdown."""
    sizes = [f"{width}x{height}" for width, height in SIZES]
    heads = ["system", "task", "transmitter", "receiver", "both ends", "MiB", "MAC/pixel", *(f"uses, {size}" for size in sizes)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for record in records:
        cells = [record["system"], record["task"], *(f"{record[key]:,}" for key in ("transmitter", "receiver", "parameters"))]
        macs = f"{record['macs_per_pixel']:,.0f}" if "macs_per_pixel" in record else ""
        uses = [f"{record['channel_uses'][size]:,}" if "channel_uses" in record else "" for size in sizes]
        lines.append("| " + " | ".join([*cells, f"{record['bytes'] / 2**20:.2f}", macs, *uses]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
