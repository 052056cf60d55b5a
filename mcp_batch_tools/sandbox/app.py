"""`Sandbox`: routes, keys, limits and faults in front of the endpoints, over batches in memory."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from email.utils import format_datetime

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mcp_batch_tools.sandbox import endpoints
from mcp_batch_tools.sandbox.batches import Batch, GeneratedRequests, Outcome, Request
from mcp_batch_tools.sandbox.clock import AnyClock, SystemClock
from mcp_batch_tools.sandbox.endpoints import Call
from mcp_batch_tools.sandbox.faults import ConnectionCut, Fault, take
from mcp_batch_tools.sandbox.limits import RateLimit
from mcp_batch_tools.sandbox.refusals import Refusal, check_headers
from mcp_batch_tools.sandbox.replies import bill, identifier

_DAY = 86400.0
_MOST_REMEMBERED = 100_000

Act = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Received:
    """A request as it arrived: `path` is the raw path with its query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


class Sandbox:
    """A stand-in for the Message Batches API, as an ASGI app.

    `keys` maps the keys that are accepted to workspaces; None accepts every key, each with a workspace of its own.
    A batch takes `processing_seconds`, its cancellation `canceling_seconds`; `retry_after` is the polling hint while
    it has not ended; with `ranges` results can be asked for from a byte on. Answers name their workspace and carry the
    time of the sandbox's clock, unless told otherwise. Batches, faults and what was received are open to the test that
    owns the sandbox.
    """

    def __init__(
        self,
        *,
        clock: AnyClock | None = None,
        keys: Mapping[str, str] | None = None,
        processing_seconds: float = 60,
        canceling_seconds: float = 5,
        retry_after: int = 10,
        ranges: bool = True,
        requests_per_minute: int | None = None,
        names_workspace: bool = True,
        tells_time: bool = True,
    ) -> None:
        self.faults: list[Fault] = []
        self.received: list[Received] = []
        self._clock = clock or SystemClock()
        self._keys = keys
        self._processing_seconds = processing_seconds
        self._canceling_seconds = canceling_seconds
        self._retry_after = retry_after
        self._ranges = ranges
        self._requests_per_minute = requests_per_minute
        self._names_workspace = names_workspace
        self._tells_time = tells_time
        self._limits: dict[str, RateLimit] = {}
        self._workspaces: dict[str, dict[str, Batch]] = {}
        self._origin = secrets.token_hex(8)  # ids differ between sandboxes
        self._made = 0
        one = "/v1/messages/batches/{message_batch_id}"
        self._router = Router(
            [
                self._route(
                    "/v1/messages/batches", GET=("list", endpoints.list_batches), POST=("create", endpoints.create)
                ),
                self._route(one, GET=("retrieve", endpoints.retrieve), DELETE=("delete", endpoints.delete)),
                self._route(f"{one}/cancel", POST=("cancel", endpoints.cancel)),
                self._route(f"{one}/results", GET=("results", endpoints.results)),
                self._route("/v1/messages/count_tokens", POST=("count_tokens", endpoints.count_tokens)),
                self._route("/{anything:path}"),
            ],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._router(scope, receive, send)

    def add_batch(
        self,
        requests: int | Mapping[Outcome, int] = 3,
        *,
        key: str,
        status: str = "ended",
        age: float | None = None,
        processing_seconds: float | None = None,
        model: str = "claude-haiku-4-5",
        text_characters: int = 120,
        results: Callable[[], Iterable[bytes]] | None = None,
    ) -> str:
        """Put a batch of generated requests into the workspace of `key`, and return its id.

        `requests` is a number of succeeding ones, or numbers by outcome. `age` is seconds since its creation: an hour
        for an ended batch, else 0. A canceling batch has been canceling since now. `results` replaces its results by
        pieces of bytes of any kind.

        Raises:
            ValueError: a batch of this age cannot have this status.
        """
        now = self._clock.now()
        seconds = self._processing_seconds if processing_seconds is None else processing_seconds
        if age is None:
            age = 3600 if status == "ended" else 0
        if status == "ended" and age < _DAY:
            seconds = min(seconds, age)
        batch = Batch(
            self._next_id(),
            GeneratedRequests(
                {"succeeded": requests} if isinstance(requests, int) else dict(requests),
                model=model,
                text_characters=text_characters,
            ),
            now - timedelta(seconds=age),
            seconds,
            self._canceling_seconds,
            cancel_initiated_at=now if status == "canceling" else None,
            raw_results=results,
        )
        if batch.status(now) != status:
            raise ValueError(f"a batch of {seconds} s is {batch.status(now)} after {age} s, not {status}")
        self._batches_of(self._workspace(key))[batch.id] = batch
        return batch.id

    def bill(self, message_batch_id: str, *, key: str) -> Decimal:
        """What the batch has cost in USD, by the sandbox's own prices.

        Raises:
            KeyError: there is no such batch, or no price for a model.
        """
        return bill(self._batches_of(self._workspace(key))[message_batch_id])

    def remove_batch(self, message_batch_id: str, *, key: str) -> None:
        """Take a batch out of the workspace of `key`, as if somebody else had deleted it."""
        del self._batches_of(self._workspace(key))[message_batch_id]

    def seed(self, key: str) -> None:
        """Fill the workspace of `key` with a few batches in every state."""
        self.add_batch(40, key=key, age=31 * _DAY)
        self.add_batch({"succeeded": 9, "errored": 2}, key=key, age=9 * _DAY)
        self.add_batch(30, key=key, age=2 * _DAY, processing_seconds=1.5 * _DAY)  # a third of it expires
        self.add_batch(12, key=key, age=5400)
        self.add_batch(8, key=key, age=900, status="canceling", processing_seconds=3600)
        self.add_batch(25, key=key, age=600, status="in_progress", processing_seconds=7200)

    def _next_id(self) -> str:
        self._made += 1
        return identifier("msgbatch", self._origin, self._made)

    def _route(self, path: str, **acts: tuple[str, Act]) -> Route:
        async def endpoint(http: HttpRequest) -> Response:
            return await self._answer(http, acts)

        route = Route(path, endpoint)
        route.methods = None  # all: a method that there is not is refused in the envelope too
        return route

    async def _answer(self, http: HttpRequest, acts: Mapping[str, tuple[str, Act]]) -> Response:
        """Note the request, let a fault strike, and give every answer its headers."""
        query = http.scope["query_string"].decode("latin-1")
        path = http.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        self.received.append(Received(http.method, path, http.headers))
        del self.received[:-_MOST_REMEMBERED]
        name, act = acts.get(http.method, ("unknown", endpoints.unknown))
        request_id = identifier("req", self._origin, secrets.token_hex(8))
        fault = take(self.faults, name) or Fault()
        if fault.delay:
            await self._clock.sleep(fault.delay)
        if fault.cut == "before":
            raise ConnectionCut("the connection was cut before the effect")
        replaced = fault.status is not None or fault.body is not None
        if replaced and not fault.after_effect:
            response = _faulty(fault, request_id)
        else:
            response = await self._act(http, act, request_id)
            if replaced:
                response = _faulty(fault, request_id)
        if fault.cut == "after":
            raise ConnectionCut("the connection was cut after the effect")
        response.headers["request-id"] = request_id
        if self._tells_time:
            response.headers["date"] = format_datetime(self._clock.now(), usegmt=True)
        response.headers.update(fault.headers)
        return response

    async def _act(self, http: HttpRequest, act: Act, request_id: str) -> Response:
        headers: dict[str, str] = {}
        try:
            workspace = self._workspace(check_headers(http.headers), http.headers.get("anthropic-workspace-id"))
            if self._requests_per_minute:
                limit, now = self._limits.setdefault(workspace, RateLimit(self._requests_per_minute)), self._clock.now()
                admitted = limit.admits(now)
                headers |= limit.headers(now, admitted=admitted)
                act = act if admitted else endpoints.over_the_limit
            if self._names_workspace:
                headers["anthropic-workspace-id"] = identifier("wrkspc", self._origin, workspace)
            response = await act(self._call(http, self._batches_of(workspace)))
        except Refusal as refusal:
            response = JSONResponse(refusal.as_json(request_id), refusal.status)
        response.headers.update(headers)
        return response

    def _workspace(self, key: str, named: str | None = None) -> str:
        if self._keys is None:
            return key
        if key not in self._keys:
            raise Refusal(401)
        if named not in {None, self._keys[key]}:  # a guess
            raise Refusal(403)
        return self._keys[key]

    def _call(self, http: HttpRequest, batches: dict[str, Batch]) -> Call:
        def new_batch(requests: Sequence[Request]) -> Batch:
            now = self._clock.now()
            return Batch(self._next_id(), requests, now, self._processing_seconds, self._canceling_seconds)

        return Call(http, batches, self._clock.now, new_batch, self._retry_after, self._ranges)

    def _batches_of(self, workspace: str) -> dict[str, Batch]:
        return self._workspaces.setdefault(workspace, {})


def _faulty(fault: Fault, request_id: str) -> Response:
    """The answer of a fault: its own body, or the envelope of its status."""
    status = fault.status or 200
    if fault.body is not None:
        return Response(fault.body, status, media_type="application/json")
    return JSONResponse(Refusal(status, fault.message, details=fault.details).as_json(request_id), status)
