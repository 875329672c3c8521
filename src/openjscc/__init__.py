"""OpenJSCC: send images over noisy wireless channels.

::

    import openjscc

    model = openjscc.load("adjscc.photo")
    picture = openjscc.read_image("photo.jpg")
    result = openjscc.transmit(model, openjscc.make_channel("awgn"), picture.pixels[None], snr_db=10)

The names below load when they are first used, so that ``import openjscc`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels import make_channel
    from .data.images import read_image
    from .link import transmit
    from .models import list_models
    from .systems import load

    __version__: str

__all__ = ["__version__", "list_models", "load", "make_channel", "read_image", "transmit"]

_HOMES = {
    "list_models": "openjscc.models",
    "load": "openjscc.systems",
    "make_channel": "openjscc.channels",
    "read_image": "openjscc.data.images",
    "transmit": "openjscc.link",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("openjscc")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
