"""The command line. One file a verb; nothing slow is imported before a verb runs, so that ``--help`` answers at once."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ..errors import OpenJSCCError
from . import bench as bench_verb
from . import channel as channel_verb
from . import eval as eval_verb
from . import models as models_verb
from . import plot as plot_verb
from . import rx as rx_verb
from . import send as send_verb
from . import study as study_verb
from . import survey as survey_verb
from . import train as train_verb
from . import tx as tx_verb
from .console import report_error, say

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="openjscc",
    help="Send images over noisy wireless channels, with learned and digital systems.",
    epilog="Exit codes: 0 ok; 1 the asked-for thing failed; 2 usage; 3 something is missing and can be got; 4 a damaged file; "
    "130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("send")(send_verb.send)
app.command("tx", short_help="Write the frames of images as a recording.")(tx_verb.tx)
app.command("channel", short_help="Put a recording through a simulated channel.")(channel_verb.channel)
app.command("rx", short_help="Decode a recording.")(rx_verb.rx)
app.command("eval", short_help="Measure systems on a data set.")(eval_verb.evaluate)
app.command("bench", short_help="Measure a grid of systems, channels, ratios and SNRs.")(bench_verb.bench)
app.command("plot", short_help="Draw records, and strips of received images.")(plot_verb.plot)
app.command("study", short_help="Measure, draw and write down a figure of a paper.")(study_verb.study)
app.command("train")(train_verb.train)
app.add_typer(models_verb.app, name="models")
app.add_typer(survey_verb.app, name="survey", short_help="Ask people which of two received images they prefer.")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"openjscc {version('openjscc')}")
        except PackageNotFoundError:  # run from the sources
            print("openjscc (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _openjscc(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; None: those of this process.

    Returns:
        The exit code, see `openjscc.errors`. Whatever a user can cause is reported on stderr, never raised.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # a process of its own
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait must not slow the other programs of a pipe
        atexit.register(gc.freeze)  # all memory is given back at once, without half a second's search for what is unused
    for name in ("stdin", "stdout", "stderr"):  # closed by whoever started this, as for daemons: nobody reads, which is no error
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # a path is printed as the bytes that it came in, or escaped; it is no reason to fail
        errors = "surrogateescape" if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else "backslashreplace"
        sys.stdout.reconfigure(errors=errors)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with warnings.catch_warnings():
            _warn_in_a_line()
            code = _run(arguments)
        sys.stdout.flush()
    except OSError as error:  # what is left in stdout's buffer must not be tried again at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever reads stdout has seen enough
            return 1
        return _system_error(error)
    if code == INTERRUPTED:
        say("interrupted")
    return code


def _warn_in_a_line() -> None:
    """Notes on plug-ins that are left out are one line, each once; other warnings stay as they are."""
    from ..plugins import PlugInWarning

    usual, said = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if not issubclass(category, PlugInWarning):
            usual(message, category, *place)
        elif str(message) not in said:
            said.add(str(message))
            say(f"note: {message}")

    warnings.showwarning = show
    warnings.simplefilter("always", PlugInWarning)


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="openjscc", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except OpenJSCCError as error:
        return report_error(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except MemoryError:
        return report_error("out of memory", "try fewer pixels at a time", 1)
    except OSError as error:
        return _system_error(error)
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # typer's own usage errors
            verb = arguments[0] if arguments and arguments[0] in getattr(command, "commands", ()) else ""
            path = getattr(getattr(error, "ctx", None), "command_path", None) or f"openjscc {verb}".rstrip()
            return report_error(error.format_message(), f"see {path} --help", 2)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(error, RuntimeError) and ("allocate memory" in str(error) or "out of memory" in str(error)):
            return report_error("out of memory", "try fewer pixels at a time", 1)
        raise


def _system_error(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    return report_error(f"{where}{error.strerror or error}", "see whether the disk is full or the file is in use", 1)
