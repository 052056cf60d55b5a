"""Who decides: every kind of client, by policy, by answer. Without a consent nothing reaches the API."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Connect, SandboxTransport
from tests.support.consent import answering
from tests.support.raw import Person, RawClient, over_stateless_http, over_streams
from tests.support.upstream import acts

pytestmark = pytest.mark.anyio

CLIENTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "2025 with a form": ("2025-11-25", {"elicitation": {"form": {}}}),
    "2025 with a bare elicitation": ("2025-11-25", {"elicitation": {}}),
    "2025 with both ways": ("2025-11-25", {"elicitation": {"form": {}, "url": {}}}),
    "2025 without": ("2025-11-25", {}),
    "2025 by URL only": ("2025-11-25", {"elicitation": {"url": {}}}),
    "2026 with a form": ("2026-07-28", {"elicitation": {"form": {}}}),
    "2026 without": ("2026-07-28", {}),
    "2026 by URL only": ("2026-07-28", {"elicitation": {"url": {}}}),
    "2025 stateless": ("2025-11-25", None),
}
ABLE = {"2025 with a form", "2025 with a bare elicitation", "2025 with both ways", "2026 with a form"}
ANSWERS = [
    "accept",
    "keep",
    "decline",
    "dismiss",
    "malformed",
    "another word",
    "empty",
    "nothing",
    "error",
    "disconnect",
]
TOOLS = {"delete_message_batch": "ended", "cancel_message_batch": "in_progress"}


@asynccontextmanager
async def connected(sandbox: Sandbox, clock: Clock, name: str, **settings: Any) -> AsyncIterator[RawClient]:
    server = create_server(Settings.load(api_key=KEY, **settings), transport=SandboxTransport(sandbox), clock=clock)
    era, capabilities = CLIENTS[name]
    if capabilities is None:
        async with over_stateless_http(server) as stateless:
            yield stateless
    else:
        async with over_streams(server, era, capabilities) as client:
            yield client


FAST, SLOW = 0.02, 3.0
NO_DECISION = {"malformed", "another word", "empty", "nothing", "error"}


def expected(policy: str, client: str, answer: str, seconds: float) -> str:
    """The contract, as one table: how an act is granted, or why it does not happen."""
    if policy in {"allow", "block"}:
        return {"allow": "policy allow", "block": "not listed"}[policy]
    if client not in ABLE:
        return "host approval" if policy == "ask" and client != "2025 stateless" else "cannot_ask"
    if answer == "disconnect":
        return "gone"
    if answer in NO_DECISION:
        return "not_shown"
    if seconds == FAST:
        return "accepted by the client itself" if answer == "accept" and policy == "ask" else "not_shown"
    return "asked and accepted" if answer == "accept" else "declined"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("policy", ["ask", "require", "allow", "block"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("seconds", [FAST, SLOW])
async def test_an_act_happens_only_where_the_contract_says_so(
    sandbox: Sandbox,
    clock: Clock,
    person: Person,
    tmp_path: Path,
    tool: str,
    policy: str,
    client: str,
    seconds: float,
) -> None:
    person.seconds = seconds
    for how in ANSWERS:
        batch = sandbox.add_batch(5, key=KEY, status=TOOLS[tool])
        sandbox.received.clear()
        async with connected(sandbox, clock, client, destructive=policy) as raw:
            said = await raw.call(tool, {"message_batch_id": batch}, answering(how))
            right = expected(policy, client, how, seconds)
            refused = right in {"not listed", "cannot_ask", "gone", "not_shown", "declined"}
            assert acts(sandbox) == (not refused), (how, said)
            if not refused:
                assert said is not None
                assert not said["result"].get("isError"), said
                assert granted(tmp_path, batch) == [right]
            elif said is not None and policy != "block":
                facts = said["result"]["structuredContent"]
                assert (facts["id"], facts["reason"]) == (batch, right), (how, facts)
                await confirm(raw, sandbox, tmp_path, facts, policy)


async def confirm(raw: RawClient, sandbox: Sandbox, tmp_path: Path, facts: dict[str, Any], policy: str) -> None:
    """Where nobody can have decided, the call in `next_steps` acts, once; else there is no way on."""
    if facts["reason"] == "declined" or policy == "require":
        assert facts["next_steps"] == []
        assert "Nothing was changed" in facts["message"]
        assert "Do not retry, and do not work around it" in facts["message"]
        return
    (step,) = facts["next_steps"]
    assert "Put it to the user in the conversation" in facts["message"]
    assert f"{facts['id']}" in facts["message"]
    said = await raw.call(step["tool"], step["arguments"], answering("disconnect"))
    assert said is not None
    assert not said["result"].get("isError"), said
    assert acts(sandbox) == 1
    assert granted(tmp_path, facts["id"]) == ["confirmed in the conversation"]


def granted(tmp_path: Path, batch: str) -> list[str]:
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT consent FROM receipts WHERE message_batch_id = ?", [batch])
        return [consent for (consent,) in rows]


async def test_the_question_before_a_delete_names_what_will_be_lost(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch({"succeeded": 4812, "errored": 88}, key=KEY)
    async with connected(sandbox, clock, "2026 with a form") as raw:
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("decline"))
    assert raw.asked[0]["message"] == (
        f"Delete {batch} for good? 4,812 succeeded results and 88 errors (created 3 Nov 2026, 4,900 requests) were "
        "never saved here and would otherwise last until 2 Dec 2026."
    )
    assert raw.asked[0]["requestedSchema"]["properties"]["choice"]["enum"] == ["delete", "keep", "save, then delete"]


async def test_the_question_before_a_cancel_names_what_stops_and_what_is_billed(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch(4900, key=KEY, status="in_progress")
    async with connected(sandbox, clock, "2025 with a form") as raw:
        await raw.call("cancel_message_batch", {"message_batch_id": batch}, answering("decline"))
    assert raw.asked[0]["message"].startswith(f"Stop {batch}?")
    assert "Up to 4,900 requests still run" in raw.asked[0]["message"]
    assert "stay in its results, and are billed" in raw.asked[0]["message"]


@pytest.mark.parametrize("client", sorted(ABLE))
async def test_nobody_is_asked_where_nothing_can_be_lost(sandbox: Sandbox, clock: Clock, client: str) -> None:
    archived = sandbox.add_batch(3, key=KEY, age=30 * 86400)
    stopped = sandbox.add_batch({"canceled": 2, "expired": 1}, key=KEY)
    async with connected(sandbox, clock, client, destructive="require") as raw:
        for batch in (archived, stopped):
            said = await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("disconnect"))
            assert said is not None
            assert said["result"]["structuredContent"] == {"id": batch, "type": "message_batch_deleted"}
        running = sandbox.add_batch(3, key=KEY, status="in_progress")
        for tool, batch in (("delete_message_batch", running), ("cancel_message_batch", stopped)):
            await raw.call(tool, {"message_batch_id": batch}, answering("disconnect"))
        assert raw.asked == []


async def test_errors_alone_can_be_lost_too(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch({"errored": 3}, key=KEY)
    async with connected(sandbox, clock, "2026 with a form") as raw:
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("keep"))
    assert acts(sandbox) == 0


async def test_a_question_costs_one_look_more_where_it_takes_two_rounds(sandbox: Sandbox, clock: Clock) -> None:
    for client, looks in (("2025 with a form", 1), ("2026 with a form", 2)):
        batch = sandbox.add_batch(3, key=KEY)
        sandbox.received.clear()
        async with connected(sandbox, clock, client) as raw:
            await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("accept"))
        assert [received.method for received in sandbox.received] == ["GET"] * looks + ["DELETE"]


async def test_an_answer_replayed_against_another_batch_is_not_a_consent(sandbox: Sandbox, clock: Clock) -> None:
    mine, other = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY)
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, "2026-07-28", {"elicitation": {"form": {}}}) as raw:
        asked = await raw.ask("tools/call", {"name": "delete_message_batch", "arguments": {"message_batch_id": mine}})
        state = asked["result"]["requestState"]
        responses = {
            key: {"action": "accept", "content": {"choice": "delete"}} for key in asked["result"]["inputRequests"]
        }
        for stolen in (state, state[:-4] + "AAAA", None):
            params: dict[str, Any] = {"name": "delete_message_batch", "arguments": {"message_batch_id": other}}
            params["inputResponses"] = responses
            if stolen is not None:
                params["requestState"] = stolen
            said = await raw.ask("tools/call", params)
            assert "error" in said or said["result"]["resultType"] == "input_required"
            assert acts(sandbox) == 0
        said = await raw.ask(
            "tools/call",
            {
                "name": "delete_message_batch",
                "arguments": {"message_batch_id": mine},
                "inputResponses": responses,
                "requestState": state,
            },
        )
    assert said["result"]["structuredContent"]["type"] == "message_batch_deleted"


async def test_a_batch_that_ends_while_the_person_thinks_about_a_cancel_is_told_as_ended(
    sandbox: Sandbox, clock: Clock
) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")

    def slowly(asked: dict[str, Any]) -> dict[str, Any] | None:
        clock.advance(120)
        return answering("accept")(asked)

    for client in ("2025 with a form", "2026 with a form"):
        async with connected(sandbox, clock, client) as raw:
            said = await raw.call("cancel_message_batch", {"message_batch_id": batch}, slowly)
        assert said is not None
        assert said["result"]["structuredContent"]["outcome"] == "already_ended"


async def test_a_failed_look_is_told_and_nobody_is_asked(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch(5, key=KEY)
    sandbox.faults.append(Fault("retrieve", status=403))
    async with connected(sandbox, clock, "2026 with a form") as raw:
        said = await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("disconnect"))
    assert said is not None
    assert said["result"]["isError"]
    assert "permission_error" in said["result"]["content"][0]["text"]


WRITING = [
    "list_message_batches",
    "get_message_batch",
    "create_message_batch",
    "read_message_batch_results",
    "save_message_batch_results",
]
READING = ["list_message_batches", "get_message_batch", "read_message_batch_results"]


@pytest.mark.parametrize(
    ("settings", "listed"),
    [
        ({"read_only": True}, READING),
        ({"destructive": "block"}, WRITING),
        ({"destructive": "block", "read_only": True}, READING),
    ],
)
async def test_a_tool_that_is_not_allowed_is_not_listed_and_cannot_be_called(
    connect: Connect, sandbox: Sandbox, settings: dict[str, Any], listed: list[str]
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(**settings) as assistant:
        assert [tool.name for tool in (await assistant.client.list_tools()).tools] == listed
        with pytest.raises(Exception, match="delete_message_batch"):
            await assistant.call("delete_message_batch", message_batch_id=batch)
    assert acts(sandbox) == 0


@pytest.mark.parametrize("said", ["decline", "keep", "dismiss"])
@pytest.mark.parametrize("later", [{}, {"elicitation": {"url": {}}}])
@pytest.mark.parametrize("with_state", [True, False])
async def test_a_client_that_was_asked_and_then_says_that_it_cannot_ask_has_no_consent(
    sandbox: Sandbox, clock: Clock, said: str, later: dict[str, Any], with_state: bool
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    call: dict[str, Any] = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
    async with over_streams(server, "2026-07-28", {"elicitation": {}}) as raw:
        first = (await raw.ask("tools/call", call))["result"]
        answers = {key: answering(said)(asked["params"]) for key, asked in first["inputRequests"].items()}
        call["inputResponses"] = {key: answer["result"] for key, answer in answers.items() if answer}
        if with_state:
            call["requestState"] = first["requestState"]
        raw.capabilities = later
        second = (await raw.ask("tools/call", call))["result"]
    assert acts(sandbox) == 0
    assert second["structuredContent"]["reason"] == "cannot_ask"


@pytest.mark.parametrize(
    "counts",
    [
        '{"processing": 0, "succeeded": 0, "errored": 0, "canceled": 3, "expired": 0, "partly": 5}',
        '{"processing": 5, "succeeded": 0, "errored": 0, "canceled": 3, "expired": 0}',
        '{"canceled": 3}',
        "{}",
    ],
)
async def test_counts_that_are_not_plain_are_no_reason_not_to_ask(sandbox: Sandbox, clock: Clock, counts: str) -> None:
    body = (
        f'{{"id": "b", "processing_status": "ended", "request_counts": {counts}, "created_at": "2026-11-03T09:00:00Z"}}'
    )
    sandbox.faults.append(Fault("retrieve", body=body.encode(), times=2))
    async with connected(sandbox, clock, "2026 with a form") as raw:
        await raw.call("delete_message_batch", {"message_batch_id": "b"}, answering("keep"))
    assert len(raw.asked) == 1
    assert acts(sandbox) == 0


@pytest.mark.parametrize("settings", [{"read_only": True}, {"destructive": "block"}])
async def test_where_the_tools_are_hidden_nothing_leads_to_them(
    connect: Connect, sandbox: Sandbox, settings: dict[str, Any]
) -> None:
    ended, running = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY, status="in_progress")
    async with connect(**settings) as assistant:
        listed = {tool.name for tool in (await assistant.client.list_tools()).tools}
        told = assistant.client.instructions or ""
        for batch in (ended, running):
            answer = await assistant.call("get_message_batch", message_batch_id=batch)
            assert {step["tool"] for step in answer["possible_actions"]} <= listed
    assert "delete_message_batch" not in told


async def test_the_question_of_a_sandbox_says_that_it_is_one() -> None:
    server = create_server(Settings.load(sandbox=True))
    async with over_streams(server, "2025-11-25", {"elicitation": {}}) as raw:
        listed = await raw.call("list_message_batches", {"status": "ended"}, answering("keep"))
        assert listed is not None
        batch = listed["result"]["structuredContent"]["batches"][0]["id"]
        await raw.call("delete_message_batch", {"message_batch_id": batch}, answering("keep"))
    assert "This is the sandbox" in raw.asked[0]["message"]
