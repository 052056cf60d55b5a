"""The processes that are measured: servers over their pipes, and the upstream that answers at once."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OURS = (str(Path(sys.executable).with_name("mcp-batch-tools")),)
BARE = (sys.executable, str(HERE / "bare_server.py"))
MESSAGE_BATCH_ID = "msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"


class Connection:
    """A client that speaks JSON-RPC over the pipes of one server process."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], folder: Path | None = None) -> None:
        self._number = 0
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
        )
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        number = self.send(method, params)
        while (answer := self.receive()).get("id") != number:
            pass
        return answer

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; its number, by which its answer is known."""
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def receive(self) -> dict[str, Any]:
        """Wait for the next message."""
        assert self.process.stdout is not None
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a call, which must succeed."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]
        assert not result.get("isError"), json.dumps(result)[:600]
        facts: dict[str, Any] = result["structuredContent"]
        return facts

    def delete(self) -> None:
        """One delete, which must succeed."""
        facts = self.call("delete_message_batch", message_batch_id=MESSAGE_BATCH_ID)
        assert facts["type"] == "message_batch_deleted", facts

    def memory(self, which: str = "VmRSS") -> float:
        """Resident memory in MiB: now, or with `VmHWM` at its highest."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{which}:")[1].split()[0]) / 1024

    def close(self) -> None:
        """End the server by ending its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()


@contextmanager
def surroundings(results: Path | None = None, lines: int = 0) -> Iterator[tuple[dict[str, str], Path]]:
    """An upstream, and an environment that leads to it, in a folder that goes away: `(environment, folder)`.

    `results` is the file that it serves as the results of its batch, of so many `lines`.
    """
    arguments = [str(results), str(lines)] if results else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        upstream = subprocess.Popen([sys.executable, str(HERE / "upstream.py"), *arguments], stdout=subprocess.PIPE)
        try:
            assert upstream.stdout is not None
            yield _environment(int(upstream.stdout.readline()), folder), folder
        finally:
            upstream.kill()
            upstream.wait()


def _environment(port: int, folder: Path) -> dict[str, str]:
    # Without bytecode a start takes twice as long, whatever it is that starts.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in kept.items() if not name.startswith(("ANTHROPIC_", "MCP_BATCH_TOOLS_"))}
    return {
        **kept,
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": "sk-ant-benchmark-only",
        "MCP_BATCH_TOOLS_STATE_DIR": str(folder / "state"),
        "MCP_BATCH_TOOLS_RESULTS_DIR": str(folder / "results"),
        "MCP_BATCH_TOOLS_REQUESTS_DIR": str(folder),
        "MCP_BATCH_TOOLS_ASK_ABOVE_USD": "1000000",
    }
