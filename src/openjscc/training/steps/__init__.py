"""What one update is, one file a kind. A recipe names its kind in ``step``."""

from ...errors import unknown_name
from ._base import TrainingStep
from .classification import ClassificationStep
from .multitask import MultitaskStep
from .perceptual import PerceptualStep
from .reconstruction import ReconstructionStep
from .segmentation import SegmentationStep
from .semantic import SemanticStep

__all__ = [
    "STEPS",
    "ClassificationStep",
    "MultitaskStep",
    "PerceptualStep",
    "ReconstructionStep",
    "SegmentationStep",
    "SemanticStep",
    "TrainingStep",
    "step_class",
]

STEPS: dict[str, type[TrainingStep]] = {
    "classification": ClassificationStep,
    "multitask": MultitaskStep,
    "perceptual": PerceptualStep,
    "reconstruction": ReconstructionStep,
    "segmentation": SegmentationStep,
    "semantic": SemanticStep,
}


def step_class(name: str) -> type[TrainingStep]:
    """The kind of training that a recipe names. Raises UsageError for an unknown one."""
    if name not in STEPS:
        raise unknown_name("step", name, STEPS)
    return STEPS[name]
