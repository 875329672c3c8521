"""The columns of a record: what each is for, how it is called, and how its values are written. The one place that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..metrics import METRICS
from ..units import AUTO, format_ratio

Value = str | float | bool | None
Role = Literal["condition", "run", "make", "measured"]


def _text(value: Value) -> str:
    return str(value)


def _digest(name: str) -> Callable[[Value], str]:
    return lambda value: f"{name} {str(value)[:8]}"


def _ratio(value: Value) -> str:
    return f"CBR {format_ratio(value)}" if isinstance(value, float) else f"ratio {shown('ratio', value)}"


def _count(one: str, several: str) -> Callable[[Value], str]:
    return lambda value: f"1 {one}" if value == 1 else f"{value} {several}"


@dataclass(frozen=True)
class Column:
    """A column of `openjscc.bench.records.Record`.

    Attributes:
        role: ``condition``: what all systems are asked for alike; ``run``: how it was measured; ``make``: what a point was made
            with; ``measured``: a figure of a cell.
        label: on an axis; empty: the column's name.
        words: a value in titles and labels; None: name and value.
        missing: in the place of a value that is None.
        along: the condition that changes along an axis of this column.
        title: of the axis, in a heading.
    """

    role: Role
    label: str = ""
    words: Callable[[Value], str] | None = None
    missing: str = ""
    along: str = ""
    title: str = ""


COLUMNS: dict[str, Column] = {
    "data": Column("condition", words=lambda value: Path(str(value)).name),
    "channel": Column("condition", words=_text),
    "ratio": Column(
        "condition", "nominal bandwidth ratio k/n", _ratio, "CBR chosen for each picture", along="ratio", title="bandwidth ratio"
    ),
    "snr_db": Column("condition", words=lambda value: f"SNR {value:g} dB", along="snr_db", title="SNR"),
    "told_snr_db": Column(
        "condition", "SNR that the transmitter believes in (dB)", lambda value: f"SNR taken for {value:g} dB", along="told_snr_db"
    ),
    "task_network": Column("condition"),
    "seed": Column("run"),
    "images": Column("run", words=_count("picture", "pictures")),
    "trials": Column("make", words=_count("trial", "trials")),
    "weight": Column("make", words=_text),
    "weight_sha256": Column("make", words=_digest("weight")),
    "tool": Column("make", words=_text),
    "task": Column("make"),
    "data_sha256": Column("make", words=_digest("data")),
    "masks_sha256": Column("make", words=_digest("masks")),
    "task_network_sha256": Column("make", words=_digest("task network")),
    "device": Column("make", words=_text),
    "commit": Column("make", words=_digest("commit")),
    "cpp": Column("measured", "channel uses per pixel", along="ratio", title="channel uses per pixel"),
    "bandwidth_ratio": Column("measured", "bandwidth ratio k/n", along="ratio", title="bandwidth ratio"),
    "channel_uses": Column("measured", "channel uses per picture", along="ratio"),
    "encode_ms": Column("measured", "time of the encoder per picture (ms)"),
    "decode_ms": Column("measured", "time of the decoder per picture (ms)"),
}
LABELS = {name: column.label for name, column in COLUMNS.items() if column.label}
LABELS |= {"macs_per_pixel": "multiply-accumulates per pixel"}
"""On axes, by column."""

_METRIC_NAMES = {
    "accuracy": "accuracy",
    "miou": "mIoU",
    "miou_nine": "mIoU of nine classes",
    "pixel_accuracy": "pixel accuracy",
    "ms_ssim": "MS-SSIM",
}


def columns_that(role: Role) -> tuple[str, ...]:
    """The columns of a role."""
    return tuple(name for name, column in COLUMNS.items() if column.role == role)


def in_words(name: str, value: Value) -> str:
    """A column's value as a few words for titles and labels; empty where there is nothing to say."""
    column = COLUMNS.get(name)
    if value is None:
        return column.missing if column else ""
    return column.words(value) if column and column.words else f"{name.replace('_', ' ')} {shown(name, value)}"


def axis_title(name: str) -> str:
    """Of an axis, in a heading."""
    column = COLUMNS.get(name)
    return column.title if column and column.title else name.replace("_", " ")


def metric_label(name: str) -> str:
    """``PSNR ↑ (dB)``: the arrow says which way is better. A column's label where it is one."""
    if name not in METRICS:
        return LABELS.get(name, name)
    metric = METRICS[name]
    return f"{metric_name(name)} {'↑' if metric.higher_is_better else '↓'}" + (f" ({metric.unit})" if metric.unit else "")


def metric_name(name: str) -> str:
    """``PSNR``."""
    return _METRIC_NAMES.get(name, name.upper().replace("_", "-")) if name in METRICS else LABELS.get(name, name)


def heading(x: str, value: float | None) -> str:
    """Of a table's column: a place on the axis ``x``; None: a ratio that systems chose."""
    if value is None or x in ("ratio", "bandwidth_ratio"):
        return f"CBR {format_ratio(value)}"
    return f"{value:g} dB" if x.endswith("snr_db") else f"{value:.4g}"


def listed(items: Iterable[object], column: str) -> str:
    """The values that a column has, for people."""
    return ", ".join(shown(column, value) for value in in_order(getattr(item, column) for item in items))


def in_order(values: Iterable[Value]) -> list[Value]:
    """None first, numbers ascending, texts as they come."""
    kept = list(dict.fromkeys(values))
    if any(isinstance(value, str) for value in kept):
        return kept
    return sorted(kept, key=lambda value: (value is not None, value or 0))


def shown(column: str, value: Value) -> str:
    """A value as users write it."""
    if value is None:
        return AUTO if column == "ratio" else "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return format_ratio(value) if column in ("ratio", "bandwidth_ratio") and value > 0 else f"{value:g}"
    return value
