"""Which batches this installation created, in the ledger: one row for each batch's worth of requests.

A row is written before the first byte is sent (the intent) and completed when it is known what came of it. Like the
ledger, this is imported only when first used.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, bindparam, exists, insert, literal, select, update

from mcp_batch_tools.ledger import Ledger, now_text
from mcp_batch_tools.ledger_tables import submissions

Outcome = Literal["created", "failed"]

REMEMBERED = timedelta(days=29)
"""How long the same requests are called the same: as long as results last."""


@dataclass(frozen=True)
class Submission:
    """One batch's worth: `part` of `parts`, counted from 0. Without an `outcome` nobody knows yet what came of it.

    `fingerprint` is that of the whole submission; `newest_before` is the newest batch there was before.
    """

    number: int
    time: str
    origin: str
    fingerprint: str
    part: int
    parts: int
    requests: int
    label: str | None
    retry_of: str | None
    estimate_usd: float | None
    newest_before: str | None
    message_batch_id: str | None
    outcome: str | None
    note: str | None

    @property
    def began(self) -> datetime:
        """When the intent was written."""
        return datetime.fromisoformat(self.time)


_same = submissions.alias("same")
_columns = [submissions.c[field.name] for field in fields(Submission)]


class Submissions:
    """The submissions in a ledger of one `origin`, see `Settings.origin`. Each call blocks, as those of the ledger do.

    Raises:
        LedgerError: in every method, where the file cannot be read or written.
    """

    def __init__(self, ledger: Ledger, origin: str) -> None:
        self._ledger = ledger
        self._origin = origin

    def same(self, fingerprint: str, retry_of: str | None, now: datetime) -> list[Submission]:
        """What was submitted of exactly these requests while results last, the latest first, without what failed."""
        since = _text(now - REMEMBERED)
        query = self._ours().where(
            submissions.c.fingerprint == fingerprint,
            submissions.c.time >= since,
            submissions.c.retry_of.is_not_distinct_from(retry_of),
            submissions.c.outcome.is_distinct_from("failed"),
        )
        return self._all(query)

    def open(self) -> list[Submission]:
        """Those whose outcome is not known."""
        return self._all(self._ours().where(submissions.c.outcome.is_(None)))

    def of_batches(self, message_batch_ids: Collection[str]) -> dict[str, Submission]:
        """The submissions that these batches came from, where it was this installation that made them."""
        query = self._ours().where(submissions.c.message_batch_id.in_(list(message_batch_ids)))
        return {found.message_batch_id: found for found in self._all(query) if found.message_batch_id}

    def labelled(self, label: str) -> set[str]:
        """The batches with this label."""
        found = self._all(self._ours().where(submissions.c.label == label))
        return {submission.message_batch_id for submission in found if submission.message_batch_id}

    def intend(
        self, *, began: datetime, consent: str, client: str | None, allow_duplicate: bool, **what: Any
    ) -> int | None:
        """Write down what is about to be sent (the fields of `Submission`), and return the number of the row.

        None where the same part was sent or is being sent already, by whichever server: this is what makes it once.
        """
        row = {
            "time": _text(began),
            "origin": self._origin,
            "consent": consent,
            "client": client,
            **what,
        }
        values = select(*[literal(value, submissions.c[name].type) for name, value in row.items()])
        if not allow_duplicate:
            values = values.where(
                ~exists().where(
                    _same.c.origin == self._origin,
                    _same.c.fingerprint == what["fingerprint"],
                    _same.c.part == what["part"],
                    _same.c.retry_of.is_not_distinct_from(what["retry_of"]),
                    _same.c.time >= _text(began - REMEMBERED),
                    _same.c.outcome.is_distinct_from("failed"),
                )
            )
        statement = insert(submissions).from_select(list(row), values).returning(submissions.c.number)
        number: int | None = self._ledger.execute(statement).scalar()
        return number

    def complete(
        self,
        number: int,
        outcome: Outcome,
        *,
        message_batch_id: str | None = None,
        note: str | None = None,
        request_id: str | None = None,
        hashes: bytes | None = None,
    ) -> None:
        """Write down what came of it; `hashes` is whatever tells later which requests have changed."""
        values = {
            "hashes": hashes,
            "of_number": number,
            "outcome": outcome,
            "outcome_time": now_text(),
            "message_batch_id": message_batch_id,
            "note": note,
            "request_id": request_id,
        }
        self._ledger.execute(update(submissions).where(submissions.c.number == bindparam("of_number")), values)

    def hashes(self, message_batch_id: str) -> bytes | None:
        """What `complete` was given for the requests of a batch."""
        query = select(submissions.c.hashes).where(submissions.c.message_batch_id == message_batch_id)
        kept: bytes | None = self._ledger.execute(query.where(submissions.c.origin == self._origin)).scalar()
        return kept

    def _ours(self) -> Select[Any]:
        return select(*_columns).where(submissions.c.origin == self._origin).order_by(submissions.c.number.desc())

    def _all(self, query: Select[Any]) -> list[Submission]:
        return [Submission(**row) for row in self._ledger.execute(query).mappings()]


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
