"""Stopping a batch that still runs: `cancel_message_batch`."""

from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.acts import complete_open_receipts, receipt
from mcp_batch_tools.tools.answers import Answer, NextStep, Time, WaitSeconds, answer, wait_step
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import (
    CancelChoice,
    Decision,
    Refused,
    cancel_question,
    decision_from,
    decision_or_question,
)
from mcp_batch_tools.tools.get_message_batch import wait_for_end
from mcp_batch_tools.tools.words.guidance import CANCEL_NOT_WATCHED, cancel_message

Outcome = Literal[
    "cancellation_requested", "already_canceling", "already_ended", "unknown_status", "declined", "cannot_ask"
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


async def _retrieve(message_batch_id: str, app: AppDep) -> MessageBatch:
    return await app.client.retrieve(message_batch_id)


Seen = Annotated[MessageBatch, Resolve(_retrieve)]


async def _consent(batch: Seen, app: AppDep, caller: CallerDep) -> Elicit[CancelChoice] | Decision | None:
    if batch.processing_status != "in_progress":
        return None
    return decision_or_question(app, caller, cancel_question(batch))


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
    if seen.processing_status != "in_progress":
        return answer(await _answer_after_waiting(app, caller, seen, await _not_needed(seen, app), wait_seconds))
    decision = decision_from(consent)
    if isinstance(decision, Refused):
        return answer(_cancel_answer(seen, decision.reason, decision.message, []))
    try:
        async with receipt(app, caller, "cancel", seen, decision) as act:
            seen = await app.client.cancel(message_batch_id)
            act.request_id = seen.request_id
    except ApiError as error:
        if error.status != 400:
            raise
        # Refused: it may have ended since it was seen. What it is now decides, not the wording of the refusal.
        seen = await app.client.retrieve(message_batch_id)
        if seen.processing_status == "in_progress":
            raise error from None
        outcome = await _not_needed(seen, app)
        if error.may_have_acted and seen.cancel_initiated_at:
            outcome = "cancellation_requested"  # by an earlier try, whose answer was lost
        return answer(await _answer_after_waiting(app, caller, seen, outcome, wait_seconds))
    return answer(await _answer_after_waiting(app, caller, seen, "cancellation_requested", wait_seconds))


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
