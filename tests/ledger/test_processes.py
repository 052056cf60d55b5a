"""The ledger under real processes: one that is killed, two that share the file, a disk that is full."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Fault, Sandbox
from tests.conftest import KEY
from tests.support.processes import Server, limit_file_size, started
from tests.support.serving import served

pytestmark = pytest.mark.slow


def receipts() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "mcp_batch_tools", "receipts", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown: list[dict[str, Any]] = json.loads(done.stdout)
    return shown


@pytest.mark.parametrize("acted", [False, True])
def test_after_a_kill_the_receipt_says_unknown_and_a_repeat_of_the_delete_completes_it(acted: bool) -> None:
    sandbox = Sandbox()
    batch = sandbox.add_batch(key=KEY)
    with served(sandbox) as address:
        with started(address) as server:
            sandbox.faults.append(Fault("delete", delay=600))
            call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
            server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": call})
            _until(lambda: "DELETE" in [received.method for received in sandbox.received])
            server.process.kill()
        assert [receipt["outcome"] for receipt in receipts()] == ["unknown: check"]
        if acted:
            sandbox.remove_batch(batch, key=KEY)
        with started(address) as server:
            said = server.call("delete_message_batch", message_batch_id=batch)
            assert said["structuredContent"] == {"id": batch, "type": "message_batch_deleted"}
        told = receipts()
        assert [receipt["outcome"] for receipt in told] == (["done"] if acted else ["failed", "done"])


@pytest.mark.parametrize("acted", [False, True])
def test_after_a_kill_in_the_middle_of_a_create_a_new_start_sends_nothing_twice(acted: bool, tmp_path: Path) -> None:
    sandbox = Sandbox()
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}
    arguments = {"requests": [{"custom_id": f"r{number}", "params": params} for number in range(7)]}

    def creates() -> int:
        asked = [(received.method, received.path) for received in sandbox.received]
        return asked.count(("POST", "/v1/messages/batches"))

    with served(sandbox) as address:
        with started(address) as server:
            sandbox.faults.append(Fault("create", delay=600))
            call = {"name": "create_message_batch", "arguments": arguments}
            server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": call})
            _until(lambda: creates() and _sent(tmp_path / "state" / "ledger.db"))
            server.process.kill()
        assert [receipt["outcome"] for receipt in receipts()] == ["unknown: check"]
        if acted:
            batch = sandbox.add_batch(7, key=KEY, status="in_progress")
        with started(address) as server:
            soon = server.call("create_message_batch", **arguments)["structuredContent"]
            with closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as ledger:
                # As when eleven minutes are over.
                ledger.execute("update submissions set lease_expires_at = 0")
                ledger.commit()
            then = server.call("create_message_batch", **arguments)["structuredContent"]
        assert creates() == 1
    assert soon["reason"] == "unknown_outcome"
    assert "at this moment" in soon["message"]
    if acted:
        assert then["reason"] == "already_created"
        assert [one["id"] for one in then["batches"]] == [batch]
        assert "was found in the list" in then["message"]
    else:
        assert then["reason"] == "unknown_outcome"


def test_two_servers_and_a_thousand_deletes_at_once_leave_a_thousand_receipts() -> None:
    sandbox = Sandbox()
    batches = [sandbox.add_batch(key=KEY) for _ in range(1000)]
    with served(sandbox) as address, started(address) as first, started(address) as second:

        def delete_all(server: Server, own: list[str]) -> None:
            for number, batch in enumerate(own, start=1000):
                call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
                server.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call})
            assert server.process.stdout is not None
            for _ in own:
                answer = json.loads(server.process.stdout.readline())
                assert answer["result"]["structuredContent"]["type"] == "message_batch_deleted", answer

        failed: list[BaseException] = []

        def run(server: Server, own: list[str]) -> None:
            try:
                delete_all(server, own)
            except BaseException as error:  # noqa: BLE001  told in the main thread
                failed.append(error)

        threads = [
            threading.Thread(target=run, args=(first, batches[::2])),
            threading.Thread(target=run, args=(second, batches[1::2])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failed == []
        told = receipts()
    assert Counter(receipt["message_batch_id"] for receipt in told) == Counter(batches)
    assert {receipt["outcome"] for receipt in told} == {"done"}


def test_on_a_full_disk_nothing_is_deleted_and_the_answer_says_why() -> None:
    sandbox = Sandbox()
    first, second = sandbox.add_batch(key=KEY), sandbox.add_batch(key=KEY)
    with served(sandbox) as address, started(address) as server:
        server.call("delete_message_batch", message_batch_id=first)
        limit_file_size(server.process, 8192)
        said = server.call("delete_message_batch", message_batch_id=second)
        assert said["isError"]
        assert "The receipt of this delete cannot be written" in said["content"][0]["text"]
        assert [received.method for received in sandbox.received].count("DELETE") == 1


def test_servers_that_start_at_once_on_a_new_folder_all_get_their_ledger() -> None:
    sandbox = Sandbox()
    batches = [sandbox.add_batch(key=KEY) for _ in range(4)]
    with served(sandbox) as address:
        servers = [started(address) for _ in batches]
        running = [server.__enter__() for server in servers]
        for server, batch in zip(running, batches, strict=True):
            call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
            server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": call})
        for server in running:
            assert server.process.stdout is not None
            answer = json.loads(server.process.stdout.readline())
            assert not answer["result"].get("isError"), answer
        for entered in servers:
            entered.__exit__(None, None, None)
    assert len(receipts()) == 4


def _sent(ledger: Path) -> bool:
    with closing(sqlite3.connect(ledger)) as connection:
        return bool(connection.execute("select count(*) from submissions where state = 'sent'").fetchone()[0])


def _until(held: Any) -> None:
    deadline = time.monotonic() + 20
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0)
