"""Where no client shows a question, the assistant puts it, and a code that the same call accepts once is the way on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mcp_batch_tools.cli import main
from mcp_batch_tools.ledger.confirmations import ACCEPTED_FOR
from mcp_batch_tools.sandbox import Clock, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, SandboxTransport
from tests.support.consent import answering
from tests.support.raw import Person, StreamClient, over_streams, question_of, respond
from tests.support.requests import request, write
from tests.support.upstream import acts, creates

pytestmark = pytest.mark.anyio

DEAR = {"max_tokens": 100_000, "model": "claude-opus-4-5"}
CLOSES = answering("dismiss")


@pytest.fixture(autouse=True)
def _client_closes_questions_itself(person: Person) -> None:
    person.seconds = 0.03


@asynccontextmanager
async def connected(
    sandbox: Sandbox, clock: Clock, era: str, *, capabilities: Any = None, patience: float = 300, **settings: Any
) -> AsyncIterator[StreamClient]:
    loaded = Settings.load(**{"api_key": KEY, **settings})
    server = create_server(loaded, transport=SandboxTransport(sandbox), clock=clock, question_seconds=patience)
    async with over_streams(server, era, {"elicitation": {}} if capabilities is None else capabilities) as client:
        yield client


async def called(client: StreamClient, tool: str, **arguments: Any) -> dict[str, Any]:
    """The facts of an answer, by a client that closes every question."""
    said = await client.call(tool, arguments, CLOSES)
    assert said is not None
    assert not said["result"].get("isError"), said
    facts: dict[str, Any] = said["result"]["structuredContent"]
    return facts


def code_in(facts: dict[str, Any]) -> str:
    (step,) = facts["next_steps"]
    return str(step["arguments"]["confirmation"])


async def test_the_answer_says_what_happened_and_what_would_be_lost(sandbox: Sandbox, clock: Clock, era: str) -> None:
    batch = sandbox.add_batch({"succeeded": 4812, "errored": 88}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        facts = await called(client, "delete_message_batch", message_batch_id=batch)
    assert facts["reason"] == "not_shown"
    assert "the client closed the question after 0.03 s, before anybody could read it" in facts["message"]
    assert "4,812 succeeded results and 88 errors" in facts["message"]
    assert "were never saved here" in facts["message"]
    (step,) = facts["next_steps"]
    assert step["tool"] == "delete_message_batch"
    assert step["arguments"] == {"message_batch_id": batch, "confirmation": code_in(facts)}
    assert acts(sandbox) == 0


WHY = {
    "dismiss": "the client closed the question after",
    "decline": "the client closed the question after",
    "empty": "accepted the question without filling in its form",
    "nothing": "accepted the question without filling in its form",
    "another word": "accepted the question without filling in its form",
    "error": "answered the question with an error",
}


@pytest.mark.parametrize("how", WHY)
async def test_the_reason_is_what_the_client_did_and_the_next_call_asks_again(
    sandbox: Sandbox, clock: Clock, era: str, how: str
) -> None:
    if (era, how) == ("2026-07-28", "error"):
        pytest.skip("such a client does not come back")
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        for minutes in (0, 6):
            clock.advance(minutes * 60)
            said = await client.call("delete_message_batch", {"message_batch_id": batch}, answering(how))
            assert said is not None
            message = said["result"]["structuredContent"]["message"]
            assert WHY[how] in message
            assert f"within {ACCEPTED_FOR // 60_000} minutes" in message
        assert len(client.asked) == 2


async def test_a_code_works_once_within_ten_minutes(sandbox: Sandbox, clock: Clock, era: str) -> None:
    async with connected(sandbox, clock, era) as client:
        for age, works in ((0, True), (9 * 60, True), (10 * 60 + 1, False), (86400, False)):
            batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
            code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
            clock.advance(age)
            facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=code)
            assert facts["type"] == ("message_batch_deleted" if works else "message_batch_not_deleted"), age
            if not works:
                assert facts["reason"] == "not_shown"
                assert code_in(facts) != code


async def test_a_used_code_counts_as_none(sandbox: Sandbox, clock: Clock, era: str) -> None:
    async with connected(sandbox, clock, era) as client:
        arguments = {"requests": [request("a", **DEAR)], "allow_duplicate": True}
        code = code_in(await called(client, "create_message_batch", **arguments))
        first = await called(client, "create_message_batch", **arguments, confirmation=code)
        assert first["type"] == "message_batch_created"
        again = await called(client, "create_message_batch", **arguments, confirmation=code)
    assert again["reason"] == "not_shown"
    assert "already sent on" in again["message"]
    assert code_in(again) != code
    assert creates(sandbox) == 1


@pytest.mark.parametrize("wrong", ["", "0" * 16, "yes", "confirmed", "' OR 1=1 --", "\u2028", "x" * 5000])
async def test_a_wrong_code_does_nothing_and_does_not_use_up_the_right_one(
    sandbox: Sandbox, clock: Clock, wrong: str
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2026-07-28") as client:
        code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
        facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=wrong)
        assert facts["reason"] == "not_shown"
        assert acts(sandbox) == 0
        facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=f" `{code}` ")
    assert facts["type"] == "message_batch_deleted"


async def test_a_code_is_for_one_act_on_one_batch(sandbox: Sandbox, clock: Clock, era: str) -> None:
    one, two = sandbox.add_batch({"succeeded": 3}, key=KEY), sandbox.add_batch({"succeeded": 3}, key=KEY)
    running = sandbox.add_batch(3, key=KEY, status="in_progress")
    async with connected(sandbox, clock, era) as client:
        code = code_in(await called(client, "delete_message_batch", message_batch_id=one))
        for tool, batch in (("delete_message_batch", two), ("cancel_message_batch", running)):
            facts = await called(client, tool, message_batch_id=batch, confirmation=code)
            assert facts["reason"] == "not_shown"
        dear = await called(client, "create_message_batch", requests=[request("a", **DEAR)], confirmation=code)
        assert dear["reason"] == "not_shown"
        assert creates(sandbox) == 0
        assert "DELETE" not in {received.method for received in sandbox.received}
        facts = await called(client, "delete_message_batch", message_batch_id=one, confirmation=code)
    assert facts["type"] == "message_batch_deleted"


async def test_a_code_for_a_delete_does_not_hold_once_what_was_saved_has_changed(
    sandbox: Sandbox, clock: Clock, era: str, tmp_path: Path
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        saved = await called(client, "save_message_batch_results", message_batch_id=batch)
        code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
        Path(saved["path"]).write_text("{}\n")
        facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=code)
        assert "were never saved here" in facts["message"]
    assert facts["reason"] == "not_shown"
    assert acts(sandbox) == 0


async def test_a_code_for_a_delete_without_saving_is_none_for_one_that_saves(
    sandbox: Sandbox, clock: Clock, era: str
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        first = await called(client, "delete_message_batch", message_batch_id=batch, save_results_to="r.jsonl")
        assert first["next_steps"][0]["arguments"]["save_results_to"] == "r.jsonl"
        code = code_in(first)
        without = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=code)
        assert without["reason"] == "not_shown"
        assert acts(sandbox) == 0
        facts = await called(client, **{"tool": first["next_steps"][0]["tool"], **first["next_steps"][0]["arguments"]})
    assert facts["type"] == "message_batch_deleted"
    assert Path(facts["results_saved_to"]).name == "r.jsonl"


async def test_a_code_for_a_cancel_holds_while_requests_finish(sandbox: Sandbox, clock: Clock, era: str) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    async with connected(sandbox, clock, era) as client:
        facts = await called(client, "cancel_message_batch", message_batch_id=batch, goal="delete")
        assert (facts["outcome"], facts["reason"]) == ("not_shown", "not_shown")
        (step,) = facts["next_steps"]
        assert step["arguments"] == {"message_batch_id": batch, "confirmation": code_in(facts), "goal": "delete"}
        done = await called(client, step["tool"], **step["arguments"])
    assert done["outcome"] == "cancellation_requested"
    assert [step["tool"] for step in done["next_steps"]] == ["get_message_batch", "delete_message_batch"]


async def test_a_code_for_a_create_is_for_these_requests_alone(
    sandbox: Sandbox, clock: Clock, era: str, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a", **DEAR)])
    async with connected(sandbox, clock, era) as client:
        facts = await called(client, "create_message_batch", requests_file=name, label="mine", max_cost_usd=50)
        (step,) = facts["next_steps"]
        assert step["arguments"] == {
            "requests_file": name,
            "label": "mine",
            "max_cost_usd": 50,
            "confirmation": code_in(facts),
        }
        write(requests_dir, [request("b", **DEAR)])
        other = await called(client, step["tool"], **step["arguments"])
        assert other["reason"] == "not_shown"
        write(requests_dir, [request("a", **DEAR)])
        created = await called(client, step["tool"], **step["arguments"])
    assert created["type"] == "message_batch_created"
    assert creates(sandbox) == 1


async def test_a_code_of_another_key_is_none(sandbox: Sandbox, clock: Clock, era: str) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
    other = sandbox.add_batch({"succeeded": 3}, key="sk-ant-other-0123456789")
    async with connected(sandbox, clock, era, api_key="sk-ant-other-0123456789") as client:
        facts = await called(client, "delete_message_batch", message_batch_id=other, confirmation=code)
    assert facts["reason"] == "not_shown"
    assert acts(sandbox) == 0


async def test_a_code_outlives_the_process(sandbox: Sandbox, clock: Clock, era: str) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
    async with connected(sandbox, clock, era) as client:
        facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=code)
    assert facts["type"] == "message_batch_deleted"


async def test_under_require_a_code_that_was_given_under_ask_is_none(sandbox: Sandbox, clock: Clock, era: str) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, era) as client:
        code = code_in(await called(client, "delete_message_batch", message_batch_id=batch))
    async with connected(sandbox, clock, era, destructive="require") as client:
        facts = await called(client, "delete_message_batch", message_batch_id=batch, confirmation=code)
    assert (facts["reason"], facts["next_steps"]) == ("not_shown", [])
    assert acts(sandbox) == 0


async def test_of_calls_with_one_code_at_once_one_acts(sandbox: Sandbox, clock: Clock) -> None:
    arguments: dict[str, Any] = {"requests": [request("a", **DEAR)], "allow_duplicate": True}
    async with connected(sandbox, clock, "2026-07-28") as client:
        code = code_in(await called(client, "create_message_batch", **arguments))
        call = {"name": "create_message_batch", "arguments": {**arguments, "confirmation": code}}
        said = await client.ask_at_once(*[call] * 4)
    types = [one["result"].get("structuredContent", {}).get("type") for one in said]
    assert "message_batch_created" in types
    assert creates(sandbox) == 1


async def test_a_question_that_gets_no_answer_in_five_minutes_was_not_shown(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2025-11-25", patience=0.05) as client:
        await client.send("tools/call", {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}})
        messages = [await client.receive()]
        while "method" in messages[-1]:
            messages.append(await client.receive())
    facts = messages[-1]["result"]["structuredContent"]
    assert messages[0]["method"] == "elicitation/create"
    assert facts["reason"] == "not_shown"
    assert "has left the question without an answer" in facts["message"]
    assert code_in(facts)


async def test_after_a_question_that_got_no_answer_the_same_call_is_told_at_once(
    sandbox: Sandbox, clock: Clock
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    silent = answering("silence")
    async with connected(sandbox, clock, "2025-11-25", patience=0.05) as client:
        await client.call("delete_message_batch", {"message_batch_id": batch}, silent)
        while "method" in await client.receive():
            pass  # its answer may come when the client has given up on it
        clock.advance(60)
        facts = await called(client, "delete_message_batch", message_batch_id=batch)
        assert facts["reason"] == "not_shown"
        assert len(client.asked) == 1
        clock.advance(10 * 60)
        await called(client, "delete_message_batch", message_batch_id=batch)
    assert len(client.asked) == 2
    assert acts(sandbox) == 0


async def test_after_a_call_that_was_given_up_the_same_call_is_told_at_once(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
    async with connected(sandbox, clock, "2025-11-25") as client:
        number = await client.send("tools/call", call)
        assert (await client.receive())["method"] == "elicitation/create"
        await client.notify("notifications/cancelled", {"requestId": number})
        clock.advance(60)
        facts = await called(client, "delete_message_batch", message_batch_id=batch)
        assert facts["reason"] == "not_shown"
        assert len(client.asked) == 0
        clock.advance(10 * 60 + 1)
        await called(client, "delete_message_batch", message_batch_id=batch)
        assert len(client.asked) == 1
        done = await called(client, "delete_message_batch", message_batch_id=batch)
    assert done["reason"] == "not_shown"
    assert acts(sandbox) == 0


async def test_while_a_person_may_be_reading_a_question_no_other_call_gets_round_them(
    sandbox: Sandbox, clock: Clock
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
    async with connected(sandbox, clock, "2025-11-25") as client:
        await client.send("tools/call", call)
        first = await client.receive()
        given_up = await client.send("tools/call", call)
        assert (await client.receive())["method"] == "elicitation/create"
        await client.notify("notifications/cancelled", {"requestId": given_up})
        await client.send("tools/call", call)
        asked = await client.receive()
        while asked.get("method") != "elicitation/create":
            asked = await client.receive()
        assert asked["id"] != first["id"]
    assert acts(sandbox) == 0


@pytest.mark.parametrize(
    ("minutes", "asked"), [(0, True), (4.9, True), (5, False), (14.9, False), (15.1, True), (60, True)]
)
async def test_a_question_in_the_answer_of_a_call_counts_as_unseen_between_5_and_15_minutes_later(
    sandbox: Sandbox, clock: Clock, minutes: float, asked: bool
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2026-07-28") as client:
        await question_of(client, "delete_message_batch", message_batch_id=batch)
        clock.advance(minutes * 60)
        call = {"name": "delete_message_batch", "arguments": {"message_batch_id": batch}}
        result = (await client.ask("tools/call", call))["result"]
    assert (result["resultType"] == "input_required") == asked
    if not asked:
        assert result["structuredContent"]["reason"] == "not_shown"


async def test_a_younger_question_to_a_person_keeps_an_older_one_from_being_given_up(
    sandbox: Sandbox, clock: Clock
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2026-07-28") as client:
        for minutes in (0, 4, 4):
            clock.advance(minutes * 60)
            await question_of(client, "delete_message_batch", message_batch_id=batch)


async def test_a_question_that_was_answered_is_not_one_that_was_left_lying(
    sandbox: Sandbox, clock: Clock, person: Person
) -> None:
    person.seconds = 20
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2026-07-28") as client:
        pending = await question_of(client, "delete_message_batch", message_batch_id=batch)
        await respond(client, pending, "keep")
        clock.advance(6 * 60)
        await question_of(client, "delete_message_batch", message_batch_id=batch)


async def test_an_answer_that_no_person_gave_uses_up_the_question(sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    async with connected(sandbox, clock, "2026-07-28") as client:
        pending = await question_of(client, "delete_message_batch", message_batch_id=batch)
        assert (await respond(client, pending, None))["reason"] == "not_shown"
        clock.advance(60)
        late = await respond(client, pending, "delete")
    assert late["reason"] == "not_shown"
    assert late["next_steps"][0]["arguments"] == {"message_batch_id": batch}
    assert acts(sandbox) == 0


async def test_a_broken_ledger_gives_no_code_and_deletes_nothing(
    sandbox: Sandbox, clock: Clock, era: str, tmp_path: Path
) -> None:
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    (tmp_path / "state").write_text("not a folder")
    async with connected(sandbox, clock, era) as client:
        with anyio.fail_after(10):
            said = await client.call("delete_message_batch", {"message_batch_id": batch}, CLOSES)
    assert said is not None
    assert said["result"]["isError"]
    assert acts(sandbox) == 0


@pytest.mark.parametrize(
    ("policy", "then"), [("ask", "the assistant asks in the conversation"), ("require", "nothing is done")]
)
async def test_check_names_the_last_client_that_did_not_show_a_question(
    sandbox: Sandbox, clock: Clock, capsys: pytest.CaptureFixture[str], policy: str, then: str
) -> None:
    flags = ["check", "--destructive", policy]
    batch = sandbox.add_batch({"succeeded": 3}, key=KEY)
    await anyio.to_thread.run_sync(main, flags)
    assert "showed no question" not in capsys.readouterr().out
    async with connected(sandbox, clock, "2026-07-28") as client:
        await called(client, "delete_message_batch", message_batch_id=batch)
    await anyio.to_thread.run_sync(main, flags)
    told = capsys.readouterr().out
    assert "raw-client 7.1 showed no question on 2026-11-03 09:00 UTC: the client closed the question" in told
    assert f"then {then}" in told


async def test_check_tells_of_a_ledger_that_cannot_be_read_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_text("no database, by any means")
    await anyio.to_thread.run_sync(main, ["check"])
    told = capsys.readouterr().out
    assert "which clients did not show a question cannot be told" in told
    assert "log level" in told
