"""`cancel_message_batch`: status first, and never more said than has happened."""

import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, Connect

pytestmark = pytest.mark.anyio


def posts(sandbox: Sandbox) -> int:
    return sum(received.method == "POST" for received in sandbox.received)


async def test_a_running_batch_is_asked_to_stop_and_is_not_called_canceled_yet(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    async with connect(era) as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
    assert answer["outcome"] == "cancellation_requested"
    assert answer["processing_status"] == "canceling"
    assert "canceled" not in answer["message"]
    assert "5 requests" in answer["message"]
    assert [step["tool"] for step in answer["next_steps"]] == ["get_message_batch"]
    assert posts(sandbox) == 1


async def test_with_wait_seconds_the_answer_comes_after_the_end(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch, wait_seconds=50)
    assert answer["outcome"] == "cancellation_requested"
    assert answer["processing_status"] == "ended"
    assert sum(answer["request_counts"].values()) == 5
    assert "went through" in answer["message"]
    assert answer["next_steps"] == []


async def test_a_canceling_batch_is_not_canceled_again(connect: Connect, sandbox: Sandbox, clock: Clock) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    async with connect() as assistant:
        await assistant.call("cancel_message_batch", message_batch_id=batch)
        clock.advance(1)
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
        later = await assistant.call("cancel_message_batch", message_batch_id=batch, wait_seconds=50)
    assert answer["outcome"] == later["outcome"] == "already_canceling"
    assert "since 2026-11-03 09:00 UTC" in answer["message"]
    assert "do not cancel it again" in answer["message"]
    assert "canceled" not in answer["message"]
    assert later["processing_status"] == "ended"
    assert posts(sandbox) == 1


async def test_an_ended_batch_has_nothing_to_cancel(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch({"succeeded": 3, "errored": 1}, key=KEY)
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
    assert answer["outcome"] == "already_ended"
    assert "Nothing to cancel" in answer["message"]
    assert "3 succeeded, 1 errored" in answer["message"]
    assert posts(sandbox) == 0


async def test_a_batch_that_ends_between_the_look_and_the_cancel_is_told_as_ended(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress", age=59)
    sandbox.faults.append(Fault("cancel", delay=10))
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
    assert answer["outcome"] == "already_ended"
    assert posts(sandbox) == 1


async def test_a_refusal_of_a_batch_that_still_runs_is_an_error(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    sandbox.faults.append(Fault("cancel", status=400, message="No."))
    async with connect() as assistant:
        said = await assistant.fail("cancel_message_batch", message_batch_id=batch)
    assert 'HTTP 400 invalid_request_error: "No."' in said
    assert "Nothing was canceled." in said


async def test_a_refusal_for_another_reason_is_told_as_it_is(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    sandbox.faults.append(Fault("cancel", status=403))
    async with connect() as assistant:
        said = await assistant.fail("cancel_message_batch", message_batch_id=batch)
    assert "HTTP 403 permission_error" in said


async def test_a_cancellation_that_cannot_be_watched_is_not_told_as_a_failure(
    connect: Connect, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    sandbox.faults.append(Fault("retrieve", status=500, skip=1, times=3))
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch, wait_seconds=30)
    assert answer["outcome"] == "cancellation_requested"
    assert "Watching it failed" in answer["message"]


async def test_a_cancel_without_an_answer_is_called_unknown(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    sandbox.faults.append(Fault("cancel", status=500, times=3))
    async with connect() as assistant:
        said = await assistant.fail("cancel_message_batch", message_batch_id=batch)
    assert f"Whether {batch} was canceled is unknown." in said


async def test_a_cancellation_that_acted_without_an_answer_and_is_then_refused_is_told_as_requested(
    connect: Connect, sandbox: Sandbox, clock: Clock
) -> None:
    batch = sandbox.add_batch(5, key=KEY, status="in_progress")
    sandbox.faults += [Fault("cancel", cut="after"), Fault("cancel", delay=60)]
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch)
    assert answer["outcome"] == "cancellation_requested"
    assert answer["processing_status"] == "ended"
    assert "went through" in answer["message"]


async def test_a_cancellation_that_stopped_nothing_is_told_as_too_late(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch({"errored": 2}, key=KEY, status="in_progress", age=30, processing_seconds=30.5)
    sandbox.faults.append(Fault("cancel", delay=0.4999))
    async with connect() as assistant:
        answer = await assistant.call("cancel_message_batch", message_batch_id=batch, wait_seconds=30)
    assert answer["processing_status"] == "ended"
    assert ("too late" in answer["message"]) == (answer["request_counts"]["canceled"] == 0)
