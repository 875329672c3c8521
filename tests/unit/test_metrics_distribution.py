"""Distances between sets: closed forms, brute force, and the features they are taken from."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from openjscc.errors import MissingError, UsageError
from openjscc.metrics import METRICS, backbones, distribution, inception
from openjscc.metrics.backbones import WEIGHT_FILES, find_weights
from openjscc.metrics.distribution import frechet_distance, frechet_of_entries, kernel_distance, kernel_of_entries, patches
from openjscc.metrics.memory import SourceMemory

vgg = pytest.mark.skipif(find_weights("vgg16") is None, reason="no weights of vgg16: see docs/metrics.md")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_OFFLINE", "1")
    monkeypatch.setattr(distribution, "SOURCES", SourceMemory(2**20))


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Samples whose mean and covariance are exactly these."""
    x = np.random.default_rng(seed).standard_normal((count, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))).T
    return white @ np.linalg.cholesky(covariance).T + mean


# ---------------------------------------------------------------- Frechet distance


def test_frechet_of_two_gaussians_in_one_dimension() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2."""
    x = with_moments(np.array([1.0]), np.array([[4.0]]), 50, 0)
    y = with_moments(np.array([-2.0]), np.array([[0.25]]), 70, 1)
    assert frechet_distance(x, y) == pytest.approx(9 + 1.5**2, rel=1e-12)


def test_frechet_of_commuting_covariances() -> None:
    """|m1 - m2|^2 + sum (sqrt(a) - sqrt(b))^2 over the shared eigenvectors."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 0.1, 1, 4, 2])
    m, n = np.arange(5.0), np.ones(5)
    x = with_moments(m, rotation * a @ rotation.T, 40, 1)
    y = with_moments(n, rotation * b @ rotation.T, 60, 2)
    expected = np.square(m - n).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-10)


def test_frechet_against_the_matrix_root() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((200, 20)) @ generator.standard_normal((20, 20))
    y = generator.standard_normal((300, 20)) @ generator.standard_normal((20, 20)) + 0.5
    cx, cy = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cx @ cy)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx + cy - 2 * np.real(root))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 9), (9, 40), (40, 9), (40, 41), (16, 17)])
def test_frechet_with_few_samples(n: int, m: int) -> None:
    """Fewer samples than dimensions on either side: as with the singular covariances written out."""
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((n, 16)), 2 * generator.standard_normal((m, 16)) + 1
    cx, cy = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(cx)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(half @ cy @ half).clip(0)).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx) + np.trace(cy) - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [3, 20, 500])
def test_identical_sets(count: int) -> None:
    x = np.random.default_rng(0).standard_normal((count, 20)).astype(np.float32) * 10
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(x, x, paired=True) == pytest.approx(0, abs=1e-6)


# ---------------------------------------------------------------- kernel distance


def brute_force(x: np.ndarray, y: np.ndarray, paired: bool) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    def mean(a: np.ndarray, b: np.ndarray, skip: bool) -> float:
        values = [kernel(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return sum(values) / len(values)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, paired)


@pytest.mark.parametrize(("n", "m", "paired"), [(7, 11, False), (9, 9, False), (9, 9, True), (2, 2, True)])
def test_kernel_distance_by_brute_force(n: int, m: int, paired: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(n)
    x, y = generator.standard_normal((n, 6)), generator.standard_normal((m, 6)) + 0.5
    expected = brute_force(x, y, paired)
    assert kernel_distance(x, y, paired=paired) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(distribution, "_BLOCK", 4)
    assert kernel_distance(x, y, paired=paired) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_unbiased_for_pairs() -> None:
    """Pairs that are nearly equal and of one distribution: 0 on average; with the pairs in the cross term it is not."""
    generator = np.random.default_rng(0)
    kept, with_pairs = [], []
    for _ in range(300):
        x = generator.standard_normal((10, 4))
        y = 0.9 * x + math.sqrt(1 - 0.81) * generator.standard_normal((10, 4))
        kept.append(kernel_distance(x, y, paired=True))
        with_pairs.append(kernel_distance(x, y))
    error = np.std(kept) / math.sqrt(len(kept))
    assert abs(np.mean(kept)) < 4 * error
    assert np.mean(with_pairs) < -10 * error


def test_sets_that_do_not_fit() -> None:
    x = np.zeros((4, 3))
    for a, b in ((x[:1], x), (x, x[:, :2]), (x[0], x)):
        with pytest.raises(UsageError):
            frechet_distance(a, b)
        with pytest.raises(UsageError):
            kernel_distance(a, b)
    with pytest.raises(UsageError):
        kernel_distance(x, x[:3], paired=True)
    with pytest.raises(UsageError):
        frechet_of_entries([])


# ---------------------------------------------------------------- patches and entries


def test_patches() -> None:
    assert patches(torch.rand(3, 512, 768)).shape == (6, 3, 256, 256)
    assert patches(torch.rand(3, 256, 256)).shape == (1, 3, 256, 256)
    assert patches(torch.rand(3, 32, 32)).shape == (1, 3, 32, 32)
    assert patches(torch.rand(3, 100, 600)).shape == (2, 3, 100, 256)
    x = torch.arange(3 * 600 * 515.0).reshape(3, 600, 515)
    cut = patches(x)
    assert cut.shape == (4, 3, 256, 256)
    assert torch.equal(cut[0], x[:, 44:300, 1:257])  # the rest is left out at both ends
    assert torch.equal(cut[3], x[:, 300:556, 257:513])


def test_entries_are_reduced_like_the_sets() -> None:
    generator = np.random.default_rng(0)
    entries = [generator.standard_normal((2, count, 8)).astype(np.float32) for count in (6, 1, 4)]
    x, y = (np.concatenate([entry[i] for entry in entries]) for i in (0, 1))
    assert frechet_of_entries(entries) == frechet_distance(x, y)
    assert kernel_of_entries(entries) == kernel_distance(x, y, paired=True)
    entries[1][1] = np.nan
    assert math.isnan(frechet_of_entries(entries))
    assert math.isnan(kernel_of_entries(entries))


@vgg
def test_vgg16_metrics(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 24, 40, generator=generator)
    near, far = ((x + sigma * torch.randn(x.shape, generator=generator)).clamp(0, 1) for sigma in (0.03, 0.3))
    for name in ("fd_vgg16", "kd_vgg16"):
        metric = METRICS[name]
        entries = metric.collect(x[:4], near[:4]) + metric.collect(x[4:], near[4:])
        assert [(entry.shape, entry.dtype) for entry in entries] == [((2, 1, 512), np.dtype(np.float32))] * 6
        whole = metric.collect(x, near)
        assert all(np.array_equal(a, b) for a, b in zip(entries, whole, strict=True))  # whatever the batch
        np.savez(tmp_path / "entries.npz", *entries)
        with np.load(tmp_path / "entries.npz") as kept:
            assert metric.reduce(list(kept.values())) == metric.reduce(entries)
        assert metric.reduce(metric.collect(x, x)) == pytest.approx(0, abs=1e-9)
        assert metric.reduce(entries) < metric.reduce(metric.collect(x, far))
    y = near.clone()
    y[2] = math.nan
    broken = METRICS["fd_vgg16"].collect(x, y)
    assert [bool(np.isnan(entry).any()) for entry in broken] == [False, False, True, False, False, False]
    with pytest.raises(UsageError):
        METRICS["fd_vgg16"].collect(x[..., :15], y[..., :15])
    with pytest.raises(UsageError, match="values from"):
        METRICS["fd_vgg16"].collect(255 * x, 255 * near)


def test_two_distances_look_at_a_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[torch.Tensor] = []

    def features(network: torch.nn.Module, picture: torch.Tensor) -> list[torch.Tensor]:
        looked.append(picture)
        return [picture.mean(dim=(1, 2))[None]]

    monkeypatch.setattr(distribution, "_of_picture", features)
    monkeypatch.setattr(distribution, "frozen", lambda make, device: contextlib.nullcontext())
    monkeypatch.setattr(distribution, "SOURCES", SourceMemory(1000))
    x, y = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    first, second = (METRICS[name].collect(x, y) for name in ("fd_vgg16", "kd_vgg16"))
    assert len(looked) == 4
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.from_numpy(first[1][1, 0]), y[1].mean(dim=(1, 2)))


def test_fid_on_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way of `fid`, with random weights in place of the published ones."""
    torch.manual_seed(0)
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(inception._network().state_dict(), path)
    monkeypatch.setenv("OPENJSCC_METRIC_WEIGHTS", str(tmp_path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(WEIGHT_FILES, "inception", dataclasses.replace(WEIGHT_FILES["inception"], sha256=digest))
    backbones._instance.cache_clear()
    x = torch.rand(2, 3, 20, 30)
    entries = METRICS["fid"].collect(x, (x + 0.1).clamp(0, 1))
    backbones._instance.cache_clear()
    assert [entry.shape for entry in entries] == [(2, 1, 2048)] * 2
    assert METRICS["fid"].reduce(entries) > 0


@pytest.mark.skipif(find_weights("inception") is not None, reason="FID's network is at hand")
def test_fid_says_plainly_that_it_cannot() -> None:
    backbones._instance.cache_clear()
    x = torch.rand(1, 3, 32, 32)
    with pytest.raises(MissingError) as caught:
        METRICS["fid"].collect(x, x)
    assert caught.value.exit_code == 3
    assert "pt_inception-2015-12-05-6726825d.pth" in caught.value.hint
