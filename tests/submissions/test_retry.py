"""What a retry sends again, and which number it takes: one that stands against whatever was not seen before."""

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.requests.sources import InlineSource
from mcp_batch_tools.results.lines import decode_line
from mcp_batch_tools.sandbox import Clock, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from mcp_batch_tools.submissions.match import Listed
from mcp_batch_tools.submissions.retry import retried_as, select_for_retry
from tests.conftest import KEY, Connect, SandboxTransport
from tests.submissions.model.ledger import Ledger
from tests.submissions.test_store import NOW, Store
from tests.support.raw import Person, over_streams
from tests.support.requests import request, write

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("retries", "allow_duplicate", "last_seq"),
    [
        ([], False, 0),
        (["created"], False, 1),
        (["created", "not_created"], False, 2),
        (["forgotten", "abandoned"], False, 2),
        (["sent"], False, 0),
        (["not_created", "created", "claimed"], False, 2),
        (["created", "sent", "created"], False, 1),
        (["created", "sent"], True, 2),
    ],
)
async def test_the_number_of_an_open_retry_stands_in_the_way_and_no_other_is_used_again(
    tmp_path: Path, ledger: Ledger, retries: list[str], allow_duplicate: bool, last_seq: int
) -> None:
    saved = tmp_path / "r.jsonl"
    saved.write_text(json.dumps({"custom_id": "c", "result": {"type": "expired"}}) + "\n")
    made = Store(ledger)
    for seq, state in enumerate(retries, start=1):
        batch = {"batch": Listed(f"b{seq}", NOW, 2)} if state in {"created", "forgotten"} else {}
        getattr(made, state)(f"content {seq}", retry_of="R", seq=seq, custom_id=f"other {seq}", **batch)

    class Reading:
        async def read(self, work: Any) -> Any:
            return ledger.run(work, changes=False)

    source = InlineSource([{"custom_id": "c", "params": {"model": "m", "max_tokens": 1, "messages": []}}])
    client, database = BatchClient(base_url="http://127.0.0.1", headers=None), cast("Database", Reading())
    select = partial(select_for_retry, client, database, "w", source, "R", saved)
    selected = await select(allow_duplicate=allow_duplicate)
    assert selected.source is not None
    assert selected.last_seq == last_seq


def failed(kind: str, message: str = "", code: str | None = None) -> dict[str, Any]:
    cause = {"type": kind, "message": message, **({"details": {"error_code": code}} if code else {})}
    return {"type": "errored", "error": {"type": "error", "error": cause, "request_id": None}}


def stopped(reason: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": {"model": "m", "stop_reason": reason, "content": []}}


CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (failed("invalid_request_error", CREDIT), "billing"),
        (failed("invalid_request_error", "You have reached your specified API usage limits."), "billing"),
        (failed("invalid_request_error", "This organization has been disabled."), "billing"),
        (failed("invalid_request_error", "Refused.", "enforced_spend_limit_reached"), "billing"),
        (failed("invalid_request_error", "Refused.", "linked_organization_spend_limit_reached"), "billing"),
        (failed("permission_error", "Refused.", "organization_on_hold"), "billing"),
        (failed("billing_error"), "billing"),
        (failed("authentication_error", "API key is invalid."), "billing"),
        (failed("permission_error"), "billing"),
        (failed("rate_limit_error"), "errored_on_server"),
        (failed("rate_limit_error", "Spent.", "contract_spend_limit_reached"), "billing"),
        (failed("api_error"), "errored_on_server"),
        (failed("overloaded_error"), "errored_on_server"),
        (failed("timeout_error"), "errored_on_server"),
        (failed("error_of_tomorrow"), "errored_on_server"),
        ({"type": "errored"}, "errored_on_server"),
        (failed("invalid_request_error", "max_tokens: Field required"), None),
        (failed("invalid_request_error", "Refused.", "some_other_code"), None),
        (failed("not_found_error", "model: claude-nonsense-9"), None),
        (failed("request_too_large"), None),
        ({"type": "expired"}, "expired"),
        ({"type": "canceled"}, "canceled"),
        ({"type": "lost"}, None),
        (stopped("refusal"), "refused"),
        (stopped("max_tokens"), "cut"),
        (stopped("model_context_window_exceeded"), "cut"),
        (stopped("pause_turn"), None),
        (stopped("end_turn"), None),
        (stopped("of tomorrow"), None),
    ],
)
def test_a_result_counts_by_what_stood_against_its_request(result: dict[str, Any], kind: str | None) -> None:
    raw = json.dumps({"custom_id": "c", "result": result}).encode()
    assert retried_as(decode_line(raw, 1)) == kind


FILE = ["good", "errored-1", "billing-1", "expired-1", "refusal-1", "max_tokens-1", "pause_turn-1", "tool_use-1"]


@pytest.mark.parametrize(
    ("retry", "sent"),
    [
        (None, ["billing-1", "errored-1", "expired-1", "mended"]),
        ([], ["billing-1", "errored-1", "expired-1", "mended"]),
        (["refused"], ["refusal-1"]),
        (["cut"], ["max_tokens-1"]),
        ("Cut", ["max_tokens-1"]),
        ("refused, cut", ["max_tokens-1", "refusal-1"]),
        (["billing", "expired"], ["billing-1", "expired-1"]),
        (["errored_on_server"], ["errored-1"]),
    ],
)
async def test_what_is_sent_again_can_be_chosen_and_is_sent_once(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, era: str, retry: Any, sent: list[str]
) -> None:
    requests = [request(custom_id) for custom_id in FILE]
    name = write(requests_dir, [*requests, request("mended", model="gpt"), request("wrong", model="gpt")])
    chosen = {} if retry is None else {"retry": retry}
    async with connect(era) as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
        clock.advance(3600)
        name = write(requests_dir, [*requests, request("mended"), request("wrong", model="gpt")])
        again = await assistant.call("create_message_batch", requests_file=name, retry_of=first, **chosen)
        over = await assistant.call("create_message_batch", requests_file=name, retry_of=first, **chosen)
        clock.advance(3600)
        read = await assistant.call("read_message_batch_results", message_batch_id=again["batches"][0]["id"])
    assert sorted(row["custom_id"] for row in read["results"]) == sent
    assert over["reason"] == "already_created"


async def test_a_request_that_was_cut_off_is_sent_again_with_more_tokens_after_the_others(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    requests = [request("max_tokens-1"), request("expired-1")]
    name = write(requests_dir, requests)
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
        clock.advance(3600)
        retry = {"requests_file": name, "retry_of": first}
        made = [await assistant.call("create_message_batch", **retry)]
        made.append(await assistant.call("create_message_batch", **retry, retry=["cut"]))
        write(requests_dir, [request("max_tokens-1", max_tokens=4000), request("expired-1")])
        made.append(await assistant.call("create_message_batch", **retry, retry=["cut"]))
    assert [answer["batches"][0]["requests"] for answer in made] == [1, 1, 1]
    assert len({answer["batches"][0]["id"] for answer in made}) == 3


async def test_where_nothing_is_to_be_sent_again_the_answer_names_what_could_be_chosen(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("good"), request("max_tokens-1"), request("refusal-1")])
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
        clock.advance(3600)
        retry = {"requests_file": name, "retry_of": first}
        plain = await assistant.fail("create_message_batch", **retry)
        other = await assistant.fail("create_message_batch", **retry, retry=["billing"])
        wrong = await assistant.fail("create_message_batch", **retry, retry=["everything"])
        without = await assistant.fail("create_message_batch", requests_file=name, retry=["cut"], allow_duplicate=True)
    assert "has nothing to retry" in plain
    assert "Other results of this batch are cut, refused" in plain
    assert "no request in this file is among billing" in other
    assert "'errored_on_server', 'billing', 'expired', 'canceled', 'refused' or 'cut'" in wrong
    assert "retry was given without retry_of" in without
    assert sum(received.method == "POST" and received.path.endswith("/batches") for received in sandbox.received) == 1


async def test_the_choice_is_among_the_arguments_of_a_confirmation(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, person: Person
) -> None:
    name = write(requests_dir, [request("max_tokens-1"), request("refusal-1"), request("expired-1")])
    async with connect() as assistant:
        first = (await assistant.call("create_message_batch", requests_file=name))["batches"][0]["id"]
    clock.advance(3600)
    person.seconds = 0.01
    server = create_server(
        Settings.load(api_key=KEY, ask_above_usd=0), transport=SandboxTransport(sandbox), clock=clock
    )
    retry = {"requests_file": name, "retry_of": first, "retry": ["refused", "cut"]}
    async with over_streams(server, "2025-11-25", {"elicitation": {}}) as client:
        said = await client.call("create_message_batch", retry, lambda _: {"result": {"action": "cancel"}})
        assert said is not None
        (step,) = said["result"]["structuredContent"]["next_steps"]
        then = await client.call(step["tool"], step["arguments"], lambda _: None)
    assert then is not None
    assert then["result"]["structuredContent"]["batches"][0]["requests"] == 2
