"""The hybrid codec: `codec` first, then `base` (digital layer), `residual` and `classes` (analog layer), `network` (receiver)."""

from .codec import Hybrid, HybridConfig

__all__ = ["Hybrid", "HybridConfig"]
