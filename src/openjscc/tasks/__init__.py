"""Task networks: what runs on an image at the receiver (docs/tasks.md). The task KB: requests in words (docs/task-kb.md)."""

from ._base import KINDS, TaskNetwork, perceive, top_classes
from ._registry import load_task_network, other_task_networks
from ._weights import (
    ARCHITECTURES,
    TaskWeight,
    create,
    export,
    list_weights,
    load,
    read_info,
    released_names,
    weight_files,
    weight_path,
)
from .classifier import CIFAR10_CLASSES, Classifier, ClassifierConfig
from .fcn import FCN, FCNConfig
from .knowledge_base import Decision, RequestRefused, TaskKB, load_task_kb
from .resnet import CifarResNet, load_resnet
from .sentences import DEFAULT_SENTENCE_MODEL, SentenceModel, load_sentence_model

__all__ = [
    "ARCHITECTURES",
    "CIFAR10_CLASSES",
    "DEFAULT_SENTENCE_MODEL",
    "FCN",
    "KINDS",
    "CifarResNet",
    "Classifier",
    "ClassifierConfig",
    "Decision",
    "FCNConfig",
    "RequestRefused",
    "SentenceModel",
    "TaskKB",
    "TaskNetwork",
    "TaskWeight",
    "create",
    "export",
    "list_weights",
    "load",
    "load_resnet",
    "load_sentence_model",
    "load_task_kb",
    "load_task_network",
    "other_task_networks",
    "perceive",
    "read_info",
    "released_names",
    "top_classes",
    "weight_files",
    "weight_path",
]
