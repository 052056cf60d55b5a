"""Creating a batch: `create_message_batch`."""

from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MESSAGE_BATCH_ID_PATTERN
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.submissions.send import Sender, Submission, Terms
from mcp_batch_tools.tools import creation
from mcp_batch_tools.tools.answers import answer, requests, wait_step
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.consent import (
    CreateChoice,
    Decision,
    Granted,
    Refused,
    create_question,
    decision_from,
    decision_or_question,
)
from mcp_batch_tools.tools.creation import CreateAnswer, Created, Estimated, NotCreated, not_created
from mcp_batch_tools.tools.preparation import Prepared, prepare
from mcp_batch_tools.tools.words.calls import Call
from mcp_batch_tools.tools.words.failures import explain_part, repeating_helps

_MOST_INLINE = 100


Ready = Annotated[Prepared | NotCreated, Resolve(prepare)]


async def _consent(
    ready: Ready, dry_run: bool, app: AppDep, caller: CallerDep
) -> Elicit[CreateChoice] | Decision | None:
    if dry_run or isinstance(ready, NotCreated) or ready.refusal:
        return None
    most = ready.estimate.max_cost_usd
    if most is not None and most <= Decimal(str(app.settings.ask_above_usd)):
        return Granted("below the approval threshold")
    question = create_question(ready.plan.requests, most, ready.estimate.prices_of, ready.prior.sent_again)
    return decision_or_question(app, caller, question)


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
            description="Send only what expired, was canceled or failed on the server's side in this batch.",
        ),
    ] = None,
) -> Annotated[CallToolResult, CreateAnswer]:
    """Create a Message Batch, which costs money. All requests are checked first, and nothing is sent if one is wrong.

    The same requests are not sent twice. If the answer says that the outcome is unknown, do not send them again.
    """
    if isinstance(ready, NotCreated):
        return answer(ready)
    if dry_run:
        return answer(_estimated(ready))
    if ready.refusal is not None:
        return answer(ready.refusal)
    decision = decision_from(consent)
    if isinstance(decision, Refused):
        return answer(not_created(ready.costs, decision.reason, decision.message, []))
    terms = Terms(
        scope=await app.scope_to_write(),
        consent=decision.how,
        label=label,
        retry_of=retry_of,
        last_seq=ready.last_seq,
        estimate_usd=None if ready.estimate.max_cost_usd is None else float(ready.estimate.max_cost_usd),
        client=caller.name,
    )
    report = partial(_report, caller, ready.plan)
    sender = Sender(app.client, app.ledger, ready.source, ready.plan, terms, report)
    submission = await sender.send(ready.prior.decisions)
    return answer(_submitted(app, ready, submission, label, allow_duplicate=allow_duplicate))


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
