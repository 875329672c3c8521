"""What the parts of the perceptual loss do (Fig. 7 of perceptual JSCC): small networks that differ in the end of their training.

    python scripts/perceptual.py run RUNS --data-dir DATA    # trains and measures what is missing; may be stopped
    python scripts/perceptual.py draw RUNS --data-dir DATA   # the same crops as each network receives them
    python scripts/perceptual.py page                        # fills docs/papers/perceptual-jscc.md, draws the training's curves

Recipe ganjscc-small (485,500 parameters, CBR 1/48). A shared stage, `STAGE`: 3,600 updates on LPIPS and MSE at a constant
learning rate, then 600 of the discriminator alone. From its state each row makes 1,000 updates of the codec (`Row`), with the
learning rate falling anew, on the same pictures, SNRs and noise; rows with a generative loss update the discriminator as often.
"Deep JSCC" makes as many updates of the codec, 4,600, with nothing but the squared error. Rows come in the order of what matters
most, so a run that is stopped has these.

On one core (AMD EPYC with AVX-512 bfloat16) an update of the codec takes 0.25 s, one of the discriminator alone 0.20, both 0.46,
and one on the squared error alone 0.16. That makes 17 minutes for the shared stage, 4 for a row, 8 for one with a generative
loss, 12 for "Deep JSCC": 86 in all. Measuring takes two minutes a row, half of that with OPENJSCC_SOURCE_MEMORY=5000. Writes
results/perceptual-ablation.csv and, once that is complete, `draw` results/figures/perceptual-ablation.webp.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import discriminator
import perceptual_figures
import perceptual_found
import perceptual_headline
import torch
from marked import fill

from openjscc.bench import Record, Sweep, evaluate, read_records, write_records
from openjscc.bench.provenance import device_name
from openjscc.data.datasets import open_dataset
from openjscc.data.sheets import side_by_side
from openjscc.files import write_atomically
from openjscc.link import transmit
from openjscc.metrics import METRICS
from openjscc.models import LearnedCodec, create
from openjscc.report.columns import metric_name
from openjscc.report.markdown import table_row
from openjscc.training.checkpoint import CHECKPOINT, load_checkpoint
from openjscc.training.loop import RunOptions, train
from openjscc.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "perceptual-ablation.csv"
FIGURE = ROOT / "results" / "figures" / "perceptual-ablation.webp"
LOG, CURVES = ROOT / "results" / "training" / "ganjscc.photo.csv", ROOT / "results" / "figures" / "ganjscc-training.svg"
PAGE = ROOT / "docs" / "papers" / "perceptual-jscc.md"
STUDIES = ROOT / "results" / "studies"
RECIPE = "ganjscc-small"
SNR_DB = 10.0
DATA, PICTURES = "div2k", 50
METRICS_SHOWN = ("psnr", "ms_ssim", "lpips", "lpips_vgg", "dists")

CROPS = {"kodim04": (200, 215), "kodim13": (200, 180), "kodim24": (200, 180), "kodim19": (200, 430)}
"""Of Kodak: left upper corners of what is drawn. Chosen before anything was trained."""
SIDE = 160

STAGE = (
    "gan.pretrain=3600", "gan.discriminator=600", "gan.lr=1e-3", "optimizer.steps=5200", "optimizer.ema=0.995",
    "run.checkpoint_every=100", "run.validate_every=100000",
)  # fmt: skip
"""What differs from the recipe: lengths, a discriminator that learns as fast as the codec (at the paper's 1e-4, which is made for
10,000 updates alone, it may still be blind after so few), and an average that is shorter than a row."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        beta_m: weight of the squared error on the scale of 0 to 255.
        beta_g: weight of the generative loss.
        plain: the squared error alone, from the first update on.
        shift: of `openjscc.training.sections.GanSection`: 8, and LPIPS sees the codec's grid from all places; 1, from one.
    """

    beta_m: float = 1e-5
    beta_g: float = 0.0
    plain: bool = False
    shift: int = 1

    @property
    def changes(self) -> list[str]:
        """For the recipe."""
        return [f"gan.beta_m={self.beta_m}", f"gan.beta_g={self.beta_g}", f"gan.shift={self.shift}"]


ROWS = {
    "MSE alone (Deep JSCC)": Row(plain=True),
    "β_m = 1e-5": Row(),
    "β_m = 1e-5, β_g = 1e-3": Row(beta_g=1e-3),
    "β_m = 1e-3": Row(beta_m=1e-3),
    "β_m = 1e-5, β_g = 1e-1": Row(beta_g=1e-1),
    "β_m = 1e-4": Row(beta_m=1e-4),
    "β_m = 1e-5, β_g = 1e-5": Row(beta_g=1e-5),
    "β_m = 1e-5, moved": Row(shift=8),
    "β_m = 3e-4, β_g = 3e-3, moved": Row(3e-4, 3e-3, shift=8),
    "β_m = 1e-5, β_g = 1e-3, moved": Row(beta_g=1e-3, shift=8),
}
"""The paper's settings, then three in which LPIPS sees the pictures from places drawn at random; the middle one has the
weights of recipe ganjscc-photo."""
SHOWN = (
    "MSE alone (Deep JSCC)", "β_m = 1e-3", "β_m = 1e-4", "β_m = 1e-5",
    "β_m = 1e-5, β_g = 1e-5", "β_m = 1e-5, β_g = 1e-3", "β_m = 1e-5, β_g = 1e-1",
    "β_m = 1e-5, moved", "β_m = 1e-5, β_g = 1e-3, moved", "β_m = 3e-4, β_g = 3e-3, moved",
)  # fmt: skip
"""The same in the order of the paper's figure."""

MOVED, OFF = 2, "2 px off"
"""LPIPS is measured a second time without so many first rows and columns: half of the stride of AlexNet's first convolution."""


@dataclass(frozen=True, kw_only=True)
class Entry(Record):
    """A figure of a row.

    Attributes:
        row: a key of `ROWS`.
        updates: of its own, after the shared stage.
        stage_seconds, training_seconds: of the shared stage, and of the row's own updates.
        trained_on: device.
        beta_m, beta_g, shift: see `Row`.
        moved: mean LPIPS without the first rows and columns (`MOVED`), beside that of the whole images.
    """

    row: str
    updates: int
    stage_seconds: float
    training_seconds: float
    trained_on: str
    beta_m: float
    beta_g: float
    shift: int
    moved: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and measure what is missing")
    draw_it = verbs.add_parser("draw", help="send the crops of the figure with what was trained")
    for verb in (run, draw_it):
        verb.add_argument("runs", type=Path, help="folder for the training runs")
        verb.add_argument("--data-dir", help="where the data sets lie; else OPENJSCC_DATA")
        verb.add_argument(
            "--set", action="append", default=[], help="as for openjscc train, to try the command out: writes nothing"
        )
    run.add_argument("--limit", type=int, help="only the first test pictures, to try it out: writes no results")
    verbs.add_parser("page", help="fill the page from the records")
    options = parser.parse_args()
    if options.verb == "page":
        page()
    elif options.verb == "draw":
        sheet = drawn(options)
        if options.set:
            sheet.save(options.runs / FIGURE.name)
            return
        FIGURE.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(FIGURE, quality=88, method=6)
    else:
        measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Trains and measures what the records do not have. A try begins without records and writes none."""
    trying = bool(options.set or options.limit)
    done = [] if trying else records()
    for name in ROWS:
        if any(entry["row"] == name for entry in done):
            continue
        codec, facts = trained(options, name)
        moved = moved_lpips(codec, options)
        entries = [Entry(row=name, **facts, **asdict(record)) for record in measured(codec, options)]
        done += [asdict(replace(entry, moved=moved if entry.metric == "lpips" else None)) for entry in entries]
        print(table(done), end="\n\n", flush=True)
        if not trying:
            write_records(RESULTS, [Entry(**entry) for entry in done])


def records() -> list[dict[str, Any]]:
    return [asdict(entry) for entry in read_records(RESULTS, Entry)] if RESULTS.exists() else []


def recipe_of(row: Row, more: list[str]) -> tuple[Recipe, Recipe, int]:
    """What the shared stage of a row does, what the row does then, and after how many updates it begins.

    The schedule begins anew there: what it calls the warm-up is over, and the cosine falls from the peak to the end.
    """
    first = load_recipe(RECIPE, [*STAGE, "optimizer.schedule=constant", *more])
    start, steps = first.gan.pretrain, first.optimizer.steps
    if row.plain:
        steps -= first.gan.discriminator  # as many updates of the codec
    else:
        start += first.gan.discriminator
    then = load_recipe(RECIPE, [*STAGE, *row.changes, *more, f"optimizer.warmup={start}", f"optimizer.steps={steps}"])
    if row.plain:
        first, then = replace(first, step="reconstruction"), replace(then, step="reconstruction")
    return first, then, start


def trained(options: argparse.Namespace, name: str) -> tuple[LearnedCodec, dict[str, Any]]:
    """The network of one row, and what it took."""
    row = ROWS[name]
    first, then, start = recipe_of(row, options.set)
    runs = options.runs / f"try-{slug(' '.join(options.set))}" if options.set else options.runs
    base, folder = runs / ("plain" if row.plain else "shared"), runs / slug(name)
    before = step_of(base)
    if before < start:
        train(first, RunOptions(base, options.data_dir, resume=before > 0, max_steps=start - before))
    if not (folder / CHECKPOINT).exists():
        shutil.copytree(base, folder, dirs_exist_ok=True)
    stage_seconds = load_checkpoint(base).seconds
    result = train(then, RunOptions(folder, options.data_dir, resume=True))
    assert isinstance(result.network, LearnedCodec)
    seconds = {"stage_seconds": round(stage_seconds, 1), "training_seconds": round(result.state.seconds - stage_seconds, 1)}
    facts = {
        "beta_m": row.beta_m,
        "beta_g": row.beta_g,
        "shift": row.shift,
        "updates": then.optimizer.steps - start,
        "trained_on": device_name(),
    }
    return result.network.eval(), seconds | facts


def step_of(folder: Path) -> int:
    return load_checkpoint(folder).step if (folder / CHECKPOINT).exists() else 0


def slug(name: str) -> str:
    """Folder of a row's run."""
    return "-".join(re.findall(r"[A-Za-z0-9_-]+", name.replace("β", "beta")))


def measured(codec: LearnedCodec, options: argparse.Namespace) -> list[Record]:
    """All metrics on the first pictures of the test set."""
    limit = min(PICTURES, options.limit or PICTURES)
    dataset = open_dataset(DATA, options.data_dir, split="test", limit=limit)
    with torch.no_grad():
        return evaluate(codec, dataset, Sweep(snr_db=(SNR_DB,), metrics=METRICS_SHOWN), system=codec.arch)


def moved_lpips(codec: LearnedCodec, options: argparse.Namespace) -> float:
    """Mean LPIPS of the same pictures without their first rows and columns (`MOVED`)."""
    dataset = open_dataset(DATA, options.data_dir, split="test", limit=min(PICTURES, options.limit or PICTURES))
    values = []
    for number in range(len(dataset)):
        x = dataset[number][None].float() / 255
        with torch.no_grad():
            image = transmit(codec, "awgn", x, SNR_DB).image
        assert image is not None
        seen = (picture[:, :, MOVED:, MOVED:] for picture in (x, (image * 255).round() / 255))
        values.append(METRICS["lpips"].function(*seen).item())
    return fmean(values)


def table(entries: list[dict[str, Any]]) -> str:
    """A row a setting, in the order of the paper's figure: means over the pictures."""
    arrows = {True: "↑", False: "↓"}
    heads = [f"{metric_name(name)} {arrows[METRICS[name].higher_is_better]}" for name in METRICS_SHOWN]
    heads.insert(METRICS_SHOWN.index("lpips") + 1, f"{OFF} ↓")
    lines = [table_row(["trained on", *heads]), "|---" * (len(heads) + 1) + "|"]
    for name in SHOWN:
        mine = {entry["metric"]: entry["mean"] for entry in entries if entry["row"] == name}
        if mine:
            cells = [f"{mine[metric]:.{2 if metric == 'psnr' else 3}f}" for metric in METRICS_SHOWN]
            moved = next((f"{one['moved']:.3f}" for one in entries if one["row"] == name and one["moved"] is not None), "")
            cells.insert(METRICS_SHOWN.index("lpips") + 1, moved)
            lines.append(table_row([name, *cells]))
    return "\n".join(lines)


def drawn(options: argparse.Namespace):
    """A row a setting that was measured, a column a crop; PSNR and LPIPS are those of the crop."""
    dataset = open_dataset("kodak", options.data_dir, split="test")
    pictures = [dataset[[Path(name).stem for name in dataset.ids].index(name)] for name in CROPS]
    cells = [(name, cut(picture, name)) for name, picture in zip(CROPS, pictures, strict=True)]
    beside = ["sent"]
    rows = {entry["row"] for entry in records()}
    for name in SHOWN:
        _, then, _ = recipe_of(ROWS[name], options.set)
        complete = step_of(options.runs / slug(name)) >= then.optimizer.steps
        if not options.set and name in rows and not complete:
            raise SystemExit(f"error: {name} is in {RESULTS.name}, but its training is not in {options.runs}")
        if not complete or not (options.set or name in rows):
            continue
        codec = create(then.model.arch, then.model.config).eval()
        assert isinstance(codec, LearnedCodec)
        codec.load_state_dict(load_checkpoint(options.runs / slug(name)).part("ema"))
        beside.append(name.replace(", ", ",\n").replace(" (", "\n(").replace("β", "beta"))  # the font has no Greek
        for crop, picture in zip(CROPS, pictures, strict=True):
            with torch.no_grad():
                image = transmit(codec, "awgn", picture[None].float() / 255, SNR_DB).image
            assert image is not None
            x, y = cut(picture.float() / 255, crop)[None], cut(image[0], crop)[None]
            words = [f"{METRICS[metric].function(x, y).item():{form}}" for metric, form in (("psnr", ".2f"), ("lpips", ".3f"))]
            cells.append((f"PSNR {words[0]} dB\nLPIPS {words[1]}", y[0]))
    if len(beside) == 1:
        raise SystemExit(f"error: no row was trained to its end in {options.runs} and measured")
    return side_by_side(cells, columns=len(CROPS), beside=beside)


def cut(picture: torch.Tensor, name: str) -> torch.Tensor:
    x, y = CROPS[name]
    return picture[:, y : y + SIDE, x : x + SIDE]


def page() -> None:
    """Fill the page from the records, and draw the curves of its training."""
    if LOG.exists():
        perceptual_figures.draw(LOG, CURVES)
    write_atomically(PAGE, filled(PAGE.read_text("utf-8")).encode())


def filled(text: str) -> str:
    """The page with what the records say between its markers: nothing where there are none."""
    contents = {
        "headline": perceptual_headline.headline(STUDIES),
        "beside": perceptual_found.beside(STUDIES),
        "goals": perceptual_found.goals(STUDIES),
        "training": training(),
        "ablation": ablation(records()),
    }
    return fill(text, "scripts/perceptual.py page", contents)


def ablation(entries: list[dict[str, Any]]) -> str:
    """Heading, table and picture of Fig. 7."""
    if not entries:
        return ""
    rows = {entry["row"]: entry for entry in entries}
    first = entries[0]
    stages = {row["stage_seconds"] for row in rows.values()}
    machines = ", ".join(dict.fromkeys(row["trained_on"] for row in rows.values()))
    minutes = (sum(row["training_seconds"] for row in rows.values()) + sum(stages)) / 60
    spread = max(row["ci95"] for row in entries if row["metric"] == "dists")
    words = [
        f"Networks of {first['parameters']:,} parameters, one training each. Measured on {first['images']} crops of DIV2K,",
        f"AWGN at {SNR_DB:g} dB, CBR 1/48.",
        "All but the first row share 3,600 updates with β_m = 1e-5 and 600 of a discriminator, then make 1,000 of their own.",
        "How much two trainings of one row would differ has not been measured; the 95 % interval over",
        f"pictures is about ±{spread:.3f} for DISTS.",
        f"Column {OFF}: LPIPS of the pictures without their first {MOVED} rows and columns.",
        "Rows moved: in training LPIPS saw each picture from a place drawn among 8x8.",
        f"All training together: {minutes:.0f} minutes on {machines}.",
    ]
    missing = [name for name in SHOWN if name not in rows]
    if missing:
        words.append(f"Not trained: {'; '.join(missing)}.")
    parts = ["\n## What each part of the loss does (Fig. 7)", " ".join(words), table(entries)]
    if FIGURE.exists():
        link = f"../../{FIGURE.relative_to(ROOT)}"
        caption = "Crops of Kodak, chosen before anything was trained. PSNR and LPIPS are those of the crop."
        parts.append(f"![The same crops, received after training with each loss]({link})\n\n{caption}")
    return "\n\n".join(parts) + "\n"


def training() -> str:
    """Heading and curves of the released weight's training."""
    if not LOG.exists():
        return ""
    words = (
        f"From the log of the run, [`{LOG.name}`](../../{LOG.relative_to(ROOT)}). Validation: 12 crops of DIV2K, AWGN at 10 dB."
    )
    picture = f"![Validation and losses against training time](../../{CURVES.relative_to(ROOT)})"
    parts = ["\n## How the quality grew", words, picture]
    if discriminator.RESULT.exists():
        facts = json.loads(discriminator.RESULT.read_text())
        told = "Share of patches that the discriminator tells right in the end, beside the picture's codeword and beside"
        where = f"another's; {facts['images']} crops of DIV2K at {facts['snr_db']:g} dB (`scripts/discriminator.py`):"
        parts += [f"{told} {where}", discriminator.table(facts)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
