"""`create_message_batch`: checked first, priced first, and sent once."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from mcp_batch_tools.cli import main
from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Assistant, Connect, SandboxTransport
from tests.support.consent import answering
from tests.support.proxy import Proxy, damaging
from tests.support.raw import over_streams
from tests.support.requests import request, write
from tests.support.seeds import dice as dice_for
from tests.support.seeds import rounds
from tests.support.serving import served
from tests.support.transports import Gathering, Swallowing
from tests.support.upstream import creates, held

pytestmark = pytest.mark.anyio


async def test_requests_are_sent_as_one_batch_with_label_price_and_the_next_step(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, era: str
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(30)])
    async with connect(era) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name, label="greetings")
        batch = answer["batches"][0]["id"]
        seen = await assistant.call("get_message_batch", message_batch_id=batch)
        listed = await assistant.call("list_message_batches", label="greetings")
        other = await assistant.call("list_message_batches", label="farewells")
    assert answer["type"] == "message_batch_created"
    assert answer["batches"] == [{"id": batch, "part": 1, "requests": 30}]
    assert answer["estimate"]["input_tokens_by"] == "the API's count of 3 requests"
    assert answer["estimate"]["models"][0]["most_output_tokens"] == 3000
    assert answer["next_steps"][0]["tool"] == "get_message_batch"
    assert seen["label"] == "greetings"
    assert seen["estimate_usd"] == pytest.approx(answer["estimate"]["max_cost_usd"], abs=1e-4)
    assert [row["id"] for row in listed["batches"]] == [batch]
    assert listed["batches"][0]["label"] == "greetings"
    assert other["batches"] == []
    (batch_held,) = await held(sandbox)
    assert batch_held["request_counts"]["processing"] == 30


async def test_a_few_requests_can_be_given_inline(connect: Connect, sandbox: Sandbox) -> None:
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests=[request("a"), request("b")])
        neither = await assistant.fail("create_message_batch")
        both = await assistant.fail("create_message_batch", requests=[request("a")], requests_file="x.jsonl")
    assert answer["batches"][0]["requests"] == 2
    assert "Neither requests nor requests_file was given." in neither
    assert "Both requests and requests_file were given." in both
    assert creates(sandbox) == 1


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_sent(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    wrong = [request("a", stream=True), request("a"), request("b", max_tokens=0), request("c", temperature=1)]
    wrong += [{"custom_id": f"n{n}", "params": {"model": "claude-haiku-4-5", "messages": []}} for n in range(310)]
    async with connect() as assistant:
        said = await assistant.fail("create_message_batch", requests_file=write(requests_dir, wrong))
    for words in ("`stream`", "duplicate `custom_id`", "`temperature`", "line 3", "and 307 more", "Nothing was sent."):
        assert words in said
    assert sandbox.received == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.jsonl", "link.jsonl", "none.jsonl", "x\x00"])
async def test_a_file_outside_the_folder_is_not_read(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, path: str
) -> None:
    write(requests_dir.parent, [request("a")], "outside.jsonl")
    (requests_dir / "link.jsonl").symlink_to(requests_dir.parent / "outside.jsonl")
    async with connect() as assistant:
        said = await assistant.fail("create_message_batch", requests_file=path)
    assert str(requests_dir) in said
    assert sandbox.received == []


async def test_a_dry_run_only_checks_and_prices(connect: Connect, sandbox: Sandbox, requests_dir: Path) -> None:
    name = write(requests_dir, [request(f"a{n}", max_tokens=1_000) for n in range(1000)])
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name, dry_run=True)
    assert answer["type"] == "message_batch_estimate"
    assert answer["requests"] == 1000
    model = answer["estimate"]["models"][0]
    assert model["most_output_tokens"] == 1_000_000
    assert model["max_cost_usd"] == pytest.approx((model["input_tokens"] * 0.5 + 1_000_000 * 2.5) / 1e6, abs=1e-3)
    assert creates(sandbox) == 0
    assert not (requests_dir.parent / "state").exists()


async def test_where_the_api_counts_no_tokens_a_rule_of_thumb_is_named(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("count_tokens", status=403, times=99))
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests=[request("a")], dry_run=True)
    assert "rule of thumb" in answer["estimate"]["input_tokens_by"]
    assert answer["estimate"]["models"][0]["input_tokens"] > 0


@pytest.mark.parametrize(
    ("arguments", "settings"), [({"max_cost_usd": 0.0001}, {}), ({"max_cost_usd": 99}, {"max_cost_usd": 0.0001})]
)
async def test_above_a_limit_nothing_is_sent(
    connect: Connect, sandbox: Sandbox, arguments: dict[str, Any], settings: dict[str, Any]
) -> None:
    async with connect(**settings) as assistant:
        answer = await assistant.call("create_message_batch", requests=[request("a")], **arguments)
    assert answer["reason"] == "too_expensive"
    assert creates(sandbox) == 0


async def test_with_a_limit_nothing_is_sent_at_an_unknown_price(connect: Connect, sandbox: Sandbox) -> None:
    async with connect() as assistant:
        answer = await assistant.call(
            "create_message_batch", requests=[request("a", model="claude-of-tomorrow")], max_cost_usd=1000
        )
    assert answer["reason"] == "cost_unknown"
    assert f"genai-prices {version('genai-prices')} do not list claude-of-tomorrow" in answer["message"]
    assert "--prices" in answer["message"]
    assert "Fewer requests" not in answer["message"]
    assert creates(sandbox) == 0


DEAR = [request(custom_id, max_tokens=100_000, model="claude-opus-4-5") for custom_id in ("a", "b")]


@pytest.mark.parametrize(("how", "sent"), [("accept", 1), ("keep", 0), ("decline", 0), ("dismiss", 0), ("empty", 0)])
async def test_above_a_sum_the_person_is_asked_with_the_numbers(
    sandbox: Sandbox, clock: Clock, era: str, how: str, sent: int
) -> None:
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, era, {"elicitation": {}}) as raw:
        said = await raw.call("create_message_batch", {"requests": DEAR}, answering(how))
        cheap = await raw.call("create_message_batch", {"requests": [request("a")]}, answering("decline"))
    assert "Create a batch of 2 requests? They cost 2.50 USD if every answer" in raw.asked[0]["message"]
    assert len(raw.asked) == 1
    assert said is not None
    assert cheap is not None
    assert cheap["result"]["structuredContent"]["type"] == "message_batch_created"
    assert creates(sandbox) == sent + 1
    if not sent:
        assert ("Nothing was sent" if how == "empty" else "Nothing was changed") in json.dumps(said)


@pytest.mark.parametrize(("policy", "sent"), [("ask", 1), ("require", 0), ("allow", 1), ("block", 0)])
async def test_where_nobody_can_be_asked_the_policy_decides_about_dear_requests(
    connect: Connect, sandbox: Sandbox, policy: str, sent: int
) -> None:
    async with connect(destructive=policy) as assistant:
        answer = await assistant.call("create_message_batch", requests=DEAR)
    assert creates(sandbox) == sent
    assert answer["type"] == ("message_batch_created" if sent else "message_batch_not_created")


async def test_the_same_requests_are_not_sent_twice_within_29_days(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(5)])
    async with connect() as assistant:
        first = await assistant.call("create_message_batch", requests_file=name, label="mine")
    async with connect() as assistant:
        again = await assistant.call("create_message_batch", requests_file=name)
        other = await assistant.call("create_message_batch", requests=[request("a0")])
        forced = await assistant.call("create_message_batch", requests_file=name, allow_duplicate=True)
    assert again["reason"] == "already_created"
    assert again["batches"] == first["batches"]
    assert '"mine"' in again["message"]
    assert "is in_progress now" in again["message"]
    assert again["next_steps"][0]["arguments"] == {"message_batch_id": first["batches"][0]["id"]}
    assert other["type"] == forced["type"] == "message_batch_created"
    assert creates(sandbox) == 3


async def test_the_same_requests_sent_by_many_calls_at_once_make_one_batch(
    sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(5)])
    answers: list[dict[str, Any]] = []
    transport = Gathering(sandbox, 3)
    servers = [create_server(Settings.load(api_key=KEY), transport=transport, clock=clock) for _ in range(3)]

    async def create(client: Client) -> None:
        answers.append(await Assistant(client).call("create_message_batch", requests_file=name))

    async with (
        Client(servers[0]) as one,
        Client(servers[1]) as two,
        Client(servers[2]) as three,
        anyio.create_task_group() as at_once,
    ):
        for client in (one, two, three):
            at_once.start_soon(create, client)
    assert len(await held(sandbox)) == 1
    assert sorted(answer.get("reason", "created") for answer in answers) == [
        "created",
        "unknown_outcome",
        "unknown_outcome",
    ]


async def test_a_machine_whose_clock_is_ahead_still_finds_its_batch(
    sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    class Ahead(Clock):
        def now(self) -> datetime:
            return clock.now() + timedelta(hours=3)

    name = write(requests_dir, [request(f"a{n}") for n in range(5)])
    sandbox.faults.append(Fault("create", cut="after"))
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=Ahead())
    async with Client(server) as client:
        answer = await Assistant(client).call("create_message_batch", requests_file=name)
    assert answer["type"] == "message_batch_created"


@pytest.mark.parametrize("cut", [Fault("create", cut="after"), Fault("create", status=504, after_effect=True)])
async def test_a_batch_whose_answer_was_lost_is_found_and_not_sent_again(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, cut: Fault
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(7)])
    sandbox.add_batch(7, key=KEY, age=3600)
    sandbox.faults.append(replace(cut))
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name, label="found")
        again = await assistant.call("create_message_batch", requests_file=name)
    assert answer["type"] == "message_batch_created"
    assert again["reason"] == "already_created"
    assert len(await held(sandbox)) == 2
    assert creates(sandbox) == 1


async def test_where_more_than_one_batch_fits_the_outcome_is_unknown_and_the_candidates_are_named(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(7)])
    sandbox.faults.append(Fault("create", cut="after"))
    sandbox.faults.append(Fault("list", delay=1, skip=1))

    class Racing(SandboxTransport):
        async def handle_async_request(self, request: Any) -> Any:
            if request.method == "POST" and request.url.path.endswith("/batches"):
                sandbox.add_batch(7, key=KEY, status="in_progress")
            return await super().handle_async_request(request)

    async with connect(transport=Racing(sandbox)) as assistant:
        answer = await assistant.call("create_message_batch", requests_file=name)
        again = await assistant.call("create_message_batch", requests_file=name)
    assert answer["reason"] == again["reason"] == "unknown_outcome"
    assert len(answer["candidates"]) == 2
    assert "Do not send the requests in any other way" in answer["message"]
    assert creates(sandbox) == 1


async def test_a_body_that_was_not_sent_whole_cannot_have_made_a_batch(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(7)])
    sandbox.faults.append(Fault("create", cut="before"))
    async with connect() as assistant:
        failed = await assistant.call("create_message_batch", requests_file=name)
        then = await assistant.call("create_message_batch", requests_file=name)
    assert failed["reason"] == "failed"
    assert then["type"] == "message_batch_created"
    assert len(await held(sandbox)) == 1


async def test_a_lost_request_is_unknown_at_first_and_sent_again_when_it_surely_made_no_batch(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(7)])
    transport = Swallowing(sandbox)
    async with connect(transport=transport) as assistant:
        lost = await assistant.call("create_message_batch", requests_file=name)
        soon = await assistant.call("create_message_batch", requests_file=name)
        assert creates(sandbox) == 0
        clock.advance(4400)
        late = await assistant.call("create_message_batch", requests_file=name)
    assert lost["reason"] == soon["reason"] == "unknown_outcome"
    assert lost["candidates"] == []
    assert late["type"] == "message_batch_created"
    assert len(await held(sandbox)) == 1


async def test_a_new_start_finishes_what_was_left_open(connect: Connect, sandbox: Sandbox, requests_dir: Path) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(7)])
    sandbox.faults += [Fault("create", cut="after"), Fault("list", status=403, skip=1, times=9)]
    async with connect() as assistant:
        lost = await assistant.call("create_message_batch", requests_file=name, label="open")
    assert lost["reason"] == "unknown_outcome"
    sandbox.faults.clear()
    async with connect() as assistant:
        listed = await assistant.call("list_message_batches", label="open")
        again = await assistant.call("create_message_batch", requests_file=name)
    assert len(listed["batches"]) == 1
    assert again["reason"] == "already_created"
    assert creates(sandbox) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 413, 429])
async def test_a_refusal_is_told_and_leaves_the_way_open(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, status: int
) -> None:
    name = write(requests_dir, [request("a")])
    sandbox.faults.append(Fault("create", status=status, headers={"x-should-retry": "false"}))
    async with connect() as assistant:
        refused = await assistant.call("create_message_batch", requests_file=name)
        then = await assistant.call("create_message_batch", requests_file=name)
    assert refused["reason"] == "failed"
    assert f"HTTP {status}" in refused["message"]
    assert then["type"] == "message_batch_created"
    assert len(await held(sandbox)) == 1


async def test_without_a_place_for_the_intent_nothing_is_sent(
    connect: Connect, sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    async with connect() as assistant:
        said = json.dumps(
            (await assistant.client.call_tool("create_message_batch", {"requests": [request("a")]}))
            .content[0]
            .model_dump()
        )
    assert "Nothing was sent." in said
    assert creates(sandbox) == 0


async def test_a_submission_is_among_the_receipts(
    connect: Connect, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect() as assistant:
        answer = await assistant.call("create_message_batch", requests=[request("a"), request("b")])
    assert main(["receipts", "--json"]) == 0
    (receipt,) = json.loads(capsys.readouterr().out)
    assert receipt["action"] == "create"
    assert receipt["message_batch_id"] == answer["batches"][0]["id"]
    assert receipt["outcome"] == "done"
    assert receipt["consent"] == "below the approval threshold"
    assert receipt["request_counts"] == {"processing": 2}


async def test_only_what_is_worth_it_is_sent_again_and_linked_to_the_first_batch(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    first = [
        request("good"),
        request("errored-1"),
        request("expired-1"),
        request("bad", model="gpt"),
        request("worse", model="gpt"),
    ]
    name = write(requests_dir, first)
    async with connect() as assistant:
        created = await assistant.call("create_message_batch", requests_file=name)
        batch = created["batches"][0]["id"]
        early = await assistant.fail("create_message_batch", requests_file=name, retry_of=batch)
        clock.advance(3600)
        first[4] = request("worse")
        fixed = write(requests_dir, first, "fixed.jsonl")
        answer = await assistant.call("create_message_batch", requests_file=fixed, retry_of=batch, label="again")
        again = await assistant.call("create_message_batch", requests_file=fixed, retry_of=batch)
        seen = await assistant.call("get_message_batch", message_batch_id=answer["batches"][0]["id"])
    assert "has not ended" in early
    assert answer["batches"][0]["requests"] == 3
    assert again["reason"] == "already_created"
    assert seen["retry_of"] == batch
    assert len(await held(sandbox)) == 2


async def test_more_than_one_batchs_worth_is_split_and_a_repeat_completes_what_failed_in_the_middle(
    connect: Connect, sandbox: Sandbox, requests_dir: Path
) -> None:
    name = write(requests_dir, [request(f"a{n}") for n in range(100_005)])
    sandbox.faults.append(Fault("create", status=403, skip=1))
    async with connect(ask_above_usd=1000) as assistant:
        half = await assistant.call("create_message_batch", requests_file=name, label="large")
        whole = await assistant.call("create_message_batch", requests_file=name, label="large")
        again = await assistant.call("create_message_batch", requests_file=name, label="large")
        listed = await assistant.call("list_message_batches", label="large")
    assert half["reason"] == "failed"
    assert "1 of 2 batches were created" in half["message"]
    assert [batch["requests"] for batch in whole["batches"]] == [100_000, 5]
    assert whole["batches"][0] == half["batches"][0]
    assert again["reason"] == "already_created"
    assert {row["id"] for row in listed["batches"]} == {batch["id"] for batch in whole["batches"]}
    assert sorted(batch["request_counts"]["processing"] for batch in await held(sandbox)) == [5, 100_000]


async def test_a_batch_that_went_well_has_nothing_to_retry(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect() as assistant:
        created = await assistant.call("create_message_batch", requests_file=name)
        clock.advance(3600)
        said = await assistant.fail("create_message_batch", requests_file=name, retry_of=created["batches"][0]["id"])
    assert "has nothing to retry" in said
    assert creates(sandbox) == 1


@asynccontextmanager
async def behind_a_proxy(sandbox: Sandbox, clock: Clock) -> AsyncIterator[tuple[Assistant, Proxy]]:
    with served(sandbox) as address:
        async with damaging(address) as proxy:
            proxy.only = b"POST /v1/messages/batches HTTP"
            server = create_server(Settings.load(api_key=KEY, base_url=proxy.address), clock=clock, stall_seconds=0.5)
            async with Client(server) as client:
                yield Assistant(client), proxy


@pytest.mark.random
@pytest.mark.slow
async def test_through_a_proxy_that_cuts_anywhere_no_intent_makes_two_batches_and_created_means_created(
    sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    dice = dice_for("creates through a proxy")
    counts: dict[str, int] = {}
    tries = rounds(20)
    async with behind_a_proxy(sandbox, clock) as (assistant, proxy):
        for size in range(1, tries + 1):
            name = write(requests_dir, [request(f"r{size}-{n}") for n in range(size)])
            length = (requests_dir / name).stat().st_size
            for attempt in range(4):
                proxy.cut_request_at = dice.choice([None, None, dice.randrange(0, 2 * length)])
                place = dice.choice([0, 0, 5, 40, 100_000])
                proxy.damage = lambda answer, place=place: (answer[:place], dice.choice(["reset", "close"]))
                if attempt == 3:  # in the end, after the time in which it can be told, and with nothing in the way
                    clock.advance(4400)
                    proxy.cut_request_at = proxy.damage = None
                answer = await assistant.call("create_message_batch", requests_file=name)
                made = [batch["id"] for batch in await held(sandbox) if sum(batch["request_counts"].values()) == size]
                kind = answer.get("reason", "created")
                counts[kind] = counts.get(kind, 0) + 1
                assert len(made) <= 1
                if kind in {"created", "already_created"}:
                    assert [batch["id"] for batch in answer["batches"]] == made
            assert kind in {"created", "already_created"}
    print(counts)
    assert counts["created"] > tries / 10
