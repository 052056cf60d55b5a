"""What a create rests on: checked requests, their price, and what was sent of them before."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from mcp_batch_tools.api.errors import ApiError
from mcp_batch_tools.api.untrusted import quote_name
from mcp_batch_tools.pricing.estimates import Estimate, estimate
from mcp_batch_tools.pricing.prices import load_prices
from mcp_batch_tools.requests.errors import BothGiven
from mcp_batch_tools.requests.paths import resolve_input_path
from mcp_batch_tools.requests.plan import Plan, build_plan
from mcp_batch_tools.requests.sources import FileSource, InlineSource, Source
from mcp_batch_tools.submissions.errors import RetryOfMissing
from mcp_batch_tools.submissions.lookup import Prior, look_up
from mcp_batch_tools.submissions.reconcile import Reconciled, Unresolved, reconcile
from mcp_batch_tools.submissions.retry import Retried, Selection, last_seq_of, select_for_retry
from mcp_batch_tools.submissions.states import Attempt
from mcp_batch_tools.submissions.store import attempts_of_retries
from mcp_batch_tools.tools import creation
from mcp_batch_tools.tools.acts import saved_results
from mcp_batch_tools.tools.answered import AnsweredBefore, Earlier
from mcp_batch_tools.tools.answers import Argument, NextStep
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.creation import Costs, NotCreated, not_created

_NOTHING_OPEN = Reconciled([], frozenset())


Identity = tuple[int, int, int, int]
"""Of a file: device, inode, bytes, and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class Prepared:
    """Requests that were checked, what they cost, and what was sent of them before.

    `file` is the identity of the file that they come from, before it was read; None for requests given inline.
    """

    source: Source
    file: Identity | None
    plan: Plan
    estimate: Estimate
    costs: Costs
    last_seq: int
    prior: Prior
    refusal: NotCreated | None = None


async def prepare(
    requests: list[dict[str, Any]] | None,
    requests_file: str | None,
    retry_of: str | None,
    retry: list[Retried] | None,
    max_cost_usd: float | None,
    allow_duplicate: bool,
    app: AppDep,
    caller: CallerDep,
    earlier: Earlier,
) -> Prepared | NotCreated | AnsweredBefore:
    """Check and price the requests of a create, and look up what was sent of them before; nothing is sent.

    Where the question of this call was answered before, there is nothing to prepare. Where it was asked by this process
    about the same file, what was checked and priced then is used again.

    Raises:
        Failure: requests are invalid or cannot be read, or the API or the ledger cannot be used.
    """
    if earlier is not None:
        return earlier
    if retry and retry_of is None:
        raise RetryOfMissing("retry without retry_of")
    source = _source(app, requests, requests_file)
    file = _identity(source)
    reconciled: Reconciled | None = None
    ready = await _kept(app, caller, file, retry_of)
    if ready is None:
        if retry_of is not None:
            reconciled = await _reconciled(app)
            blocking = _open_retry(reconciled, retry_of, allow_duplicate=allow_duplicate)
            if blocking is not None:
                return _unknown(app, reconciled, blocking, None, Prior([]), allow_duplicate=allow_duplicate)
        checked = await _checked(app, source, file, retry_of, retry or (), allow_duplicate=allow_duplicate)
        if isinstance(checked, NotCreated):
            return checked
        ready = checked
    refusal = _too_expensive(ready.estimate, ready.costs, [max_cost_usd, app.settings.max_cost_usd])
    if not app.remembers:
        return replace(ready, refusal=refusal)
    reconciled = reconciled or await _reconciled(app)
    prior = await look_up(
        app.client,
        app.ledger,
        await app.scope(),
        ready.plan,
        reconciled,
        allow_duplicate=allow_duplicate,
        retry_of=retry_of,
    )
    refusal = refusal or await _sent_before(app, reconciled, prior, ready.costs, allow_duplicate=allow_duplicate)
    return replace(ready, prior=prior, refusal=refusal)


async def _checked(
    app: App,
    source: Source,
    file: Identity | None,
    retry_of: str | None,
    chosen: Collection[Retried],
    *,
    allow_duplicate: bool,
) -> Prepared | NotCreated:
    """The requests, selected where they retry a batch, checked and priced; the ledger is asked for nothing else."""
    settings = app.settings
    prices = load_prices(settings.prices)
    selection = Selection(source, last_seq=0)
    if retry_of is not None:
        selection = await _select(app, source, retry_of, chosen, allow_duplicate=allow_duplicate)
    if selection.source is None:
        return await _already_retried(app, retry_of or "", dict(enumerate(selection.earlier)))
    prices.prepare()
    plan = await anyio.to_thread.run_sync(
        partial(
            build_plan, selection.source, anthropic_version=settings.anthropic_version, most_requests=app.most_requests
        )
    )
    cost = await estimate(app.client, plan, prices, app.clock.now().date())
    prior = Prior.nothing(plan, allow_duplicate=allow_duplicate, retry_of=retry_of)
    return Prepared(selection.source, file, plan, cost, creation.costs_of(cost), selection.last_seq, prior)


async def _kept(app: App, caller: Caller, file: Identity | None, retry_of: str | None) -> Prepared | None:
    """What was checked and priced for the question of this call, unless its file or its retries have changed since."""
    kept = None if caller.question is None else app.open_questions.kept(caller.question, Prepared, app.now())
    if kept is None or kept.file != file:
        return None
    if retry_of is not None and app.remembers:
        retries = await app.ledger.read(
            partial(attempts_of_retries, scope=await app.scope(), message_batch_id=retry_of)
        )
        if last_seq_of(retries) > kept.last_seq:
            return None
    return kept


def _identity(source: Source) -> Identity | None:
    if not isinstance(source, FileSource):
        return None
    try:
        found = Path(source.name).stat()
    except (OSError, ValueError):
        return None  # reading it says why
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _source(app: App, requests: list[dict[str, Any]] | None, requests_file: str | None) -> Source:
    if (requests is None) == (requests_file is None):
        raise BothGiven("neither" if requests is None else "both")
    if requests_file is not None:
        return FileSource(resolve_input_path(requests_file, app.settings.requests_dir))
    return InlineSource(requests or [])


async def _reconciled(app: App) -> Reconciled:
    return await reconcile(app.client, app.ledger, await app.scope()) if app.remembers else _NOTHING_OPEN


def _open_retry(reconciled: Reconciled, retry_of: str, *, allow_duplicate: bool) -> Unresolved | None:
    """An attempt to retry the same batch of which it is not known what became, so that nothing can be selected."""
    for left in reconciled.unresolved:
        given_up = allow_duplicate and left.attempt.id in reconciled.hopeless
        if left.attempt.retry_of == retry_of and not given_up:
            return left
    return None


async def _select(
    app: App, source: Source, retry_of: str, chosen: Collection[Retried], *, allow_duplicate: bool
) -> Selection:
    saved = await saved_results(app, retry_of)
    readable = saved is not None and saved.path.endswith((".jsonl", ".jsonl.gz"))
    return await select_for_retry(
        app.client,
        app.ledger if app.remembers else None,
        await app.scope(),
        source,
        retry_of,
        Path(saved.path) if saved is not None and readable else None,
        chosen=chosen,
        allow_duplicate=allow_duplicate,
    )


async def _sent_before(
    app: App, reconciled: Reconciled, prior: Prior, costs: Costs, *, allow_duplicate: bool
) -> NotCreated | None:
    if prior.blocked is not None:
        return _unknown(app, reconciled, prior.blocked, costs, prior, allow_duplicate=allow_duplicate)
    if len(prior.done) < len(prior.decisions):
        return None
    state, there = await _state(app, prior.done[0])
    return not_created(
        costs,
        "already_created",
        creation.already_sent(prior.done, state, use=there),
        creation.created_batches(prior.done),
        steps=_look_steps(prior.done[0]) if there else [],
    )


async def _already_retried(app: App, retry_of: str, earlier: dict[int, Attempt]) -> NotCreated:
    state, there = await _state(app, earlier[0])
    return not_created(
        None,
        "already_created",
        creation.already_retried(retry_of, earlier, state, use=there),
        creation.created_batches(earlier),
        steps=_look_steps(earlier[0]) if there else [],
    )


def _look_steps(attempt: Attempt) -> list[NextStep]:
    arguments: dict[str, Argument] = {"message_batch_id": attempt.message_batch_id or ""}
    why = "Shows the batch that these requests are in."
    return [NextStep(tool="get_message_batch", arguments=arguments, why=why)]


def _unknown(
    app: App,
    reconciled: Reconciled,
    left: Unresolved,
    costs: Costs | None,
    prior: Prior,
    *,
    allow_duplicate: bool,
) -> NotCreated:
    hopeless = left.attempt.id in reconciled.hopeless
    message = creation.unknown_outcome(left, app.now(), hopeless=hopeless, allow_duplicate=allow_duplicate)
    batches = creation.created_batches(prior.done)
    return not_created(costs, "unknown_outcome", message, batches, unresolved=left)


async def _state(app: App, attempt: Attempt) -> tuple[str, bool]:
    """A sentence about where a batch stands now, and whether it is there."""
    batch_id = attempt.message_batch_id or ""
    try:
        batch = await app.client.retrieve(batch_id)
    except ApiError as error:
        if not error.gone:
            raise
        saved = await saved_results(app, batch_id)
        where = f" Its results are saved in {saved.path}." if saved else ""
        return f"{batch_id} has been deleted since.{where}", False
    return f"{batch_id} is {quote_name(batch.processing_status)} now.", True


def _too_expensive(cost: Estimate, costs: Costs, limits: list[float | None]) -> NotCreated | None:
    limit = min((limit for limit in limits if limit is not None), default=None)
    over = None if limit is None else creation.over_the_limit(cost, limit)
    return None if over is None else not_created(costs, *over, [])
