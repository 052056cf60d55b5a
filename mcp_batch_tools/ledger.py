"""What this installation did, in a SQLite file that all its servers share: receipts, and which results were saved.

A receipt stands for each act that destroys. It is written before the request (the intent) and completed after it (the
outcome). Nothing here holds content or keys. This module imports SQLAlchemy, so it is imported only when first used.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
    Column("origin", String, nullable=False),
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
_saved = Table(
    "saved_results",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("time", String, nullable=False),
    Column("message_batch_id", String, nullable=False),
    Column("path", String, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("cost_usd", String),
)
_saved_by_batch = Index("saved_results_by_batch", _saved.c.message_batch_id)
_by_batch = Index("receipts_by_batch", _receipts.c.message_batch_id)


@dataclass(frozen=True)
class Receipt:
    """One act. Without an `outcome` nobody knows whether it happened: the server was stopped in the middle of it.

    Times are ISO 8601 in UTC; `origin` is whose batch it was, see `Settings.origin`; `request_counts` are those of the
    batch at that moment; `client` is name and version.
    """

    number: int
    time: str
    origin: str
    action: str
    message_batch_id: str
    request_counts: Mapping[str, int]
    consent: str
    client: str | None
    outcome: str | None
    outcome_time: str | None
    note: str | None
    request_id: str | None


@dataclass(frozen=True)
class SavedResults:
    """A file that all results of a batch were saved to. Whether it is still there and the same is another question.

    `cost_usd` is None where it is not known.
    """

    time: str
    message_batch_id: str
    path: str
    bytes: int
    sha256: str
    cost_usd: str | None


# Built once: on the way of every act, building a statement costs more than running it.
_intend = insert(_receipts).returning(_receipts.c.number)
_complete = update(_receipts).where(_receipts.c.number == bindparam("of_number"))
_complete_all = update(_receipts).where(
    _receipts.c.origin == bindparam("of_origin"),
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
        self._open()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = _identity(self._path)
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
                for table in (_receipts, _saved):
                    self._connection.execute(CreateTable(table, if_not_exists=True))
                for index in (_by_batch, _saved_by_batch):
                    self._connection.execute(CreateIndex(index, if_not_exists=True))
                self._connection.execute(text(f"PRAGMA user_version = {_VERSION}"))
            self._opened = opened.pop_all()

    def _follow_the_name(self) -> None:
        """Open the file anew where another one has its name now: what is written to one without a name is lost."""
        try:
            same = _identity(self._path) == self._file
        except OSError:
            same = False
        if not same:
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def intend(
        self,
        origin: str,
        action: Action,
        message_batch_id: str,
        request_counts: Mapping[str, int],
        consent: str,
        client: str | None,
    ) -> int:
        """Write down what is about to be done, and return the number of the receipt."""
        self._follow_the_name()
        row = {
            "time": _now(),
            "origin": origin,
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

    def settle(self, origin: str, action: Action, message_batch_id: str, outcome: Outcome, note: str) -> int:
        """Complete every open receipt of this act on this batch, and return how many there were."""
        values = {"outcome": outcome, "outcome_time": _now(), "note": note}
        with self._failures():
            found = self._connection.execute(
                _complete_all, {"of_origin": origin, "of_action": action, "of_batch": message_batch_id, **values}
            )
            return found.rowcount

    def note_saved(self, message_batch_id: str, path: Path, size: int, sha256: str, cost_usd: str | None) -> None:
        """Remember a file that all results of a batch were saved to."""
        self._follow_the_name()
        row = {
            "time": _now(),
            "message_batch_id": message_batch_id,
            "path": str(path),
            "bytes": size,
            "sha256": sha256,
            "cost_usd": cost_usd,
        }
        with self._failures():
            self._connection.execute(insert(_saved), row)

    def saved(self, message_batch_id: str) -> list[SavedResults]:
        """The files that the results of a batch were saved to, the latest first."""
        columns = [column for column in _saved.c if column.name != "number"]
        self._follow_the_name()
        query = select(*columns).where(_saved.c.message_batch_id == message_batch_id).order_by(_saved.c.number.desc())
        with self._failures():
            return [SavedResults(**row) for row in self._connection.execute(query).mappings()]

    def _failures(self) -> AbstractContextManager[None]:
        return _failures_of(self._path)


def read_receipts(folder: Path) -> list[Receipt]:
    """All receipts in the ledger in `folder`, oldest first. Nothing is made or changed, so a read-only disk will do.

    Raises:
        LedgerError: it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return []
    # Beside a file that is open elsewhere SQLite needs to write; where nobody can, nobody else does.
    how = "mode=ro" if os.access(folder, os.W_OK) else "immutable=1"
    address = f"{path.absolute().as_uri()}?{how}"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS))
    try:
        with _failures_of(path), engine.connect() as connection:
            return [Receipt(**row) for row in connection.execute(select(_receipts).order_by("number")).mappings()]
    finally:
        engine.dispose()


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise LedgerError(str(error.orig), path=str(path)) from error


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    # Losing power is not the case that receipts are for, a killed server is: for that, WAL without waiting for the
    # disk is enough.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
