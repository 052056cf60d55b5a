"""Start, call and memory of the server beside a bare `MCPServer`, as ratios measured in one run.

    uv run python benchmarks/overhead.py [--starts 15] [--calls 400]

Both servers alternate, so that a noisy machine disturbs both alike. `start` is from the start of the process to the
answer to its first `tools/list`; `call` is one `delete_message_batch` over stdio against an upstream that answers at
once, with the receipt that ours writes; `memory` is resident memory, before the first call and after the last.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVERS = {
    "bare": [sys.executable, str(HERE / "bare_server.py")],
    "ours": [str(Path(sys.executable).with_name("mcp-batch-tools"))],
}

Memory = dict[str, float]


class Connection:
    """A client that speaks JSON-RPC over the pipes of one server process."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._number = 0
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def delete(self) -> None:
        """One delete, which must succeed."""
        arguments = {"message_batch_id": "msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"}
        answer = self.ask("tools/call", {"name": "delete_message_batch", "arguments": arguments})
        assert answer["result"]["structuredContent"]["type"] == "message_batch_deleted", answer

    def memory(self, which: str = "VmRSS") -> float:
        """Resident memory in MiB: now, or with `VmHWM` at its highest."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{which}:")[1].split()[0]) / 1024

    def close(self) -> None:
        """End the server by ending its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    upstream = subprocess.Popen([sys.executable, str(HERE / "upstream.py")], stdout=subprocess.PIPE)
    assert upstream.stdout is not None
    port = int(upstream.stdout.readline())
    with tempfile.TemporaryDirectory() as state:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "sk-ant-benchmark-only",
            "XDG_STATE_HOME": state,
        }
        try:
            starts = _starts(environment, options.starts)
            calls, before, after = _calls(environment, options.calls)
        finally:
            upstream.kill()
            upstream.wait()
    _show("start", starts, 1000, "ms")
    _show("call", calls, 1000, "ms")
    for when, memory in (("before the first call", before), ("after the last", after)):
        print(
            f"memory  {when}: bare {memory['bare']:.1f} MiB, ours {memory['ours']:.1f} MiB, difference "
            f"{memory['ours'] - memory['bare']:+.1f} MiB"
        )


def _starts(environment: dict[str, str], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in SERVERS}
    for number in range(rounds + 1):
        for name, command in SERVERS.items():
            begin = time.perf_counter()
            connection = Connection(command, environment)
            connection.ask("tools/list", {})
            if number:  # the first round compiles bytecode
                taken[name].append(time.perf_counter() - begin)
            connection.close()
    return taken


def _calls(environment: dict[str, str], rounds: int) -> tuple[dict[str, list[float]], Memory, Memory]:
    taken: dict[str, list[float]] = {name: [] for name in SERVERS}
    connections = {name: Connection(command, environment) for name, command in SERVERS.items()}
    for connection in connections.values():
        connection.ask("tools/list", {})
    before = {name: connection.memory() for name, connection in connections.items()}
    for number in range(rounds + 20):
        for name, connection in connections.items():
            begin = time.perf_counter()
            connection.delete()
            if number >= 20:
                taken[name].append(time.perf_counter() - begin)
    after = {name: connection.memory() for name, connection in connections.items()}
    for connection in connections.values():
        connection.close()
    return taken, before, after


def _show(what: str, taken: dict[str, list[float]], unit: float, name: str) -> None:
    ratios = sorted(ours / bare for bare, ours in zip(taken["bare"], taken["ours"], strict=True))
    quarter = len(ratios) // 4
    print(
        f"{what:7} bare {statistics.median(taken['bare']) * unit:.2f} {name}, "
        f"ours {statistics.median(taken['ours']) * unit:.2f} {name}, ratio of medians "
        f"{statistics.median(taken['ours']) / statistics.median(taken['bare']):.2f}, middle half of the paired ratios "
        f"{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"
    )


if __name__ == "__main__":
    main()
