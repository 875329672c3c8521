"""One colour and one marker for each system, told apart by readers with any colour vision; names that people read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from openjscc.digital import DIGITAL_SYSTEMS
from openjscc.models import ARCHITECTURES
from openjscc.report.labels import SYSTEM_NAMES, family, system_name
from openjscc.report.style import COLOURS, MARKERS, OTHERS, SYSTEMS, looks_of

VISION = {
    "all cones": np.eye(3),
    "no cones for red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no cones for green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
"""On linear RGB: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, IEEE TVCG 15(6), 2009, severity 1."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
TOGETHER = (
    ("adjscc", "deepjscc", "witt", "mtgsc", "ganjscc", "bpg-ldpc"),
    ("adjscc", "deepjscc", "witt", "mtgsc", "jpeg-ldpc"),
    ("adjscc", "deepjscc", "bpg-ldpc", "jpeg-ldpc", "webp-ldpc"),
    ("adjscc", "arjscc", "spjscc", "bpg-ldpc", "jpeg-ldpc"),
    ("adjscc", "mtgsc", "deeplab_jscc", "bpg-ldpc", "jpeg-ldpc"),
)
"""Systems that are often in one figure."""


def lab(colour: str, matrix: object) -> np.ndarray:
    """CIE L*a*b* of what a reader sees."""
    code = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    seen = XYZ @ np.clip(np.asarray(matrix) @ linear, 0, 1) / XYZ.sum(1)
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision: str) -> None:
    def nearest(colours: object) -> float:
        shades = [lab(colour, VISION[vision]) for colour in colours]  # pyright: ignore[reportGeneralTypeIssues]
        return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(shades, 2))

    assert nearest(COLOURS) > 12
    assert nearest((*(colour for colour, _ in SYSTEMS.values()), "#000000")) > 12
    for systems in TOGETHER:
        assert nearest(SYSTEMS[system][0] for system in systems) > 24, systems
    assert max(lab(colour, VISION[vision])[0] for colour in COLOURS) < 85, "against white"


def test_every_system_has_its_own() -> None:
    links = {name for name in DIGITAL_SYSTEMS if name.endswith("ldpc")}
    assert set(SYSTEMS) == {*ARCHITECTURES, *links}
    assert set(SYSTEM_NAMES) == {*ARCHITECTURES, *DIGITAL_SYSTEMS}
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(SYSTEMS) + len(OTHERS) >= 13


def test_looks_do_not_depend_on_the_company() -> None:
    variants = ["mtgsc.more:steps=10", "jpeg-ldpc:mcs=16qam-3/4-n1944+fcn.crops", "adjscc.photo"]
    assert looks_of(variants) == {name: SYSTEMS[name] for name in ("mtgsc", "jpeg-ldpc", "adjscc")}
    alone = looks_of(["mine.tag:a=b"])
    assert alone["mine"] in OTHERS
    assert looks_of([*SYSTEMS, "mine"])["mine"] == alone["mine"]
    many = looks_of([*SYSTEMS, "a", "b"])
    assert len(set(many.values())) == len(many) == len(SYSTEMS) + len(OTHERS)
    assert many == looks_of(reversed(many))
    assert len(looks_of(map(str, range(40)))) == 40


def test_names() -> None:
    for system, name in {
        "adjscc": "ADJSCC",
        "spjscc.distilled": "SP-JSCC, distilled",
        "mtgsc.noise:steps=10": "MTGSC, noise, 10 steps",
        "bpg-ldpc:mcs=16qam-3/4-n1944": "BPG+LDPC, 16-QAM 3/4 (n1944)",
        "jpeg-ldpc:mcs=qpsk-1/2:pack=8+fcn": "JPEG+LDPC, QPSK 1/2, pack 8, fcn",
        "webp-ldpc:mcs=nr": "WebP+LDPC, mcs nr",
        "bpg-capacity:finite=0.01": "BPG+capacity, finite 0.01",
        "their.own": "their.own",
    }.items():
        assert system_name(system) == name
    assert system_name("adjscc", {"adjscc": "A"}) == "A"
    assert family("jpeg-ldpc+fcn.crops") == "jpeg-ldpc"
