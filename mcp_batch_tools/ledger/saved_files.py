"""Files that all results of a batch were saved to. Whether one is still there, and unchanged, is another question."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Transaction
from mcp_batch_tools.ledger.statements import new_id


@dataclass(frozen=True)
class SavedFile:
    """One file, when it was saved (milliseconds) and what its results cost; `cost_usd` is None where unknown.

    `stop_reasons` counts the results that succeeded; it is empty for a file that an earlier version saved.
    """

    time: int
    message_batch_id: str
    path: str
    bytes: int
    sha256: str
    cost_usd: str | None
    stop_reasons: Mapping[str, int]


def remember_saved_file(transaction: Transaction, file: SavedFile) -> None:
    """Remember a file that all results of a batch were saved to."""
    values = {**vars(file), "stop_reasons": json.dumps(file.stop_reasons)}
    transaction.change(statements.INSERT_SAVED_FILE, id=new_id(file.time), **values)


def saved_files(transaction: Transaction, message_batch_id: str) -> list[SavedFile]:
    """The files that the results of a batch were saved to, the latest first."""
    return [
        SavedFile(**{**row, "stop_reasons": json.loads(row["stop_reasons"] or "{}")})
        for row in transaction.rows(statements.SAVED_FILES, message_batch_id=message_batch_id)
    ]
