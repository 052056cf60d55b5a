"""The sandbox on a real port, driven by the official SDK in its strict mode and, for exact words, by plain HTTP."""

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request
from starlette.types import Receive, Scope, Send

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from tests.conftest import KEY
from tests.support.serving import served

DAY = 86400
BATCHES = "/v1/messages/batches"
VERSIONS = ["2026-10-21", "2023-06-01"]
HEADERS = {"x-api-key": KEY, "anthropic-version": VERSIONS[0]}
TEN_KEYS = [
    "id",
    "type",
    "processing_status",
    "request_counts",
    "ended_at",
    "created_at",
    "expires_at",
    "archived_at",
    "cancel_initiated_at",
    "results_url",
]
COUNTS = ["processing", "succeeded", "errored", "canceled", "expired"]
PARAMS: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Is the lamp whole?"}],
}

Serve = Callable[[Sandbox], str]


class _Port(Sandbox):
    """One port for all tests of this file, since opening one takes longer than most of them."""

    address: str
    behind: Sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.behind(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[_Port]:
    port = _Port()
    with served(port) as port.address:
        yield port


@pytest.fixture
def serve(port: _Port) -> Serve:
    """Puts a sandbox behind the port, and returns its address."""

    def put(sandbox: Sandbox) -> str:
        port.behind = sandbox
        return port.address

    return put


@pytest.fixture
def address(serve: Serve, sandbox: Sandbox) -> str:
    return serve(sandbox)


@pytest.fixture
def sdk(address: str) -> Iterator[anthropic.Anthropic]:
    with sdk_at(address) as client:
        yield client


@pytest.fixture
def api(address: str) -> Iterator[httpx2.Client]:
    with api_at(address) as client:
        yield client


def sdk_at(address: str, **options: Any) -> anthropic.Anthropic:
    credentials = {} if "auth_token" in options else {"api_key": KEY}
    return anthropic.Anthropic(
        base_url=address, max_retries=0, _strict_response_validation=True, **{**credentials, **options}
    )


def api_at(address: str, headers: Mapping[str, str] = HEADERS) -> httpx2.Client:
    return httpx2.Client(base_url=address, headers=headers)


def requests(*custom_ids: str, **changed: Any) -> list[Request]:
    params: Any = {**PARAMS, **changed}
    return [Request(custom_id=custom_id, params=params) for custom_id in custom_ids]


def body_of(*custom_ids: str, **changed: Any) -> bytes:
    return json.dumps({"requests": requests(*custom_ids, **changed)}).encode()


def lines_of(api: httpx2.Client, batch: str) -> dict[str, dict[str, Any]]:
    """Results by custom id; each line is what the SDK's own model of it says."""
    answer = api.get(f"{BATCHES}/{batch}/results")
    assert answer.status_code == 200, answer.text
    for line in answer.text.splitlines():
        MessageBatchIndividualResponse.model_validate_json(line)
    return {line["custom_id"]: line["result"] for line in map(json.loads, answer.text.splitlines())}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ({"api_key": KEY}, {"authorization": f"Bearer {KEY}"}),
        ({"auth_token": KEY}, {"authorization": f"Bearer {KEY}"}),
        ({"default_headers": {"Authorization": anthropic.Omit(), "x-api-key": KEY}}, {"x-api-key": KEY}),
    ],
    ids=["api_key", "auth_token", "x-api-key"],
)
def test_a_batch_lives_from_create_to_delete_through_the_strict_official_sdk(
    address: str, sandbox: Sandbox, clock: Clock, version: str, credentials: dict[str, Any], sent: dict[str, str]
) -> None:
    headers = {**credentials.get("default_headers", {}), "anthropic-version": version}
    with sdk_at(address, **{**credentials, "default_headers": headers}) as sdk:
        batches = sdk.messages.batches
        made = batches.create(requests=requests("a", "b", "c"))
        assert (made.processing_status, made.request_counts.processing) == ("in_progress", 3)
        assert made.created_at == clock.now()
        assert made.expires_at == clock.now() + timedelta(hours=24)
        assert (made.ended_at, made.archived_at, made.cancel_initiated_at, made.results_url) == (None,) * 4
        assert batches.retrieve(made.id) == made
        assert list(batches.list()) == [made]

        clock.advance(30)
        stopped = batches.cancel(made.id)
        assert (stopped.processing_status, stopped.cancel_initiated_at) == ("canceling", clock.now())
        assert stopped.request_counts.processing == 3
        clock.advance(1)
        assert batches.cancel(made.id) == batches.retrieve(made.id) == stopped

        clock.advance(4)
        ended = batches.retrieve(made.id)
        assert (ended.processing_status, ended.ended_at) == ("ended", clock.now())
        assert ended.results_url == f"{address}{BATCHES}/{made.id}/results"
        counts = ended.request_counts
        assert (counts.processing, counts.succeeded, counts.canceled) == (0, 1, 2)
        came_to = {line.custom_id: line.result.type for line in batches.results(made.id)}
        assert came_to == {"a": "succeeded", "b": "canceled", "c": "canceled"}

        gone = batches.delete(made.id)
        assert (gone.id, gone.type) == (made.id, "message_batch_deleted")
        with pytest.raises(anthropic.NotFoundError) as refused:
            batches.retrieve(made.id)
        assert refused.value.request_id == refused.value.response.headers["request-id"]
    for received in sandbox.received:
        carried = {name: received.headers[name] for name in ("authorization", "x-api-key") if name in received.headers}
        assert carried == sent
        assert received.headers["anthropic-version"] == version


def test_the_sdk_pages_through_a_list_in_both_directions(
    sdk: anthropic.Anthropic, sandbox: Sandbox, clock: Clock
) -> None:
    newest_first: list[str] = []
    for _ in range(8):
        newest_first.insert(0, sdk.messages.batches.create(requests=requests("a")).id)
        clock.advance(1)
    sandbox.add_batch(key="of somebody else")

    def pages(**options: Any) -> list[list[str]]:
        first = sdk.messages.batches.list(**options)
        return [[batch.id for batch in page.data] for page in first.iter_pages()]

    assert [batch.id for batch in sdk.messages.batches.list(limit=3)] == newest_first
    assert pages(limit=3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert pages(limit=3, after_id=newest_first[1]) == [newest_first[2:5], newest_first[5:]]
    assert pages(limit=3, before_id=newest_first[-1]) == [newest_first[4:7], newest_first[1:4], newest_first[:1]]
    assert pages(limit=8) == [newest_first]


def test_a_page_has_twenty_batches_unless_told_and_an_empty_one_has_no_cursors(
    api: httpx2.Client, sandbox: Sandbox
) -> None:
    nothing = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert api.get(BATCHES).json() == nothing
    added = [sandbox.add_batch(1, key=KEY) for _ in range(21)]
    page = api.get(BATCHES).json()
    assert list(page) == list(nothing)
    assert [batch["id"] for batch in page["data"]] == added[:0:-1]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, added[-1], added[1])
    assert api.get(BATCHES, params={"after_id": added[0]}).json() == nothing


@pytest.mark.parametrize("state", ["in_progress", "canceling", "ended", "archived"])
def test_a_batch_has_its_ten_keys_in_the_order_of_the_api_and_a_polling_hint_while_it_runs(
    api: httpx2.Client, sandbox: Sandbox, state: str
) -> None:
    batch = batch_in(sandbox, state)
    answer = api.get(f"{BATCHES}/{batch}")
    shown = answer.json()
    assert list(shown) == TEN_KEYS
    assert list(shown["request_counts"]) == COUNTS
    assert shown["created_at"].endswith("+00:00")
    assert (shown["results_url"] is not None) == (state == "ended")
    assert answer.headers.get("retry-after") == (None if state in {"ended", "archived"} else "10")
    assert answer.headers["request-id"].startswith("req_01")
    assert api.get(BATCHES).json()["data"] == [shown]


def batch_in(sandbox: Sandbox, state: str) -> str:
    match state:
        case "unknown":
            return "msgbatch_01AAAAAAAAAAAAAAAAAAAAAA"
        case "malformed":
            return "~"
        case "archived":
            return sandbox.add_batch(key=KEY, age=29 * DAY)
        case _:
            return sandbox.add_batch(key=KEY, status=state)


@pytest.mark.parametrize(
    ("state", "method", "suffix", "status", "kind", "message"),
    [
        (
            "in_progress",
            "DELETE",
            "",
            400,
            "invalid_request_error",
            "In progress batches cannot be deleted. Consider canceling the batch instead.",
        ),
        (
            "canceling",
            "DELETE",
            "",
            400,
            "invalid_request_error",
            "In progress batches cannot be deleted. Consider canceling the batch instead.",
        ),
        (
            "ended",
            "POST",
            "/cancel",
            400,
            "invalid_request_error",
            "Batch {id} cannot be canceled because it has already finished processing.",
        ),
        ("unknown", "GET", "", 404, "not_found_error", "Message Batch {id} not found."),
        ("unknown", "POST", "/cancel", 404, "not_found_error", "Message Batch {id} not found."),
        ("unknown", "DELETE", "", 404, "not_found_error", "Message Batch {id} not found."),
        ("unknown", "GET", "/results", 404, "not_found_error", "Message Batch {id} not found."),
        ("malformed", "GET", "", 404, "not_found_error", "Message Batch {id} not found."),
        ("in_progress", "GET", "/results", 404, "not_found_error", "Message Batch {id} has no available results."),
        ("canceling", "GET", "/results", 404, "not_found_error", "Message Batch {id} has no available results."),
        ("archived", "GET", "/results", 404, "not_found_error", "Message Batch {id} has no available results."),
        ("ended", "GET", "/elsewhere", 404, "not_found_error", "Not found"),
        ("ended", "GET", "/cancel", 405, "invalid_request_error", "Method Not Allowed"),
        ("ended", "PATCH", "", 405, "invalid_request_error", "Method Not Allowed"),
        ("ended", "PROPFIND", "", 405, "invalid_request_error", "Method Not Allowed"),
    ],
)
def test_what_a_batch_does_not_allow_is_refused_in_the_words_of_the_api(
    api: httpx2.Client, sandbox: Sandbox, state: str, method: str, suffix: str, status: int, kind: str, message: str
) -> None:
    batch = batch_in(sandbox, state)
    assert_refused(api.request(method, f"{BATCHES}/{batch}{suffix}"), status, kind, message.format(id=batch))


def assert_refused(answer: httpx2.Response, status: int, kind: str, message: str) -> None:
    assert answer.status_code == status
    assert answer.json() == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": answer.headers["request-id"],
    }


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/messages", f"{BATCHES}/", "/v2/messages/batches"])
def test_a_path_that_there_is_not_is_refused_in_the_envelope(api: httpx2.Client, path: str) -> None:
    assert_refused(api.get(path), 404, "not_found_error", "Not found")


def test_a_deleted_batch_is_gone_from_every_endpoint(api: httpx2.Client, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY)
    assert api.delete(f"{BATCHES}/{batch}").json() == {"id": batch, "type": "message_batch_deleted"}
    for method, suffix in [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/results")]:
        refused = api.request(method, f"{BATCHES}/{batch}{suffix}")
        assert_refused(refused, 404, "not_found_error", f"Message Batch {batch} not found.")
    assert api.get(BATCHES).json()["data"] == []


@pytest.mark.parametrize(
    ("headers", "status", "kind", "message"),
    [
        ({"x-api-key": KEY}, 400, "invalid_request_error", "anthropic-version: header is required"),
        (
            {"x-api-key": "another", "anthropic-version": VERSIONS[0]},
            401,
            "authentication_error",
            "API key is invalid.",
        ),
        (
            {"authorization": "Bearer another", "anthropic-version": VERSIONS[0]},
            401,
            "authentication_error",
            "API key is invalid.",
        ),
        ({"anthropic-version": VERSIONS[0]}, 401, "authentication_error", "x-api-key header is required"),
        (
            {"x-api-key": KEY, "anthropic-version": "2020-01-01"},
            400,
            "invalid_request_error",
            'anthropic-version: "2020-01-01" is not a valid version',
        ),
        (
            {**HEADERS, "anthropic-workspace-id": "wrkspc_2"},
            403,
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
    ],
)
def test_wrong_headers_are_refused_in_the_words_of_the_api(
    serve: Serve, clock: Clock, headers: dict[str, str], status: int, kind: str, message: str
) -> None:
    with api_at(serve(Sandbox(clock=clock, keys={KEY: "wrkspc_1"})), headers) as api:
        assert_refused(api.get(BATCHES), status, kind, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (body_of("a b"), "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        (body_of(""), "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        (body_of("a\n"), "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        (body_of("\u0661"), "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        (body_of("a" * 65), "requests.0.custom_id: String should have at most 64 characters"),
        (b'{"requests": [{"params": {}}]}', "requests.0.custom_id: Field required"),
        (body_of("a", "b" * 65), "requests.1.custom_id: String should have at most 64 characters"),
        (b'{"requests": [{"custom_id": 1, "params": {}}]}', "requests.0.custom_id: Input should be a valid string"),
        (b'{"requests": [{"custom_id": "a"}]}', "requests.0.params: Field required"),
        (
            b'{"requests": [{"custom_id": "a", "params": []}]}',
            "requests.0.params: Input should be a valid dictionary or object to extract fields from",
        ),
        (b'{"requests": ["a"]}', "requests.0: Input should be a valid dictionary or object to extract fields from"),
        (
            body_of("dup", "b", "dup"),
            "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
        ),
        (b'{"requests": []}', "requests: List should have at least 1 item after validation, not 0"),
        (b'{"requests": {}}', "requests: Input should be a valid list"),
        (b"{}", "requests: Field required"),
        (b"[]", "Input should be a valid dictionary or object to extract fields from"),
        (
            b'{"requests": [' + b"0," * 100_000 + b"0]}",
            "requests: List should have at most 100000 items after validation, not 100001",
        ),
    ],
    ids=range(17),
)
def test_a_wrong_create_is_refused_as_a_whole_in_the_words_of_the_api(
    api: httpx2.Client, body: bytes, message: str
) -> None:
    assert_refused(api.post(BATCHES, content=body), 400, "invalid_request_error", message)
    assert api.get(BATCHES).json()["data"] == []


@pytest.mark.parametrize("path", [BATCHES, "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b'{"requests": [', b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5_000],
    ids=range(7),
)
def test_what_is_no_json_or_too_deep_is_refused_as_such(api: httpx2.Client, path: str, body: bytes) -> None:
    answer = api.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("The request body is not valid JSON: ")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("limit=99999999999", "limit: Input should be less than or equal to 1000"),
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=-1", "limit: Input should be greater than or equal to 1"),
        ("limit=many", "limit: Input should be a valid integer, unable to parse string as an integer"),
        ("limit=", "limit: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_wrong_limit_of_a_list_is_refused(api: httpx2.Client, query: str, message: str) -> None:
    assert_refused(api.get(f"{BATCHES}?{query}"), 400, "invalid_request_error", message)


@pytest.mark.parametrize("cursor", ["before_id", "after_id"])
def test_a_cursor_that_there_is_not_is_refused(api: httpx2.Client, cursor: str) -> None:
    answer = api.get(BATCHES, params={cursor: "msgbatch_1"})
    assert_refused(answer, 404, "not_found_error", "Message Batch msgbatch_1 not found.")


def test_what_is_wrong_inside_params_passes_the_create_and_comes_back_as_an_errored_line(
    api: httpx2.Client, clock: Clock
) -> None:
    user = PARAMS["messages"][0]
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "no-messages": ({"messages": None}, "messages: Input should be a valid list"),
        "empty-messages": ({"messages": []}, "messages: at least one message is required"),
        "wrong-role": ({"messages": [user, {"role": "x"}]}, "messages.1.role: Input should be 'user' or 'assistant'"),
        "role-a-list": ({"messages": [{"role": []}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        "no-tokens": ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        "tokens-a-word": ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        "tokens-true": ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        "many-tokens": (
            {"max_tokens": 300_000},
            "max_tokens: 300000 > 128000, which is the maximum allowed number of output tokens",
        ),
        "stream": ({"stream": True}, "`stream=True` is not supported in the Message Batches API"),
        "speed": ({"speed": "fast"}, "`speed` is not supported in the Message Batches API"),
        "model": ({"model": "gpt"}, "model: gpt"),
    }
    entries = [entry for custom_id, (changed, _) in wrong.items() for entry in requests(custom_id, **changed)]
    for name in ("model", "messages", "max_tokens"):
        params: Any = {key: value for key, value in PARAMS.items() if key != name}
        entries.append(Request(custom_id=f"without-{name}", params=params))
    made = api.post(BATCHES, json={"requests": [*entries, *requests("good")]})
    assert made.status_code == 200
    clock.advance(60)
    lines = lines_of(api, made.json()["id"])
    expected = {custom_id: message for custom_id, (_, message) in wrong.items()}
    expected |= {f"without-{name}": f"{name}: Field required" for name in ("model", "messages", "max_tokens")}
    for custom_id, message in expected.items():
        kind = "not_found_error" if custom_id == "model" else "invalid_request_error"
        error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}
        assert lines.pop(custom_id) == {"type": "errored", "error": error}
    assert {custom_id: result["type"] for custom_id, result in lines.items()} == {"good": "succeeded"}


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"top_k": 5},
        {"messages": [{"role": "assistant", "content": [{"type": "document", "source": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": [{}]}]}]},
    ],
)
def test_what_the_current_version_no_longer_takes_errs_and_under_the_older_one_succeeds(
    api: httpx2.Client, clock: Clock, changed: dict[str, Any]
) -> None:
    came_to = []
    for version in VERSIONS:
        made = api.post(BATCHES, content=body_of("a", **changed), headers={"anthropic-version": version}).json()
        clock.advance(60)
        came_to.append(lines_of(api, made["id"])["a"]["type"])
    assert came_to == ["errored", "succeeded"]


def test_a_beta_raises_the_number_of_tokens_that_may_be_asked_for(sdk: anthropic.Anthropic, clock: Clock) -> None:
    made = sdk.messages.batches.create(
        requests=requests("a", max_tokens=300_000),
        extra_headers={"anthropic-beta": "some-other-2025-01-01, output-300k-2026-03-24"},
    )
    clock.advance(60)
    assert [line.result.type for line in sdk.messages.batches.results(made.id)] == ["succeeded"]


def test_a_custom_id_can_name_what_its_request_comes_to(api: httpx2.Client, clock: Clock) -> None:
    batch = api.post(BATCHES, content=body_of("will-be-errored", "will-be-expired", "other")).json()["id"]
    clock.advance(60)
    lines = lines_of(api, batch)
    assert lines["will-be-expired"] == {"type": "expired"}
    assert lines["other"]["type"] == "succeeded"
    error = lines["will-be-errored"]["error"]
    assert error["error"]["type"] == "api_error"
    assert error["request_id"].startswith("req_01")


def test_a_batch_ends_after_exactly_24_hours_and_what_was_not_processed_expires(serve: Serve, clock: Clock) -> None:
    sandbox = Sandbox(clock=clock, processing_seconds=2 * DAY)
    address = serve(sandbox)
    with sdk_at(address) as sdk, api_at(address) as api:
        batches = sdk.messages.batches
        made = batches.create(requests=requests("a", "b", "c", "d"))
        clock.advance(DAY - 0.001)
        assert batches.retrieve(made.id).processing_status == "in_progress"
        clock.advance(0.001)
        ended = batches.retrieve(made.id)
        assert ended.processing_status == "ended"
        assert ended.ended_at == ended.expires_at == made.created_at + timedelta(hours=24)
        assert (ended.request_counts.succeeded, ended.request_counts.expired) == (2, 2)
        came_to = {custom_id: result["type"] for custom_id, result in lines_of(api, made.id).items()}
        assert came_to == {"a": "succeeded", "b": "succeeded", "c": "expired", "d": "expired"}


def test_a_cancellation_shortly_before_the_24_hours_ends_with_them(serve: Serve, clock: Clock) -> None:
    sandbox = Sandbox(clock=clock, processing_seconds=2 * DAY, canceling_seconds=600)
    address = serve(sandbox)
    with sdk_at(address) as sdk:
        made = sdk.messages.batches.create(requests=requests("a", "b", "c", "d"))
        clock.advance(DAY - 60)
        sdk.messages.batches.cancel(made.id)
        clock.advance(60)
        ended = sdk.messages.batches.retrieve(made.id)
        assert ended.ended_at == ended.expires_at
        assert (ended.request_counts.canceled, ended.request_counts.expired) == (0, 3)


def test_results_are_gone_29_days_after_the_creation_and_the_batch_stays(
    sdk: anthropic.Anthropic, api: httpx2.Client, clock: Clock
) -> None:
    made = sdk.messages.batches.create(requests=requests("a"))
    clock.advance(29 * DAY - 0.001)
    assert lines_of(api, made.id)["a"]["type"] == "succeeded"
    assert sdk.messages.batches.retrieve(made.id).archived_at is None
    clock.advance(0.001)
    archived = sdk.messages.batches.retrieve(made.id)
    assert archived.archived_at == made.created_at + timedelta(days=29)
    assert (archived.processing_status, archived.results_url) == ("ended", None)
    assert api.get(f"{BATCHES}/{made.id}/results").status_code == 404
    assert sdk.messages.batches.delete(made.id).id == made.id


def test_a_key_sees_the_batches_of_its_workspace_only(serve: Serve, clock: Clock) -> None:
    sandbox = Sandbox(clock=clock, keys={"one": "wrkspc_1", "two": "wrkspc_1", "three": "wrkspc_2"})
    batch = sandbox.add_batch(key="one")
    address = serve(sandbox)
    with sdk_at(address, api_key="two") as colleague, sdk_at(address, api_key="three") as x:
        assert [seen.id for seen in colleague.messages.batches.list(workspace_id="wrkspc_1")] == [batch]
        assert list(x.messages.batches.list()) == []
        for refused in (x.messages.batches.retrieve, x.messages.batches.cancel, x.messages.batches.delete):
            with pytest.raises(anthropic.NotFoundError, match="not found"):
                refused(batch)
        with pytest.raises(anthropic.PermissionDeniedError):
            x.messages.batches.list(workspace_id="wrkspc_1")
        assert colleague.messages.batches.delete(batch).id == batch


def test_without_known_keys_each_key_has_a_workspace_of_its_own(address: str, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key="one")
    with sdk_at(address, api_key="one") as one, sdk_at(address, api_key="two") as two:
        assert [seen.id for seen in one.messages.batches.list()] == [batch]
        assert list(two.messages.batches.list()) == []


def test_requests_over_the_limit_of_a_minute_are_refused_until_the_wait_that_is_named_has_passed(
    serve: Serve, clock: Clock
) -> None:
    sandbox = Sandbox(clock=clock, requests_per_minute=4)
    address = serve(sandbox)
    with api_at(address) as api:
        for left in (3, 2, 1, 0):
            admitted = api.get(BATCHES)
            assert rates(admitted) == (
                "4",
                str(left),
                f"2026-11-03T09:{'00:' if left else '01:'}{(4 - left) * 15 % 60:02}Z",
            )
            assert "retry-after" not in admitted.headers
        refused = api.get(f"{BATCHES}/unknown")
        kind, message = "rate_limit_error", "This request would exceed the rate limit of your organization."
        assert_refused(refused, 429, kind, message)
        assert rates(refused) == ("4", "0", "2026-11-03T09:01:00Z")
        assert refused.headers["retry-after"] == "15"
        assert api.get(BATCHES, headers={"x-api-key": "another workspace"}).status_code == 200
        clock.advance(15)
        assert api.get(BATCHES).status_code == 200
        assert api.get(BATCHES).status_code == 429
        clock.advance(3600)
        assert rates(api.get(BATCHES)) == ("4", "3", "2026-11-03T10:00:30Z")


def rates(answer: httpx2.Response) -> tuple[str, ...]:
    return tuple(answer.headers[f"anthropic-ratelimit-requests-{name}"] for name in ("limit", "remaining", "reset"))


@pytest.mark.parametrize("limit", [1, 6, 7, 12])
def test_asking_too_early_again_and_again_does_not_move_the_moment_that_was_promised(serve: Serve, limit: int) -> None:
    clock = Clock()
    with api_at(serve(Sandbox(clock=clock, requests_per_minute=limit))) as api:
        for _ in range(limit):
            assert api.get(BATCHES).status_code == 200
        wait = int(api.get(BATCHES).headers["retry-after"])
        tenth = min(1.0, 60 / limit / 10)
        for _ in range(9):
            clock.advance(tenth)
            assert api.get(BATCHES).status_code == 429
        clock.advance(wait - 9 * tenth)
        assert api.get(BATCHES).status_code == 200


def test_count_tokens_grows_with_the_prompt_and_refuses_what_a_batch_would_return_as_errored(
    sdk: anthropic.Anthropic,
) -> None:
    def count(text: str, model: str = "claude-opus-5") -> int:
        counted = sdk.messages.count_tokens(model=model, messages=[{"role": "user", "content": text}])
        return counted.input_tokens

    assert 0 < count("short") < count("long " * 100)
    with pytest.raises(anthropic.NotFoundError, match="model: gpt"):
        count("short", model="gpt")
    with pytest.raises(anthropic.BadRequestError, match="messages: at least one message is required"):
        sdk.messages.count_tokens(model="claude-opus-5", messages=[])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"[]", 400, "Input should be a valid dictionary or object to extract fields from"),
        (b'{"messages": [{"role": "user"}]}', 400, "model: Field required"),
        (b'{"model": "\\ud800", "messages": [{"role": "user"}]}', 404, "model: \\ud800"),
    ],
)
def test_a_wrong_count_of_tokens_is_refused_in_the_envelope(
    api: httpx2.Client, body: bytes, status: int, message: str
) -> None:
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    assert_refused(api.post("/v1/messages/count_tokens", content=body), status, kind, message)


@pytest.mark.parametrize(
    ("fault", "raised", "message"),
    [
        (Fault(status=400, message="No."), anthropic.BadRequestError, "No."),
        (Fault(status=402), anthropic.APIStatusError, "credit balance is too low"),
        (Fault(status=408), anthropic.APIStatusError, "The request was refused."),
        (Fault(status=409), anthropic.ConflictError, "The request was refused."),
        (Fault("retrieve", status=500), anthropic.InternalServerError, "Internal server error"),
        (Fault(status=504, message="Too slow."), anthropic.InternalServerError, "Too slow."),
        (Fault("retrieve", status=529), anthropic.InternalServerError, "Overloaded"),
        (Fault(body=b'{"processing_status": "ended"}'), anthropic.APIResponseValidationError, "schema"),
    ],
)
def test_a_fault_reaches_the_sdk_as_the_error_of_its_status(
    sdk: anthropic.Anthropic, sandbox: Sandbox, fault: Fault, raised: type[Exception], message: str
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(fault)
    with pytest.raises(raised, match=message):
        sdk.messages.batches.retrieve(batch)
    assert sdk.messages.batches.retrieve(batch).id == batch
    assert sandbox.faults == []


def test_a_fault_waits_for_its_endpoint_and_its_turn_and_strikes_as_often_as_told(
    api: httpx2.Client, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(Fault("retrieve", status=529, skip=1, times=2))
    statuses = [api.get(path).status_code for path in (BATCHES, *[f"{BATCHES}/{batch}"] * 4)]
    assert statuses == [200, 200, 529, 529, 200]


def test_the_headers_and_details_of_a_fault_are_in_its_answer(api: httpx2.Client, sandbox: Sandbox) -> None:
    sandbox.faults += [
        Fault(status=429, details={"error_code": "enforced_spend_limit_reached"}, headers={"x-should-retry": "false"}),
        Fault(headers={"request-id": "req_42"}),
    ]
    refused = api.get(BATCHES)
    assert refused.json()["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert api.get(BATCHES).headers["request-id"] == "req_42"


def test_the_delay_of_a_fault_passes_on_the_clock_before_the_effect(
    sdk: anthropic.Anthropic, sandbox: Sandbox, clock: Clock
) -> None:
    before = clock.now()
    sandbox.faults.append(Fault("create", delay=45))
    assert sdk.messages.batches.create(requests=requests("a")).created_at == before + timedelta(seconds=45)


@pytest.mark.parametrize(
    ("fault", "deleted"),
    [
        (Fault("delete", cut="before"), False),
        (Fault("delete", cut="after"), True),
        (Fault("delete", status=504), False),
        (Fault("delete", status=504, after_effect=True), True),
    ],
)
def test_a_fault_strikes_before_the_effect_or_after_it_and_a_cut_leaves_no_answer(
    api: httpx2.Client, sandbox: Sandbox, fault: Fault, deleted: bool
) -> None:
    batch = sandbox.add_batch(key=KEY)
    sandbox.faults.append(fault)
    if fault.cut:
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            api.delete(f"{BATCHES}/{batch}")
    else:
        assert api.delete(f"{BATCHES}/{batch}").status_code == 504
    assert api.get(f"{BATCHES}/{batch}").status_code == (404 if deleted else 200)


@pytest.mark.parametrize(("cut", "made"), [("before", 0), ("after", 1)])
def test_a_create_that_is_cut_has_made_a_batch_only_where_the_cut_came_after_the_effect(
    sdk: anthropic.Anthropic, sandbox: Sandbox, cut: Any, made: int
) -> None:
    sandbox.faults.append(Fault("create", cut=cut))
    with pytest.raises(anthropic.APIConnectionError):
        sdk.messages.batches.create(requests=requests("a"))
    assert len(list(sdk.messages.batches.list())) == made


def test_a_client_that_goes_away_while_it_sends_leaves_no_batch_and_no_traceback(
    capfd: pytest.CaptureFixture[str], sandbox: Sandbox
) -> None:
    def half() -> Iterator[bytes]:
        yield b'{"requests": ['
        raise KeyError

    with served(sandbox) as address:
        with api_at(address) as api, pytest.raises(KeyError):
            api.post(BATCHES, content=half())
        with api_at(address) as api:
            assert api.get(BATCHES).json()["data"] == []
    assert len(sandbox.received) == 2
    assert capfd.readouterr().err == ""


def test_a_body_that_is_too_large_is_refused_by_the_edge_in_its_own_envelope(api: httpx2.Client) -> None:
    mebibyte = b" " * 2**20
    sent = threading.Event()

    def body() -> Iterator[bytes]:
        for _ in range(256):
            yield mebibyte
        sent.set()
        yield b" "

    answer = api.post(BATCHES, content=body())
    assert sent.is_set()
    assert answer.status_code == 413
    assert answer.json() == {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}


@pytest.mark.parametrize("total", [1, 2, 3, 6, 7, 42, 1001, 7 * 11 * 13 * 17])
def test_results_are_as_many_as_the_requests_in_an_order_that_is_not_theirs(
    api: httpx2.Client, sandbox: Sandbox, total: int
) -> None:
    batch = sandbox.add_batch(total, key=KEY, text_characters=1)
    came = [json.loads(line)["custom_id"] for line in api.get(f"{BATCHES}/{batch}/results").text.splitlines()]
    asked = [f"request-{number}" for number in range(1, total + 1)]
    assert len(came) == total
    assert set(came) == set(asked)
    assert came != asked or total == 1


def test_generated_requests_come_to_the_outcomes_that_were_asked_for(api: httpx2.Client, sandbox: Sandbox) -> None:
    asked: Any = {"succeeded": 12, "errored": 3, "canceled": 2, "expired": 1}
    batch = sandbox.add_batch(asked, key=KEY)
    lines = lines_of(api, batch)
    came_to = [result["type"] for result in lines.values()]
    assert {outcome: came_to.count(outcome) for outcome in asked} == asked
    assert api.get(f"{BATCHES}/{batch}").json()["request_counts"] == {"processing": 0, **asked}
    kinds = {block["type"] for result in lines.values() for block in result.get("message", {}).get("content", [])}
    assert kinds == {"text", "thinking"}


def test_ten_gigabytes_of_results_can_be_opened_and_left_after_the_first_lines(
    api: httpx2.Client, sandbox: Sandbox
) -> None:
    batch = sandbox.add_batch(100_000, key=KEY, text_characters=100_000)
    tracemalloc.start()
    try:
        with api.stream("GET", f"{BATCHES}/{batch}/results") as answer:
            assert answer.headers["content-type"].startswith("application/x-jsonl")
            lines = answer.iter_lines()
            first = [json.loads(next(lines)) for _ in range(100)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len({line["custom_id"] for line in first}) == 100
    assert all(len(line["result"]["message"]["content"][-1]["text"]) == 100_000 for line in first)
    assert peak < 64 * 2**20
    assert api.get(f"{BATCHES}/{batch}").json()["request_counts"]["succeeded"] == 100_000


def test_the_seed_holds_batches_in_every_state(sdk: anthropic.Anthropic, sandbox: Sandbox) -> None:
    sandbox.seed(KEY)
    batches = list(sdk.messages.batches.list())
    assert [batch.processing_status for batch in batches] == ["in_progress", "canceling", *["ended"] * 4]
    assert [batch.created_at for batch in batches] == sorted((batch.created_at for batch in batches), reverse=True)
    assert [batch.archived_at is not None for batch in batches] == [False] * 5 + [True]
    assert [batch.request_counts.expired for batch in batches] == [0, 0, 0, 10, 0, 0]
    assert [batch.request_counts.errored for batch in batches] == [0, 0, 0, 0, 2, 0]


@pytest.mark.parametrize(
    ("status", "age", "seconds", "told"),
    [
        ("in_progress", 60, None, "a batch of 60 s is ended after 60 s, not in_progress"),
        ("canceling", DAY, 2 * DAY, f"is ended after {DAY} s, not canceling"),
        ("done", 0, None, "is in_progress after 0 s, not done"),
    ],
)
def test_a_batch_whose_age_and_status_contradict_each_other_is_not_added(
    sandbox: Sandbox, status: str, age: float, seconds: float | None, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        sandbox.add_batch(key=KEY, status=status, age=age, processing_seconds=seconds)
