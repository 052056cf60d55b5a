"""What this installation knows of the batches it created, and what became of those whose answer was lost."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.submissions.sending import SETTLED_AFTER, Attempt, Found, in_time, look_for
from mcp_batch_tools.tools.acts import completed, in_ledger
from mcp_batch_tools.tools.answers import Time
from mcp_batch_tools.tools.app import App

if TYPE_CHECKING:
    from mcp_batch_tools.submissions.store import Submission

FOUND = "found in the list by its number of requests, its answer was lost"
"""The note of a submission whose batch is inferred."""

_log = logging.getLogger(__name__)


class Candidate(BaseModel):
    """A batch that may be the one that was sent."""

    id: str
    created_at: Time
    requests: int


@dataclass(frozen=True)
class Unsettled:
    """A submission of which it is not known what became, and the batches that it may have become."""

    submission: "Submission"
    candidates: list[Candidate]


async def submissions_known(app: App, message_batch_ids: list[str]) -> "dict[str, Submission]":
    """What this installation knows of these batches; nothing where the ledger cannot be read, as looking needs none."""
    if not app.remembers:
        return {}
    try:
        await settle_open(app)
        return await in_ledger(lambda: app.submissions.of_batches(message_batch_ids))
    except (LedgerError, BatchError) as error:
        _log.warning("What was submitted cannot be told: %s", error)
        return {}


async def batches_labelled(app: App, label: str) -> set[str]:
    """The batches that were created here with this label.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not app.remembers:
        return set()
    await settle_open(app)
    return await in_ledger(lambda: app.submissions.labelled(label))


async def settle_open(app: App) -> list[Unsettled]:
    """Find out what became of every open submission, and return those of which that cannot be told now."""
    unsettled = []
    for submission in await in_ledger(lambda: app.submissions.open()):
        if submission.over > app.client.now() and not submission.sent_whole:
            unsettled.append(Unsettled(submission, []))  # somebody is at work on it
            continue
        found = await settle(app, submission, patient=False)
        if found.outcome == "unknown":
            unsettled.append(Unsettled(submission, [candidate(batch) for batch in found.candidates]))
    return unsettled


async def settle(app: App, lost: "Submission", *, patient: bool) -> Found:
    """Look for the batch of a submission that was sent, and complete its row where it is plain what became of it."""
    submissions = app.submissions
    if lost.sent_whole is False:
        note = "the server stopped before all of it was sent"
        await completed(lambda: submissions.settle(lost, "failed", note=note))
        return Found("absent", [])
    if not await _same_workspace(app, lost):
        return Found("unknown", [])

    async def known(message_batch_ids: list[str]) -> set[str]:
        return set(await in_ledger(lambda: submissions.of_batches(message_batch_ids)))

    attempt = attempt_of(lost)
    found = await look_for(app.client, attempt, known, patient=patient)
    if found.outcome == "absent":
        note = "not in the list of batches"
        await completed(lambda: submissions.settle(lost, "failed", note=note))
        return found
    if found.outcome == "created":
        batch = found.candidates[0]
        others = [
            other
            for other in await in_ledger(submissions.open)
            if other.requests == lost.requests and other.number != lost.number and in_time(attempt_of(other), batch)
        ]
        # Asked last: another one may have learned just now that this batch is its own.
        if not others and not await known([batch.id]):
            await completed(lambda: submissions.settle(lost, "created", message_batch_id=batch.id, note=FOUND))
            return found
    return Found("unknown", found.candidates, found.not_listed)


def attempt_of(submission: "Submission") -> Attempt:
    """What is known of a batch that was sent."""
    return Attempt(submission.requests, submission.began, submission.over, submission.newest_before, submission.anchor)


async def _same_workspace(app: App, lost: "Submission") -> bool:
    """Whether this key can see what the key that sent it sees: a list of another workspace says nothing."""
    if lost.origin == app.settings.origin:
        return True
    if lost.newest_before is None:
        return False
    try:
        await app.client.retrieve(lost.newest_before)
    except ApiError as error:
        if error.gone:
            return False
        raise
    return True


def settled_at(over: datetime) -> str:
    """When it will be plain what became of a submission whose sending was `over` then, as `at 14:05 UTC`."""
    return f"at {over + SETTLED_AFTER + timedelta(minutes=1):%H:%M} UTC"


def candidate(batch: MessageBatch) -> Candidate:
    """A batch as it is told."""
    return Candidate(id=batch.id, created_at=batch.created_at, requests=batch.request_counts.total)
