"""Plain arrays: complex64 samples of one frame after another in a ``.npy`` file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..errors import IntegrityError, UsageError
from .burst import ARRAY, META, SAMPLE, Burst, samples_of


def write_array(path: Path, bursts: Iterable[Burst]) -> int:
    count, length = 0, 0
    with path.open("xb") as stream:
        stream.write(_array_header(0))
        for burst in bursts:
            if burst.gain is not None:
                raise UsageError(f"gains in a {ARRAY} file", f"it holds symbols alone: write a {META} file")
            stream.write(samples_of(burst).tobytes())
            length += len(burst.symbols)
            count += 1
        stream.seek(0)
        stream.write(_array_header(length))
    return count


def _array_header(length: int) -> bytes:
    """The same size for every length: numpy leaves room for the digits of a growing first axis."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": SAMPLE.str, "fortran_order": False, "shape": (length,)})
    return header.getvalue()


def read_array(path: Path) -> Iterator[Burst]:
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # its header is parsed as Python text, with as many kinds of errors
        raise IntegrityError(f"{path} is no array, or truncated", "numpy.save of complex64 samples writes one") from None
    if not isinstance(samples, np.ndarray) or samples.dtype != SAMPLE or samples.ndim not in (1, 2) or not samples.size:
        kind = f"{samples.dtype} of shape {samples.shape}" if isinstance(samples, np.ndarray) else "several arrays"
        raise UsageError(f"{path}: {kind}", "give complex64 samples (k,), or one frame a row (frames, k)")
    if samples.ndim == 1:
        yield Burst(samples, framed=False)
    else:
        yield from (Burst(row, framed=False) for row in samples)
