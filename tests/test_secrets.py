"""A known key is driven through everything, and found nowhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Fault, Sandbox
from tests.conftest import KEY
from tests.support.processes import Server, launched, started
from tests.support.serving import served

pytestmark = pytest.mark.slow

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
PARAMS = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
ENDPOINTS = {
    "list_message_batches": ["list"],
    "get_message_batch": ["retrieve"],
    "create_message_batch": ["list"],  # the create itself is looked for in the list for seconds where it fails
    "cancel_message_batch": ["retrieve", "cancel"],
    "delete_message_batch": ["retrieve", "delete"],
    "read_message_batch_results": ["retrieve", "results"],
    "save_message_batch_results": ["retrieve", "results"],
}
STATUSES = [400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 504, 529]


def _echo(key: str, batch: str) -> bytes:
    return (
        f'{{"id": "{batch}", "type": "message_batch", "processing_status": "{key}", "request_counts": {{}}, '
        f'"created_at": "2026-11-03T09:00:00Z", "results_url": "http://x/{key}", "{key}": "{key}"}}'
    ).encode()


def _error(key: str) -> bytes:
    details = f'{{"error_code": "{key}"}}'
    return (
        f'{{"type": "error", "error": {{"type": "{key}", "message": "no: {key}", "details": {details}}}, '
        f'"request_id": "{key}"}}'
    ).encode()


def test_the_key_is_found_nowhere_also_where_the_api_echoes_it(era: str, tmp_path: Path) -> None:
    sandbox = Sandbox()
    headers = {"request-id": KEY, "x-echo": KEY, "set-cookie": KEY, "x-should-retry": "false", "retry-after": KEY}
    with served(sandbox) as address, started(address, "--log-level", "debug", era=era) as server:
        tools = [tool["name"] for tool in server.ask("tools/list", {})["result"]["tools"]]
        for tool in tools:
            for key in (KEY, ESCAPED):
                _drive(server, sandbox, tool, key, headers)
        ended = sandbox.add_batch(key=KEY)
        sandbox.faults.append(Fault("delete", headers=headers))
        server.call("delete_message_batch", message_batch_id=ended)
        _, out, err = server.finish()
    shown = _shown_by("receipts") + _shown_by("receipts", "--json")
    environment = {**os.environ, "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": address}
    checked = _shown_by("check", "--log-level", "debug", environment=environment)
    ledger = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert "DEBUG" in err
    assert "[redacted]" in shown
    for text in (out, err, "".join(server.lines), shown, checked):
        assert KEY not in text
        assert ESCAPED not in text
    assert KEY.encode() not in ledger


def _drive(server: Server, sandbox: Sandbox, tool: str, key: str, headers: dict[str, str]) -> None:
    """Each error, and answers that echo the key, at each endpoint that the tool uses."""
    batch = sandbox.add_batch(key=KEY, status="in_progress" if tool.startswith("cancel") else "ended")
    arguments: dict[str, Any] = {"message_batch_id": batch}
    if tool == "list_message_batches":
        arguments = {}
    elif tool == "create_message_batch":
        arguments = {"requests": [{"custom_id": "a", "params": PARAMS}]}
    for endpoint in ENDPOINTS.get(tool, ("retrieve",)):
        for status in STATUSES:
            sandbox.faults[:] = [Fault(endpoint, status=status, body=_error(key), headers=headers)]
            server.call(tool, **arguments)
        sandbox.faults[:] = [Fault(endpoint, body=_echo(key, batch), headers=headers)]
        server.call(tool, **arguments)
        sandbox.faults[:] = [Fault(endpoint, status=302, headers={"location": f"http://127.0.0.1:1/{KEY}"})]
        server.call(tool, **arguments)
        sandbox.faults[:] = []
    server.call(tool, **{**arguments, KEY: KEY})
    server.call(tool, **dict.fromkeys(arguments or {"cursor": ""}, KEY))


def _shown_by(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mcp_batch_tools", *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return done.stdout + done.stderr


CRASHING = """
import sys
import httpx2
from mcp_batch_tools import cli, server

class Broken(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request):
        raise RuntimeError(f"a bug that tells everything: {request.headers.raw!r}")

create = server.create_server
cli.create_server = lambda settings: create(settings, transport=Broken())
sys.exit(cli.main([]))
"""


def test_a_crash_is_logged_with_its_traceback_and_without_the_key() -> None:
    with launched("-c", CRASHING, ANTHROPIC_API_KEY=KEY) as server:
        answer = server.call("list_message_batches")
        _, _, err = server.finish()
    assert answer["isError"]
    assert KEY not in json.dumps(answer)
    assert "Traceback" in err
    assert "a bug that tells everything" in err
    assert KEY not in err


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_a_key_that_cannot_be_used_is_not_repeated(name: str) -> None:
    shown = _shown_by("serve", environment={**os.environ, name: f"{KEY} and more"})
    assert name in shown
    assert KEY not in shown
