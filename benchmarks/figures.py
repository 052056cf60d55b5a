"""A figure: what was measured, beside what, in pairs, and how it spreads."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """One row of the table. `values` is what counts: ratios of pairs, or plain numbers where `unit` is not `times`."""

    name: str
    beside: str
    values: list[float]
    unit: str = "times"
    bar: str = ""
    aim: str = ""
    detail: dict[str, list[float]] = field(default_factory=dict)
    """What the values were made of, by the names of ours and the rival, with their unit in the name."""

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def middle_half(self) -> tuple[float, float]:
        """The range that half of the values lie in; from least to most where there are fewer than four."""
        ordered = sorted(self.values)
        cut = len(ordered) // 4
        return ordered[cut], ordered[-1 - cut]


@dataclass(frozen=True)
class Skipped:
    """A row that was not measured, and why."""

    name: str
    why: str


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Pair by pair, so that what disturbs the machine for a while disturbs both sides of a ratio."""
    return [over / under for over, under in zip(above, below, strict=True)]


def table(rows: Sequence[Figure | Skipped]) -> str:
    """The rows as text for a terminal."""
    head = ("what", "beside", "median", "middle half", "least to most", "runs", "bar", "aim")
    lines = [head, *(_cells(row) for row in rows if isinstance(row, Figure))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*shown, *(f"{row.name}: not measured, {row.why}" for row in rows if isinstance(row, Skipped))])


def _cells(row: Figure) -> tuple[str, ...]:
    low, high = row.middle_half
    unit = "" if row.unit == "times" else f" {row.unit}"
    return (
        row.name,
        row.beside,
        f"{_short(row.median)}{unit}",
        f"{_short(low)} to {_short(high)}",
        f"{_short(min(row.values))} to {_short(max(row.values))}",
        str(len(row.values)),
        row.bar,
        row.aim,
    )


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}"


def write(path: Path, rows: Sequence[Figure | Skipped]) -> None:
    """All values of all rows, and the machine, as JSON."""
    path.write_text(json.dumps({"machine": _machine(), "rows": [_as_json(row) for row in rows]}, indent=1) + "\n")


def _as_json(row: Figure | Skipped) -> dict[str, Any]:
    if isinstance(row, Skipped):
        return {"name": row.name, "skipped": row.why}
    measured = {"name": row.name, "beside": row.beside, "unit": row.unit, "median": row.median, "bar": row.bar}
    return {**measured, "middle_half": row.middle_half, "aim": row.aim, "values": row.values, "detail": row.detail}


def _machine() -> dict[str, Any]:
    return {"python": sys.version.split()[0], "system": platform.platform(), "processors": os.cpu_count()}
