"""Lines as clients send them over standard input, good and bad: each gets an answer, and the next one works."""

import json
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCResponse

from mcp_batch_tools.jsonrpc import LONGEST_LINE, line_of, read_message, without_halves
from mcp_batch_tools.sandbox import Clock, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from mcp_batch_tools.stdio import serve_on
from tests.conftest import KEY, SandboxTransport
from tests.support.raw import INFO

pytestmark = pytest.mark.anyio

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "first",
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
HELLO: dict[str, list[dict[str, Any]]] = {"2025-11-25": [INITIALIZE, INITIALIZED], "2026-07-28": []}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(number: Any, method: str, era: str = "2025-11-25", **params: Any) -> dict[str, Any]:
    if era == "2026-07-28":
        params["_meta"] = ENVELOPE
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: Any, tool: str = "list_message_batches", era: str = "2025-11-25", **arguments: Any) -> dict[str, Any]:
    return request(number, "tools/call", era, name=tool, arguments=arguments)


def lines(*messages: dict[str, Any] | bytes) -> bytes:
    """A message a line; bytes as they are."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in messages)


Answers = list[dict[str, Any]]


class Wire:
    """The server between two pipes."""

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock

    async def send(self, said: bytes, transport: httpx2.AsyncBaseTransport | None = None) -> Answers:
        """What the server answers to this input, up to its end."""
        stdin, ours_in = os.pipe()
        ours_out, stdout = os.pipe()
        read: list[bytes] = []

        def write() -> None:
            with os.fdopen(ours_in, "wb") as file:
                file.write(said)

        def collect() -> None:
            with os.fdopen(ours_out, "rb") as file:
                read.extend(file)

        client = [threading.Thread(target=work) for work in (write, collect)]
        for thread in client:
            thread.start()
        server = create_server(
            Settings.load(api_key=KEY), transport=transport or SandboxTransport(self.sandbox), clock=self.clock
        )
        with anyio.fail_after(60):
            await serve_on(server, stdin, stdout)
        os.close(stdin)
        os.close(stdout)
        for thread in client:
            thread.join(60)
        return [json.loads(line) for line in read]

    async def answers_to(self, *said: dict[str, Any] | bytes) -> Answers:
        """What a client of 2025-11-25 gets for these lines, the answer to its handshake left out."""
        first, *answers = await self.send(lines(INITIALIZE, INITIALIZED, *said))
        assert first["id"] == "first"
        return answers


@pytest.fixture
def wire(sandbox: Sandbox, clock: Clock) -> Wire:
    return Wire(sandbox, clock)


def good(answer: dict[str, Any], number: Any) -> bool:
    return bool(answer["id"] == number and answer["result"]["isError"] is False)


@pytest.mark.parametrize(
    "said",
    [
        b"\xef\xbb\xbf" + lines(INITIALIZE, INITIALIZED, call(1)),
        lines(INITIALIZE, INITIALIZED, b"\xef\xbb\xbf" + lines(call(1)).rstrip()),
        lines(INITIALIZE, INITIALIZED, call(1)).replace(b"\n", b"\r\n"),
        lines(INITIALIZE, b"", b"   ", b"\r", INITIALIZED, b"\xef\xbb\xbf", b"", call(1)),
        lines(INITIALIZE, INITIALIZED, call(1)).rstrip(b"\n"),
    ],
    ids=["a BOM at the start", "a BOM before a line", "CRLF", "blank lines", "no newline at the end"],
)
async def test_what_is_around_a_message_does_not_matter(
    wire: Wire, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answers = await wire.send(said)
    assert len(answers) == 2
    assert good(answers[1], 1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r"a\ud83d", "a\N{REPLACEMENT CHARACTER}"),
        (r"\ude00a", "\N{REPLACEMENT CHARACTER}a"),
        (r"\ud83dA\uDE00", "\N{REPLACEMENT CHARACTER}A\N{REPLACEMENT CHARACTER}"),
        (r"\ud83d\ud83d\uDE00", "\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}"),
        (r"\uD83D\\ud83d", "\N{REPLACEMENT CHARACTER}\\ud83d"),
        (r"\\\ud83d", "\\\N{REPLACEMENT CHARACTER}"),
        (r"\ud83d\n\u00e9\ud7ff", "\N{REPLACEMENT CHARACTER}\n\u00e9\ud7ff"),
    ],
)
def test_only_half_a_pair_is_replaced(sent: str, read: str) -> None:
    assert json.loads(without_halves(f'"{sent}"'.encode())) == read


async def test_half_an_emoji_is_read_as_the_replacement_character(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    half = [call(1, label="\ud83d"), call("\ud83d", nonsense=1), call(3, "\ud83d")]
    answers = {answer["id"]: answer for answer in await wire.answers_to(*half, call(4))}
    assert answers.keys() == {1, "\N{REPLACEMENT CHARACTER}", 3, 4}
    assert good(answers[1], 1)
    assert good(answers[4], 4)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert caplog.text.count("surrogate") == 3


BAD: dict[str, tuple[bytes, int, Any]] = {
    "no JSON": (b"hello", -32700, None),
    "JSON that is cut, with its id before": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{', -32700, 7),
    "JSON that is cut, with its id after the method": (b'{"method":"ping","id":"a-7", "params":{', -32700, "a-7"),
    "an id only inside the arguments": (b'{"method":"tools/call","params":{"id":7,"x":', -32700, None),
    "an id that may be inside the arguments": (b'{"params":{"a":\x01,"id":7}', -32700, None),
    "bytes that are no UTF-8": (b'{"params":{"name":"\xff"},"jsonrpc":"2.0","id":7}', -32700, 7),
    "half an emoji in bytes": (b'{"jsonrpc":"2.0","id":7,"method":"\xed\xa0\xbd"}', -32700, 7),
    "a NUL": (b'{"jsonrpc":"2.0","id":7,\x00"method":"ping"}', -32700, 7),
    "only a NUL": (b"\x00", -32700, None),
    "UTF-16": ('\ufeff{"jsonrpc":"2.0","id":7}'.encode("utf-16-le"), -32700, None),
    "a number that is none": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":NaN}}', -32700, 7),
    "10,000 levels": (b'{"jsonrpc":"2.0","id":7,"params":' + b"[" * 10_000 + b"]" * 10_000 + b"}", -32700, 7),
    "10,000 levels, the id last": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b',"jsonrpc":"2.0","id":7}', -32700, 7),
    "10,000 digits": (b'{"jsonrpc":"2.0","id":7,"params":{"a":' + b"9" * 10_000 + b"}}", -32700, 7),
    "an id of 10,000 digits": (b'{"jsonrpc":"2.0","id":' + b"9" * 10_000 + b',"method":"ping"}', -32700, None),
    "two messages in a line": (lines(call(7)).strip() * 2, -32700, 7),
    "a number": (b"5", -32600, None),
    "null": (b"null", -32600, None),
    "a text": (b'"ping"', -32600, None),
    "an empty object": (b"{}", -32600, None),
    "a batch": (b"[" + lines(call(7)).strip() + b"]", -32600, None),
    "an empty batch": (b"[]", -32600, None),
    "no method": (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
    "a method that is no text": (b'{"jsonrpc":"2.0","id":7,"method":1}', -32600, 7),
    "another version": (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
    "no version": (b'{"id":7,"method":"ping"}', -32600, 7),
    "parameters in a list": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}', -32600, 7),
    "an id of null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
    "an id with a fraction": (b'{"jsonrpc":"2.0","id":7.5,"method":"ping"}', -32600, None),
    "an id that is true": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
    "an id in an object": (b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}', -32600, None),
    "an answer to nothing": (b'{"jsonrpc":"2.0","id":null,"result":{}}', -32600, None),
    "too long, the id first": (
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"%b"}}' % (b"x" * LONGEST_LINE), -32600, 7,
    ),
    "too long, the id last": (
        b'{"method":"ping","params":{"a":"%b"},"jsonrpc":"2.0","id":7}' % (b"x" * 3 * LONGEST_LINE), -32600, 7,
    ),
    "a line of 40 MB": (b"x" * 40_000_000, -32600, None),
}  # fmt: skip


@pytest.mark.parametrize(("line", "code", "number"), BAD.values(), ids=BAD)
async def test_a_line_that_cannot_be_read_is_answered_and_the_next_one_works(
    wire: Wire, caplog: pytest.LogCaptureFixture, line: bytes, code: int, number: Any
) -> None:
    refused, answer = sorted(await wire.answers_to(line, call(8)), key=lambda answer: answer["id"] == 8)
    assert (refused["id"], refused["error"]["code"]) == (number, code)
    assert good(answer, 8)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert len(record.getMessage()) < 250


async def test_a_bad_line_is_not_told_in_the_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    await wire.answers_to(f'{{"jsonrpc":"2.0","id":"{KEY}","params":{{"{KEY}'.encode(), f'"{KEY}"'.encode())
    assert len(caplog.records) == 2
    assert KEY not in caplog.text


async def test_a_bad_line_before_the_handshake_is_answered_and_decides_nothing(wire: Wire, era: str) -> None:
    hello = HELLO[era]
    answers = await wire.send(lines(b"oops", b"[]", *hello, call(1, era=era)))
    assert [answer["id"] for answer in answers if "error" in answer] == [None, None]
    assert any(good(answer, 1) for answer in answers if answer["id"] == 1)


EARLY: dict[str, Callable[[], bytes]] = {
    "before the handshake": lambda: lines(call(1), INITIALIZE, INITIALIZED, call(2)),
    "before the client is ready": lambda: lines(INITIALIZE, call(1), INITIALIZED, call(2)),
    "all at once": lambda: lines(INITIALIZE, INITIALIZED, call(1), call(2)),
}


@pytest.mark.parametrize("said", EARLY.values(), ids=EARLY)
async def test_an_early_call_is_answered(
    wire: Wire, said: Callable[[], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    answers = {answer["id"]: answer for answer in await wire.send(said())}
    assert answers.keys() == {"first", 1, 2}
    assert "result" in answers[1] or "Send initialize first" in answers[1]["error"]["message"]
    assert good(answers[2], 2)
    assert "Traceback" not in caplog.text


METHODS: dict[str, dict[str, Any]] = {
    "prompts/list": {},
    "prompts/get": {"name": "nonsense"},
    "resources/list": {},
    "resources/templates/list": {},
    "resources/read": {"uri": "file:///nonsense"},
    "resources/subscribe": {"uri": "file:///nonsense"},
    "completion/complete": {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}},
    "logging/setLevel": {"level": "debug"},
    "sampling/createMessage": {},
    "tasks/list": {},
    "server/discover": {},
    "nonsense": {},
    "": {},
    "tools/call": {"name": "nonsense"},
}


@pytest.mark.parametrize("method", METHODS)
async def test_a_method_or_name_that_is_unknown_is_answered(
    wire: Wire, era: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    hello = HELLO[era]
    answers = {
        answer["id"]: answer
        for answer in await wire.send(lines(*hello, request(1, method, era, **METHODS[method]), call(2, era=era)))
    }
    assert "result" in answers[1] or answers[1]["error"]["message"]
    assert good(answers[2], 2)
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


class Slow(SandboxTransport):
    """Answers once so many requests have come, and counts those that are open at once."""

    def __init__(self, sandbox: Sandbox, until: int) -> None:
        super().__init__(sandbox)
        self.most = self._open = self._seen = 0
        self._until = until
        self._all = anyio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._seen += 1
        self._open += 1
        self.most = max(self.most, self._open)
        if self._seen == self._until:
            for _ in range(20):
                await anyio.wait_all_tasks_blocked()  # if more were let in, they would be here by now
            self._all.set()
        await self._all.wait()
        self._open -= 1
        return await super().handle_async_request(request)


async def test_calls_in_flight_at_the_end_of_the_input_are_answered(wire: Wire, sandbox: Sandbox, era: str) -> None:
    batch = sandbox.add_batch(key=KEY)
    said = lines(*HELLO[era], call(1, "delete_message_batch", era, message_batch_id=batch), call(2, era=era), call(3))
    answers = {answer["id"]: answer for answer in await wire.send(said, Slow(sandbox, 2))}
    assert answers[1]["result"]["structuredContent"] == {"id": batch, "type": "message_batch_deleted"}
    assert good(answers[2], 2)
    assert 3 in answers


async def test_at_most_64_calls_run_at_once_and_all_are_answered(wire: Wire, sandbox: Sandbox) -> None:
    slow = Slow(sandbox, 64)
    answers = await wire.send(lines(INITIALIZE, INITIALIZED, *[call(number) for number in range(300)]), slow)
    assert sorted(answer["id"] for answer in answers[1:]) == list(range(300))
    assert slow.most == 64


async def test_a_call_that_is_canceled_before_its_turn_does_not_run(wire: Wire, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    calls: list[dict[str, Any]] = [call(number) for number in range(64)]
    canceled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}}
    deleting = call(99, "delete_message_batch", message_batch_id=batch)
    said = lines(INITIALIZE, INITIALIZED, *calls, deleting, canceled, call(100))
    answers = await wire.send(said, Slow(sandbox, 64))
    assert {answer["id"] for answer in answers[1:]} == {*range(64), 100}
    assert not [received for received in sandbox.received if received.method == "DELETE"]


async def test_a_call_that_is_canceled_makes_room_for_others(wire: Wire, sandbox: Sandbox) -> None:
    calls: list[dict[str, Any]] = []
    for number in range(200):
        calls.append(call(number))
        calls.append({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
    said = lines(INITIALIZE, INITIALIZED, *calls, request("last", "tools/list"))
    answers = await wire.send(said, Slow(sandbox, until=1000))
    assert [answer["id"] for answer in answers] == ["first", "last"]


@pytest.mark.parametrize("answer", [b'{"jsonrpc":"2.0","id":3,"result":"yes"}', b'{"jsonrpc":"2.0","id":3,"error":1}'])
def test_an_answer_to_the_server_that_cannot_be_read_is_an_error_to_whoever_waits_for_it(answer: bytes) -> None:
    message = read_message(answer)
    assert isinstance(message, JSONRPCError)
    assert message.id == 3


def test_a_notification_with_an_id_of_null_is_a_notification() -> None:
    message = read_message(b'{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}')
    assert isinstance(message, JSONRPCNotification)


def test_half_an_emoji_in_an_answer_is_sent_as_the_replacement_character() -> None:
    line = line_of(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "a\ud83d", "n": [1, None]}))
    expected = {"jsonrpc": "2.0", "id": 1, "result": {"text": "a\N{REPLACEMENT CHARACTER}", "n": [1, None]}}
    assert json.loads(line) == expected
