"""Deleting one batch: `delete_message_batch`."""

from typing import Annotated, Literal

from mcp_types import CallToolResult
from pydantic import BaseModel, ConfigDict, Field, RootModel

from mcp_batch_tools.errors import ApiError
from mcp_batch_tools.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.tools.answers import (
    Client,
    NextStep,
    Time,
    answer,
    cancel_step,
    delete_step,
    moment,
    requests,
    wait_step,
)


class Deleted(BaseModel):
    """The API's own object: the batch and its results are gone for good."""

    id: str
    type: Literal["message_batch_deleted"]


class NotDeleted(BaseModel):
    """Nothing was changed, and how to get to the goal."""

    id: str
    type: Literal["message_batch_not_deleted"]
    reason: Literal["in_progress", "canceling", "unknown_status"]
    processing_status: str
    message: str
    next_steps: list[NextStep]
    request_counts: RequestCounts
    created_at: Time
    cancel_initiated_at: Time | None = None


class DeleteAnswer(RootModel[Annotated[Deleted | NotDeleted, Field(discriminator="type")]]):
    """The answer of `delete_message_batch`."""

    # Clients of 2025-11-25 refuse the whole catalogue where an output schema's root has no type.
    model_config = ConfigDict(json_schema_extra={"type": "object"})


async def delete_message_batch(
    message_batch_id: MessageBatchId, client: Client
) -> Annotated[CallToolResult, DeleteAnswer]:
    """Delete an ended Message Batch and its results for good. This cannot be undone.

    Checks the status first. A batch that has not ended is not deleted: the answer says how to get there.
    """
    batch = await client.retrieve(message_batch_id)
    if not batch.ended:
        return answer(_guidance(batch))
    try:
        deleted = await client.delete(message_batch_id)
    except ApiError as error:
        if error.status != 400:
            raise
        # Refused although it was seen as ended: what it is now decides, not the wording of the refusal.
        batch = await client.retrieve(message_batch_id)
        if batch.ended:
            raise error from None
        return answer(_guidance(batch))
    return answer(Deleted(id=deleted.id, type=deleted.type))


def _guidance(batch: MessageBatch) -> NotDeleted:
    """Why a batch that has not ended was not deleted, and the calls that lead there."""
    reason: Literal["in_progress", "canceling", "unknown_status"]
    match batch.processing_status:
        case "in_progress":
            reason = "in_progress"
            message = (
                f"Nothing was deleted: the batch is in progress ({requests(batch.request_counts.total)}), and only an "
                "ended batch can be deleted. Cancel it first, wait until it has ended, then delete it. Requests that "
                "finish before the cancellation takes effect are kept in its results, and billed."
            )
            steps = [cancel_step(batch.id), wait_step(batch.id), delete_step(batch.id)]
        case "canceling":
            reason = "canceling"
            since = f" since {moment(batch.cancel_initiated_at)}" if batch.cancel_initiated_at else ""
            message = (
                f"Nothing was deleted: the batch is being canceled{since} and has not ended yet. Wait until it has, "
                "then delete it. Do not cancel it again."
            )
            steps = [wait_step(batch.id), delete_step(batch.id)]
        case _:
            reason = "unknown_status"
            message = (
                f"Nothing was deleted: this version does not know the status {batch.processing_status!r}, and only a "
                "batch that is surely ended is deleted. Wait, and look at it again."
            )
            steps = [wait_step(batch.id), delete_step(batch.id)]
    return NotDeleted(
        id=batch.id,
        type="message_batch_not_deleted",
        reason=reason,
        processing_status=batch.processing_status,
        message=message,
        next_steps=steps,
        request_counts=batch.request_counts,
        created_at=batch.created_at,
        cancel_initiated_at=batch.cancel_initiated_at,
    )
