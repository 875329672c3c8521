"""How good the intervals of a user study are: simulated studies of which the truth is known.

    python scripts/user_study.py coverage   # a minute on one core; writes results/user-study-coverage.json
    python scripts/user_study.py page       # the table of docs/user-study.md, from the records

Questionnaires of the paper's length: 46 pairs, four ratios of the other system against each of two. People prefer the system with
odds that fall with the fifth power of the other's bandwidth; participants and pairs differ by normal terms on the logarithm of
the odds.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from marked import fill

from openjscc.files import write_atomically
from openjscc.report.markdown import table_row
from openjscc.survey.analysis import Preferences, analyse
from openjscc.survey.answers import read_answers
from openjscc.survey.questionnaire import KEY_FORMAT, VERSION, Key, KeyPair, Sent

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "results" / "user-study-coverage.json", ROOT / "docs" / "user-study.md"
OVER = (0.029, 0.0365, 0.046, 0.058)
RATIOS = (1 / 48, 1 / 24)
STUDIES, RESAMPLES, SEED = 150, 400, 2
STEEP, WHERE = 5.0, 0.041
"""Power of the bandwidth in the odds, and the ratio of the other system at which half of all people prefer either."""
HEADER = 1.001
"""What headers add to the nominal ratios."""
ROWS = ((20, 0.2, 0.2), (20, 0.5, 0.8), (8, 0.5, 0.8), (20, 1.0, 1.5), (60, 1.0, 1.5))
"""Participants, and by how much they and the pairs differ (standard deviations)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("coverage", help="simulate and write the records")
    verbs.add_parser("page", help="fill the page from the records")
    options = parser.parse_args()
    if options.verb == "coverage":
        found = [coverage(*row, studies=STUDIES, generator=np.random.default_rng(SEED)) for row in ROWS]
        write_atomically(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
    else:
        page()


def coverage(people: int, person: float, pair: float, *, studies: int, generator: np.random.Generator) -> dict[str, Any]:
    """How many of the 95 % intervals of so many studies have the truth in them, and how wide those of shares are."""
    key, spread = made(46), (person, pair)
    chance = np.random.default_rng(1).normal(0, math.hypot(*spread), 100_000)
    true = {b: float((1 / (1 + np.exp(-STEEP * math.log(WHERE / b) - chance))).mean()) for b in OVER}
    shares, places = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(studies):
            lines = simulated(key, people, dict.fromkeys(RATIOS, WHERE), STEEP, spread, generator)
            found = analysed(Path(folder), key, lines, RESAMPLES)
            for each in found.preferences:
                if each.low is not None and each.high is not None:
                    shares.append((each.low <= true[each.over_ratio] <= each.high, each.high - each.low))
            for crossing in found.crossings:
                if crossing.cbr is not None and not (crossing.reason or "").startswith("no interval"):
                    low, high = crossing.low or 0.0, crossing.high or math.inf  # beyond what was measured
                    places.append(low <= WHERE * HEADER <= high)
    covered, width = np.mean(shares, axis=0)
    return {
        "participants": people, "person": person, "pair": pair, "studies": studies, "resamples": RESAMPLES, "seed": SEED,
        "shares": len(shares), "share_covered": float(covered), "share_width": float(width),
        "crossings": len(places), "crossing_covered": float(np.mean(places)),
    }  # fmt: skip


def sent(role: str, ratio: float) -> Sent:
    weight = "0" * 64 if role == "of" else None
    name = {"of": "ganjscc", "over": "bpg-ldpc:mcs=16qam-2/3-n6144"}[role]
    real = ratio * HEADER
    return Sent(role, name, name, weight, None, ratio, real, 1000, "awgn", 10.0, 0, True)  # pyright: ignore[reportArgumentType]


def made(pairs: int = 46, ratios: tuple[float, ...] = RATIOS, over: tuple[float, ...] = OVER) -> Key:
    """A key of so many pairs: the conditions by turns, ``of`` left and right by turns."""
    conditions = [(a, b) for a in ratios for b in over]
    found = []
    for number in range(pairs):
        a, b = conditions[number % len(conditions)]
        sides = sent("of", a), sent("over", b)
        if number // len(conditions) % 2:
            sides = sides[::-1]
        found.append(KeyPair(f"p{number:07x}", f"{number % 24}.png", (0, 0, 256, 256), *sides))
    return Key(KEY_FORMAT, VERSION, "0" * 64, "kodak", "0" * 64, 0, tuple(found))


def simulated(
    key: Key, people: int, where: dict[float, float], steep: float, spread: tuple[float, float], generator: np.random.Generator
) -> list[dict[str, object]]:
    """Answers of people who prefer ``of`` with the odds exp(steep ln(where / CBR of over) + person + pair).

    Args:
        key: of the questionnaire.
        people: how many.
        where: for each ratio of ``of`` the nominal ratio of ``over`` at which half of all people prefer either.
        steep: of the logarithm of the odds.
        spread: standard deviations of the persons' and the pairs' part.
        generator: of chance.
    """
    lines: list[dict[str, object]] = []
    leaning = generator.normal(0, spread[0], people)
    for pair in key.pairs:
        odds = steep * math.log(where[pair.of.ratio] / pair.over.ratio) + generator.normal(0, spread[1]) + leaning
        for person, prefers in enumerate(generator.random(people) < 1 / (1 + np.exp(-odds))):
            choice = "left" if (pair.left.role == "of") == bool(prefers) else "right"
            lines.append({"participant": f"person {person}", "pair": pair.id, "choice": choice, "seconds": 2.5})
    return lines


def written(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def analysed(folder: Path, key: Key, lines: list[dict[str, object]], resamples: int = 1000) -> Preferences:
    return analyse("perceptual-pairs", key, read_answers(written(folder / "answers.jsonl", lines), key), resamples=resamples)


def filled(text: str) -> str:
    """The page with the table of the records."""
    return fill(text, "scripts/user_study.py page", {"coverage": table(json.loads(RESULTS.read_text()))})


def page() -> None:
    """Fill the page from the records."""
    write_atomically(PAGE, filled(PAGE.read_text("utf-8")).encode())


def table(rows: list[dict[str, Any]]) -> str:
    """A row a kind of study."""
    heads = [
        "participants", "participants differ by", "pairs differ by", "share: truth in the interval", "its mean width",
        "crossing: truth in the interval",
    ]  # fmt: skip
    lines = [table_row(heads), "|---" * len(heads) + "|"]
    for row in rows:
        covered = (f"{100 * row[name]:.1f} %" for name in ("share_covered", "crossing_covered"))
        share, crossing = covered
        width = f"{100 * row['share_width']:.0f} points"
        lines.append(table_row([str(row["participants"]), str(row["person"]), str(row["pair"]), share, width, crossing]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
