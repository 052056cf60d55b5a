"""Stopping a batch that still runs: `cancel_message_batch`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.acts import complete_open_receipts, receipt
from mcp_batch_tools.tools.answered import AlreadyAnswered, AnsweredBefore, Earlier
from mcp_batch_tools.tools.answers import (
    Answer,
    Confirmation,
    Goal,
    GoalArgument,
    GoalPath,
    NextStep,
    Time,
    WaitSeconds,
    answer,
    cancel_step,
    look_step,
    steps_to_delete,
    wait_step,
)
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import Consent, Decision, Granted, Refused, facts_named
from mcp_batch_tools.tools.facts import CancelFacts, cancel_facts
from mcp_batch_tools.tools.get_message_batch import wait_for_end
from mcp_batch_tools.tools.words.consent import (
    CANCEL_CHANGED,
    CANCELED_BEFORE,
    OUTCOME_UNKNOWN,
    UNSEEN_BEFORE,
    CancelChoice,
    cancel_question,
    declined_message,
    nothing_done_message,
)
from mcp_batch_tools.tools.words.guidance import CANCEL_NOT_WATCHED, cancel_message, overdue_message

Outcome = Literal[
    "cancellation_requested",
    "already_canceling",
    "already_ended",
    "unknown_status",
    "declined",
    "not_shown",
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
    reason: Literal["declined", "not_shown", "cannot_ask"] | None = Field(
        default=None, description="Why nothing was canceled, where a person was to decide."
    )


async def _retrieve(message_batch_id: str, app: AppDep, earlier: Earlier) -> MessageBatch | AnsweredBefore:
    return earlier or await app.client.retrieve(message_batch_id)


Seen = Annotated[MessageBatch | AnsweredBefore, Resolve(_retrieve)]


async def _consent(
    batch: Seen, confirmation: str | None, app: AppDep, caller: CallerDep
) -> Elicit[CancelChoice] | Decision | None:
    if isinstance(batch, AnsweredBefore) or batch.processing_status != "in_progress":
        return None
    facts = facts_named(caller.question, CancelFacts) or cancel_facts(batch)
    return await Consent(app, caller, "cancel").decide(facts, cancel_question, confirmation)


async def cancel_message_batch(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    seen: Seen,
    consent: Annotated[ElicitationResult[CancelChoice], Resolve(_consent)],
    wait_seconds: WaitSeconds = 0,
    confirmation: Confirmation = None,
    goal: GoalArgument = None,
    save_results_to: GoalPath = None,
) -> Annotated[CallToolResult, CancelAnswer]:
    """Ask the API to stop a Message Batch that is in progress. Requests that have finished are kept and billed.

    Cancellation takes a while: the batch is "canceling" until it is "ended". It cannot be undone.
    """
    call = _Cancel(app, caller, message_batch_id, wait_seconds, Goal.of(goal, save_results_to))
    if isinstance(seen, AnsweredBefore):
        return answer(call.answered_before(seen))
    if seen.processing_status != "in_progress":
        return answer(await call.after_waiting(seen, await _not_needed(seen, app)))
    decision = await call.consent.decision(consent, CancelFacts)
    named = facts_named(decision.question, CancelFacts)
    if isinstance(decision, Refused):
        steps = [call.again(decision.confirmation)] if decision.confirmation else []
        refusal = _cancel_answer(seen, decision.reason, decision.message, steps)
        refusal.reason = decision.reason
    elif named is not None and not named.describes(seen):
        refusal = _cancel_answer(seen, "changed", CANCEL_CHANGED, [call.again()])
    else:
        try:
            return answer(await call.cancel(seen, decision))
        except AlreadyAnswered as error:
            return answer(call.answered_before(error.earlier))
    earlier = await call.consent.refuse(decision)
    return answer(refusal if earlier is None else call.answered_before(earlier))


@dataclass(frozen=True)
class _Cancel:
    """One call, and what it may come to."""

    app: App
    caller: Caller
    message_batch_id: str
    wait_seconds: int
    goal: Goal | None

    @property
    def consent(self) -> Consent:
        return Consent(self.app, self.caller, "cancel")

    def again(self, confirmation: str | None = None) -> NextStep:
        """A step that makes this call once more, with its confirmation where there is one."""
        return cancel_step(self.message_batch_id, self.goal, confirmation)

    async def cancel(self, seen: MessageBatch, granted: Granted) -> CancelAnswer:
        """Cancel, then say where things stand. Raises `AlreadyAnswered`."""
        app = self.app
        try:
            async with receipt(app, self.caller, "cancel", seen, granted) as act:
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
            return await self.after_waiting(seen, outcome)
        return await self.after_waiting(seen, "cancellation_requested")

    async def after_waiting(self, batch: MessageBatch, outcome: Outcome) -> CancelAnswer:
        """Wait for the end where that was asked for, then say where things stand."""
        not_watched = ""
        if self.wait_seconds and not batch.ended and outcome != "unknown_status":
            try:
                batch, _ = await wait_for_end(self.app, self.caller, batch.id, self.wait_seconds)
            except BatchError:
                # The cancellation stands although watching it failed: an error here would hide that.
                not_watched = f" {CANCEL_NOT_WATCHED}"
        patience = self.caller.patience
        steps = [] if batch.ended else [wait_step(batch.id, patience)]
        if self.goal is not None:
            # It is being stopped, whatever its status was when it was last seen.
            steps = [
                step for step in steps_to_delete(batch, self.goal, patience) if step.tool != "cancel_message_batch"
            ]
        overdue = overdue_message(batch, self.app.client.now())
        return _cancel_answer(batch, outcome, cancel_message(batch, outcome) + not_watched + overdue, steps)

    def answered_before(self, earlier: AnsweredBefore) -> CancelAnswer:
        """What came of the first answer to a question; nothing is done on another one."""
        named = CancelFacts(**earlier.question.facts)
        outcome: Outcome = "answered_before"
        status, message, steps = "in_progress", nothing_done_message("cancel"), [self.again()]
        if earlier.decision == "refused":
            outcome, message, steps = "declined", declined_message("declined"), []
        elif earlier.decision == "unseen":
            outcome, message = "not_shown", UNSEEN_BEFORE
        elif earlier.outcome == "done":
            outcome, status, message = "cancellation_requested", "canceling", CANCELED_BEFORE
            steps = [wait_step(self.message_batch_id, self.caller.patience, self.goal)]
        elif earlier.begun and earlier.outcome is None:
            message, steps = OUTCOME_UNKNOWN, [look_step(self.message_batch_id)]
        return CancelAnswer(
            id=self.message_batch_id,
            outcome=outcome,
            processing_status=status,
            message=message,
            next_steps=steps,
            request_counts=RequestCounts(**named.counts),
            created_at=datetime.fromtimestamp(named.created_at, UTC),
            reason=outcome if outcome in {"declined", "not_shown"} else None,
        )


async def _not_needed(batch: MessageBatch, app: App) -> Outcome:
    """Why nothing is sent; what became of an earlier cancellation without an answer is plain now, too."""
    if batch.processing_status not in {"canceling", "ended"}:
        return "unknown_status"
    await complete_open_receipts(app, "cancel", batch.id, "done" if batch.cancel_initiated_at else "failed")
    return "already_ended" if batch.ended else "already_canceling"


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
