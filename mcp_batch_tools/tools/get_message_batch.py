"""Looking at one batch: `get_message_batch`."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import anyio
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.acts import saved_results
from mcp_batch_tools.tools.answers import (
    Answer,
    Goal,
    GoalArgument,
    GoalPath,
    NextStep,
    Time,
    WaitSeconds,
    answer,
    cancel_step,
    delete_step,
    read_step,
    save_step,
    steps_to_delete,
    wait_step,
)
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.made_here import attempts_of_batches
from mcp_batch_tools.tools.words.guidance import endings_in_words, progress_message, status_message


class MessageBatchDetails(Answer):
    """The answer of `get_message_batch`: the batch, until when its results last, and what can be done now."""

    id: str
    processing_status: str
    message: str
    possible_actions: list[NextStep]
    next_steps: list[NextStep] = Field(default_factory=list, description="With goal: the calls that lead there.")
    request_counts: RequestCounts
    created_at: Time
    expires_at: Time | None = None
    cancel_initiated_at: Time | None = None
    ended_at: Time | None = None
    archived_at: Time | None = None
    results_until: Time | None = Field(None, description="Absent where there are no results to read.")
    waited_seconds: int | None = None
    results_saved_to: str | None = Field(None, description="File here that holds all results.")
    cost_usd: float | None = Field(None, description="What the saved results cost.")
    stop_reasons: dict[str, int] | None = Field(None, description="Of the saved results that succeeded.")
    label: str | None = None
    estimate_usd: float | None = Field(None, description="The most that it could cost, as estimated before.")
    retry_of: str | None = None


async def get_message_batch(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    wait_seconds: WaitSeconds = 0,
    goal: GoalArgument = None,
    save_results_to: GoalPath = None,
) -> Annotated[CallToolResult, MessageBatchDetails]:
    """Look at one Message Batch: status, request counts, until when its results last, what can be done with it now.

    With wait_seconds it waits for the batch to end; running out of time is no error, call it again then.
    """
    batch, waited = await wait_for_end(app, caller, message_batch_id, wait_seconds)
    shown = details(batch, app.client.now(), waited if wait_seconds else None, caller.patience)
    way = Goal.of(goal, save_results_to)
    if way is not None:
        shown.next_steps = steps_to_delete(batch, way, caller.patience)
    made_here = (await attempts_of_batches(app, [batch.id])).get(batch.id)
    if made_here is not None:
        shown.label, shown.retry_of = made_here.label, made_here.retry_of
        shown.estimate_usd = None if made_here.estimate_usd is None else float(made_here.estimate_usd)
    saved = await saved_results(app, batch.id) if batch.ended else None
    if saved is not None:
        shown.results_saved_to = saved.path
        shown.cost_usd = None if saved.cost_usd is None else float(saved.cost_usd)
        shown.stop_reasons = dict(saved.stop_reasons) or None
        if endings := endings_in_words(saved.stop_reasons):
            shown.message += f" Of the saved results, {endings}."
    return answer(shown)


async def wait_for_end(app: App, caller: Caller, message_batch_id: str, seconds: float) -> tuple[MessageBatch, float]:
    """The batch once it has ended or the time is up, and the seconds waited; progress is reported as elapsed time."""
    looks: AsyncIterator[tuple[MessageBatch, float]] = app.client.watch(message_batch_id, seconds)
    try:
        async for batch, elapsed in looks:
            if seconds:
                await caller.report_progress(min(elapsed, seconds), seconds, progress_message(batch, elapsed))
    except anyio.get_cancelled_exc_class():
        caller.gave_up()
        raise
    return batch, elapsed


def details(batch: MessageBatch, now: datetime, waited: float | None, patience: int) -> MessageBatchDetails:
    """A batch with what can be done with it now."""
    readable = batch.readable
    match batch.processing_status:
        case "in_progress":
            steps = [wait_step(batch.id, patience), cancel_step(batch.id)]
        case "ended" if readable:
            steps = [read_step(batch.id), save_step(batch.id), delete_step(batch.id)]
        case "ended":
            steps = [delete_step(batch.id)]
        case _:
            steps = [wait_step(batch.id, patience)]
    return MessageBatchDetails(
        **{name: getattr(batch, name) for name in MessageBatch.model_fields.keys() & MessageBatchDetails.model_fields},
        message=status_message(batch, now, waited),
        possible_actions=steps,
        results_until=batch.results_until if readable else None,
        waited_seconds=None if waited is None else round(waited),
    )
