"""Sending once under real processes: two servers that share a ledger, many equal calls at once, and kills."""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Fault, Sandbox
from mcp_batch_tools.submissions.states import ABSENT_AFTER
from tests.conftest import KEY
from tests.support.processes import Server, started
from tests.support.requests import request, write
from tests.support.serving import served
from tests.support.upstream import creates

pytestmark = pytest.mark.slow

CALLS = 200
STATES = {"claimed", "sent", "created", "not_created", "abandoned", "forgotten"}


def rows(state: Path) -> list[dict[str, Any]]:
    """The attempts in the ledger; none where it has not been made yet."""
    if not (state / "ledger.db").exists():
        return []
    with closing(sqlite3.connect(state / "ledger.db")) as ledger:
        ledger.row_factory = sqlite3.Row
        if not ledger.execute("select 1 from sqlite_master where name = 'submissions'").fetchone():
            return []
        return [dict(row) for row in ledger.execute("select * from submissions order by id")]


def change(state: Path, statement: str) -> None:
    """Change the ledger as time would: there is no clock to move in another process."""
    with closing(sqlite3.connect(state / "ledger.db")) as ledger:
        ledger.execute(statement)
        ledger.commit()


def until(held: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_once(servers: list[Server], arguments: dict[str, Any], calls: int) -> list[dict[str, Any]]:
    """So many equal creates, shared among the servers and sent without waiting for an answer."""
    answers: list[dict[str, Any]] = []

    def run(server: Server, number: int) -> None:
        for call in range(number):
            params = {"name": "create_message_batch", "arguments": arguments}
            server.send({"jsonrpc": "2.0", "id": 1000 + call, "method": "tools/call", "params": params})
        for _ in range(number):
            assert server.process.stdout is not None
            answers.append(json.loads(server.process.stdout.readline())["result"]["structuredContent"])

    threads = [threading.Thread(target=run, args=(server, calls // len(servers))) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return answers


def assert_described(state: Path) -> None:
    """No row is in a state that the table of states does not describe, and none is there twice."""
    found = rows(state)
    for row in found:
        assert row["state"] in STATES
        assert (row["message_batch_id"] is not None) == (row["state"] in {"created", "forgotten"})
        assert (row["evidence"] is not None) == (row["state"] in {"created", "forgotten"})
        assert row["state"] == "not_created" or (row["api_sent"] is None) == (row["state"] == "claimed")
    held = Counter(
        (row["fingerprint"], row["copy"]) for row in found if row["state"] not in {"not_created", "abandoned"}
    )
    assert set(held.values()) <= {1}


def test_two_processes_and_200_equal_creates_at_once_make_one_batch(tmp_path: Path) -> None:
    sandbox = Sandbox()
    arguments = {"requests": [request(f"r{number}") for number in range(3)]}
    with served(sandbox) as address, started(address) as one, started(address) as two:
        answers = at_once([one, two], arguments, CALLS)
        again = two.call("create_message_batch", **arguments)["structuredContent"]
    assert len(answers) == CALLS
    assert creates(sandbox) == 1
    kinds = Counter(answer.get("reason", "created") for answer in answers)
    assert kinds["created"] == 1
    assert set(kinds) <= {"created", "already_created", "unknown_outcome"}
    (made,) = [answer for answer in answers if answer["type"] == "message_batch_created"]
    assert again["batches"] == made["batches"]
    assert_described(tmp_path / "state")


def test_two_processes_and_200_retries_at_once_send_what_expired_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    monkeypatch.setenv("MCP_BATCH_TOOLS_REQUESTS_DIR", str(folder))
    name = write(folder, [request("good"), request("expired-1"), request("expired-2")])
    sandbox = Sandbox(processing_seconds=0.01)
    with served(sandbox) as address, started(address) as one, started(address) as two:
        first = one.call("create_message_batch", requests_file=name)["structuredContent"]["batches"][0]["id"]
        until(lambda: two.call("get_message_batch", message_batch_id=first)["structuredContent"].get("ended_at"))
        answers = at_once([one, two], {"requests_file": name, "retry_of": first}, CALLS)
        again = one.call("create_message_batch", requests_file=name, retry_of=first)["structuredContent"]
    assert len(answers) == CALLS
    assert creates(sandbox) == 2
    assert sum(answer["type"] == "message_batch_created" for answer in answers) == 1
    assert again["reason"] == "already_created"
    assert_described(tmp_path / "state")


@pytest.mark.parametrize("at", ["claimed", "sent", "sent, acted", "answered", "created", "not_created"])
def test_after_a_kill_in_any_state_nothing_is_sent_twice_and_the_next_server_finds_out(at: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    sandbox = Sandbox()
    large = at == "claimed"  # more than a socket holds, so that a part of it stays here
    requests = [request(f"r{n}", system="x" * (900_000 if large else 1)) for n in range(20)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in requests))
    arguments = {"requests_file": str(tmp_path / "r.jsonl")}
    with served(sandbox) as address:
        with (
            ExitStack() as held,
            started(address, "--requests-dir", str(tmp_path), "--ask-above-usd", "1000") as server,
        ):
            if at in {"claimed", "sent"}:
                sandbox.faults.append(Fault("create", delay=600))
            elif at == "sent, acted":
                sandbox.faults.append(Fault("create", cut="after"))
                sandbox.faults.append(Fault("list", delay=600, skip=1))
            elif at == "answered":
                server.call("create_message_batch", requests=[request("other")])
                sandbox.faults.append(Fault("create", delay=0.5))
            elif at == "not_created":
                sandbox.faults.append(Fault("create", status=403))
            params = {"name": "create_message_batch", "arguments": arguments}
            server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": params})
            match at:
                case "claimed" | "sent":
                    until(lambda: creates(sandbox) and [row["state"] for row in rows(state)] == [at])
                case "sent, acted":
                    until(lambda: creates(sandbox) and rows(state)[0]["lease_expires_at"] <= time.time() * 1000)
                case "answered":  # the answer comes while another program holds the ledger
                    until(lambda: rows(state)[-1]["state"] == "sent" and len(rows(state)) == 2)
                    holder = held.enter_context(closing(sqlite3.connect(state / "ledger.db", isolation_level=None)))
                    holder.execute("BEGIN IMMEDIATE")
                    time.sleep(1)
                case _:
                    until(lambda: [row["state"] for row in rows(state)] == [at])
            server.process.kill()
        sandbox.faults.clear()
        before = creates(sandbox)
        assert_described(state)
        change(state, "update submissions set lease_expires_at = 0 where state in ('claimed', 'sent')")
        with started(address, "--requests-dir", str(tmp_path), "--ask-above-usd", "1000") as server:
            then = server.call("create_message_batch", **arguments)["structuredContent"]
            if at == "sent":
                assert then["reason"] == "unknown_outcome"
                change(state, f"update submissions set api_sent = api_sent - {ABSENT_AFTER + 2000}")
                change(state, f"update submissions set api_claimed = api_claimed - {ABSENT_AFTER + 2000}")
                then = server.call("create_message_batch", **arguments)["structuredContent"]
    sent_again = at in {"claimed", "sent", "not_created"}
    assert then.get("reason", "created") == ("created" if sent_again else "already_created")
    assert creates(sandbox) == before + sent_again
    assert_described(state)
    assert KEY not in (state / "ledger.db").read_bytes().decode("latin-1")
