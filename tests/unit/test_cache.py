"""The memory of results: bounded, safe for threads, made once. `test_source_codecs` has the credit to the stopwatch."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openjscc.cache import Cache


def ask(cache: Cache, *keys: int, size: int = 40) -> list[int]:
    """The keys for which a result was made."""
    made: list[int] = []
    for key in keys:
        assert cache.once(key, lambda key=key: made.append(key) or -key, lambda _: size) == -key
    return made


def test_the_least_recently_used_go_first() -> None:
    cache = Cache(100)
    assert ask(cache, 1, 2, 1, 3, 1, 2) == [1, 2, 3, 2]
    assert cache.bytes == 80
    assert ask(cache, 9, 9, size=101) == [9, 9], "larger than all that may be kept"
    assert ask(cache, 1, 2) == []


def test_the_first_ones_may_stay() -> None:
    cache = Cache(100, evict=False)
    assert ask(cache, 1, 2, 3, 3, 1, 2) == [1, 2, 3, 3]
    assert cache.bytes == 80
    assert ask(cache, 4, 4, size=20) == [4]


def test_threads_wait_for_the_first() -> None:
    cache, begun, go, made = Cache(100), threading.Event(), threading.Event(), []

    def make() -> int:
        made.append(0)
        begun.set()
        assert go.wait(10)
        return 7

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(cache.once, "key", make, lambda _: 1) for _ in range(4)]
        assert begun.wait(10)
        assert ask(cache, 1) == [1], "another key does not wait"
        go.set()
        assert [job.result() for job in jobs] == [7] * 4
    assert len(made) == 1


def test_an_error_is_not_kept() -> None:
    cache = Cache(100)
    with pytest.raises(ZeroDivisionError):
        cache.once(1, lambda: 1 // 0, lambda _: 1)
    assert ask(cache, 1) == [1]


def test_a_copy_in_another_process_starts_empty() -> None:
    cache = Cache(100, evict=False)
    ask(cache, 1)
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.most_bytes, copy.evict, copy.bytes) == (100, False, 0)
    assert ask(copy, 1) == [1]
