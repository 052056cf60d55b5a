"""Finding out what became of attempts whose answer was lost, by the list of batches and, later, by their results."""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.clock import milliseconds
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.requests.fingerprint import by_custom_id, digest
from mcp_batch_tools.results.lines import InvalidLine, ResultLine, parse_line
from mcp_batch_tools.results.pieces import LineSplitter
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.match import Listed, Listing, Unclear, within_window
from mcp_batch_tools.submissions.states import WINDOW_BEFORE, Attempt

_PAGE = 1000
_MOST_PAGES = 20
_WAITS = (0.0, 2.0, 5.0)
"""Seconds before each look for a batch whose answer was just lost: a new one can be missing from the list."""
_LINES_COMPARED = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unresolved:
    """An attempt of which it cannot be told now what became, and the batches that it may have made."""

    attempt: Attempt
    candidates: tuple[Listed, ...] = ()


@dataclass(frozen=True)
class Reconciled:
    """What could not be told; `hopeless` are the ids of those of which waiting will not tell it either."""

    unresolved: Sequence[Unresolved]
    hopeless: frozenset[str]


async def reconcile(client: BatchClient, database: Database, scope: str) -> Reconciled:
    """Find out what became of every attempt in `scope` that is not known for good.

    Raises:
        BatchError: the batches cannot be listed, and there is something to look for in them.
        LedgerError: the ledger cannot be used.
    """
    now = milliseconds(client.now())
    attempts = await database.read(partial(store.open_attempts, scope=scope))
    busy = [attempt for attempt in attempts if attempt.state != "created" and not attempt.lease_is_over(now)]
    unresolved = [Unresolved(attempt) for attempt in busy]
    stopped = [attempt for attempt in attempts if attempt.state == "claimed" and attempt not in busy]
    for attempt in stopped:
        note = "the sender stopped before all of it was sent"
        await database.write(partial(store.not_created, attempt=attempt, now=now, note=note, unchanged=True))
    sole = [attempt for attempt in attempts if attempt.evidence == "sole"]
    for attempt in sole:
        await _compare_sole(client, database, attempt, now)
    lost = [attempt for attempt in attempts if attempt not in busy and attempt not in stopped and attempt not in sole]
    api_now = None
    if lost:
        batches, listing = await _read_list(client, lost)
        api_now = listing.now
        for attempt in lost:
            left = await _reconcile_one(client, database, attempt, batches, listing)
            unresolved += [left] if left else []
    hopeless = [
        left.attempt.id
        for left in unresolved
        if left.attempt not in busy and left.attempt.waiting_will_not_tell(now, api_now)
    ]
    return Reconciled(unresolved, frozenset(hopeless))


async def find_lost_batch(client: BatchClient, database: Database, attempt: Attempt) -> Unresolved | None:
    """Look for the batch of a sent attempt whose answer was just lost, a few times; None where it is plain now.

    Raises:
        BatchError: the batches cannot be listed.
    """
    left: Unresolved | None = Unresolved(attempt)
    for seconds in _WAITS:
        await client.pause(seconds)
        batches, listing = await _read_list(client, [attempt])
        left = await _reconcile_one(client, database, attempt, batches, listing)
        if left is None or left.attempt.version != attempt.version:
            break
    return left


async def _reconcile_one(
    client: BatchClient,
    database: Database,
    attempt: Attempt,
    batches: dict[str, MessageBatch],
    listing: Listing,
) -> Unresolved | None:
    """What is left to be told of an attempt after this look; None where this has shown its state."""
    now = milliseconds(client.now())
    verdict = await database.write(
        partial(store.reconcile_attempt, attempt=attempt, listing=listing, now=now), durable=True
    )
    current = await database.read(partial(store.attempt_by_id, attempt_id=attempt.id))
    if current is None:
        return None
    candidates = verdict.candidates if isinstance(verdict, Unclear) else ()
    fitting = [batch.id for batch in listing.batches if within_window(current, batch) or batch in candidates]
    to_compare = [batches[batch_id] for batch_id in fitting if batches[batch_id].readable]
    if current.evidence == "found":
        to_compare = [batch for batch in to_compare if batch.id == current.message_batch_id]
    if to_compare and (current.state == "sent" or current.evidence == "found"):
        current = await _compare(client, database, current, to_compare, now)
    if current.state != "sent":
        return None
    return Unresolved(current, tuple(batch for batch in candidates if batch.id not in current.refuted))


async def _compare_sole(client: BatchClient, database: Database, attempt: Attempt, now: int) -> None:
    """Look at the results of a batch that alone fitted, once they can be read: only they tell that it is ours."""
    try:
        batch = await client.retrieve(attempt.message_batch_id or "")
    except BatchError as error:
        _log.info("%s cannot be looked at now: %s", attempt.message_batch_id, error)
        return
    if batch.readable:
        await _compare(client, database, attempt, [batch], now)


async def _compare(
    client: BatchClient, database: Database, attempt: Attempt, batches: Iterable[MessageBatch], now: int
) -> Attempt:
    """Tell batches apart by their results: whether custom ids and models are those of the attempt."""
    hashes = await database.read(partial(store.attempt_hashes, attempt=attempt))
    for batch in batches:
        try:
            ours = await _has_our_requests(client, batch.id, hashes, attempt.models)
        except BatchError as error:
            _log.info("The results of %s cannot be compared now: %s", batch.id, error)
            continue
        if ours is None:
            continue
        conclude = partial(store.conclude, attempt=attempt, batch=listed_batch(batch), ours=ours, now=now)
        attempt = await database.write(conclude, durable=True)
        if attempt.state == "created":
            break
    return attempt


async def _has_our_requests(
    client: BatchClient, message_batch_id: str, hashes: bytes, models: Sequence[str]
) -> bool | None:
    """Whether the first results are of our requests: False for a custom id of another's, None where it is not plain.

    A model of another name proves nothing, since one model has several names.
    """
    known = by_custom_id(hashes)
    compared, same_models = 0, True
    async with client.results(message_batch_id) as stream:
        async for line in _first_lines(stream.chunks):
            if digest(line.custom_id.encode(errors="surrogatepass")) not in known:
                return False
            model = line.message.get("model")
            same_models &= not isinstance(model, str) or model.startswith(tuple(models))
            compared += 1
    return True if compared and same_models else None


async def _first_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[ResultLine]:
    splitter, seen = LineSplitter(), 0
    async for piece in chunks:
        for raw in splitter.feed(piece):
            with suppress(InvalidLine):
                yield parse_line(raw, 0)
            seen += 1
        if seen >= _LINES_COMPARED:
            return
    if splitter.rest:
        with suppress(InvalidLine):
            yield parse_line(splitter.rest, 0)


async def _read_list(client: BatchClient, attempts: Sequence[Attempt]) -> tuple[dict[str, MessageBatch], Listing]:
    """The list of batches, newest first, as far back as these attempts reach."""
    batches: dict[str, MessageBatch] = {}
    now: int | None = None
    cursor = None
    for number in range(_MOST_PAGES):
        page = await client.list(limit=_PAGE, after_id=cursor)
        if number == 0 and page.api_time is not None:
            now = milliseconds(page.api_time)
        repeated = bool(page.data) and page.data[-1].id in batches
        batches |= {batch.id: batch for batch in page.data}
        if now is not None and page.data and milliseconds(page.data[0].created_at) > now + WINDOW_BEFORE:
            now = None  # a time before what has happened already is not the API's
        # An empty page after others, or that says that there are more, or one that was there before, is no end: the
        # batch that the cursor names may be deleted.
        stuck = repeated if page.data else page.has_more or cursor is not None
        ended = not stuck and not (page.data and page.has_more)
        listing = Listing([listed_batch(batch) for batch in batches.values()], ended, now)
        if ended or stuck or all(listing.covers(attempt) for attempt in attempts):
            break
        cursor = page.data[-1].id
    return batches, listing


def listed_batch(batch: MessageBatch) -> Listed:
    """A batch with what tells whose it is."""
    return Listed(batch.id, milliseconds(batch.created_at), batch.request_counts.total)
