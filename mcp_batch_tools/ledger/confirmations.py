"""Codes that an assistant gives back once the user has said yes in the conversation, where no client showed a form."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import FILE, Transaction, opened_read_only

ACCEPTED_FOR = 10 * 60 * 1000
"""Milliseconds: about as long as a conversation stays with a question."""
_KEPT_FOR = 30 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Confirmation:
    """A code that may be used: its id, when it was given (milliseconds), and the facts that it confirms."""

    id: str
    time: int
    facts: Mapping[str, Any]


def give_confirmation(
    transaction: Transaction,
    facts: Mapping[str, Any],
    now: int,
    *,
    scope: str,
    act: str,
    client: str | None,
    unseen: str,
) -> str:
    """A new code for this act on these facts. `unseen` says why nobody saw the question; old codes are forgotten."""
    code = secrets.token_hex(8)
    transaction.change(statements.FORGET_CONFIRMATIONS, before=now - _KEPT_FOR)
    transaction.change(
        statements.INSERT_CONFIRMATION,
        id=code,
        time=now,
        scope=scope,
        act=act,
        facts=json.dumps(facts),
        client=client,
        unseen=unseen,
    )
    return code


def open_confirmation(transaction: Transaction, code: str, now: int, *, scope: str, act: str) -> Confirmation | None:
    """What a code confirms, or None where it is wrong, for another act or scope, too old, or used already."""
    row = transaction.row(statements.CONFIRMATION, id=code, scope=scope, act=act, since=now - ACCEPTED_FOR)
    return None if row is None else Confirmation(row["id"], row["time"], json.loads(row["facts"]))


def last_unseen_question(folder: Path) -> tuple[int, str | None, str] | None:
    """When the last question was put that nobody saw (milliseconds), by which client, and why; None for none.

    Raises:
        LedgerError: the ledger in `folder` cannot be read.
    """
    if not (folder / FILE).exists():
        return None
    with opened_read_only(folder) as connection:
        row = connection.execute(statements.LAST_CONFIRMATION).fetchone()
    return None if row is None else (row["time"], row["client"], row["unseen"])
