"""Whether requests were sent before, and what to answer where they were."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import ApiError
from mcp_batch_tools.api.untrusted import quote_name, quote_untrusted
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.submissions.sending import SETTLED_AFTER
from mcp_batch_tools.tools.acts import in_ledger, saved_results
from mcp_batch_tools.tools.answers import NextStep
from mcp_batch_tools.tools.app import App
from mcp_batch_tools.tools.create_answers import Costs, CreatedBatch, NotCreated, not_created
from mcp_batch_tools.tools.settling import FOUND, Candidate, Unsettled, settle_open, settled_at

if TYPE_CHECKING:
    from mcp_batch_tools.submissions.store import Submission


@dataclass(frozen=True)
class Standing:
    """What was already sent of a plan.

    `done` are the batches by part that are not to be created again, `earlier` where they come from; `unsettled` are
    parts of which it is not known what became, which forbids to send them. What is to be sent belongs to `submission`,
    which is a `duplicate` where all of it was sent before.
    """

    done: dict[int, str] = field(default_factory=dict)
    earlier: "list[Submission]" = field(default_factory=list)
    unsettled: list[Unsettled] = field(default_factory=list)
    submission: str = field(default_factory=lambda: uuid4().hex)
    duplicate: bool = False


async def standing_of(app: App, plan: Plan, *, allow_duplicate: bool) -> Standing:
    """What was sent of a plan while results last, part by part, by whichever key, in whatever order and spelling.

    With `allow_duplicate`, a duplicate that stopped in the middle is completed before another one is begun.
    """
    if not app.remembers:
        return Standing()
    submissions = app.submissions
    numbers = _numbers(plan)
    unsettled = [one for one in await settle_open(app) if one.submission.fingerprint in numbers]
    same = await in_ledger(lambda: submissions.same(numbers, app.client.now()))
    unsettled = blocking(unsettled, same, app.client, by=_by_fingerprint, allow_duplicate=allow_duplicate)
    created = [one for one in same if one.outcome == "created"]
    if not allow_duplicate or len(_batches(created, numbers)) < len(plan.parts):
        return Standing(_batches(created, numbers), created, unsettled)
    standing = Standing(earlier=created, unsettled=unsettled, duplicate=True)
    return await continued(app, plan, None, standing)


async def continued(app: App, plan: Plan, retry_of: str | None, standing: Standing) -> Standing:
    """The same with what the latest duplicate of a plan has created, where that stopped in the middle."""
    submissions, numbers = app.submissions, _numbers(plan)
    latest = await in_ledger(lambda: submissions.latest_duplicate(plan.fingerprint, retry_of, app.client.now()))
    done = _batches([one for one in latest if one.outcome == "created"], numbers)
    if latest and latest[0].submission and len(done) < len(plan.parts):
        return replace(standing, done=done, submission=latest[0].submission)
    return standing


async def sent_since(app: App, plan: Plan, retry_of: str, standing: Standing) -> Standing:
    """The same with what was sent as it is, and not as a retry, since the batch that is to be retried."""
    submissions, numbers = app.submissions, _numbers(plan)
    retried = (await in_ledger(lambda: submissions.of_batches([retry_of]))).get(retry_of)
    since = retried.number if retried else 0
    same = await in_ledger(lambda: submissions.same(numbers, app.client.now()))
    others = [one for one in same if one.number > since and one.retry_of is None]
    created = [one for one in others if one.outcome == "created"]
    unsettled = blocking([], others, app.client, by=_by_fingerprint, allow_duplicate=False)
    return replace(standing, done=_batches(created, numbers), earlier=created, unsettled=unsettled)


def _numbers(plan: Plan) -> dict[str, int]:
    """The parts by what they are known by; an older version knew them by the bytes as they are sent."""
    by_bytes = {part.sha256: number for number, part in enumerate(plan.parts)}
    return {**by_bytes, **{part.fingerprint: number for number, part in enumerate(plan.parts)}}


def plain_soon(one: Unsettled, client: BatchClient) -> bool:
    """Whether it will be plain by waiting what became of it."""
    return one.submission.over + SETTLED_AFTER > client.now()


def blocking(
    unsettled: list[Unsettled],
    rows: "list[Submission]",
    client: BatchClient,
    *,
    by: "Callable[[Submission], str | None]",
    allow_duplicate: bool,
) -> list[Unsettled]:
    """Those because of which nothing may be sent: the `unsettled` among `rows`, which have the latest first.

    With those that began while the others were looked at. What waiting will not make plain is overridden by
    `allow_duplicate`, and does not matter any more once the same (`by`) was created later.
    """
    looked_at = {one.submission.number for one in unsettled}
    begun = [Unsettled(one, []) for one in rows if one.outcome is None and one.number not in looked_at]
    created = {by(one): one.number for one in reversed(rows) if one.outcome == "created"}
    return [
        one
        for one in unsettled + begun
        if plain_soon(one, client)
        or not (allow_duplicate or created.get(by(one.submission), 0) > one.submission.number)
    ]


def _by_fingerprint(submission: "Submission") -> str:
    return submission.fingerprint


def _batches(created: "list[Submission]", numbers: dict[str, int]) -> dict[int, str]:
    """Ids by part, the latest of each; `created` has the latest first."""
    return {numbers[one.fingerprint]: one.message_batch_id or "" for one in reversed(created)}


def unsettled_answer(
    unsettled: list[Unsettled],
    costs: Costs | None,
    created: list[CreatedBatch],
    client: BatchClient,
    *,
    allow_duplicate: bool,
) -> NotCreated:
    """The guided answer where it is not known whether requests were sent."""
    one = unsettled[0]
    call = f"Call this tool with the same arguments{without(allow_duplicate)}"
    if one.submission.over > client.now():
        message = (
            "Nothing was sent: these requests are being sent at this moment, by another call or by a server that was "
            f"stopped. {call} in some minutes to see what came of it."
        )
    elif plain_soon(one, client):
        message = (
            "Nothing was sent: these requests were sent before, and whether their batch was created is still unknown. "
            f"{call} {settled_at(one.submission.over)} or later, when that can be told."
        )
    else:
        message = (
            "Nothing was sent: these requests were sent before, and whether their batch was created cannot be told, "
            f"since {_why(one.candidates)}, allow_duplicate sends the requests again, and may cost twice."
        )
    return not_created(costs, "unknown_outcome", message, created, candidates=one.candidates)


def without(allow_duplicate: bool) -> str:
    """What a text must say that asks for the same call again, where that would send a duplicate."""
    return ", but without allow_duplicate," if allow_duplicate else ""


def _why(candidates: list[Candidate]) -> str:
    if not candidates:
        return "the batches that this key can list do not show it. Only if the user is sure that it is nowhere"
    why = f"{len(candidates)} batches fit" if len(candidates) > 1 else "another lost batch may be the one that fits"
    return f"{why}. Show the user the candidates: only if none of them is the one"


async def sent_answer(app: App, earlier: "list[Submission]", costs: Costs | None, what: str) -> NotCreated:
    """The guided answer where all of it was sent before: `what` that is, and `earlier` part by part."""
    created = {one.message_batch_id or "": one for one in earlier}
    batches = [
        CreatedBatch(id=batch, part=number, requests=one.requests)
        for number, (batch, one) in enumerate(created.items(), 1)
    ]
    first = batches[0].id
    label = created[first].label
    labelled = f", labelled {quote_untrusted(label, most=100)}" if label else ""
    inferred = [batch for batch, one in created.items() if one.note == FOUND]
    state, there = await _state(app, created[first])
    use = f"Use {'that batch' if len(batches) == 1 else 'those batches'}; " if there else ""
    message = (
        f"Nothing was sent: {what} sent before, on {created[first].time[:10]}{labelled}, as {', '.join(created)}. "
        f"{state} {use}allow_duplicate sends them again and costs again.{inferred_words(inferred)}"
    )
    step = NextStep(
        tool="get_message_batch",
        arguments={"message_batch_id": first},
        why="Shows the batch that these requests are in.",
    )
    return not_created(costs, "already_created", message, batches, steps=[step] if there else [])


def inferred_words(batches: list[str]) -> str:
    """What must be said of batches whose answers were lost."""
    if not batches:
        return ""
    return (
        f" The answer of the API was lost, and {', '.join(batches)} was found in the list as the only new batch with "
        "as many requests."
    )


async def _state(app: App, earlier: "Submission") -> tuple[str, bool]:
    """What can be said of a batch, and whether it is there."""
    batch_id = earlier.message_batch_id or ""
    try:
        batch = await app.client.retrieve(batch_id)
    except ApiError as error:
        if not error.gone:
            raise
        saved = await saved_results(app, batch_id)
        where = f" Its results are saved in {saved.path}." if saved else ""
        if earlier.origin != app.settings.origin:
            return (
                f"This key does not see {batch_id}: it was deleted, or it belongs to another workspace.{where}",
                False,
            )
        return f"{batch_id} has been deleted since.{where}", False
    return f"{batch_id} is {quote_name(batch.processing_status)} now.", True
