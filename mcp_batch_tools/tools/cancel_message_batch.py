"""Stopping a batch that still runs: `cancel_message_batch`."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.acts import complete_open_receipts, receipt
from mcp_batch_tools.tools.answers import (
    Answer,
    NextStep,
    Time,
    WaitSeconds,
    answer,
    cancel_step,
    look_step,
    wait_step,
)
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import (
    AlreadyAnswered,
    AnsweredBefore,
    Decision,
    Earlier,
    Granted,
    Refused,
    decision_from,
    decision_or_question,
    facts_named,
    use_up,
)
from mcp_batch_tools.tools.facts import CancelFacts, cancel_facts
from mcp_batch_tools.tools.get_message_batch import wait_for_end
from mcp_batch_tools.tools.words.consent import (
    CANCEL_CHANGED,
    CANCELED_BEFORE,
    OUTCOME_UNKNOWN,
    CancelChoice,
    cancel_question,
    declined_message,
    nothing_done_message,
)
from mcp_batch_tools.tools.words.guidance import CANCEL_NOT_WATCHED, cancel_message

Outcome = Literal[
    "cancellation_requested",
    "already_canceling",
    "already_ended",
    "unknown_status",
    "declined",
    "cannot_ask",
    "changed",
    "answered_before",
]


class CancelAnswer(Answer):
    """The answer of `cancel_message_batch`: what this call did, and the batch as it is now."""

    id: str
    outcome: Outcome
    processing_status: str
    message: str
    next_steps: list[NextStep]
    request_counts: RequestCounts
    created_at: Time
    cancel_initiated_at: Time | None = None
    ended_at: Time | None = None


async def _retrieve(message_batch_id: str, app: AppDep, earlier: Earlier) -> MessageBatch | AnsweredBefore:
    return earlier or await app.client.retrieve(message_batch_id)


Seen = Annotated[MessageBatch | AnsweredBefore, Resolve(_retrieve)]


async def _consent(batch: Seen, app: AppDep, caller: CallerDep) -> Elicit[CancelChoice] | Decision | None:
    if isinstance(batch, AnsweredBefore) or batch.processing_status != "in_progress":
        return None
    facts = facts_named(caller.question, CancelFacts) or cancel_facts(batch)
    return decision_or_question(app, caller, facts, cancel_question)


async def cancel_message_batch(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    seen: Seen,
    consent: Annotated[ElicitationResult[CancelChoice], Resolve(_consent)],
    wait_seconds: WaitSeconds = 0,
) -> Annotated[CallToolResult, CancelAnswer]:
    """Ask the API to stop a Message Batch that is in progress. Requests that have finished are kept and billed.

    Cancellation takes a while: the batch is "canceling" until it is "ended". It cannot be undone.
    """
    if isinstance(seen, AnsweredBefore):
        return answer(_answered_before(seen, message_batch_id))
    if seen.processing_status != "in_progress":
        return answer(await _answer_after_waiting(app, caller, seen, await _not_needed(seen, app), wait_seconds))
    decision = decision_from(consent, caller)
    named = facts_named(decision.question, CancelFacts)
    if isinstance(decision, Refused):
        refusal = _cancel_answer(seen, decision.reason, decision.message, [])
    elif named is not None and not named.describes(seen):
        refusal = _cancel_answer(seen, "changed", CANCEL_CHANGED, [cancel_step(seen.id)])
    else:
        try:
            return answer(await _cancel(app, caller, seen, decision, wait_seconds))
        except AlreadyAnswered as error:
            return answer(_answered_before(error.earlier, seen.id))
    earlier = await use_up(app, decision, "cancel")
    return answer(refusal if earlier is None else _answered_before(earlier, seen.id))


async def _cancel(app: App, caller: Caller, seen: MessageBatch, granted: Granted, wait_seconds: int) -> CancelAnswer:
    """Cancel, then say where things stand. Raises `AlreadyAnswered`."""
    try:
        async with receipt(app, caller, "cancel", seen, granted) as act:
            seen = await app.client.cancel(seen.id)
            act.request_id = seen.request_id
    except ApiError as error:
        if error.status != 400:
            raise
        # Refused: it may have ended since it was seen. What it is now decides, not the wording of the refusal.
        seen = await app.client.retrieve(seen.id)
        if seen.processing_status == "in_progress":
            raise error from None
        outcome = await _not_needed(seen, app)
        if error.may_have_acted and seen.cancel_initiated_at:
            outcome = "cancellation_requested"  # by an earlier try, whose answer was lost
        return await _answer_after_waiting(app, caller, seen, outcome, wait_seconds)
    return await _answer_after_waiting(app, caller, seen, "cancellation_requested", wait_seconds)


def _answered_before(earlier: AnsweredBefore, message_batch_id: str) -> CancelAnswer:
    """What came of the first answer to a question; nothing is done on another one."""
    named = CancelFacts(**earlier.question.facts)
    outcome: Outcome = "answered_before"
    status, message, steps = "in_progress", nothing_done_message("canceled"), [cancel_step(message_batch_id)]
    if not earlier.granted:
        outcome, message, steps = "declined", declined_message("declined"), []
    elif earlier.outcome == "done":
        outcome, status, message = "cancellation_requested", "canceling", CANCELED_BEFORE
        steps = [wait_step(message_batch_id)]
    elif earlier.begun and earlier.outcome is None:
        message, steps = OUTCOME_UNKNOWN, [look_step(message_batch_id)]
    return CancelAnswer(
        id=message_batch_id,
        outcome=outcome,
        processing_status=status,
        message=message,
        next_steps=steps,
        request_counts=RequestCounts(**named.counts),
        created_at=datetime.fromtimestamp(named.created_at, UTC),
    )


async def _not_needed(batch: MessageBatch, app: App) -> Outcome:
    """Why nothing is sent; what became of an earlier cancellation without an answer is plain now, too."""
    if batch.processing_status not in {"canceling", "ended"}:
        return "unknown_status"
    await complete_open_receipts(app, "cancel", batch.id, "done" if batch.cancel_initiated_at else "failed")
    return "already_ended" if batch.ended else "already_canceling"


async def _answer_after_waiting(
    app: App, caller: Caller, batch: MessageBatch, outcome: Outcome, wait_seconds: int
) -> CancelAnswer:
    """Wait for the end where that was asked for, then say where things stand."""
    not_watched = ""
    if wait_seconds and not batch.ended and outcome != "unknown_status":
        try:
            batch, _ = await wait_for_end(app, caller, batch.id, wait_seconds)
        except BatchError:
            # The cancellation stands although watching it failed: an error here would hide that.
            not_watched = f" {CANCEL_NOT_WATCHED}"
    steps = [] if batch.ended else [wait_step(batch.id)]
    return _cancel_answer(batch, outcome, cancel_message(batch, outcome) + not_watched, steps)


def _cancel_answer(batch: MessageBatch, outcome: Outcome, message: str, steps: list[NextStep]) -> CancelAnswer:
    return CancelAnswer(
        id=batch.id,
        outcome=outcome,
        processing_status=batch.processing_status,
        message=message,
        next_steps=steps,
        request_counts=batch.request_counts,
        created_at=batch.created_at,
        cancel_initiated_at=batch.cancel_initiated_at,
        ended_at=batch.ended_at,
    )
