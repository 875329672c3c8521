"""What one update is, one file a kind."""

from .reconstruction import ReconstructionStep

__all__ = ["ReconstructionStep"]
