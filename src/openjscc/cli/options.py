"""The options that several verbs share, and what their texts mean."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError, unknown_name
from .console import say

SNR_HINT = "give a finite number of dB between -100 and 100, e.g. 10"


def whole(minimum: int | None = None) -> Callable[[str], int]:
    """Reads a whole number, from ``minimum`` up, and names the text that is none."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is no whole number") from None
        if minimum is not None and value < minimum:
            raise typer.BadParameter(f"{text!r} is below {minimum}")
        return value

    return read


def minutes(text: str) -> float:
    """Reads a number of minutes."""
    try:
        value = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number of minutes") from None
    if not value >= 0:
        raise typer.BadParameter(f"{text!r} is no number of minutes")
    return value


Seed = Annotated[int, typer.Option("--seed", metavar="S", parser=whole(), help="Seed of fading and noise.")]
Recording = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="OUT", help="A .sigmf-meta, .sigmf or .npy file; - (the default) for standard output."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report to stdout as JSON.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace files that exist.")]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Where named data sets lie (else the environment variable OPENJSCC_DATA)."),
]

ChannelName = Annotated[
    str, typer.Option("--channel", metavar="C", help="awgn, rayleigh:block, rayleigh:fast, rician:K or rician:K:fast.")
]
Snr = Annotated[str, typer.Option("--snr", metavar="DB", help="Average signal-to-noise ratio Es/N0 in dB.")]
Ratio = Annotated[
    str | None,
    typer.Option("--ratio", metavar="R", help="Bandwidth ratio (CBR), e.g. 1/16; a learned model has some, digital systems any."),
]
Equalizer = Annotated[str, typer.Option("--equalizer", metavar="E", help="Under fading: mmse or zf.")]

SYSTEM_WORDS = (
    "Systems: a released weight (openjscc models list) as ARCH or ARCH.TAG, a .safetensors file, a digital link such as "
    "bpg-ldpc, or CODEC+NETWORK. Default: adjscc; with --task, and for segmentations, mtgsc."
)
NamedSystems = Annotated[list[str] | None, typer.Argument(metavar="NAME", help=SYSTEM_WORDS)]
Systems = Annotated[str | None, typer.Option("--systems", "--model", metavar="NAMES", help="The same, joined by commas.")]
Data = Annotated[
    str, typer.Option("--data", metavar="DATA", help="kodak, div2k, div2k-224, cifar10, voc, voc-224, a folder or an .npz file.")
]
ChannelList = Annotated[str, typer.Option("--channel", metavar="LIST", help="E.g. awgn,rayleigh:block.")]
SnrList = Annotated[str, typer.Option("--snr", metavar="LIST", help="In dB: 1,4,7 or 0:20:2.")]
RatioList = Annotated[
    str | None, typer.Option("--ratio", metavar="LIST", help="Bandwidth ratios, e.g. 1/16,1/6; auto, or none: each system's own.")
]
MetricList = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="LIST",
        help="Names, see docs/metrics.md. Default: psnr,ssim; of a segmentation miou and others.",
    ),
]
TaskNetworks = Annotated[
    str | None,
    typer.Option(
        "--task-network",
        metavar="NAMES",
        help="Whose view accuracy and f1 are of: classifier, .safetensors, .th, .pt or .pth files. For cifar10: classifier.",
    ),
]
MeasuredTask = Annotated[
    str | None, typer.Option("--task", metavar="T", help="reconstruction or segmentation; else the one that --metrics are of.")
]
Task = Annotated[
    str | None, typer.Option("--task", metavar="T", help="What the receiver wants: reconstruction (default) or segmentation.")
]
Request = Annotated[
    str | None,
    typer.Option("--request", metavar="TEXT", help="What the receiver wants, in words; the task KB finds the task."),
]
SentenceModelName = Annotated[
    str | None,
    typer.Option(
        "--sentence-model",
        metavar="NAME",
        help="For --request: a folder or a name of sentence-transformers. Default: all-MiniLM-L6-v2.",
    ),
]
Trials = Annotated[int, typer.Option("--trials", metavar="N", parser=whole(1), help="Repetitions of every image.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", parser=whole(1), help="Only the first N images.")]
ToldSnr = Annotated[
    str | None, typer.Option("--told-snr", metavar="DB", help="What the transmitter takes the SNR for; else it knows it.")
]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--jobs", metavar="N", parser=whole(1), help="Images at once; else one, for digital systems one a core."),
]

Device = Annotated[
    str,
    typer.Option("--device", metavar="D", help="Where networks compute: cpu, cuda, cuda:N, or auto (cuda where it is there)."),
]


def one_snr(text: str) -> float:
    """An SNR in dB. Raises UsageError for what is no finite number within +-100."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"SNR {text!r} is no number", "give one number of dB, e.g. 10") from None
    if not abs(value) <= 100.0:
        raise UsageError(f"SNR of {text} dB", SNR_HINT)
    return value


def one_ratio(text: str | None) -> float | None:
    """A bandwidth ratio; None where none is given. Raises UsageError for what is none."""
    from ..units import parse_ratio

    return None if text is None else parse_ratio(text)


def snr_list(text: str) -> list[float]:
    """``1,4,7`` or ``0:20:2`` in dB, without repetitions."""
    from ..units import parse_numbers

    if re.search(r"nan|inf", text, re.IGNORECASE):
        raise UsageError(f"SNR list {text!r} has a value that is no finite number", SNR_HINT)
    values = parse_numbers(text, "SNR list")
    for value in values:
        one_snr(f"{value:g}")
    return list(dict.fromkeys(values))


def check_packaged(name: str, what: str, *folders: str) -> None:
    """Refuse an unknown name of a packaged TOML file, before what reads such files (and torch) is imported.

    Args:
        name: a name, or the path of a ``.toml`` file, which is not looked at here.
        what: that is, in a word.
        folders: of the package, where such files lie.

    Raises:
        UsageError: there is no such file; the hint has the near misses.
    """
    package = Path(__file__).parents[1]
    known = [path.stem for folder in folders for path in (package / folder).glob("*.toml")]
    if Path(name).suffix != ".toml" and name not in known:
        raise unknown_name(what, name, known, more="(or give the path of a .toml file)")


def jobs_for(system: str) -> int:
    """Batches at once where nobody says how many: one for learned systems, whose networks use all cores; else one per core."""
    from ..systems import has_digital_codec

    return (os.cpu_count() or 1) if has_digital_codec(system) else 1


def names(text: str, what: str) -> list[str]:
    """A comma-separated list of names, without repetitions. Raises UsageError where there is none, or an empty one."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"{what} {text!r} has an empty name", "separate names by single commas")
    return list(dict.fromkeys(parts))


def named_systems(arguments: list[str] | None, option: str | None) -> list[str] | None:
    """The systems that a command names, each once; None where it names none. Raises UsageError for both ways at once."""
    if arguments and option is not None:
        raise UsageError(f"systems twice: {' '.join(arguments)}, and --systems {option}", "name all of them in one place")
    texts = arguments or ([] if option is None else [option])
    if folder := next((text for text in arguments or [] if os.path.isdir(text)), None):
        raise UsageError(f"{folder} is a folder, not a system", f"to measure systems on its images: --data {folder}")
    return list(dict.fromkeys(name for text in texts for name in names(text, "list of systems"))) or None


def figure(value: float | None, digits: int) -> str:
    """A number for people: infinite and undefined spelled out, ``-`` for nothing."""
    if value is None:
        return "-"
    if math.isnan(value):
        return "undefined"
    return f"{value:.{digits}f}" if math.isfinite(value) else "infinite"


def check_mask_file(path: Path) -> None:
    """Refuse a file for a mask whose format would change the class numbers."""
    if path.suffix.lower() not in ("", ".png"):
        raise UsageError(f"{path}: a mask is no {path.suffix} file", "its pixels are class numbers: write .png")


@dataclass(frozen=True)
class Wanted:
    """The task, whether it was named, and what the task KB says of the request (for JSON; None without one)."""

    task: str
    named: bool
    report: dict[str, Any] | None = None


def check_task(task: str | None) -> None:
    """Raises UsageError for an unknown task."""
    from ..codec import TASKS

    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)


def task_of(task: str | None, request: str | None, sentence_model: str | None = None) -> Wanted:
    """The task of the options ``--task``, ``--request`` and ``--sentence-model``.

    Raises:
        UsageError: an unknown task, options that exclude one another, an empty or a refused request.
        MissingError: the sentence model is not at hand. IntegrityError: it is damaged.
    """
    check_task(task)
    if request is None:
        if sentence_model is not None:
            raise UsageError(f"the sentence model {sentence_model!r} without a request", "add --request TEXT")
        return Wanted(task or "reconstruction", named=task is not None)
    if task is not None:
        raise UsageError(f"a request and the task {task!r}", "give --request or --task, not both")
    if not request.strip():
        raise UsageError(f"an empty request {request!r}", "say what the receiver wants, e.g. 'show me the photo'")

    from ..tasks.knowledge_base import format_scores, load_task_kb
    from ..tasks.sentences import DEFAULT_SENTENCE_MODEL

    kb = load_task_kb(DEFAULT_SENTENCE_MODEL if sentence_model is None else sentence_model)
    decision = kb.decide(request)
    scores = {name: round(score, 4) for name, score in decision.scores.items()}
    say(f"task: {decision.task}, by the request ({format_scores(decision.scores)})")
    return Wanted(str(decision.task), True, {"text": request, "sentence_model": kb.model.name, "scores": scores})
