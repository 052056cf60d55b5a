"""The body of one create on its way: its lease is renewed, and its last piece is handed over only in time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.clock import milliseconds
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.errors import UploadStalled
from mcp_batch_tools.submissions.states import LEASE_ANSWER, LEASE_PIECE, LONGEST_HANDOVER, Attempt

_RENEW_EVERY = 60_000


@dataclass(frozen=True)
class Moment:
    """A time by both clocks of this machine, in milliseconds: either of them may stand still or jump."""

    wall: int
    monotonic: int

    @classmethod
    def now(cls, client: BatchClient) -> "Moment":
        """The present."""
        return cls(milliseconds(client.now()), round(client.monotonic() * 1000))

    def elapsed(self, client: BatchClient) -> int:
        """Milliseconds since then: the larger of what both clocks say."""
        now = Moment.now(client)
        return max(now.wall - self.wall, now.monotonic - self.monotonic, 0)


class Upload:
    """The pieces of a body, to be iterated over once, by the HTTP client.

    `whole` says whether the last piece may have left: before that, the API cannot have acted. `listed` is the moment
    before the list was asked for whose time is `attempt.api_claimed`. `report` is told the bytes that were sent.
    """

    def __init__(
        self,
        client: BatchClient,
        database: Database,
        attempt: Attempt,
        listed: Moment,
        pieces: Generator[bytes, None, None],
        report: Callable[[int], Awaitable[None]],
    ) -> None:
        self.whole = False
        self._begun = False
        self._body = self._read()
        self.attempt = attempt
        self._client = client
        self._database = database
        self._listed = listed
        self._pieces = pieces
        self._report = report
        self._renewed = Moment.now(client)

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun:
            raise RuntimeError("a body can be read once only")
        self._begun = True
        return self._body

    async def close(self) -> None:
        """Read nothing more; an HTTP client does not close a body that it has given up."""
        await self._body.aclose()

    async def _read(self) -> AsyncGenerator[bytes, None]:
        reader = ThreadPoolExecutor(1, "read-body")
        read = partial(asyncio.get_running_loop().run_in_executor, reader, next, self._pieces, None)
        sent = 0
        held = await read()
        ahead = read()
        try:
            while held is not None:
                following = await ahead
                if sent:
                    await self._report(sent)
                # Last of all, as a client that does not read can hold up the report.
                await (self._renew() if following is not None else self._hand_over())
                self.whole = following is None
                ahead = read()  # while the other side takes the piece that is held
                yield held
                sent += len(held)
                held = following
        finally:
            ahead.cancel()  # which also keeps asyncio from logging what it found
            reader.submit(self._pieces.close)
            reader.shutdown(wait=False)

    async def _renew(self) -> None:
        if self._renewed.elapsed(self._client) < _RENEW_EVERY:
            return
        stalled = self._renewed.elapsed(self._client)
        self._renewed = Moment.now(self._client)
        renew = partial(store.renew_lease, attempt=self.attempt, lease_expires_at=self._renewed.wall + LEASE_PIECE)
        if not await self._database.write(renew):
            raise UploadStalled(stalled / 1000)

    async def _hand_over(self) -> None:
        stalled, began = self._renewed.elapsed(self._client), Moment.now(self._client)
        api_claimed = self.attempt.api_claimed
        sent = replace(
            self.attempt,
            state="sent",
            api_sent=None if api_claimed is None else api_claimed + self._listed.elapsed(self._client),
            lease_expires_at=began.wall + LEASE_ANSWER,
        )
        mark = partial(store.mark_sent, attempt=sent, api_sent=sent.api_sent, lease_expires_at=sent.lease_expires_at)
        if not await self._database.write(mark, durable=True):
            raise UploadStalled(stalled / 1000)  # somebody else has ended the attempt
        self.attempt = sent
        if began.elapsed(self._client) > LONGEST_HANDOVER:
            raise UploadStalled(began.elapsed(self._client) / 1000)
