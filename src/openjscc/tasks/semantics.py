"""Semantic importance of pixels: gradients of a task network's outputs with respect to the image (SP-JSCC, eq. 7 to 9).

Q. Sun, C. Guo, Y. Yang, J. Chen, R. Tang, C. Liu: Deep joint source-channel coding based on semantics of pixels, IEEE ICCC 2022.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn

from ..errors import UsageError, unknown_name
from ..files import write_atomically

Output = Literal["logits", "softmax"]
OUTPUTS: tuple[Output, ...] = ("logits", "softmax")


def class_gradients(network: nn.Module, x: torch.Tensor, output: Output = "logits") -> torch.Tensor:
    """Eq. (7): gradients of every output of a task network with respect to the image.

    Args:
        network: images ``(B, 3, H, W)`` in [0, 1] to class scores ``(B, C)``, or to a map of them ``(B, C, H', W')``, of which
            each class's mean over the map counts. In evaluation mode, so that an image's gradients are its own.
        x: images.
        output: what is taken for the perception result: the scores (``logits``), or their softmax over the classes.

    Returns:
        ``(C, B, 3, H, W)``.

    Raises:
        UsageError: for another output, or a network whose outputs are no scores.
    """
    picture, totals = _totals(network, x, output)
    with torch.enable_grad():
        return torch.stack([torch.autograd.grad(total, picture, retain_graph=True)[0] for total in totals])


def _mean_gradient(network: nn.Module, x: torch.Tensor, output: Output) -> torch.Tensor:
    """Mean over the classes of `class_gradients`, ``(B, 3, H, W)``, in one pass back: the gradient of the mean."""
    picture, totals = _totals(network, x, output)
    with torch.enable_grad():
        return torch.autograd.grad(totals.mean(), picture)[0]


def _totals(network: nn.Module, x: torch.Tensor, output: Output) -> tuple[torch.Tensor, torch.Tensor]:
    """A copy of the images, and every class's output summed over them, ``(C,)``: images do not see one another."""
    if output not in OUTPUTS:
        raise unknown_name("output", output, OUTPUTS)
    with torch.enable_grad():
        picture = x.detach().clone().requires_grad_(True)
        scores = network(picture)
        if scores.ndim not in (2, 4) or len(scores) != len(x):
            raise UsageError(f"the task network gives {tuple(scores.shape)}", "expected scores (B, C) or (B, C, H, W)")
        scores = scores.float().softmax(1) if output == "softmax" else scores.float()
        each = scores.flatten(2).mean(2) if scores.ndim == 4 else scores
        return picture, each.sum(0)


def literal(gradients: torch.Tensor) -> torch.Tensor:
    """Eq. (8) and (9) as printed: the absolute value of the mean over the classes. Of softmax outputs that mean is zero."""
    return gradients.mean(0).abs()


def mean_abs(gradients: torch.Tensor) -> torch.Tensor:
    """The mean over the classes of the absolute values."""
    return gradients.abs().mean(0)


def root_mean_square(gradients: torch.Tensor) -> torch.Tensor:
    """Root mean square over the classes of the gradients of the centred scores (a common shift of all scores decides nothing)."""
    return (gradients - gradients.mean(0)).square().mean(0).sqrt()


def mean_square(gradients: torch.Tensor) -> torch.Tensor:
    """The square of `root_mean_square`: of a small error, what each pixel alone adds to the squared change of the centred scores
    (the diagonal of the Gauss-Newton matrix)."""
    return (gradients - gradients.mean(0)).square().mean(0)


WEIGHTINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "literal": literal,
    "mean_abs": mean_abs,
    "rms": root_mean_square,
    "mean_square": mean_square,
}
"""Gradients ``(C, B, 3, H, W)`` to importance ``(B, 3, H, W)``."""


def semantic_weights(network: nn.Module, x: torch.Tensor, weighting: str = "rms", output: Output = "logits") -> torch.Tensor:
    """Eq. (7) to (9): semantic weights w' of images, ``(B, 3, H, W)``.

    The L2 norm over an image is ``sqrt(3 H W)`` and not 1, so that constant weights are all 1 and a weighted mean squared error
    is of the size of the plain one. An image of which nothing matters gets 1 everywhere.

    Args:
        network: as for `class_gradients`.
        x: images ``(B, 3, H, W)`` in [0, 1].
        weighting: a key of `WEIGHTINGS`.
        output: as for `class_gradients`.

    Raises:
        UsageError: for an unknown weighting or output.
    """
    if weighting not in WEIGHTINGS:
        raise unknown_name("weighting", weighting, WEIGHTINGS)
    if weighting == "literal":
        importance = _mean_gradient(network, x, output).abs()
    else:
        importance = WEIGHTINGS[weighting](class_gradients(network, x, output))
    norm = importance.square().flatten(1).mean(1).sqrt()[:, None, None, None]
    return torch.where(norm > 0, importance / norm.clamp(min=torch.finfo(norm.dtype).tiny), torch.ones_like(importance))


class Pictures(Protocol):
    """What `weights_of` reads of a data set (`openjscc.data.datasets.PictureDataset` is one)."""

    def __len__(self) -> int: ...
    def shared(self, index: int) -> torch.Tensor: ...
    def fingerprint(self) -> str: ...


class StoredWeights:
    """Semantic weights on disk, read image by image. float16.

    Args:
        values: all of them, one after another, mapped into memory.
        shapes: ``(3, H, W)`` of each.
    """

    def __init__(self, values: np.ndarray, shapes: Sequence[tuple[int, int, int]]) -> None:
        self._values, self._shapes = values, shapes
        self._starts = np.concatenate([[0], np.cumsum([np.prod(shape) for shape in shapes])]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: int) -> torch.Tensor:
        start, end = self._starts[index], self._starts[index + 1]
        return torch.from_numpy(self._values[start:end].reshape(self._shapes[index]).copy()).float()


def weights_of(
    dataset: Pictures, network: nn.Module, identity: str, folder: Path, weighting: str, output: Output, *,
    device: torch.device | None = None, batch: int = 250, done: Callable[[int], None] | None = None,
) -> StoredWeights:  # fmt: skip
    """The semantic weights of all images of a data set, computed once and kept in ``folder``.

    Args:
        dataset: images.
        network: task network.
        identity: what tells this network from others, e.g. its file's sha256.
        folder: where the result is kept, under a name made of data, network and kind of weights.
        weighting: a key of `WEIGHTINGS`.
        output: as for `class_gradients`.
        device: where to compute; default the network's.
        batch: images at once, where neighbours have one size.
        done: told how many images are done, 0 first and all last; not called where the result is on disk already.
    """
    key = json.dumps([1, dataset.fingerprint(), identity, weighting, output])
    path = folder / f"semantic-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    parameter = next(network.parameters(), torch.zeros(()))
    device = parameter.device if device is None else device
    shapes = [tuple(int(side) for side in dataset.shared(index).shape) for index in range(len(dataset))]
    if not path.exists():
        network = network.to(device)
        chunks: list[np.ndarray] = []
        index = 0
        if done is not None:
            done(0)
        while index < len(dataset):
            end = index + 1
            while end < len(dataset) and end - index < batch and shapes[end] == shapes[index]:
                end += 1
            x = torch.stack([dataset.shared(i) for i in range(index, end)]).to(device).float() / 255.0
            chunks.append(semantic_weights(network, x, weighting, output).half().cpu().numpy().reshape(-1))
            index = end
            if done is not None:
                done(index)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _npy(np.concatenate(chunks)))
    return StoredWeights(np.load(path, mmap_mode="r"), shapes)  # pyright: ignore[reportArgumentType]


def _npy(values: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
