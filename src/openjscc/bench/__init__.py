"""Systems measured on data sets: a sweep gives records, records are what tables and figures are made of."""

from .points import nominal_ratio
from .records import Record, read_records, write_records
from .statistics import Summary, summarise
from .sweep import Interrupted, Sweep, evaluate

__all__ = ["Interrupted", "Record", "Summary", "Sweep", "evaluate", "nominal_ratio", "read_records", "summarise", "write_records"]
