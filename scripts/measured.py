"""The records of a study by system and SNR, and the differences of systems, for sentences made from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from openjscc.bench import Record, read_records
from openjscc.bench.differences import Difference
from openjscc.studies.comparisons import read_tables
from openjscc.studies.differences import DifferenceTable


class Measured:
    """Records and differences of one study, read once.

    ``of`` is the system that is compared with others, ``network`` the task network by whose view, where there are several.
    """

    def __init__(self, folder: Path, of: str, network: str | None = None) -> None:
        self.folder, self.of, self.network = folder, of, network
        self.records = [one for one in read_records(folder) if one.error is None]

    @cached_property
    def tables(self) -> Sequence[DifferenceTable]:
        """Differences."""
        return read_tables(self.folder / "differences.json", DifferenceTable)

    def rows(self, system: str, metric: str, channel: str = "awgn", ratio: float | None = None) -> dict[float, Record]:
        """By SNR."""
        key = (system, metric, channel)
        found = [one for one in self.records if (one.system, one.metric, one.channel) == key and _near(one.ratio, ratio)]
        return {one.snr_db: one for one in sorted(found, key=lambda one: one.snr_db)}

    def means(self, system: str, metric: str, channel: str = "awgn", ratio: float | None = None) -> dict[float, float]:
        """By SNR."""
        return {snr: one.mean for snr, one in self.rows(system, metric, channel, ratio).items() if one.mean is not None}

    def less(
        self, over: str, metric: str, channel: str = "awgn", of: str | None = None, ratio: float | None = None
    ) -> dict[float, Difference]:
        """A system less another, by SNR; at one bandwidth ratio, where several were measured."""
        of = of or self.of
        (table,) = [
            one for one in self.tables if (one.section.metric, one.section.over) == (metric, over) and of in one.section.of
        ]
        rows = [row for row in table.rows if row.system == of and row.place.channel == channel and _near(row.place.ratio, ratio)]
        rows = [row for row in rows if self.network is None or row.place.task_network == self.network]
        return {row.at: row.difference for row in rows if row.at is not None and row.difference is not None}

    def lost(self, system: str, metric: str, channel: str = "awgn") -> str:
        """What share of the pictures a system loses at each SNR."""
        shares = {snr: one.outage_rate or 0.0 for snr, one in self.rows(system, metric, channel).items()}
        return ", ".join(f"{100 * share:.1f} % at {snr:g} dB" for snr, share in shares.items())


def _near(ratio: float | None, wanted: float | None) -> bool:
    return wanted is None or (ratio is not None and abs(ratio / wanted - 1) < 1e-3)
