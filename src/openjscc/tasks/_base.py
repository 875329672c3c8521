"""The contract of a task network: what runs on an image at the receiver."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import UsageError
from ..metrics.fidelity import check_range, eight_bits

if TYPE_CHECKING:
    from ._weights import TaskWeight

KINDS = ("classification", "segmentation")


class TaskNetwork(nn.Module):
    """A network that does a task on images. It is frozen, knows no channel, and is differentiable in the image.

    A subclass sets `kind`, `classes` and `input_size`, and implements `forward`, normalisation included.

    Attributes:
        name: what records call it.
        kind: one of `KINDS`.
        classes: names of the K classes, in the order of their numbers.
        input_size: ``(H, W)`` that it was made for; None: any.
        weight: the facts of the file that its parameters come from; None where they come from elsewhere.
    """

    name: str = ""
    kind: str = "classification"
    classes: tuple[str, ...] = ()
    input_size: tuple[int, int] | None = None
    weight: TaskWeight | None = None

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (logits) of images.

        Args:
            x: floating point ``(B, 3, H, W)`` in [0, 1].

        Returns:
            ``(B, K)`` in a classification, ``(B, K, H, W)`` in a segmentation.
        """

    @property
    def sha256(self) -> str:
        """What tells it from another network: the weight file's checksum, else one of its parameters (hex)."""
        if self.weight is not None:
            return self.weight.sha256
        digest = hashlib.sha256(f"{type(self).__qualname__}{self.kind}{self.classes}{self.input_size}".encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def normalised(x: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """``(x - mean) / std`` per channel of ``(B, 3, H, W)``."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def perceive(network: TaskNetwork, x: torch.Tensor) -> torch.Tensor:
    """What a network sees on images as they are stored: rounded to 8 bits, and resized where it was made for another size.

    Resizing is bilinear with antialiasing, for the network only. No gradients are kept.

    Args:
        network: in evaluation mode, so that an image's scores do not depend on its neighbours.
        x: float ``(B, 3, H, W)`` in [0, 1].

    Returns:
        Scores as of `TaskNetwork.forward`, float32.

    Raises:
        UsageError: values of 0..255, or scores that are not of the network's classes.
    """
    check_range("image", x)
    size = network.input_size
    device = next((parameter.device for parameter in network.parameters()), x.device)
    with torch.no_grad():
        stored = eight_bits(x.to(device)).div_(255.0)
        if size is not None and tuple(x.shape[-2:]) != tuple(size):
            stored = F.interpolate(stored, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
        scores = network(stored).float()
    wanted = 2 if network.kind == "classification" else 4
    if scores.ndim != wanted or scores.shape[:2] != (len(x), len(network.classes)):
        raise UsageError(
            f"task network {network.name!r} gives {tuple(scores.shape)} for {len(x)} pictures and {len(network.classes)} classes",
            "see the contract of openjscc.tasks.TaskNetwork",
        )
    return scores


def top_classes(network: TaskNetwork, x: torch.Tensor, count: int = 3) -> list[list[tuple[str, float]]]:
    """The likeliest classes of every image with their probabilities, by a classifier (see `perceive`).

    Raises:
        UsageError: a network that is no classifier.
    """
    if network.kind != "classification":
        raise UsageError(f"the task network {network.name!r} is for {network.kind}", "name a classifier, e.g. classifier")
    shares, numbers = perceive(network, x).softmax(1).topk(min(count, len(network.classes)))
    return [
        [(network.classes[number], share) for number, share in zip(*row, strict=True)]
        for row in zip(numbers.tolist(), shares.tolist(), strict=True)
    ]
