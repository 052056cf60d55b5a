"""A server as its users run it: a process that speaks raw JSON-RPC over pipes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from tests.conftest import KEY

CLIENT = {"name": "raw", "version": "1"}


class Server:
    """A server process and the JSON-RPC lines to and from it. Standard error goes to a file, which never fills."""

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[str], era: str) -> None:
        self.process = process
        self._errors = errors
        self._era = era
        self._number = 0
        self.capabilities: dict[str, Any] = {}
        self.lines: list[str] = []
        if era == "2025-11-25":
            answer = self.ask("initialize", {"protocolVersion": era, "capabilities": {}, "clientInfo": CLIENT})
            assert answer["result"]["protocolVersion"] == era
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def finish(self) -> tuple[int, str, str]:
        """End its input and wait for it: status, what was left on standard output, and standard error."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out, self.errors()

    def errors(self) -> str:
        """What is on standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        if self._era == "2026-07-28":
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self._era,
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            }
        self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            self.lines.append(line)
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._number:
                return answer

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        result: dict[str, Any] = answer["result"]
        return result


@contextmanager
def launched(*command: str, era: str = "2025-11-25", **environment: str) -> Iterator[Server]:
    """A server process; `command` is what follows `python`."""
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **environment},
        ) as process,
    ):  # fmt: skip
        try:
            yield Server(process, errors, era)
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def started(address: str, *flags: str, era: str = "2025-11-25") -> Iterator[Server]:
    """The server with a key, and the API at this address."""
    with launched(
        "-m", "mcp_batch_tools", *flags, era=era, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=address
    ) as server:
        yield server


def limit_file_size(process: "subprocess.Popen[str]", size: int) -> None:
    """Let a process write no file beyond `size` bytes, as on a disk that is full."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits another process")
    import resource

    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
