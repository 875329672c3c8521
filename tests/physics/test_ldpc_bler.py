"""Block error rates on AWGN. A zero syndrome says nothing about a wrong shift in a table; these points do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from openjscc.digital.coding import BlockCode, ieee80211n, nr
from openjscc.digital.modulation import get_modulation
from openjscc.units import noise_var_from_snr

ERRORS = 100
"""Block errors to wait for; the reference figures are taken to come from as many."""
SIGMAS = 4.0
MOST_BLOCKS = 12_000
LARGEST_GAIN_DB = 0.5
"""The reference seems to be 20 iterations that update all checks at once, ours are 30 layered ones: some gain is due."""

CODES = {
    "802.11n 3/4": (lambda: ieee80211n("3/4"), "16qam", {10.0: 0.57, 10.25: 0.24, 10.5: 0.042, 10.75: 0.0043}),
    "802.11n 2/3": (lambda: ieee80211n("2/3"), "16qam", {9.0: 0.23, 9.25: 0.042, 9.5: 0.0032}),
    "802.11n 1/2": (lambda: ieee80211n("1/2"), "qpsk", {1.0: 0.43, 1.25: 0.12, 1.5: 0.017}),
    "5G NR 2/3": (lambda: nr(4096, 6144, 4), "16qam", {8.75: 0.46, 9.0: 0.035}),
    "5G NR 1/2": (lambda: nr(4096, 8192, 2), "qpsk", {1.25: 0.16, 1.5: 0.0016}),
}
POINTS = [(name, snr_db, bler) for name, (_, _, points) in CODES.items() for snr_db, bler in points.items()]


def transmit(code: BlockCode, modulation: str, snr_db: float, blocks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random information bits uint8 ``(B, k)`` and the LLRs float32 ``(B, n)`` that arrive."""
    bits = np.random.default_rng(seed).integers(0, 2, (blocks, code.k), dtype=np.uint8)
    chosen = get_modulation(modulation)
    symbols = chosen.map(code.encode(bits))
    noise_var = float(noise_var_from_snr(snr_db))
    noise = torch.randn(symbols.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    return bits, chosen.llr(symbols + noise_var**0.5 * noise, noise_var, method="max-log").numpy()


def block_errors(code: BlockCode, modulation: str, snr_db: float, most: int) -> tuple[int, int]:
    """Errors and blocks, until there are 100 errors or ``most`` blocks."""
    errors = blocks = 0
    while errors < ERRORS and blocks < most:
        bits, llr = transmit(code, modulation, snr_db, 250, blocks)
        decoded, ok = code.decode(llr)
        wrong = (decoded != bits).any(1)
        assert (wrong & ok).sum() <= 1  # a wrong codeword is much rarer than none
        errors += int(wrong.sum())
        blocks += len(bits)
    return errors, blocks


@pytest.mark.parametrize(
    ("name", "snr_db"), [("802.11n 3/4", 11.25), ("802.11n 1/2", 2.0), ("5G NR 2/3", 9.5), ("5G NR 1/2", 1.9)]
)
def test_above_the_waterfall(name: str, snr_db: float):
    """The reference points fall by a factor of ten for each 0.25 dB or so."""
    make, modulation, _ = CODES[name]
    code = make()
    bits, llr = transmit(code, modulation, snr_db, 60, 0)
    decoded, ok = code.decode(llr)
    assert ok.all()
    assert np.array_equal(decoded, bits)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "snr_db", "bler"), POINTS)
def test_not_worse_than_the_reference(name: str, snr_db: float, bler: float):
    make, modulation, _ = CODES[name]
    errors, blocks = block_errors(make(), modulation, snr_db, min(int(1.2 * ERRORS / bler), MOST_BLOCKS))
    print(f"{name} at {snr_db} dB: {errors / blocks:.2g}, reference {bler}")
    if errors:  # the logarithm of a count of E has standard deviation E ** -0.5
        assert math.log(errors / blocks / bler) < SIGMAS * math.sqrt(1 / errors + 1 / ERRORS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "snr_db", "bler"), POINTS)
def test_not_implausibly_better(name: str, snr_db: float, bler: float):
    make, modulation, _ = CODES[name]
    errors, blocks = block_errors(make(), modulation, snr_db - LARGEST_GAIN_DB, 5000)
    assert errors / blocks > bler


@pytest.mark.slow
@pytest.mark.parametrize("candidate", [(768, 1024, 10.3), (384, 512, 11.3)])
def test_puncturing_whole_blocks_is_better_than_the_end(candidate: tuple[int, int, float]):
    k, n, snr_db = candidate
    code = ieee80211n("3/4", k, n)
    end = BlockCode("last parity bits left out", k, np.r_[:k, 1458 : 1458 + n - k], code._graph, code._factor)
    rates = []
    for tried in (code, end):
        bits, llr = transmit(tried, "16qam", snr_db, 1000, 0)
        rates.append(float((tried.decode(llr)[0] != bits).any(1).mean()))
    assert rates[0] < 0.75 * rates[1]


NR_CODES = [
    (4096, 6144, 4),
    (4096, 8192, 2),
    (8448, 9216, 6),
    (4000, 4600, 1),
    (3000, 9000, 2),
    (1000, 3000, 8),
    (600, 900, 2),
    (561, 1122, 1),
    (300, 360, 4),
    (193, 900, 2),
    (100, 250, 1),
    (24, 100, 4),
]


@pytest.mark.slow
@pytest.mark.parametrize(("k", "n", "bits_per_symbol"), NR_CODES)
def test_nr_encoder_equals_sionna(k: int, n: int, bits_per_symbol: int):
    ldpc = pytest.importorskip("sionna.phy.fec.ldpc")
    bits = np.random.default_rng(k).integers(0, 2, (5, k), dtype=np.uint8)
    encoder = ldpc.LDPC5GEncoder(k, n, num_bits_per_symbol=bits_per_symbol if bits_per_symbol > 1 else None, device="cpu")
    expected = encoder(torch.from_numpy(bits).float()).numpy()
    assert np.array_equal(nr(k, n, bits_per_symbol).encode(bits), expected.astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "snr_db"), [("802.11n 3/4", 10.25), ("802.11n 1/2", 1.2), ("5G NR 2/3", 8.8), ("5G NR 1/2", 1.2)]
)
def test_not_worse_than_sionna_on_the_same_llrs(name: str, snr_db: float):
    ldpc = pytest.importorskip("sionna.phy.fec.ldpc")
    make, modulation, _ = CODES[name]
    code = make()
    bits, llr = transmit(code, modulation, snr_db, 120, 1)
    if name.startswith("5G"):
        per_symbol = get_modulation(modulation).bits_per_symbol
        encoder = ldpc.LDPC5GEncoder(code.k, code.n, num_bits_per_symbol=per_symbol, device="cpu")
        decoder = ldpc.LDPC5GDecoder(encoder, num_iter=20, device="cpu")
    else:
        decoder = ldpc.LDPCBPDecoder(code.parity_check_matrix(), num_iter=20, device="cpu")
    theirs = decoder(torch.from_numpy(-llr)).numpy()[:, : code.k] != bits  # Sionna: log P(1) / P(0)
    ours = code.decode(llr)[0] != bits
    lost, won = (int((a.any(1) & ~b.any(1)).sum()) for a, b in ((ours, theirs), (theirs, ours)))
    assert lost - won <= 3 * math.sqrt(lost + won + 1)  # paired: only the blocks on which they differ


@pytest.mark.parametrize(("k", "n", "snr_db"), [(768, 1024, 10.5), (384, 512, 11.0)])
def test_a_short_block_is_better_as_5g_nr_than_as_punctured_80211n(k: int, n: int, snr_db: float) -> None:
    """Why `openjscc.digital.mcs` takes 5G NR for all blocks below 1944 bits."""
    rates = []
    for code in (nr(k, n, 4), ieee80211n("3/4", k, n)):
        errors, blocks = block_errors(code, "16qam", snr_db, 2000)
        rates.append(errors / blocks)
    assert rates[0] < 0.6 * rates[1]


@pytest.mark.parametrize("times", [4, 32])
def test_repetition_gains_what_its_energy_is_worth(times: int) -> None:
    """Each bit sent so many times is the code at an SNR so many times as high; the sum of the LLRs keeps its range."""
    draws = np.random.default_rng(0)
    once = nr(64, 200)
    assert len(set(once.sent.tolist())) == 200
    often = BlockCode("repeated", 64, np.tile(once.sent, times), once._graph, once._factor)
    bits = draws.integers(0, 2, (400, 64), dtype=np.uint8)
    lost = []
    for code, snr in ((once, 0.4), (often, 0.4 / times)):
        noise = draws.standard_normal((400, code.n)) * (1 / (2 * snr)) ** 0.5
        llr = 4 * snr * (1.0 - 2.0 * code.encode(bits) + noise)
        decoded, ok = code.decode(llr)
        lost.append(int((~ok | (decoded != bits).any(1)).sum()))
    assert 10 < lost[0] < 200
    assert abs(lost[0] - lost[1]) < 4 * lost[0] ** 0.5
