"""MCP over standard input and output: every line is answered, and no client can make the server hold too much.

The SDK's own transport drops a line that it cannot read, begins every call as it arrives, and cancels all of them at
the end of the input. This one hands the SDK's server the same streams of messages. It knows no tools.
"""

import logging
import os
import select
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from mcp_batch_tools.jsonrpc import LONGEST_LINE, Refused, line_of, read_message, without_halves

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_MOST_RUNNING = 64
"""More calls than clients have open by themselves. An answer is some 100 kB at most, so they hold a few MB."""
_MOST_HELD = 2 * LONGEST_LINE
"""Bytes of the lines that are not answered yet."""
_PATIENCE = 60
"""Seconds in which the next line is taken. A call ends within 50: a client that is too slow for this reads nothing."""
_LAST_CALLS = 10
"""Seconds for the calls that are open at the end of the input: a few requests to the API. Longer waits are cut."""
_MOST_WARNINGS = 100
"""About lines. A host that never reads standard error would stop the server with the 64 KiB that a pipe holds."""

_THREAD_IS_LATE = (RuntimeError, CancelledError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a thread gets from an event loop, or from streams, that have ended."""


class _Calls:
    """Lines that are to be answered: those that wait for their turn, and those whose call is running.

    They wait as they came, since a message takes ten times the memory of its line.
    """

    def __init__(self) -> None:
        self._changed = anyio.Condition()
        self._waiting: deque[tuple[RequestId | None, bytes]] = deque()
        self._running: defaultdict[RequestId | None, list[int]] = defaultdict(list)
        self._slots = _MOST_RUNNING
        self._held = 0

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._changed.wait()

    async def add(self, request_id: RequestId | None, line: bytes) -> None:
        async with self._changed:
            await self._until(lambda: not self._held or self._held + len(line) <= _MOST_HELD)
            self._held += len(line)
            self._waiting.append((request_id, line))
            self._changed.notify_all()

    async def next(self) -> tuple[RequestId | None, bytes]:
        async with self._changed:
            await self._until(lambda: bool(self._waiting) and self._slots > 0)
            request_id, line = self._waiting.popleft()
            self._slots -= 1
            self._running[request_id].append(len(line))
            return request_id, line

    async def settle(self, request_id: RequestId | None) -> None:
        """Count a running call as answered, or as one that gets no answer since its client has canceled it."""
        async with self._changed:
            if sizes := self._running.get(request_id):
                self._slots += 1
                self._held -= sizes.pop()
                if not sizes:
                    del self._running[request_id]
                self._changed.notify_all()

    async def cancel(self, request_id: Any) -> bool:
        """Take back the calls of this id that have not begun; whether there was one."""
        async with self._changed:
            kept = [(other, line) for other, line in self._waiting if str(other) != str(request_id)]
            canceled = len(kept) < len(self._waiting)
            if canceled:
                self._held -= sum(len(line) for _, line in self._waiting) - sum(len(line) for _, line in kept)
                self._waiting = deque(kept)
                self._changed.notify_all()
            return canceled

    async def all_settled(self) -> None:
        async with self._changed:
            await self._until(lambda: not self._waiting and not self._running)


class _Wire:
    """Moves messages between two descriptors and the SDK's server, until the input ends."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin, self._stdout = stdin, stdout
        self._calls = _Calls()
        self._to_server, self.from_client = anyio.create_memory_object_stream[SessionMessage | Exception]()
        self.to_client, self._from_server = anyio.create_memory_object_stream[SessionMessage]()
        self._refusals = self.to_client.clone()
        self._lines_in, self._lines = anyio.create_memory_object_stream[bytes]()
        self._taking = anyio.CancelScope()
        self._warnings = 0
        self._written: RequestId | None = None
        self._write_ended = anyio.Event()
        self._write_error: OSError | None = None

    async def serve(self, server: MCPServer[Any]) -> None:
        """Serve one client. Raises BrokenPipeError where it reads no more."""
        token = current_token()
        # Only a thread that nobody waits for can be left behind in a read or write that never ends.
        for work in (self._read_lines, self._write_lines):
            Thread(target=work, args=(token,), daemon=True).start()
        lowlevel = server._lowlevel_server  # the SDK has no public way to serve other streams than its own
        async with anyio.create_task_group() as group, self._lines, self._from_server:
            group.start_soon(self._fail_with_the_writer)
            group.start_soon(self._begin_calls)
            group.start_soon(self._take_lines)
            await lowlevel.run(self.from_client, self.to_client, lowlevel.create_initialization_options())
            with anyio.move_on_after(1):
                await self._write_ended.wait()
            group.cancel_scope.cancel()

    async def _take_lines(self) -> None:
        async with self._to_server, self._refusals:
            async for line in self._lines:
                with anyio.move_on_after(_PATIENCE) as patience:
                    await self._take(line)
                if patience.cancelled_caught:
                    _log.error("the client sends calls and reads no answers; the server ends")
                    break
            with anyio.move_on_after(_LAST_CALLS) as rest:
                await self._calls.all_settled()
            if rest.cancelled_caught:
                _log.warning("calls were still open %d s after the end of standard input, and are cut", _LAST_CALLS)
            self._taking.cancel()

    async def _take(self, line: bytes) -> None:
        line = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not line:
            return
        try:
            message = read_message(line)
        except Refused as refused:
            whole = without_halves(line) if len(line) <= LONGEST_LINE else line
            if whole != line:
                self._warn("half of a surrogate pair on standard input was replaced by U+FFFD")
                await self._take(whole)
                return
            self._warn("a line of %d bytes on standard input was refused. %s", len(line), refused)
            await self._calls.add(refused.answer.id, line)
            return
        match message:
            case JSONRPCRequest():
                await self._calls.add(message.id, line)
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": request_id}) if (
                await self._calls.cancel(request_id)
            ):
                pass
            case _:
                await self._to_server.send(SessionMessage(message))

    def _warn(self, message: str, *facts: object) -> None:
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            _log.warning(message, *facts)
        if self._warnings == _MOST_WARNINGS:
            _log.warning("further lines like this one are answered and not logged")

    async def _begin_calls(self) -> None:
        with self._taking:
            async with anyio.create_task_group() as group:
                while True:
                    request_id, line = await self._calls.next()
                    unanswered = ServerMessageMetadata(on_request_unanswered=partial(self._calls.settle, request_id))
                    try:
                        message = SessionMessage(read_message(line), unanswered)
                    except Refused as refused:
                        group.start_soon(self._refusals.send, SessionMessage(refused.answer))
                    else:
                        await self._to_server.send(message)

    def _read_lines(self, token: EventLoopToken) -> None:
        with suppress(*_THREAD_IS_LATE):
            with suppress(OSError):  # a terminal that was closed
                for line in _lines_of(self._stdin):
                    from_thread.run(self._lines_in.send, line, token=token)
            from_thread.run_sync(self._lines_in.close, token=token)

    def _write_lines(self, token: EventLoopToken) -> None:
        with suppress(*_THREAD_IS_LATE):
            try:
                while line := from_thread.run(self._next_answer, token=token):
                    while line:
                        line = line[_ready(os.write, self._stdout, line) :]
            except OSError as error:
                self._write_error = error
            from_thread.run_sync(self._write_ended.set, token=token)

    async def _next_answer(self) -> bytes:
        """The next line to write, empty at the end. The one before it has been written."""
        await self._calls.settle(self._written)
        self._written = None
        try:
            message = (await self._from_server.receive()).message
        except anyio.EndOfStream:
            return b""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._written = message.id
        return line_of(message)

    async def _fail_with_the_writer(self) -> None:
        await self._write_ended.wait()
        if self._write_error is not None:
            raise BrokenPipeError from self._write_error


def _ready(act: Callable[[int, T], R], descriptor: int, what: T) -> R:
    """Read or write, waiting where the descriptor does not: some hosts hand out such pipes."""
    while True:
        try:
            return act(descriptor, what)
        except BlockingIOError:
            reading = act is os.read
            select.select([descriptor] if reading else [], [] if reading else [descriptor], [])


def _lines_of(descriptor: int) -> Iterator[bytes]:
    """The lines of a descriptor. Of one that is too long, so much that this can be seen, and its end."""
    line = bytearray()
    while chunk := _ready(os.read, descriptor, 2**16):
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield bytes(line + piece)
            line.clear()
        line += rest
        if len(line) > 2 * LONGEST_LINE:
            del line[LONGEST_LINE:-512]
    yield bytes(line)


@contextmanager
def _claimed() -> Iterator[tuple[int, int]]:
    """Standard input and output, for the wire alone: what others print meanwhile goes to standard error."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    wire = os.dup(stdin), os.dup(stdout)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, stdin)
    os.dup2(2, stdout)
    os.close(nothing)
    try:
        yield wire
    finally:
        sys.stdout.flush()
        os.dup2(wire[0], stdin)
        os.dup2(wire[1], stdout)


async def serve_on(server: MCPServer[Any], stdin: int, stdout: int) -> None:
    """Serve one client over two descriptors, until its input ends. Raises BrokenPipeError where it reads no more."""
    await _Wire(stdin, stdout).serve(server)


def run(server: MCPServer[Any]) -> None:
    """Serve the client of this process."""
    with _claimed() as (stdin, stdout):
        anyio.run(serve_on, server, stdin, stdout)
