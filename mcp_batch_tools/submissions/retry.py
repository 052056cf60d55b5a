"""Which requests of an earlier batch are worth sending again."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.ledger.database import Database, Transaction
from mcp_batch_tools.requests.fingerprint import by_custom_id, canonical, custom_id_and_params, digest, digests_of
from mcp_batch_tools.requests.sources import Source, Unit
from mcp_batch_tools.results.lines import LineFacts
from mcp_batch_tools.results.pages import pieces_of, scan
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.errors import NothingToRetry, RetryUnreadable
from mcp_batch_tools.submissions.states import Attempt

_OF_THE_REQUEST = frozenset(
    {
        "invalid_request_error",
        "not_found_error",
        "authentication_error",
        "permission_error",
        "billing_error",
        "request_too_large",
    }
)
"""Errors of the request and not of the server: the same request would fail again."""


class SelectedSource:
    """The requests of another source whose results say that they are worth sending again.

    `worth` tells of each custom id without an answer whether the same request is worth another try. `sent` are the
    hashes of the requests as they were sent at first, and `retried` those of the requests that were sent again since.
    """

    def __init__(self, source: Source, worth: dict[str, bool], sent: bytes, retried: bytes) -> None:
        self.name = source.name
        self.unit: Unit = source.unit
        self._source = source
        self._worth = worth
        self._sent = by_custom_id(sent)
        self._retried = frozenset(digests_of(retried))

    def open(self) -> Generator[tuple[int, bytes], None, None]:
        """Requests without an answer, and refused ones that were changed since; none that was sent again before."""
        for number, raw in self._source.open():
            known = custom_id_and_params(raw)
            if known is None:
                yield number, raw  # let the check say what is wrong with it
                continue
            custom_id, params = known
            if custom_id not in self._worth:
                continue
            identity, content = digest(custom_id.encode()), digest(canonical(params))
            changed = self._sent.get(identity, content) != content
            if identity + content not in self._retried and (self._worth[custom_id] or changed):
                yield number, raw


@dataclass(frozen=True)
class Selection:
    """What of a batch is to be sent again. `last_seq` is the number after which its retries go on.

    Where everything was sent again before, `source` is None, and `earlier` are the attempts that did.
    """

    source: Source | None
    last_seq: int
    earlier: tuple[Attempt, ...] = ()


async def select_for_retry(
    client: BatchClient,
    database: Database | None,
    scope: str,
    source: Source,
    message_batch_id: str,
    saved: Path | None,
    *,
    allow_duplicate: bool,
) -> Selection:
    """The requests of `source` that expired, were canceled or failed on the server's side in that batch.

    Those that the API refused are among them only where they differ from what was sent then. What was sent again
    before is not, without `allow_duplicate`. `saved` is a file that holds the results, where there is one.

    Raises:
        NothingToRetry: no request of the source is worth sending again.
        RetryUnreadable: the results of the batch cannot be read.
        BatchError: the API could not be asked for them.
    """
    worth = await _worth_retrying(client, message_batch_id, saved)
    sent, retried, earlier = b"", b"", tuple[Attempt, ...]()
    last_seq = 0
    if database is not None:

        def read(transaction: Transaction) -> tuple[bytes, bytes, list[Attempt]]:
            retries = store.attempts_of_retries(transaction, scope, message_batch_id)
            ids = [attempt.message_batch_id for attempt in retries if attempt.message_batch_id]
            hashes = b"" if allow_duplicate else store.hashes_of(transaction, scope, ids)
            return store.hashes_of(transaction, scope, [message_batch_id]), hashes, retries

        sent, retried, retries = await database.read(read)
        earlier = tuple(attempt for attempt in retries if attempt.state == "created")
        last_seq = last_seq_of(retries)
        open_seqs = [attempt.seq or 0 for attempt in retries if attempt.state in {"claimed", "sent"}]
        if open_seqs and not allow_duplicate:
            last_seq = min(open_seqs) - 1  # their requests are selected here, so their number must stand in the way
    selected = SelectedSource(source, worth, sent, retried)
    if await _first(selected) is not None:
        return Selection(selected, last_seq, earlier)
    if earlier and await _first(SelectedSource(source, worth, sent, b"")) is not None:
        return Selection(None, last_seq, earlier)
    raise NothingToRetry(message_batch_id)


def last_seq_of(retries: Iterable[Attempt]) -> int:
    """The highest number that a retry of a batch has had, whatever became of it; 0 where there is none."""
    return max((attempt.seq or 0 for attempt in retries), default=0)


async def _first(source: SelectedSource) -> tuple[int, bytes] | None:
    return await anyio.to_thread.run_sync(next, source.open(), None)


async def _worth_retrying(client: BatchClient, message_batch_id: str, saved: Path | None) -> dict[str, bool]:
    """Custom ids of results that hold no answer, and whether the same request is worth another try."""
    if saved is None:  # a batch whose results were saved may have been deleted
        batch = await client.retrieve(message_batch_id)
        if not batch.readable:
            raise RetryUnreadable(message_batch_id, ended=batch.ended)
    worth: dict[str, bool] = {}

    def note(line: LineFacts, _: bytes) -> bool:
        if line.outcome != "succeeded":
            worth[line.custom_id] = line.outcome != "errored" or line.error[0] not in _OF_THE_REQUEST
        return True

    offset: int | None = 0
    while offset is not None:
        async with pieces_of(client, message_batch_id, saved, offset) as pieces:
            offset = (await scan(pieces, offset, note, client.monotonic)).next_offset
    return worth
