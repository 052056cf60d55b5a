"""Which requests of an earlier batch are worth sending again."""

import re
from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

Retried = Literal["errored_on_server", "billing", "expired", "canceled", "refused", "cut"]
"""What can be sent again, by how it ended."""
BY_DEFAULT: frozenset[Retried] = frozenset({"errored_on_server", "billing", "expired", "canceled"})
"""What got no answer, for reasons that are not the request's own."""

_OF_THE_REQUEST = frozenset({"invalid_request_error", "not_found_error", "request_too_large"})
"""Errors of the request itself: the same one would fail again."""
_OF_THE_ACCOUNT = frozenset({"authentication_error", "billing_error", "permission_error"})
_ACCOUNT_CODES = re.compile(r"\w*spend_limit_reached|organization_on_hold|cmek_key_disabled", re.ASCII)
_ACCOUNT_MESSAGES = re.compile(
    "credit balance|usage limits?|spend(ing)? limit|organization has been disabled", re.IGNORECASE
)
"""What the API says where the account stands against a request that it calls invalid. One that is taken for such a
request is sent again and fails again, which costs nothing."""


def retried_as(line: LineFacts) -> Retried | None:
    """What a result counts as where requests are sent again; None where its request would come to the same again."""
    match line.outcome:
        case "succeeded":
            return line.ending if line.ending in ("refused", "cut") else None
        case "expired" | "canceled" as outcome:
            return outcome
        case "errored":
            kind, message = line.error
            code = line.error_code or ""
            if kind in _OF_THE_ACCOUNT or _ACCOUNT_CODES.fullmatch(code) or _ACCOUNT_MESSAGES.search(message):
                return "billing"
            return None if kind in _OF_THE_REQUEST else "errored_on_server"
        case _:
            return None  # it may hold an answer


class SelectedSource:
    """The requests of another source whose results say that they are worth sending again.

    `worth` tells of each custom id that may be sent again whether the same request is worth it. `sent` are the
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
        """Requests that are worth it, and others that were changed since; none that was sent again before."""
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
    chosen: Collection[Retried] = (),
    allow_duplicate: bool,
) -> Selection:
    """The requests of `source` that ended in one of the `chosen` ways in that batch.

    With none, those are meant that got no answer for reasons that are not their own, and invalid ones that differ from
    what was sent then. What was sent again before is not among them, without `allow_duplicate`. `saved` is a file that
    holds the results, where there is one.

    Raises:
        NothingToRetry: no request of the source is worth sending again.
        RetryUnreadable: the results of the batch cannot be read.
        BatchError: the API could not be asked for them.
    """
    ended = await _ended(client, message_batch_id, saved)
    worth = {custom_id: kind in (chosen or BY_DEFAULT) for custom_id, kind in ended.items()}
    worth = {custom_id: same for custom_id, same in worth.items() if same or not (chosen or ended[custom_id])}
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
    others = {kind for kind in ended.values() if kind is not None}.difference(chosen or BY_DEFAULT)
    raise NothingToRetry(message_batch_id, chosen=sorted(chosen), others=sorted(others))


def last_seq_of(retries: Iterable[Attempt]) -> int:
    """The highest number that a retry of a batch has had, whatever became of it; 0 where there is none."""
    return max((attempt.seq or 0 for attempt in retries), default=0)


async def _first(source: SelectedSource) -> tuple[int, bytes] | None:
    return await anyio.to_thread.run_sync(next, source.open(), None)


async def _ended(client: BatchClient, message_batch_id: str, saved: Path | None) -> dict[str, Retried | None]:
    """How each result ended that is not a whole answer, by its custom id; None for an invalid request."""
    if saved is None:  # a batch whose results were saved may have been deleted
        batch = await client.retrieve(message_batch_id)
        if not batch.readable:
            raise RetryUnreadable(message_batch_id, ended=batch.ended)
    ended: dict[str, Retried | None] = {}

    def note(line: LineFacts, _: bytes) -> bool:
        kind = retried_as(line)
        if kind is not None or line.outcome == "errored":
            ended[line.custom_id] = kind
        return True

    offset: int | None = 0
    while offset is not None:
        async with pieces_of(client, message_batch_id, saved, offset) as pieces:
            offset = (await scan(pieces, offset, note, client.monotonic)).next_offset
    return ended
