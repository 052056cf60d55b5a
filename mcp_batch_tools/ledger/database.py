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
    URL,
    CursorResult,
    Executable,
    RowMapping,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.ledger.tables import metadata, receipts, saved_results, submissions

Action = Literal["cancel", "delete", "create"]
Outcome = Literal["done", "failed"]

FILE = "ledger.db"
_VERSION = 2
_BUSY_SECONDS = 3.0
"""How long a write waits for another server's; each takes well below a millisecond."""


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


_version = text("PRAGMA user_version")
_durable = text("PRAGMA synchronous = FULL")
_fast = text("PRAGMA synchronous = NORMAL")

# Built once: on the way of every act, building a statement costs more than running it.
_intend = insert(receipts).returning(receipts.c.number)
_complete = update(receipts).where(receipts.c.number == bindparam("of_number"))
_complete_all = update(receipts).where(
    receipts.c.origin == bindparam("of_origin"),
    receipts.c.action == bindparam("of_action"),
    receipts.c.message_batch_id == bindparam("of_batch"),
    receipts.c.outcome.is_(None),
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
            version = self._connection.execute(_version).scalar_one()
            if version > _VERSION:
                raise LedgerError("a newer version of this program wrote it", path=str(self._path))
            if version < _VERSION:
                self._connection.execute(text("BEGIN IMMEDIATE"))  # as another server may be about to do the same
                for table in metadata.sorted_tables:
                    self._bring_up_to_date(table)
                self._connection.execute(text(f"PRAGMA user_version = {_VERSION}"))
                self._connection.execute(text("COMMIT"))
            self._opened = opened.pop_all()

    def _bring_up_to_date(self, table: Table) -> None:
        """Make a table, or add the columns that an older version did not have; their values are unknown."""
        self._connection.execute(CreateTable(table, if_not_exists=True))
        there = {row.name for row in self._connection.execute(text(f"PRAGMA table_info({table.name})"))}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(self._engine.dialect)
                self._connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"))
        for index in table.indexes:
            self._connection.execute(CreateIndex(index, if_not_exists=True))

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
            "time": now_text(),
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
        values = {"outcome": outcome, "outcome_time": now_text(), "note": note, "request_id": request_id}
        with self._failures():
            self._connection.execute(_complete, {"of_number": number, **values})

    def settle(self, origin: str, action: Action, message_batch_id: str, outcome: Outcome, note: str) -> int:
        """Complete every open receipt of this act on this batch, and return how many there were."""
        values = {"outcome": outcome, "outcome_time": now_text(), "note": note}
        with self._failures():
            found = self._connection.execute(
                _complete_all, {"of_origin": origin, "of_action": action, "of_batch": message_batch_id, **values}
            )
            return found.rowcount

    def note_saved(self, message_batch_id: str, path: Path, size: int, sha256: str, cost_usd: str | None) -> None:
        """Remember a file that all results of a batch were saved to."""
        self._follow_the_name()
        row = {
            "time": now_text(),
            "message_batch_id": message_batch_id,
            "path": str(path),
            "bytes": size,
            "sha256": sha256,
            "cost_usd": cost_usd,
        }
        with self._failures():
            self._connection.execute(insert(saved_results), row)

    def saved(self, message_batch_id: str) -> list[SavedResults]:
        """The files that the results of a batch were saved to, the latest first."""
        columns = [column for column in saved_results.c if column.name != "number"]
        self._follow_the_name()
        query = select(*columns).where(saved_results.c.message_batch_id == message_batch_id)
        query = query.order_by(saved_results.c.number.desc())
        with self._failures():
            return [SavedResults(**row) for row in self._connection.execute(query).mappings()]

    def execute(self, statement: Executable) -> CursorResult[Any]:
        """Run one statement, for the rooms that keep tables of their own in the ledger."""
        self._follow_the_name()
        with self._failures():
            return self._connection.execute(statement)

    def write(self, statement: Executable) -> Any:
        """Run one statement that outlasts a loss of power once this returns, which takes a while.

        Returns the first value that it returns, else how many rows it changed.
        """
        self._follow_the_name()
        with self._failures():
            self._connection.execute(_durable)
            try:
                done = self._connection.execute(statement)
                return done.scalar() if done.returns_rows else done.rowcount  # with RETURNING, fetching commits
            finally:
                self._connection.execute(_fast)

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
            shown = [Receipt(**row) for row in connection.execute(select(receipts)).mappings()]
            if inspect(connection).has_table(submissions.name):  # an older version made none
                columns = [submissions.c[name] for name in _OF_A_SUBMISSION]
                shown += [_of_a_submission(row) for row in connection.execute(select(*columns)).mappings()]
            return sorted(shown, key=lambda receipt: receipt.time)
    finally:
        engine.dispose()


_SAME = ("number", "time", "origin", "consent", "client", "outcome_time", "note", "request_id")
_OF_A_SUBMISSION = (*_SAME, "message_batch_id", "requests", "outcome")


def _of_a_submission(row: RowMapping) -> Receipt:
    same = {name: row[name] for name in _SAME}
    return Receipt(
        **same,
        action="create",
        message_batch_id=row["message_batch_id"] or "",
        request_counts={"processing": row["requests"]},
        outcome="done" if row["outcome"] == "created" else row["outcome"],
    )


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise LedgerError(str(error.orig), path=str(path)) from error


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    # Losing power is not the case that receipts are for, a killed server is: for that, WAL without waiting for the
    # disk is enough. What may be paid for twice asks for more, see `write`.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def now_text() -> str:
    """The time of day as the ledger keeps it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
