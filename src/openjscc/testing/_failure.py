"""How a conformance suite reports a broken rule."""

from __future__ import annotations


class CheckFailed(AssertionError):
    """A part breaks a rule of its contract; the message names the rule and what was found."""


def require(kept: bool, rule: str, found: object = "") -> None:
    """Raise `CheckFailed` unless ``kept``."""
    if not kept:
        raise CheckFailed(f"{rule}: {found}" if found != "" else rule)
