"""Configurations of weight files that are older than the names of networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NAMES = {
    ("deepjscc", (5, 5, 5, 5, 5), 4): "paper-2019",
    ("deepjscc", (9, 5, 5, 5, 5), 4): "paper",
    ("deepjscc", (5, 5, 3, 3), 8): "photo",
    ("adjscc", (9, 5, 5, 5, 5), 4): "paper",
    ("adjscc", (5, 3, 3, 3), 4): "cifar10",
    ("adjscc", (5, 3, 3, 3), 8): "photo",
    ("ganjscc", (7, 3, 3, 3), 4): "paper",
    ("ganjscc", (5, 3, 3, 3), 8): "photo",
    ("arjscc", (7, 3, 3), 4): "paper",
    ("arjscc", (7,), 4): "cifar10",
    ("spjscc", (7, 3, 3), 4): "paper",
    ("spjscc", (7,), 4): "cifar10",
}
"""Network by architecture, kernels of the encoder, and stride."""


def renamed(arch: str, stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stored configuration in the terms of today. Where the kernels of every layer are listed, their network gets its name.

    Args:
        arch: architecture.
        stored: plain values from a weight file. What is no such configuration comes back as it is.
    """
    layers = stored.get("network", stored)
    if not isinstance(layers, Mapping) or not {"kernels", "strides", "channels"} <= layers.keys():
        return stored
    try:
        name = NAMES[arch, tuple(layers["kernels"]), math.prod(layers["strides"])]
    except (KeyError, TypeError):
        return stored
    if name == "photo" and layers.get("lapped"):
        name = "photo8"
    if layers is stored:  # AR-JSCC has them among the other values
        gone = ("kernels", "up_kernels", "strides", "normalization", "block", "subpixel", "shortcut", "output")
        return {"network": name} | {key: value for key, value in stored.items() if key not in gone}
    sizes = {key: layers.get(key) for key in ("channels", "blocks", "trunk", "trunk_width")}
    nothing = (None, 0, [], [0] * len(layers["channels"]))
    return {**stored, **{key: value for key, value in sizes.items() if value not in nothing}, "network": name}
