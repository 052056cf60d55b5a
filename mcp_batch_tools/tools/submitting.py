"""Submitting requests part by part, each once, and finding out what became of a part whose answer was lost."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from pydantic import BaseModel

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import BatchError, Failure, LedgerError
from mcp_batch_tools.models import MessageBatch
from mcp_batch_tools.request_hashes import PAIR
from mcp_batch_tools.request_sources import Source
from mcp_batch_tools.requests_file import Part, Plan, body, body_length
from mcp_batch_tools.sending import Attempt, Found, Upload, cannot_have_acted, look_for, newest
from mcp_batch_tools.tools.acts import client_name, completed, in_ledger
from mcp_batch_tools.tools.answers import Time

if TYPE_CHECKING:
    from mcp_batch_tools.submissions import Submission, Submissions

_log = logging.getLogger(__name__)


class CreatedBatch(BaseModel):
    """One batch of a submission: `part` of `parts`, counted from 1."""

    id: str
    part: int
    requests: int


class Candidate(BaseModel):
    """A batch that may be the one that was sent."""

    id: str
    created_at: Time
    requests: int


@dataclass(frozen=True)
class Terms:
    """What all parts of a submission have in common."""

    label: str | None
    retry_of: str | None
    estimate_usd: float | None
    consent: str
    allow_duplicate: bool


@dataclass
class Submitted:
    """How far a submission has come.

    `failure` stopped it; `unknown` is where its last part may have gone; `by_another` call the same is being sent.
    """

    created: list[CreatedBatch]
    failure: Failure | None = None
    by_another: bool = False
    unknown: list[Candidate] | None = None


def submissions_of(context: Context[Any, Any]) -> "Submissions":
    """The submissions of this installation to this workspace."""
    from mcp_batch_tools.submissions import Submissions  # which imports the ledger

    parts = context.request_context.lifespan_context
    return Submissions(parts.ledger, parts.settings.origin)


async def submissions_known(
    context: Context[Any, Any], client: BatchClient, message_batch_ids: list[str]
) -> "dict[str, Submission]":
    """What this installation knows of these batches; nothing where the ledger cannot be read, as looking needs none."""
    if not context.request_context.lifespan_context.settings.ledger_folder.exists():
        return {}
    try:
        await settle_open(context, client)
        return await in_ledger(lambda: submissions_of(context).of_batches(message_batch_ids))
    except (LedgerError, BatchError) as error:
        _log.warning("What was submitted cannot be told: %s", error)
        return {}


async def batches_labelled(context: Context[Any, Any], client: BatchClient, label: str) -> set[str]:
    """The batches that were created here with this label.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not context.request_context.lifespan_context.settings.ledger_folder.exists():
        return set()
    await settle_open(context, client)
    return await in_ledger(lambda: submissions_of(context).labelled(label))


async def settle_open(context: Context[Any, Any], client: BatchClient) -> None:
    """Find out what became of every submission whose answer was lost, as far as it can be told now."""
    for submission in await in_ledger(lambda: submissions_of(context).open()):
        await _settle(context, client, submission, patient=False)


async def submit(
    context: Context[Any, Any],
    client: BatchClient,
    source: Source,
    plan: Plan,
    terms: Terms,
    earlier: "list[Submission]",
) -> Submitted:
    """Send every part that was not sent yet, in order, and stop at the first that fails or whose answer is lost."""
    done = {submission.part: submission for submission in earlier if submission.outcome == "created"}
    progress = Submitted([])
    before = 0
    for number, part in enumerate(plan.parts):
        if number in done:
            progress.created.append(_told(number, part, done[number].message_batch_id or ""))
        else:
            await _send(context, client, source, plan, number, terms, before, progress)
            if progress.failure or progress.by_another or progress.unknown is not None:
                break
        before += part.bytes
    return progress


async def _send(
    context: Context[Any, Any],
    client: BatchClient,
    source: Source,
    plan: Plan,
    number: int,
    terms: Terms,
    before: int,
    progress: Submitted,
) -> None:
    submissions, part = submissions_of(context), plan.parts[number]
    what: dict[str, Any] = {
        "fingerprint": plan.fingerprint,
        "part": number,
        "parts": len(plan.parts),
        "requests": part.requests,
        "label": terms.label,
        "retry_of": terms.retry_of,
        "estimate_usd": terms.estimate_usd,
        "began": client.now(),
        "consent": terms.consent,
        "client": client_name(context),
        "allow_duplicate": terms.allow_duplicate,
    }
    try:
        what["newest_before"] = await newest(client)
        row = await in_ledger(lambda: submissions.intend(**what))
    except (BatchError, LedgerError) as error:
        progress.failure = error  # not raised: parts before this one may have been created
        return
    if row is None:
        progress.by_another = True
        return

    async def report(sent: int) -> None:
        await context.report_progress(before + sent, plan.bytes, f"part {number + 1} of {len(plan.parts)}")

    upload = Upload(body(source, part), report)
    try:
        batch = await client.create(upload, length=body_length(part))
    except BatchError as error:
        if cannot_have_acted(error, upload):
            note = f"{type(error).__name__} before the batch can have been created"
            await completed(lambda: submissions.complete(row, "failed", note=note))
            progress.failure = error
            return
        try:
            lost = next((found for found in await in_ledger(submissions.open) if found.number == row), None)
            # Another server may have settled it in between.
            found = await _settle(context, client, lost, patient=True) if lost else Found("unknown", [])
        except (BatchError, LedgerError) as another:
            _log.warning("What became of a submission cannot be told now: %s", another)
            found = Found("unknown", [])
        if found.outcome == "created":
            progress.created.append(_told(number, part, found.candidates[0].id))
        else:
            progress.failure = error
            progress.unknown = [_candidate(batch) for batch in found.candidates]
        return
    except Exception as error:
        if not upload.whole:
            await completed(lambda: submissions.complete(row, "failed", note="given up while sending"))
        if isinstance(error, Failure) and progress.created:
            progress.failure = error  # not raised: it would hide the parts that were created
            return
        raise
    hashes = plan.hashes[part.first * PAIR : (part.first + part.requests) * PAIR]
    await completed(
        lambda: submissions.complete(
            row, "created", message_batch_id=batch.id, request_id=batch.request_id, hashes=hashes
        )
    )
    progress.created.append(_told(number, part, batch.id))


async def _settle(context: Context[Any, Any], client: BatchClient, lost: "Submission", *, patient: bool) -> Found:
    """Look for the batch of a lost answer, and complete its row where that is plain."""
    submissions = submissions_of(context)

    async def known(message_batch_ids: list[str]) -> set[str]:
        return set(await in_ledger(lambda: submissions.of_batches(message_batch_ids)))

    attempt = Attempt(lost.requests, lost.began, lost.newest_before)
    found = await look_for(client, attempt, known, patient=patient)
    others = [
        other
        for other in await in_ledger(submissions.open)
        if other.requests == lost.requests and other.number != lost.number
    ]
    if found.outcome == "created" and not others:
        batch = found.candidates[0]
        note = "found in the list, its answer was lost"
        await completed(lambda: submissions.complete(lost.number, "created", message_batch_id=batch.id, note=note))
        return found
    if found.outcome == "absent":
        note = "not in the list of batches"
        await completed(lambda: submissions.complete(lost.number, "failed", note=note))
        return found
    return Found("unknown", found.candidates)


def _told(number: int, part: Part, message_batch_id: str) -> CreatedBatch:
    return CreatedBatch(id=message_batch_id, part=number + 1, requests=part.requests)


def _candidate(batch: MessageBatch) -> Candidate:
    return Candidate(id=batch.id, created_at=batch.created_at, requests=batch.request_counts.total)
