"""Receipts: one for each act that destroys, written before the request (the intent) and completed after it.

Nothing in a receipt is content or a key.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mcp_batch_tools.clock import from_milliseconds, milliseconds
from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import FILE, Row, Transaction, opened_read_only
from mcp_batch_tools.ledger.statements import new_id

Action = Literal["cancel", "delete"]
Outcome = Literal["done", "failed"]
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Intent:
    """What is about to be done, by whom, and how it was consented to.

    `scope` is whose batch it is (see `App.scope`); `batch_created_at` is in milliseconds; `request_counts` are those of
    the batch now; `client` is name and version.
    """

    scope: str
    action: Action
    message_batch_id: str
    batch_created_at: int
    request_counts: Mapping[str, int]
    consent: str
    client: str | None


@dataclass(frozen=True)
class Receipt:
    """One act. Without an `outcome` nobody knows whether it happened: the server was stopped in the middle of it.

    `action` is also `create`, for what stands in `submissions`. Times are ISO 8601 in UTC.
    """

    id: str
    time: str
    scope: str
    action: str
    message_batch_id: str
    request_counts: Mapping[str, int]
    consent: str
    client: str | None
    outcome: str | None
    outcome_time: str | None
    note: str | None
    request_id: str | None


def open_receipt(transaction: Transaction, intent: Intent, now: int) -> str:
    """Write down what is about to be done; returns the id of the receipt. `now` is in milliseconds."""
    receipt_id = new_id(now)
    transaction.change(
        statements.INSERT_RECEIPT,
        **{**vars(intent), "request_counts": json.dumps(dict(intent.request_counts))},
        id=receipt_id,
        time=now,
    )
    return receipt_id


def complete_receipt(
    transaction: Transaction,
    receipt_id: str,
    outcome: Outcome,
    now: int,
    *,
    note: str | None = None,
    request_id: str | None = None,
) -> None:
    """Write down what came of an act."""
    transaction.change(
        statements.COMPLETE_RECEIPT, id=receipt_id, outcome=outcome, time=now, note=note, request_id=request_id
    )


def complete_open_receipts(
    transaction: Transaction, intent: Intent, outcome: Outcome, now: int, *, done_by: str | None = None
) -> bool:
    """Complete every receipt of this act on this batch whose outcome nobody learned; returns whether there was one.

    Where the act is now seen to be done, one receipt says so: that of `done_by`, else the newest of these.
    """
    batch = {"message_batch_id": intent.message_batch_id, "scope": intent.scope, "action": intent.action}
    opened = transaction.rows(statements.OPEN_RECEIPTS, **batch)
    for number, row in enumerate(opened):
        if outcome == "done" and (number > 0 or done_by is not None):
            complete_receipt(transaction, row["id"], "failed", now, note="a later call did it")
        else:
            complete_receipt(transaction, row["id"], outcome, now, note="seen by a later call")
    return bool(opened)


def done_at(transaction: Transaction, scope: str, action: Action, message_batch_id: str) -> int | None:
    """When this installation did this to the batch, in milliseconds; None where it did not."""
    row = transaction.row(statements.DONE_RECEIPT, message_batch_id=message_batch_id, scope=scope, action=action)
    return row["outcome_time"] if row else None


def read_receipts(
    folder: Path, *, since: datetime = _FIRST, message_batch_id: str | None = None, limit: int | None = None
) -> Iterator[Receipt]:
    """Receipts of the ledger in `folder`, oldest first, one at a time, with creates; `limit` takes the newest ones.

    Nothing is made or changed. Without a ledger there are none.

    Raises:
        LedgerError: it cannot be read.
    """
    if not (folder / FILE).exists():
        return
    statement = statements.receipts_shown(one_batch=message_batch_id is not None, newest_only=limit is not None)
    parameters = {"since": milliseconds(since), "message_batch_id": message_batch_id, "limit": limit}
    with opened_read_only(folder) as connection:
        for row in connection.execute(statement, parameters):
            yield _receipt(row)


def _receipt(row: Row) -> Receipt:
    counts = json.loads(row["request_counts"])
    receipt = dict(row)
    receipt["time"] = _iso(row["time"])
    receipt["request_counts"] = counts if isinstance(counts, dict) else {"processing": counts}
    receipt["outcome_time"] = None if row["outcome_time"] is None else _iso(row["outcome_time"])
    return Receipt(**receipt)


def _iso(time: int) -> str:
    return from_milliseconds(time).isoformat(timespec="milliseconds").replace("+00:00", "Z")
