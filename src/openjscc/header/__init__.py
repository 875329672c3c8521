"""The frame header: what it says, how it is coded, and how a receiver reads it (rule C4 of docs/conventions.md).

A header is a row of bits with a CRC, coded by a polar code and sent as QPSK symbols at the front of the frame::

    full:  [version 2][identity 16][H-1, W-1][rate 6][task 2][scale 10, or uses][CRC 16] --polar code--> QPSK
    short: [rate and task] or [rate and task][scale] --block code--> 20 or 30 QPSK symbols

There are four full layouts (`LAYOUTS`): sides up to 1024 pixels or larger, and a codec's scale or a digital link's channel uses
as the last field. The short header is for images of an agreed size, sent with an agreed codec. A transmitter that knows an SNR
below 0 dB, or that the channel fades, sends a full header four times. The receiver tries these forms in turn, and the CRC
decides.

Nothing of the header is known to the receiver beforehand but the codec's own format (`HeaderFormat`). `HeaderFormat.read` makes
`openjscc.codec.Side` from received symbols; `listen` reads full headers of any codec.
"""

from __future__ import annotations

from .format import HeaderFormat, measured_noise_var, payload_of
from .layouts import (
    LAYOUTS,
    MAX_SIDE,
    REPEATS,
    SCALE_BITS,
    SCALE_STEP_DB,
    VERSION,
    Fields,
    Layout,
    identity_of,
    index_bits,
    quantize_scale,
    scale_index,
    scale_of,
)
from .listening import listen

__all__ = [
    "LAYOUTS",
    "MAX_SIDE",
    "REPEATS",
    "SCALE_BITS",
    "SCALE_STEP_DB",
    "VERSION",
    "Fields",
    "HeaderFormat",
    "Layout",
    "identity_of",
    "index_bits",
    "listen",
    "measured_noise_var",
    "payload_of",
    "quantize_scale",
    "scale_index",
    "scale_of",
]
