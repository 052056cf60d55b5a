"""Nothing is paid for twice: requests that are sent again, changed, lost, or sent by others meanwhile."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, Assistant, Connect, SandboxTransport
from tests.support.requests import request, write
from tests.support.transports import Gathering, Hooked, Swallowing, cut
from tests.support.upstream import creates, sizes

pytestmark = pytest.mark.anyio

ANOTHER, FOREIGN = KEY + "-another", KEY + "-foreign"


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock=clock, keys={KEY: "one", ANOTHER: "one", FOREIGN: "two"})


async def test_the_same_requests_in_another_spelling_are_the_same(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    requests = [request("a", system="é"), request("b")]
    name = write(requests_dir, requests)
    (requests_dir / "printed.json").write_text(json.dumps({"requests": requests[::-1]}, indent=1))
    (requests_dir / "compact.jsonl").write_text(
        "\r\n".join(json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in requests)
    )
    async with connect() as assistant:
        first = await assistant.call("create_message_batch", requests_file=name)
        for other in ({"requests_file": "printed.json"}, {"requests_file": "compact.jsonl"}, {"requests": requests}):
            again = await assistant.call("create_message_batch", **other)
            assert again["reason"] == "already_created"
            assert again["batches"] == first["batches"]
    assert creates(sandbox) == 1


async def test_another_key_of_the_same_workspace_does_not_send_them_again_and_one_of_another_does(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect() as assistant:
        first = await assistant.call("create_message_batch", requests_file=name)
    async with connect(api_key=ANOTHER) as assistant:
        again = await assistant.call("create_message_batch", requests_file=name)
    async with connect(api_key=FOREIGN) as assistant:
        elsewhere = await assistant.call("create_message_batch", requests_file=name)
    assert again["reason"] == "already_created"
    assert again["batches"] == first["batches"]
    assert elsewhere["type"] == "message_batch_created"
    assert creates(sandbox) == 2


async def test_what_one_key_has_lost_is_found_by_another_of_its_workspace_and_unknown_to_a_foreign_one(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    sandbox.add_batch(3, key=KEY, age=60)
    sandbox.faults += [Fault("create", cut="after"), Fault("list", status=403, skip=1, times=9)]
    async with connect() as assistant:
        lost = await assistant.call("create_message_batch", requests_file=name)
    sandbox.faults.clear()
    clock.advance(7200)
    async with connect(api_key=FOREIGN) as assistant:
        elsewhere = await assistant.call("create_message_batch", requests_file=name, dry_run=True)
    async with connect(api_key=ANOTHER) as assistant:
        same = await assistant.call("create_message_batch", requests_file=name)
    assert lost["reason"] == "unknown_outcome"
    assert "sent before" not in elsewhere["message"]
    assert same["reason"] == "already_created"
    assert creates(sandbox) == 1


@pytest.mark.parametrize("most_requests", [2])
async def test_of_a_file_that_changed_in_its_second_part_the_first_is_not_sent_again(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    requests = [request(f"a{n}") for n in range(4)]
    name = write(requests_dir, requests)

    async def change(_: httpx2.Request) -> None:
        write(requests_dir, [*requests[:2], request("a2", max_tokens=7), requests[3]])

    async with connect(transport=Hooked(sandbox, after=change)) as assistant:
        stopped = await assistant.call("create_message_batch", requests_file=name)
        completed = await assistant.call("create_message_batch", requests_file=name)
    assert stopped["reason"] == "failed"
    assert "changed after it was checked" in stopped["message"]
    assert completed["type"] == "message_batch_created"
    assert completed["batches"][0] == stopped["batches"][0]
    assert await sizes(sandbox) == [2, 2]


@pytest.mark.parametrize("most_requests", [2])
async def test_a_duplicate_that_stopped_in_the_middle_is_completed_and_not_begun_again(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(3)])
    async with connect() as assistant:
        first = await assistant.call("create_message_batch", requests_file=name)
        sandbox.faults.append(Fault("create", status=403, skip=1))
        stopped = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
        completed = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
        plain = await assistant.call("create_message_batch", requests_file=name)
        another = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
    assert stopped["reason"] == "failed"
    assert completed["batches"][0] == stopped["batches"][0]
    assert completed["batches"][1] != first["batches"][1]
    assert plain["batches"] == completed["batches"]
    assert not {batch["id"] for batch in another["batches"]} & {batch["id"] for batch in completed["batches"]}
    assert await sizes(sandbox) == [1, 1, 1, 2, 2, 2]


async def test_a_retry_sends_what_expired_once_also_after_the_others_were_mended(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    requests = [request("good"), request("expired-1"), request("errored-1"), request("bad", model="gpt")]
    name = write(requests_dir, requests)
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
        clock.advance(3600)
        retried = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
        name = write(requests_dir, [*requests[:3], request("bad")])
        mended = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
        over = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
    assert retried["batches"][0]["requests"] == 2
    assert mended["batches"][0]["requests"] == 1
    assert over["reason"] == "already_created"
    assert {batch["id"] for batch in over["batches"]} == {
        retried["batches"][0]["id"],
        mended["batches"][0]["id"],
    }
    assert "give that batch as retry_of" in over["message"]
    assert creates(sandbox) == 3


async def test_while_a_retry_is_unknown_no_other_one_of_the_same_batch_is_sent(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    requests = [request("expired-1"), request("bad", model="gpt")]
    name = write(requests_dir, requests)
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
    clock.advance(3600)
    async with connect(transport=Swallowing(sandbox)) as assistant:
        lost = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
        name = write(requests_dir, [requests[0], request("bad")])
        other = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
        clock.advance(4400)
        then = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
    assert lost["reason"] == other["reason"] == "unknown_outcome"
    assert then["batches"][0]["requests"] == 2
    assert await sizes(sandbox) == [0, 2]


async def test_a_batch_that_was_saved_and_deleted_can_be_retried(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("good"), request("expired-1")])
    async with connect(destructive="allow") as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
        clock.advance(3600)
        await assistant.call("save_message_batch_results", message_batch_id=first)
        await assistant.call("delete_message_batch", message_batch_id=first)
        retried = await assistant.call("create_message_batch", requests_file=name, retry_of=first)
    assert retried["batches"][0]["requests"] == 1


async def test_two_retries_of_one_batch_at_once_send_what_expired_once(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    requests = [request("expired-1"), request("bad", model="gpt")]
    write(requests_dir, requests)
    write(requests_dir, [requests[0], request("bad")], "mended.jsonl")
    answers: list[dict[str, Any]] = []
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file="r.jsonl"))["batches"][0]["id"]
        clock.advance(3600)

    async def retry(assistant: Assistant, name: str) -> None:
        answers.append(await assistant.call("create_message_batch", requests_file=name, retry_of=first))

    gathering = Gathering(sandbox, 2)
    async with (
        connect(transport=gathering) as one,
        connect(transport=gathering) as two,
        anyio.create_task_group() as at_once,
    ):
        at_once.start_soon(retry, one, "r.jsonl")
        at_once.start_soon(retry, two, "mended.jsonl")
    assert sorted(answer.get("reason", "created") for answer in answers) == ["created", "unknown_outcome"]
    assert creates(sandbox) == 2


async def test_an_upload_that_stood_still_so_long_that_another_call_gave_it_up_creates_nothing(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}", system="x" * 200_000) for n in range(20)])
    answers: list[dict[str, Any]] = []

    class Sleeping(SandboxTransport):
        """Takes the first piece, and goes to sleep with the lid of the machine."""

        def __init__(self, other: Assistant) -> None:
            super().__init__(sandbox)
            self._other = other

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "POST" and request.url.path.endswith("/batches"):
                pieces = aiter(request.stream)  # type: ignore[arg-type]
                await anext(pieces)
                answers.append(await self._other.call("create_message_batch", requests_file=name))
                clock.advance(360)
                answers.append(await self._other.call("create_message_batch", requests_file=name))
                async for _ in pieces:
                    pass
            return await super().handle_async_request(request)

    async with connect() as other, connect(transport=Sleeping(other)) as assistant:
        stalled = await assistant.call("create_message_batch", requests_file=name)
    assert answers[0]["reason"] == "unknown_outcome"
    assert "at this moment" in answers[0]["message"]
    assert answers[1]["type"] == "message_batch_created"
    assert stalled["reason"] == "failed"
    assert "stood still" in stalled["message"]
    assert await sizes(sandbox) == [20]


async def test_an_empty_page_that_says_that_there_are_more_does_not_show_that_a_batch_is_absent(
    connect: Connect, sandbox: Sandbox, clock: Clock
) -> None:
    lose = [cut]

    async def lost(received: httpx2.Request) -> None:
        if lose:
            await lose.pop()(received)

    sandbox.faults.append(Fault("list", body=b'{"data": [], "has_more": true}', times=50))
    async with connect(transport=Hooked(sandbox, after=lost)) as assistant:
        for _ in range(4):
            answer = await assistant.call("create_message_batch", requests=[request("a")])
            assert answer["reason"] == "unknown_outcome"
            clock.advance(3600)
        sandbox.faults.clear()
        found = await assistant.call("create_message_batch", requests=[request("a")])
    assert found["reason"] == "already_created"
    assert creates(sandbox) == 1


async def test_while_an_answer_is_awaited_for_long_nobody_else_calls_the_batch_absent(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    meanwhile: list[dict[str, Any]] = []
    async with connect() as other:

        async def look(_: httpx2.Request) -> None:
            meanwhile.append(await other.call("create_message_batch", requests_file=name))
            if len(meanwhile) == 1:
                clock.advance(590)
                meanwhile.append(await other.call("create_message_batch", requests_file=name, allow_duplicate=True))

        async with connect(transport=Hooked(sandbox, read_first=True, before=look, after=look)) as assistant:
            answer = await assistant.call("create_message_batch", requests_file=name)
    assert [one["reason"] for one in meanwhile] == ["unknown_outcome"] * 3
    assert all("at this moment" in one["message"] for one in meanwhile)
    assert answer["type"] == "message_batch_created"
    assert creates(sandbox) == 1


async def test_a_call_that_is_given_up_after_its_batch_was_created_is_not_sent_again(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    scope, canceled = anyio.CancelScope(), anyio.Event()

    async def give_up(_: httpx2.Request) -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            canceled.set()

    async with connect(transport=Hooked(sandbox, after=give_up)) as assistant:
        with scope:
            await assistant.client.call_tool("create_message_batch", {"requests_file": name})
        await canceled.wait()
        again = await assistant.call("create_message_batch", requests_file=name)
    assert again["reason"] == "already_created"
    assert creates(sandbox) == 1


async def test_a_batch_that_was_found_in_the_list_is_told_as_found(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Hooked(sandbox, after=cut)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
    assert answer["type"] == "message_batch_created"
    assert "was found in the list as the only new batch with as many requests" in answer["message"]


async def test_a_batch_that_cannot_be_told_from_another_is_named_later_and_can_be_sent_again_by_the_user(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        others = [sandbox.add_batch(1, key=KEY, status="in_progress", processing_seconds=80_000) for _ in range(2)]
        early = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
        clock.advance(7200)
        late = await assistant.call("create_message_batch", requests_file=name)
        forced = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
    assert early["reason"] == late["reason"] == "unknown_outcome"
    assert "After 2026-11-03 10:1" in early["message"]
    assert {one["id"] for one in late["candidates"]} == {one["id"] for one in early["candidates"]} == set(others)
    assert "2 batches fit" in late["message"]
    assert forced["type"] == "message_batch_created"


@pytest.mark.parametrize("status", [302, 404, 409])
async def test_an_answer_that_is_not_of_the_api_says_nothing_about_what_it_did(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, status: int
) -> None:
    name = write(requests_dir, [request("a")])

    class Gateway(SandboxTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if request.method == "POST" and request.url.path.endswith("/batches"):
                return httpx2.Response(status, text="<html>gateway</html>")
            return response

    async with connect(transport=Gateway(sandbox)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
        again = await assistant.call("create_message_batch", requests_file=name)
    assert answer["type"] == "message_batch_created"
    assert again["reason"] == "already_created"
    assert await sizes(sandbox) == [1]


async def test_where_the_list_is_longer_than_anyone_reads_a_lost_batch_is_never_called_absent(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Hooked(sandbox, after=cut)) as assistant:
        sandbox.faults.append(Fault("list", status=403, skip=1, times=9))
        await assistant.call("create_message_batch", requests_file=name)
        sandbox.faults.clear()
        for _ in range(20_001):
            sandbox.add_batch(3, key=KEY, status="in_progress")
        clock.advance(7200)
        late = await assistant.call("create_message_batch", requests_file=name)
    assert late["reason"] == "unknown_outcome"
    assert creates(sandbox) == 1


async def test_a_batch_of_days_later_is_not_taken_for_a_lost_one(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        clock.advance(3 * 86400)
        other = sandbox.add_batch(1, key=KEY)
        late = await assistant.call("create_message_batch", requests_file=name)
    assert late["type"] == "message_batch_created"
    assert late["batches"][0]["id"] != other


async def test_requests_whose_batch_was_deleted_are_known_with_the_place_of_its_results(
    connect: Connect, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("good")])
    async with connect(destructive="allow") as assistant:
        made = await assistant.call("create_message_batch", requests_file=name)
        batch = made["batches"][0]["id"]
        clock.advance(3600)
        saved = await assistant.call("save_message_batch_results", message_batch_id=batch)
        await assistant.call("delete_message_batch", message_batch_id=batch)
        again = await assistant.call("create_message_batch", requests_file=name)
    assert again["reason"] == "already_created"
    assert f"has been deleted since. Its results are saved in {saved['path']}" in again["message"]
    assert "Use that batch" not in again["message"]
    assert again["next_steps"] == []
