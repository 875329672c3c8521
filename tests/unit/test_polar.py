"""The polar code: encoding against the matrix, decoding without and with noise, and the design of the headers' codes."""

from __future__ import annotations

import numpy as np
import pytest

from openjscc.header import LAYOUTS, Layout
from openjscc.polar import PolarCode, sent_bits


def phi(x: np.ndarray) -> np.ndarray:
    """S.-Y. Chung, T. Richardson, R. Urbanke: Analysis of sum-product decoding of LDPC codes using a Gaussian approximation,
    IEEE Trans. Inf. Theory 47(2), 2001: the usual fit below 10, the mean of its bounds above."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.exp(-0.4527 * np.maximum(x, 1e-12) ** 0.86 + 0.0218)
        high = np.sqrt(np.pi / np.maximum(x, 1e-9)) * np.exp(-x / 4) * (1 - 10 / 7 / np.maximum(x, 1e-9))
    return np.where(x <= 0, 1, np.minimum(np.where(x < 10, low, high), 1))


GRID = np.concatenate([np.linspace(0, 1, 2001), np.linspace(1, 10, 4000)[1:], np.linspace(10, 200, 4000)[1:]])
VALUES = phi(GRID)


def mean_llr(means: np.ndarray) -> np.ndarray:
    """Means of the LLRs of the input bits, from those of the coded bits: density evolution in the Gaussian approximation."""
    if len(means) == 1:
        return means
    half = len(means) // 2
    left, right = means[:half], means[half:]
    worse = np.interp(-(1 - (1 - phi(left)) * (1 - phi(right))), -VALUES, GRID)
    return np.concatenate([mean_llr(worse), mean_llr(left + right)])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.code.k} bits")
def test_information_bits_are_those_of_the_design_at_0_db(layout: Layout):
    """At Es/N0 = 0 dB a coded bit of QPSK has SNR 1, and its LLR the mean 2."""
    code = layout.code
    means = np.zeros(code.length)
    means[code.sent] = 2.0
    best = np.argsort(-mean_llr(means), kind="stable")[: code.k]
    assert sorted(best.tolist()) == code.information.tolist()


def test_sizes_of_the_layouts():
    assert [(layout.code.k, layout.code.n, layout.uses) for layout in LAYOUTS] == [
        (72, 248, 124), (84, 288, 144), (87, 296, 148), (112, 376, 188),
    ]  # fmt: skip


def test_encoding_is_the_kronecker_power():
    code = PolarCode(16, "ffff")
    kernel = np.array([[1, 0], [1, 1]])
    matrix = np.eye(1, dtype=int)
    for _ in range(4):
        matrix = np.kron(matrix, kernel)
    bits = np.random.default_rng(0).integers(0, 2, (20, 16)).astype(np.uint8)
    assert np.array_equal(code.encode(bits), bits @ matrix % 2)


def test_punctured_bits_are_the_first_in_bit_reversed_order():
    assert sent_bits(5, 8).tolist() == [1, 3, 5, 6, 7]  # not sent: 0, 4, 2


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.code.k} bits")
def test_any_word_comes_back(layout: Layout):
    code = layout.code
    bits = np.random.default_rng(1).integers(0, 2, (50, code.k)).astype(np.uint8)
    llr = 4.0 * (1 - 2 * code.encode(bits).astype(np.float32))
    found, passed = code.decode(llr, lambda paths: np.ones(paths.shape[:2], dtype=bool))
    assert passed.all()
    assert np.array_equal(found, bits)


def test_a_list_finds_the_likeliest_word():
    """With as many paths as words the decoder is a maximum likelihood decoder."""
    code = PolarCode(16, "0117")
    words = (np.arange(2**code.k)[:, None] >> np.arange(code.k) & 1).astype(np.uint8)
    signs = 1.0 - 2.0 * code.encode(words)
    llr = np.random.default_rng(2).normal(0.5, 2, (200, 16)).astype(np.float32)
    found, _ = code.decode(llr, lambda paths: np.ones(paths.shape[:2], dtype=bool), size=2**code.k)
    reached = (llr * (1.0 - 2.0 * code.encode(found))).sum(1)
    assert np.allclose(reached, (llr @ signs.T).max(1), atol=1e-3)


def test_the_check_decides_among_the_paths():
    code = PolarCode(16, "0117")
    wanted = np.array([1, 0, 1, 1, 0], dtype=np.uint8)
    llr = np.random.default_rng(3).normal(0, 1, (1, 16)).astype(np.float32)
    found, passed = code.decode(llr, lambda paths: (paths == wanted).all(2), size=32)
    assert passed.tolist() == [True]
    assert found[0].tolist() == wanted.tolist()
    assert code.decode(llr, lambda paths: np.zeros(paths.shape[:2], dtype=bool))[1].tolist() == [False]
