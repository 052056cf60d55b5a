"""Which requests of an earlier batch are worth sending again."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio.to_thread
from mcp.server.mcpserver import Context

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import BadAnswer, RequestsRefused
from mcp_batch_tools.request_hashes import by_custom_id, custom_id_of, digest
from mcp_batch_tools.request_sources import Source
from mcp_batch_tools.result_lines import ResultLine, WrongLine
from mcp_batch_tools.result_pages import api_pieces, saved_pieces, scan
from mcp_batch_tools.tools.acts import in_ledger, saved_results
from mcp_batch_tools.tools.saving import unreadable
from mcp_batch_tools.tools.submitting import submissions_of

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

    def __init__(self, source: Source, worth: dict[str, bool], before: dict[bytes, bytes]) -> None:
        self.name = source.name
        self.unit = source.unit
        self._source = source
        self._worth = worth
        self._before = before

    def open(self) -> Iterator[tuple[int, bytes]]:
        """Those whose result was none, and those that were refused and have been changed since."""
        for number, raw in self._source.open():
            custom_id = custom_id_of(raw)
            if custom_id is None:
                yield number, raw  # let the check say what is wrong with it
            elif custom_id in self._worth and (
                self._worth[custom_id] or self._before.get(digest(custom_id.encode()), digest(raw)) != digest(raw)
            ):
                yield number, raw


async def only_to_retry(
    context: Context[Any, Any], client: BatchClient, source: Source, message_batch_id: str
) -> Source:
    """The requests of `source` that expired, were canceled or failed on the server's side in that batch.

    Those that the API refused are among them only where they differ from what was sent then.

    Raises:
        RequestsRefused: there are none, or the results cannot be read.
    """
    worth = await _worth_retrying(context, client, message_batch_id)
    kept = await in_ledger(lambda: submissions_of(context).hashes(message_batch_id)) or b""
    selected = Selected(source, worth, by_custom_id(kept))
    if await anyio.to_thread.run_sync(next, selected.open(), None) is None:
        raise RequestsRefused(
            [
                f"nothing of {message_batch_id} is to be sent again: no request in here expired, was canceled or "
                "failed on the server's side, and none that was refused has been changed"
            ]
        )
    return selected


async def _worth_retrying(context: Context[Any, Any], client: BatchClient, message_batch_id: str) -> dict[str, bool]:
    """Custom ids of results that hold no answer, and whether the very same request is worth another try."""
    batch = await client.retrieve(message_batch_id)
    saved = await saved_results(context, message_batch_id)
    path = Path(saved.path) if saved is not None and saved.path.endswith((".jsonl", ".jsonl.gz")) else None
    if path is None and not batch.readable(client.now()):
        raise RequestsRefused([f"{message_batch_id} cannot be retried: {unreadable(batch)[0].rstrip('.').lower()}"])
    worth: dict[str, bool] = {}

    def note(line: ResultLine) -> bool:
        if line.outcome != "succeeded":
            worth[line.custom_id] = line.outcome != "errored" or line.error[0] not in _REFUSED
        return True

    offset: int | None = 0
    while offset is not None:
        opened: AbstractAsyncContextManager[Any] = (
            saved_pieces(path, offset) if path else api_pieces(client, message_batch_id, offset)
        )
        async with opened as pieces:
            try:
                offset = (await scan(pieces, offset, note, client.monotonic)).next_offset
            except WrongLine as error:
                raise BadAnswer(str(error), endpoint="results", status=200, request_id=None) from error
    return worth
