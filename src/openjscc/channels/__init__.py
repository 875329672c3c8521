"""What the wave meets between transmitter and receiver. `CHANNELS` is the list, `make_channel` reads a spec from it.

Imports `openjscc.codec` and below; knows of no model, data set or metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ..errors import UsageError, unknown_name
from ._base import Channel, Realisation
from .awgn import AWGN
from .draws import content_seed, generators_for, generators_for_digests, image_digest
from .equalization import EQUALIZERS, check_equalizer, equalize
from .fading import Rayleigh, Rician

__all__ = [
    "AWGN",
    "CHANNELS",
    "EQUALIZERS",
    "Channel",
    "ChannelKind",
    "Rayleigh",
    "Realisation",
    "Rician",
    "check_equalizer",
    "content_seed",
    "equalize",
    "generators_for",
    "generators_for_digests",
    "image_digest",
    "make_channel",
]


@dataclass(frozen=True)
class ChannelKind:
    """One row of `CHANNELS`.

    Attributes:
        specs: how it is written, ``K`` standing for a number.
        summary: what it is, in one line.
        make: from what follows the name in the spec (``rician:4:fast`` gives ``["4", "fast"]``) to the channel.
            Raises `UsageError`.
    """

    specs: tuple[str, ...]
    summary: str
    make: Callable[[list[str]], Channel]


def make_channel(spec: str | Channel) -> Channel:
    """A channel from its spec: ``awgn``, ``rayleigh:block``, ``rayleigh:fast``, ``rician:4``, ``rician:4:fast``.

    Case and spaces around the parts do not matter. A `Channel` is returned as it is.

    Raises:
        UsageError: for an unknown channel (the hint names near misses), a missing or a bad part.
    """
    if isinstance(spec, Channel):
        return spec
    if not isinstance(spec, str):
        raise UsageError(f"channel {spec!r}", "give a spec such as rayleigh:block, or an openjscc.channels.Channel")
    return _made(spec)


@lru_cache(maxsize=256)
def _made(spec: str) -> Channel:
    """Channels have no state, so one of each will do; it knows its law of fading once it was asked."""
    name, *options = [part.strip().lower() for part in spec.split(":")]
    if name not in CHANNELS:
        raise unknown_name("channel", spec, [known for kind in CHANNELS.values() for known in kind.specs])
    return CHANNELS[name].make(options)


def _make_awgn(options: list[str]) -> Channel:
    if options:
        raise UsageError(f"channel {_spec('awgn', options)!r}", "awgn has no options; the SNR is given apart from the channel")
    return AWGN()


def _make_rayleigh(options: list[str]) -> Channel:
    if not options or options == [""]:
        raise UsageError("channel 'rayleigh' does not say how it fades", f"write {_FADES.format('rayleigh')}")
    if len(options) != 1 or options[0] not in ("block", "fast"):
        raise UsageError(f"unknown channel {_spec('rayleigh', options)!r}", f"write {_FADES.format('rayleigh')}")
    return Rayleigh(fast=options[0] == "fast")


def _make_rician(options: list[str]) -> Channel:
    spec = _spec("rician", options)
    try:
        k_factor = float(options[0]) if options else math.nan
    except ValueError:
        k_factor = math.nan
    if not 0 <= k_factor < math.inf:
        raise UsageError(
            f"channel {spec!r} has no K-factor of 0 or more",
            "write rician:K with K the power of the direct path over that of the scattered ones, e.g. rician:4 (no dB)",
        )
    if len(options) > 2 or options[1:] not in ([], ["block"], ["fast"]):
        raise UsageError(f"unknown channel {spec!r}", f"write {_FADES.format(f'rician:{options[0]}')}")
    return Rician(k_factor, fast=options[1:] == ["fast"])


def _spec(name: str, options: list[str]) -> str:
    return ":".join([name, *options])


_FADES = "{0}:block (one gain a frame) or {0}:fast (one gain a symbol)"

CHANNELS: dict[str, ChannelKind] = {
    "awgn": ChannelKind(("awgn",), "white Gaussian noise, no fading", _make_awgn),
    "rayleigh": ChannelKind(
        ("rayleigh:block", "rayleigh:fast"),
        "no direct path, h ~ CN(0, 1): one a frame (block) or a symbol (fast)",
        _make_rayleigh,
    ),
    "rician": ChannelKind(
        ("rician:K", "rician:K:fast"), "a direct path K times as strong as the scattered ones, E|h|^2 = 1", _make_rician
    ),
}
"""Every channel by the first part of its spec."""
