"""Transports to the sandbox in which creates wait for each other, get lost, or meet something in between."""

from collections.abc import Awaitable, Callable

import anyio
import httpx2

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import SandboxTransport

Hook = Callable[[httpx2.Request], Awaitable[None]]


class Gathering(SandboxTransport):
    """Holds what comes just before an intent until so many calls have come that far."""

    def __init__(self, sandbox: Sandbox, calls: int) -> None:
        super().__init__(sandbox)
        self._calls = calls
        self._come = 0
        self._all = anyio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.query == b"limit=1":
            self._come += 1
            if self._come == self._calls:
                self._all.set()
            await self._all.wait()
        return await super().handle_async_request(request)


class Swallowing(SandboxTransport):
    """Takes a whole request to create, and loses it."""

    swallowed = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST" and request.url.path.endswith("/batches") and not self.swallowed:
            self.swallowed += 1
            async for _ in request.stream:  # type: ignore[union-attr]
                pass
            raise httpx2.ReadError("lost")
        return await super().handle_async_request(request)


class Hooked(SandboxTransport):
    """Calls `before` and `after` around each create, where asked to with the whole body read."""

    def __init__(
        self, sandbox: Sandbox, before: Hook | None = None, after: Hook | None = None, *, read_first: bool = False
    ) -> None:
        super().__init__(sandbox)
        self._before, self._after, self._read_first = before, after, read_first

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        create = request.method == "POST" and request.url.path.endswith("/batches")
        if create and self._read_first:
            body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]
            request = httpx2.Request(request.method, request.url, headers=request.headers, content=body)
        if create and self._before:
            await self._before(request)
        response = await super().handle_async_request(request)
        if create and self._after:
            await self._after(request)
        return response


async def cut(_: httpx2.Request) -> None:
    raise httpx2.ReadError("cut")
