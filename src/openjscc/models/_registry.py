"""Which architectures there are, and how ``arch.tag`` names one of their configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import unknown_name
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


def create(arch: str, config: str | CodecConfig) -> LearnedCodec:
    """A codec with untrained parameters.

    Args:
        arch: architecture name.
        config: a configuration, or the name of one of the architecture's.
    """
    known = architecture(arch)
    if isinstance(config, str):
        if config not in known.configs:
            raise unknown_name(f"configuration of {arch}", config, known.configs)
        config = known.configs[config]
    return known.cls(config)
