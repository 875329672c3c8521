"""The hybrid codec: `codec` first, then `base` and `symbols` (digital part), `residual` and `classes` (analog), `network`."""

from .codec import Hybrid, HybridConfig

__all__ = ["Hybrid", "HybridConfig"]
