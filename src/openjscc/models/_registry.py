"""Which architectures there are, and how ``arch.tag`` names one of their configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from ..errors import UsageError, unknown_name
from ._base import CodecConfig, LearnedCodec

Model = TypeVar("Model", bound=type[LearnedCodec])


@dataclass(frozen=True)
class Architecture:
    """One architecture and its named configurations.

    Attributes:
        name: what users write, e.g. ``adjscc``.
        cls: the codec.
        configs: configurations by name; ``paper`` is the paper's own.
        default_tag: the tag that a bare architecture name means.
    """

    name: str
    cls: type[LearnedCodec]
    configs: Mapping[str, CodecConfig]
    default_tag: str


ARCHITECTURES: dict[str, Architecture] = {}


def register(name: str, *, configs: Mapping[str, CodecConfig], default_tag: str) -> Callable[[Model], Model]:
    """Class decorator that makes a codec known under ``name``."""

    def add(cls: Model) -> Model:
        ARCHITECTURES[name] = Architecture(name, cls, dict(configs), default_tag)
        return cls

    return add


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        UsageError: unknown; the hint has the near misses.
    """
    if name not in ARCHITECTURES:
        raise unknown_name("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def configuration(arch: str, name: str, rates: Sequence[int] = ()) -> CodecConfig:
    """One of an architecture's configurations.

    Args:
        arch: architecture name.
        name: of the configuration.
        rates: in the place of its own (`CodecConfig.rates`), so that the network serves other bandwidth ratios; empty: its own.

    Raises:
        UsageError: an unknown name, or rates that the configuration cannot have.
    """
    known = architecture(arch)
    if name not in known.configs:
        raise unknown_name(f"configuration of {arch}", name, known.configs)
    config = known.configs[name]
    if not rates:
        return config
    given = f"{arch}.{name} with rates {list(rates)}"
    try:
        with torch.device("meta"):
            stride = known.cls(config).stride
            most = 3 * stride**2
            if rates[-1] > most:
                raise UsageError(given, f"at most {most}: {stride}x{stride} pixels have no more numbers")
            changed = replace(config, rates=tuple(rates))
            _ = known.cls(changed).default_ratio
    except UsageError as error:
        raise UsageError(given, error.hint) from None
    except IndexError:
        raise UsageError(given, f"its default is rate number {config.default_rate}") from None
    return changed


def create(arch: str, config: str | CodecConfig) -> LearnedCodec:
    """A codec with untrained parameters.

    Args:
        arch: architecture name.
        config: a configuration, or the name of one of the architecture's.
    """
    return architecture(arch).cls(configuration(arch, config) if isinstance(config, str) else config)
