"""`BatchClient` on its own: what it sends how often, how long it waits in between, and what each failure says."""

import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from socket import gaierror
from typing import Any

import httpx2
import pytest

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse, NoResponse, NotConfigured
from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY, SandboxTransport

pytestmark = pytest.mark.anyio

HEADERS = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
BATCHES = "/v1/messages/batches"
BODY = json.dumps(
    {
        "requests": [
            {
                "custom_id": "a",
                "params": {
                    "model": "claude-opus-5",
                    "max_tokens": 10,
                    "messages": [{"role": "user", "content": "Is the lamp whole?"}],
                },
            }
        ]
    }
).encode()

Step = httpx2.Response | Exception
Open = Callable[..., BatchClient]


class Wire(SandboxTransport):
    """Plays its steps, one a request, and lets every further request through to the sandbox."""

    def __init__(self, sandbox: Sandbox, *steps: Step) -> None:
        super().__init__(sandbox)
        self.sent: list[httpx2.Request] = []
        self._steps = list(steps)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        match self._steps.pop(0) if self._steps else None:
            case None:
                return await super().handle_async_request(request)
            case Exception() as failure:
                raise failure
            case answer:
                return answer


class Body(httpx2.AsyncByteStream):
    """A body that arrives in pieces and may break; it knows how far it was read and whether it was closed."""

    def __init__(self, pieces: Iterator[bytes | Exception]) -> None:
        self.read = 0
        self.closed = False
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            self.read += 1
            yield piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def open_client(clock: Clock) -> Open:
    def opened(transport: httpx2.AsyncBaseTransport, **options: Any) -> BatchClient:
        return BatchClient(
            **{"base_url": "http://sandbox", "headers": HEADERS, "transport": transport, "clock": clock, **options}
        )

    return opened


async def pieces_of(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10):
        yield body[start : start + 10]


def caused(failure: Exception, cause: Exception) -> Exception:
    failure.__cause__ = cause
    return failure


async def number_of_batches(sandbox: Sandbox) -> int:
    async with httpx2.AsyncClient(transport=SandboxTransport(sandbox), base_url="http://sandbox") as http:
        return len((await http.get(BATCHES, headers=HEADERS)).json()["data"])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "made", "unknown"),
    [
        (Fault(cut="before"), 0, True),
        (Fault(cut="after"), 1, True),
        (Fault(status=500), 0, True),
        (Fault(status=500, after_effect=True), 1, True),
        (Fault(status=502, body=b"<html>"), 0, True),
        (Fault(status=504, after_effect=True), 1, True),
        (Fault(status=529, headers={"retry-after": "1"}), 0, True),
        (Fault(status=500, headers={"x-should-retry": "true"}, after_effect=True), 1, True),
        (Fault(status=408), 0, True),
        (Fault(status=409), 0, False),
        (Fault(status=429, headers={"retry-after": "1"}), 0, False),
        (Fault(status=413), 0, False),
        (Fault(status=200, body=b"{}", after_effect=True), 1, True),
        (Fault(headers={"content-encoding": "gzip"}), 1, True),
    ],
)
async def test_a_create_that_may_have_arrived_is_sent_once(
    open_client: Open, sandbox: Sandbox, clock: Clock, fault: Fault, made: int, unknown: bool, streamed: bool
) -> None:
    fault = Fault(**vars(fault))
    fault.times = 9
    sandbox.faults.append(fault)
    async with open_client(SandboxTransport(sandbox)) as client:
        with pytest.raises(BatchError) as failed:
            await client.create(pieces_of(BODY) if streamed else BODY)
    assert [received.method for received in sandbox.received] == ["POST"]
    assert failed.value.endpoint == "create"
    assert failed.value.may_have_acted == unknown
    assert clock.monotonic() == 0
    sandbox.faults.clear()
    assert await number_of_batches(sandbox) == made


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
async def test_a_create_whose_connection_was_never_made_is_repeated_and_makes_one_batch(
    open_client: Open, sandbox: Sandbox, failure: type[httpx2.TransportError]
) -> None:
    async with open_client(Wire(sandbox, failure("no"), failure("no"))) as client:
        made = await client.create(BODY)
        listed = await client.list(limit=5)
    assert [batch.id for batch in listed.data] == [made.id]
    assert [received.method for received in sandbox.received] == ["POST", "GET"]
    assert made.request_counts.total == 1


@pytest.mark.parametrize(
    "failure",
    [httpx2.ReadError, httpx2.ReadTimeout, httpx2.WriteError, httpx2.WriteTimeout, httpx2.RemoteProtocolError],
)
async def test_a_create_that_broke_after_its_connection_was_made_is_not_repeated(
    open_client: Open, sandbox: Sandbox, failure: type[httpx2.TransportError]
) -> None:
    wire = Wire(sandbox, failure("broke"))
    async with open_client(wire) as client:
        with pytest.raises(NoResponse) as failed:
            await client.create(BODY)
    assert failed.value.sent
    assert failed.value.may_have_acted
    assert len(wire.sent) == 1


async def test_a_create_that_never_finds_a_connection_gives_up_and_is_known_not_to_have_acted(
    open_client: Open, sandbox: Sandbox
) -> None:
    wire = Wire(sandbox, *[httpx2.ConnectError("no")] * 9)
    async with open_client(wire) as client:
        with pytest.raises(NoResponse) as failed:
            await client.create(BODY)
    assert len(wire.sent) == 3
    assert not failed.value.sent
    assert not failed.value.may_have_acted


async def test_a_create_from_a_stream_sends_all_of_it_and_is_repeated_only_where_none_of_it_was_read(
    open_client: Open, sandbox: Sandbox
) -> None:
    wire = Wire(sandbox)
    async with open_client(wire) as client:
        made = await client.create(pieces_of(BODY))
        assert made.request_counts.total == 1
        assert wire.sent[0].headers["content-type"] == "application/json"
    wire = Wire(sandbox, httpx2.ConnectError("no"))
    async with open_client(wire) as client:
        await client.create(pieces_of(BODY))
    assert len(wire.sent) == 2
    wire = Wire(sandbox, httpx2.ReadError("no"))
    async with open_client(wire) as client:
        with pytest.raises(NoResponse):
            await client.create(pieces_of(BODY))
    assert len(wire.sent) == 1
    assert await number_of_batches(sandbox) == 2


async def test_what_a_stream_of_requests_raises_reaches_the_caller(open_client: Open, sandbox: Sandbox) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield BODY[:20]
        raise KeyError("of the caller")

    async with open_client(SandboxTransport(sandbox)) as client:
        with pytest.raises(KeyError, match="of the caller"):
            await client.create(broken())
    assert await number_of_batches(sandbox) == 0


@pytest.mark.parametrize(
    ("failure", "reason", "sent", "tries"),
    [
        (httpx2.ConnectError("refused"), "connect", False, 3),
        (caused(httpx2.ConnectError("who?"), gaierror()), "name", False, 1),
        (caused(httpx2.ConnectError("tls"), caused(OSError(), ssl.SSLCertVerificationError())), "tls", False, 1),
        (httpx2.ProxyError("403"), "proxy", False, 1),
        (httpx2.ConnectTimeout("slow"), "timeout", False, 3),
        (httpx2.PoolTimeout("full"), "timeout", False, 3),
        (httpx2.ReadTimeout("slow"), "timeout", True, 3),
        (httpx2.ReadError(""), "cut", True, 3),
        (caused(httpx2.ReadError("eof"), ssl.SSLEOFError()), "cut", True, 3),
        (httpx2.RemoteProtocolError("what?"), "cut", True, 3),
    ],
)
async def test_each_way_of_getting_no_answer_has_its_reason_and_only_passing_ones_are_repeated(
    open_client: Open, sandbox: Sandbox, failure: Exception, reason: str, sent: bool, tries: int
) -> None:
    wire = Wire(sandbox, *[failure] * 9)
    async with open_client(wire) as client:
        with pytest.raises(NoResponse) as failed:
            await client.cancel("msgbatch_1")
    assert (failed.value.reason, failed.value.sent, failed.value.may_have_acted) == (reason, sent, sent)
    assert failed.value.__cause__ is failure
    assert len(wire.sent) == tries


@pytest.mark.parametrize(
    ("headers", "least", "most", "tries"),
    [
        ({}, 1.125, 1.5, 3),
        ({"retry-after": "0"}, 1.125, 1.5, 3),
        ({"retry-after": "4"}, 8, 8, 3),
        ({"retry-after": "15"}, 30, 30, 3),
        ({"retry-after": "30"}, 30, 30, 2),
        ({"retry-after": "30.1"}, 0, 0, 1),
        ({"retry-after-ms": "30001"}, 0, 0, 1),
        ({"retry-after-ms": "250", "retry-after": "4"}, 0.5, 0.5, 3),
        ({"retry-after-ms": "soon", "retry-after": "4"}, 8, 8, 3),
        ({"retry-after": "Tue, 03 Nov 2026 10:00:00 GMT"}, 0, 0, 1),
        ({"retry-after": "Tue, 03 Nov 2026 08:00:00 GMT"}, 1.125, 1.5, 3),
        ({"retry-after": "Tue, 03 Nov 2026 09:00:05 -0000"}, 1.125, 1.5, 3),
        ({"retry-after": "inf"}, 1.125, 1.5, 3),
    ],
)
async def test_a_repeat_waits_as_long_as_the_api_says_while_it_all_fits_in_half_a_minute(
    open_client: Open,
    sandbox: Sandbox,
    clock: Clock,
    headers: dict[str, str],
    least: float,
    most: float,
    tries: int,
) -> None:
    sandbox.faults.append(Fault(status=529, headers=headers, times=9))
    async with open_client(SandboxTransport(sandbox)) as client:
        with pytest.raises(ApiError):
            await client.retrieve("msgbatch_1")
    assert len(sandbox.received) == tries
    assert least <= clock.monotonic() <= most


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"limit": 1000}, "limit=1000"),
        ({"limit": 2, "after_id": "msgbatch_1"}, "limit=2&after_id=msgbatch_1"),
        ({"limit": 2, "before_id": "msgbatch_1"}, "limit=2&before_id=msgbatch_1"),
    ],
)
async def test_a_list_asks_for_the_page_that_was_asked_for_and_for_nothing_more(
    open_client: Open, sandbox: Sandbox, asked: dict[str, Any], query: str
) -> None:
    page = {"data": [], "has_more": True, "first_id": None, "last_id": None, "unheard_of": 1}
    wire = Wire(sandbox, httpx2.Response(200, json=page))
    async with open_client(wire, base_url="http://sandbox/proxied/") as client:
        listed = await client.list(**asked)
    assert (listed.data, listed.has_more, listed.first_id, listed.last_id) == ([], True, None, None)
    assert str(wire.sent[0].url) == f"http://sandbox/proxied{BATCHES}?{query}"


async def test_pages_lead_through_all_batches_in_both_directions(open_client: Open, sandbox: Sandbox) -> None:
    newest_first = [sandbox.add_batch(1, key=KEY, age=4000 + number) for number in range(5)]
    async with open_client(SandboxTransport(sandbox)) as client:
        first = await client.list(limit=2)
        second = await client.list(limit=2, after_id=first.last_id)
        third = await client.list(limit=2, after_id=second.last_id)
        back = await client.list(limit=2, before_id=third.first_id)
    assert [batch.id for page in (first, second, third) for batch in page.data] == newest_first
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert back.data == second.data


CALLS: dict[str, Callable[[BatchClient], Awaitable[object]]] = {
    "create": lambda client: client.create(BODY),
    "retrieve": lambda client: client.retrieve("msgbatch_1"),
    "list": lambda client: client.list(limit=1),
    "cancel": lambda client: client.cancel("msgbatch_1"),
    "delete": lambda client: client.delete("msgbatch_1"),
    "results": lambda client: read_results(client),
}


async def read_results(
    client: BatchClient, message_batch_id: str = "msgbatch_1", *, came: list[bytes] | None = None
) -> bytes:
    came = [] if came is None else came
    async with client.results(message_batch_id) as stream:
        async for chunk in stream.chunks:
            came.append(chunk)
    return b"".join(came)


@pytest.mark.parametrize("endpoint", CALLS)
async def test_an_error_of_the_api_carries_all_that_its_answer_says(
    open_client: Open, sandbox: Sandbox, endpoint: str
) -> None:
    headers = {"request-id": "req_42", "retry-after": "31", "x-should-retry": "false"}
    details = {"error_code": "enforced_spend_limit_reached"}
    sandbox.faults.append(Fault(endpoint, status=429, message="Enough.", details=details, headers=headers))
    async with open_client(SandboxTransport(sandbox)) as client:
        with pytest.raises(ApiError) as failed:
            await CALLS[endpoint](client)
    error = failed.value
    assert (error.endpoint, error.status, error.type, error.message) == (endpoint, 429, "rate_limit_error", "Enough.")
    assert (error.request_id, error.retry_after, error.should_retry) == ("req_42", 31, False)
    assert error.error_code == "enforced_spend_limit_reached"
    assert str(error) == f"{endpoint}: HTTP 429 rate_limit_error: Enough."
    assert len(sandbox.received) == 1


@pytest.mark.parametrize("endpoint", CALLS)
async def test_without_credentials_nothing_is_sent(open_client: Open, sandbox: Sandbox, endpoint: str) -> None:
    async with open_client(SandboxTransport(sandbox), headers=None) as client:
        with pytest.raises(NotConfigured) as failed:
            await CALLS[endpoint](client)
    assert failed.value.endpoint == endpoint
    assert not failed.value.may_have_acted
    assert sandbox.received == []


@pytest.mark.parametrize(
    ("body", "kind", "request_id"),
    [
        (b'{"type": "error", "error": {"type": "x_error", "message": "m"}, "request_id": "req_7"}', "x_error", "req_7"),
        (b'{"error": {"type": "x_error", "message": "m"}}', "x_error", None),
        (b'{"type": "error", "error": {"type": 5, "message": ["m"]}, "request_id": 7}', "5", None),
        (b'{"error": null, "request_id": ""}', "", None),
        (b"[]", "", None),
        (b"\xff", "", None),
        (b"[" * 100_000, "", None),
    ],
    ids=range(7),
)
async def test_an_error_is_an_error_of_the_api_whatever_its_body_holds(
    open_client: Open, sandbox: Sandbox, body: bytes, kind: str, request_id: str | None
) -> None:
    async with open_client(Wire(sandbox, httpx2.Response(400, content=body))) as client:
        with pytest.raises(ApiError) as failed:
            await client.retrieve("msgbatch_1")
    assert (failed.value.status, failed.value.type, failed.value.request_id) == (400, kind, request_id)


@pytest.mark.parametrize(
    ("headers", "pieces"),
    [
        ({"content-encoding": "gzip"}, [b"this is not gzip"]),
        ({}, [b'{"type": "err', httpx2.ReadError("cut")]),
        ({}, [b" " * 2**20] * 40),
    ],
    ids=["broken gzip", "cut", "too long"],
)
async def test_an_error_whose_explanation_is_lost_keeps_its_status_and_request(
    open_client: Open, sandbox: Sandbox, headers: dict[str, str], pieces: list[bytes | Exception]
) -> None:
    body = Body(iter(pieces))
    answer = httpx2.Response(403, headers={"request-id": "req_42", **headers}, stream=body)
    async with open_client(Wire(sandbox, answer)) as client:
        with pytest.raises(ApiError) as failed:
            await client.retrieve("msgbatch_1")
    assert (failed.value.status, failed.value.message, failed.value.request_id) == (403, "", "req_42")
    assert body.closed


@pytest.mark.parametrize(
    ("headers", "pieces", "problem"),
    [
        ({"content-encoding": "gzip"}, [b"this is not gzip"], "compression"),
        ({"content-encoding": "gzip"}, [gzip.compress(b" " * 33 * 2**20)], "too_long"),
        ({}, [b" " * 2**20] * 1000, "too_long"),
    ],
    ids=["broken gzip", "gzip bomb", "endless"],
)
async def test_a_body_that_cannot_be_one_is_a_bad_answer_and_is_not_read_to_its_end(
    open_client: Open, sandbox: Sandbox, headers: dict[str, str], pieces: list[bytes | Exception], problem: str
) -> None:
    body = Body(iter(pieces))
    wire = Wire(sandbox, httpx2.Response(200, headers={"request-id": "req_42", **headers}, stream=body))
    async with open_client(wire) as client:
        with pytest.raises(InvalidResponse) as failed:
            await client.delete("msgbatch_1")
    error = failed.value
    assert (error.endpoint, error.status, error.request_id, error.problem) == ("delete", 200, "req_42", problem)
    assert error.may_have_acted
    assert body.closed
    assert body.read <= 33
    assert len(wire.sent) == 1


async def test_a_body_that_breaks_off_is_asked_for_again(open_client: Open, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    body = Body(iter([b'{"id": "msgb', httpx2.ReadError("cut")]))
    async with open_client(Wire(sandbox, httpx2.Response(200, stream=body))) as client:
        assert (await client.retrieve(batch)).id == batch
    assert body.closed


async def test_results_are_opened_with_repeats_and_stream_as_they_are(open_client: Open, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(200, key=KEY)
    sandbox.faults += [Fault("results", cut="before"), Fault("results", status=529)]
    async with open_client(SandboxTransport(sandbox)) as client:
        lines = (await read_results(client, batch)).splitlines()
    assert {json.loads(line)["custom_id"] for line in lines} == {f"request-{number}" for number in range(1, 201)}
    assert [received.path for received in sandbox.received] == [f"{BATCHES}/{batch}/results"] * 3


async def test_results_that_there_are_not_are_asked_for_once(open_client: Open, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY, status="in_progress")
    async with open_client(SandboxTransport(sandbox)) as client:
        with pytest.raises(ApiError) as failed:
            await read_results(client, batch)
    assert (failed.value.endpoint, failed.value.status) == ("results", 404)
    assert len(sandbox.received) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (httpx2.ReadError("cut"), "cut"),
        (httpx2.RemoteProtocolError("peer closed connection without sending complete message body"), "cut"),
        (httpx2.ReadTimeout("slow"), "timeout"),
    ],
)
async def test_results_that_break_in_the_middle_end_with_an_error_after_what_had_arrived(
    open_client: Open, sandbox: Sandbox, failure: Exception, reason: str
) -> None:
    body = Body(iter([b'{"custom_id": "a"}\n', b'{"custom', failure]))
    wire = Wire(sandbox, httpx2.Response(200, stream=body))
    came: list[bytes] = []
    async with open_client(wire) as client:
        with pytest.raises(NoResponse) as failed:
            await read_results(client, came=came)
    assert came == [b'{"custom_id": "a"}\n', b'{"custom']
    assert (failed.value.endpoint, failed.value.reason, failed.value.may_have_acted) == ("results", reason, False)
    assert body.closed
    assert len(wire.sent) == 1


async def test_results_that_are_left_early_are_closed_without_being_read(open_client: Open, sandbox: Sandbox) -> None:
    body = Body(iter([b"{}\n"] * 1000))
    async with open_client(Wire(sandbox, httpx2.Response(200, stream=body))) as client:
        async with client.results("msgbatch_1") as stream:
            assert await anext(stream.chunks) == b"{}\n"
            assert not body.closed
        assert body.closed
        assert body.read == 1


@pytest.mark.parametrize(
    ("hint", "waited"),
    [("3", 3), ("0.1", 1), ("600", 60), ("soon", 10), (None, 10)],
)
async def test_a_watch_looks_again_after_the_polling_hint_within_bounds(
    open_client: Open, sandbox: Sandbox, clock: Clock, hint: str | None, waited: float
) -> None:
    batch = sandbox.add_batch(key=KEY, status="in_progress", processing_seconds=1)
    shown = {
        "id": batch,
        "processing_status": "in_progress",
        "request_counts": {},
        "created_at": clock.now().isoformat(),
    }
    running = httpx2.Response(200, json=shown, headers={} if hint is None else {"retry-after": hint})
    async with open_client(Wire(sandbox, running)) as client:
        looks = [(seen.ended, elapsed) async for seen, elapsed in client.watch(batch, 100)]
    assert looks == [(False, 0), (True, waited)]


async def test_a_watch_stops_with_a_last_look_when_the_time_is_over(open_client: Open, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY, status="in_progress", processing_seconds=3600)
    async with open_client(SandboxTransport(sandbox)) as client:
        looks = [elapsed async for _, elapsed in client.watch(batch, 29)]
        once = [elapsed async for _, elapsed in client.watch(batch, 0)]
    assert looks == [0, 10, 20, 29]
    assert once == [0]


async def test_results_are_read_from_the_configured_address_whatever_host_a_batch_names(
    open_client: Open, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with open_client(SandboxTransport(sandbox)) as client:
        shown = (await client.retrieve(batch)).model_dump(mode="json")
    wire = Wire(sandbox, httpx2.Response(200, json={**shown, "results_url": "https://elsewhere.invalid/x"}))
    async with open_client(wire) as client:
        assert (await client.retrieve(batch)).results_url == "https://elsewhere.invalid/x"
        await read_results(client, batch)
    assert {request.url.host for request in wire.sent} == {"sandbox"}
