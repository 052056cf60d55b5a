"""What this installation did, in a SQLite file that all its servers share: a receipt for each act that destroys.

A receipt is written before the request (the intent) and completed after it (the outcome). It never holds content or
keys. This module imports SQLAlchemy, so it is imported only by the first act, and by the command `receipts`.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from mcp_batch_tools.errors import LedgerError

Action = Literal["cancel", "delete"]
Outcome = Literal["done", "failed"]

FILE = "ledger.db"
_VERSION = 1
_BUSY_SECONDS = 3.0
"""How long a write waits for another server's; each takes well below a millisecond."""

_metadata = MetaData()
_receipts = Table(
    "receipts",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("action", String, nullable=False),
    Column("message_batch_id", String, nullable=False),
    Column("request_counts", JSON, nullable=False),
    Column("consent", String, nullable=False),
    Column("client", String),
    Column("outcome", String),
    Column("outcome_time", String),
    Column("note", String),
    Column("request_id", String),
)
_by_batch = Index("receipts_by_batch", _receipts.c.message_batch_id)


@dataclass(frozen=True)
class Receipt:
    """One act. Without an `outcome` nobody knows whether it happened: the server was stopped in the middle of it.

    Times are ISO 8601 in UTC; `request_counts` are those of the batch at that moment; `client` is name and version.
    """

    number: int
    time: str
    action: str
    message_batch_id: str
    request_counts: Mapping[str, int]
    consent: str
    client: str | None
    outcome: str | None
    outcome_time: str | None
    note: str | None
    request_id: str | None


# Built once: on the way of every act, building a statement costs more than running it.
_intend = insert(_receipts).returning(_receipts.c.number)
_complete = update(_receipts).where(_receipts.c.number == bindparam("of_number"))
_complete_all = update(_receipts).where(
    _receipts.c.action == bindparam("of_action"),
    _receipts.c.message_batch_id == bindparam("of_batch"),
    _receipts.c.outcome.is_(None),
)


class Ledger:
    """The ledger in `folder`, which is made where it is missing. Each call is one statement, and blocks.

    Raises:
        LedgerError: in every method, where the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise LedgerError(error.strerror or str(error), path=str(self._path)) from error
        self._engine = create_engine(
            URL.create("sqlite", database=str(self._path)),
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},  # callers come one at a time
        )
        event.listen(self._engine, "connect", _prepare)
        with ExitStack() as opened, self._failures():
            opened.callback(self._engine.dispose)
            self._connection = opened.enter_context(self._engine.connect())
            version = self._connection.execute(text("PRAGMA user_version")).scalar_one()
            if version > _VERSION:
                raise LedgerError("a newer version of this program wrote it", path=str(self._path))
            if version < _VERSION:
                self._connection.execute(CreateTable(_receipts, if_not_exists=True))
                self._connection.execute(CreateIndex(_by_batch, if_not_exists=True))
                self._connection.execute(text(f"PRAGMA user_version = {_VERSION}"))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def intend(
        self, action: Action, message_batch_id: str, request_counts: Mapping[str, int], consent: str, client: str | None
    ) -> int:
        """Write down what is about to be done, and return the number of the receipt."""
        row = {
            "time": _now(),
            "action": action,
            "message_batch_id": message_batch_id,
            "request_counts": request_counts,
            "consent": consent,
            "client": client,
        }
        with self._failures():
            number: int = self._connection.execute(_intend, row).scalar_one()
            return number

    def complete(
        self, number: int, outcome: Outcome, *, note: str | None = None, request_id: str | None = None
    ) -> None:
        """Write down what came of it."""
        values = {"outcome": outcome, "outcome_time": _now(), "note": note, "request_id": request_id}
        with self._failures():
            self._connection.execute(_complete, {"of_number": number, **values})

    def settle(self, action: Action, message_batch_id: str, outcome: Outcome, note: str) -> int:
        """Complete every open receipt of this act on this batch, and return how many there were."""
        values = {"outcome": outcome, "outcome_time": _now(), "note": note}
        with self._failures():
            found = self._connection.execute(
                _complete_all, {"of_action": action, "of_batch": message_batch_id, **values}
            )
            return found.rowcount

    def receipts(self) -> list[Receipt]:
        """All receipts, oldest first."""
        with self._failures():
            return [Receipt(**row) for row in self._connection.execute(select(_receipts).order_by("number")).mappings()]

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise LedgerError(str(error.orig), path=str(self._path)) from error


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    # Losing power is not the case that receipts are for, a killed server is: for that, WAL without waiting for the
    # disk is enough.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
