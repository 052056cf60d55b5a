"""Every failure is an error result with what happened, the state of things and the next step; none holds the key."""

import re
import ssl

import httpx2
import pytest
from mcp import Client

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Assistant, Connect, SandboxTransport

pytestmark = pytest.mark.anyio

TOOLS_OF_ONE_BATCH = ["get_message_batch", "cancel_message_batch", "delete_message_batch"]


@pytest.mark.parametrize("tool", TOOLS_OF_ONE_BATCH)
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "../models",
        "..",
        "x" * 10_000,
        "msgbatch_x?y=1",
        "a/b",
        "a%2Fb",
        "msgbatch 1",
        "\u202emsg",
        "#",
    ],
)
async def test_what_is_no_id_is_refused_before_anything_is_sent(
    connect: Connect, sandbox: Sandbox, tool: str, wrong: str
) -> None:
    async with connect() as assistant:
        said = await assistant.fail(tool, message_batch_id=wrong)
    assert "ids look like msgbatch_" in said
    assert "Nothing was sent" in said
    assert "list_message_batches" in said
    assert sandbox.received == []
    assert len(said) < 400


async def test_an_id_of_a_future_format_reaches_the_api_as_one_part_of_the_path(
    connect: Connect, sandbox: Sandbox
) -> None:
    async with connect() as assistant:
        await assistant.fail("get_message_batch", message_batch_id="batch:v2.01-AB~c")
    assert [received.path for received in sandbox.received] == ["/v1/messages/batches/batch%3Av2.01-AB~c"]


async def test_an_unknown_argument_is_an_error(connect: Connect, sandbox: Sandbox, era: str) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect(era) as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id=batch, older_then_days=30)
        nothing = await assistant.fail("delete_message_batch")
    assert "older_then_days is not an argument of delete_message_batch" in said
    assert "message_batch_id is required" in nothing
    assert "pydantic" not in said + nothing
    assert sandbox.received == []


async def test_wrong_values_are_told_in_words(connect: Connect) -> None:
    async with connect() as assistant:
        said = await assistant.fail("list_message_batches", limit=101, status="done", created_after="yesterday")
    assert "limit input should be less than or equal to 100" in said
    assert "status input should be 'in_progress', 'canceling' or 'ended'" in said
    assert "created_after" in said
    assert "http" not in said


@pytest.mark.parametrize(
    ("fault", "tries", "told"),
    [
        (Fault(status=400), 1, ["HTTP 400 invalid_request_error", "does not help"]),
        (Fault(status=401), 1, ["HTTP 401 authentication_error", "ANTHROPIC_API_KEY"]),
        (Fault(status=402), 1, ["HTTP 402 billing_error", "billing"]),
        (Fault(status=403), 1, ["HTTP 403 permission_error", "workspace"]),
        (Fault(status=404), 1, ["HTTP 404 not_found_error", "already gone", "list_message_batches"]),
        (Fault(status=408), 3, ["HTTP 408", "wait a minute, then call the same tool again"]),
        (Fault(status=409), 3, ["HTTP 409 conflict_error", "wait a minute, then call the same tool again"]),
        (Fault(status=413), 1, ["HTTP 413 request_too_large", "256 MB"]),
        (Fault(status=429, headers={"retry-after": "7"}), 3, ["HTTP 429 rate_limit_error", "Wait 7 seconds"]),
        (Fault(status=429, headers={"retry-after": "3600"}), 1, ["Wait 3600 seconds"]),
        (
            Fault(status=429, details={"error_code": "enforced_spend_limit_reached"}),
            1,
            ["spending limit", "repeating the call does not help"],
        ),
        (Fault(status=500), 3, ["HTTP 500 api_error", "wait a minute, then call the same tool again"]),
        (Fault(status=504), 3, ["HTTP 504 timeout_error"]),
        (Fault(status=529), 3, ["HTTP 529 overloaded_error"]),
        (Fault(status=500, headers={"x-should-retry": "false"}), 1, ["HTTP 500"]),
        (Fault(status=400, headers={"x-should-retry": "true"}), 3, ["HTTP 400"]),
        (Fault(status=302, headers={"location": "https://elsewhere.invalid/"}), 1, ["HTTP 302", "ANTHROPIC_BASE_URL"]),
        (Fault(status=407), 1, ["HTTP 407", "proxy"]),
        (Fault(status=503, headers={"retry-after": "600"}), 1, ["wait 600 seconds"]),
        (Fault(status=429, details={"error_code": "another"}, headers={"retry-after": "99"}), 1, ["Wait 99 seconds"]),
        (Fault(status=502, body=b"<html>Bad gateway</html>"), 3, ["HTTP 502, without a message"]),
        (Fault(status=400, body=b'{"error": "just words"}'), 1, ["HTTP 400, without a message"]),
        (Fault(cut="before"), 3, ["the connection broke"]),
    ],
)
async def test_each_error_of_the_api_says_what_happened_the_state_and_the_next_step(
    connect: Connect, sandbox: Sandbox, clock: Clock, fault: Fault, tries: int, told: list[str]
) -> None:
    batch = sandbox.add_batch(key=KEY)
    fault.times = 9
    sandbox.faults.append(fault)
    before = clock.monotonic()
    async with connect() as assistant:
        said = await assistant.fail("get_message_batch", message_batch_id=batch)
    for words in told:
        assert words in said
    assert "Nothing was changed." in said
    assert len(re.findall(r"[.!?](?: |$)", said)) <= 3, said
    assert len(sandbox.received) == tries
    if fault.headers.get("retry-after") == "7":
        assert clock.monotonic() - before == pytest.approx(14)


@pytest.mark.parametrize(
    "wait",
    [
        {"retry-after-ms": "1500", "retry-after": "9"},
        {"retry-after": "1.5"},
        {"retry-after": "Tue, 03 Nov 2026 09:00:01 GMT"},
        {"retry-after": "soon"},
        {"retry-after": "-5"},
        {"retry-after": "nan"},
    ],
)
async def test_a_passing_error_is_repeated_after_the_wait_that_the_api_names(
    connect: Connect, sandbox: Sandbox, clock: Clock, wait: dict[str, str]
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault(status=429, headers=wait))
    before = clock.monotonic()
    async with connect() as assistant:
        await assistant.call("get_message_batch", message_batch_id=batch)
    assert 0.3 <= clock.monotonic() - before <= 1.5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>hello</html>",
        b'{"id": "msgbatch_1", "processing_status": "ended"',
        b'{"id": 5, "processing_status": "ended", "request_counts": {}, "created_at": "2026-11-03T09:00:00Z"}',
        b'{"id": "msgbatch_1", "processing_status": "ended", "request_counts": {}, "created_at": "yesterday"}',
        b'{"id": "msgbatch_1", "type": "message", "processing_status": "ended", "request_counts": {}}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b" " * (33 * 1024 * 1024),
    ],
    ids=range(12),
)
async def test_a_body_that_is_not_what_it_should_be_names_the_endpoint_and_the_request(
    connect: Connect, sandbox: Sandbox, body: bytes
) -> None:
    sandbox.faults.append(Fault("retrieve", body=body, headers={"request-id": "req_42"}))
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id="msgbatch_1")
    assert "answered retrieve with HTTP 200, but the body is not what it should be" in said
    assert "req_42" in said
    assert "Nothing was changed." in said
    assert [received.method for received in sandbox.received] == ["GET"]


@pytest.mark.parametrize("tool", ["list_message_batches", *TOOLS_OF_ONE_BATCH])
async def test_without_a_key_each_tool_says_what_to_set(connect: Connect, sandbox: Sandbox, tool: str) -> None:
    arguments = {} if tool == "list_message_batches" else {"message_batch_id": "msgbatch_1"}
    async with connect(api_key=None) as assistant:
        said = await assistant.fail(tool, **arguments)
    assert "ANTHROPIC_API_KEY" in said
    assert "--sandbox" in said
    assert sandbox.received == []


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (httpx2.ConnectTimeout("slow"), "did not answer in time"),
        (httpx2.ProxyError("no"), "HTTPS_PROXY"),
        (httpx2.ConnectError("refused"), "no connection could be made"),
        (httpx2.RemoteProtocolError("cut"), "the connection broke"),
    ],
)
async def test_each_way_of_not_being_reached_is_told_apart(
    connect: Connect, failure: httpx2.TransportError, told: str
) -> None:
    async with connect(transport=_Failing(failure)) as assistant:
        said = await assistant.fail("list_message_batches")
    assert told in said
    assert "Nothing was changed." in said


async def test_an_untrusted_certificate_is_told_as_such(connect: Connect) -> None:
    failure = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    failure.__cause__ = ssl.SSLCertVerificationError()
    async with connect(transport=_Failing(failure)) as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id="msgbatch_1")
    assert "TLS" in said
    assert "SSL_CERT_FILE" in said


@pytest.mark.parametrize("escape", [False, True])
async def test_the_key_is_in_no_answer_also_where_the_api_echoes_it(
    connect: Connect, sandbox: Sandbox, era: str, escape: bool
) -> None:
    batch = sandbox.add_batch(key=KEY)
    echo = "".join(f"\\u{ord(letter):04x}" for letter in KEY) if escape else KEY
    error = f'{{"type": "error", "error": {{"type": "{echo}", "message": "bad {echo}"}}}}'.encode()
    status = (
        f'{{"id": "{batch}", "processing_status": "{echo}", "request_counts": {{}}, '
        '"created_at": "2026-11-03T09:00:00Z"}'
    ).encode()
    headers = {"request-id": f"req_{KEY}"}
    said = []
    async with connect(era) as assistant:
        for tool in TOOLS_OF_ONE_BATCH:
            sandbox.faults.append(Fault("retrieve", status=400, body=error, headers=headers))
            said.append(await assistant.fail(tool, message_batch_id=batch))
            sandbox.faults.append(Fault("retrieve", body=status, headers=headers))
            said.append(str(await assistant.call(tool, message_batch_id=batch)))
        said.append(await assistant.fail("get_message_batch", message_batch_id=KEY + KEY))
        said.append(await assistant.fail("get_message_batch", **{"message_batch_id": batch, KEY: 1}))
    assert all("[redacted]" in text for text in said), said
    assert KEY not in "".join(said)


@pytest.mark.parametrize("cut_within", range(0, len(KEY) + 1, 3))
async def test_a_key_that_stands_where_a_text_is_cut_does_not_leave_a_part_of_it(
    connect: Connect, sandbox: Sandbox, cut_within: int
) -> None:
    batch = sandbox.add_batch(key=KEY)
    filler = "a" * (300 - cut_within)
    error = f'{{"type": "error", "error": {{"type": "x", "message": "{filler}{KEY}"}}}}'.encode()
    status = f'{{"id": "{batch}", "processing_status": "{filler}{KEY}", "request_counts": {{}}, '.encode()
    async with connect() as assistant:
        sandbox.faults.append(Fault("retrieve", status=400, body=error, headers={"request-id": f"{filler[240:]}{KEY}"}))
        said = await assistant.fail("get_message_batch", message_batch_id=batch)
        sandbox.faults.append(Fault("retrieve", body=status + b'"created_at": "2026-11-03T09:00:00Z"}'))
        said += str(await assistant.call("get_message_batch", message_batch_id=batch))
    assert KEY[:8] not in said


@pytest.mark.parametrize(
    "environment",
    [
        {"SSL_CERT_FILE": "/nonexistent/certificates.pem"},
        {"SSL_CERT_FILE": __file__},
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"ALL_PROXY": "http://user:word@[::1"},
        {"ALL_PROXY": "foo:bar:baz"},
        {"HTTPS_PROXY": "ftp://127.0.0.1"},
    ],
)
async def test_what_is_configured_and_cannot_be_used_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loaded = Settings.load(api_key=KEY, base_url="https://127.0.0.1:1")
    async with Client(create_server(loaded)) as client:
        said = await Assistant(client).fail("list_message_batches")
    assert "cannot be set up as configured" in said
    assert "Nothing was changed." in said
    assert "SSL_CERT_FILE" in said
    assert "word" not in said


@pytest.mark.parametrize("moment", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00+05:00", "1969-12-31T23:59:59Z"])
async def test_a_time_that_cannot_be_is_a_bad_body(connect: Connect, sandbox: Sandbox, moment: str) -> None:
    body = f'{{"id": "b", "processing_status": "ended", "request_counts": {{}}, "created_at": "{moment}"}}'
    sandbox.faults.append(Fault("retrieve", body=body.encode()))
    async with connect() as assistant:
        said = await assistant.fail("get_message_batch", message_batch_id="b")
    assert "created_at" in said


async def test_a_stale_cursor_is_told_as_such(connect: Connect, sandbox: Sandbox) -> None:
    for _ in range(4):
        sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        listed = await assistant.call("list_message_batches", limit=2)
        await assistant.call("delete_message_batch", message_batch_id=listed["next_cursor"])
        said = await assistant.fail("list_message_batches", limit=2, cursor=listed["next_cursor"])
    assert "again without cursor" in said
    assert "already gone" not in said


async def test_a_refused_token_is_named_as_the_token(connect: Connect, sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(status=401))
    async with connect(api_key=None, auth_token=KEY) as assistant:
        said = await assistant.fail("list_message_batches")
    assert "check ANTHROPIC_AUTH_TOKEN" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"message_batch_id": 5}, "ids look like msgbatch_"),
        ({"cursor": "no cursor"}, "cursor is not the next_cursor of an earlier answer"),
    ],
)
async def test_a_wrong_argument_is_told_without_its_pattern(
    connect: Connect, arguments: dict[str, object], told: str
) -> None:
    tool = "list_message_batches" if "cursor" in arguments else "get_message_batch"
    async with connect() as assistant:
        said = await assistant.fail(tool, **arguments)
    assert told in said
    assert "A-Za-z" not in said


class _Failing(SandboxTransport):
    def __init__(self, failure: httpx2.TransportError) -> None:
        self._failure = failure

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise self._failure
