"""The sandbox on a real port, for tests that need a real process or a real socket."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from mcp_batch_tools.sandbox import Sandbox
from mcp_batch_tools.sandbox.serving import cutting

PATIENCE = 60
"""Seconds for the server to start or end, which takes a fraction of one where nothing else runs."""


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """Serve a sandbox on a free port of 127.0.0.1; yields its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits for the last one's ACK
    server = uvicorn.Server(
        uvicorn.Config(
            cutting(sandbox),
            log_level="error",
            ws="none",
            lifespan="off",
            date_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)  # it still needs the socket, however long it takes on a busy machine
        listening.close()
