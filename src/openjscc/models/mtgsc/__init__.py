"""MTGSC: one codec for two tasks. Start reading at `codec`; its parts are in `networks`, `transformer` and `diffusion`."""

from .codec import MTGSC, NOISE, PAPER, PHOTO
from .networks import MTGSCConfig

__all__ = ["MTGSC", "NOISE", "PAPER", "PHOTO", "MTGSCConfig"]
