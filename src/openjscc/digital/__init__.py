"""Separation-based systems: a source codec, then LDPC and QAM or the capacity bound; codecs like the learned ones.

`make_digital` reads a spec: ``bpg-ldpc``, ``bpg-ldpc:mcs=16qam-3/4-n1944``, ``jpeg-capacity:fading=ergodic``. Imports nothing
above `openjscc.header`; knows of no channel, data set or metric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..codec import Codec
from ..configuration import name_options
from ..errors import UsageError, unknown_name

SOURCES = ("jpeg", "webp", "bpg")
LINKS = ("ldpc", "capacity")
DIGITAL_SYSTEMS = tuple(f"{source}-{link}" for source in SOURCES for link in LINKS)
"""All systems by name, without options."""

OPTIONS: dict[str, dict[str, str]] = {
    "bpg": {"chroma": "444 (default) or 420", "preset": "of x265; default veryslow"},
    "ldpc": {
        "mcs": "nr (default), 80211n or witt: the best of a set; or a fixed one such as 16qam-3/4-n1944",
        "target": "how the best of a set is chosen: the share of frames that may be lost (default 0.01), or psnr",
        "pack": "so many pictures share their blocks; default 1",
        "demapper": "exact (default) or max-log",
        "iterations": "of the LDPC decoder at most, in one attempt; default: three attempts",
    },
    "capacity": {
        "fading": "outage (default) or ergodic",
        "finite": "share of frames that a code of the frame's own length may lose, e.g. 0.01; default: codes without end",
        "outage": "probability of loss (0.002 or more) that fixes the bits under block fading, e.g. 0.05",
    },
}
"""What may follow the name as ``:key=value``, by source codec or link."""
TARGET = 0.01
"""Share of frames that link adaptation may lose."""


def is_digital(spec: str) -> bool:
    """Whether a spec names one of `DIGITAL_SYSTEMS`; its options are not looked at."""
    return spec.split(":")[0].strip().lower() in DIGITAL_SYSTEMS


def make_digital(spec: str) -> Codec:
    """A system from its spec: ``NAME[:KEY=VALUE]...``, see `OPTIONS`.

    Raises:
        UsageError: unknown name, key or value.
        MissingError: BPG without PyAV.
    """
    name, *parts = [part.strip() for part in spec.split(":")]
    name = name.lower()
    if name not in DIGITAL_SYSTEMS:
        raise unknown_name("digital system", name, DIGITAL_SYSTEMS)
    coder, link = name.rsplit("-", 1)
    known = {**OPTIONS.get(coder, {}), **OPTIONS[link]}
    options = name_options(name, parts, known)
    canonical = ":".join([name, *(f"{key}={value}" for key, value in options.items())])

    from .source import source_codec

    source = source_codec(coder, **{key: value for key, value in options.items() if key in OPTIONS.get(coder, {})})
    if link == "ldpc":
        from .bler import FLOOR
        from .ldpc import LDPCCodec
        from .mcs import mcs_set
        from .modulation import DEMAPPERS

        demapper = options.get("demapper", "exact")
        if demapper not in DEMAPPERS:
            raise unknown_name("demapper", demapper, DEMAPPERS)
        return LDPCCodec(
            canonical,
            source,
            mcs_set(options.get("mcs", "nr")),
            target=None
            if options.get("target") == "psnr"
            else _number(options, "target", TARGET, float, lambda value: FLOOR < value < 1),
            pack=_number(options, "pack", 1, int, lambda value: 1 <= value <= 4096),
            demapper=demapper,
            iterations=_number(options, "iterations", 0, int, lambda value: 1 <= value <= 1000),
        )
    from .capacity import CapacityCodec

    kind = options.get("fading", "outage")
    if kind not in ("outage", "ergodic"):
        raise unknown_name("kind of capacity under fading", kind, ("outage", "ergodic"))
    if kind == "ergodic" and "outage" in options:
        raise UsageError("an outage probability for the ergodic capacity", "leave out one of the two options")
    if kind == "ergodic" and "finite" in options:
        raise UsageError("frames of finite length and the ergodic capacity", "leave out one of the two options")
    return CapacityCodec(
        canonical,
        source,
        finite=_number(options, "finite", None, float, lambda value: 1e-9 < value < 0.5),
        ergodic=kind == "ergodic",
        outage=_number(options, "outage", None, float, lambda value: 0.002 <= value < 1),
    )


def _number(options: dict[str, str], key: str, default: Any, kind: Callable[[str], Any], allowed: Callable[[Any], bool]) -> Any:
    if key not in options:
        return default
    try:
        value = kind(options[key])
    except ValueError:
        value = None
    if value is None or not allowed(value):
        raise UsageError(
            f"option {key}={options[key]}", "a number in its range, e.g. pack=8, iterations=40, target=0.01, outage=0.05"
        )
    return value
