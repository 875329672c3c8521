"""``openjscc models``: which weights there are, what is known of them, whether they are intact."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MissingError, OpenJSCCError, UsageError
from .console import one_line, print_json, print_table, report_error, say
from .options import Json

if TYPE_CHECKING:
    from pathlib import Path

    from ..models import WeightInfo
    from ..tasks import TaskWeight
    from ..weightfile import WeightFacts

app = typer.Typer(help="List, describe and verify the released weights.", rich_markup_mode=None, no_args_is_help=False)

HOW_TO_GET = "train one (openjscc train --list), or name a folder of weights in OPENJSCC_WEIGHTS"

Name = Annotated[str, typer.Argument(metavar="NAME", help="ARCH, ARCH.TAG or a .safetensors file.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Weights; without one, all of them.")]


@app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list", short_help="List the weights at hand.")
def list_weights(as_json: Json = False) -> None:
    """List the weights at hand, of codecs and of task networks: the package's, and those that OPENJSCC_WEIGHTS names."""
    from .. import tasks
    from ..models import read_info, weight_files

    codecs: list[WeightInfo] = []
    networks: list[TaskWeight] = []
    code = 0
    for _, path in sorted(weight_files().items()):
        try:
            codecs.append(read_info(path))
        except OpenJSCCError as error:  # the others are still worth a list
            code = max(code, report_error(error.message, error.hint, error.exit_code))
    for _, path in sorted(tasks.weight_files().items()):
        try:
            networks.append(tasks.read_info(path))
        except OpenJSCCError as error:
            code = max(code, report_error(error.message, error.hint, error.exit_code))
    if as_json:
        print_json(
            [{"role": role} | dataclasses.asdict(info) for role, some in (("codec", codecs), ("task", networks)) for info in some]
        )
    elif not codecs and not networks and not code:
        say(f"no weights at hand; {HOW_TO_GET}")
    else:
        _print_codecs(codecs)
        if networks:
            print()
            _print_networks(networks)
    if code:
        raise typer.Exit(code)


def _print_codecs(infos: list[WeightInfo]) -> None:
    from ..units import format_ratio

    rows = [
        [*_size(info), " ".join(format_ratio(ratio) for ratio in info.ratios), info.default_rate, info.licence] for info in infos
    ]
    print_table(["name", "parameters", "file", "bandwidth ratios", "default", "licence"], rows)


def _print_networks(infos: list[TaskWeight]) -> None:
    rows = [[*_size(info), info.kind, str(len(info.classes)), _made_for(info), info.licence] for info in infos]
    print_table(["task network", "parameters", "file", "task", "classes", "made for", "licence"], rows)


def _made_for(info: TaskWeight) -> str:
    return "x".join(map(str, info.input_size)) or "any size"


def _size(info: WeightFacts) -> list[str]:
    return [info.name, f"{info.parameters / 1e6:.2f} M", f"{info.file_bytes / 2**20:.2f} MiB"]


@app.command("info", short_help="Show the facts of a weight.")
def info(name: Name, as_json: Json = False) -> None:
    """Show what a weight file says of itself: paper, licence, training, data, reference results, self-test."""
    from .. import tasks
    from ..models import load, resolve
    from ..systems import has_digital_codec

    if (path := _task_weight(name)) is not None:
        network = tasks.load(path, verify=False).weight
        assert network is not None
        if as_json:
            print_json({"role": "task"} | dataclasses.asdict(network))
        else:
            _print_facts(network, _facts_of_network(network))
        return
    if has_digital_codec(name):
        raise UsageError(f"{name} is a digital link, without weights", "openjscc models list shows what has weights")
    codec = load(resolve(name, also=tasks.released_names()), verify=False)
    assert codec.weight is not None
    if as_json:
        costs = {task: codec.macs_per_pixel(task) for task in codec.tasks}
        first = costs[codec.tasks[0]]
        print_json({"role": "codec", **dataclasses.asdict(codec.weight), "macs_per_pixel": first, "macs_per_pixel_of": costs})
    else:
        lines, promise = _facts_of_codec(codec.weight, {task: codec.macs_per_pixel(task) for task in codec.tasks})
        lines += [(f":{option}=", meaning) for option, meaning in codec.OPTIONS.items()]
        _print_facts(codec.weight, (lines, promise))


@app.command("verify", short_help="Check that weights are intact.")
def verify(names: Names = None, as_json: Json = False) -> None:
    """Check weights: checksum of the parameters, and what the file promises on a bundled image (quality, class scores)."""
    from .. import tasks
    from ..models import resolve as resolve_name
    from ..models import verify as verify_weight
    from ..models import weight_files

    everything = sorted({**weight_files(), **tasks.weight_files()})
    wanted = names or everything
    if not wanted:
        raise MissingError("no weights at hand", HOW_TO_GET)
    full = [name if name in everything else resolve_name(name, also=tasks.released_names()) for name in wanted]
    results, code = [], 0
    for name in full:
        try:
            path = _task_weight(name)
            facts = verify_weight(name) if path is None else tasks.load(path).weight
        except OpenJSCCError as error:
            code = max(code, report_error(error.message, error.hint, error.exit_code))
            results.append({"name": name, "ok": False, "sha256": None})
            continue
        assert facts is not None
        results.append({"name": facts.name, "ok": True, "sha256": facts.sha256})
    if as_json:
        print_json(results)
    else:
        rows = [[str(item["name"]), "ok" if item["ok"] else "FAILED", str(item["sha256"] or "-")] for item in results]
        print_table(["name", "result", "sha256"], rows)
    if code:
        raise typer.Exit(code)


def _task_weight(name: str) -> Path | None:
    """The file of a task network; None where the name means something else."""
    from pathlib import Path

    from .. import tasks
    from ..weightfile import TASK, is_path, role_of

    if is_path(name):
        return Path(name) if role_of(Path(name)) == TASK else None
    return tasks.weight_path(name) if name in tasks.released_names() else None


def _facts_of_codec(info: WeightInfo, macs_per_pixel: dict[str, float]) -> tuple[list[tuple[str, str]], str]:
    """Lines of its own, and its self-test in words. ``macs_per_pixel`` by task."""
    from ..units import format_ratio

    promised = {key: value if isinstance(value := info.self_test.get(key), dict) else {} for key in ("psnr_db", "scores")}
    costs = ", ".join(f"{task} {macs / 1e3:.1f} kMAC" for task, macs in macs_per_pixel.items())
    lines = [
        ("cost", f"{costs} per pixel, encoder and decoder"),
        ("ratios", f"{', '.join(format_ratio(ratio) for ratio in info.ratios)} (default {info.default_rate})"),
    ]
    results = [f"CBR {ratio} {value} dB" for ratio, value in promised["psnr_db"].items()]
    results += [f"CBR {ratio} the mean score of every class" for ratio in promised["scores"]]
    return lines, f"at {info.self_test.get('snr_db', '?')} dB: {', '.join(results)}"


def _facts_of_network(info: TaskWeight) -> tuple[list[tuple[str, str]], str]:
    scores = info.self_test.get("scores")
    scores = scores if isinstance(scores, dict) else {}
    lines = [
        ("task", f"{info.kind} of pictures of {_made_for(info)}"),
        ("classes", ", ".join(info.classes)),
    ]
    return lines, ", ".join(f"{name} {value}" for name, value in scores.items())


def _print_facts(info: WeightFacts, own: tuple[list[tuple[str, str]], str]) -> None:
    training, test = info.training, info.self_test
    compute = training.get("compute") or []
    recipe = training.get("recipe") or {}
    lines, promised = own
    facts = [
        ("name", info.name),
        ("paper", info.paper),
        ("licence", info.licence),
        ("parameters", f"{info.parameters:,}"),
        *lines,
        ("file", f"{info.path}, {info.file_bytes:,} bytes"),
        ("sha256", f"{info.sha256} (of facts and parameters)"),
        ("trained", _trained(training)),
        ("on", "; ".join(map(str, compute)) if isinstance(compute, (list, tuple)) else str(compute)),
        ("data", _joined(training.get("data"))),
        ("terms", _joined(training.get("terms"))),
        ("recipe", str(recipe.get("note") or "-") if isinstance(recipe, dict) else str(recipe)),
        ("self-test", f"{test.get('picture', '?')} {promised}"),
    ]
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        print(f"{label:<{width}}  {one_line(text)}".rstrip())
    if info.reference:
        print("\nreference results")
        columns = list(dict.fromkeys(key for record in info.reference for key in record))
        print_table(columns, [[_short(record.get(column)) for column in columns] for record in info.reference])


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value or "-")


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str("-" if value is None else value)


def _trained(training: dict[str, Any]) -> str:
    seconds = training.get("seconds")
    duration = f"{seconds / 60:.0f} min" if isinstance(seconds, (int, float)) else "unknown time"
    return f"{training.get('steps', '?')} steps, {training.get('images', '?')} images, {duration}"
