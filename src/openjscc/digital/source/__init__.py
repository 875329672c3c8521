"""Source codecs of separation-based links: image file formats, and the file that fits a given number of bytes."""

from __future__ import annotations

import inspect

from ...errors import UsageError, unknown_name
from ._base import SourceCodec
from .bpg import Bpg, read_bpg, write_bpg
from .jpeg import Jpeg
from .rate import Fitted, RateControl
from .webp import WebP

SOURCE_CODECS: dict[str, type[SourceCodec]] = {codec.name: codec for codec in (Bpg, Jpeg, WebP)}

__all__ = [
    "SOURCE_CODECS",
    "Bpg",
    "Fitted",
    "Jpeg",
    "RateControl",
    "SourceCodec",
    "WebP",
    "read_bpg",
    "source_codec",
    "write_bpg",
]


def source_codec(name: str, **options: str) -> SourceCodec:
    """A source codec by name.

    Args:
        name: a key of `SOURCE_CODECS`.
        options: for ``bpg``: ``chroma`` (``444`` or ``420``) and ``preset`` (of x265, default ``veryslow``).

    Raises:
        UsageError: an unknown name, option or value.
    """
    if name not in SOURCE_CODECS:
        raise unknown_name("source codec", name, SOURCE_CODECS)
    factory = SOURCE_CODECS[name]
    known = list(inspect.signature(factory).parameters) if factory.__init__ is not object.__init__ else []
    for option in options:
        if not known:
            raise UsageError(f"{name} has no option {option!r}", f"leave it out: {name} has no options")
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
    return factory(**options)
