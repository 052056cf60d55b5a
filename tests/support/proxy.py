"""A proxy between the server and the sandbox that damages what it passes on."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Damage = Callable[[bytes], tuple[bytes, str]]
"""From a whole answer as bytes to what is passed on and how it ends: `close`, `reset` or `stall`."""


@dataclass
class Proxy:
    """Damages the answers to requests whose head holds `only`; `damage` is None while nothing is to be damaged."""

    address: str
    only: bytes = b"/results "
    damage: Damage | None = None
    cut_request_at: int | None = None
    """Bytes of the body of such a request after which the connection is cut, before anything is passed on whole."""
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def damaging(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy on a free port; it passes one request a connection."""
    parts = urlsplit(upstream)
    proxy = Proxy("")
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await _pass_on(proxy, parts.hostname or "", parts.port or 0, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.sleep(0)


async def _pass_on(
    proxy: Proxy, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    proxy.requests.append(head)
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    if proxy.cut_request_at is not None and proxy.only in head and proxy.cut_request_at < length:
        await reader.readexactly(proxy.cut_request_at)
        writer.transport.abort()
        return
    body = await reader.readexactly(length)
    lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
    up_reader, up_writer = await asyncio.open_connection(host, port)
    up_writer.write(b"\r\n".join([*lines, b"connection: close", b"", b""]) + body)
    answer = await up_reader.read()
    up_writer.close()
    ending = "close"
    if proxy.damage is not None and proxy.only in head:
        answer, ending = proxy.damage(answer)
    writer.write(answer)
    await writer.drain()
    if ending == "stall":
        await asyncio.sleep(60)
    elif ending == "reset":
        writer.transport.abort()


def at_random(dice: random.Random) -> Damage:
    """A damage of a random kind at a random place of the body."""

    def damage(answer: bytes) -> tuple[bytes, str]:
        head, _, body = answer.partition(b"\r\n\r\n")
        if not _without_framing(head, body):
            return answer, "close"
        place = dice.randrange(len(body) + 1)
        match dice.choice(["cut", "reset", "truncate", "duplicate", "corrupt", "stall", "none"]):
            case "cut":
                return head + b"\r\n\r\n" + body[:place], "close"
            case "reset":
                return head + b"\r\n\r\n" + body[:place], "reset"
            case "truncate":
                # No length and no chunks: only the lines tell that something is missing.
                plain = _without_framing(head, body)
                end = dice.randrange(len(plain) + 1)
                return _unframed(head) + plain[:end], "close"
            case "duplicate":
                # With the framing as it was: without it nobody could tell a text that says a part of itself twice.
                start = dice.randrange(len(body))
                end = dice.randrange(start, len(body)) + 1
                return head + b"\r\n\r\n" + body[:end] + body[start:], "close"
            case "corrupt":
                spoilt = bytearray(_without_framing(head, body))
                # A byte that no JSON holds: another letter in a text could be told by nobody.
                spoilt[dice.randrange(len(spoilt))] = dice.choice(b"\x00\x01\x1f\xff\xfe\xc0")
                return _unframed(head) + bytes(spoilt), "close"
            case "stall":
                return head + b"\r\n\r\n" + body[:place], "stall"
            case _:
                return answer, "close"

    return damage


def _unframed(head: bytes) -> bytes:
    kept = [
        line
        for line in head.split(b"\r\n")
        if not line.lower().startswith((b"transfer-encoding:", b"content-length:", b"connection:"))
    ]
    return b"\r\n".join([*kept, b"connection: close", b"", b""])


def _without_framing(head: bytes, body: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    plain = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        plain += rest[:length]
        body = rest[length + 2 :]
        if not length:
            break
    return plain
