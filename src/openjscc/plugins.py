"""Entry points of other packages. What is wrong with one is said in a line, and ends nothing else."""

from __future__ import annotations

import warnings
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

from .errors import UsageError


class PlugInWarning(UserWarning):
    """Another package's entry point is left out; the message says which, and why."""


def entries(group: str) -> list[EntryPoint]:
    """The entry points of a group, each once. A package whose list cannot be read is left out with a `PlugInWarning`."""
    try:
        found = list(entry_points(group=group))
    except Exception:  # one malformed file hides them all
        found = []
        for package in distributions():
            try:
                found += [entry for entry in package.entry_points if entry.group == group]
            except Exception as error:
                name = package.metadata["Name"]
                _left_out(f"the entry points of {name!r} cannot be read ({type(error).__name__}) and are left out")
    return list({(entry.name, entry.value): entry for entry in found}.values())


def meant(group: str, name: str, what: str, *, taken: bool) -> EntryPoint | None:
    """The entry point of that name; None where there is none.

    Args:
        group: of entry points.
        name: as users write it.
        what: it makes, for messages.
        taken: the name has a meaning in openjscc; an entry point is then left out with a `PlugInWarning`.

    Raises:
        UsageError: several packages have one.
    """
    found = [entry for entry in entries(group) if entry.name == name]
    values = ", ".join(entry.value for entry in found)
    if found and taken:
        _left_out(f"{name!r} is a {what} of openjscc; that of another package ({values}) is left out: rename its entry point")
        return None
    if len(found) > 1:
        raise UsageError(f"{name!r} is a {what} of {len(found)} packages ({values})", "remove one, or rename its entry point")
    return found[0] if found else None


def make(entry: EntryPoint, what: str) -> Any:
    """What the function or class of an entry point gives.

    Raises:
        UsageError: it cannot be imported, or raises whatever else, or tries to end the process.
    """
    try:
        return entry.load()()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{what} {entry.name!r} cannot be made: {reason[:300]}", f"its entry point is {entry.value}") from error


def _left_out(message: str) -> None:
    warnings.warn(message, PlugInWarning, stacklevel=2)
