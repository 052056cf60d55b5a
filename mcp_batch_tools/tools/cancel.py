"""Stopping a batch that still runs: `cancel_message_batch`."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import BaseModel

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import ApiError, BatchError
from mcp_batch_tools.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.answers import (
    Client,
    NextStep,
    Time,
    WaitSeconds,
    answer,
    delete_step,
    moment,
    outcomes,
    requests,
    wait_step,
)
from mcp_batch_tools.tools.browse import wait_for_end

Outcome = Literal["cancellation_requested", "already_canceling", "already_ended", "unknown_status"]


class CancelAnswer(BaseModel):
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


async def cancel_message_batch(
    message_batch_id: MessageBatchId, client: Client, context: Context[Any, Any], wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, CancelAnswer]:
    """Ask the API to stop a Message Batch that is in progress. Requests that have finished are kept and billed.

    Cancellation takes a while: the batch is "canceling" until it is "ended". It cannot be undone.
    """
    seen = await client.retrieve(message_batch_id)
    if seen.processing_status != "in_progress":
        return answer(await _settled(client, seen, _not_needed(seen), wait_seconds, context))
    try:
        seen = await client.cancel(message_batch_id)
    except ApiError as error:
        if error.status != 400:
            raise
        # Refused: it may have ended since it was seen. What it is now decides, not the wording of the refusal.
        seen = await client.retrieve(message_batch_id)
        if seen.processing_status == "in_progress":
            raise error from None
        return answer(await _settled(client, seen, _not_needed(seen), wait_seconds, context))
    return answer(await _settled(client, seen, "cancellation_requested", wait_seconds, context))


def _not_needed(batch: MessageBatch) -> Outcome:
    match batch.processing_status:
        case "ended":
            return "already_ended"
        case "canceling":
            return "already_canceling"
        case _:
            return "unknown_status"


async def _settled(
    client: BatchClient, batch: MessageBatch, outcome: Outcome, wait_seconds: int, context: Context[Any, Any]
) -> CancelAnswer:
    """Wait for the end where that was asked for, then say where things stand."""
    lost = ""
    if wait_seconds and not batch.ended and outcome != "unknown_status":
        try:
            batch, _ = await wait_for_end(client, batch.id, wait_seconds, context)
        except BatchError:
            # The cancellation stands although watching it failed: an error here would hide that.
            lost = " Watching it failed, so this is how it was last seen."
    return CancelAnswer(
        id=batch.id,
        outcome=outcome,
        processing_status=batch.processing_status,
        message=_message(batch, outcome) + lost,
        next_steps=[delete_step(batch.id)] if batch.ended else [wait_step(batch.id), delete_step(batch.id)],
        request_counts=batch.request_counts,
        created_at=batch.created_at,
        cancel_initiated_at=batch.cancel_initiated_at,
        ended_at=batch.ended_at,
    )


def _message(batch: MessageBatch, outcome: Outcome) -> str:
    since = f" since {moment(batch.cancel_initiated_at)}" if batch.cancel_initiated_at else ""
    kept = "Requests that have finished are kept in its results, and billed."
    if batch.ended:
        ended = f"It has ended: {outcomes(batch)}."
        match outcome:
            case "already_ended":
                return f"There was nothing to cancel, and nothing was changed. {ended}"
            case "already_canceling":
                return f"It was being stopped already. {ended} {kept}"
            case _:
                return f"The cancellation went through. {ended} {kept}"
    match outcome:
        case "already_canceling":
            return f"It is being stopped already{since}; wait for it to end, and do not cancel it again."
        case "unknown_status":
            return (
                f"This version does not know the status {batch.processing_status!r}, so nothing was sent to stop it "
                "and nothing was changed."
            )
        case _:
            total = requests(batch.request_counts.total)
            return f"Cancellation of the batch ({total}) was requested, and takes a while. {kept}"
