"""Receipts: one for each act that destroys, written before it and completed after it."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_batch_tools.cli import main
from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Connect, SandboxTransport
from tests.support.consent import answering
from tests.support.raw import over_streams
from tests.support.requests import request
from tests.support.upstream import acts

pytestmark = pytest.mark.anyio

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def receipts(capsys: Capture) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["receipts", "--json"]) == 0
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return shown


async def test_each_act_leaves_one_receipt_that_explains_it(
    connect: Connect, sandbox: Sandbox, capsys: Capture, era: str
) -> None:
    ended = sandbox.add_batch({"succeeded": 3, "errored": 1}, key=KEY)
    running = sandbox.add_batch(2, key=KEY, status="in_progress")
    async with connect(era) as assistant:
        await assistant.call("delete_message_batch", message_batch_id=ended)
        await assistant.call("cancel_message_batch", message_batch_id=running)
    deleted, canceled = receipts(capsys)
    assert deleted["action"] == "delete"
    assert deleted["message_batch_id"] == ended
    assert deleted["request_counts"] == {"processing": 0, "succeeded": 3, "errored": 1, "canceled": 0, "expired": 0}
    assert deleted["consent"] == "host approval"
    assert deleted["outcome"] == "done"
    assert deleted["request_id"].startswith("req_")
    assert deleted["client"].split()[0]
    assert deleted["time"] <= deleted["outcome_time"]
    assert (canceled["action"], canceled["outcome"]) == ("cancel", "done")


@pytest.mark.parametrize(
    ("capabilities", "settings", "consent"),
    [
        ({"elicitation": {}}, {}, "asked and accepted"),
        ({}, {}, "host approval"),
        ({}, {"destructive": "allow"}, "policy allow"),
    ],
)
async def test_a_receipt_says_how_it_was_consented_to_and_by_which_client(
    sandbox: Sandbox,
    clock: Clock,
    capsys: Capture,
    era: str,
    capabilities: dict[str, Any],
    settings: dict[str, Any],
    consent: str,
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    server = create_server(Settings.load(api_key=KEY, **settings), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, era, capabilities) as raw:
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("accept"))
    (receipt,) = receipts(capsys)
    assert receipt["consent"] == consent
    assert receipt["client"] == "raw-client 7.1"


async def test_what_changes_nothing_leaves_no_receipt(
    connect: Connect, sandbox: Sandbox, clock: Clock, state: Path, capsys: Capture
) -> None:
    running = sandbox.add_batch(3, key=KEY, status="in_progress")
    ended = sandbox.add_batch(3, key=KEY)
    async with connect() as assistant:
        await assistant.call("list_message_batches")
        await assistant.call("delete_message_batch", message_batch_id=running)
        await assistant.call("cancel_message_batch", message_batch_id=ended)
        await assistant.fail("delete_message_batch", message_batch_id="msgbatch_none")
    assert not list(state.parent.glob("state*"))
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, "2026-07-28", {"elicitation": {}}) as raw:
        await raw.call("delete_message_batch", {"message_batch_id": ended}, answering("decline"))
    assert receipts(capsys) == []


class _Watching(SandboxTransport):
    """Runs a check whenever a request arrives that changes something."""

    def __init__(self, sandbox: Sandbox, check: Callable[[], None]) -> None:
        super().__init__(sandbox)
        self._check = check

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "GET":
            self._check()
        return await super().handle_async_request(request)


async def test_the_intent_is_written_before_the_request_leaves(
    connect: Connect, sandbox: Sandbox, capsys: Capture
) -> None:
    seen: list[str] = []
    batch = sandbox.add_batch(3, key=KEY)
    transport = _Watching(sandbox, lambda: seen.extend(receipt["outcome"] for receipt in receipts(capsys)))
    async with connect(transport=transport) as assistant:
        await assistant.call("delete_message_batch", message_batch_id=batch)
    assert seen == ["unknown: check"]
    assert [receipt["outcome"] for receipt in receipts(capsys)] == ["done"]


@pytest.mark.parametrize(
    ("fault", "outcome", "note"),
    [
        (Fault("delete", status=400), "failed", "HTTP 400"),
        (Fault("delete", status=403), "failed", "HTTP 403"),
        (Fault("delete", status=404), "failed", "HTTP 404"),
        (Fault("delete", status=500), "unknown: check", None),
        (Fault("delete", body=b"{}"), "unknown: check", None),
        (Fault("delete", cut="before"), "unknown: check", None),
    ],
)
async def test_the_outcome_says_what_is_known(
    connect: Connect, sandbox: Sandbox, capsys: Capture, fault: Fault, outcome: str, note: str | None
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    fault.times = 9
    sandbox.faults.append(fault)
    async with connect() as assistant:
        await assistant.fail("delete_message_batch", message_batch_id=batch)
    (receipt,) = receipts(capsys)
    assert (receipt["outcome"], receipt["note"]) == (outcome, note)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_repeat_of_a_delete_without_an_answer_completes_its_receipt(
    connect: Connect, sandbox: Sandbox, capsys: Capture, lost: Any
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect() as assistant:
        sandbox.faults.append(Fault("delete", cut="before", times=2))
        sandbox.faults.append(Fault("delete", cut=lost))
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
        assert "is unknown" in said
        assert [receipt["outcome"] for receipt in receipts(capsys)] == ["unknown: check"]
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
        again = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert answer == {"id": batch, "type": "message_batch_deleted"}
    assert "already gone" in again
    outcomes = [receipt["outcome"] for receipt in receipts(capsys)]
    assert outcomes == (["failed", "done"] if lost == "before" else ["done"])  # one delete, one receipt that is done


@pytest.mark.parametrize(("lost", "outcome"), [("after", "done"), ("before", "failed")])
async def test_a_later_look_completes_the_receipt_of_a_cancellation_without_an_answer(
    connect: Connect, sandbox: Sandbox, clock: Clock, capsys: Capture, lost: Any, outcome: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress")
    sandbox.faults.append(Fault("cancel", cut=lost, times=3))
    async with connect() as assistant:
        await assistant.fail("cancel_message_batch", message_batch_id=batch)
        assert [receipt["outcome"] for receipt in receipts(capsys)] == ["unknown: check"]
        clock.advance(3600)
        await assistant.call("cancel_message_batch", message_batch_id=batch)
    assert [receipt["outcome"] for receipt in receipts(capsys)] == [outcome]


def _in_the_way(state: Path) -> None:
    state.write_text("a file where the folder should be")


def _a_folder_of_that_name(state: Path) -> None:
    (state / "ledger.db").mkdir(parents=True)


def _no_database(state: Path) -> None:
    state.mkdir()
    (state / "ledger.db").write_bytes(b"this is not a database, whatever its name says" * 99)


def _of_a_newer_version(state: Path) -> None:
    state.mkdir()
    with closing(sqlite3.connect(state / "ledger.db")) as ledger:
        ledger.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("broken", [_in_the_way, _a_folder_of_that_name, _no_database, _of_a_newer_version])
@pytest.mark.parametrize(
    ("tool", "status"), [("delete_message_batch", "ended"), ("cancel_message_batch", "in_progress")]
)
async def test_without_a_receipt_nothing_is_done(
    connect: Connect, sandbox: Sandbox, state: Path, tool: str, status: str, broken: Callable[[Path], None]
) -> None:
    batch = sandbox.add_batch(3, key=KEY, status=status)
    broken(state)
    async with connect() as assistant:
        said = await assistant.fail(tool, message_batch_id=batch)
    assert str(state) in said
    assert ("Nothing was deleted." if tool.startswith("delete") else "Nothing was canceled.") in said
    assert acts(sandbox) == 0


async def test_a_ledger_that_another_program_holds_stops_the_act_until_it_is_free(
    connect: Connect, sandbox: Sandbox, state: Path
) -> None:
    first, second = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY)
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=first)
        with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            said = await assistant.fail("delete_message_batch", message_batch_id=second)
            other.execute("ROLLBACK")
        assert "Another program holds the ledger" in said
        assert acts(sandbox) == 1
        await assistant.call("delete_message_batch", message_batch_id=second)


async def test_an_outcome_that_cannot_be_written_does_not_hide_the_answer(
    connect: Connect, sandbox: Sandbox, state: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY)
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=first)
    with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as other:

        def hold() -> None:
            other.execute("BEGIN IMMEDIATE")

        async with connect(transport=_Watching(sandbox, hold)) as assistant:
            answer = await assistant.call("delete_message_batch", message_batch_id=second)
    assert answer["type"] == "message_batch_deleted"
    assert "The outcome of an act could not be written" in caplog.text
    assert [receipt["outcome"] for receipt in receipts(capsys)] == ["done", "unknown: check"]


async def test_the_table_shows_open_receipts_and_no_control_characters(
    sandbox: Sandbox, clock: Clock, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.raw.INFO", {"name": "evil\x1b[2Jclient\u202e", "version": "1\n2"})
    batch = sandbox.add_batch(3, key=KEY)
    sandbox.faults.append(Fault("delete", cut="after", times=3))
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, "2025-11-25", {}) as raw:
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("accept"))
    capsys.readouterr()
    assert main(["receipts"]) == 0
    shown = capsys.readouterr().out
    head, row, _, hint = shown.splitlines()
    assert head.split()[:3] == ["time", "action", "batch"]
    assert batch in row
    assert "unknown: check" in row
    assert "evil\\u{1b}[2Jclient\\u{202e} 1\\u{a}2" in row
    assert "completes the receipt" in hint


def test_without_receipts_the_command_says_so_and_makes_no_file(capsys: Capture, state: Path) -> None:
    assert main(["receipts"]) == 0
    assert "No receipts yet" in capsys.readouterr().out
    assert receipts(capsys) == []
    assert not state.exists()


def test_receipts_that_cannot_be_read_are_told_in_one_sentence(capsys: Capture, state: Path) -> None:
    _no_database(state)
    assert main(["receipts"]) == 1
    assert str(state) in capsys.readouterr().err


async def test_a_sandbox_keeps_its_receipts_apart(connect: Connect, capsys: Capture) -> None:
    async with connect(sandbox=True, api_key=None) as assistant:
        listed = await assistant.call("list_message_batches", status="ended")
        await assistant.call("delete_message_batch", message_batch_id=listed["batches"][0]["id"])
    assert receipts(capsys) == []
    assert main(["receipts", "--sandbox", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


async def test_a_repeat_completes_receipts_of_its_own_batch_action_and_origin_only(
    connect: Connect, sandbox: Sandbox, capsys: Capture
) -> None:
    batches = [sandbox.add_batch(3, key=KEY) for _ in range(2)]
    running = sandbox.add_batch(3, key=KEY, status="in_progress", processing_seconds=9999)
    sandbox.faults += [Fault("delete", cut="before", times=6), Fault("cancel", cut="before", times=3)]
    async with connect() as assistant:
        for batch in batches:
            await assistant.fail("delete_message_batch", message_batch_id=batch)
        await assistant.fail("cancel_message_batch", message_batch_id=running)
    async with connect(api_key="sk-ant-of-another-workspace") as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batches[0])
    assert "already gone, or was never in the workspace of this key" in said
    assert {receipt["outcome"] for receipt in receipts(capsys)} == {"unknown: check"}
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=batches[0])
    open_ones = [row["message_batch_id"] for row in receipts(capsys) if row["outcome"] == "unknown: check"]
    assert open_ones == [batches[1], running]


@pytest.mark.parametrize("replaced", ["file", "folder", "link"])
async def test_a_ledger_that_is_replaced_while_the_server_runs_is_noticed_and_nothing_is_done(
    connect: Connect, sandbox: Sandbox, state: Path, tmp_path: Path, replaced: str
) -> None:
    first, second = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY)
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=first)
        if replaced == "file":
            (state / "ledger.db").unlink()
        else:
            state.rename(tmp_path / "aside")
        if replaced == "link":
            (tmp_path / "elsewhere").mkdir()
            state.symlink_to(tmp_path / "elsewhere")
        said = await assistant.fail("delete_message_batch", message_batch_id=second)
    assert "was replaced or removed while the server ran" in said
    assert acts(sandbox) == 1


async def test_a_locked_ledger_hides_nothing_where_nothing_is_to_be_done(
    connect: Connect, sandbox: Sandbox, clock: Clock, state: Path
) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress")
    async with connect() as assistant:
        await assistant.call("cancel_message_batch", message_batch_id=batch)
        with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
            other.execute("ROLLBACK")
    assert answer["outcome"] == "already_canceling"


async def test_the_ledger_is_for_its_user_only_and_a_client_name_is_cut_and_holds_no_key(
    sandbox: Sandbox, clock: Clock, capsys: Capture, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.raw.INFO", {"name": f"{KEY} {'long ' * 1000}", "version": "1"})
    batch = sandbox.add_batch(3, key=KEY)
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, "2025-11-25", {}) as raw:
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("accept"))
    (receipt,) = receipts(capsys)
    assert receipt["client"].startswith("[redacted] long long")
    assert len(receipt["client"]) == 100
    assert (state / "ledger.db").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("version", [1, 2, 3, 6])
async def test_a_ledger_of_another_version_is_refused_in_one_sentence(
    connect: Connect, sandbox: Sandbox, capsys: Capture, state: Path, version: int
) -> None:
    first, second = sandbox.add_batch(1, key=KEY), sandbox.add_batch(1, key=KEY)
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=first)
    with closing(sqlite3.connect(state / "ledger.db")) as ledger:
        ledger.execute(f"PRAGMA user_version = {version}")
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=second)
    assert "another version" in said
    assert acts(sandbox) == 1
    capsys.readouterr()
    assert main(["receipts"]) == 1
    assert "another version" in capsys.readouterr().err


async def test_a_folder_that_others_can_write_to_is_not_used(connect: Connect, sandbox: Sandbox, state: Path) -> None:
    batch = sandbox.add_batch(1, key=KEY)
    state.mkdir()
    state.chmod(0o777)
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert "Other users of this machine can write" in said
    assert acts(sandbox) == 0


async def test_receipts_can_be_chosen_by_time_batch_and_number(
    connect: Connect, sandbox: Sandbox, clock: Clock, capsys: Capture
) -> None:
    batches = []
    async with connect() as assistant:
        for _ in range(3):
            batches.append(sandbox.add_batch(1, key=KEY))
            await assistant.call("delete_message_batch", message_batch_id=batches[-1])
            clock.advance(86400)

    def chosen(*options: str) -> list[str]:
        capsys.readouterr()
        assert main(["receipts", "--json", *options]) == 0
        return [receipt["message_batch_id"] for receipt in json.loads(capsys.readouterr().out)]

    assert chosen() == batches
    assert chosen("--since", "2026-11-04") == batches[1:]
    assert chosen("--since", "2026-11-05T08:59:00Z") == batches[2:]
    assert chosen("--batch", batches[1]) == [batches[1]]
    assert chosen("--limit", "2") == batches[1:]
    assert chosen("--limit", "1", "--since", "2026-11-03", "--batch", batches[0]) == [batches[0]]
    assert main(["receipts", "--since", "yesterday"]) == 2
    assert "2026-11-03" in capsys.readouterr().err


async def test_a_key_that_a_caller_writes_anywhere_does_not_reach_the_ledger(
    connect: Connect, sandbox: Sandbox, state: Path
) -> None:
    ended = sandbox.add_batch(3, key=KEY)
    sent = [request("a", model=f"claude-{KEY}"), request("b")]
    async with connect(ask_above_usd=1e9) as assistant:
        call = assistant.client.call_tool
        await call("save_message_batch_results", {"message_batch_id": ended, "path": f"{KEY}.jsonl"})
        await call("create_message_batch", {"requests": sent, "label": KEY, "allow_duplicate": True})
        await assistant.call("delete_message_batch", message_batch_id=ended)
    held = b"".join(file.read_bytes() for file in state.iterdir())
    assert b"[redacted].jsonl" in held
    assert KEY.encode() not in held


async def test_a_receipt_of_a_create_that_still_runs_says_nothing_of_its_outcomes(
    connect: Connect, capsys: Capture
) -> None:
    async with connect() as assistant:
        await assistant.call("create_message_batch", requests=[request("a")])
    assert main(["receipts"]) == 0
    told = capsys.readouterr().out
    assert "create" in told
    assert "succeeded" not in told
