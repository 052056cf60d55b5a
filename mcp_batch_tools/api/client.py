"""`BatchClient`: typed calls to the Message Batches API, with its retries, paging hints and streams.

It knows nothing of MCP. Tests give it a `transport` and a `clock`; everything else is real.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self, TypeVar
from urllib.parse import quote

import anyio
import httpx2

from mcp_batch_tools import __version__
from mcp_batch_tools.api import exchange
from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse, NoResponse, NotConfigured, Operation
from mcp_batch_tools.api.models import CountedTokens, DeletedMessageBatch, FromApi, MessageBatch, MessageBatchPage
from mcp_batch_tools.api.retries import repeated
from mcp_batch_tools.clock import Clock, SystemClock

_POLLING = 10.0
_POLL_BOUNDS = (1.0, 60.0)
_WHOLE_ANSWER = 25.0
"""Seconds for a request and its whole answer, which a limit on stalls does not bound."""
# What the API counts of the params of a request; others it would refuse.
_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "mcp_servers",
)
_JSON = {"content-type": "application/json"}
_CREATE_TIMEOUT = httpx2.Timeout(600, connect=5, write=240)
"""Seconds. That for writing a piece is shorter than the lease of its sender, see `submissions.states`."""

Model = TypeVar("Model", bound=FromApi)


def _not_sent(error: BatchError) -> bool:
    return isinstance(error, NoResponse) and not error.sent


class BatchClient:
    """One connection pool to the Message Batches API for the life of a server.

    `headers` carries the credentials; None means that there are none, and every call raises `NotConfigured`.
    An answer that stalls for `stall_seconds` is none.
    `redact` takes secrets out of every text that an answer holds, before anything else is done with it.
    Every call raises a `BatchError`, and nothing else, where the API or the way to it fails.
    """

    def __init__(
        self,
        *,
        base_url: str,
        headers: Mapping[str, str] | None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        redact: Callable[[str], str] = str,
        stall_seconds: float = 15,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/v1/messages/batches"
        self._count_tokens = f"{base_url.rstrip('/')}/v1/messages/count_tokens"
        self._headers = headers
        self._transport = transport
        self._clock = clock or SystemClock()
        self._redact = redact
        self._timeout = httpx2.Timeout(stall_seconds, connect=5)
        self._pool: httpx2.AsyncClient | None = None
        self.answered = False
        """Whether the API has answered this client yet."""
        self.workspace: str | None = None
        """The workspace that the last answer named, or None where none has yet."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A client that was never used has none."""
        if self._pool is not None:
            await self._pool.aclose()

    def now(self) -> datetime:
        """The time of day by this client's clock."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds that only grow, by this client's clock."""
        return self._clock.monotonic()

    async def pause(self, seconds: float) -> None:
        """Wait by this client's clock."""
        await self._clock.sleep(seconds)

    def _http(self, endpoint: Operation) -> httpx2.AsyncClient:
        # Opened by the first call: loading the trust store would delay the start of a server.
        if self._pool is None:
            exchange.read_large_pieces()
            try:
                self._pool = httpx2.AsyncClient(
                    headers={"user-agent": f"mcp-batch-tools/{__version__}", **(self._headers or {})},
                    transport=self._transport,
                    timeout=self._timeout,
                    follow_redirects=False,  # the key goes to no other host
                )
            except (OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
                # A certificate file that is none, a proxy address that is none, a proxy of an unsupported kind.
                raise exchange.unusable_setup(endpoint, error, "proxy") from error
        return self._pool

    async def create(self, body: bytes | AsyncIterable[bytes], *, length: int | None = None) -> MessageBatch:
        """Create a batch from `{"requests": […]}` as JSON; `length` in bytes for a body that comes in pieces.

        There is no idempotency key, so this is repeated only where no byte of the request can have left; a body in
        pieces has not been read then.
        """
        headers = {**_JSON, "content-length": str(length)} if length is not None else _JSON
        return await self._call(
            MessageBatch, "create", "POST", content=body, timeout=_CREATE_TIMEOUT, headers=headers, safe=_not_sent
        )

    async def count_tokens(self, params: Mapping[str, Any]) -> int:
        """How many input tokens these `params` of a request have. The API counts them free of charge."""
        body = json.dumps({name: params[name] for name in _COUNTED if name in params}).encode()
        counted = await self._call(
            CountedTokens, "count_tokens", "POST", url=self._count_tokens, content=body, headers=_JSON
        )
        return counted.input_tokens

    async def retrieve(self, message_batch_id: str) -> MessageBatch:
        """The batch as it is now."""
        return await self._call(MessageBatch, "retrieve", "GET", message_batch_id)

    async def watch(self, message_batch_id: str, seconds: float) -> AsyncIterator[tuple[MessageBatch, float]]:
        """Yield the batch and the seconds since the start: at once, then each time the API's polling hint has passed.

        Stops after the batch has ended, or after a last look when `seconds` are over.
        """
        start = self._clock.monotonic()
        while True:
            batch = await self.retrieve(message_batch_id)
            elapsed = self._clock.monotonic() - start
            yield batch, elapsed
            if batch.ended or elapsed >= seconds:
                return
            lowest, highest = _POLL_BOUNDS
            hint = _POLLING if batch.retry_after is None else batch.retry_after
            await self._clock.sleep(min(max(hint, lowest), highest, seconds - elapsed))

    async def list(self, *, limit: int, after_id: str | None = None, before_id: str | None = None) -> MessageBatchPage:
        """One page, newest first; `limit` 1 to 1,000; `after_id` asks for what is older than that batch."""
        query = {"limit": str(limit), "after_id": after_id, "before_id": before_id}
        params = {name: value for name, value in query.items() if value is not None}
        return await self._call(MessageBatchPage, "list", "GET", params=params)

    async def cancel(self, message_batch_id: str) -> MessageBatch:
        """Ask the API to stop a batch; it answers with the batch, usually `canceling`."""
        return await self._call(MessageBatch, "cancel", "POST", message_batch_id, suffix="/cancel")

    async def delete(self, message_batch_id: str) -> DeletedMessageBatch:
        """Delete an ended batch and its results for good.

        Where an earlier try may have acted without its answer arriving, a 404 on the repeat means that it did.
        """
        try:
            return await self._call(DeletedMessageBatch, "delete", "DELETE", message_batch_id)
        except ApiError as error:
            if error.gone and error.earlier_try_may_have_acted:
                return DeletedMessageBatch(id=message_batch_id, type="message_batch_deleted")
            raise

    @asynccontextmanager
    async def results(self, message_batch_id: str, *, offset: int = 0) -> AsyncIterator[exchange.ResultStream]:
        """The results of an ended batch as a stream of bytes: JSON Lines, in any order, from `offset` where possible.

        Only opening the stream is repeated. A break in the middle raises `NoResponse` from the iteration.
        """
        # Compressed, a length would not be that of the file, and an offset would have no meaning.
        headers = {"accept-encoding": "identity"}
        if offset:
            headers["range"] = f"bytes={offset}-"
        response = await repeated(
            lambda: self._open("results", "GET", message_batch_id, suffix="/results", headers=headers), self._clock
        )
        try:
            yield exchange.result_stream(response, offset)
        finally:
            await response.aclose()

    async def _call(
        self,
        model: type[Model],
        endpoint: Operation,
        method: str,
        message_batch_id: str | None = None,
        *,
        safe: Callable[[BatchError], bool] = lambda _: True,
        **options: Any,
    ) -> Model:
        """Send a request, and parse its whole answer; repeated where it failed and a repeat is `safe`."""

        async def attempt() -> Model:
            try:
                with anyio.fail_after(None if endpoint == "create" else _WHOLE_ANSWER):
                    response = await self._open(endpoint, method, message_batch_id, **options)
                    body = await exchange.whole_body(endpoint, response, self._redact)
            except TimeoutError:
                raise NoResponse("timeout", endpoint=endpoint, sent=True) from None
            answer = exchange.parsed(model, endpoint, response, body, self._clock.now())
            if message_batch_id is not None and getattr(answer, "id", message_batch_id) != message_batch_id:
                raise exchange.invalid_response(endpoint, response, "other_batch")
            return answer

        return await repeated(attempt, self._clock, safe)

    async def _open(
        self,
        endpoint: Operation,
        method: str,
        message_batch_id: str | None,
        *,
        url: str | None = None,
        suffix: str = "",
        **options: Any,
    ) -> httpx2.Response:
        """Send one request and return its answer with the body unread; errors are read and raised.

        `options` are those of a request of httpx2.
        """
        if self._headers is None:
            raise NotConfigured(endpoint=endpoint)
        http = self._http(endpoint)
        url = url or self._base
        if message_batch_id is not None:
            if not message_batch_id.strip("."):
                raise ValueError(f"not the id of a batch: {message_batch_id!r}")  # it would name another path
            url += f"/{quote(message_batch_id, safe='')}{suffix}"
        try:
            response = await http.send(http.build_request(method, url, **options), stream=True)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, OverflowError) as error:
            raise exchange.unusable_setup(endpoint, error, "address") from error
        except ExceptionGroup as group:  # of the tries to connect
            if group.subgroup(OverflowError) is None:
                raise
            raise exchange.unusable_setup(endpoint, group, "proxy") from group
        except httpx2.HTTPError as error:
            exchange.raise_no_response(endpoint, error)
        exchange.redact_headers(response, self._redact)
        self.workspace = exchange.workspace_of(response) or self.workspace
        if response.is_success:
            self.answered = True
            return response
        try:
            content = await exchange.whole_body(endpoint, response, self._redact)
        except (NoResponse, InvalidResponse):
            content = b""  # the status is known, and says more than the loss of its explanation
        raise exchange.api_error(endpoint, response, content, self._clock.now(), message_batch_id)
