"""`delete_message_batch`: what is deleted, what is not, and what the assistant is told instead."""

from dataclasses import replace

import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, Connect

pytestmark = pytest.mark.anyio


def methods(sandbox: Sandbox) -> list[str]:
    return [received.method for received in sandbox.received]


async def test_deleting_an_ended_batch_returns_exactly_the_object_of_the_api(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect(era) as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
    assert answer == {"id": batch, "type": "message_batch_deleted"}
    assert methods(sandbox) == ["GET", "DELETE"]


async def test_a_running_batch_is_not_deleted_and_the_answer_leads_to_the_goal(
    connect: Connect, sandbox: Sandbox, clock: Clock, era: str
) -> None:
    batch = sandbox.add_batch(4, key=KEY, status="in_progress")
    async with connect(era) as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
        assert methods(sandbox) == ["GET"]
        assert answer["type"] == "message_batch_not_deleted"
        assert answer["reason"] == answer["processing_status"] == "in_progress"
        assert "Cancel it first" in answer["message"]
        assert "kept" in answer["message"]
        assert "billed" in answer["message"]
        for step in answer["next_steps"]:
            done = await assistant.call(step["tool"], **step["arguments"])
    assert done == {"id": batch, "type": "message_batch_deleted"}


async def test_a_canceling_batch_is_not_deleted_and_must_not_be_canceled_again(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch(4, key=KEY, status="canceling", age=3)
    async with connect(era) as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
        assert answer["reason"] == "canceling"
        assert "Do not cancel it again" in answer["message"]
        assert [step["tool"] for step in answer["next_steps"]] == ["get_message_batch", "delete_message_batch"]
        assert methods(sandbox) == ["GET"]
        for step in answer["next_steps"]:
            done = await assistant.call(step["tool"], **step["arguments"])
    assert done["type"] == "message_batch_deleted"


async def test_a_batch_that_is_gone_is_an_error_that_says_so(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        await assistant.call("delete_message_batch", message_batch_id=batch)
        sandbox.received.clear()
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert "already gone" in said
    assert "Nothing was deleted." in said
    assert "list_message_batches" in said
    assert methods(sandbox) == ["GET"]


@pytest.mark.parametrize("fault", [Fault("delete", cut="after"), Fault("delete", status=504, after_effect=True)])
async def test_a_delete_whose_answer_was_lost_and_whose_repeat_finds_nothing_has_succeeded(
    connect: Connect, sandbox: Sandbox, fault: Fault
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(fault)
    async with connect() as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
    assert answer == {"id": batch, "type": "message_batch_deleted"}
    assert methods(sandbox) == ["GET", "DELETE", "DELETE"]


async def test_a_delete_cut_before_its_effect_is_repeated(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("delete", cut="before"))
    async with connect() as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
        gone = await assistant.fail("get_message_batch", message_batch_id=batch)
    assert answer["type"] == "message_batch_deleted"
    assert "already gone" in gone


async def test_a_refused_delete_followed_by_a_404_is_not_taken_for_a_success(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("delete", status=429, headers={"retry-after": "1"}))
    sandbox.faults.append(Fault("delete", status=404, message=f"Message Batch {batch} not found."))
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert "already gone" in said


async def test_a_delete_refused_as_in_progress_is_answered_from_a_fresh_look(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    running = sandbox.add_batch(key=KEY, status="in_progress")
    body = await _object_of(sandbox, running)
    sandbox.received.clear()
    sandbox.faults.append(Fault("delete", status=400, message="In progress batches cannot be deleted."))
    sandbox.faults.append(Fault("retrieve", body=body.replace(running.encode(), batch.encode()), skip=1))
    async with connect() as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
    assert answer["reason"] == "in_progress"
    assert methods(sandbox) == ["GET", "DELETE", "GET"]


async def test_a_refusal_of_a_batch_that_is_still_ended_is_an_error(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("delete", status=400, message="No."))
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert "HTTP 400" in said
    assert "Nothing was deleted." in said


async def test_an_unknown_status_counts_as_not_ended(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    body = (await _object_of(sandbox, batch)).replace(b'"ended"', b'"paused"')
    sandbox.faults.append(Fault("retrieve", body=body, times=3))
    async with connect() as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
        seen = await assistant.call("get_message_batch", message_batch_id=batch)
        stopped = await assistant.call("cancel_message_batch", message_batch_id=batch, wait_seconds=5)
    assert answer["reason"] == stopped["outcome"] == "unknown_status"
    assert answer["processing_status"] == "paused"
    assert "paused" in seen["message"]
    assert methods(sandbox)[1:] == ["GET", "GET", "GET"]


async def test_an_answer_about_another_batch_deletes_nothing(connect: Connect, sandbox: Sandbox) -> None:
    asked = sandbox.add_batch(key=KEY, status="in_progress")
    other = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("retrieve", body=await _object_of(sandbox, other)))
    sandbox.received.clear()
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=asked)
    assert "another batch" in said
    assert methods(sandbox) == ["GET"]


async def test_when_every_try_fails_after_the_request_left_the_outcome_is_called_unknown(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("delete", cut="before", times=3))
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert f"Whether {batch} was deleted is unknown." in said
    assert "get_message_batch" in said


async def _object_of(sandbox: Sandbox, batch: str) -> bytes:
    import httpx2

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=sandbox), base_url="http://sandbox") as client:
        headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
        return (await client.get(f"/v1/messages/batches/{batch}", headers=headers)).content


LOST = Fault("delete", cut="before")


@pytest.mark.parametrize(
    "then",
    [
        Fault("delete", status=429, headers={"retry-after": "600"}),
        Fault("delete", status=401),
        Fault("delete", status=404, body=b"<html>no such page</html>"),
        Fault("delete", body=b"{}"),
    ],
    ids=["a limit", "a refused key", "a page of something in between", "a body that is none"],
)
async def test_after_a_lost_answer_no_later_error_makes_the_outcome_known(
    connect: Connect, sandbox: Sandbox, then: Fault
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults += [replace(LOST), replace(then)]
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert f"Whether {batch} was deleted is unknown." in said
    assert "Nothing was deleted" not in said


async def test_a_delete_that_acted_without_an_answer_and_is_then_refused_has_succeeded(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults += [Fault("delete", cut="after"), Fault("delete", status=400)]
    async with connect() as assistant:
        answer = await assistant.call("delete_message_batch", message_batch_id=batch)
    assert answer == {"id": batch, "type": "message_batch_deleted"}


async def test_a_404_of_something_in_between_is_not_taken_for_a_batch_that_is_gone(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("retrieve", status=404, body=b"<html>no such page</html>"))
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch)
    assert "gone" not in said
    assert "ANTHROPIC_BASE_URL" in said


async def test_a_second_delete_is_told_when_this_installation_made_the_first(
    connect: Connect, sandbox: Sandbox, clock: Clock, era: str
) -> None:
    ours, anothers = sandbox.add_batch(3, key=KEY), sandbox.add_batch(3, key=KEY)
    async with connect(era) as assistant:
        await assistant.call("delete_message_batch", message_batch_id=ours)
        sandbox.remove_batch(anothers, key=KEY)
        clock.advance(3600)
        known = await assistant.fail("delete_message_batch", message_batch_id=ours)
        looked_at = await assistant.fail("get_message_batch", message_batch_id=ours)
        unknown = await assistant.fail("delete_message_batch", message_batch_id=anothers)
    for told in (known, looked_at):
        assert "this installation deleted it on 2026-11-03 09:00 UTC" in told
        assert "never" not in told
    assert "or was never in the workspace of this key" in unknown
    assert "list_message_batches" in known
