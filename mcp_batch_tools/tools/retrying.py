"""Which requests of an earlier batch are worth sending again."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from mcp_batch_tools.api.errors import InvalidResponse
from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.fingerprint import by_custom_id, canonical, custom_id_and_params, digest, digests_of
from mcp_batch_tools.requests.sources import Source
from mcp_batch_tools.results.lines import InvalidLine, ResultLine
from mcp_batch_tools.results.pages import api_pieces, saved_pieces, scan
from mcp_batch_tools.tools.acts import in_ledger, saved_results
from mcp_batch_tools.tools.app import App
from mcp_batch_tools.tools.create_answers import NotCreated
from mcp_batch_tools.tools.save_message_batch_results import unreadable
from mcp_batch_tools.tools.sent_before import Standing, blocking, sent_answer, unsettled_answer
from mcp_batch_tools.tools.settling import settle_open

_REFUSED = frozenset(
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


class Selected:
    """The requests of another source whose results say that they are worth sending again."""

    def __init__(self, source: Source, worth: dict[str, bool], before: bytes, again: bytes) -> None:
        self.name = source.name
        self.unit = source.unit
        self._source = source
        self._worth = worth
        self._before = by_custom_id(before)
        self._again = frozenset(digests_of(again))

    def open(self) -> Iterator[tuple[int, bytes]]:
        """Those whose result was none, and those that were refused and have been changed since; none of them twice."""
        for number, raw in self._source.open():
            known = custom_id_and_params(raw)
            if known is None:
                yield number, raw  # let the check say what is wrong with it
                continue
            custom_id, params = known
            if custom_id not in self._worth:
                continue
            identity, content = digest(custom_id.encode()), digest(canonical(params))
            changed = self._before.get(identity, content) != content
            if identity + content not in self._again and (self._worth[custom_id] or changed):
                yield number, raw


@dataclass(frozen=True)
class Retry:
    """What of a batch is to be sent again: the requests, and what was sent of it before."""

    source: Source
    standing: Standing


async def only_to_retry(
    app: App, source: Source, message_batch_id: str, *, allow_duplicate: bool
) -> Retry | NotCreated:
    """The requests of `source` that expired, were canceled or failed on the server's side in that batch.

    Those that the API refused are among them only where they differ from what was sent then. What was sent again
    before is not, without `allow_duplicate`: where nothing else is left, or where it is not known, it is answered.

    Raises:
        InvalidRequests: there are none, or the results cannot be read.
    """
    worth = await _worth_retrying(app, message_batch_id)
    standing = Standing(duplicate=allow_duplicate)
    if not app.remembers:
        return await _selected(Selected(source, worth, b"", b""), message_batch_id, standing)
    submissions = app.submissions
    open_ones = [one for one in await settle_open(app) if one.submission.retry_of == message_batch_id]
    before = await in_ledger(lambda: submissions.hashes(message_batch_id))
    retries = await in_ledger(lambda: submissions.retries_of(message_batch_id))
    unsettled = blocking(open_ones, retries, app.client, by=lambda one: one.retry_of, allow_duplicate=allow_duplicate)
    if unsettled:
        return unsettled_answer(unsettled, None, [], app.client, allow_duplicate=allow_duplicate)
    ids = [one.message_batch_id for one in retries if one.message_batch_id]
    if allow_duplicate or not ids:
        return await _selected(Selected(source, worth, before, b""), message_batch_id, standing)
    again = await in_ledger(lambda: submissions.hashes(*ids))
    try:
        return await _selected(Selected(source, worth, before, again), message_batch_id, standing)
    except InvalidRequests:
        await _selected(Selected(source, worth, before, b""), message_batch_id, standing)  # which says that
        earlier = [one for one in reversed(retries) if one.message_batch_id]
        what = f"what is worth it of {message_batch_id} was"
        answer = await sent_answer(app, earlier, None, what)
        answer.message += " To retry what failed there, give it as retry_of."
        return answer


async def _selected(source: Selected, message_batch_id: str, standing: Standing) -> Retry:
    if await anyio.to_thread.run_sync(next, source.open(), None) is None:
        raise InvalidRequests(
            [
                f"nothing of {message_batch_id} is to be sent again: no request in here expired, was canceled or "
                "failed on the server's side, and none that was refused has been changed"
            ]
        )
    return Retry(source, standing)


async def _worth_retrying(app: App, message_batch_id: str) -> dict[str, bool]:
    """Custom ids of results that hold no answer, and whether the very same request is worth another try."""
    saved = await saved_results(app, message_batch_id)
    path = Path(saved.path) if saved is not None and saved.path.endswith((".jsonl", ".jsonl.gz")) else None
    if path is None:  # a batch whose results were saved may have been deleted
        batch = await app.client.retrieve(message_batch_id)
        if not batch.readable(app.client.now()):
            why = unreadable(batch)[0].rstrip(".").lower()
            raise InvalidRequests([f"{message_batch_id} cannot be retried: {why}"])
    worth: dict[str, bool] = {}

    def note(line: ResultLine) -> bool:
        if line.outcome != "succeeded":
            worth[line.custom_id] = line.outcome != "errored" or line.error[0] not in _REFUSED
        return True

    offset: int | None = 0
    while offset is not None:
        opened: AbstractAsyncContextManager[Any] = (
            saved_pieces(path, offset) if path else api_pieces(app.client, message_batch_id, offset)
        )
        async with opened as pieces:
            try:
                offset = (await scan(pieces, offset, note, app.client.monotonic)).next_offset
            except InvalidLine as error:
                raise InvalidResponse(str(error), endpoint="results", status=200, request_id=None) from error
    return worth
