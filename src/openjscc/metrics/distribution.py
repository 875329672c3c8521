"""Distances between the sets of all sources and all reconstructions, in the features of a network: FID, and the like on VGG16.

What is seen of an image are non-overlapping patches of `PATCH` pixels (144 of Kodak's 24 images), at the size that they have:
along each side as many whole ones as fit, the rest left out evenly at both ends; a shorter side is taken whole. So images of up
to `PATCH` pixels, CIFAR-10's too, are one patch each.

Features of each image are gathered first (`collect`) and reduced to one figure at the end. An entry is float32 ``(2, P, D)``:
features of the P patches of the source, then of the reconstruction. ``np.savez`` can keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from ..errors import UsageError
from .backbones import VGG16, Backbone, frozen, load_weights
from .fidelity import check_values, eight_bits, finite
from .inception import FIDInception
from .memory import SourceMemory
from .perceptual import IMAGENET_MEAN, IMAGENET_STD

PATCH = 256
_BLOCK = 1024
"""Rows of the kernel matrix that are held at once."""

SOURCES = SourceMemory(2**27)
"""Features of 10,000 small images."""


class VGG16Features(nn.Module):
    """512 features: output of VGG16's last convolution after its ReLU (relu5_3), averaged over positions. Input in [0, 1].

    Raises:
        MissingError, IntegrityError: see `load_weights`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(VGG16, load_weights("vgg16"))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, 3, H, W)`` to ``(B, 512)``. Raises UsageError for a side below 16 pixels."""
        *_, last = self.backbone.stages((x.float() - self.get_buffer("mean")) / self.get_buffer("std"))
        return last.mean(dim=(2, 3))


def inception_features(x: torch.Tensor, y: torch.Tensor) -> list[np.ndarray]:
    """Entries of the images (module docstring) with the 2048 features of FID's network.

    Args:
        x: source, float ``(B, 3, H, W)`` in [0, 1]; rounded to 8 bits here.
        y: reconstruction, the same shape.

    Raises:
        UsageError: shapes that differ or are no images. MissingError, IntegrityError: see `load_weights`.
    """
    return _features(FIDInception, x, y)


def vgg16_features(x: torch.Tensor, y: torch.Tensor) -> list[np.ndarray]:
    """As `inception_features`, with the 512 of `VGG16Features`; sides of at least 16 pixels."""
    return _features(VGG16Features, x, y)


def frechet_of_entries(entries: Sequence[np.ndarray]) -> float:
    """`frechet_distance` between all patches of the sources and all of the reconstructions; ``nan`` where one is not finite."""
    x, y = _sides(entries)
    return frechet_distance(x, y) if np.isfinite(x).all() and np.isfinite(y).all() else float("nan")


def kernel_of_entries(entries: Sequence[np.ndarray]) -> float:
    """`kernel_distance` between all patches of the sources and all of the reconstructions, as pairs; ``nan`` as above."""
    x, y = _sides(entries)
    return kernel_distance(x, y, paired=True) if np.isfinite(x).all() and np.isfinite(y).all() else float("nan")


def patches(x: torch.Tensor) -> torch.Tensor:
    """``(3, H, W)`` to ``(P, 3, h, w)``, h and w at most `PATCH`; see the module docstring."""
    for dim in (1, 2):
        length = x.shape[dim]
        side = min(PATCH, length)
        used = length // side * side
        x = x.narrow(dim, (length - used) // 2, used)
    height, width = min(PATCH, x.shape[1]), min(PATCH, x.shape[2])
    return x.unfold(1, height, height).unfold(2, width, width).permute(1, 2, 0, 3, 4).flatten(0, 1)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    ``|m_x - m_y|^2 + tr(C_x) + tr(C_y) - 2 tr((C_x C_y)^(1/2))`` with the unbiased covariances, in float64. With ``C = R^T R``
    the last trace is the sum of the singular values of ``R_x R_y^T``; R are the centred features themselves where there are fewer
    of them than dimensions, else they come from the eigenvectors of C. So singular covariances are no special case, and nothing
    is added to them.

    The estimate is biased upwards, the more so the fewer samples: only values from equally many samples compare, and below as
    many as there are dimensions it says little (`kernel_distance` has no such bias).

    Args:
        x: ``(N, D)``.
        y: ``(M, D)``.

    Raises:
        UsageError: fewer than two samples, or different dimensions.
    """
    x, y = _checked(x, y)
    root_x, root_y = _root(x), _root(y)
    trace = float(np.square(root_x).sum() + np.square(root_y).sum())
    cross = float(np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum())
    return max(0.0, float(np.square(x.mean(axis=0) - y.mean(axis=0)).sum()) + trace - 2 * cross)


def kernel_distance(x: np.ndarray, y: np.ndarray, *, paired: bool = False) -> float:
    """Squared maximum mean discrepancy with the kernel ``(a.b / D + 1)^3`` (Binkowski et al. 2018, arXiv:1801.01401), unbiased.

    Over all samples (the mean over random subsets in other code estimates the same value), in float64. Unbiased means that it is
    negative as often as positive for two samples of one distribution.

    Args:
        x: ``(N, D)``. y: ``(M, D)``. paired: sample i of one set belongs to sample i of the other (a reconstruction and its
        source), and is not independent of it:
            such pairs are left out of the cross term too (Gretton et al. 2012, eq. 4), which keeps the estimate unbiased, and
            makes it 0 for identical sets.

    Raises:
        UsageError: fewer than two samples, different dimensions, or different numbers of samples that are said to be paired.
    """
    x, y = _checked(x, y)
    n, m = len(x), len(y)
    if paired and n != m:
        raise UsageError(f"{n} and {m} paired samples", "give one for each")
    cross = _kernel_sum(x, y, diagonal=not paired) / (n * (m - 1) if paired else n * m)
    return _kernel_sum(x, x, diagonal=False) / (n * (n - 1)) + _kernel_sum(y, y, diagonal=False) / (m * (m - 1)) - 2 * cross


def _kernel_sum(x: np.ndarray, y: np.ndarray, diagonal: bool) -> float:
    total = 0.0
    for first in range(0, len(x), _BLOCK):
        kernel = (x[first : first + _BLOCK] @ y.T / x.shape[1] + 1) ** 3
        total += float(kernel.sum()) - (0.0 if diagonal else float(np.trace(kernel, offset=first)))
    return total


def _root(x: np.ndarray) -> np.ndarray:
    """R with R^T R = covariance, of at most D rows."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _checked(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UsageError(f"features of shapes {x.shape} and {y.shape}", "give (N, D) and (M, D)")
    if min(len(x), len(y)) < 2:
        raise UsageError("a distance between sets of a single patch", "it takes at least two of each: use more pictures")
    return x.astype(np.float64), y.astype(np.float64)


def _sides(entries: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if not entries:
        raise UsageError("no pictures", "a distance between sets takes at least two")
    return np.concatenate([entry[0] for entry in entries]), np.concatenate([entry[1] for entry in entries])


def _features(make: Callable[[], nn.Module], x: torch.Tensor, y: torch.Tensor) -> list[np.ndarray]:
    check_values(x, y)
    entries = []
    with frozen(make, x.device) as network:
        for source, received in zip(x, y, strict=True):
            both = [SOURCES.recall(one, make, partial(_of_picture, network, one)) for one in (source, received)]
            sides = zip(*both, strict=True)  # the received one is asked for again where two distances are measured
            entries += [np.stack([a.numpy(), b.numpy()]) for a, b in sides]
    for entry, whole in zip(entries, finite(x, y).tolist(), strict=True):
        if not whole:
            entry.fill(np.nan)
    return entries


def _of_picture(network: nn.Module, picture: torch.Tensor) -> list[torch.Tensor]:
    """One tensor ``(P, D)``. Patch by patch: the same whatever else is in the image."""
    seen = patches(eight_bits(picture).div_(255.0))
    return [torch.cat([network(patch) for patch in seen.split(1)]).cpu()]
