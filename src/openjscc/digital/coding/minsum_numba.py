"""The compiled decoder: one block at a time, vectorised along the circulants, blocks spread over threads.

The values of a block column are kept rotated by the shift of the check row that used it last, and twice in a row: then what the
next row needs is one contiguous run, whatever its shift. All messages of a block stay in the first or second level cache.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.core import config
from numba.core.caching import FunctionCache

from .schedule import CERTAIN, LARGEST_MINIMUM, SCALE_SHIFT, UNIT, Schedule

LANES = 32
"""Values per step of the inner loops; the compiler turns a step into one or a few vector instructions."""
UNIT_BITS = UNIT.bit_length()
_INT16 = np.int16


class _Cache(FunctionCache):
    """numba's folder of machine code, which a full disk or a damaged file makes slow instead of an error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling may raise anything
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception):
            super().save_overload(sig, data)


def _compiled(function: Callable[..., Any]) -> Any:
    """``function``, compiled when it is first called. Other processes find the machine code where a folder can be written."""
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    at_home = os.path.isabs(os.path.expanduser("~"))  # where no home is known, numba makes a folder that is named ~
    named = config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
    if at_home or named or os.access(os.path.dirname(__file__), os.W_OK):
        with contextlib.suppress(RuntimeError, OSError):  # no such folder
            compiled._cache = _Cache(function)  # pyright: ignore[reportAttributeAccessIssue]
    return compiled


@_compiled
def _quantise(llr, start, sent, total):
    """LLRs of one block to its integers int32 ``(block_columns * Z,)`` in ``total``."""
    exponents, count = 0, 0
    for value in llr:
        if np.isfinite(value) and value != 0:
            exponents += math.frexp(np.float64(value))[1]
            count += 1
    scale = 1.0
    if count:
        scale = math.ldexp(1.0, UNIT_BITS - (2 * exponents + count) // (2 * count))
    for i in range(total.size):
        total[i] = start[i]
    for i in range(llr.size):
        value = np.float64(llr[i]) * scale
        if value == value:
            total[sent[i]] += np.int32(np.rint(min(max(value, -CERTAIN), CERTAIN)))
    for i in range(total.size):
        total[i] = min(max(total[i], -CERTAIN), CERTAIN)


@_compiled
def _layer(value, message, work, z, steps, first, last, columns, turn, factor):
    """One block row of checks: entries ``first`` to ``last``. ``work``: least, second, signs; messages; new values."""
    for s in range(steps):
        for j in range(LANES):
            work[0, s * LANES + j] = LARGEST_MINIMUM
            work[1, s * LANES + j] = LARGEST_MINIMUM
            work[2, s * LANES + j] = 0
    for e in range(first, last):
        run = value[columns[e], turn[e] :]
        own = message[e]
        for s in range(steps):
            for j in range(LANES):
                i = s * LANES + j
                t = _INT16(run[i] - own[i])
                own[i] = t
                magnitude = _INT16(abs(t))
                least = work[0, i]
                work[1, i] = min(work[1, i], max(least, magnitude))
                work[0, i] = min(least, magnitude)
                work[2, i] ^= t
    for s in range(steps):
        for j in range(LANES):
            i = s * LANES + j
            work[3, i] = _INT16(_INT16(work[0, i] * factor) >> SCALE_SHIFT)
            work[4, i] = _INT16(_INT16(work[1, i] * factor) >> SCALE_SHIFT)
    for e in range(first, last):
        run = value[columns[e]]
        own = message[e]
        for s in range(steps):
            for j in range(LANES):
                i = s * LANES + j
                t = own[i]
                least, second = work[3, i], work[4, i]
                new = second if _INT16(abs(t)) == work[0, i] else least
                sign = _INT16(_INT16(work[2, i] ^ t) >> 15)
                new = _INT16(_INT16(new ^ sign) - sign)
                own[i] = new
                t = _INT16(t + new)
                run[i] = t
                work[5, i] = t
        tail = value[columns[e], z:]
        for s in range(steps):
            for j in range(LANES):
                tail[s * LANES + j] = work[5, s * LANES + j]


@_compiled
def _holds(value, parity, z, steps, row_start, columns, check_turn):
    """Whether all checks hold."""
    for r in range(row_start.size - 1):
        for i in range(steps * LANES):
            parity[i] = 0
        for e in range(row_start[r], row_start[r + 1]):
            run = value[columns[e], check_turn[e] :]
            for s in range(steps):
                for j in range(LANES):
                    parity[s * LANES + j] ^= run[s * LANES + j]
        wrong = _INT16(0)
        for i in range(z):
            wrong |= parity[i]
        if wrong < 0:
            return False
    return True


@_compiled
def _decode(llr, z, factor, k, start, sent, row_start, columns, turn, check_turn, last, iterations, bits, ok):
    """Blocks ``llr`` float32 ``(B, n)`` into ``bits`` and ``ok``."""
    block_columns = start.size // z
    steps = (z + LANES - 1) // LANES
    value = np.zeros((block_columns, 2 * z + steps * LANES), np.int16)
    message = np.zeros((columns.size, steps * LANES), np.int16)
    work = np.zeros((6, steps * LANES), np.int16)
    parity = np.zeros(steps * LANES, np.int16)
    total = np.empty(start.size, np.int32)
    for b in range(len(llr)):
        _quantise(llr[b], start, sent, total)
        for c in range(block_columns):
            for i in range(z):
                at = i - last[c] if i >= last[c] else i - last[c] + z
                value[c, at] = value[c, at + z] = total[c * z + i]
        for e in range(columns.size):
            for i in range(steps * LANES):
                message[e, i] = 0
        done = False
        for iteration in range(iterations + 1):
            if _holds(value, parity, z, steps, row_start, columns, check_turn):
                done = True
                for c in range((k + z - 1) // z):
                    run = value[c, z - last[c] :]
                    for i in range(min(z, k - c * z)):
                        done &= run[i] != 0
            if done or iteration == iterations:
                break
            for r in range(row_start.size - 1):
                _layer(value, message, work, z, steps, row_start[r], row_start[r + 1], columns, turn, factor)
        for c in range((k + z - 1) // z):
            run = value[c, z - last[c] :]
            decided = bits[b, c * z :]
            for i in range(min(z, k - c * z)):
                decided[i] = run[i] < 0
        ok[b] = done


def threads() -> int:
    """Threads to decode with: numba's number, at most OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    count = int(config.NUMBA_NUM_THREADS)  # pyright: ignore[reportAttributeAccessIssue]
    return max(min(count, int(limit)), 1) if limit.isdigit() else count


def decode(schedule: Schedule, llr: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """bits uint8 ``(B, k)`` and ok bool ``(B,)`` of LLRs float32 ``(B, n)``."""
    bits = np.empty((len(llr), schedule.k), dtype=np.uint8)
    ok = np.empty(len(llr), dtype=np.bool_)

    def part(chunk: slice) -> None:
        _decode(
            llr[chunk],
            schedule.z,
            np.int16(schedule.factor),
            schedule.k,
            schedule.start.ravel(),
            schedule.sent,
            schedule.row_start,
            schedule.columns,
            schedule.turn,
            schedule.check_turn,
            schedule.last,
            iterations,
            bits[chunk],
            ok[chunk],
        )

    workers = threads()
    size = max(min(-(-len(llr) // (4 * workers)), 64), 1)
    chunks = [slice(at, at + size) for at in range(0, len(llr), size)]
    if workers == 1 or len(chunks) <= 1:
        for chunk in chunks:
            part(chunk)
    else:
        with ThreadPoolExecutor(min(workers, len(chunks))) as pool:
            list(pool.map(part, chunks))
    return bits, ok
