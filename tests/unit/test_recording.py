"""Recordings: what is written comes back, as a stream too; whatever else is there is refused in one line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from openjscc.errors import IntegrityError, MissingError, OpenJSCCError, UsageError
from openjscc.recording import ARCHIVE, ARRAY, DATA, META, Burst, load_frame, load_frames, save_frames

sigmf = pytest.importorskip("sigmf")


def symbols(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return values.view(np.complex64)[:, 0]


FULL = Burst(
    symbols(50),
    gain=np.array([0.3 - 1.1j], dtype=np.complex64),
    noise_var=0.123456789,
    label="café.png",
    system="adjscc.photo",
    agreed=True,
    draw="ab" * 32,
    channel={"channel": "rayleigh:block", "snr_db": 7.5, "seed": 3, "trial": 2},
)


def same(one: Burst, other: Burst) -> bool:
    gains = (one.gain is None) == (other.gain is None) and (
        one.gain is None or other.gain is None or np.array_equal(one.gain, other.gain)
    )
    facts = ("noise_var", "label", "system", "agreed", "draw", "channel", "framed")
    return (
        gains and np.array_equal(one.symbols, other.symbols) and all(getattr(one, fact) == getattr(other, fact) for fact in facts)
    )


@pytest.mark.parametrize("suffix", [META, ARCHIVE])
def test_frames_come_back(tmp_path: Path, suffix: str):
    bursts = [FULL, Burst(symbols(7, 1), label="b"), FULL.replace(symbols=symbols(300, 2))]
    path = tmp_path / f"frames{suffix}"
    assert save_frames(path, iter(bursts)) == 3
    found = list(load_frames(path))
    assert [same(one, other) for one, other in zip(bursts, found, strict=True)] == [True] * 3


@pytest.mark.parametrize("suffix", [META, ARCHIVE])
def test_a_gain_for_every_symbol_is_a_second_channel(tmp_path: Path, suffix: str):
    bursts = [FULL.replace(gain=symbols(50, 4)), FULL.replace(symbols=symbols(9), gain=symbols(9, 5))]
    path = tmp_path / f"frames{suffix}"
    save_frames(path, bursts)
    assert all(same(one, other) for one, other in zip(bursts, load_frames(path), strict=True))


def test_the_library_reads_what_is_written(tmp_path: Path):
    path = tmp_path / f"frame{META}"
    save_frames(path, [FULL.replace(gain=None)])
    read = sigmf.fromfile(str(path))
    read.validate()
    assert np.array_equal(read.read_samples(), FULL.symbols)
    assert read.get_annotations()[0]["core:sample_count"] == 50
    assert read.get_annotations()[0]["openjscc:noise_var"] == FULL.noise_var


def test_an_array_holds_samples_alone(tmp_path: Path):
    path = tmp_path / f"frames{ARRAY}"
    save_frames(path, [Burst(symbols(5)), Burst(symbols(6, 1))])
    assert np.array_equal(np.load(path), np.concatenate([symbols(5), symbols(6, 1)]))
    (burst,) = load_frames(path)
    assert not burst.framed
    np.save(path, np.stack([symbols(5), symbols(5, 1)]))
    assert [len(burst.symbols) for burst in load_frames(path)] == [5, 5]
    with pytest.raises(UsageError, match="gains"):
        save_frames(path, [FULL], overwrite=True)
    assert len(np.load(path)) == 2  # what was there is still there


def test_recordings_of_others_are_one_stream(tmp_path: Path):
    path = tmp_path / f"other{META}"
    content = {"global": {"core:datatype": "cf32_le", "core:version": "1.0.0"}, "captures": [], "annotations": []}
    path.write_text(json.dumps(content))
    path.with_suffix(DATA).write_bytes(symbols(20).tobytes())
    (burst,) = load_frames(path)
    assert not burst.framed
    assert np.array_equal(burst.symbols, symbols(20))


def test_frames_are_written_as_they_come(tmp_path: Path):
    """A generator of frames is asked for the next one when the last is written: no two are held."""
    held = 0

    def frames():
        nonlocal held
        for number in range(5):
            held += 1
            yield Burst(symbols(1000, number))
            held -= 1
            assert held == 0

    for suffix in (META, ARCHIVE, ARRAY):
        assert save_frames(tmp_path / f"x{suffix}", frames()) == 5


def test_what_exists_is_kept(tmp_path: Path):
    path = tmp_path / f"frame{META}"
    save_frames(path, [FULL])
    before = path.read_bytes(), path.with_suffix(DATA).read_bytes()
    with pytest.raises(UsageError, match="exists"):
        save_frames(path, [Burst(symbols(3))])

    def broken():
        yield Burst(symbols(3))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        save_frames(path, broken(), overwrite=True)
    assert (path.read_bytes(), path.with_suffix(DATA).read_bytes()) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"frame{DATA}", f"frame{META}"]


def written(folder: Path) -> Path:
    path = folder / f"frame{META}"
    save_frames(path, [FULL, FULL], overwrite=True)
    return path


def changed(path: Path, change) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_no_recording(tmp_path: Path):
    with pytest.raises(UsageError, match="no recording"):
        load_frames(tmp_path / "photo.png")
    with pytest.raises(MissingError, match="no recording"):
        load_frames(tmp_path / f"none{META}")
    path = written(tmp_path)
    path.with_suffix(DATA).unlink()
    with pytest.raises(MissingError, match="no samples"):
        list(load_frames(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["annotations"][1].update({"core:sample_count": 51}),
        lambda content: content["annotations"][0].update({"core:sample_start": 10**30}),
        lambda content: content["annotations"][0].update({"core:sample_start": 1.0}),
        lambda content: content["annotations"][0].update({"core:sample_count": 49.0}),
        lambda content: content["annotations"][0].update({"core:sample_count": True}),
        lambda content: content["annotations"][1].update({"core:sample_start": 49}),
        lambda content: content["annotations"][1].update({"core:sample_start": 0}),
        lambda content: content["annotations"][0].update({"openjscc:gain": [True, 0.0]}),
        lambda content: content["annotations"][0].update({"openjscc:framed": 0}),
        lambda content: content["annotations"][0].update({"openjscc:draw": "a" * 5000}),
        lambda content: content["annotations"][0].update({"openjscc:noise_var": "loud"}),
        lambda content: content["annotations"][0].update({"openjscc:noise_var": -1.0}),
        lambda content: content["annotations"][0].update({"openjscc:noise_var": 10**400}),
        lambda content: content["annotations"][0].update({"openjscc:gain": [1.0]}),
        lambda content: content["annotations"][0].update({"openjscc:gain": ["a", None]}),
        lambda content: content["annotations"][0].update({"openjscc:system": 5}),
        lambda content: content["global"].update({"core:num_channels": 3}),
        lambda content: content.pop("annotations"),
    ],
)
def test_damaged_metadata(tmp_path: Path, change):
    path = changed(written(tmp_path), change)
    with pytest.raises(IntegrityError) as found:
        list(load_frames(path))
    assert found.value.hint


def test_other_samples(tmp_path: Path):
    path = changed(written(tmp_path), lambda content: content["global"].update({"core:datatype": "ci16_le"}))
    with pytest.raises(UsageError, match="ci16_le"):
        list(load_frames(path))
    array = tmp_path / f"x{ARRAY}"
    np.save(array, np.zeros(5, dtype=np.int16))
    with pytest.raises(UsageError, match="int16"):
        list(load_frames(array))


def test_truncated_samples(tmp_path: Path):
    path = written(tmp_path)
    data = path.with_suffix(DATA)
    data.write_bytes(data.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match="truncated"):
        list(load_frames(path))
    data.write_bytes(data.read_bytes()[:-3])
    with pytest.raises(IntegrityError, match="truncated"):
        list(load_frames(path))


def test_truncated_archive_and_array(tmp_path: Path):
    for suffix in (ARCHIVE, ARRAY):
        path = tmp_path / f"frames{suffix}"
        save_frames(path, [Burst(symbols(3000)), Burst(symbols(3000))])
        path.write_bytes(path.read_bytes()[:30000])
        with pytest.raises(IntegrityError):
            list(load_frames(path))


def test_an_archive_that_claims_much(tmp_path: Path):
    path = tmp_path / f"x{ARCHIVE}"
    member = tarfile.TarInfo(f"a{META}")
    member.size = 2**40
    path.write_bytes(member.tobuf() + bytes(2048))
    with pytest.raises(IntegrityError, match="claims"):
        list(load_frames(path))


def test_pickles_are_not_loaded(tmp_path: Path):
    path = tmp_path / f"x{ARRAY}"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(OpenJSCCError):
        list(load_frames(path))


@pytest.mark.parametrize("suffix", [META, ARCHIVE, ARRAY])
def test_mutations_end_in_an_error_of_ours(tmp_path: Path, suffix: str):
    """Any bytes changed, cut or added: frames, or one of the documented errors."""
    path = tmp_path / f"frames{suffix}"
    save_frames(path, [FULL.replace(gain=None)] * 2)
    content = path.read_bytes()
    random = np.random.default_rng(5)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 6)):
            place = int(random.integers(len(damaged)))
            match random.integers(3):
                case 0:
                    damaged[place] = int(random.integers(256))
                case 1:
                    del damaged[place : place + int(random.integers(1, 40))]
                case _:
                    damaged[place:place] = bytes(random.integers(0, 256, 5, dtype=np.uint8))
        path.write_bytes(bytes(damaged))
        try:
            list(load_frames(path))
            outcomes.add("read")
        except OpenJSCCError as error:
            outcomes.add(type(error).__name__ if error.hint else "no hint")
    assert "IntegrityError" in outcomes
    assert "no hint" not in outcomes


def test_a_pipe_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / f"x{ARCHIVE}"
    save_frames(path, [FULL])

    class Standard:
        buffer = io.BytesIO(path.read_bytes())

    monkeypatch.setattr("sys.stdin", Standard)
    assert [same(FULL, burst) for burst in load_frames("-")] == [True]


def test_several_frames_in_one_stay_several(tmp_path: Path):
    for suffix in (META, ARCHIVE):
        path = tmp_path / f"x{suffix}"
        save_frames(path, Burst(symbols(20), noise_var=0.5, framed=False))
        (burst,) = load_frame(path)
        assert (burst.framed, burst.noise_var) == (False, 0.5)


def test_a_frame_has_symbols(tmp_path: Path):
    for wrong in (np.zeros(0), np.zeros((2, 3))):
        with pytest.raises(UsageError, match="a frame of shape"):
            save_frames(tmp_path / f"x{META}", Burst(wrong))
    assert not list(tmp_path.iterdir())


def test_a_damaged_archive_is_not_a_shorter_one(tmp_path: Path):
    """The tarfile module takes a damaged header after the first for the end."""
    path = tmp_path / f"x{ARCHIVE}"
    save_frames(path, [FULL, FULL])
    content = path.read_bytes()
    half = (len(content) - 1024) // 2
    for damaged in (content[: half + 10] + b"\xff" + content[half + 11 :], content[:half], content[: half + 100]):
        path.write_bytes(damaged)
        frames = load_frames(path)
        assert same(next(frames), FULL)
        with pytest.raises(IntegrityError, match=r"damaged|truncated"):
            next(frames)


def test_what_is_written_is_valid(tmp_path: Path):
    """By the schema of the SigMF library, an archive too, which it writes with the samples first."""
    path = tmp_path / f"x{META}"
    save_frames(path, [FULL, FULL.replace(framed=False)])
    sigmf.fromfile(str(path)).validate()
    sigmf.fromfile(str(path)).archive(str(tmp_path / f"other{ARCHIVE}"))
    assert len(load_frame(tmp_path / f"other{ARCHIVE}")) == 2
    save_frames(tmp_path / f"y{ARCHIVE}", FULL)
    assert len(sigmf.fromfile(str(tmp_path / f"y{ARCHIVE}")).get_annotations()) == 1


def test_damaged_samples_are_read_once_they_are_needed(tmp_path: Path):
    path = written(tmp_path)
    frames = load_frames(path)
    next(frames)
    with path.with_suffix(DATA).open("r+b") as stream:
        stream.truncate(400)
    with pytest.raises(IntegrityError, match="truncated"):
        next(frames)
