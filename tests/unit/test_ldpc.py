"""LDPC codes: the tables, the encoders, the two decoders, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openjscc.digital.coding import BlockCode, ieee80211n, newradio, nr, wifi
from openjscc.errors import UsageError

CODES = {
    "wifi 1/2": lambda: ieee80211n("1/2"),
    "wifi 2/3": lambda: ieee80211n("2/3"),
    "wifi 3/4": lambda: ieee80211n("3/4"),
    "wifi 5/6": lambda: ieee80211n("5/6"),
    "wifi shortened": lambda: ieee80211n("3/4", 700),
    "wifi shortened and punctured": lambda: ieee80211n("3/4", 768, 1024),
    "nr base graph 1": lambda: nr(4096, 6144, 4),
    "nr base graph 2": lambda: nr(500, 1000, 2),
    "nr high rate": lambda: nr(8448, 9216, 6),
    "nr repetition": lambda: nr(24, 400, 2),
    "nr small": lambda: nr(1, 8),
}


@pytest.fixture(params=CODES)
def code(request: pytest.FixtureRequest) -> BlockCode:
    return CODES[request.param]()


def random_bits(batch: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (batch, k), dtype=np.uint8)


def noisy(code: BlockCode, batch: int, snr_db: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Information bits, and the LLRs of antipodal signals at Es/N0 (real noise, variance half of N0)."""
    bits = random_bits(batch, code.k, seed)
    noise_var = 10 ** (-snr_db / 10) / 2
    received = 1 - 2.0 * code.encode(bits) + np.random.default_rng(seed + 1).normal(0, noise_var**0.5, (batch, code.n))
    return bits, (2 * received / noise_var).astype(np.float32)


# The tables


@pytest.mark.parametrize(("base", "entries", "first_parity"), [(1, 316, {0: 1, 1: 0, 3: 1}), (2, 197, {0: 0, 2: 1, 3: 0})])
def test_base_graph(base: int, entries: int, first_parity: dict[int, int]):
    rows, columns = newradio.SHAPE[base]
    information = columns - rows
    graph = newradio.graph(base, 384, 1)
    assert len(graph.rows) == entries
    present = np.zeros((rows, columns), dtype=bool)
    present[graph.rows, graph.columns] = True
    assert present.sum() == entries, "an entry occurs twice"
    # Core: the first parity column in three rows, then the double diagonal; below it one parity column for each row.
    core = present[:4, information : information + 4]
    assert core[:, 1:].tolist() == [[True, False, False], [True, True, False], [False, True, True], [False, False, True]]
    assert not present[:4, information + 4 :].any()
    assert np.array_equal(present[4:, information + 4 :], np.eye(rows - 4, dtype=bool))
    own = (graph.columns == information) & (graph.rows < 4)
    assert dict(zip(graph.rows[own].tolist(), graph.shifts[own].tolist(), strict=True)) == first_parity
    diagonal = (graph.columns > information) & (graph.rows < 4) | (graph.columns >= information + 4)
    assert not graph.shifts[diagonal].any()
    assert present.sum(0)[:2].tolist() == {1: [30, 28], 2: [22, 23]}[base]


@pytest.mark.parametrize("base", [1, 2])
def test_shifts_differ_between_the_lifting_sets(base: int):
    table = newradio._table(base)
    assert table.min() == 0
    for index, factor in enumerate(newradio.LIFTING_SETS):
        largest = max(factor << j for j in range(8) if factor << j <= 384)
        assert table[:, 2 + index].max() < largest


def test_lifting_sizes():
    sizes = {newradio.lifting(k, 1)[0] for k in range(1, 8449)}
    assert len(sizes) == 51
    assert newradio.lifting(4096, 1) == (192, 1)
    assert newradio.lifting(8448, 1) == (384, 1)
    assert newradio.lifting(3840, 2) == (384, 1)
    assert newradio.lifting(192, 2) == (32, 0)
    assert newradio.lifting(193, 2) == (26, 6)


@pytest.mark.parametrize(("rate", "entries"), [("1/2", 86), ("2/3", 88), ("3/4", 85), ("5/6", 79)])
def test_80211n_table(rate: str, entries: int):
    graph = wifi.graph(rate)
    assert (graph.block_rows, graph.block_columns, graph.z) == (wifi.RATES[rate], 24, 81)
    assert len(graph.rows) == entries
    first = graph.columns == graph.information_columns
    assert graph.shifts[first].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("k", "n", "base"),
    [(292, 300, 2), (293, 350, 1), (293, 440, 2), (3824, 5736, 2), (3825, 5736, 1), (3825, 15300, 2), (3840, 16000, 2)],
)
def test_choice_of_base_graph(k: int, n: int, base: int):
    assert newradio.base_graph(k, n) == base


# The encoder


def test_all_checks_hold(code: BlockCode):
    graph = code._graph
    bits = np.zeros((5, graph.information_columns * graph.z), dtype=np.uint8)
    bits[:, : code.k] = random_bits(5, code.k)
    codeword = graph.encode(bits)
    assert not graph.checks(codeword).any()
    assert np.array_equal(codeword[:, : bits.shape[1]], bits)
    assert np.array_equal(code.encode(bits[:, : code.k]), codeword[:, code.sent])


def test_80211n_is_systematic():
    for code in (ieee80211n("2/3"), ieee80211n("3/4", 768, 1024)):
        bits = random_bits(3, code.k)
        assert np.array_equal(code.encode(bits)[:, : code.k], bits)


def test_nr_sends_all_but_the_first_two_columns():
    code, z = nr(4096, 6144), 192
    bits = random_bits(3, code.k)
    assert np.array_equal(code.encode(bits)[:, : code.k - 2 * z], bits[:, 2 * z :])


def test_nr_interleaver():
    plain, mixed = nr(500, 1200), nr(500, 1200, 4)
    bits = random_bits(3, 500)
    rows = plain.encode(bits).reshape(3, 4, 300)
    assert np.array_equal(mixed.encode(bits), rows.transpose(0, 2, 1).reshape(3, 1200))


def test_nr_repetition_goes_round_the_buffer():
    code = nr(24, 400)
    length = len(np.unique(code.sent))
    assert length == 50 * 4 - 16  # Z = 4, and 40 - 24 filler bits
    coded = code.encode(random_bits(3, 24))
    assert np.array_equal(coded[:, length:], coded[:, : 400 - length])


def test_encoder_does_not_depend_on_the_batch():
    code = ieee80211n("1/2")
    bits = random_bits(150, code.k)
    assert np.array_equal(code.encode(bits)[130], code.encode(bits[130:131])[0])
    assert code.encode(bits[:0]).shape == (0, 1944)


# The decoder


def test_without_noise(code: BlockCode):
    bits = random_bits(6, code.k)
    decoded, ok = code.decode((1 - 2 * code.encode(bits).astype(np.float32)) * 3)
    assert ok.all()
    assert np.array_equal(decoded, bits)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("name", ["wifi 1/2", "wifi 5/6", "nr base graph 1", "nr base graph 2"])
def test_wrong_bits_are_corrected(name: str):
    code = CODES[name]()
    bits = random_bits(40, code.k)
    llr = 4 - 8 * code.encode(bits).astype(np.float32)
    for row in range(len(llr)):
        llr[row, row * code.n // 40] *= -1
    decoded, ok = code.decode(llr)
    assert ok.all()
    assert np.array_equal(decoded, bits)


THRESHOLD = {
    "wifi 1/2": -1.8,
    "wifi 3/4": 1.2,
    "wifi shortened and punctured": 1.6,
    "nr base graph 1": 0.1,
    "nr base graph 2": -1.9,
}
"""Es/N0 of antipodal signals where some blocks fail and some do not."""


@pytest.mark.parametrize("name", THRESHOLD)
def test_torch_gives_the_same(name: str):
    pytest.importorskip("numba")
    code = CODES[name]()
    _, llr = noisy(code, 10, THRESHOLD[name])
    decoded, ok = code.decode(llr, 12)
    assert 0 < ok.sum() < len(ok)
    other, other_ok = code.decode_torch(torch.from_numpy(llr), 12)
    assert np.array_equal(decoded, other.numpy())
    assert np.array_equal(ok, other_ok.numpy())


@pytest.mark.parametrize("torch_path", [False, True])
def test_blocks_do_not_depend_on_one_another(torch_path: bool):
    code = ieee80211n("3/4")
    _, llr = noisy(code, 30, 1.2, seed=3)
    llr[5] *= 1e-3
    llr[6] = np.nan

    def decode(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if torch_path:
            bits, ok = code.decode_torch(torch.from_numpy(part), 8)
            return bits.numpy(), ok.numpy()
        return code.decode(part, 8)

    decoded, ok = decode(llr)
    assert 0 < ok.sum() < len(ok)
    for size in (7,) if torch_path else (1, 7):
        parts = [decode(llr[start : start + size]) for start in range(0, 30, size)]
        assert np.array_equal(np.concatenate([bits for bits, _ in parts]), decoded)
        assert np.array_equal(np.concatenate([good for _, good in parts]), ok)


@settings(max_examples=20, deadline=None)
@given(st.integers(-60, 60), st.integers(0, 100))
def test_scale_of_the_llrs_does_not_matter(exponent: int, seed: int):
    code = nr(100, 250, 2)
    _, llr = noisy(code, 4, -1.0, seed)
    decoded, ok = code.decode(llr)
    scaled, scaled_ok = code.decode(llr * np.float32(2.0**exponent))
    assert np.array_equal(decoded, scaled)
    assert np.array_equal(ok, scaled_ok)


def test_nothing_received_is_not_ok(code: BlockCode):
    decoded, ok = code.decode(np.zeros((3, code.n), dtype=np.float32))
    assert not ok.any()
    assert decoded.shape == (3, code.k)
    assert not code.decode_torch(torch.zeros(3, code.n), 1)[1].any()


def test_erasures_are_filled_in():
    code = ieee80211n("1/2")
    bits = random_bits(20, code.k)
    llr = 4 - 8 * code.encode(bits).astype(np.float32)
    llr[:, ::4] = 0
    decoded, ok = code.decode(llr)
    assert ok.all()
    assert np.array_equal(decoded, bits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e-45])
def test_odd_llrs(value: float):
    code = nr(100, 250)
    bits, llr = noisy(code, 8, 3.0)
    llr[:, 7::50] = value
    llr[0] = value
    for decode in (code.decode, lambda x: tuple(y.numpy() for y in code.decode_torch(torch.from_numpy(x)))):
        decoded, ok = decode(llr)
        assert decoded.max() <= 1
        if np.isnan(value) or abs(value) < 1:
            assert np.array_equal(decoded[1:], bits[1:])
            assert ok[1:].all()


def test_certain_llrs_are_right_ones():
    code = ieee80211n("1/2")
    bits, llr = noisy(code, 20, -4.0)
    coded = code.encode(bits)
    assert not code.decode(llr)[1].any()
    llr[:, ::2] = np.where(coded[:, ::2] == 0, np.inf, -np.inf)
    decoded, ok = code.decode(llr)
    assert ok.all()
    assert np.array_equal(decoded, bits)


def test_shortening_helps():
    whole, short = ieee80211n("3/4"), ieee80211n("3/4", 700)
    assert short.n == 700 + 486
    bits, llr = noisy(short, 20, -0.5)
    assert np.array_equal(short.decode(llr)[0], bits)
    assert not whole.decode(noisy(whole, 20, -0.5)[1])[1].any()


def test_tensor_in_tensor_out():
    code = ieee80211n("3/4")
    bits, llr = noisy(code, 4, 4.0)
    decoded, ok = code.decode(torch.from_numpy(llr).double())
    assert isinstance(decoded, torch.Tensor)
    assert decoded.dtype == torch.uint8
    assert ok.all()
    assert np.array_equal(decoded.numpy(), bits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    code = nr(4096, 6144, 4)
    _, llr = noisy(code, 60, 0.1)
    decoded, ok = code.decode(torch.from_numpy(llr).cuda(), 12)
    assert decoded.is_cuda
    expected, expected_ok = code.decode_torch(torch.from_numpy(llr), 12)
    assert torch.equal(decoded.cpu(), expected)
    assert torch.equal(ok.cpu(), expected_ok)


def test_no_iterations_and_no_blocks():
    code = ieee80211n("3/4")
    bits, llr = noisy(code, 3, 30.0)
    decoded, ok = code.decode(llr, 0)
    assert ok.all()
    assert np.array_equal(decoded, bits)
    for empty in (np.zeros((0, code.n), dtype=np.float32), torch.zeros(0, code.n)):
        decoded, ok = code.decode(empty)
        assert tuple(decoded.shape) == (0, code.k)
        assert tuple(ok.shape) == (0,)
    assert code.decode_torch(torch.zeros(0, code.n))[0].shape == (0, code.k)


def test_codes_are_made_once():
    assert nr(100, 250) is nr(100, 250)
    assert ieee80211n("3/4").name == "802.11n (1458,1944)"
    assert nr(4096, 6144, 4).name == "5G NR (4096,6144)"


# Refused


@pytest.mark.parametrize(
    "make",
    [
        lambda: ieee80211n("7/8"),
        lambda: ieee80211n("3/4", 1459),
        lambda: ieee80211n("3/4", 0),
        lambda: ieee80211n("3/4", 1458, 1945),
        lambda: ieee80211n("3/4", 1458, 1458),
        lambda: nr(0, 10),
        lambda: nr(10, 0),
        lambda: nr(10, 10),
        lambda: nr(8449, 12000),
        lambda: nr(3841, 19200),
        lambda: nr(100, 250, 4),
        lambda: nr(100, 250, 0),
    ],
)
def test_impossible_codes(make):
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.hint


def test_bad_arguments():
    code = ieee80211n("3/4")
    good = np.zeros((2, code.n), dtype=np.float32)
    calls = [
        lambda: code.encode(np.zeros((2, code.n), dtype=np.uint8)),
        lambda: code.encode(np.zeros(code.k, dtype=np.uint8)),
        lambda: code.encode(np.zeros((2, code.k))),
        lambda: code.encode(np.full((2, code.k), 2, dtype=np.uint8)),
        lambda: code.decode(good[:, 1:]),
        lambda: code.decode(good[0]),
        lambda: code.decode(good.astype(np.int32)),
        lambda: code.decode(torch.zeros(2, code.n, dtype=torch.int32)),
        lambda: code.decode(good, -1),
        lambda: code.decode_torch(torch.zeros(2, 5)),
    ]
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.hint


def test_importing_loads_no_compiler():
    program = "import sys, openjscc.digital.coding; print({'numba', 'sionna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_numba(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "openjscc.digital.coding.minsum_numba", raising=False)
    monkeypatch.delattr("openjscc.digital.coding.minsum_numba", raising=False)
    code = ieee80211n("3/4")
    bits, llr = noisy(code, 4, 3.0)
    decoded, ok = code.decode(llr)
    assert isinstance(decoded, np.ndarray)
    assert ok.all()
    assert np.array_equal(decoded, bits)


DECODE = """
import numpy as np
from openjscc.digital.coding import minsum_numba, nr
code = nr(100, 200, 2)
assert code.decode(1 - 2.0 * code.encode(np.zeros((1, 100), np.uint8)))[1].all()
"""
NO_FOLDER = """
import tempfile
def refuse(*arguments, **options):
    raise PermissionError(13, "no place for temporary files")
tempfile.TemporaryFile = refuse  # numba's test of whether a folder can be written
"""
NO_HOME = """
import os.path
from numba.core import caching
os.path.expanduser = lambda path: path
os.access = lambda path, mode: False
caching.InTreeCacheLocator.from_function = classmethod(lambda cls, function, file: None)
"""
FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", [NO_FOLDER, NO_HOME, FULL_DISK], ids=["no folder", "no home", "full disk"])
def test_without_a_place_for_machine_code(tmp_path: Path, before: str):
    """The compiled decoder runs, is compiled by every process, and leaves nothing."""
    pytest.importorskip("numba")
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")} if before == FULL_DISK else {}
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | kept
    program = [sys.executable, "-c", before + DECODE]
    ran = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_damaged_machine_code_is_made_again(tmp_path: Path):
    pytest.importorskip("numba")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", DECODE], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        indices = list(tmp_path.rglob("*.nbi"))
        assert indices
        assert all(index.stat().st_size > 100 for index in indices)
        for index in indices:
            index.write_bytes(index.read_bytes()[:100])
