"""The real schema and statements on a database in memory; every change of state is held against the table of them."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Row, Transaction

Result = TypeVar("Result")

ARROWS = {
    (None, "claimed"),
    ("claimed", "sent"),
    ("claimed", "not_created"),
    ("sent", "created"),
    ("sent", "not_created"),
    ("sent", "abandoned"),
    ("created", "sent"),
    ("created", "forgotten"),
    ("not_created", "created"),
    ("abandoned", "created"),
}
_ROWS = "SELECT id, state, evidence, message_batch_id, batch_created_at, api_sent FROM submissions"


class Violation(AssertionError):
    """Something happened that must never happen."""


class Rewritten(Transaction):
    """A transaction in which some statements are replaced by others."""

    def __init__(self, connection: sqlite3.Connection, instead: Mapping[str, str]) -> None:
        super().__init__(connection)
        self._instead = instead
        self.stale: Transaction | None = None

    def rows(self, statement: str, **parameters: Any) -> list[Row]:
        if self.stale is not None and statement == statements.RIVALS:
            return self.stale.rows(statement, **parameters)
        return super().rows(self._instead.get(statement, statement), **parameters)

    def row(self, statement: str, **parameters: Any) -> Row | None:
        if self.stale is not None and statement == statements.OWNED:
            return self.stale.row(statement, **parameters)
        return super().row(self._instead.get(statement, statement), **parameters)

    def change(self, statement: str, **parameters: Any) -> int:
        return super().change(self._instead.get(statement, statement), **parameters)


class Ledger:
    """One database for many schedules, to be closed; `watch` is told of every row that a transaction has changed."""

    def __init__(
        self,
        instead: Mapping[str, str] | None = None,
        without_indexes: tuple[str, ...] = (),
        other_indexes: tuple[str, ...] = (),
    ) -> None:
        self._connection, self._kept = _in_memory(), _in_memory()
        for statement in statements.SCHEMA:
            self._connection.execute(statement)
        for index in without_indexes:
            self._connection.execute(f"DROP INDEX {index}")
        for statement in other_indexes:
            self._connection.execute(statement)
        self._transaction = Rewritten(self._connection, instead or {})
        self.clear(lambda before, after: None)

    def close(self) -> None:
        self._connection.close()
        self._kept.close()

    def clear(self, watch: Callable[[Row | None, Row], None]) -> None:
        """Begin anew."""
        self._connection.execute("DELETE FROM submissions")
        self._connection.execute("DELETE FROM receipts")
        self.states: dict[str, Row] = {}
        self._watch = watch
        self._transaction.stale = None

    def keep_rows(self) -> None:
        """From here on, rivals and owners are those of now."""
        self._connection.backup(self._kept)
        self._transaction.stale = Transaction(self._kept)

    def run(self, work: Callable[[Transaction], Result], *, changes: bool) -> Result:
        """Do `work` in one transaction, and look at what it has changed."""
        if not changes:
            return work(self._transaction)
        self._connection.execute("BEGIN")
        try:
            result = work(self._transaction)
        except sqlite3.Error as error:
            self._connection.execute("ROLLBACK")
            raise Violation(f"the database refuses: {error}") from error
        self._connection.execute("COMMIT")
        self._compare()
        return result

    def _compare(self) -> None:
        for row in self._connection.execute(_ROWS).fetchall():
            before = self.states.get(row["id"])
            if before is not None and tuple(before) == tuple(row):
                continue
            self.states[row["id"]] = row
            _check_row(row)
            earlier = None if before is None else before["state"]
            if earlier != row["state"] and (earlier, row["state"]) not in ARROWS:
                raise Violation(f"{row['id']}: {earlier} -> {row['state']} is not in the table")
            self._watch(before, row)


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _check_row(row: Row) -> None:
    """Each state has its facts, and no others."""
    has_batch = row["message_batch_id"] is not None and row["batch_created_at"] is not None
    known = row["state"] in {"created", "forgotten"}
    if known != has_batch or known != (row["evidence"] is not None):
        raise Violation(f"{row['id']} is {row['state']} with {row['evidence']}, {row['message_batch_id']}")
    if row["state"] == "claimed" and row["api_sent"] is not None:
        raise Violation(f"{row['id']} is claimed, but has a time of sending")
