"""Sending the parts of a plan, each once: claim, send, and write down what came of it."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import anyio

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchPage
from mcp_batch_tools.clock import milliseconds
from mcp_batch_tools.errors import Failure
from mcp_batch_tools.ledger.consents import use_consent, used_consent
from mcp_batch_tools.ledger.database import Database, Transaction
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.ledger.workspaces import remember_workspace, remembered_workspace
from mcp_batch_tools.requests.plan import Plan, body, body_length
from mcp_batch_tools.requests.sources import Source
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.decide import Blocked, Decision, Done, Send
from mcp_batch_tools.submissions.reconcile import Unresolved, find_lost_batch, listed_batch
from mcp_batch_tools.submissions.states import LEASE_PIECE, WINDOW_BEFORE, Attempt
from mcp_batch_tools.submissions.upload import Moment, Upload

_REFUSING = frozenset({400, 401, 402, 403, 404, 413, 422, 429})
_REFUSALS = frozenset(
    {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
    }
)
"""What the API documents to refuse with. A gateway has words of its own, and may have let the request through."""
_log = logging.getLogger(__name__)

Report = Callable[[int, int], Awaitable[None]]
"""Told the number of the part, from 0, and how many bytes of all parts have been sent."""


@dataclass(frozen=True)
class Terms:
    """What all parts of a call have in common. `credential` is the scope of a key whose workspace is not known.

    `consent` says how it was consented to and `consent_id` is the question that was answered, where there was one: the
    first part that is claimed uses it up.
    `estimate_usd` is the most that all requests may cost. `last_seq` is the highest number of a retry of `retry_of`
    that was seen when its requests were selected.
    """

    scope: str
    credential: str
    consent: str
    consent_id: str | None = None
    label: str | None = None
    retry_of: str | None = None
    last_seq: int = 0
    estimate_usd: float | None = None
    client: str | None = None


@dataclass
class Submission:
    """How far a call has come: the batches by part, and what stopped it, if anything did.

    `unresolved` is an attempt of which it is not known what became. `taken` says that another call is sending the part,
    with `consent_used` because of the same consent.
    """

    batches: dict[int, Attempt] = field(default_factory=dict)
    failure: Failure | None = None
    unresolved: Unresolved | None = None
    taken: bool = False
    consent_used: bool = False

    @property
    def stopped(self) -> bool:
        """Whether no more parts are to be sent."""
        return self.taken or self.failure is not None or self.unresolved is not None


class _ConsentUsed(Exception):
    """Another call has used the consent; leaving a transaction with it undoes the claim."""


class Sender:
    """Sends the parts of one plan in order, and stops at the first that is not created."""

    def __init__(
        self, client: BatchClient, database: Database, source: Source, plan: Plan, terms: Terms, report: Report
    ) -> None:
        self._client = client
        self._database = database
        self._source = source
        self._plan = plan
        self._terms = terms
        self._report = report
        self._seq = count(terms.last_seq + 1)
        self._claimed = False
        self._submission = Submission()

    async def send(self, decisions: Sequence[Decision]) -> Submission:
        """Do with each part what was decided. A failure is returned, since earlier parts may have been created."""
        for number, decision in enumerate(decisions):
            match decision:
                case Done(attempt):
                    self._submission.batches[number] = attempt
                case Blocked(attempt):
                    self._submission.unresolved = Unresolved(attempt)
                case Send():
                    await self._send_part(number, decision)
            if self._submission.stopped:
                break
        return self._submission

    async def _send_part(self, number: int, decision: Send) -> None:
        part = self._plan.parts[number]
        before = sum(earlier.bytes for earlier in self._plan.parts[:number])
        try:
            listed = Moment.now(self._client)
            page = await self._client.list(limit=1)
            attempt = await self._claim(number, decision, page)
        except _ConsentUsed:
            self._submission.taken = self._submission.consent_used = True
            return
        except (BatchError, LedgerError) as error:
            self._submission.failure = error
            return
        if attempt is None:
            self._submission.taken = True
            return

        async def report(sent: int) -> None:
            await self._report(number, before + sent)

        upload = Upload(self._client, self._database, attempt, listed, body(self._source, part), report)
        try:
            batch = await self._client.create(upload, length=body_length(part))
        except BatchError as error:
            await self._ended_without_answer(number, upload, error)
        except BaseException as error:
            with anyio.CancelScope(shield=True), _logged():
                if upload.whole:
                    await self._stop(upload.attempt)
                else:
                    await self._write_not_created(upload.attempt, "given up while sending")
            if not isinstance(error, Failure):
                raise
            self._submission.failure = error
        else:
            with anyio.CancelScope(shield=True):
                self._submission.batches[number] = await self._answered(upload.attempt, batch)
            await report(part.bytes)
        finally:
            await upload.close()

    async def _claim(self, number: int, decision: Send, page: MessageBatchPage) -> Attempt | None:
        plan, terms, part = self._plan, self._terms, self._plan.parts[number]
        newest = page.data[0] if page.data else None
        now = milliseconds(self._client.now())
        share = None if terms.estimate_usd is None else str(terms.estimate_usd * part.bytes / plan.bytes)
        wanted = store.Claim(
            scope=terms.scope,
            plan_fingerprint=plan.fingerprint,
            round=decision.round,
            fingerprint=part.fingerprint,
            copy=decision.copy,
            part=number,
            parts=len(plan.parts),
            requests=part.requests,
            retry_of=terms.retry_of,
            seq=next(self._seq) if terms.retry_of is not None else None,
            label=terms.label,
            estimate_usd=share,
            consent=terms.consent,
            consent_id=terms.consent_id,
            client=terms.client,
            newest_before=newest.id if newest else None,
            newest_created_at=milliseconds(newest.created_at) if newest else None,
            api_claimed=_time_of(page),
            lease_expires_at=now + LEASE_PIECE,
            models=sorted(plan.models),
            hashes=part.hashes,
        )

        def work(transaction: Transaction) -> Attempt | None:
            if not all(store.abandon(transaction, attempt, now) for attempt in decision.abandons):
                return None  # more is known of one of them by now
            claimed = store.claim(transaction, replace(wanted, scope=self._scope(transaction)), now)
            self._use_consent(transaction, claimed, now)
            return claimed

        attempt = await self._database.write(work, durable=True)
        self._claimed = self._claimed or attempt is not None
        return attempt

    def _scope(self, transaction: Transaction) -> str:
        """The workspace, if an answer has named it since the call began: others know it already, and send under it."""
        terms = self._terms
        if terms.scope != terms.credential:
            return terms.scope
        workspace = self._client.workspace or remembered_workspace(transaction, terms.credential)
        if workspace is None:
            return terms.scope
        remember_workspace(transaction, terms.credential, workspace)
        return workspace

    def _use_consent(self, transaction: Transaction, claimed: Attempt | None, now: int) -> None:
        """Use up the consent with the first claim. Raises `_ConsentUsed`, also where this is why there is none."""
        consent_id = self._terms.consent_id
        if consent_id is None or self._claimed:
            return
        if claimed is None:
            used = used_consent(transaction, consent_id)
        else:
            used = use_consent(transaction, consent_id, "create", "granted", now)
        if used is not None:
            raise _ConsentUsed

    async def _answered(self, attempt: Attempt, batch: MessageBatch) -> Attempt:
        listed, now = listed_batch(batch), milliseconds(self._client.now())
        # The answer must not be lost to a ledger that fails: the attempt then stays open, and is reconciled later.
        with _logged():
            write = partial(store.answered, attempt=attempt, batch=listed, now=now, request_id=batch.request_id)
            await self._database.write(write, durable=True)
        return replace(
            attempt,
            state="created",
            evidence="answered",
            message_batch_id=batch.id,
            batch_created_at=listed.created_at,
        )

    async def _ended_without_answer(self, number: int, upload: Upload, error: BatchError) -> None:
        attempt = upload.attempt
        if not upload.whole or is_refusal(error):
            with _logged():
                await self._write_not_created(attempt, f"{type(error).__name__}, so no batch was created")
            self._submission.failure = error
            return
        unresolved = Unresolved(attempt)
        try:
            await self._stop(attempt)
            unresolved, attempt = await self._look(attempt)
        except (BatchError, LedgerError) as another:
            _log.warning("What became of a submission cannot be told now: %s", another)
        if attempt.state == "created":
            self._submission.batches[number] = attempt
        elif attempt.state == "not_created":
            self._submission.failure = error
        else:
            self._submission.unresolved = unresolved

    async def _look(self, attempt: Attempt) -> tuple[Unresolved, Attempt]:
        """Look for a batch whose answer was lost; what is left to be told, and the attempt as it is then."""
        read = partial(store.attempt_by_id, attempt_id=attempt.id)
        found: Attempt | None = await self._database.read(read)
        current = found or attempt
        left = await find_lost_batch(self._client, self._database, current) if current.state == "sent" else None
        found = await self._database.read(read)
        return left or Unresolved(found or attempt), found or attempt

    async def _stop(self, attempt: Attempt) -> None:
        now = milliseconds(self._client.now())
        await self._database.write(partial(store.sender_stopped, attempt=attempt, now=now), durable=True)

    async def _write_not_created(self, attempt: Attempt, note: str) -> None:
        now = milliseconds(self._client.now())
        await self._database.write(partial(store.not_created, attempt=attempt, now=now, note=note))


def is_refusal(error: BatchError) -> bool:
    """Whether the API itself said, in its own words, that it created nothing; anything else is a lost answer."""
    return isinstance(error, ApiError) and error.status in _REFUSING and error.type in _REFUSALS


def _time_of(page: MessageBatchPage) -> int | None:
    """The API's time of a list; None where it tells none, or one that is before what has happened already."""
    if page.api_time is None:
        return None
    time = milliseconds(page.api_time)
    return None if page.data and milliseconds(page.data[0].created_at) > time + WINDOW_BEFORE else time


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except LedgerError as error:
        _log.error("What came of a submission could not be written to the ledger: %s", error)
