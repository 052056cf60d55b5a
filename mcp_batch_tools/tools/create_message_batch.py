"""Creating a batch: `create_message_batch`."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import anyio.to_thread
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MESSAGE_BATCH_ID_PATTERN
from mcp_batch_tools.pricing.estimates import Estimate, estimate
from mcp_batch_tools.pricing.prices import load_prices
from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.paths import resolve_input_path
from mcp_batch_tools.requests.plan import Plan, build_plan
from mcp_batch_tools.requests.sources import FileSource, InlineSource, Source
from mcp_batch_tools.tools.acts import in_ledger
from mcp_batch_tools.tools.answers import answer, requests, wait_step
from mcp_batch_tools.tools.app import App, AppDep, CallerDep
from mcp_batch_tools.tools.consent import (
    CreateChoice,
    Decision,
    Granted,
    Refused,
    create_question,
    decision_from,
    decision_or_question,
)
from mcp_batch_tools.tools.create_answers import (
    Costs,
    CreateAnswer,
    Created,
    CreatedBatch,
    Estimated,
    NotCreated,
    costs_of,
    most_in_words,
    not_created,
)
from mcp_batch_tools.tools.failures import explain_part
from mcp_batch_tools.tools.retrying import only_to_retry
from mcp_batch_tools.tools.sent_before import (
    Standing,
    continued,
    inferred_words,
    sent_answer,
    sent_since,
    standing_of,
    unsettled_answer,
    without,
)
from mcp_batch_tools.tools.settling import settled_at
from mcp_batch_tools.tools.submitting import Submitted, Terms, submit

_MOST_INLINE = 100


@dataclass(frozen=True)
class _Prepared:
    """Requests that are in order, what they cost, and what was already sent of them."""

    source: Source
    plan: Plan
    estimate: Estimate
    costs: Costs
    standing: Standing
    last_seen: int
    refusal: NotCreated | None


async def _prepare(
    requests: list[dict[str, Any]] | None,
    requests_file: str | None,
    retry_of: str | None,
    max_cost_usd: float | None,
    allow_duplicate: bool,
    app: AppDep,
    caller: CallerDep,
) -> _Prepared | NotCreated:
    settings = app.settings
    prices = load_prices(settings.prices)
    if (requests is None) == (requests_file is None):
        raise InvalidRequests(["give either requests or requests_file"])
    source: Source = (
        FileSource(resolve_input_path(requests_file, settings.requests_dir))
        if requests_file is not None
        else InlineSource(requests or [])
    )
    known = settings.ledger_folder.exists()
    last_seen = await in_ledger(lambda: app.submissions.last_number()) if known else 0
    standing = None
    if retry_of is not None:
        retry = await only_to_retry(app, source, retry_of, allow_duplicate=allow_duplicate)
        if isinstance(retry, NotCreated):
            return retry
        source, standing = retry.source, retry.standing
    plan = await anyio.to_thread.run_sync(lambda: build_plan(source, anthropic_version=settings.anthropic_version))
    cost = await estimate(app.client, plan, prices)
    costs = costs_of(cost)
    if standing is None or retry_of is None:
        standing = await standing_of(app, plan, allow_duplicate=allow_duplicate)
    elif known:
        more = continued if allow_duplicate else sent_since
        standing = await more(app, plan, retry_of, standing)
    refusal = _too_expensive(cost, costs, [max_cost_usd, settings.max_cost_usd])
    refusal = refusal or await _sent_before(app, plan, costs, standing, allow_duplicate=allow_duplicate)
    return _Prepared(source, plan, cost, costs, standing, last_seen, refusal)


async def _sent_before(
    app: App,
    plan: Plan,
    costs: Costs,
    standing: Standing,
    *,
    allow_duplicate: bool,
) -> NotCreated | None:
    if standing.unsettled:
        done = [
            CreatedBatch(id=batch, part=number + 1, requests=plan.parts[number].requests)
            for number, batch in sorted(standing.done.items())
        ]
        return unsettled_answer(standing.unsettled, costs, done, app.client, allow_duplicate=allow_duplicate)
    if len(standing.done) < len(plan.parts):
        return None
    by_id = {one.message_batch_id: one for one in standing.earlier}
    current = [by_id[batch] for _, batch in sorted(standing.done.items())]
    return await sent_answer(app, current, costs, "these very requests were")


Ready = Annotated[_Prepared | NotCreated, Resolve(_prepare)]


async def _consent(
    ready: Ready, dry_run: bool, app: AppDep, caller: CallerDep
) -> Elicit[CreateChoice] | Decision | None:
    if dry_run or isinstance(ready, NotCreated) or ready.refusal:
        return None
    settings = app.settings
    most = ready.estimate.max_cost_usd
    if most is not None and most <= Decimal(str(settings.ask_above_usd)):
        return Granted("below the sum to ask about")
    return decision_or_question(app, caller, create_question(ready.plan.requests, most, ready.estimate.prices_of))


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
    most = ready.estimate.max_cost_usd
    terms = Terms(
        label, retry_of, None if most is None else float(most), decision.how, allow_duplicate, ready.last_seen
    )
    submitted = await submit(app, caller, ready.source, ready.plan, terms, ready.standing)
    key_source = app.settings.key_source
    return answer(_told(ready, submitted, terms, key_source))


def _told(ready: _Prepared, submitted: Submitted, terms: Terms, key_source: str | None) -> Created | NotCreated:
    of = len(ready.plan.parts)
    again = without(terms.allow_duplicate)
    so_far = f" {len(submitted.created)} of {of} batches were created." if of > 1 else ""
    if submitted.unknown is not None:
        candidates = submitted.unknown
        fitting = f"{len(candidates)} batches fit" if candidates else "no batch that fits is listed yet"
        when = f"{settled_at(submitted.over)} or later" if submitted.over else "in an hour"
        message = (
            f"Whether the batch was created is unknown: the answer was lost, and {fitting}.{so_far} Do not send the "
            f"requests again in another way; call this tool with the same arguments{again} {when}, "
            "which is safe."
        )
        return not_created(ready.costs, "unknown_outcome", message, submitted.created, candidates=candidates)
    if submitted.by_another:
        message = (
            f"The same requests are being sent by another call at this moment.{so_far} Nothing was sent twice; "
            f"call this tool with the same arguments{again} in a minute to see what came of it."
        )
        return not_created(ready.costs, "unknown_outcome", message, submitted.created)
    if submitted.failure is not None:
        why = explain_part(submitted.failure, key_source)
        message = (
            f"Not everything was sent.{so_far} {why} Calling this tool again with the same arguments sends only what "
            "is missing."
        )
        return not_created(ready.costs, "failed", message, submitted.created)
    ids = ", ".join(batch.id for batch in submitted.created)
    return Created(
        type="message_batch_created",
        message=f"Created as {ids}: {requests_in_words(ready)}, {most_in_words(ready.estimate)}."
        f"{inferred_words(submitted.inferred)}",
        batches=submitted.created,
        label=terms.label,
        estimate=ready.costs,
        next_steps=[wait_step(batch.id) for batch in submitted.created[:1]],
    )


def _estimated(ready: _Prepared) -> Estimated:
    refused = f" It would not be sent: {ready.refusal.message}" if ready.refusal else ""
    return Estimated(
        type="message_batch_estimate",
        message=f"Nothing was sent. {requests_in_words(ready)}, {most_in_words(ready.estimate)}.{refused}",
        requests=ready.plan.requests,
        batches=len(ready.plan.parts),
        estimate=ready.costs,
    )


def _too_expensive(cost: Estimate, costs: Costs, limits: list[float | None]) -> NotCreated | None:
    limit = min((limit for limit in limits if limit is not None), default=None)
    if limit is None:
        return None
    most = cost.max_cost_usd
    if most is not None and most <= Decimal(str(limit)):
        return None
    message = (
        f"Nothing was sent: {most_in_words(cost)}, and the limit is {limit:,.4f} USD. Fewer requests or a smaller "
        "max_tokens cost less; the user can raise the limit."
    )
    return not_created(costs, "too_expensive", message, [])


def requests_in_words(ready: _Prepared) -> str:
    """`120,000 requests in 2 batches`."""
    parts = len(ready.plan.parts)
    return requests(ready.plan.requests) + (f" in {parts} batches" if parts > 1 else "")
