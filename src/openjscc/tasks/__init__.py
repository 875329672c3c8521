"""Task networks: what runs on a picture at the receiver. docs/tasks.md says how to bring one's own."""

from ._base import KINDS, TaskNetwork, perceive, top_classes
from ._registry import load_task_network, other_task_networks
from ._weights import TaskWeight, create, export, list_weights, load, read_info, released_names, weight_files, weight_path
from .classifier import CIFAR10_CLASSES, Classifier, ClassifierConfig
from .resnet import CifarResNet, load_resnet

__all__ = [
    "CIFAR10_CLASSES",
    "KINDS",
    "CifarResNet",
    "Classifier",
    "ClassifierConfig",
    "TaskNetwork",
    "TaskWeight",
    "create",
    "export",
    "list_weights",
    "load",
    "load_resnet",
    "load_task_network",
    "other_task_networks",
    "perceive",
    "read_info",
    "released_names",
    "top_classes",
    "weight_files",
    "weight_path",
]
