"""Sending requests once: an intent before the first byte, and no second try where the first may have arrived."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import anyio.to_thread

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.api.models import MessageBatch

SETTLED_AFTER = timedelta(minutes=60)
"""After the sender has stopped, a batch that is in no list for so long was not created."""

UPLOADING = timedelta(minutes=5)
"""How long a piece of a body may take: whoever has not said anything for longer has stopped."""
ANSWERING = timedelta(minutes=11)
"""How long the answer to a whole body may take, with what the client waits for it at most."""
_SAID_EVERY = timedelta(minutes=1)

_LOOKS = (0.0, 2.0, 5.0)
"""Seconds before each look for a batch whose answer was lost: a new one can be missing from the list for a moment."""
_PAGE = 1000
_MOST_PAGES = 20
_CLOCKS_DIFFER = timedelta(hours=26)
"""How far a batch can seem to be older than the attempt that made it. Too little would lose it, and send it twice."""

Report = Callable[[int, bool], Awaitable[None]]
"""Told how many bytes have been sent, before the next piece, and whether that is the last one."""


@dataclass(frozen=True)
class Attempt:
    """What is known of a batch that was sent: how many requests, and from when to when.

    And the newest one there was before it, created at `newest_at` by the API's clock.
    """

    requests: int
    began: datetime
    over: datetime
    newest_before: str | None
    newest_at: datetime | None


@dataclass(frozen=True)
class Found:
    """What became of an attempt.

    `created` with the one batch that fits, `absent` where it surely was not, else `unknown` with what it could be.
    `not_listed` says that it is in no list now, which all was seen of.
    """

    outcome: Literal["created", "absent", "unknown"]
    candidates: list[MessageBatch]
    not_listed: bool = False


class Upload:
    """A body on its way. `whole` says whether its last byte may have left: before that, the API cannot have acted."""

    def __init__(self, pieces: Iterator[bytes], report: Report) -> None:
        self.whole = False
        self._pieces = pieces
        self._report = report

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sent = 0
        held = await anyio.to_thread.run_sync(next, self._pieces, None)
        while held is not None:
            following = await anyio.to_thread.run_sync(next, self._pieces, None)
            await self._report(sent, following is None)
            self.whole = following is None
            yield held
            sent += len(held)
            held = following


class Watch:
    """Says when it is time to say again that a body is still on its way."""

    def __init__(self, client: BatchClient) -> None:
        self._client = client
        self._said = client.now()

    def until(self, *, last: bool) -> datetime | None:
        """Until when the sender may be at work, where that must be said now."""
        now = self._client.now()
        if not last and now - self._said < _SAID_EVERY:
            return None
        self._said = now
        return now + (ANSWERING if last else UPLOADING)


async def newest(client: BatchClient) -> MessageBatch | None:
    """The newest batch of the workspace, from which on a lost one is looked for."""
    page = await client.list(limit=1)
    return page.data[0] if page.data else None


async def look_for(
    client: BatchClient, attempt: Attempt, known: Callable[[list[str]], Awaitable[set[str]]], *, patient: bool
) -> Found:
    """Look for the batch of an attempt whose answer was lost.

    It came after `newest_before`, has as many requests, and is not `known` as another one of ours. `patient` looks
    again, as what was just created can be missing from the list, and what another has just created be there.

    Raises:
        BatchError: the batches cannot be listed.
    """
    fitting: list[MessageBatch] = []
    all_seen = False
    for wait in _LOOKS if patient else _LOOKS[:1]:
        await client.pause(wait)
        before = [batch.id for batch in fitting]
        fitting, all_seen = await _since(client, attempt)
        ours = await known([batch.id for batch in fitting])
        fitting = [batch for batch in fitting if batch.id not in ours]
        if fitting and [batch.id for batch in fitting] == before:
            break
    if all_seen and len(fitting) == 1:
        return Found("created", fitting)
    if all_seen and not fitting and client.now() - attempt.over > SETTLED_AFTER:
        return Found("absent", [])
    return Found("unknown", fitting, not_listed=all_seen and not fitting)


async def _since(client: BatchClient, attempt: Attempt) -> tuple[list[MessageBatch], bool]:
    """The batches that fit, and whether all were seen that could."""
    fitting: list[MessageBatch] = []
    # The newest one before may have been deleted since.
    earliest = attempt.newest_at or attempt.began - _CLOCKS_DIFFER
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list(limit=_PAGE, after_id=cursor)
        for batch in page.data:
            if batch.id == attempt.newest_before or batch.created_at < earliest:
                return fitting, True
            if batch.request_counts.total == attempt.requests and in_time(attempt, batch):
                fitting.append(batch)
        if not page.data or not page.has_more:
            return fitting, True
        cursor = page.data[-1].id
    return fitting, False


def in_time(attempt: Attempt, batch: MessageBatch) -> bool:
    """Whether a batch can have been created by an attempt, as far as the clocks can be trusted."""
    return attempt.began - _CLOCKS_DIFFER <= batch.created_at <= attempt.over + _CLOCKS_DIFFER


def cannot_have_acted(error: BatchError, upload: Upload) -> bool:
    """Whether the API surely made no batch: it refused, or it cannot have got the whole body."""
    return not error.may_have_acted or not upload.whole
