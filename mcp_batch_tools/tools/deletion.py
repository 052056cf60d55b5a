"""What `delete_message_batch` answers."""

from typing import Annotated, Literal

from pydantic import Field

from mcp_batch_tools.api.models import MessageBatch, RequestCounts
from mcp_batch_tools.tools.answers import Answer, NextStep, TaggedAnswer, Time


class Deleted(Answer):
    """The API's own object: the batch and its results are gone for good."""

    id: str
    type: Literal["message_batch_deleted"]
    results_saved_to: str | None = None


Reason = Literal[
    "in_progress",
    "canceling",
    "unknown_status",
    "declined",
    "not_shown",
    "cannot_ask",
    "results_not_saved",
    "changed",
    "answered_before",
]


class NotDeleted(Answer):
    """Nothing was changed, and how to get to the goal."""

    id: str
    type: Literal["message_batch_not_deleted"]
    reason: Reason
    processing_status: str
    message: str
    next_steps: list[NextStep]
    request_counts: RequestCounts
    created_at: Time
    cancel_initiated_at: Time | None = None


class DeleteAnswer(TaggedAnswer[Annotated[Deleted | NotDeleted, Field(discriminator="type")]]):
    """The answer of `delete_message_batch`."""


def not_deleted(batch: MessageBatch, reason: Reason, message: str, steps: list[NextStep]) -> NotDeleted:
    """Why this batch was not deleted."""
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
