"""Which batches this installation created, in the ledger: one row for each batch's worth of requests.

A row is written before the first byte is sent (the intent) and completed when it is known what came of it. Until then
it says until when somebody is at work on it. Like the ledger, this is imported only when first used.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, literal, or_, select, update

from mcp_batch_tools.ledger.database import Ledger, now_text
from mcp_batch_tools.ledger.tables import submissions

Outcome = Literal["created", "failed"]

REMEMBERED = timedelta(days=29)
"""How long the same requests are called the same: as long as results last."""


@dataclass(frozen=True)
class Submission:
    """One batch's worth: `part` of `parts`, counted from 0. Without an `outcome` nobody knows yet what came of it.

    `submission` is shared by all parts that one call sends, `whole` is the fingerprint of all and `fingerprint` that of
    this part; `newest_before` is the newest batch there was before, created at `newest_at`; `until` is when whoever is
    sending has surely stopped, and `sent_whole` says whether the last byte may have left by then.
    """

    number: int
    time: str
    origin: str
    submission: str | None
    whole: str | None
    fingerprint: str
    part: int
    parts: int
    requests: int
    label: str | None
    retry_of: str | None
    estimate_usd: float | None
    newest_before: str | None
    newest_at: str | None
    until: str | None
    sent_whole: bool | None
    message_batch_id: str | None
    outcome: str | None
    note: str | None

    @property
    def began(self) -> datetime:
        """When the intent was written."""
        return datetime.fromisoformat(self.time)

    @property
    def anchor(self) -> datetime | None:
        """When the newest batch before it was created, by the API's clock; None where there was none."""
        return datetime.fromisoformat(self.newest_at) if self.newest_at else None

    @property
    def over(self) -> datetime:
        """When nobody is sending any more."""
        return datetime.fromisoformat(self.until or self.time)


@dataclass(frozen=True)
class Claim:
    """A row that a sender has written: what is in it, and its number."""

    number: int
    row: Mapping[str, Any]


_columns = [submissions.c[field.name] for field in fields(Submission)]
_claimed = submissions.alias("claimed")


class Submissions:
    """The submissions in a ledger to one `endpoint` of the API by one `origin`, see `Settings`. Each call blocks.

    What was sent counts for all keys: a key can be another one of the same workspace.

    Raises:
        LedgerError: in every method, where the file cannot be read or written.
    """

    def __init__(self, ledger: Ledger, endpoint: str, origin: str) -> None:
        self._ledger = ledger
        self._endpoint = endpoint
        self._origin = origin

    def same(self, fingerprints: Collection[str], now: datetime) -> list[Submission]:
        """What was submitted of these parts while results last, the latest first, without what failed."""
        return self._all(
            self._here().where(submissions.c.fingerprint.in_(list(fingerprints)), *_counting(submissions, now))
        )

    def latest_duplicate(self, whole: str, retry_of: str | None, now: datetime) -> list[Submission]:
        """All parts of the latest submission that sent exactly these requests again, while results last."""
        recent = submissions.c.time >= _text(now - REMEMBERED)
        same = [submissions.c.whole == whole, submissions.c.retry_of.is_not_distinct_from(retry_of)]
        found = self._all(self._here().where(*same, submissions.c.duplicate.is_(True), recent).limit(1))
        return self._all(self._here().where(submissions.c.submission == found[0].submission)) if found else []

    def retries_of(self, message_batch_id: str) -> list[Submission]:
        """What was sent again of a batch, the latest first, without what failed."""
        return self._all(
            self._here().where(
                submissions.c.retry_of == message_batch_id, submissions.c.outcome.is_distinct_from("failed")
            )
        )

    def last_number(self) -> int:
        """That of the newest row, 0 where there is none."""
        return self._ledger.execute(select(func.max(submissions.c.number))).scalar() or 0

    def open(self) -> list[Submission]:
        """Those whose outcome is not known."""
        return self._all(self._here().where(submissions.c.outcome.is_(None)))

    def of_claim(self, claim: Claim) -> Submission | None:
        """The row as it is now."""
        return next(iter(self._all(self._here().where(_is(claim)))), None)

    def of_batches(self, message_batch_ids: Collection[str]) -> dict[str, Submission]:
        """The submissions that these batches came from, where it was this installation that made them."""
        query = self._here().where(submissions.c.message_batch_id.in_(list(message_batch_ids)))
        return {found.message_batch_id: found for found in self._all(query) if found.message_batch_id}

    def labelled(self, label: str) -> set[str]:
        """The batches with this label."""
        found = self._all(self._here().where(submissions.c.label == label))
        return {submission.message_batch_id for submission in found if submission.message_batch_id}

    def intend(
        self, *, now: datetime, until: datetime, again: bool, open_since: datetime, last_seen: int, **what: Any
    ) -> Claim | None:
        """Write down what is about to be sent: the fields of `Submission`.

        None where the same is being sent already, by whichever server, and where it was sent and is not to be sent
        `again`. Even then those count that are newer than row `last_seen`, or open with a sender that was at work after
        `open_since`. Of a retry, any newer one of the same requests or of that batch counts. All of it is one
        statement, which is what makes it once.
        """
        row = {
            "time": _text(now),
            "until": _text(until),
            "sent_whole": False,
            "origin": self._origin,
            "endpoint": self._endpoint,
            **what,
        }
        counts = [_claimed.c.endpoint == self._endpoint, *_counting(_claimed, now)]
        newer = (_claimed.c.number > last_seen) & (_claimed.c.submission != what["submission"])
        same = _claimed.c.fingerprint == what["fingerprint"]
        counts.append(same if what["retry_of"] is None else or_(same, _claimed.c.retry_of == what["retry_of"]))
        if again:
            under_way = _claimed.c.outcome.is_(None) & (_claimed.c.until > _text(open_since))
            here = (_claimed.c.submission == what["submission"]) & (_claimed.c.part == what["part"])
            counts.append(or_(under_way, newer, here & (_claimed.c.outcome == "created")))
        elif what["retry_of"] is not None:
            counts.append(newer)
        values = select(*[literal(value, submissions.c[name].type) for name, value in row.items()])
        statement = insert(submissions).from_select(list(row), values.where(~exists().where(*counts)))
        number = self._ledger.write(statement.returning(submissions.c.number))
        return None if number is None else Claim(number, row)

    def extend(self, claim: Claim, until: datetime, *, sent_whole: bool) -> bool:
        """Say until when this server may be at work on it; false where another one has completed it meanwhile."""
        values = {"until": _text(until), "sent_whole": sent_whole}
        return self._update(_is(claim), submissions.c.outcome.is_(None), **values)

    def created(self, claim: Claim, message_batch_id: str, *, request_id: str | None) -> None:
        """Write down which batch came of it. It is known, so it overrides what others have made of the row.

        Where the row is lost, as the file was replaced meanwhile, it is written once more.
        """
        outcome = {"outcome": "created", "message_batch_id": message_batch_id, "request_id": request_id, "note": None}
        if not self._complete(_is(claim), **outcome):
            row = {**claim.row, **outcome, "outcome_time": now_text()}
            self._ledger.write(insert(submissions).values(row))

    def failed(self, claim: Claim, *, note: str) -> None:
        """Write down that no batch came of it. It is known, so it overrides what others have made of the row."""
        self._complete(_is(claim), outcome="failed", message_batch_id=None, note=note)

    def settle(self, seen: Submission, outcome: Outcome, *, note: str, message_batch_id: str | None = None) -> bool:
        """Write down what was found out about a row, if it is still as it was `seen`, and the batch is no other's."""
        still = [
            submissions.c.number == seen.number,
            submissions.c.outcome.is_(None),
            submissions.c.until.is_not_distinct_from(seen.until),
        ]
        if message_batch_id is not None:
            still.append(~exists().where(_claimed.c.message_batch_id == message_batch_id))
        return self._complete(*still, outcome=outcome, note=note, message_batch_id=message_batch_id)

    def hashes(self, *message_batch_ids: str) -> bytes:
        """The hashes of the requests of these batches, see `request_hashes`; nothing for what is not known."""
        query = select(submissions.c.hashes).where(
            submissions.c.message_batch_id.in_(message_batch_ids), submissions.c.hashes.is_not(None)
        )
        return b"".join(self._ledger.execute(query).scalars())

    def _complete(self, *which: ColumnElement[bool], **values: Any) -> bool:
        return self._update(*which, outcome_time=now_text(), **values)

    def _update(self, *which: ColumnElement[bool], **values: Any) -> bool:
        return bool(self._ledger.write(update(submissions).where(*which).values(**values)))

    def _here(self) -> Select[Any]:
        of_this_api = or_(
            submissions.c.endpoint == self._endpoint,
            submissions.c.endpoint.is_(None) & (submissions.c.origin == self._origin),  # of an older version
        )
        return select(*_columns).where(of_this_api).order_by(submissions.c.number.desc())

    def _all(self, query: Select[Any]) -> list[Submission]:
        return [Submission(**row) for row in self._ledger.execute(query).mappings()]


def _counting(table: Any, now: datetime) -> list[ColumnElement[bool]]:
    """What counts as sent: while results last, and without what failed."""
    return [table.c.time >= _text(now - REMEMBERED), table.c.outcome.is_distinct_from("failed")]


def _is(claim: Claim) -> ColumnElement[bool]:
    """Its row, and no other one of that number in another file of that name."""
    same = [submissions.c[name] == claim.row[name] for name in ("submission", "part", "time")]
    return and_(submissions.c.number == claim.number, *same)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
