"""The attempts of one workspace in the ledger. Each change of state names the state that it comes from.

Every function is work for one transaction of the ledger's database; all times are in milliseconds.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Transaction
from mcp_batch_tools.ledger.statements import new_id
from mcp_batch_tools.requests.fingerprint import by_custom_id
from mcp_batch_tools.submissions.match import (
    Absent,
    Found,
    Listed,
    Listing,
    Ours,
    Unclear,
    Verdict,
    is_past,
    match,
    may_have_made,
)
from mcp_batch_tools.submissions.states import CLOCK_OFF, REMEMBERED, WINDOW_AFTER, WINDOW_BEFORE, Attempt


@dataclass(frozen=True)
class Claim:
    """What a sender writes down before it sends a part; see `Attempt` for the fields. `hashes` are of its requests."""

    scope: str
    plan_fingerprint: str
    round: int
    fingerprint: str
    copy: int
    part: int
    parts: int
    requests: int
    retry_of: str | None
    seq: int | None
    label: str | None
    estimate_usd: str | None
    consent: str
    consent_id: str | None
    client: str | None
    newest_before: str | None
    newest_created_at: int | None
    api_claimed: int | None
    lease_expires_at: int
    models: Sequence[str]
    hashes: bytes


def claim(transaction: Transaction, wanted: Claim, now: int) -> Attempt | None:
    """Claim the right to send a part; None where somebody else has it."""
    facts = {**vars(wanted), "models": json.dumps(list(wanted.models)), "hashes": b64encode(wanted.hashes).decode()}
    row = transaction.row(statements.CLAIM, **facts, id=new_id(now), time=now)
    return None if row is None else attempt_by_id(transaction, row["id"])


def attempt_by_id(transaction: Transaction, attempt_id: str) -> Attempt | None:
    """The attempt as it is now."""
    row = transaction.row(statements.ATTEMPT, id=attempt_id)
    return None if row is None else Attempt.from_row(row)


def attempts_of_content(transaction: Transaction, scope: str, fingerprints: Collection[str]) -> list[Attempt]:
    """Every attempt at one of these contents, in whatever state, oldest first."""
    rows = [
        row
        for fingerprint in dict.fromkeys(fingerprints)
        for row in transaction.rows(statements.ATTEMPTS_OF_CONTENT, scope=scope, fingerprint=fingerprint)
    ]
    return sorted(map(Attempt.from_row, rows), key=lambda attempt: attempt.id)


def attempts_of_retries(transaction: Transaction, scope: str, message_batch_id: str) -> list[Attempt]:
    """Every attempt that retries this batch, in whatever state, oldest first."""
    return [
        Attempt.from_row(row)
        for row in transaction.rows(statements.ATTEMPTS_OF_RETRIES, scope=scope, retry_of=message_batch_id)
    ]


def attempts_of_consent(transaction: Transaction, consent_id: str) -> list[Attempt]:
    """The attempts that the answer to one question led to, by part."""
    rows = transaction.rows(statements.ATTEMPTS_OF_CONSENT, consent_id=consent_id)
    return [Attempt.from_row(row) for row in rows]


def attempt_of_batch(transaction: Transaction, scope: str, message_batch_id: str) -> Attempt | None:
    """The attempt that this batch came from, where it was made here."""
    row = transaction.row(statements.ATTEMPT_OF_BATCH, scope=scope, message_batch_id=message_batch_id)
    return None if row is None else Attempt.from_row(row)


def batches_labelled(transaction: Transaction, scope: str, label: str) -> set[str]:
    """The ids of the batches that were created here with this label."""
    rows = transaction.rows(statements.ATTEMPTS_OF_LABEL, scope=scope, label=label)
    return {row["message_batch_id"] for row in rows if row["message_batch_id"]}


def labels(transaction: Transaction, scope: str, most: int) -> list[str]:
    """The labels that were given here, those of the newest creates first, and no more than `most`."""
    return [row["label"] for row in transaction.rows(statements.LABELS, scope=scope, most=most)]


def hashes_of(transaction: Transaction, scope: str, message_batch_ids: Collection[str]) -> bytes:
    """The hashes of the requests in these batches (see `requests.fingerprint`); nothing for those not made here."""
    found = (
        transaction.row(statements.HASHES_OF_BATCH, scope=scope, message_batch_id=batch) for batch in message_batch_ids
    )
    return b"".join(b64decode(row["hashes"]) for row in found if row and row["hashes"])


def attempt_hashes(transaction: Transaction, attempt: Attempt) -> bytes:
    """The hashes of the requests of one attempt."""
    row = transaction.row(statements.HASHES_OF_ATTEMPT, id=attempt.id)
    return b64decode(row["hashes"]) if row and row["hashes"] else b""


def renew_lease(transaction: Transaction, attempt: Attempt, lease_expires_at: int) -> bool:
    """Say that a piece of the body is on its way; False where somebody else has ended the attempt meanwhile."""
    return bool(transaction.change(statements.RENEW_LEASE, id=attempt.id, lease_expires_at=lease_expires_at))


def mark_sent(transaction: Transaction, attempt: Attempt, api_sent: int | None, lease_expires_at: int) -> bool:
    """Claimed -> sent, before the last piece is handed over; False where it must not be handed over any more."""
    changed = transaction.change(
        statements.MARK_SENT, id=attempt.id, api_sent=api_sent, lease_expires_at=lease_expires_at
    )
    return bool(changed)


def sender_stopped(transaction: Transaction, attempt: Attempt, now: int) -> None:
    """End the lease of a sent attempt, so that others may look for its batch at once."""
    transaction.change(statements.SENDER_STOPPED, id=attempt.id, now=now)


def not_created(transaction: Transaction, attempt: Attempt, now: int, note: str, *, unchanged: bool = False) -> bool:
    """Its state -> not_created; with `unchanged` only if nobody has changed the attempt since it was read."""
    changed = transaction.change(
        statements.NOT_CREATED,
        id=attempt.id,
        from_state=attempt.state,
        version=attempt.version if unchanged else None,
        now=now,
        note=note,
    )
    return bool(changed)


def answered(transaction: Transaction, attempt: Attempt, batch: Listed, now: int, *, request_id: str | None) -> None:
    """Any state -> created. The API's answer is the truth, whatever others have made of the attempt meanwhile.

    It takes its batch from an attempt that got it without an answer, and the next free copy where its own is taken.
    """
    attempt = attempt_by_id(transaction, attempt.id) or attempt  # it may belong to another scope by now
    own = {"scope": attempt.scope, "id": attempt.id}
    transaction.change(statements.RELEASE_BATCH, **own, message_batch_id=batch.id)
    copy, content = attempt.copy, {**own, "fingerprint": attempt.fingerprint}
    if transaction.row(statements.COPY_TAKEN, **content, copy=copy):
        copy = (transaction.row(statements.NEXT_COPY, **content) or {"copy": copy})["copy"]
    transaction.change(
        statements.ANSWERED,
        id=attempt.id,
        copy=copy,
        message_batch_id=batch.id,
        batch_created_at=batch.created_at,
        request_id=request_id,
        now=now,
    )


def abandon(transaction: Transaction, attempt: Attempt, now: int) -> bool:
    """Sent -> abandoned, as the user said to send again; False where somebody has found out more meanwhile."""
    return bool(transaction.change(statements.ABANDON, id=attempt.id, version=attempt.version, now=now))


def forget_old(transaction: Transaction, scope: str, api_now: int) -> None:
    """Created -> forgotten for what is older than results last."""
    transaction.change(statements.FORGET, scope=scope, before=api_now - REMEMBERED)


def open_attempts(transaction: Transaction, scope: str) -> list[Attempt]:
    """Attempts of which it is not known for good what became of them, oldest first."""
    return [Attempt.from_row(row) for row in transaction.rows(statements.OPEN_ATTEMPTS, scope=scope)]


def reconcile_attempt(transaction: Transaction, attempt: Attempt, listing: Listing, now: int) -> Verdict:
    """Find out what became of an attempt, by a list that was read before, and write down what is plain now.

    Where somebody has changed the attempt since it was read, nothing is written.
    """
    current = attempt_by_id(transaction, attempt.id)
    if current is None or current.version != attempt.version:
        return Unclear(())
    deleted = _deleted_here(transaction, attempt)
    # Two clocks must agree that it is late enough: the API's alone may come from a cache, or from something in between.
    late_here = now >= attempt.lease_expires_at + WINDOW_AFTER
    listing = replace(listing, deleted=deleted, now=listing.now if late_here else None)
    rivals = transaction.rows(statements.RIVALS, scope=attempt.scope, requests=attempt.requests, id=attempt.id)
    listed = [batch for batch in [*listing.batches, *deleted] if batch.requests == attempt.requests]
    owned = {batch.id for batch in listed if _is_owned(transaction, attempt, batch.id)}
    # Whoever could have made a batch that was found stood against it then; a rival that came later cannot have.
    others = [] if attempt.state == "created" else [Attempt.from_row(row) for row in rivals]
    verdict = match(attempt, listing, Ours(others, owned))
    _apply(transaction, attempt, verdict, listing, now)
    return verdict


def conclude(transaction: Transaction, attempt: Attempt, batch: Listed, *, ours: bool, now: int) -> Attempt:
    """Write down what the results of a batch that fits have told, and return the attempt as it is then.

    One that is `ours` is confirmed, unless another attempt with the same custom ids may have made it. Another one is
    remembered as refuted, and the attempt goes back to sent where it was taken for ours. Nothing is written where
    somebody has changed the attempt since it was read.
    """
    if not ours:
        refuted = json.dumps(sorted({*attempt.refuted, batch.id}))
        transaction.change(statements.DOUBTED, id=attempt.id, version=attempt.version, refuted=refuted)
    elif attempt.state == "created" or (
        not _may_be_a_rivals(transaction, attempt, batch) and _found(transaction, attempt, batch, now)
    ):
        version = attempt.version + (attempt.state != "created")
        transaction.change(statements.EVIDENCE, id=attempt.id, version=version, evidence="confirmed")
    return attempt_by_id(transaction, attempt.id) or attempt


def _may_be_a_rivals(transaction: Transaction, attempt: Attempt, batch: Listed) -> bool:
    """Whether results cannot tell whose batch this is: a file that was corrected has the custom ids of the first."""
    rows = transaction.rows(statements.RIVALS, scope=attempt.scope, requests=attempt.requests, id=attempt.id)
    rivals = [rival for rival in map(Attempt.from_row, rows) if may_have_made(rival, batch)]
    own = by_custom_id(attempt_hashes(transaction, attempt)).keys() if rivals else ()
    return any(not by_custom_id(attempt_hashes(transaction, rival)).keys().isdisjoint(own) for rival in rivals)


def _found(transaction: Transaction, attempt: Attempt, batch: Listed, now: int) -> bool:
    """Sent -> created, provisionally; False where the attempt was changed meanwhile, or the batch is another's."""
    if _is_owned(transaction, attempt, batch.id):
        return False
    changed = transaction.change(
        statements.FOUND,
        id=attempt.id,
        version=attempt.version,
        message_batch_id=batch.id,
        batch_created_at=batch.created_at,
        now=now,
    )
    return bool(changed)


def _apply(transaction: Transaction, attempt: Attempt, verdict: Verdict, listing: Listing, now: int) -> None:
    if attempt.state == "sent":
        match verdict:
            case Found(batch):
                _found(transaction, attempt, batch, now)
            case Absent():
                not_created(transaction, attempt, now, "not in the list of batches", unchanged=True)
            case Unclear():
                pass
        return
    match verdict:
        case Found(batch) if batch.id == attempt.message_batch_id:
            if is_past(attempt, listing.now):
                transaction.change(statements.EVIDENCE, id=attempt.id, version=attempt.version, evidence="sole")
        case Found() | Unclear() if _fits_another(verdict, attempt):
            refuted = json.dumps(sorted(attempt.refuted))
            transaction.change(statements.DOUBTED, id=attempt.id, version=attempt.version, refuted=refuted)
        case _:
            pass


def _fits_another(verdict: Verdict, attempt: Attempt) -> bool:
    candidates = verdict.candidates if isinstance(verdict, Unclear) else ()
    fitting = [verdict.batch] if isinstance(verdict, Found) else candidates
    return any(batch.id != attempt.message_batch_id for batch in fitting)


def _is_owned(transaction: Transaction, attempt: Attempt, message_batch_id: str) -> bool:
    owner = transaction.row(statements.OWNED, scope=attempt.scope, message_batch_id=message_batch_id, id=attempt.id)
    return owner is not None


def _deleted_here(transaction: Transaction, attempt: Attempt) -> list[Listed]:
    """Batches that this installation deleted since the attempt, which may be the one that it made."""
    if attempt.api_claimed is None:
        return []
    since = attempt.api_claimed - WINDOW_BEFORE - CLOCK_OFF  # a receipt carries the time of its machine
    rows = transaction.rows(statements.DELETED_SINCE, scope=attempt.scope, since=since)
    return [
        Listed(row["message_batch_id"], row["batch_created_at"], sum(json.loads(row["request_counts"]).values()))
        for row in rows
    ]
