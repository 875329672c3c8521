"""OpenJSCC: send images over noisy wireless channels.

::

    import openjscc

    model = openjscc.load("adjscc.photo")
    sent = openjscc.read_image("photo.jpg").pixels
    received = openjscc.transmit(model, "awgn", sent, snr_db=10).image
    print(openjscc.psnr(sent[None], received), openjscc.ssim(sent[None], received))
    openjscc.write_image("received.png", received[0])

The names below load when they are first used, so that ``import openjscc`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels import make_channel
    from .data.images import read_image
    from .data.images import write_png as write_image
    from .link import transmit
    from .metrics import psnr, ssim
    from .models import list_models
    from .radio import pass_channel, receive_frames, transmit_frames
    from .recording import load_frame
    from .recording import save_frames as save_frame
    from .systems import load

    __version__: str

__all__ = [
    "__version__",
    "list_models",
    "load",
    "load_frame",
    "make_channel",
    "pass_channel",
    "psnr",
    "read_image",
    "receive_frames",
    "save_frame",
    "ssim",
    "transmit",
    "transmit_frames",
    "write_image",
]

_HOMES = {
    "list_models": "openjscc.models:list_models",
    "load": "openjscc.systems:load",
    "load_frame": "openjscc.recording:load_frame",
    "make_channel": "openjscc.channels:make_channel",
    "pass_channel": "openjscc.radio:pass_channel",
    "psnr": "openjscc.metrics:psnr",
    "read_image": "openjscc.data.images:read_image",
    "receive_frames": "openjscc.radio:receive_frames",
    "save_frame": "openjscc.recording:save_frames",
    "ssim": "openjscc.metrics:ssim",
    "transmit": "openjscc.link:transmit",
    "transmit_frames": "openjscc.radio:transmit_frames",
    "write_image": "openjscc.data.images:write_png",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("openjscc")
    elif name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
