"""Arguments as models and clients really send them: what counts as left out, what is understood, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import KEY, Connect

pytestmark = pytest.mark.anyio

REQUIRED: dict[str, dict[str, Any]] = {
    "list_message_batches": {},
    "get_message_batch": {"message_batch_id": "ID"},
    "create_message_batch": {"requests_file": "FILE", "dry_run": True},
    "cancel_message_batch": {"message_batch_id": "ID"},
    "delete_message_batch": {"message_batch_id": "ID"},
    "read_message_batch_results": {"message_batch_id": "ID"},
    "save_message_batch_results": {"message_batch_id": "ID"},
}
REQUEST = {
    "custom_id": "a",
    "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]},
}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MCP_BATCH_TOOLS_REQUESTS_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("tool", REQUIRED)
@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_or_an_empty_text_for_an_optional_argument_counts_as_left_out(
    connect: Connect, sandbox: Sandbox, home: Path, era: str, tool: str, nothing: str | None
) -> None:
    (home / "requests.jsonl").write_text(json.dumps(REQUEST))
    values = {"ID": sandbox.add_batch(key=KEY), "FILE": "requests.jsonl"}
    arguments = {name: values.get(str(value), value) for name, value in REQUIRED[tool].items()}
    async with connect(era) as assistant:
        schemas = {listed.name: listed.input_schema for listed in (await assistant.client.list_tools()).tools}
        left_out = {name: nothing for name in schemas[tool]["properties"] if name not in arguments}
        assert await assistant.call(tool, **left_out, **arguments)


async def test_null_for_a_required_argument_is_refused(connect: Connect) -> None:
    async with connect() as assistant:
        said = await assistant.fail("get_message_batch", message_batch_id=None)
    assert "message_batch_id is not an id" in said


@pytest.mark.parametrize("tool", REQUIRED)
async def test_an_argument_that_a_client_adds_to_every_call_is_dropped_and_another_unknown_one_is_named(
    connect: Connect, sandbox: Sandbox, tool: str
) -> None:
    sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        said = await assistant.fail(tool, wait_for_previous=True, older_then_days=30)
        assert f"older_then_days is not an argument of {tool}" in said
        assert "wait_for_previous" not in said
        listed = await assistant.call("list_message_batches", wait_for_previous=False)
    assert len(listed["batches"]) == 1
    assert sandbox.received[-1].method == "GET"
    assert len(sandbox.received) == 1


@pytest.mark.parametrize(
    ("tool", "argument", "value"),
    [
        ("list_message_batches", "limit", True),
        ("get_message_batch", "wait_seconds", False),
        ("create_message_batch", "max_cost_usd", True),
        ("read_message_batch_results", "max_characters", True),
        ("list_message_batches", "label", {"a": 1}),
        ("read_message_batch_results", "custom_ids", {"a": 1}),
        ("create_message_batch", "requests", "three of them"),
        ("create_message_batch", "requests", '"three of them"'),
    ],
)
async def test_a_value_of_another_kind_is_refused_by_the_name_of_its_argument(
    connect: Connect, sandbox: Sandbox, tool: str, argument: str, value: Any
) -> None:
    async with connect() as assistant:
        said = await assistant.fail(
            tool, **{"message_batch_id": "msgbatch_1"} if "batch_id" in tool else {}, **{argument: value}
        )
    assert f"{argument} " in said
    assert not sandbox.received


@pytest.mark.parametrize("label", ['{"a": 1}', "null", "[1]", "7", "true"])
async def test_a_text_that_happens_to_be_json_stays_a_text(
    connect: Connect, sandbox: Sandbox, era: str, label: str
) -> None:
    async with connect(era) as assistant:
        made = await assistant.call("create_message_batch", requests=[REQUEST], label=label)
        listed = await assistant.call("list_message_batches", label=label)
    assert made["label"] == label
    assert [row["label"] for row in listed["batches"]] == [label]


async def test_a_list_may_come_as_json_in_a_text_and_a_list_of_one_as_its_member(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(era) as assistant:
        everything = await assistant.call("read_message_batch_results", message_batch_id=batch)
        ids = [row["custom_id"] for row in everything["results"]]
        for custom_ids, found in ((ids[1], [ids[1]]), (json.dumps(ids[:2]), ids[:2]), ([ids[0]], [ids[0]])):
            page = await assistant.call("read_message_batch_results", message_batch_id=batch, custom_ids=custom_ids)
            assert [row["custom_id"] for row in page["results"]] == found
        for custom_ids in (
            f"{ids[0]}, {ids[1]}",
            "\n".join(ids[:2]),
            f"['{ids[0]}', '{ids[1]}']",
            [f" `{one}`" for one in ids[:2]],
        ):
            page = await assistant.call("read_message_batch_results", message_batch_id=batch, custom_ids=custom_ids)
            assert [row["custom_id"] for row in page["results"]] == ids[:2]


@pytest.mark.parametrize("limit", ["2", " 2 ", "2.0", 2.0, "+2", "'2'", "2e0"])
async def test_a_number_may_come_in_every_form_that_has_one_meaning(
    connect: Connect, sandbox: Sandbox, era: str, limit: object
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(era) as assistant:
        page = await assistant.call("read_message_batch_results", message_batch_id=batch, limit=limit)
    assert len(page["results"]) == 2


@pytest.mark.parametrize(
    "limit", ["1,000", "1.5", 1.5, "two", "2 of them", "0x2", "1_0", "inf", "null", True, [2], "2" * 5000]
)
async def test_what_is_no_whole_number_is_refused_with_the_range(
    connect: Connect, sandbox: Sandbox, limit: object
) -> None:
    async with connect() as assistant:
        said = await assistant.fail("list_message_batches", limit=limit)
    assert "limit must be an integer from 1 to 100" in said
    assert not sandbox.received


@pytest.mark.parametrize("most", ["$5", "5 USD", "1,000", "0,50", "five", "nan", "Infinity", True, [5]])
async def test_an_amount_with_more_than_its_number_is_refused_and_nothing_is_sent(
    connect: Connect, sandbox: Sandbox, most: object
) -> None:
    async with connect() as assistant:
        said = await assistant.fail("create_message_batch", requests=[REQUEST], max_cost_usd=most)
    assert "max_cost_usd must be a number like 2.5, without units or separators" in said
    assert not sandbox.received


@pytest.mark.parametrize("switch", ["true", "True", " TRUE ", "yes", "'true'"])
async def test_a_switch_may_come_as_a_word(connect: Connect, sandbox: Sandbox, era: str, switch: str) -> None:
    async with connect(era) as assistant:
        estimate = await assistant.call("create_message_batch", requests=[REQUEST], dry_run=switch)
    assert estimate["type"] == "message_batch_estimate"


@pytest.mark.parametrize("switch", [1, 0, "1", "on", "maybe", "null", [True], {}])
async def test_another_word_for_a_switch_is_refused_and_nothing_is_sent(
    connect: Connect, sandbox: Sandbox, switch: object
) -> None:
    async with connect() as assistant:
        said = await assistant.fail("create_message_batch", requests=[REQUEST], dry_run=switch)
    assert "dry_run must be true or false" in said
    assert not sandbox.received


@pytest.mark.parametrize(
    "requests",
    [
        REQUEST,
        {"requests": [REQUEST]},
        json.dumps(REQUEST),
        json.dumps({"requests": [REQUEST]}),
        json.dumps([REQUEST], indent=2),
        [json.dumps(REQUEST)],
    ],
)
async def test_one_request_may_come_in_every_shape_that_requests_are_kept_in(
    connect: Connect, sandbox: Sandbox, era: str, requests: object
) -> None:
    async with connect(era) as assistant:
        checked = await assistant.call("create_message_batch", requests=requests, dry_run=True)
    assert checked["requests"] == 1


async def test_json_lines_in_a_text_are_a_list(connect: Connect, sandbox: Sandbox) -> None:
    lines = "\n".join(json.dumps({**REQUEST, "custom_id": name}) for name in "abc")
    async with connect() as assistant:
        checked = await assistant.call("create_message_batch", requests=lines, dry_run=True)
    assert checked["requests"] == 3


@pytest.mark.parametrize(
    ("tool", "wrong", "right"),
    [
        ("get_message_batch", "batch_id", "message_batch_id"),
        ("get_message_batch", "id", "message_batch_id"),
        ("get_message_batch", "messageBatchId", "message_batch_id"),
        ("cancel_message_batch", "message_batch_ids", "message_batch_id"),
        ("delete_message_batch", "mesage_batch_id", "message_batch_id"),
        ("delete_message_batch", "path", "save_results_to"),
        ("delete_message_batch", "save_to", "save_results_to"),
        ("save_message_batch_results", "save_results_to", "path"),
        ("save_message_batch_results", "file_name", "path"),
        ("list_message_batches", "since", "created_after"),
        ("list_message_batches", "before", "created_before"),
        ("list_message_batches", "page_size", "limit"),
        ("read_message_batch_results", "custom_id", "custom_ids"),
        ("read_message_batch_results", "next_cursor", "cursor"),
        ("create_message_batch", "file", "requests_file"),
        ("create_message_batch", "dryRun", "dry_run"),
    ],
)
async def test_an_argument_by_another_name_is_refused_with_the_right_one_and_nothing_is_done(
    connect: Connect, sandbox: Sandbox, tool: str, wrong: str, right: str
) -> None:
    batch = sandbox.add_batch(key=KEY)
    needed = (
        {"message_batch_id": batch} if right != "message_batch_id" and REQUIRED[tool].get("message_batch_id") else {}
    )
    async with connect() as assistant:
        said = await assistant.fail(tool, **{**needed, wrong: batch})
    assert f"{wrong} is not an argument of {tool}: use {right}" in said
    assert not sandbox.received


async def test_an_argument_that_is_like_none_leads_to_those_that_there_are(connect: Connect, sandbox: Sandbox) -> None:
    async with connect() as assistant:
        said = await assistant.fail("delete_message_batch", message_batch_id="msgbatch_1", force=True)
    assert "force is not an argument of delete_message_batch. Nothing was sent" in said
    assert "its arguments are message_batch_id, save_results_to" in said
    assert not sandbox.received


async def test_numbers_and_switches_may_come_as_texts(connect: Connect, sandbox: Sandbox, era: str) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(era) as assistant:
        page = await assistant.call("read_message_batch_results", message_batch_id=batch, limit="2")
        saved = await assistant.call("save_message_batch_results", message_batch_id=batch, overwrite="true")
    assert len(page["results"]) == 2
    assert saved["lines"] == {"succeeded": 3}


@pytest.mark.parametrize(
    "around", [" {} ", "`{}`", '"{}"', "'{}'\n", "{},", "{}.", "<{}>", '["{}"]', "**{}**", "\u201c{}\u201d", "{}\u200b"]
)
async def test_an_id_may_come_with_what_it_was_copied_with(
    connect: Connect, sandbox: Sandbox, era: str, around: str
) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect(era) as assistant:
        shown = await assistant.call("get_message_batch", message_batch_id=around.format(batch))
    assert shown["id"] == batch


@pytest.mark.parametrize(
    "word",
    [
        "latest",
        "Null",
        "`undefined`",
        "``",
        " ",
        "..",
        "a/b",
        "all",
        "msgbatch_",
        "msgbatch_...",
        "msgbatch_01Hkc...",
        "msgbatch_01Hkc…",
        "id: msgbatch_1",
        "id=msgbatch_1",
        "https://api.anthropic.com/v1/messages/batches/msgbatch_1",
        "msgbatch_1, msgbatch_2",
    ],
)
async def test_a_word_in_place_of_an_id_is_refused_and_not_sent(connect: Connect, sandbox: Sandbox, word: str) -> None:
    async with connect() as assistant:
        for tool in ("get_message_batch", "delete_message_batch"):
            said = await assistant.fail(tool, message_batch_id=word)
            assert "message_batch_id is not an id" in said
    assert not sandbox.received


async def test_words_of_a_fixed_set_may_come_in_capitals_and_british_spelling(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    running = sandbox.add_batch(key=KEY, status="canceling")
    ended = sandbox.add_batch({"succeeded": 1, "canceled": 2}, key=KEY)
    async with connect(era) as assistant:
        for status, batch in (("Ended", ended), ("cancelling", running), (" CANCELING ", running)):
            listed = await assistant.call("list_message_batches", status=status)
            assert [row["id"] for row in listed["batches"]] == [batch]
        page = await assistant.call("read_message_batch_results", message_batch_id=ended, outcome="Cancelled")
        said = await assistant.fail("list_message_batches", status="cancelled")
    assert len(page["results"]) == 2
    assert "'in_progress', 'canceling' or 'ended'" in said
