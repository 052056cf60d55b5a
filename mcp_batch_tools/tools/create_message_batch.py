"""Creating a batch: `create_message_batch`."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MESSAGE_BATCH_ID_PATTERN
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.submissions.retry import Retried
from mcp_batch_tools.submissions.send import Sender, Submission, Terms
from mcp_batch_tools.submissions.store import attempts_of_consent
from mcp_batch_tools.tools import creation
from mcp_batch_tools.tools.answered import AnsweredBefore, answer_before
from mcp_batch_tools.tools.answers import CONFIRMED, Argument, Confirmation, NextStep, answer, requests, wait_step
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import Consent, Decision, Granted, Refused, facts_named
from mcp_batch_tools.tools.creation import Costs, CreateAnswer, Created, Estimated, NotCreated, not_created
from mcp_batch_tools.tools.facts import CreateFacts
from mcp_batch_tools.tools.preparation import Prepared, prepare
from mcp_batch_tools.tools.words.calls import Call
from mcp_batch_tools.tools.words.consent import (
    OUTCOME_UNKNOWN,
    UNSEEN_BEFORE,
    CreateChoice,
    create_changed_message,
    create_question,
    created_before_message,
    declined_message,
)
from mcp_batch_tools.tools.words.failures import explain_part, repeating_helps

_MOST_INLINE = 100


Ready = Annotated[Prepared | NotCreated | AnsweredBefore, Resolve(prepare)]


async def _consent(
    ready: Ready, dry_run: bool, confirmation: str | None, app: AppDep, caller: CallerDep
) -> Elicit[CreateChoice] | Decision | None:
    if dry_run or not isinstance(ready, Prepared) or (ready.refusal and caller.question is None):
        return None
    facts = facts_named(caller.question, CreateFacts)
    if facts is None:
        most = ready.estimate.max_cost_usd
        if most is not None and most <= Decimal(str(app.settings.ask_above_usd)):
            return Granted("below the approval threshold")
        facts = _facts(ready)
    decision = await Consent(app, caller, "create").decide(facts, create_question, confirmation)
    if caller.question is not None:
        app.open_questions.keep(caller.question, ready)
    return decision


def _facts(ready: Prepared) -> CreateFacts:
    """What is asked about a create."""
    most, before = ready.estimate.max_cost_usd, ready.prior.sent_again
    return CreateFacts(
        plan_fingerprint=ready.plan.fingerprint,
        requests=ready.plan.requests,
        parts=len(ready.prior.decisions) - len(ready.prior.done),
        max_cost_usd=None if most is None else str(most),
        prices_of=ready.costs.prices_of,
        input_tokens_by=ready.costs.input_tokens_by,
        sent_on=None if before is None else before.time,
        sent_as=None if before is None else before.message_batch_id,
        not_included=ready.estimate.not_included,
    )


async def create_message_batch(
    app: AppDep,
    caller: CallerDep,
    ready: Ready,
    consent: Annotated[ElicitationResult[CreateChoice], Resolve(_consent)],
    requests: Annotated[
        list[dict[str, Any]] | None,
        Field(min_length=1, max_length=_MOST_INLINE, description="A few requests: objects of custom_id and params."),
    ] = None,
    requests_file: Annotated[
        str | None, Field(min_length=1, description='Path of JSON Lines of requests, or {"requests": [...]}; also .gz.')
    ] = None,
    label: Annotated[str | None, Field(min_length=1, max_length=100, description="To find the batch by later.")] = None,
    dry_run: Annotated[bool, Field(description="Only check the requests and say what they would cost.")] = False,
    max_cost_usd: Annotated[float | None, Field(ge=0, description="Send nothing that could cost more.")] = None,
    allow_duplicate: Annotated[bool, Field(description="Send requests that were sent before again.")] = False,
    retry_of: Annotated[
        str | None,
        Field(
            pattern=MESSAGE_BATCH_ID_PATTERN,
            description="Send what of this batch ended as retry says.",
        ),
    ] = None,
    retry: Annotated[list[Retried] | None, Field(description="How they ended; by default the first four.")] = None,
    confirmation: Confirmation = None,
) -> Annotated[CallToolResult, CreateAnswer]:
    """Create a Message Batch, which costs money. All requests are checked first, and nothing is sent if one is wrong.

    The same requests are not sent twice. If the answer says that the outcome is unknown, do not send them again.
    """
    if isinstance(ready, AnsweredBefore):
        return answer(await _answered_before(app, ready, label))
    if isinstance(ready, NotCreated):
        return answer(ready)
    if dry_run:
        return answer(_estimated(ready))
    if ready.refusal is not None and caller.question is None:
        return answer(ready.refusal)
    asked = Consent(app, caller, "create")
    decision = await asked.decision(consent, CreateFacts)
    if isinstance(decision, Refused):
        given = {
            "requests_file": requests_file,
            "label": label,
            "max_cost_usd": max_cost_usd,
            "allow_duplicate": allow_duplicate or None,
            "retry_of": retry_of,
            "retry": ", ".join(retry or []) or None,
        }
        steps = [_again(given, decision.confirmation)] if decision.confirmation else []
        refusal = not_created(ready.costs, decision.reason, decision.message, [], steps=steps)
    else:
        changed = _changed(ready, decision)
        if changed is None:
            terms = await _terms(app, caller, ready, decision, label, retry_of)
            return answer(await _send(app, caller, ready, decision, terms, allow_duplicate=allow_duplicate))
        refusal = changed
    earlier = await asked.refuse(decision)
    return answer(refusal if earlier is None else await _answered_before(app, earlier, label))


def _again(given: Mapping[str, Argument | None], confirmation: str) -> NextStep:
    """A step that makes a create once more, with its confirmation; requests that were given inline are not repeated."""
    inline = given["requests_file"] is None
    arguments = {} if inline else {name: value for name, value in given.items() if value is not None}
    same = "Give all arguments of this call again, and the confirmation: it sends" if inline else "Sends"
    why = f"{same} the requests, {CONFIRMED}."
    return NextStep(tool="create_message_batch", arguments={**arguments, "confirmation": confirmation}, why=why)


def _changed(ready: Prepared, granted: Granted) -> NotCreated | None:
    """Why the consent does not hold for what would be sent now, or None where it does."""
    named = facts_named(granted.question, CreateFacts)
    if named is None:
        return None
    most, before = ready.estimate.max_cost_usd, ready.prior.sent_again
    changed: Literal["requests", "price", "sent"]
    if ready.plan.fingerprint != named.plan_fingerprint:
        changed = "requests"
    elif ready.refusal is not None:
        return ready.refusal
    elif named.max_cost_usd is not None and (most is None or most > Decimal(named.max_cost_usd)):
        changed = "price"
    elif (None if before is None else before.message_batch_id) != named.sent_as:
        changed = "sent"
    else:
        return None
    return not_created(ready.costs, "changed", create_changed_message(changed), [])


async def _terms(
    app: App, caller: Caller, ready: Prepared, granted: Granted, label: str | None, retry_of: str | None
) -> Terms:
    return Terms(
        scope=await app.scope_to_write(),
        credential=app.settings.credential_scope,
        consent=granted.how,
        consent_id=None if granted.question is None else granted.question.id,
        label=None if label is None else app.settings.redact(label),
        retry_of=retry_of,
        last_seq=ready.last_seq,
        estimate_usd=None if ready.estimate.max_cost_usd is None else float(ready.estimate.max_cost_usd),
        client=caller.name,
    )


async def _send(
    app: App, caller: Caller, ready: Prepared, granted: Granted, terms: Terms, *, allow_duplicate: bool
) -> Created | NotCreated:
    """Send what is to be sent; the first part that is claimed uses up the consent."""
    report = partial(_report, caller, ready.plan)
    sender = Sender(app.client, app.ledger, ready.source, ready.plan, terms, report)
    submission = await sender.send(ready.prior.decisions)
    if granted.question is not None:
        app.open_questions.drop(granted.question.id)
    earlier = await answer_before(app, granted.question) if submission.consent_used else None
    if earlier is not None:
        return await _answered_before(app, earlier, terms.label)
    return _submitted(app, ready, submission, terms.label, allow_duplicate=allow_duplicate)


async def _answered_before(app: App, earlier: AnsweredBefore, label: str | None) -> Created | NotCreated:
    """What came of the first answer to a question; nothing is sent on another one."""
    named = CreateFacts(**earlier.question.facts)
    costs = Costs(
        models=[],
        max_cost_usd=None if named.max_cost_usd is None else float(named.max_cost_usd),
        prices_of=named.prices_of,
        not_included=[*named.not_included],
        input_tokens_by=named.input_tokens_by,
    )
    if earlier.decision == "refused":
        return not_created(costs, "declined", declined_message("declined"), [])
    if earlier.decision == "unseen":
        return not_created(costs, "not_shown", UNSEEN_BEFORE, [])
    attempts = await app.ledger.read(lambda transaction: attempts_of_consent(transaction, earlier.question.id))
    known = {attempt.part: attempt for attempt in attempts if attempt.state in {"created", "forgotten"}}
    batches = creation.created_batches(known)
    message = created_before_message([batch.id for batch in batches], named.parts)
    if len(batches) == named.parts:
        return Created(
            type="message_batch_created",
            message=message + creation.inferred(known),
            batches=batches,
            label=label,
            estimate=costs,
            next_steps=[wait_step(batch.id) for batch in batches[:1]],
        )
    if any(attempt.state not in {"created", "forgotten", "not_created"} for attempt in attempts):
        return not_created(costs, "unknown_outcome", OUTCOME_UNKNOWN, batches)
    return not_created(costs, "answered_before", message, batches)


async def _report(caller: Caller, plan: Plan, number: int, sent: int) -> None:
    await caller.report_progress(sent, plan.bytes, f"part {number + 1} of {len(plan.parts)}")


def _submitted(
    app: App, ready: Prepared, submission: Submission, label: str | None, *, allow_duplicate: bool
) -> Created | NotCreated:
    batches = creation.created_batches(submission.batches)
    of = len(ready.plan.parts)
    so_far = f" {len(batches)} of {of} batches were created." if of > 1 else ""
    if submission.unresolved is not None:
        message = creation.lost_answer(submission.unresolved, so_far, app.now(), allow_duplicate=allow_duplicate)
        return not_created(ready.costs, "unknown_outcome", message, batches, unresolved=submission.unresolved)
    if submission.taken:
        message = creation.being_sent(so_far, allow_duplicate=allow_duplicate)
        return not_created(ready.costs, "unknown_outcome", message, batches)
    if submission.failure is not None:
        why = explain_part(submission.failure, Call("create", {}, app.settings.key_source))
        helps = repeating_helps(submission.failure)
        message = creation.not_everything(why, so_far, repeating_helps=helps)
        return not_created(ready.costs, "failed", message, batches)
    ids = ", ".join(batch.id for batch in batches)
    created = f"{_requests_in_words(ready)}, {creation.cost_in_words(ready.estimate)}"
    return Created(
        type="message_batch_created",
        message=f"Created as {ids}: {created}.{creation.inferred(submission.batches)}",
        batches=batches,
        label=label,
        estimate=ready.costs,
        next_steps=[wait_step(batch.id) for batch in batches[:1]],
    )


def _estimated(ready: Prepared) -> Estimated:
    refused = f" It would not be sent now: {ready.refusal.message}" if ready.refusal else ""
    cost = creation.cost_in_words(ready.estimate)
    return Estimated(
        type="message_batch_estimate",
        message=f"This was a dry run. {_requests_in_words(ready)}, {cost}.{refused}",
        requests=ready.plan.requests,
        batches=len(ready.plan.parts),
        estimate=ready.costs,
    )


def _requests_in_words(ready: Prepared) -> str:
    """`120,000 requests in 2 batches`."""
    parts = len(ready.plan.parts)
    return requests(ready.plan.requests) + (f" in {parts} batches" if parts > 1 else "")
