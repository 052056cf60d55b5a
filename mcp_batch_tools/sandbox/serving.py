"""The sandbox on a port of this machine."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_batch_tools.sandbox.faults import ConnectionCut


def serve(app: ASGIApp, *, port: int, ready: Callable[[str], None] = print) -> None:
    """Serve until interrupted, on 127.0.0.1 only; `ready` is told the address in a sentence. Port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    import uvicorn

    with socket.create_server(("127.0.0.1", port)) as listening:
        # asyncio does this only where the socket names its protocol; without it each answer waits for an old ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready(
            f"The sandbox stands in for the Message Batches API at http://127.0.0.1:{listening.getsockname()[1]} "
            "(any key works; Ctrl-C ends it)."
        )
        server = uvicorn.Server(
            uvicorn.Config(
                cutting(app),
                log_level="warning",
                lifespan="off",
                ws="none",
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        server.run(sockets=[listening])


def cutting(app: ASGIApp) -> ASGIApp:
    """The app behind a server: where it cuts a connection, the socket is closed without another byte.

    A client that goes away while it is sending is no error.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except ClientDisconnect:
            return
        except ConnectionCut:
            # ASGI has no word for this; uvicorn's `send` is a method of the cycle that holds the transport.
            transport: Any = getattr(send, "__self__").transport  # noqa: B009
            transport.abort()
            await asyncio.sleep(0)

    return wrapped
