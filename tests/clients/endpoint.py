"""Where a client finds a scripted model: a port of 127.0.0.1 that speaks the API of its maker."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


@dataclass(frozen=True)
class Answer:
    """The body of an answer: JSON, or with `stream` a stream of server-sent events."""

    text: str
    stream: bool = False


class Model(Protocol):
    """A model behind the port."""

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a request to this path, without its query."""


@contextmanager
def served_model(model: Model) -> Iterator[str]:
    """Serve a model on a free port; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._send(Answer(""))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            self._send(model.answer(self.path.partition("?")[0], body))

        def _send(self, answer: Answer) -> None:
            body = answer.text.encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if answer.stream else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
