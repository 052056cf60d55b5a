"""Deleting one batch: `delete_message_batch`."""

from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.errors import PathNotAllowed
from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.tools.acts import complete_open_receipts, receipt, verified_results
from mcp_batch_tools.tools.answers import (
    Answer,
    NextStep,
    TaggedAnswer,
    Time,
    answer,
    cancel_step,
    delete_step,
    wait_step,
)
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import (
    Decision,
    DeleteChoice,
    Refused,
    SaveOrDeleteChoice,
    can_be_asked,
    decision_from,
    decision_or_question,
    delete_question,
)
from mcp_batch_tools.tools.made_here import reconcile_before_delete
from mcp_batch_tools.tools.save_message_batch_results import SavePath, place_of, save
from mcp_batch_tools.tools.words.calls import Call
from mcp_batch_tools.tools.words.failures import explain
from mcp_batch_tools.tools.words.guidance import SAVED_FILE_CHANGED, not_ended_message, results_gone_message


class Deleted(Answer):
    """The API's own object: the batch and its results are gone for good."""

    id: str
    type: Literal["message_batch_deleted"]
    results_saved_to: str | None = None


Reason = Literal["in_progress", "canceling", "unknown_status", "declined", "cannot_ask", "results_not_saved"]


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


async def _retrieve(message_batch_id: str, app: AppDep) -> MessageBatch | Deleted:
    """The batch, or the deleted object where an earlier delete of ours, whose answer was lost, turns out to be done."""
    try:
        return await app.client.retrieve(message_batch_id)
    except ApiError as error:
        if error.gone and await complete_open_receipts(app, "delete", message_batch_id, "done"):
            return Deleted(id=message_batch_id, type="message_batch_deleted")
        raise


Seen = Annotated[MessageBatch | Deleted, Resolve(_retrieve)]


async def _consent(
    batch: Seen, save_results_to: str | None, app: AppDep, caller: CallerDep
) -> Elicit[DeleteChoice | SaveOrDeleteChoice] | Decision | None:
    if isinstance(batch, Deleted) or not batch.ended:
        return None
    try:
        save_to = None if save_results_to is None else str(place_of(app, batch.id, save_results_to))
    except PathNotAllowed:
        return None  # the tool says so, and nothing is done
    saved = await verified_results(app, batch.id) if can_be_asked(app, caller) else None
    question = delete_question(batch, saved_to=saved.path if saved else None, save_to=save_to)
    return decision_or_question(app, caller, question)


async def delete_message_batch(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    batch: Seen,
    consent: Annotated[ElicitationResult[DeleteChoice | SaveOrDeleteChoice], Resolve(_consent)],
    save_results_to: SavePath | None = None,
) -> Annotated[CallToolResult, DeleteAnswer]:
    """Delete an ended Message Batch and its results for good. This cannot be undone.

    Checks the status first. A batch that has not ended is not deleted: the answer says how to get there. With
    save_results_to all results are saved and checked first, and nothing is deleted if that fails.
    """
    if isinstance(batch, Deleted):
        return answer(batch)
    if not batch.ended:
        return answer(_guidance(batch))
    if save_results_to is not None:
        try:
            place_of(app, batch.id, save_results_to)
        except PathNotAllowed as error:
            return answer(_not_deleted(batch, "results_not_saved", explain(error, Call("delete")), []))
    decision = decision_from(consent)
    if isinstance(decision, Refused):
        return answer(_not_deleted(batch, decision.reason, decision.message, []))
    if decision.because_saved and await verified_results(app, batch.id) is None:
        return answer(_not_deleted(batch, "results_not_saved", SAVED_FILE_CHANGED, [delete_step(batch.id)]))
    saved_to = None
    wants_saving = save_results_to is not None or decision.save_first
    if wants_saving and not batch.readable(app.client.now()):
        return answer(_not_deleted(batch, "results_not_saved", results_gone_message(batch), []))
    if wants_saving:
        try:
            saved_to = await _saved(app, caller, batch, save_results_to)
        except (BatchError, PathNotAllowed, SaveFailed, InvalidPrices) as error:
            call = Call("delete", {"message_batch_id": message_batch_id}, app.settings.key_source)
            return answer(_not_deleted(batch, "results_not_saved", explain(error, call), []))
    # A batch that is deleted before it was found would look as if it had never been created.
    await reconcile_before_delete(app)
    try:
        async with receipt(app, caller, "delete", batch, decision) as act:
            deleted = await app.client.delete(message_batch_id)
            act.request_id = deleted.request_id
    except ApiError as error:
        if error.status != 400:
            raise
        # Refused although it was seen as ended: what it is now decides, not the wording of the refusal.
        batch = await _retrieve(message_batch_id, app)
        if not isinstance(batch, Deleted) and batch.ended:
            raise error from None
        return answer(batch if isinstance(batch, Deleted) else _guidance(batch))
    return answer(Deleted(id=deleted.id, type=deleted.type, results_saved_to=saved_to))


async def _saved(app: App, caller: Caller, batch: MessageBatch, path: str | None) -> str:
    return (await save(app, caller, batch, place_of(app, batch.id, path))).path


def _guidance(batch: MessageBatch) -> NotDeleted:
    """Why a batch that has not ended was not deleted, and the calls that lead there."""
    reason: Reason = "unknown_status"
    steps = [wait_step(batch.id), delete_step(batch.id)]
    match batch.processing_status:
        case "in_progress":
            reason, steps = "in_progress", [cancel_step(batch.id), *steps]
        case "canceling":
            reason = "canceling"
    return _not_deleted(batch, reason, not_ended_message(batch), steps)


def _not_deleted(batch: MessageBatch, reason: Reason, message: str, steps: list[NextStep]) -> NotDeleted:
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
