"""Deleting one batch: `delete_message_batch`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.api.models import MessageBatch, MessageBatchId, RequestCounts
from mcp_batch_tools.errors import Failure, PathNotAllowed
from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.tools.acts import complete_open_receipts, receipt, verified_results
from mcp_batch_tools.tools.answered import AlreadyAnswered, AnsweredBefore, Earlier, answer_before
from mcp_batch_tools.tools.answers import (
    Confirmation,
    Goal,
    NextStep,
    answer,
    delete_step,
    look_step,
    steps_to_delete,
)
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import Consent, Decision, Granted, Refused, can_be_asked, facts_named
from mcp_batch_tools.tools.deletion import DeleteAnswer, Deleted, NotDeleted, Reason, not_deleted
from mcp_batch_tools.tools.facts import DeleteFacts, delete_facts
from mcp_batch_tools.tools.made_here import reconcile_before_delete
from mcp_batch_tools.tools.places import SavePath, another_path, may_pass, place_of
from mcp_batch_tools.tools.save_message_batch_results import Saved, save
from mcp_batch_tools.tools.words import guidance
from mcp_batch_tools.tools.words.calls import Call
from mcp_batch_tools.tools.words.consent import (
    DELETE_CHANGED,
    OUTCOME_UNKNOWN,
    UNSEEN_BEFORE,
    DeleteChoice,
    SaveOrDeleteChoice,
    declined_message,
    delete_question,
    nothing_done_message,
)
from mcp_batch_tools.tools.words.failures import explain


async def _look(
    message_batch_id: str, app: AppDep, caller: CallerDep, earlier: Earlier
) -> MessageBatch | Deleted | AnsweredBefore:
    if earlier is not None:
        return earlier
    try:
        return await _retrieve(app, message_batch_id)
    except ApiError as error:
        # Another call may have acted on the same answer since it was looked up.
        meanwhile = await answer_before(app, caller.question) if error.gone else None
        if meanwhile is None:
            raise
        return meanwhile


async def _retrieve(app: App, message_batch_id: str) -> MessageBatch | Deleted:
    """The batch, or the deleted object where an earlier delete of ours, whose answer was lost, turns out to be done."""
    try:
        return await app.client.retrieve(message_batch_id)
    except ApiError as error:
        if error.gone and await complete_open_receipts(app, "delete", message_batch_id, "done"):
            return Deleted(id=message_batch_id, type="message_batch_deleted")
        raise


Seen = Annotated[MessageBatch | Deleted | AnsweredBefore, Resolve(_look)]


async def _consent(
    batch: Seen, save_results_to: str | None, confirmation: str | None, app: AppDep, caller: CallerDep
) -> Elicit[DeleteChoice | SaveOrDeleteChoice] | Decision | None:
    if not isinstance(batch, MessageBatch) or not batch.ended:
        return None
    facts = facts_named(caller.question, DeleteFacts)
    if facts is None:
        try:
            save_to = None if save_results_to is None else str(place_of(app, batch.id, save_results_to))
        except PathNotAllowed:
            return None  # the tool says so, and nothing is done
        facts = await _facts(app, caller, batch, save_to)
    return await Consent(app, caller, "delete").decide(facts, delete_question, confirmation)


async def _facts(app: App, caller: Caller, batch: MessageBatch, save_to: str | None) -> DeleteFacts | None:
    """What is asked about the delete, or None where the batch holds nothing that could be lost."""
    if batch.archived_at is not None or batch.request_counts.hold_nothing:
        return None
    saved = await verified_results(app, batch.id) if can_be_asked(app, caller) else None
    path, sha256 = (saved.path, saved.sha256) if saved else (None, None)
    return delete_facts(batch, saved_to=path, saved_sha256=sha256, save_to=save_to)


async def delete_message_batch(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    seen: Seen,
    consent: Annotated[ElicitationResult[DeleteChoice | SaveOrDeleteChoice], Resolve(_consent)],
    save_results_to: SavePath | None = None,
    confirmation: Confirmation = None,
) -> Annotated[CallToolResult, DeleteAnswer]:
    """Delete an ended Message Batch and its results for good. This cannot be undone.

    Checks the status first. A batch that has not ended is not deleted: the answer says how to get there. With
    save_results_to all results are saved and checked first, and nothing is deleted if that fails.
    """
    call = _Delete(app, caller, message_batch_id, save_results_to)
    if isinstance(seen, Deleted):
        return answer(seen)
    if isinstance(seen, AnsweredBefore):
        return answer(call.answered_before(seen))
    if not seen.ended:
        return answer(call.guidance(seen))
    if save_results_to is not None:
        try:
            place_of(app, seen.id, save_results_to)
        except PathNotAllowed as error:
            steps = call.after_failed_save(error, save_results_to)
            return answer(not_deleted(seen, "results_not_saved", explain(error, Call("delete")), steps))
    decision = await call.consent.decision(consent, DeleteFacts)
    if isinstance(decision, Refused):
        steps = [call.again(decision.confirmation)] if decision.confirmation else []
        return answer(await call.instead(decision, not_deleted(seen, decision.reason, decision.message, steps)))
    try:
        return answer(await call.delete(seen, decision))
    except AlreadyAnswered as error:
        return answer(call.answered_before(error.earlier))


@dataclass(frozen=True)
class _Delete:
    """One call, and what it may come to."""

    app: App
    caller: Caller
    message_batch_id: str
    save_results_to: str | None

    @property
    def consent(self) -> Consent:
        return Consent(self.app, self.caller, "delete")

    def again(self, confirmation: str | None = None) -> NextStep:
        """A step that makes this call once more, with its confirmation where there is one."""
        return delete_step(self.message_batch_id, self.save_results_to, confirmation)

    async def instead(self, decision: Decision, refusal: NotDeleted) -> NotDeleted | Deleted:
        """The answer where nothing is deleted, which uses up the person's."""
        earlier = await self.consent.refuse(decision)
        return refusal if earlier is None else self.answered_before(earlier)

    async def delete(self, batch: MessageBatch, granted: Granted) -> NotDeleted | Deleted:
        """Save the results where that is wanted, then delete. Raises `AlreadyAnswered`."""
        # A batch that is deleted before it was found would look as if it had never been created. Nothing that takes
        # requests comes after the looks at files: they could be gone by the time of the delete.
        await reconcile_before_delete(self.app)
        changed = await self._changed(batch, granted)
        if changed is not None:
            return await self.instead(granted, changed)
        saved_to = None
        if self.save_results_to is not None or granted.save_first or self.app.saves.unfinished(batch.id):
            saved = await self._save(batch, granted)
            if isinstance(saved, NotDeleted):
                return await self.instead(granted, saved)
            saved_to = saved
        try:
            async with receipt(self.app, self.caller, "delete", batch, granted) as act:
                deleted = await self.app.client.delete(batch.id)
                act.request_id = deleted.request_id
        except ApiError as error:
            if error.status != 400:
                raise
            # Refused although it was seen as ended: what it is now decides, not the wording of the refusal.
            now = await _retrieve(self.app, batch.id)
            if isinstance(now, MessageBatch) and now.ended:
                raise error from None
            return now if isinstance(now, Deleted) else self.guidance(now)
        return Deleted(id=deleted.id, type=deleted.type, results_saved_to=saved_to)

    async def _save(self, batch: MessageBatch, granted: Granted) -> str | NotDeleted:
        """The path that all results are saved in now, or why they are not."""
        if not batch.readable:
            return not_deleted(batch, "results_not_saved", guidance.results_gone_message(batch), [])
        path = self.save_results_to or self.app.saves.unfinished(batch.id)
        try:
            place = place_of(self.app, batch.id, path)
            saved = await save(self.app, self.caller, batch, place)
        except (BatchError, PathNotAllowed, SaveFailed, InvalidPrices) as error:
            call = Call("delete", {"message_batch_id": batch.id}, self.app.settings.key_source)
            return not_deleted(batch, "results_not_saved", explain(error, call), self.after_failed_save(error, path))
        if isinstance(saved, Saved):
            return saved.path
        message = guidance.not_saved_yet_message(saved.message, asked=granted.question is not None)
        again = delete_step(batch.id, self.save_results_to or saved.path)
        return not_deleted(batch, "results_not_saved", message, [again])

    def after_failed_save(self, error: Failure, path: str | None) -> list[NextStep]:
        """A step that deletes after saving to `path`, or to a free name where it is taken; none if neither can help."""
        if may_pass(error):
            return [delete_step(self.message_batch_id, path)]
        instead = another_path(self.app, self.message_batch_id, error)
        return [] if instead is None else [delete_step(self.message_batch_id, instead)]

    async def _changed(self, batch: MessageBatch, granted: Granted) -> NotDeleted | None:
        """Why the consent does not hold any more; None where batch and saved file are as the question named them."""
        named = facts_named(granted.question, DeleteFacts)
        if named is None:
            return None
        if not named.describes(batch):
            return not_deleted(batch, "changed", DELETE_CHANGED, [self.again()])
        if named.saved_sha256 is not None and await verified_results(self.app, batch.id, named.saved_sha256) is None:
            return not_deleted(batch, "results_not_saved", guidance.SAVED_FILE_CHANGED, [self.again()])
        return None

    def answered_before(self, earlier: AnsweredBefore) -> NotDeleted | Deleted:
        """What came of the first answer to a question; nothing is done on another one."""
        if earlier.outcome == "done":
            return Deleted(id=self.message_batch_id, type="message_batch_deleted")
        named = DeleteFacts(**earlier.question.facts)
        reason: Reason = "answered_before"
        message, steps = nothing_done_message("delete"), [self.again()]
        if earlier.decision == "refused":
            reason, message, steps = "declined", declined_message("declined"), []
        elif earlier.decision == "unseen":
            reason, message = "not_shown", UNSEEN_BEFORE
        elif earlier.begun and earlier.outcome is None:
            message, steps = OUTCOME_UNKNOWN, [look_step(self.message_batch_id)]
        return NotDeleted(
            id=self.message_batch_id,
            type="message_batch_not_deleted",
            reason=reason,
            processing_status="ended",
            message=message,
            next_steps=steps,
            request_counts=RequestCounts(**named.counts),
            created_at=datetime.fromtimestamp(named.created_at, UTC),
        )

    def guidance(self, batch: MessageBatch) -> NotDeleted:
        """Why a batch that has not ended was not deleted, and the calls that lead there."""
        reasons: dict[str, Reason] = {"in_progress": "in_progress", "canceling": "canceling"}
        steps = steps_to_delete(batch, Goal(self.save_results_to), self.caller.patience)
        reason = reasons.get(batch.processing_status, "unknown_status")
        message = guidance.not_ended_message(batch) + guidance.overdue_message(batch, self.app.client.now())
        return not_deleted(batch, reason, message, steps)
