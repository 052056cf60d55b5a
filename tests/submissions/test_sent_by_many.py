"""Nothing is paid for twice by calls that overlap, by ledgers that change, and by answers that mislead."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, Assistant, Connect, SandboxTransport
from tests.support.requests import request, write
from tests.support.transports import Gathering, Hooked, Swallowing, cut
from tests.support.upstream import creates, held, sizes

pytestmark = pytest.mark.anyio


@pytest.fixture
async def expired(connect: Connect, clock: Clock, requests_dir: Path) -> str:
    """The id of a batch from `r.jsonl` of which two requests have expired."""
    name = write(requests_dir, [request("good"), request("expired-1"), request("expired-2")])
    async with connect() as assistant:
        made = await assistant.call("create_message_batch", requests_file=name)
    clock.advance(3600)
    return str(made["batches"][0]["id"])


async def test_a_retry_that_begins_while_another_call_looks_is_not_overlooked(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, expired: str
) -> None:
    name = write(requests_dir, [request("other")], "other.jsonl")
    inner: list[dict[str, Any]] = []
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)  # for which every call has to look in the list
    clock.advance(600)

    async with connect() as other:
        sending, answered = anyio.Event(), anyio.Event()

        async def hold(_: httpx2.Request) -> None:
            sending.set()
            await answered.wait()

        class Looking(Hooked):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                response = await super().handle_async_request(request)
                if request.url.query == b"limit=1000" and not inner:
                    inner.append({})
                    begun.start_soon(first)
                    await sending.wait()
                return response

        async with (
            connect(transport=Hooked(sandbox, before=hold)) as slow,
            connect(transport=Looking(sandbox)) as looking,
            anyio.create_task_group() as begun,
        ):

            async def first() -> None:
                inner.append(await slow.call("create_message_batch", requests_file="r.jsonl", retry_of=expired))

            second = await looking.call("create_message_batch", requests_file="r.jsonl", retry_of=expired)
            answered.set()
        third = await other.call("create_message_batch", requests_file="r.jsonl", retry_of=expired)
    assert second["reason"] == "unknown_outcome"
    assert inner[1]["type"] == "message_batch_created"
    assert third["batches"] == inner[1]["batches"]
    assert creates(sandbox) == 2


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_retry_as_a_duplicate_that_stopped_is_completed(
    connect: Connect,
    sandbox: Sandbox,
    clock: Clock,
    requests_dir: Path,
    tmp_path: Path,
    forgotten: bool,
) -> None:
    name = write(requests_dir, [request(f"expired-{n}") for n in range(3)])
    async with connect() as assistant:
        made = await assistant.call("create_message_batch", requests_file=name)
    if forgotten:
        (tmp_path / "state").rename(tmp_path / "moved")
    async with connect(most_requests=2) as assistant:
        clock.advance(3600)
        retry = {"requests_file": name, "retry_of": made["batches"][0]["id"]}
        sandbox.faults.append(Fault("create", status=400, skip=1))
        stopped = await assistant.call("create_message_batch", **retry, allow_duplicate=True)
        completed = await assistant.call("create_message_batch", **retry, allow_duplicate=True)
    assert stopped["reason"] == "failed"
    assert completed["type"] == "message_batch_created"
    assert completed["batches"][0] == stopped["batches"][0]
    assert await sizes(sandbox) == [0, 1, 2]


async def test_two_duplicates_at_once_are_one(connect: Connect, sandbox: Sandbox, requests_dir: Path) -> None:
    name = write(requests_dir, [request("a")])
    answers: list[dict[str, Any]] = []
    async with connect() as assistant:
        await assistant.call("create_message_batch", requests_file=name)

    async def again(assistant: Assistant) -> None:
        answers.append(await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True))

    gathering = Gathering(sandbox, 2)
    async with (
        connect(transport=gathering) as one,
        connect(transport=gathering) as two,
        anyio.create_task_group() as at_once,
    ):
        at_once.start_soon(again, one)
        at_once.start_soon(again, two)
    assert sorted(answer.get("reason", "created") for answer in answers) == ["created", "unknown_outcome"]
    (other,) = [answer for answer in answers if "reason" in answer]
    assert "but without allow_duplicate" in other["message"]
    assert creates(sandbox) == 2


async def test_a_duplicate_that_was_sent_while_another_call_looked_is_not_sent_by_that_one(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    arguments = {"requests_file": write(requests_dir, [request("a")]), "allow_duplicate": True}
    answers: list[dict[str, Any]] = []
    async with connect() as assistant:
        await assistant.call("create_message_batch", requests_file="r.jsonl")

        class Late(Hooked):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                if request.url.query == b"limit=1":  # just before the intent
                    answers.append(await assistant.call("create_message_batch", **arguments))
                return await super().handle_async_request(request)

        async with connect(transport=Late(sandbox)) as late:
            answers.append(await late.call("create_message_batch", **arguments))
    assert [answer.get("reason", "created") for answer in answers] == ["created", "unknown_outcome"]
    assert creates(sandbox) == 2


async def test_what_was_retried_is_not_sent_as_it_is_nor_the_other_way_round(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, expired: str
) -> None:
    only = write(requests_dir, [request("expired-1"), request("expired-2")], "only.jsonl")
    async with connect() as assistant:
        retried = await assistant.call("create_message_batch", requests_file="r.jsonl", retry_of=expired)
        plain = await assistant.call("create_message_batch", requests_file=only)
    assert plain["reason"] == "already_created"
    assert plain["batches"] == retried["batches"]
    assert creates(sandbox) == 2


async def test_what_was_sent_as_it_is_is_not_retried(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, expired: str
) -> None:
    only = write(requests_dir, [request("expired-1"), request("expired-2")], "only.jsonl")
    async with connect() as assistant:
        plain = await assistant.call("create_message_batch", requests_file=only)
        retried = await assistant.call("create_message_batch", requests_file="r.jsonl", retry_of=expired)
    assert retried["reason"] == "already_created"
    assert plain["batches"] == retried["batches"]
    assert creates(sandbox) == 2


async def test_what_was_sent_as_it_is_and_lost_is_not_retried(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, expired: str
) -> None:
    only = write(requests_dir, [request("expired-1"), request("expired-2")], "only.jsonl")
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=only)
        retried = await assistant.call("create_message_batch", requests_file="r.jsonl", retry_of=expired)
    assert retried["reason"] == "unknown_outcome"
    assert creates(sandbox) == 1


async def test_a_batch_that_another_call_has_just_learned_to_be_its_own_is_not_given_to_a_lost_one(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    lost = write(requests_dir, [request("lost")], "lost.jsonl")
    other = write(requests_dir, [request("other")], "other.jsonl")
    async with connect(transport=Swallowing(sandbox)) as assistant:
        sandbox.faults.append(Fault("list", status=403, skip=1, times=9))
        await assistant.call("create_message_batch", requests_file=lost)
    sandbox.faults.clear()
    sending, listed, told = anyio.Event(), anyio.Event(), anyio.Event()

    async def hold(_: httpx2.Request) -> None:
        sending.set()
        await listed.wait()

    answers: list[dict[str, Any]] = []

    class Looking(Hooked):
        """Reads the list while the other batch is there, and goes on when its sender has learned that it is its own."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if request.url.query == b"limit=1000":
                listed.set()
                await told.wait()
            return response

    async with connect(transport=Hooked(sandbox, after=hold)) as one, connect(transport=Looking(sandbox)) as two:

        async def create() -> None:
            answers.append(await one.call("create_message_batch", requests_file=other))
            told.set()

        async with anyio.create_task_group() as at_once:
            at_once.start_soon(create)
            await sending.wait()
            again = await two.call("create_message_batch", requests_file=lost)
    assert answers[0]["type"] == "message_batch_created"
    assert again["reason"] == "unknown_outcome"


async def test_where_the_newest_batch_was_deleted_meanwhile_no_older_one_is_taken_for_the_lost_one(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    older = sandbox.add_batch(1, key=KEY, age=7200)
    newest = sandbox.add_batch(2, key=KEY, age=600)
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        sandbox.remove_batch(newest, key=KEY)
        clock.advance(4400)
        answer = await assistant.call("create_message_batch", requests_file=name)
    assert answer["type"] == "message_batch_created"
    assert answer["batches"][0]["id"] != older


@pytest.mark.parametrize("replaced_by", ["nothing", "another"])
async def test_a_ledger_that_was_replaced_meanwhile_is_not_used_and_the_answer_is_not_lost_to_it(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, tmp_path: Path, replaced_by: str
) -> None:
    name = write(requests_dir, [request("a")])

    async def replace(_: httpx2.Request) -> None:
        for file in (tmp_path / "state").iterdir():
            file.unlink()
        if replaced_by == "another":
            (tmp_path / "state" / "ledger.db").touch()

    async with connect(transport=Hooked(sandbox, after=replace)) as assistant:
        made = await assistant.call("create_message_batch", requests_file=name)
        again = await assistant.fail("create_message_batch", requests_file=name)
    assert made["type"] == "message_batch_created"
    assert "was replaced or removed" in again
    assert creates(sandbox) == 1


async def test_once_sent_again_what_was_never_found_out_asks_for_nothing_more(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        for _ in range(2):
            sandbox.add_batch(1, key=KEY, status="in_progress", processing_seconds=80_000)
        clock.advance(7200)
        forced = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
        plain = await assistant.call("create_message_batch", requests_file=name)
    assert plain["reason"] == "already_created"
    assert plain["batches"] == forced["batches"]


async def test_an_old_riddle_does_not_make_riddles_of_later_batches(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    async with connect(transport=Swallowing(sandbox)) as assistant:
        await assistant.call("create_message_batch", requests_file=write(requests_dir, [request("a")]))
        for _ in range(2):
            sandbox.add_batch(1, key=KEY, status="in_progress", processing_seconds=80_000)
    clock.advance(20 * 86400)
    async with connect(transport=Hooked(sandbox, after=cut)) as assistant:
        later = await assistant.call("create_message_batch", requests=[request("b")])
    assert later["type"] == "message_batch_created"


async def test_an_inferred_batch_stays_inferred_in_what_is_told(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Hooked(sandbox, after=cut)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        again = await assistant.call("create_message_batch", requests_file=name)
    assert "was found in the list" in again["message"]


async def test_a_failed_part_is_told_without_a_word_that_leads_astray(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(requests_dir, [request(f"a{n}", system="x" * 200_000) for n in range(20)])

    class Cut(Hooked):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "POST" and request.url.path.endswith("/batches"):
                await anext(aiter(request.stream))  # type: ignore[arg-type]
                raise httpx2.WriteError("cut")
            return await super().handle_async_request(request)

    async with connect(transport=Cut(sandbox)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
    assert answer["reason"] == "failed"
    for misleading in ("unknown", "Do not repeat", "Nothing was changed"):
        assert misleading not in answer["message"]
    held_by_another = sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)
    with closing(held_by_another):
        async with connect() as assistant:
            await assistant.call("list_message_batches")
            held_by_another.execute("BEGIN IMMEDIATE")
            said = await assistant.fail("create_message_batch", requests_file=name)
    assert "Another program holds the ledger" in said
    assert creates(sandbox) == 0


@pytest.mark.parametrize("status", [401, 403, 413, 429])
@pytest.mark.parametrize("acted", [True, False])
async def test_a_refusal_that_is_not_in_the_words_of_the_api_says_nothing_about_what_it_did(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, status: int, acted: bool
) -> None:
    name = write(requests_dir, [request("a")])

    class Gateway(SandboxTransport):
        """Takes a whole create once, passes it on where it `acted`, and answers with a page of its own."""

        answered = False

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if self.answered or request.method != "POST" or not request.url.path.endswith("/batches"):
                return await super().handle_async_request(request)
            self.answered = True
            if acted:
                await super().handle_async_request(request)
            else:
                async for _ in request.stream:  # type: ignore[union-attr]
                    pass
            return httpx2.Response(status, text="<html>no</html>")

    async with connect(transport=Gateway(sandbox)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
        soon = await assistant.call("create_message_batch", requests_file=name)
        clock.advance(4400)
        late = await assistant.call("create_message_batch", requests_file=name)
    assert answer.get("reason", "created") == ("created" if acted else "unknown_outcome")
    assert soon["reason"] == ("already_created" if acted else "unknown_outcome")
    assert late.get("reason", "created") == ("already_created" if acted else "created")
    assert len(await held(sandbox)) == 1


class Refusing(SandboxTransport):
    """Lets a create through, and then answers with a page of its own; `listed` is what it makes of the lists since."""

    refused = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if request.method == "POST" and request.url.path.endswith("/batches"):
            self.refused = True
            return httpx2.Response(403, text="<html>no</html>")
        return await self.listed(response) if self.refused and "limit" in request.url.params else response

    async def listed(self, response: httpx2.Response) -> httpx2.Response:
        return httpx2.Response(403, text="<html>no</html>")


async def test_a_refusal_from_between_says_nothing_where_the_list_is_refused_as_well(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=Refusing(sandbox)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
    async with connect() as assistant:
        again = await assistant.call("create_message_batch", requests_file=name)
    assert answer["reason"] == "unknown_outcome"
    assert again["reason"] == "already_created"
    assert creates(sandbox) == 1


async def test_what_another_call_found_out_outlasts_a_refusal_from_between(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    meanwhile: list[dict[str, Any]] = []
    async with connect() as other:

        class Late(Refusing):
            async def listed(self, response: httpx2.Response) -> httpx2.Response:
                if not meanwhile:
                    meanwhile.append(await other.call("create_message_batch", requests_file=name))
                return httpx2.Response(200, json={"data": [], "has_more": False, "first_id": None, "last_id": None})

        async with connect(transport=Late(sandbox)) as assistant:
            answer = await assistant.call("create_message_batch", requests_file=name)
        again = await other.call("create_message_batch", requests_file=name)
    assert meanwhile[0]["reason"] == again["reason"] == "already_created"
    assert answer["type"] == "message_batch_created"
    assert answer["batches"] == again["batches"]
    assert creates(sandbox) == 1


async def test_what_is_sent_as_it_is_while_a_retry_looks_is_not_sent_by_the_retry(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, expired: str
) -> None:
    only = write(requests_dir, [request("expired-1"), request("expired-2")], "only.jsonl")
    answers: list[dict[str, Any]] = []
    async with connect() as assistant:

        class Late(SandboxTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                if request.url.query == b"limit=1":  # just before the intent
                    answers.append(await assistant.call("create_message_batch", requests_file=only))
                return await super().handle_async_request(request)

        async with connect(transport=Late(sandbox)) as late:
            answers.append(await late.call("create_message_batch", requests_file="r.jsonl", retry_of=expired))
    assert [answer.get("reason", "created") for answer in answers] == ["created", "unknown_outcome"]
    assert creates(sandbox) == 2


@pytest.mark.parametrize("most_requests", [2])
async def test_parts_that_were_sent_in_another_order_keep_their_numbers(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    requests = [request(f"a{n}") for n in range(4)]
    async with connect() as assistant:
        second = await assistant.call("create_message_batch", requests=requests[2:])
        first = await assistant.call("create_message_batch", requests=requests[:2])
        whole = await assistant.call("create_message_batch", requests_file=write(requests_dir, requests))
    assert whole["reason"] == "already_created"
    assert [one["id"] for one in whole["batches"]] == [first["batches"][0]["id"], second["batches"][0]["id"]]
    assert [one["part"] for one in whole["batches"]] == [1, 2]


async def test_another_spelling_of_the_address_is_the_same_api(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(base_url="https://api.example.com") as assistant:
        await assistant.call("create_message_batch", requests_file=name)
    async with connect(base_url="https://API.example.com:443/") as assistant:
        again = await assistant.call("create_message_batch", requests_file=name)
    assert again["reason"] == "already_created"


async def test_an_estimate_of_texts_is_not_made_from_pictures(connect: Connect) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    pictures = [request(f"p{n}", messages=[{"role": "user", "content": [picture]}]) for n in range(3)]
    texts = [request(f"t{n}", messages=[{"role": "user", "content": "word " * 10_000}]) for n in range(12)]
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests=pictures + texts, dry_run=True)
        tool = request("s", tools=[{"type": "web_search_20250305", "name": "web_search"}])
        with_fees = await assistant.call("create_message_batch", requests=[tool], dry_run=True)
    assert answer["estimate"]["models"][0]["input_tokens"] >= 12 * 10_000
    assert "without what web_search may add" in with_fees["message"]


async def test_a_request_that_is_nested_very_deeply_is_told_or_sent_but_breaks_nothing(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    deep: Any = "x"
    for _ in range(980):
        deep = [deep]
    async with connect() as assistant:
        for levels in (100, 400, 980):
            body = json.dumps(request("a")).replace('"Hello."', '"Hello.", "x": ' + "[" * levels + "]" * levels)
            (requests_dir / "deep.jsonl").write_text(body)
            result = await assistant.client.call_tool(
                "create_message_batch", {"requests_file": "deep.jsonl", "dry_run": True}
            )
            assert "Error executing" not in str(result.content)


@pytest.mark.parametrize(("ttl", "times"), [("5m", 1.25), ("1h", 2)])
async def test_what_can_be_written_to_a_cache_is_priced_as_written(connect: Connect, ttl: str, times: float) -> None:
    async def price(control: dict[str, Any]) -> dict[str, Any]:
        text = {"type": "text", "text": "word " * 10_000, **control}
        asked = request("a", system=[text], max_tokens=1)
        async with connect() as assistant:
            told = await assistant.call("create_message_batch", requests=[asked], dry_run=True)
        model: dict[str, Any] = told["estimate"]["models"][0]
        return model

    plain, cached = await price({}), await price({"cache_control": {"type": "ephemeral", "ttl": ttl}})
    by_token = [model["max_cost_usd"] / model["input_tokens"] for model in (plain, cached)]
    assert by_token[1] / by_token[0] == pytest.approx(times, rel=0.02)
