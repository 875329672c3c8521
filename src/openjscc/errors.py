"""Errors that a user can act on: one line that names the value, a hint, and the exit code of the command line.

=====  ==============================================================================
code   meaning
=====  ==============================================================================
0      ok
1      the asked-for thing failed (the frame was lost, a check outside its tolerance)
2      usage: unknown name, bad value, not an image, output exists
3      something is missing and can be got (extra, weights, data set)
4      integrity: checksum, truncated or corrupt file
130    interrupted; partial results are kept
=====  ==============================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OpenJSCCError(Exception):
    """Base of all errors raised on purpose. ``hint`` says what to do about it; ``exit_code`` as in the table above."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(OpenJSCCError, ValueError):
    """A value that cannot be used: an unknown name, a bad number, a file that is no image."""

    exit_code = 2


class MissingError(OpenJSCCError):
    """Something that can be got: an extra, a weight, a data set. The hint has the command that gets it."""

    exit_code = 3


class IntegrityError(OpenJSCCError):
    """A file that is not what it should be: truncated, corrupted, or of another make."""

    exit_code = 4


def unknown_name(kind: str, name: str, known: Iterable[str], *, more: str = "") -> UsageError:
    """The error for a name nobody knows: names the near misses, else everything there is."""
    names, name = sorted(set(known)), name if len(name) <= 80 else name[:80] + "..."
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    if not near and name:
        near = [each for each in names if each.lower().startswith(name.lower())][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}", hint + (f" {more}" if more else ""))
