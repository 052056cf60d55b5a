"""Whether requests were sent before, and what to answer where they were."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mcp.server.mcpserver import Context

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import ApiError
from mcp_batch_tools.requests_file import Plan
from mcp_batch_tools.sending import SETTLED_AFTER
from mcp_batch_tools.tools.acts import in_ledger
from mcp_batch_tools.tools.answers import NextStep
from mcp_batch_tools.tools.create_answers import Costs, CreatedBatch, NotCreated, not_created
from mcp_batch_tools.tools.settling import Unsettled, settle_open, settled_at, submissions_of
from mcp_batch_tools.untrusted import as_data, as_name

if TYPE_CHECKING:
    from mcp_batch_tools.submissions import Submission


@dataclass(frozen=True)
class Standing:
    """What was already sent of a plan.

    `done` are the batches by part that are not to be created again, `earlier` where they come from; `unsettled` are
    parts of which it is not known what became, which forbids to send them. What is to be sent belongs to `submission`,
    which is a `duplicate` where all of it was sent before. Of a retry, `last_seen` is the latest row that counted.
    """

    done: dict[int, str] = field(default_factory=dict)
    earlier: "list[Submission]" = field(default_factory=list)
    unsettled: list[Unsettled] = field(default_factory=list)
    submission: str = field(default_factory=lambda: uuid4().hex)
    duplicate: bool = False
    last_seen: int = 0


async def standing_of(
    context: Context[Any, Any], client: BatchClient, plan: Plan, *, allow_duplicate: bool
) -> Standing:
    """What was sent of a plan while results last, by whichever key and in whatever order and spelling.

    With `allow_duplicate`, a duplicate that stopped in the middle is completed before another one is begun.
    """
    if not context.request_context.lifespan_context.settings.ledger_folder.exists():
        return Standing()
    submissions, now = submissions_of(context), client.now()
    numbers = {part.fingerprint: number for number, part in enumerate(plan.parts)}
    unsettled = blocking(
        [
            one
            for one in await settle_open(context, client)
            if one.submission and one.submission.retry_of is None and one.submission.fingerprint in numbers
        ],
        client,
        allow_duplicate=allow_duplicate,
    )
    same = await in_ledger(lambda: submissions.same(numbers, now))
    created = [one for one in same if one.outcome == "created"]
    if not allow_duplicate or len(_batches(created, numbers)) < len(plan.parts):
        return Standing(_batches(created, numbers), created, unsettled)
    latest = await in_ledger(lambda: submissions.latest_duplicate(plan.fingerprint, now))
    done = _batches([one for one in latest if one.outcome == "created"], numbers)
    if latest and latest[0].submission and len(done) < len(plan.parts):
        return Standing(done, created, unsettled, latest[0].submission, duplicate=True)
    return Standing(unsettled=unsettled, duplicate=True)


def blocking(unsettled: list[Unsettled], client: BatchClient, *, allow_duplicate: bool) -> list[Unsettled]:
    """Those because of which nothing may be sent. `allow_duplicate` overrides what waiting will not make plain."""
    return [
        one
        for one in unsettled
        if not allow_duplicate or (one.submission and one.submission.over + SETTLED_AFTER > client.now())
    ]


def _batches(created: "list[Submission]", numbers: dict[str, int]) -> dict[int, str]:
    """Ids by part, the latest of each; `created` has the latest first."""
    return {numbers[one.fingerprint]: one.message_batch_id or "" for one in reversed(created)}


def unsettled_answer(
    unsettled: list[Unsettled], costs: Costs | None, created: list[CreatedBatch], client: BatchClient
) -> NotCreated:
    """The guided answer where it is not known whether requests were sent."""
    one = unsettled[0]
    if one.submission and one.submission.over > client.now():
        message = (
            "Nothing was sent: these requests are being sent at this moment, by another call or by a server that was "
            "stopped. Call this tool with the same arguments in some minutes to see what came of it."
        )
    elif one.submission and one.submission.over + SETTLED_AFTER > client.now():
        message = (
            "Nothing was sent: these requests were sent before, and whether their batch was created is still unknown. "
            f"Call this tool with the same arguments {settled_at(one, client.now())} or later, when that can be told."
        )
    else:
        message = (
            "Nothing was sent: these requests were sent before, and whether their batch was created cannot be told"
            f"{_why(one)}. Show the user the candidates; only if none of them is the one, allow_duplicate sends the "
            "requests again, and may cost twice."
        )
    return not_created(costs, "unknown_outcome", message, created, candidates=one.candidates)


def _why(one: Unsettled) -> str:
    if one.candidates:
        return (
            f", since {len(one.candidates)} batches fit"
            if len(one.candidates) > 1
            else ", since another one fits it, too"
        )
    return " with this key: they were sent with another one"


async def sent_answer(
    context: Context[Any, Any], client: BatchClient, earlier: "list[Submission]", costs: Costs | None, what: str
) -> NotCreated:
    """The guided answer where all of it was sent before; `what` that is, and `earlier` has the latest first."""
    created = {one.message_batch_id or "": one for one in reversed(earlier)}
    batches = [
        CreatedBatch(id=batch, part=number, requests=one.requests)
        for number, (batch, one) in enumerate(created.items(), 1)
    ]
    first = batches[0].id
    label = created[first].label
    labelled = f", labelled {as_data(label, most=100)}" if label else ""
    message = (
        f"Nothing was sent: {what} sent before, on {created[first].time[:10]}{labelled}, as {', '.join(created)}. Use "
        f"that batch; allow_duplicate sends them again and costs again. {await _state(context, client, created[first])}"
    )
    step = NextStep(
        tool="get_message_batch",
        arguments={"message_batch_id": first},
        why="Shows the batch that these requests are in.",
    )
    return not_created(costs, "already_created", message, batches, steps=[step])


async def _state(context: Context[Any, Any], client: BatchClient, earlier: "Submission") -> str:
    batch_id = earlier.message_batch_id or ""
    try:
        batch = await client.retrieve(batch_id)
    except ApiError as error:
        if not error.gone:
            raise
        if earlier.origin != context.request_context.lifespan_context.settings.origin:
            return f"This key does not see {batch_id}: it was deleted, or it belongs to another workspace."
        return f"{batch_id} has been deleted since."
    return f"{batch_id} is {as_name(batch.processing_status)} now."
