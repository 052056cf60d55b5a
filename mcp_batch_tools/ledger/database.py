"""The database of an installation: a SQLite file that all its servers share, opened by the first act.

Every piece of work is a function of a `Transaction`, so that what belongs together is written together. The SQL itself
stands in `statements`, in the subset that SQLite and PostgreSQL share.
"""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.ledger.statements import MIGRATIONS, SCHEMA, VERSION

FILE = "ledger.db"
_BUSY_SECONDS = 3.0
"""How long a write waits for another server's; each takes well below a millisecond."""
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

Row = Mapping[str, Any]
Result = TypeVar("Result")


class Transaction:
    """Statements that take effect together, or not at all. Parameters are named, as in `:name`.

    `redact` takes secrets out of every text before it reaches the database.
    """

    def __init__(self, connection: sqlite3.Connection, redact: Callable[[str], str] = str) -> None:
        self._connection = connection
        self._redact = redact

    def rows(self, statement: str, **parameters: Any) -> list[Row]:
        """All rows that a statement returns; they can be read like mappings."""
        return self._executed(statement, parameters).fetchall()

    def row(self, statement: str, **parameters: Any) -> Row | None:
        """The first row that a statement returns, or None."""
        found: Row | None = self._executed(statement, parameters).fetchone()
        return found

    def change(self, statement: str, **parameters: Any) -> int:
        """How many rows a statement changed."""
        return self._executed(statement, parameters).rowcount

    def _executed(self, statement: str, parameters: Mapping[str, Any]) -> sqlite3.Cursor:
        clean = {name: self._redact(value) if isinstance(value, str) else value for name, value in parameters.items()}
        return self._connection.execute(statement, clean)


class Database:
    """The database in `folder`; both are made where they are missing, readable by nobody else.

    `redact` takes secrets out of every text before it is written.

    Raises:
        LedgerError: in every method, where the file cannot be used. A file that was replaced or removed meanwhile is
            not used, since what this process knows of it may be wrong.
    """

    def __init__(self, folder: Path, redact: Callable[[str], str] = str) -> None:
        self.path = folder / FILE
        self._redact = redact
        self._lock = threading.Lock()
        self._waits = _BUSY_SECONDS
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.name == "posix" and folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise LedgerError("unsafe_folder", path=str(folder))
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._identity = _identity_of(self.path)
        except OSError as error:
            raise LedgerError("unusable", path=str(self.path), text=error.strerror or str(error)) from error
        with _failures_of(self.path):
            self._connection = _connected(str(self.path))
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        # Losing power is not the case that receipts are for, a killed server is: for that, WAL without waiting for the
        # disk is enough. What may be paid for twice asks for more, see `write`.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if self._version() == VERSION:
            return
        with self._begun("IMMEDIATE"):  # as another server may be about to do the same
            version = self._version()
            if version not in {0, *MIGRATIONS, VERSION}:
                raise LedgerError("other_version", path=str(self.path))
            statements = [statement for before in range(version, VERSION) for statement in MIGRATIONS.get(before, ())]
            for statement in statements if version else SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    async def read(self, work: Callable[[Transaction], Result]) -> Result:
        """What `work` finds, as it was at one moment; it must change nothing. A writer elsewhere holds nobody up."""
        return await self._at_once_or_patiently(work, "DEFERRED")

    async def write(self, work: Callable[[Transaction], Result], *, durable: bool = False) -> Result:
        """Do `work` in one transaction, at once where the database is free, else in a thread that waits for it.

        With `durable` it outlasts a loss of power once this returns, which takes the disk a while.
        """
        if durable:
            return await anyio.to_thread.run_sync(self._patiently, work, "IMMEDIATE", True)
        return await self._at_once_or_patiently(work, "IMMEDIATE")

    async def _at_once_or_patiently(self, work: Callable[[Transaction], Result], kind: str) -> Result:
        if self._lock.acquire(blocking=False):
            try:
                return self._transact(work, kind, wait=0)
            except LedgerError as error:
                if error.reason != "busy":
                    raise
            finally:
                self._lock.release()
        return await anyio.to_thread.run_sync(self._patiently, work, kind)

    def _patiently(self, work: Callable[[Transaction], Result], kind: str, durable: bool = False) -> Result:
        with self._lock:
            if not durable:
                return self._transact(work, kind, wait=_BUSY_SECONDS)
            with _failures_of(self.path):
                self._connection.execute("PRAGMA synchronous = FULL")
            try:
                return self._transact(work, kind, wait=_BUSY_SECONDS)
            finally:
                with _failures_of(self.path):
                    self._connection.execute("PRAGMA synchronous = NORMAL")

    def _transact(self, work: Callable[[Transaction], Result], kind: str, *, wait: float) -> Result:
        try:
            same = _identity_of(self.path) == self._identity
        except OSError:
            same = False
        if not same:
            raise LedgerError("replaced", path=str(self.path))
        with _failures_of(self.path):
            if wait != self._waits:
                self._connection.execute(f"PRAGMA busy_timeout = {wait * 1000:.0f}")
                self._waits = wait
            with self._begun(kind):
                return work(Transaction(self._connection, self._redact))

    @contextmanager
    def _begun(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


@contextmanager
def opened_read_only(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database in `folder`, for reading: nothing is made or changed, so a read-only disk will do.

    Raises:
        LedgerError: it cannot be read, or another version wrote it.
    """
    path = folder / FILE
    # Beside a file that is open elsewhere SQLite needs to write; where nobody can, nobody else does.
    how = "mode=ro" if os.access(folder, os.W_OK) else "immutable=1"
    with _failures_of(path):
        connection = _connected(f"{path.absolute().as_uri()}?{how}", uri=True)
        try:
            # What is read here is the same in all of them.
            if connection.execute("PRAGMA user_version").fetchone()[0] not in {*MIGRATIONS, VERSION}:
                raise LedgerError("other_version", path=str(path))
            yield connection
        finally:
            connection.close()


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into what is known of it."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise LedgerError("busy" if code in _LOCKED else "unusable", path=str(path), text=str(error)) from error


def _connected(address: str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=uri, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.row_factory = sqlite3.Row
    return connection


def _identity_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
