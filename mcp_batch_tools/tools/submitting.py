"""Submitting requests part by part, each once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.errors import Failure
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.plan import Part, Plan, body, body_length
from mcp_batch_tools.requests.sources import Source
from mcp_batch_tools.submissions.sending import (
    SETTLED_AFTER,
    UPLOADING,
    Found,
    Upload,
    Watch,
    cannot_have_acted,
    newest,
)
from mcp_batch_tools.tools.acts import completed, in_ledger
from mcp_batch_tools.tools.app import App, Caller
from mcp_batch_tools.tools.create_answers import CreatedBatch
from mcp_batch_tools.tools.sent_before import Standing
from mcp_batch_tools.tools.settling import Candidate, candidate, settle

if TYPE_CHECKING:
    from mcp_batch_tools.submissions.store import Claim

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """What all parts have in common; `last_seen` is the last row there was before anybody looked what was sent."""

    label: str | None
    retry_of: str | None
    estimate_usd: float | None
    consent: str
    allow_duplicate: bool
    last_seen: int


@dataclass
class Submitted:
    """How far a submission has come.

    `failure` stopped it; `unknown` is what its last part may have become, whose sending was `over` then; `by_another`
    call the same is being sent; `inferred` are the batches whose answers were lost and that were found in the list.
    """

    created: list[CreatedBatch]
    failure: Failure | None = None
    by_another: bool = False
    unknown: list[Candidate] | None = None
    over: datetime | None = None
    inferred: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """Whether no more parts are to be sent."""
        return self.by_another or self.failure is not None or self.unknown is not None


async def submit(
    app: App,
    caller: Caller,
    source: Source,
    plan: Plan,
    terms: Terms,
    standing: Standing,
) -> Submitted:
    """Send every part that is not done, in order; stop where one is not created."""
    progress = Submitted([])
    before = 0
    for number, part in enumerate(plan.parts):
        if number in standing.done:
            progress.created.append(_told(number, part, standing.done[number]))
        else:
            sending = _Sending(app, caller, plan, number, terms, standing, before, progress)
            await sending.send(source)
            if progress.stopped:
                break
        before += part.bytes
    return progress


@dataclass
class _Sending:
    """One part on its way."""

    app: App
    caller: Caller
    plan: Plan
    number: int
    terms: Terms
    standing: Standing
    before: int
    progress: Submitted

    async def send(self, source: Source) -> None:
        """Write the intent, send, and write the outcome."""
        submissions = self.app.submissions
        try:
            claim = await self._intend()
        except (BatchError, LedgerError) as error:
            self.progress.failure = error  # not raised: parts before this one may have been created
            return
        if claim is None:
            self.progress.by_another = True
            return
        part = self.plan.parts[self.number]
        upload = Upload(body(source, part), self._reporting(claim))
        try:
            batch = await self.app.client.create(upload, length=body_length(part))
        except BatchError as error:
            if cannot_have_acted(error, upload):
                note = f"{type(error).__name__} before the batch can have been created"
                if isinstance(error, ApiError) and not error.type and upload.whole:
                    # Not the words of the API: whoever refused may have let the request through before.
                    await self._look(claim, error, note)
                else:
                    self.progress.failure = error
                    await completed(lambda: submissions.failed(claim, note=note))
            else:
                await self._look(claim, error, None)
            return
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._given_up(claim, upload)
            if isinstance(error, Failure) and self.progress.created:
                self.progress.failure = error  # not raised: it would hide the parts that were created
                return
            raise
        with anyio.CancelScope(shield=True):
            await completed(lambda: submissions.created(claim, batch.id, request_id=batch.request_id))
        self.progress.created.append(_told(self.number, part, batch.id))
        await self.caller.report_progress(self.before + part.bytes, self.plan.bytes, self._name)

    @property
    def _name(self) -> str:
        return f"part {self.number + 1} of {len(self.plan.parts)}"

    async def _intend(self) -> "Claim | None":
        before = await newest(self.app.client)
        part, terms, now = self.plan.parts[self.number], self.terms, self.app.client.now()
        share = part.bytes / self.plan.bytes
        what: dict[str, Any] = {
            "submission": self.standing.submission,
            "duplicate": self.standing.duplicate,
            "whole": self.plan.fingerprint,
            "fingerprint": part.fingerprint,
            "hashes": part.hashes,
            "part": self.number,
            "parts": len(self.plan.parts),
            "requests": part.requests,
            "label": terms.label,
            "retry_of": terms.retry_of,
            "estimate_usd": None if terms.estimate_usd is None else terms.estimate_usd * share,
            "consent": terms.consent,
            "client": self.caller.name,
            "newest_before": before.id if before else None,
            "newest_at": before.created_at.isoformat() if before else None,
        }
        return await in_ledger(
            lambda: self.app.submissions.intend(
                now=now,
                until=now + UPLOADING,
                open_since=now - SETTLED_AFTER,
                again=terms.allow_duplicate,
                last_seen=self.terms.last_seen,
                **what,
            )
        )

    def _reporting(self, claim: "Claim") -> Callable[[int, bool], Any]:
        submissions, watch = self.app.submissions, Watch(self.app.client)

        async def report(sent: int, last: bool) -> None:
            if sent:
                await self.caller.report_progress(self.before + sent, self.plan.bytes, self._name)
            until = watch.until(last=last)  # last of all, as a client that does not read can hold up the progress
            if until and not await in_ledger(lambda: submissions.extend(claim, until, sent_whole=last)):
                # Nobody waits for this one any more, and what it would create could be created twice.
                minutes = UPLOADING.total_seconds() / 60
                raise InvalidRequests([f"sending stood still for more than {minutes:.0f} minutes and was given up"])

        return report

    async def _look(self, claim: "Claim", error: BatchError, refused: str | None) -> None:
        """Find out what became of a part that was sent whole; one that was `refused` was so if it is in no list."""
        submissions = self.app.submissions
        found, lost = Found("unknown", []), None
        try:
            # It says that nobody is at work on it any more, which is when others may look for it, too.
            await in_ledger(lambda: submissions.extend(claim, self.app.client.now(), sent_whole=True))
            lost = seen = await in_ledger(lambda: submissions.of_claim(claim))
            if seen is not None and seen.outcome is None:
                found = await settle(self.app, seen, patient=True)
                if refused is not None and found.not_listed:
                    await in_ledger(lambda: submissions.settle(seen, "failed", note=refused))
                lost = await in_ledger(lambda: submissions.of_claim(claim))  # others may have found out more
        except (BatchError, LedgerError) as another:
            _log.warning("What became of a submission cannot be told now: %s", another)
        batch = lost.message_batch_id if lost else None
        if batch:
            self.progress.created.append(_told(self.number, self.plan.parts[self.number], batch))
            self.progress.inferred.append(batch)
        elif lost is not None and lost.outcome == "failed":
            self.progress.failure = error
        else:
            self.progress.unknown = [candidate(batch) for batch in found.candidates]
            self.progress.over = self.app.client.now()

    async def _given_up(self, claim: "Claim", upload: Upload) -> None:
        submissions = self.app.submissions
        if upload.whole:
            await completed(lambda: submissions.extend(claim, self.app.client.now(), sent_whole=True))
        else:
            await completed(lambda: submissions.failed(claim, note="given up while sending"))


def _told(number: int, part: Part, message_batch_id: str) -> CreatedBatch:
    return CreatedBatch(id=message_batch_id, part=number + 1, requests=part.requests)
