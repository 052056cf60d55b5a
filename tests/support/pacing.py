"""The sandbox with results that come no faster than told, and that counts the bytes of them."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from mcp_batch_tools.sandbox import Sandbox


class Pacing(Sandbox):
    """`bytes_per_second` are those of results; None sends the first `before` of them and then no more."""

    def __init__(self, *, ranges: bool, bytes_per_second: float | None = None, before: int = 0) -> None:
        super().__init__(ranges=ranges)
        self.bytes_per_second = bytes_per_second
        self._before = before
        self.sent = 0
        self.ranges: list[str | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/results"):
            await super().__call__(scope, receive, send)
            return
        self.ranges.append(dict(scope["headers"]).get(b"range", b"").decode() or None)

        async def paced(message: Message) -> None:
            while message.get("body") and self.bytes_per_second is None and self.sent >= self._before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await send(message)
            size = len(message.get("body", b""))
            self.sent += size
            await asyncio.sleep(size / (self.bytes_per_second or 1e9))

        await super().__call__(scope, receive, paced)
