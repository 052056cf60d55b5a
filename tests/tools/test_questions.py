"""A consent holds for what its question named, and a question is answered once, however often an answer comes."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import AESGCMRequestStateCodec

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, SandboxTransport
from tests.support.consent import answering
from tests.support.processes import launched
from tests.support.raw import Asking, Pending, over_stateless_http, over_streams, question_of, respond
from tests.support.requests import request, write
from tests.support.serving import served
from tests.support.upstream import acts, creates, held

pytestmark = pytest.mark.anyio

SHARED = [b"a key that both of these servers know"]
DEAR = {"max_tokens": 100_000, "model": "claude-opus-4-5"}
YES = {"delete_message_batch": "delete", "cancel_message_batch": "stop it", "create_message_batch": "create"}
NO = {"delete_message_batch": "keep", "cancel_message_batch": "keep running", "create_message_batch": "do not create"}

Connected = Callable[[MCPServer[Any]], AbstractAsyncContextManager[Asking]]


@asynccontextmanager
async def over_stdio(server: MCPServer[Any]) -> AsyncIterator[Asking]:
    async with over_streams(server, "2026-07-28", {"elicitation": {}}) as client:
        yield client


WAYS: dict[str, Connected] = {"stdio": over_stdio, "stateless HTTP": over_stateless_http}


@pytest.fixture(params=list(WAYS))
def connected(request: pytest.FixtureRequest) -> Connected:
    return WAYS[request.param]


@pytest.fixture
def server(sandbox: Sandbox, clock: Clock) -> Callable[[], MCPServer[Any]]:
    """Makes servers that share the ledger and the keys of open questions."""

    def make() -> MCPServer[Any]:
        transport = SandboxTransport(sandbox)
        return create_server(Settings.load(api_key=KEY), transport=transport, clock=clock, state_keys=SHARED)

    return make


@pytest.fixture
def dear_file(requests_dir: Path) -> str:
    return write(requests_dir, [request("a", **DEAR), request("b", **DEAR)])


def arguments_of(tool: str, sandbox: Sandbox) -> dict[str, Any]:
    match tool:
        case "delete_message_batch":
            return {"message_batch_id": sandbox.add_batch({"succeeded": 3}, key=KEY)}
        case "cancel_message_batch":
            return {"message_batch_id": sandbox.add_batch(3, key=KEY, status="in_progress")}
        case _:
            return {"requests": [request("a", **DEAR)], "allow_duplicate": True}


def came_to(facts: dict[str, Any]) -> Any:
    """What an answer says that was done, without its words."""
    return facts.get("outcome"), facts.get("reason"), facts.get("type"), facts.get("batches")


def rows(tmp_path: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as ledger:
        ledger.row_factory = sqlite3.Row
        return [dict(row) for row in ledger.execute(f"SELECT * FROM {table}")]


@pytest.mark.parametrize("tool", YES)
@pytest.mark.parametrize("answers", ["yes yes yes yes", "no yes yes", "decline yes", "yes no yes"])
@pytest.mark.parametrize("servers", [1, 2])
async def test_the_first_answer_counts_and_every_other_is_told_what_came_of_it(
    sandbox: Sandbox,
    server: Callable[[], MCPServer[Any]],
    connected: Connected,
    tool: str,
    answers: str,
    servers: int,
) -> None:
    choices = {"yes": YES[tool], "no": NO[tool], "decline": None}
    first, *others = answers.split()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server())) for _ in range(servers)]
        pending = await question_of(clients[0], tool, **arguments_of(tool, sandbox))
        done = await respond(clients[0], pending, choices[first])
        sandbox.received.clear()
        again = [await respond(clients[-1], pending, choices[other]) for other in others]
    assert [came_to(facts) for facts in again] == [came_to(done)] * len(others)
    assert sandbox.received == []
    created = await held(sandbox)
    if tool == "create_message_batch":
        assert len(created) == (first == "yes")
    elif tool == "delete_message_batch":
        assert len(created) == (first != "yes")
    else:
        assert created[0]["processing_status"] == ("canceling" if first == "yes" else "in_progress")


class Together(SandboxTransport):
    """Holds the answers to GETs until so many calls have come, or are over: then no call knows of another's act."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._left = 0
        self._all = anyio.Event()

    def hold(self, calls: int) -> None:
        self._left, self._all = calls, anyio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if request.method == "GET" and self._left:
            self.over()
            with anyio.fail_after(20):
                await self._all.wait()
        return response

    def over(self) -> None:
        """One call less to wait for: it has come, or was answered without a look."""
        self._left = max(0, self._left - 1)
        if not self._left:
            self._all.set()


class Between(SandboxTransport):
    """Lets something happen before the next GET, once it is told to."""

    happens: Callable[[], Awaitable[object]] | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and self.happens is not None:
            happens, self.happens = self.happens, None
            await happens()
        return await super().handle_async_request(request)


@pytest.mark.parametrize("tool", YES)
@pytest.mark.parametrize("answers", ["yes yes yes yes", "no yes yes", "yes no yes"])
async def test_of_answers_that_come_at_once_one_counts(sandbox: Sandbox, clock: Clock, tool: str, answers: str) -> None:
    transport = Together(sandbox)
    server = create_server(Settings.load(api_key=KEY), transport=transport, clock=clock)
    async with over_streams(server, "2026-07-28", {"elicitation": {}}) as client:
        pending = await question_of(client, tool, **arguments_of(tool, sandbox))
        choices = [YES[tool] if word == "yes" else NO[tool] for word in answers.split()]
        sandbox.received.clear()
        transport.hold(len(choices))
        told = await client.ask_at_once(*[pending.answered(choice) for choice in choices], each=transport.over)
        again = await respond(client, pending, YES[tool])
    assert not any("error" in said or said["result"].get("isError") for said in told), told
    assert acts(sandbox) == (again.get("reason") != "declined" and again.get("outcome") != "declined")


async def test_answers_to_two_servers_at_once_make_one_batch(sandbox: Sandbox, clock: Clock) -> None:
    transport = Together(sandbox)
    servers = [
        create_server(Settings.load(api_key=KEY), transport=transport, clock=clock, state_keys=SHARED) for _ in range(2)
    ]
    async with over_stdio(servers[0]) as one, over_stdio(servers[1]) as two:
        pending = await question_of(one, "create_message_batch", **arguments_of("create_message_batch", sandbox))
        transport.hold(2)
        async with anyio.create_task_group() as at_once:
            for client in (one, two):
                at_once.start_soon(respond, client, pending, "create")
        told = [await respond(client, pending, "create") for client in (one, two)]
    assert creates(sandbox) == 1
    assert [facts["batches"] for facts in told] == [told[0]["batches"]] * 2


@pytest.mark.parametrize("tool", YES)
async def test_an_answer_that_another_server_acts_on_while_this_one_looks_does_nothing_here(
    sandbox: Sandbox, clock: Clock, server: Callable[[], MCPServer[Any]], tool: str
) -> None:
    transport = Between(sandbox)
    here = create_server(Settings.load(api_key=KEY), transport=transport, clock=clock, state_keys=SHARED)
    async with over_stdio(here) as one, over_stdio(server()) as two:
        pending = await question_of(one, tool, **arguments_of(tool, sandbox))
        transport.happens = partial(respond, two, pending, YES[tool])
        facts = await respond(one, pending, YES[tool])
        then = await respond(one, pending, YES[tool])
    assert sum(one.method != "GET" and "count_tokens" not in one.path for one in sandbox.received) == 1
    assert came_to(facts) == came_to({**then, "outcome": "already_canceling"} if "outcome" in then else then)


async def test_a_server_that_does_not_share_the_keys_takes_no_answer(sandbox: Sandbox, clock: Clock) -> None:
    settings = Settings.load(api_key=KEY)
    servers = [create_server(settings, transport=SandboxTransport(sandbox), clock=clock) for _ in range(2)]
    async with over_stdio(servers[0]) as one, over_stdio(servers[1]) as two:
        pending = await question_of(one, "delete_message_batch", **arguments_of("delete_message_batch", sandbox))
        said = await two.ask("tools/call", pending.answered("delete"))
    assert said["error"]["code"] == -32602
    assert acts(sandbox) == 0


@pytest.mark.parametrize("change", [{"v": 0}, {"v": None, "state": "{}"}])
async def test_a_state_that_another_version_or_program_sealed_with_the_same_keys_is_refused(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], change: dict[str, Any]
) -> None:
    codec = AESGCMRequestStateCodec(SHARED)
    async with over_stdio(server()) as client:
        pending = await question_of(client, "delete_message_batch", **arguments_of("delete_message_batch", sandbox))
        envelope = {**json.loads(codec.unseal(pending.state)), **change}
        foreign = replace(pending, state=codec.seal(json.dumps(envelope).encode()))
        said = await client.ask("tools/call", foreign.answered("delete"))
    assert said["error"]["code"] == -32602
    assert acts(sandbox) == 0


async def test_requests_upstream_per_round(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], connected: Connected, dear_file: str
) -> None:
    def received() -> list[str]:
        paths = [one.path.rsplit("/", 1)[-1] for one in sandbox.received]
        methods = [one.method for one in sandbox.received]
        sandbox.received.clear()
        return [
            path if path in {"count_tokens", "cancel"} else method for path, method in zip(paths, methods, strict=True)
        ]

    async with connected(server()) as client:
        for tool, act in (("delete_message_batch", "DELETE"), ("cancel_message_batch", "cancel")):
            pending = await question_of(client, tool, **arguments_of(tool, sandbox))
            assert received() == ["GET"]
            await respond(client, pending, YES[tool])
            assert received() == ["GET", act]
        pending = await question_of(client, "create_message_batch", requests_file=dear_file)
        assert set(received()) == {"count_tokens"}
        await respond(client, pending, "create")
        assert received() == ["GET", "POST"]


def rewrite(path: Path, how: str) -> None:
    lines = path.read_text().splitlines()
    match how:
        case "another content":
            path.write_text("\n".join(lines).replace("Hello.", "Howdy.") + "\n")
        case "fewer requests":
            path.write_text(lines[0] + "\n")
        case "cheap requests":
            path.write_text("\n".join(lines).replace("100000", "10") + "\n")
        case "the same content":
            path.write_text("\n\n".join(lines) + "\n\n")


@pytest.mark.parametrize("how", ["another content", "fewer requests", "cheap requests", "the same content"])
@pytest.mark.parametrize("servers", [1, 2])
async def test_a_file_that_was_rewritten_since_the_question_is_not_sent(
    sandbox: Sandbox,
    server: Callable[[], MCPServer[Any]],
    requests_dir: Path,
    dear_file: str,
    how: str,
    servers: int,
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(over_stdio(server())) for _ in range(servers)]
        pending = await question_of(clients[0], "create_message_batch", requests_file=dear_file)
        rewrite(requests_dir / dear_file, how)
        facts = await respond(clients[-1], pending, "create")
        if how == "the same content":
            assert facts["type"] == "message_batch_created"
            return
        assert facts["reason"] == "changed"
        assert "the requests have changed since the question was asked" in facts["message"]
        assert creates(sandbox) == 0
        again = await respond(clients[-1], pending, "create")
        assert again["reason"] == "answered_before"
        if how != "cheap requests":  # below the threshold nobody is asked
            fresh = await question_of(clients[-1], "create_message_batch", requests_file=dear_file)
            assert fresh.state != pending.state
            assert (await respond(clients[-1], fresh, "create"))["type"] == "message_batch_created"


async def test_a_file_that_was_rewritten_while_a_live_question_was_open_is_not_sent(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], requests_dir: Path, dear_file: str
) -> None:
    def rewriting(asked: dict[str, Any]) -> dict[str, Any] | None:
        rewrite(requests_dir / dear_file, "another content")
        return answering("accept")(asked)

    async with over_streams(server(), "2025-11-25", {"elicitation": {}}) as client:
        said = await client.call("create_message_batch", {"requests_file": dear_file}, rewriting)
    assert said is not None
    assert said["result"]["structuredContent"]["type"] == "message_batch_not_created"
    assert "changed" in said["result"]["structuredContent"]["message"]
    assert await held(sandbox) == []


@pytest.mark.parametrize("choice", ["do not create", None])
async def test_a_no_counts_for_a_file_that_became_cheap_meanwhile(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], requests_dir: Path, dear_file: str, choice: str | None
) -> None:
    async with over_stdio(server()) as client:
        pending = await question_of(client, "create_message_batch", requests_file=dear_file)
        rewrite(requests_dir / dear_file, "cheap requests")
        facts = await respond(client, pending, choice)
    assert facts["reason"] == "declined"
    assert creates(sandbox) == 0


async def test_what_was_checked_for_a_question_is_used_for_ten_minutes_and_for_the_newest_few(
    sandbox: Sandbox, clock: Clock, server: Callable[[], MCPServer[Any]], dear_file: str
) -> None:
    def counted() -> bool:
        paths = [one.path for one in sandbox.received]
        sandbox.received.clear()
        return any("count_tokens" in path for path in paths)

    async with over_stdio(server()) as client:

        async def ask() -> Pending:
            pending = await question_of(client, "create_message_batch", requests_file=dear_file, allow_duplicate=True)
            assert counted()
            return pending

        late = await ask()
        clock.advance(601)
        await respond(client, late, "create")
        assert counted()
        pushed_out, *newest = [await ask() for _ in range(5)]
        await respond(client, newest[0], "do not create")
        assert not counted()
        await respond(client, pushed_out, "do not create")
        assert counted()


async def test_requests_that_another_call_sent_meanwhile_are_not_paid_again_without_a_word(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]]
) -> None:
    arguments = arguments_of("create_message_batch", sandbox)
    async with over_stdio(server()) as client:
        first, second = [await question_of(client, "create_message_batch", **arguments) for _ in range(2)]
        created = await respond(client, first, "create")
        facts = await respond(client, second, "create")
        fresh = await question_of(client, "create_message_batch", **arguments)
    assert facts["reason"] == "changed"
    assert "sent by another call" in facts["message"]
    assert creates(sandbox) == 1
    assert f"as {created['batches'][0]['id']}; this pays again." in fresh.message


async def test_requests_that_another_call_sent_meanwhile_are_told_as_sent(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], dear_file: str
) -> None:
    async with over_stdio(server()) as client:
        first, *others = [await question_of(client, "create_message_batch", requests_file=dear_file) for _ in range(3)]
        created = await respond(client, first, "create")
        told = [
            await respond(client, pending, choice) for pending, choice in zip(others, ("create", None), strict=True)
        ]
    assert [facts["reason"] for facts in told] == ["already_created", "declined"]
    assert told[0]["batches"] == created["batches"]
    assert creates(sandbox) == 1


@pytest.mark.parametrize(("tokens", "sent"), [(10, True), (10_000_000, False)])
async def test_requests_whose_price_another_server_finds_higher_than_the_question_said_are_not_sent(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], tokens: int, sent: bool
) -> None:
    async with over_stdio(server()) as one, over_stdio(server()) as two:
        pending = await question_of(one, "create_message_batch", requests=[request("a", **DEAR)])
        sandbox.faults.append(Fault("count_tokens", body=json.dumps({"input_tokens": tokens}).encode(), times=9))
        facts = await respond(two, pending, "create")
    assert creates(sandbox) == sent
    assert sent or "their price has changed" in facts["message"]


async def test_what_another_call_retried_meanwhile_is_not_retried_again(
    sandbox: Sandbox, clock: Clock, server: Callable[[], MCPServer[Any]], requests_dir: Path
) -> None:
    name = write(requests_dir, [request("good", **DEAR), request("expired-1", **DEAR)])
    async with over_stdio(server()) as client:
        made = await respond(client, await question_of(client, "create_message_batch", requests_file=name), "create")
        clock.advance(3600)
        retry = {"requests_file": name, "retry_of": made["batches"][0]["id"]}
        first, second = [await question_of(client, "create_message_batch", **retry) for _ in range(2)]
        sandbox.received.clear()
        retried = await respond(client, first, "create")
        assert [one.method for one in sandbox.received] == ["GET", "POST"]
        facts = await respond(client, second, "create")
    assert retried["type"] == "message_batch_created"
    assert facts["reason"] == "already_created"
    assert facts["batches"] == retried["batches"]
    assert creates(sandbox) == 1


@pytest.mark.parametrize(
    ("tool", "change", "holds"),
    [
        ("delete_message_batch", {"request_counts": {"succeeded": 4}}, False),
        ("delete_message_batch", {"created_at": "2026-11-03T08:59:59Z"}, False),
        ("delete_message_batch", {"created_at": "2026-11-03T09:00:00.4Z"}, True),
        ("delete_message_batch", {"request_counts": {"canceled": 3}}, False),
        ("cancel_message_batch", {"request_counts": {"processing": 1, "succeeded": 2}}, True),
        ("cancel_message_batch", {"request_counts": {"processing": 4}}, False),
        ("cancel_message_batch", {"created_at": "2026-11-03T09:00:01Z"}, False),
    ],
)
async def test_a_batch_that_is_not_as_it_was_named_is_left_alone(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], tool: str, change: dict[str, Any], holds: bool
) -> None:
    arguments = arguments_of(tool, sandbox)
    body = json.loads(await object_of(sandbox, arguments["message_batch_id"]))
    body["created_at"] = "2026-11-03T09:00:00Z"
    changed = {**body, **change}
    if "request_counts" in change:
        changed["request_counts"] = {**dict.fromkeys(body["request_counts"], 0), **change["request_counts"]}
    sandbox.faults += [
        Fault("retrieve", body=json.dumps(body).encode()),
        Fault("retrieve", body=json.dumps(changed).encode()),
    ]
    async with over_stdio(server()) as client:
        pending = await question_of(client, tool, **arguments)
        sandbox.received.clear()
        facts = await respond(client, pending, YES[tool])
        assert acts(sandbox) == holds
        if not holds:
            assert "changed" in {facts.get("reason"), facts.get("outcome")}
            assert "the batch has changed since the question was asked" in facts["message"]
            assert facts["next_steps"][0]["tool"] == tool
            again = await respond(client, pending, YES[tool])
            assert "answered_before" in {again.get("reason"), again.get("outcome")}
            assert acts(sandbox) == 0


async def object_of(sandbox: Sandbox, batch: str) -> bytes:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=sandbox), base_url="http://sandbox") as http:
        headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
        return (await http.get(f"/v1/messages/batches/{batch}", headers=headers)).content


@pytest.mark.parametrize("tool", YES)
@pytest.mark.parametrize("table", ["intent", "consents"])
async def test_a_yes_whose_intent_cannot_be_written_does_nothing_and_is_not_used_up(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], tmp_path: Path, tool: str, table: str
) -> None:
    table = {"create_message_batch": "submissions"}.get(tool, "receipts") if table == "intent" else table
    async with over_stdio(server()) as client:
        await respond(client, await question_of(client, tool, **arguments_of(tool, sandbox)), None)
        pending = await question_of(client, tool, **arguments_of(tool, sandbox))
        with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as ledger:
            ledger.execute(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END")
        sandbox.received.clear()
        said = await client.ask("tools/call", pending.answered(YES[tool]))
        assert "ledger" in said["result"]["content"][0]["text"]
        assert [one for one in sandbox.received if one.method in {"POST", "DELETE"}] == []
        assert rows(tmp_path, "receipts") == rows(tmp_path, "submissions") == []
        with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as ledger:
            ledger.execute("DROP TRIGGER full")
        facts = await respond(client, pending, YES[tool])
    assert came_to(facts)[:3] in {
        (None, None, "message_batch_deleted"),
        ("cancellation_requested", None, None),
        (None, None, "message_batch_created"),
    }


async def test_a_no_that_cannot_be_written_down_is_told_as_a_no(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], tmp_path: Path
) -> None:
    async with over_stdio(server()) as client:
        for _ in range(2):
            arguments = arguments_of("delete_message_batch", sandbox)
            facts = await respond(client, await question_of(client, "delete_message_batch", **arguments), "keep")
            with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as ledger:
                ledger.execute(
                    "CREATE TRIGGER IF NOT EXISTS full BEFORE INSERT ON consents BEGIN SELECT RAISE(ABORT, 'full'); END"
                )
    assert facts["reason"] == "declined"
    assert len(rows(tmp_path, "consents")) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("delete", cut="before", times=3), "what came of it is not known yet"),
        (Fault("delete", status=403), "nothing was deleted then"),
    ],
)
async def test_an_answer_whose_act_failed_is_used_up_and_what_is_known_of_it_is_told(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], fault: Fault, message: str
) -> None:
    sandbox.faults.append(fault)
    async with over_stdio(server()) as client:
        pending = await question_of(client, "delete_message_batch", **arguments_of("delete_message_batch", sandbox))
        await client.ask("tools/call", pending.answered("delete"))
        sandbox.received.clear()
        facts = await respond(client, pending, "delete")
    assert facts["reason"] == "answered_before"
    assert message in facts["message"]
    assert sandbox.received == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault("create", status=403), "answered_before"), (Fault("create", cut="after"), "unknown_outcome")],
)
async def test_a_create_that_failed_after_its_question_is_not_sent_on_the_same_answer(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], fault: Fault, reason: str
) -> None:
    sandbox.faults += [fault, Fault("list", status=403, skip=1, times=9)]
    async with over_stdio(server()) as client:
        pending = await question_of(client, "create_message_batch", requests=[request("a", **DEAR)])
        await respond(client, pending, "create")
        sandbox.faults.clear()
        facts = await respond(client, pending, "create")
    assert facts["reason"] == reason
    assert creates(sandbox) == 1


async def test_a_save_that_failed_uses_up_the_answer(sandbox: Sandbox, server: Callable[[], MCPServer[Any]]) -> None:
    sandbox.faults.append(Fault("results", status=403))
    async with over_stdio(server()) as client:
        pending = await question_of(client, "delete_message_batch", **arguments_of("delete_message_batch", sandbox))
        first = await respond(client, pending, "save, then delete")
        again = await respond(client, pending, "save, then delete")
    assert first["reason"] == "results_not_saved"
    assert again["reason"] == "answered_before"
    assert acts(sandbox) == 0


async def test_in_the_older_era_each_question_has_its_own_id_too(
    sandbox: Sandbox, server: Callable[[], MCPServer[Any]], tmp_path: Path
) -> None:
    arguments = arguments_of("delete_message_batch", sandbox)
    async with over_streams(server(), "2025-11-25", {"elicitation": {}}) as client:
        for how in ("keep", "accept"):
            await client.call("delete_message_batch", arguments, answering(how))
    used = rows(tmp_path, "consents")
    (receipt,) = rows(tmp_path, "receipts")
    assert [row["decision"] for row in used] == ["refused", "granted"]
    assert [row["receipt_id"] for row in used] == [None, receipt["id"]]
    assert receipt["consent"] == "asked and accepted"
    assert len({row["id"] for row in used}) == 2


async def test_a_question_that_comes_back_without_an_answer_is_the_same_question(
    sandbox: Sandbox, clock: Clock, server: Callable[[], MCPServer[Any]], tmp_path: Path
) -> None:
    arguments = arguments_of("delete_message_batch", sandbox)
    async with over_stdio(server()) as client:
        pending = await question_of(client, "delete_message_batch", **arguments)
        call = {key: value for key, value in pending.answered("delete").items() if key != "inputResponses"}
        said = (await client.ask("tools/call", call))["result"]
        again = Pending(pending.tool, pending.arguments, said["inputRequests"], said["requestState"])
        assert again.message == pending.message
        await respond(client, again, "keep")
        assert (await respond(client, pending, "delete"))["reason"] == "declined"
    assert len(rows(tmp_path, "consents")) == 1


_SERVER = f"""
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
create_server(Settings.load(), state_keys={SHARED!r}).run("stdio")
"""


@pytest.mark.slow
def test_two_processes_with_one_ledger_and_one_key_act_once_on_one_answer(sandbox: Sandbox, tmp_path: Path) -> None:
    environment = {"ANTHROPIC_API_KEY": KEY, "MCP_BATCH_TOOLS_STATE_DIR": str(tmp_path / "state")}
    arguments = {"requests": [request("a", **DEAR)], "allow_duplicate": True}
    with (
        served(sandbox) as address,
        launched("-c", _SERVER, era="2026-07-28", ANTHROPIC_BASE_URL=address, **environment) as one,
        launched("-c", _SERVER, era="2026-07-28", ANTHROPIC_BASE_URL=address, **environment) as two,
    ):
        one.capabilities = two.capabilities = {"elicitation": {}}
        asked = one.ask("tools/call", {"name": "create_message_batch", "arguments": arguments})["result"]
        pending = Pending("create_message_batch", arguments, asked["inputRequests"], asked["requestState"])
        told = [process.ask("tools/call", pending.answered("create"))["result"] for process in (one, two, one, two)]
    batches = [result["structuredContent"]["batches"] for result in told]
    assert batches == [batches[0]] * 4
    assert creates(sandbox) == 1
