"""Receipts for a person or a program, printed one after the other: there can be more than fit into memory."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from textwrap import indent

from mcp_batch_tools.api.untrusted import escape_invisible
from mcp_batch_tools.ledger.receipts import Receipt

UNKNOWN = "unknown: check"
"""The outcome of an act that nobody knows."""


def print_json(receipts: Iterator[Receipt]) -> None:
    """Print one JSON array."""
    print("[", end="")
    separator = ""
    for receipt in receipts:
        shown = {**asdict(receipt), "outcome": receipt.outcome or UNKNOWN}
        print(separator + "\n" + indent(json.dumps(shown, indent=2), "  "), end="")
        separator = ","
    print("\n]" if separator else "]")


_COLUMNS = (
    ("time", 24),
    ("action", 6),
    ("batch", 33),
    ("requests", 26),
    ("consent", 31),
    ("outcome", 14),
    ("client", 20),
    ("request id", 0),
)
"""Names and widths; fixed, so that a row can be printed before the next one is read."""


def print_table(receipts: Iterable[Receipt]) -> None:
    """Print a table, and what its open receipts mean."""
    print(_aligned([name for name, _ in _COLUMNS]))
    unknown = False
    for receipt in receipts:
        unknown |= receipt.outcome is None
        print(_aligned(_cells(receipt)))
    if unknown:
        print(
            f'\n"{UNKNOWN}": the server was stopped, or no answer came, in the middle of it. Look at the batch, or '
            "repeat the act: that completes the receipt."
        )


def _aligned(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)).rstrip()


def _cells(receipt: Receipt) -> list[str]:
    counts = receipt.request_counts
    outcome = " ".join(part for part in (receipt.outcome or UNKNOWN, receipt.note and f"({receipt.note})") if part)
    cells = (
        receipt.time,
        receipt.action,
        receipt.message_batch_id,
        f"{sum(counts.values()):,}" + (f" ({counts['succeeded']:,} succeeded)" if "succeeded" in counts else ""),
        receipt.consent,
        outcome,
        receipt.client or "",
        receipt.request_id or "",
    )
    return [escape_invisible(cell, breaks=False) for cell in cells]
