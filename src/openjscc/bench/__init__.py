"""Systems measured on data sets.

Start with `point` (where a figure is measured) and `measure.measure`, which sends images at one point. `cells` plans a grid,
sends its cells and stores them. `sweep.evaluate` does so in memory (``openjscc eval``), `run` in a folder (``openjscc bench``);
`archive` keeps the cells of a study in one file. `records` is what all give: one line a figure. `statistics`, `gains`,
`differences` and `bjontegaard` compare them; `verify` measures again.
"""

from .measure import nominal_ratio
from .records import Record, read_records, write_records
from .statistics import Summary, summarise
from .sweep import Interrupted, Sweep, evaluate

__all__ = ["Interrupted", "Record", "Summary", "Sweep", "evaluate", "nominal_ratio", "read_records", "summarise", "write_records"]
