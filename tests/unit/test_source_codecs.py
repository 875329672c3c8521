"""Source codecs: round trips at every size, damage, what is refused, and files fitted into budgets."""

from __future__ import annotations

import io
import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openjscc.digital.source import SOURCE_CODECS, Jpeg, RateControl, SourceCodec, WebP, source_codec
from openjscc.errors import IntegrityError, OpenJSCCError, UsageError
from openjscc.stopwatch import timing

SIZES = [(1, 1), (1, 100), (7, 5), (8, 8), (9, 16), (32, 32), (33, 17), (130, 70)]
CODECS = [Jpeg(), WebP(), source_codec("bpg", preset="ultrafast"), source_codec("bpg", chroma="420", preset="medium")]


def named(codec: SourceCodec) -> str:
    return f"{codec.name}{getattr(codec, 'chroma', '')}"


def smooth(height: int, width: int) -> np.ndarray:
    """A picture of slow waves in all three channels."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 19 + y / 27), 128 + 90 * np.cos(y / 21), 128 + 60 * np.sin((x + y) / 23)]
    return np.rint(np.stack(waves, axis=2)).astype(np.uint8)


def natural(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise with a spectrum somewhat like that of a photograph."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    field = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) / (frequency + 0.01)[..., None] ** 1.2, axes=(0, 1)).real
    return np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(max(1e-12, np.mean((a.astype(np.float64) - b) ** 2) / 255**2))


@pytest.mark.parametrize("codec", CODECS, ids=named)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_round_trip(codec: SourceCodec, size: tuple[int, int]) -> None:
    picture = smooth(*size)
    for quality in (codec.qualities[0], codec.qualities[len(codec.qualities) * 3 // 4], codec.qualities[-1]):
        data = codec.encode(picture, quality)
        shown = codec.decode(data, *size)
        assert shown.shape == picture.shape
        assert shown.dtype == np.uint8
        assert np.array_equal(codec.decode(data + bytes(9), *size), shown)
        assert codec.encode(picture, quality) == data
    assert psnr(picture, shown) > (42 if size > (1, 100) else 35)


@pytest.mark.parametrize("codec", CODECS, ids=named)
def test_more_bytes_show_more(codec: SourceCodec) -> None:
    picture = natural(96, 128)
    chosen = [codec.qualities[round(share * (len(codec.qualities) - 1))] for share in (0, 0.25, 0.5, 0.75, 1)]
    files = [codec.encode(picture, quality) for quality in chosen]
    quality = [psnr(picture, codec.decode(data, 96, 128)) for data in files]
    assert all(len(a) < len(b) for a, b in itertools.pairwise(files))
    assert all(a < b for a, b in itertools.pairwise(quality))
    steps = [codec.log_size(q) for q in codec.qualities]
    assert all(a <= b for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("codec", CODECS, ids=named)
def test_truncated_files_and_other_sizes_are_refused(codec: SourceCodec) -> None:
    picture = natural(40, 56)
    for quality in (codec.qualities[len(codec.qualities) // 3], codec.qualities[-1]):
        data = codec.encode(picture, quality)
        end = len(data.rstrip(b"\0"))
        for stop in (*range(min(60, end)), *range(60, end, 37), end - 1):
            with pytest.raises(IntegrityError):
                codec.decode(data[:stop], 40, 56)
        for size in ((40, 55), (41, 56), (56, 40), (1, 1), (4000, 5600)):
            with pytest.raises(IntegrityError):
                codec.decode(data, *size)
    for other in (b"", b"\0", bytes(50), b"\xff\xd8", b"\xff" * 80, b"RIFF", bytes(range(256))):
        with pytest.raises(IntegrityError):
            codec.decode(other, 40, 56)


@pytest.mark.parametrize("codec", CODECS, ids=named)
@settings(max_examples=120, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4), start=st.booleans()
)
def test_damaged_files_are_refused_or_shown(codec: SourceCodec, flips: list[tuple[float, int]], start: bool) -> None:
    data = bytearray(_file(codec))
    for place, change in flips:
        data[int(place * (min(len(data), 40) if start else len(data)))] ^= change
    try:
        shown = codec.decode(bytes(data), 40, 56)
    except IntegrityError:
        return
    assert shown.shape == (40, 56, 3)


@pytest.mark.parametrize("codec", CODECS, ids=named)
@settings(max_examples=60, deadline=None)
@given(rest=st.binary(max_size=200), kept=st.integers(0, 40))
def test_invented_files_are_refused_or_shown(codec: SourceCodec, rest: bytes, kept: int) -> None:
    try:
        shown = codec.decode(_file(codec)[:kept] + rest, 40, 56)
    except IntegrityError:
        return
    assert shown.shape == (40, 56, 3)


_FILES: dict[str, bytes] = {}


def _file(codec: SourceCodec) -> bytes:
    if named(codec) not in _FILES:
        _FILES[named(codec)] = codec.encode(natural(40, 56), codec.qualities[len(codec.qualities) // 3])
    return _FILES[named(codec)]


@pytest.mark.parametrize("codec", CODECS, ids=named)
def test_what_is_refused(codec: SourceCodec) -> None:
    picture = smooth(8, 8)
    for bad in (picture.astype(np.float32), picture[..., 0], picture[..., :2], picture[:0], picture.tolist()):
        with pytest.raises(UsageError, match="picture of"):
            codec.encode(bad, codec.qualities[0])  # pyright: ignore[reportArgumentType]
    for quality in (codec.qualities[0] - 1, codec.qualities[-1] + 1, 10.5, True):
        with pytest.raises(UsageError, match="quality"):
            codec.encode(picture, quality)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="does not fit"):
        codec.encode(np.zeros((1, 70000, 3), np.uint8), codec.qualities[0])


def test_views_are_encoded_as_what_they_show() -> None:
    picture = natural(48, 64)
    for codec in CODECS:
        quality = codec.qualities[len(codec.qualities) // 2]
        turned = picture[::-1, ::2]
        assert codec.encode(turned, quality) == codec.encode(np.ascontiguousarray(turned), quality)


def test_codecs_by_name() -> None:
    assert {name: source_codec(name).name for name in SOURCE_CODECS} == {"jpeg": "jpeg", "webp": "webp", "bpg": "bpg"}
    for name, options, words in (
        ("jpg", {}, "jpeg"),
        ("jpeg", {"chroma": "444"}, "no options"),
        ("bpg", {"chrome": "444"}, "chroma"),
        ("bpg", {"chroma": "422"}, "420"),
        ("bpg", {"preset": "slowly"}, "slow"),
    ):
        with pytest.raises(UsageError, match=words):
            source_codec(name, **options)


def test_versions_name_the_tools() -> None:
    versions = {codec.name: codec.version for codec in CODECS}
    assert versions["jpeg"].startswith("libjpeg")
    assert "tables agreed beforehand where shorter" in versions["jpeg"]
    assert versions["webp"].startswith("libwebp ")
    assert versions["bpg"].startswith("x265 ")
    assert versions["bpg"].endswith("BPG 4:2:0 medium")
    assert "unknown" not in versions["bpg"]


def test_the_short_jpeg_shows_the_same_pixels_as_its_file() -> None:
    codec = Jpeg()
    for size, quality in itertools.product([(32, 32), (1, 1), (17, 300)], (1, 10, 49, 50, 95, 100)):
        picture = natural(*size)
        short = codec.short(picture, quality)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(io.BytesIO(file.getvalue())) as image:
            assert np.array_equal(codec.decode(short, *size), np.array(image))
        assert short[0] == quality
        size_bytes = sum(1 if side < 128 else 2 for side in size)
        scan = file.getvalue()[file.getvalue().index(b"\xff\xda") + 14 :]  # the segment SOS has 12 bytes and its marker
        assert short[1 + size_bytes :] == scan


def test_jpeg_counts_its_tables_where_they_pay() -> None:
    codec = Jpeg()
    small, large = natural(32, 32), natural(512, 512)
    assert codec.encode(small, 10) == codec.short(small, 10)
    assert len(codec.encode(small, 10)) < 200 < 540 < len(codec.full(small, 10))
    assert codec.encode(large, 75) == codec.full(large, 75)
    assert len(codec.full(large, 75)) < len(codec.short(large, 75))


class Counting(SourceCodec):
    """Files of a given size for each quality; what was encoded is noted."""

    name = "counting"

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.qualities, self.made = sizes, range(len(sizes)), []
        self.lock = threading.Lock()

    version = "1"

    def encode(self, picture: np.ndarray, quality: int) -> bytes:
        with self.lock:
            self.made.append((picture.tobytes(), quality))
        return bytes(self.sizes[quality])

    def decode(self, data: bytes, height: int, width: int) -> np.ndarray:
        return np.full((height, width, 3), 100, np.uint8)

    def log_size(self, quality: int) -> float:
        return 0.1 * quality


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(st.integers(0, 300), min_size=1, max_size=110), budget=st.integers(0, 20000))
def test_rising_sizes_give_the_highest_quality_that_fits(steps: list[int], budget: int) -> None:
    sizes = list(itertools.accumulate(steps))
    control = RateControl(Counting(sizes))
    fitted = control.fit(smooth(2, 2), budget)
    fitting = [quality for quality, size in enumerate(sizes) if size <= budget]
    assert (fitted.quality if fitted else None) == (fitting[-1] if fitting else None)
    assert fitted is None or len(fitted.data) == sizes[fitted.quality]
    assert control.encodes <= len(sizes).bit_length() + 3


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=60),
    budgets=st.lists(st.integers(-1, 1100), min_size=1, max_size=5),
)
def test_any_sizes_give_a_file_that_fits_whatever_was_asked_before(sizes: list[int], budgets: list[int]) -> None:
    codec = Counting(sizes)
    control, picture = RateControl(codec), smooth(2, 2)
    for budget in budgets:
        fitted = control.fit(picture, budget)
        assert fitted == RateControl(Counting(sizes)).fit(picture, budget)
        if fitted:
            assert sizes[fitted.quality] <= budget
            assert fitted.quality + 1 == len(sizes) or sizes[fitted.quality + 1] > budget
        else:
            assert sizes[0] > budget
    assert len(set(codec.made)) == len(codec.made) == control.encodes


@settings(max_examples=200, deadline=None)
@given(off=st.integers(-4, 4), budget=st.integers(10, 9000))
def test_a_hasty_search_ends_where_the_next_file_would_not_fit(off: int, budget: int) -> None:
    sizes = [round(30 * 1.1**quality) for quality in range(60)]  # a step of e^0.1, as expected, but for rounding
    control = RateControl(Counting(sizes))
    best = max((quality for quality, size in enumerate(sizes) if size <= budget), default=None)
    fitted = control.fit(smooth(2, 2), budget, (best or 0) + off)
    if best is None:
        assert fitted is None
        return
    assert fitted is not None
    assert best - 1 <= fitted.quality <= best
    assert control.encodes <= (1 if off == 0 else 3)


@pytest.mark.parametrize("codec", CODECS[:3], ids=named)
def test_budgets_of_a_sweep(codec: SourceCodec) -> None:
    picture, control = natural(128, 192), RateControl(codec)
    budgets = [600, 1000, 1500, 2500, 4000, 6000, 9000, 15000]
    for budget in budgets:
        fitted = control.fit(picture, budget)
        assert fitted is not None
        assert len(fitted.data) <= budget
        if fitted.quality < codec.qualities[-1]:
            assert len(codec.encode(picture, fitted.quality + 1)) > budget
        assert control.psnr(picture, fitted.quality) == pytest.approx(psnr(picture, codec.decode(fitted.data, 128, 192)))
    assert control.encodes <= 4 * len(budgets)
    before = control.encodes
    assert [control.fit(picture.copy(), budget) for budget in budgets]
    assert control.encodes == before
    assert control.fit(picture, 8) is None
    assert control.fit(picture, 10**9) is not None


def test_the_cache_is_bounded() -> None:
    codec = Counting([1000] * 4)
    control = RateControl(codec, cache_bytes=2600)
    for seed in (0, 1, 2, 0, 2):
        assert control.fit(natural(4, 4, seed), 1000)
    assert control.encodes > 3
    assert control._cache.bytes <= 2600


def test_pictures_of_the_same_bytes_but_another_shape_are_two() -> None:
    codec = Counting([10])
    control, picture = RateControl(codec), smooth(4, 6)
    control.fit(picture, 10)
    control.fit(picture.reshape(6, 4, 3), 10)
    assert control.encodes == 2


def test_threads_make_each_file_once() -> None:
    codec = Counting(list(range(0, 3000, 10)))
    control = RateControl(codec)
    pictures = [natural(4, 4, seed) for seed in range(5)]
    with ThreadPoolExecutor(8) as pool:
        fitted = list(pool.map(lambda job: control.fit(pictures[job % 5], 10 * (job % 7) + 700), range(300)))
    assert all(item and len(item.data) == 10 * (job % 7) + 700 for job, item in enumerate(fitted))
    assert len(set(codec.made)) == len(codec.made) == control.encodes


def test_what_is_found_counts_with_the_time_that_it_took() -> None:
    class Slow(Counting):
        def encode(self, picture: np.ndarray, quality: int) -> bytes:
            time.sleep(0.02)
            return super().encode(picture, quality)

    codec = Slow(list(range(0, 3000, 10)))
    control, picture = RateControl(codec), natural(4, 4)
    with timing() as first:
        assert control.estimate(picture, 1234) is not None
        assert control.fit(picture, 1234) is not None
    made = len(codec.made)
    assert made > 4
    assert first.spared == 0, "what it made itself is not spared"
    with timing() as again:
        control.estimate(picture, 1234)
        control.fit(picture, 1234)
        control.fit(picture, 1234)
    assert len(codec.made) == made
    took = sum(entry.seconds for entry in control._cache._kept.values())
    assert 0.02 * made <= again.spared <= took, "each file once"
    control.fit(picture, 1234)  # nobody measures


def test_waiting_for_another_thread_is_not_credited_twice() -> None:
    begun = threading.Event()

    class Slow(Counting):
        def encode(self, picture: np.ndarray, quality: int) -> bytes:
            begun.set()
            time.sleep(0.4)
            return super().encode(picture, quality)

    control, picture = RateControl(Slow([10])), natural(4, 4)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(control.fit, picture, 10)
        begun.wait()
        start = time.perf_counter()
        with timing() as watch:
            control.fit(picture, 10)
        whole = time.perf_counter() - start + watch.spared
        assert other.result() is not None
    assert 0.2 < whole < 0.75


def test_an_error_does_not_stay() -> None:
    class Failing(Counting):
        def encode(self, picture: np.ndarray, quality: int) -> bytes:
            if not self.made:
                self.made.append((b"", 0))
                raise OpenJSCCError("once")
            return super().encode(picture, quality)

    control = RateControl(Failing([10]))
    with pytest.raises(OpenJSCCError, match="once"):
        control.fit(smooth(2, 2), 10)
    assert control.fit(smooth(2, 2), 10) is not None
    assert control.psnr(np.full((2, 2, 3), 100, np.uint8), 0) == math.inf
