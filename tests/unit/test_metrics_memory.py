"""What is remembered of source pictures: computed once, the same values, bounded."""

from __future__ import annotations

import math

import pytest
import torch

from openjscc.errors import UsageError
from openjscc.metrics import DISTS, LPIPS, dists, lpips, lpips_vgg, perceptual
from openjscc.metrics.backbones import Backbone, find_weights
from openjscc.metrics.memory import SourceMemory, bytes_from_environment


def picture(seed: int, side: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


class Counted:
    """Gives a tensor of so many values that tells which call it was."""

    def __init__(self, values: int = 10) -> None:
        self.calls, self.values = 0, values

    def __call__(self) -> list[torch.Tensor]:
        self.calls += 1
        return [torch.full((self.values,), float(self.calls)), torch.zeros(0)]


def test_the_same_picture_is_computed_once() -> None:
    memory, compute = SourceMemory(1000), Counted()
    first = list(memory.recall(picture(1), "a", compute))
    values = 255 * picture(1)
    same_at_8_bits = (values - 0.2 * (values - values.round()).sign()) / 255
    again = list(memory.recall(same_at_8_bits, "a", compute))
    assert compute.calls == 1
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    for other, by in ((picture(2), "a"), (picture(1), "b"), (picture(1).reshape(1, 3, 20, 80), "a")):
        list(memory.recall(other, by, compute))
    assert compute.calls == 4
    broken = picture(1)
    broken[0, 0, 0, 0] = 0
    list(memory.recall(broken, "a", compute))
    broken[0, 0, 0, 0] = math.nan
    list(memory.recall(broken, "a", compute))
    assert compute.calls == 6


def test_the_least_recently_used_go_first() -> None:
    memory, compute = SourceMemory(100), Counted(10)
    for seed in (1, 2, 1, 3):
        list(memory.recall(picture(seed), "a", compute))
    assert compute.calls == 3
    assert memory.bytes == 80
    list(memory.recall(picture(1), "a", compute))
    assert compute.calls == 3
    list(memory.recall(picture(2), "a", compute))
    assert compute.calls == 4
    large = Counted(26)
    for _ in range(2):
        list(memory.recall(picture(9), "a", large))
    assert large.calls == 2, "what is larger than all that may be kept is not kept"
    assert memory.bytes == 80


def test_what_was_not_computed_to_the_end_is_not_kept() -> None:
    memory, compute = SourceMemory(1000), Counted()
    next(memory.recall(picture(1), "a", compute))
    assert memory.bytes == 0


@pytest.mark.parametrize(
    ("metric", "make", "weights"),
    [
        (lpips, lambda: LPIPS("alex"), ("alexnet", "lpips-alex")),
        (lpips_vgg, lambda: LPIPS("vgg"), ("vgg16", "lpips-vgg")),
        (dists, DISTS, ("vgg16", "dists")),
    ],
    ids=["lpips", "lpips_vgg", "dists"],
)
def test_metrics_look_at_a_source_once(metric, make, weights: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if any(find_weights(name) is None for name in weights):
        pytest.skip("no weights: see docs/metrics.md")
    monkeypatch.setattr(perceptual, "SOURCES", SourceMemory(2**26))
    seen, real = [], Backbone.stages
    monkeypatch.setattr(Backbone, "stages", lambda self, x: (seen.append(1), real(self, x))[1])
    x, first, second = torch.cat([picture(1), picture(2)]), picture(3).repeat(2, 1, 1, 1), picture(4).repeat(2, 1, 1, 1)
    values = [metric(x, y) for y in (first, second, first)]
    assert len(seen) == 2 + 3 * 2
    assert torch.equal(values[0], values[2])
    monkeypatch.setattr(perceptual, "SOURCES", SourceMemory(2**26))
    assert torch.equal(metric(x, second), values[1])
    network = make()
    rounded = [(255 * z).round() / 255 for z in (x[:1], second[:1])]
    assert torch.equal(network(*rounded), values[1][:1]), "as without memory, bit for bit"


def test_the_environment_allows_more_or_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENJSCC_SOURCE_MEMORY", raising=False)
    assert bytes_from_environment(7) == 7
    monkeypatch.setenv("OPENJSCC_SOURCE_MEMORY", "3")
    assert bytes_from_environment(7) == 3 * 2**20
    monkeypatch.setenv("OPENJSCC_SOURCE_MEMORY", "much")
    with pytest.raises(UsageError, match="OPENJSCC_SOURCE_MEMORY"):
        bytes_from_environment(7)
