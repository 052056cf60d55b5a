"""An upstream whose results arrive line by line, when a test lets them, and that counts what it sends."""

import re
from collections.abc import AsyncIterator

import anyio
import httpx2

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import SandboxTransport
from tests.support.results import line

_FAR = 10**15


def long_lines(count: int) -> list[bytes]:
    """Results of more than 1 MiB each, which is as much as is taken at once: each of them is progress."""
    return [line(f"r{number}", content=[{"type": "text", "text": "x" * 1_100_000}]) for number in range(count)]


class Feeding(SandboxTransport):
    """The sandbox, but with these results for every batch; `let` says how many lines may be sent."""

    def __init__(self, sandbox: Sandbox, lines: list[bytes], *, ranges: bool = False) -> None:
        super().__init__(sandbox)
        self.lines = lines
        self.whole = b"".join(lines)
        self.ranges: list[str | None] = []
        self.sent = 0
        self.broken = False
        self._honoured = ranges
        self._let = 0
        self._changed = anyio.Event()

    def let(self, lines: int | None = None) -> None:
        """Let so many lines through in each answer, or all."""
        self._let = len(self.lines) if lines is None else lines
        self._change()

    async def asked(self, times: int = 1) -> None:
        """Wait until results were asked for so often."""
        with anyio.fail_after(30):
            while len(self.ranges) < times:
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/results"):
            return await super().handle_async_request(request)
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        self._change()
        if wanted is None or not self._honoured:
            return httpx2.Response(200, stream=_Fed(self, 0))
        offset = int(re.sub(r"\D", "", wanted))
        headers = {"content-range": f"bytes {offset}-{_FAR}/*"}
        return httpx2.Response(206, headers=headers, stream=_Fed(self, offset))

    async def pieces(self, offset: int) -> AsyncIterator[bytes]:
        """The results from an offset on, as they are let through."""
        for number, one in enumerate(self.lines):
            piece, offset = one[offset:], max(offset - len(one), 0)
            if not piece:
                continue
            while number >= self._let:
                if self.broken:
                    raise httpx2.ReadError("broken")
                await self._changed.wait()
            self.sent += len(piece)
            yield piece


class _Fed(httpx2.AsyncByteStream):
    def __init__(self, upstream: Feeding, offset: int) -> None:
        self._upstream = upstream
        self._offset = offset

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._upstream.pieces(self._offset):
            yield piece
