"""The analog layer: what the base leaves of an image, as transform coefficients that are sent as they are.

::

    image - base --[colour, 16x16 DCT]--> coefficients --[scale by their expected size]--> real symbols, two a channel use

Both ends know how large a coefficient is expected to be: from the class of its block, which is sent
(`openjscc.models.hybrid.classes`), and from the base. The receiver has to choose the same coefficients as the transmitter. So
everything that the choice depends on is computed with integers, or with floating-point numbers that hold integers exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import dctn, idctn

BLOCK = 16
COEFFICIENTS = 3 * BLOCK * BLOCK
"""Of one block, all three components."""
COLOUR = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]])
"""Rows: the sum of red, green and blue, and two differences; orthogonal, with squared norms 3, 2 and 6."""
NORMS = np.sqrt((COLOUR**2).sum(axis=1))
STEPS_PER_OCTAVE = 16
"""Expected sizes are whole numbers of this fraction of an octave, relative to 1/255 of full scale."""
LEVELS = (1, 2, 4, 8, 16, 32)
"""Where the size of the base's coefficient, in eighths of the base's quantiser step, passes from one level to the next."""
BANDS = 8


def transform(image: np.ndarray) -> np.ndarray:
    """Coefficients float32 ``(blocks, COEFFICIENTS)`` of ``(H, W, 3)`` with sides that 16 divides; orthonormal."""
    height, width, _ = image.shape
    colour = image.astype(np.float32) @ (COLOUR / NORMS[:, None]).T.astype(np.float32)
    blocks = colour.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).transpose(0, 2, 4, 1, 3)
    return np.asarray(dctn(blocks, axes=(3, 4), norm="ortho")).reshape(-1, COEFFICIENTS)


def inverse(coefficients: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image float32 ``(H, W, 3)`` of what `transform` gives."""
    blocks = coefficients.reshape(height // BLOCK, width // BLOCK, 3, BLOCK, BLOCK)
    colour = np.asarray(idctn(blocks, axes=(3, 4), norm="ortho")).transpose(0, 3, 1, 4, 2).reshape(height, width, 3)
    return colour @ (COLOUR / NORMS[:, None]).astype(np.float32)


def base_levels(base: np.ndarray, qp: int) -> np.ndarray:
    """How large the base's own coefficients are: uint8 ``(blocks, COEFFICIENTS)``, 0 to ``len(LEVELS)``.

    Args:
        base: uint8 ``(H, W, 3)``, sides that 16 divides.
        qp: of the base; its quantiser step is 2^((QP - 4)/6).
    """
    height, width, _ = base.shape
    colour = base.astype(np.float64) @ COLOUR.T.astype(np.float64)
    blocks = colour.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).transpose(0, 2, 4, 1, 3)
    matrix = _integer_dct()
    exact = np.abs(matrix @ blocks @ matrix.T).reshape(-1, 3, BLOCK * BLOCK)  # integers below 2^53, whatever the order of sums
    thresholds = _thresholds(qp)
    levels = np.zeros(exact.shape, dtype=np.uint8)
    for component in range(3):
        for threshold in thresholds[component]:
            levels[:, component] += exact[:, component] >= threshold
    return levels.reshape(-1, COEFFICIENTS)


_DCT_SCALE = 2**10
_STEPS = (40, 45, 51, 57, 64, 72)
"""64 times the quantiser step at QP 4 to 9, as ITU-T H.265, 8.6.4.2, has it (levelScale)."""


@lru_cache(maxsize=1)
def _integer_dct() -> np.ndarray:
    """The orthonormal DCT-II matrix times 2^10, rounded."""
    angle = np.pi / BLOCK * np.outer(np.arange(BLOCK), np.arange(BLOCK) + 0.5)
    matrix = np.sqrt(2 / BLOCK) * np.cos(angle)
    matrix[0] /= np.sqrt(2)
    return np.rint(_DCT_SCALE * matrix)


@lru_cache(maxsize=64)
def _thresholds(qp: int) -> np.ndarray:
    """`LEVELS` in units of `base_levels`' integers, ``(3, levels)``."""
    step = _STEPS[qp % 6] << (qp // 6)  # 64 times the step
    return np.rint(np.outer(NORMS, np.array(LEVELS) / 8) * _DCT_SCALE**2 * step / 64) + 0.0


@lru_cache(maxsize=1)
def bands() -> np.ndarray:
    """The band of each coefficient, ``(COEFFICIENTS,)``: by frequency, 0 the lowest; luma and chroma apart."""
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    band = np.minimum(BANDS - 1, np.digitize(frequency, (1, 2, 4, 6, 9, 13, 18))).ravel()
    return np.concatenate([band, band + BANDS, band + BANDS])


@dataclass(frozen=True)
class Plan:
    """Which coefficients are sent, and how large each is.

    Attributes:
        chosen: their places in the flattened ``(blocks, COEFFICIENTS)``, ascending, int64 ``(M,)``.
        amplitude: what each is multiplied by, float32 ``(M,)``; the expected mean square of the products is 1.
        size: expected mean square of all coefficients, float32 ``(blocks * COEFFICIENTS,)``.
    """

    chosen: np.ndarray
    amplitude: np.ndarray
    size: np.ndarray


def plan(log_size: np.ndarray, count: int, design_snr_db: float) -> Plan:
    """The linear scheme that is best for Gaussian coefficients: the largest are sent, with power by water-filling.

    A coefficient of standard deviation s gets the power ``max(0, c s - n)``, n the noise in a real dimension at the SNR that the
    scheme is made for (K.-H. Lee, D. Petersen: Optimal linear coding for vector channels, IEEE Trans. Commun. 24, 1976).

    Args:
        log_size: int16 ``(blocks, COEFFICIENTS)``, log2 of the standard deviation in 1 / `STEPS_PER_OCTAVE`.
        count: real symbols, M. Where there are fewer coefficients, those are all; the rest stays empty.
        design_snr_db: SNR that the allocation is made for.
    """
    flat = log_size.ravel()
    count = min(count, flat.size)
    lowest = int(flat.min())
    histogram = np.bincount((flat - lowest).astype(np.int64))
    from_top = np.cumsum(histogram[::-1])[::-1]
    values = np.arange(len(histogram)) + lowest
    inside = int(np.flatnonzero(from_top >= count)[-1]) if count else len(histogram)
    kept = flat > inside + lowest
    spare = count - int(kept.sum())
    if spare:
        kept[np.flatnonzero(flat == inside + lowest)[:spare]] = True
    chosen = np.flatnonzero(kept)
    table = 2.0 ** (values / STEPS_PER_OCTAVE)
    index = (flat - lowest).astype(np.int64)
    sent = np.bincount(index[chosen], minlength=len(histogram))
    power = _water_filling(table, sent, 10 ** (-design_snr_db / 10))
    amplitude = (np.sqrt(power) / table).astype(np.float32)
    return Plan(chosen, amplitude[index[chosen]], (table**2).astype(np.float32)[index])


def _water_filling(deviation: np.ndarray, count: np.ndarray, noise: float) -> np.ndarray:
    """Power of coefficients of each standard deviation (ascending), of mean 1 over all that are counted."""
    power = np.zeros_like(deviation)
    for start in range(len(deviation)):
        served = count[start:].sum()
        if not count[start] or not served:
            continue
        level = (count.sum() + served * noise) / (count[start:] @ deviation[start:])
        if level * deviation[start] > noise:
            power[start:] = level * deviation[start:] - noise
            break
    return power


def estimate(plan: Plan, received: np.ndarray, noise: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """What the receiver makes of the analog symbols: linear MMSE estimates of all coefficients, and their expected squared error.

    Args:
        plan: as at the transmitter.
        received: real symbols ``(M,)``, scaled as `plan` says.
        noise: their noise variance.

    Returns:
        Two arrays float32, flat as `Plan.size`.
    """
    values, left = np.zeros_like(plan.size), plan.size.copy()
    size = plan.size[plan.chosen]
    power = plan.amplitude**2 * size
    share = 1 / (power + noise)
    values[plan.chosen] = plan.amplitude * size * share * received
    left[plan.chosen] = size * noise * share
    return values, left


def expected_error(plan: Plan, coefficients: np.ndarray, noise: float) -> float:
    """Mean squared error of what `estimate` makes of these very coefficients, expected over the noise.

    Args:
        plan: of the analog layer.
        coefficients: all of them, flat as `Plan.size`.
        noise: variance of the noise, as for `estimate`.
    """
    size, sent = plan.size[plan.chosen], coefficients[plan.chosen]
    factor = plan.amplitude * size / (plan.amplitude**2 * size + noise)
    total = np.sum(coefficients**2) - np.sum(sent**2)
    total += np.sum(((1 - factor * plan.amplitude) * sent) ** 2) + noise * np.sum(factor**2)
    return float(total) / len(coefficients)
