"""``openjscc train``: run a recipe, go on with it, export the result."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import IntegrityError, MissingError, UsageError
from ..files import check_folder, check_target
from .console import one_line, print_table, say
from .options import DataDir, Force, check_packaged, minutes, whole

if TYPE_CHECKING:
    from torch import nn

    from ..training.checkpoint import TrainingState
    from ..training.recipe import Recipe


Name = Annotated[str | None, typer.Argument(metavar="RECIPE", help="Name of a packaged recipe, or a .toml file.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder of the run. Default: runs/RECIPE.")]
CHANGE = "Change one value of the recipe; may be repeated."
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=V", help=CHANGE)]
MINUTES = "Stop after so long, with a checkpoint."
MaxMinutes = Annotated[float | None, typer.Option("--max-minutes", metavar="M", parser=minutes, help=MINUTES)]
STEPS = "Stop after so many steps, with a checkpoint."
MaxSteps = Annotated[int | None, typer.Option("--max-steps", metavar="N", parser=whole(0), help=STEPS)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of the run (or of --travel).")]
TRAVEL = "Keep a compact state there, to go on elsewhere (half precision, not bit for bit)."
Travel = Annotated[Path | None, typer.Option("--travel", metavar="DIR", help=TRAVEL)]
EXPORT = "Write the result as a release file, ARCH.TAG.safetensors."
Export = Annotated[Path | None, typer.Option("--export", metavar="FILE", help=EXPORT)]
List = Annotated[bool, typer.Option("--list", help="List the packaged recipes.")]


def train(
    recipe: Name = None,
    output: Output = None,
    changes: Changes = None,
    max_minutes: MaxMinutes = None,
    max_steps: MaxSteps = None,
    resume: Resume = False,
    travel: Travel = None,
    export: Export = None,
    data_dir: DataDir = None,
    force: Force = False,
    list_recipes: List = False,
) -> None:
    """Train a model as a recipe says.

    The run's folder gets its checkpoint (last.ckpt), log.csv and sample images. Ctrl-C leaves the last checkpoint; go on
    with --resume. A run that has reached its end is only exported by --resume --export.

    \b
    openjscc train --list
    openjscc train adjscc-photo --data-dir ~/data --max-minutes 60
    openjscc train adjscc-photo --resume --export adjscc.mine.safetensors

    Fine-tuning of a released weight on your own photographs:

    \b
    openjscc train adjscc-photo --set model.init=adjscc.photo --set data.train='["/my/photos"]' \\
        --set data.validate=/my/other/photos --set optimizer.steps=2000 --set optimizer.lr=1e-4 -o runs/mine
    """
    if recipe is not None and not list_recipes:
        check_packaged(recipe, "recipe", "training/recipes")
    from ..training.recipe import load_recipe, packaged_recipes

    if list_recipes:
        print_table(["recipe", "what it is"], [[name, load_recipe(name).note or "-"] for name in packaged_recipes()])
        return
    if recipe is None:
        raise UsageError("no recipe named", "openjscc train --list shows them")
    plan = load_recipe(recipe, changes or [])
    if export is not None:
        check_target(export, force, [".safetensors"])
    if travel is not None and travel.exists() and not travel.is_dir():
        raise UsageError(f"{travel} is no folder", "name a folder for --travel")
    folder = output if output is not None else Path("runs") / Path(recipe).stem
    check_folder(folder)
    initial = _initial(plan)

    finished = _finished_state(plan, folder, travel) if resume else None
    if finished is not None:
        say(f"{folder} has done its {finished.step} steps already")
        network = _network_of(plan, finished, initial)
        state, through = finished, True
    else:
        network, state, through = _train(plan, folder, data_dir, resume, max_minutes, max_steps, travel, initial, recipe)
    if int(os.environ.get("RANK", "0")) != 0:  # under torchrun the first process speaks and writes
        return
    _finish(plan, network, state, through, folder, export, recipe)


def _train(
    plan: Recipe, folder: Path, data_dir: str | None, resume: bool, max_minutes: float | None, max_steps: int | None,
    travel: Path | None, initial: nn.Module | None, name: str,
) -> tuple[nn.Module, TrainingState, bool]:  # fmt: skip
    if not any(importlib.util.find_spec(name) for name in ("lightning_fabric", "lightning")):
        raise MissingError("training needs lightning-fabric, which is not installed", "pip install 'openjscc[train]'")
    from ..training.loop import RunOptions
    from ..training.loop import train as run

    options = RunOptions(
        out=folder,
        data_dir=data_dir,
        resume=resume,
        max_minutes=math.inf if max_minutes is None else max_minutes,
        max_steps=max_steps,
        travel=travel,
    )
    try:
        result = run(plan, options, initial=initial, say=say)
    except KeyboardInterrupt:
        if (folder / "last.ckpt").exists():
            say(f"the last checkpoint is kept in {folder}; go on with: {_again(name, folder)}")
        else:
            say(f"no checkpoint was due yet (every {plan.run.checkpoint_every} steps), so nothing is kept")
        raise
    return result.network, result.state, result.finished


def _again(name: str, folder: Path, more: str = "") -> str:
    return f"openjscc train {name} --resume -o {folder} {more}(with the same --set and --data-dir)"


def _initial(plan: Recipe) -> nn.Module | None:
    """The released network that fine-tuning starts from; None where the recipe starts from scratch."""
    if not plan.model.init:
        return None
    from ..training.steps import step_class

    return step_class(plan.step).load_network(plan)


def _finished_state(plan: Recipe, folder: Path, travel: Path | None) -> TrainingState | None:
    """The checkpoint of a run that has no step and no validation left."""
    from ..training.checkpoint import CHECKPOINT, load_checkpoint
    from ..training.recipe import is_of_model

    source = folder if (folder / CHECKPOINT).exists() or travel is None else travel
    state = load_checkpoint(source)
    if not is_of_model(state.recipe, plan.model) or state.step < plan.optimizer.steps:
        return None  # the loop refuses another model, or goes on
    from ..training.progress import lacks_validation

    return None if lacks_validation(folder, state.step) else state  # the loop makes it up for a run that was killed before


def _network_of(plan: Recipe, state: TrainingState, initial: nn.Module | None) -> nn.Module:
    from ..training.steps import step_class

    network = initial if initial is not None else step_class(plan.step).create_network(plan)
    try:
        network.load_state_dict(state.part("ema"))
    except RuntimeError:
        raise IntegrityError("the checkpoint does not fit this version's model", "train it again") from None
    return network.eval()


def _finish(
    plan: Recipe, network: nn.Module, state: TrainingState, through: bool, folder: Path, export: Path | None, name: str
) -> None:
    checkpoint = folder / "last.ckpt"
    if not through:
        say(f"stopped after step {state.step} of {plan.optimizer.steps}; go on with: {_again(name, folder)}")
    if export is not None:
        from ..training.facts import training_facts
        from ..training.steps import step_class

        facts = training_facts(plan, state)
        info = step_class(plan.step).export_network(network, export, tag=_tag(plan, export), training=facts)
        say(f"exported {info.name}: {info.parameters:,} parameters, {info.file_bytes / 2**20:.2f} MiB")
        say(f"try it: openjscc send {step_class(plan.step).arguments(plan, str(export))}")
        print(one_line(str(export)))
        return
    if through:
        say(f"done: {state.step} steps; export with: {_again(name, folder, f'--export {plan.model.arch}.mine.safetensors ')}")
    if checkpoint.exists():
        print(one_line(str(checkpoint)))


def _tag(plan: Recipe, path: Path) -> str:
    """From a file name ``arch.tag.safetensors`` the tag, from any other the name of the configuration."""
    arch, _, tag = path.stem.partition(".")
    return tag if arch == plan.model.arch and tag else plan.model.config
