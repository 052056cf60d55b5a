"""The server as its users run it: a process that speaks raw JSON-RPC over pipes."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Fault, Sandbox
from tests.conftest import KEY
from tests.support.processes import launched, started
from tests.support.serving import served

pytestmark = pytest.mark.slow


def test_the_whole_story_over_a_real_wire(era: str) -> None:
    sandbox = Sandbox(processing_seconds=600, canceling_seconds=0)
    ended = sandbox.add_batch(key=KEY)
    running = sandbox.add_batch(key=KEY, status="in_progress", age=1)
    with served(sandbox) as address, started(address, era=era) as server:
        names = [tool["name"] for tool in server.ask("tools/list", {})["result"]["tools"]]
        assert {"list_message_batches", "get_message_batch", "delete_message_batch"} <= set(names)
        deleted = server.call("delete_message_batch", message_batch_id=ended)
        assert deleted["structuredContent"] == {"id": ended, "type": "message_batch_deleted"}
        assert json.loads(deleted["content"][0]["text"]) == deleted["structuredContent"]
        refused = server.call("delete_message_batch", message_batch_id=running)
        assert refused["structuredContent"]["reason"] == "in_progress"
        for step in refused["structuredContent"]["next_steps"]:
            last = server.call(step["tool"], **step["arguments"])
        assert last["structuredContent"] == {"id": running, "type": "message_batch_deleted"}
        again = server.call("delete_message_batch", message_batch_id=running)
        assert again["isError"] is True
        deletes = [received.path for received in sandbox.received if received.method == "DELETE"]
        assert deletes == [f"/v1/messages/batches/{ended}", f"/v1/messages/batches/{running}"]


def test_the_server_exits_at_the_end_of_its_input_without_a_word() -> None:
    with served(Sandbox()) as address, started(address) as server:
        server.call("list_message_batches")
        assert server.finish() == (0, "", "")


def test_the_end_of_the_input_ends_a_call_that_is_waiting() -> None:
    sandbox = Sandbox(processing_seconds=600)
    running = sandbox.add_batch(key=KEY, status="in_progress", age=0)
    with served(sandbox) as address, started(address) as server:
        waiting = {"name": "get_message_batch", "arguments": {"message_batch_id": running, "wait_seconds": 50}}
        server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": waiting})
        server.call("list_message_batches")
        status, out, err = server.finish()
        assert status == 0
        assert json.loads(out)["id"] == 99
        assert "Traceback" not in err


def test_lines_that_cannot_be_read_are_answered_in_a_real_process_and_told_in_a_line_each() -> None:
    bad = [b"\xff\xfe", b'{"jsonrpc":"2.0","id":"' + KEY.encode() + b'",', b"[]", b"[" * 10_000, b"x" * 9_000_000]
    with launched("-m", "mcp_batch_tools") as server:
        assert server.process.stdin is not None
        with os.fdopen(os.dup(server.process.stdin.fileno()), "wb") as stdin:
            stdin.write(b"\xef\xbb\xbf" + b"\n".join([*bad, b""]))
        server.call("list_message_batches")
        status, _, err = server.finish()
        refused = [answer for answer in map(json.loads, server.lines) if "error" in answer]
        assert len(refused) == len(err.splitlines()) == len(bad)
        assert status == 0
        assert "Traceback" not in err
        assert KEY not in err


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_a_host_whose_pipes_do_not_wait_is_served() -> None:
    (stdin, ours), (answers, stdout) = os.pipe(), os.pipe()
    for descriptor in (stdin, stdout):
        os.set_blocking(descriptor, False)
    lists = [{"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(1, 41)]
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    with subprocess.Popen([sys.executable, "-m", "mcp_batch_tools"], stdin=stdin, stdout=stdout):
        os.close(stdin)
        os.close(stdout)
        with os.fdopen(answers) as lines, os.fdopen(ours, "w", buffering=1) as wire:
            wire.write(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}) + "\n")
            assert json.loads(lines.readline())["id"] == 0
            wire.write("".join(json.dumps(one) + "\n" for one in lists))
            wire.close()
            assert sorted(json.loads(line)["id"] for line in lines) == list(range(1, 41))


FLOODS: dict[str, tuple[str, dict[str, Any]]] = {
    "calls": ("tools/call", {"name": "list_message_batches", "arguments": {}}),
    "lists": ("tools/list", {}),
    "what is no message": ("", {}),
}


@pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux tells it")
@pytest.mark.parametrize(("method", "params"), FLOODS.values(), ids=FLOODS)
def test_a_client_that_reads_nothing_takes_little_memory_and_cannot_keep_the_server(
    method: str, params: dict[str, Any]
) -> None:
    with launched("-m", "mcp_batch_tools", "--sandbox") as server:
        server.call("list_message_batches")
        before = peak_memory(server.process.pid)
        for number in range(10_000):
            server.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params} if method else {})
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.poll() is None
        grown = 0
        while server.process.poll() is None:
            grown = max(grown, peak_memory(server.process.pid) - before)
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(1)
        assert server.process.returncode == 0
        assert "Traceback" not in server.errors()
        assert len(server.errors()) < 32_000
        assert grown < 32_000


def peak_memory(pid: int) -> int:
    """In kB; 0 of a process that has ended."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(told[1]) if told else 0


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_at_once_whose_answers_nobody_reads(sent: signal.Signals) -> None:
    with launched("-m", "mcp_batch_tools", "--sandbox") as server:
        for number in range(1000):
            server.send({"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {}})
        server.process.send_signal(sent)
        assert server.process.wait(10) == -sent
        assert server.errors() == ""


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_server_at_once_although_its_input_stays_open() -> None:
    with launched("-m", "mcp_batch_tools") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == -signal.SIGINT
        assert server.errors() == ""


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_server_that_is_starting_without_a_traceback() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mcp_batch_tools"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "pydantic_core" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_sandbox_without_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mcp_batch_tools", "sandbox", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert "127.0.0.1" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        assert process.returncode in {0, 130}


def test_debug_logging_holds_the_key_nowhere_also_where_the_api_echoes_it() -> None:
    sandbox = Sandbox()
    batch = sandbox.add_batch(key=KEY)
    echo = f'{{"type":"error","error":{{"type":"invalid_request_error","message":"your key is {KEY}"}}}}'.encode()
    with served(sandbox) as address, started(address, "--log-level", "debug") as server:
        sandbox.faults.append(Fault("retrieve", status=400, body=echo, headers={"request-id": KEY, "x-echo": KEY}))
        failed = server.call("get_message_batch", message_batch_id=batch)
        server.call("get_message_batch", message_batch_id=KEY)
        server.call("delete_message_batch", message_batch_id=batch)
        _, out, err = server.finish()
        assert "[redacted]" in failed["content"][0]["text"]
        assert "DEBUG" in err
        assert KEY not in err + out + "".join(server.lines)


def test_the_demo_walks_the_story_to_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mcp_batch_tools", "demo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert '"type": "message_batch_deleted"' in done.stdout
    assert "All steps went as told." in done.stdout


def test_without_a_key_the_server_starts_and_says_what_to_set() -> None:
    with launched("-m", "mcp_batch_tools") as server:
        assert "ANTHROPIC_API_KEY" in server.call("list_message_batches")["content"][0]["text"]


def test_a_client_that_does_not_listen_any_more_causes_no_traceback() -> None:
    with launched("-m", "mcp_batch_tools") as server:
        assert server.process.stdout is not None
        server.process.stdout.close()
        for number in range(3):
            server.send({"jsonrpc": "2.0", "id": 900 + number, "method": "tools/list", "params": {}})
        assert server.process.stdin is not None
        server.process.stdin.close()
        server.process.wait(20)
        assert "Traceback" not in server.errors()


def test_the_demo_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "httpx2.py").write_text("raise SystemExit(99)")
    command = str(Path(sys.executable).with_name("mcp-batch-tools"))
    done = subprocess.run([command, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
