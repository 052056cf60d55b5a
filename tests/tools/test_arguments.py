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
        made = await assistant.call("create_message_batch", requests=json.dumps([REQUEST]), dry_run=True)
    assert made["requests"] == 1


async def test_numbers_and_switches_may_come_as_texts(connect: Connect, sandbox: Sandbox, era: str) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(era) as assistant:
        page = await assistant.call("read_message_batch_results", message_batch_id=batch, limit="2")
        saved = await assistant.call("save_message_batch_results", message_batch_id=batch, overwrite="true")
    assert len(page["results"]) == 2
    assert saved["lines"] == {"succeeded": 3}


@pytest.mark.parametrize("around", [" {} ", "`{}`", '"{}"', "'{}'\n"])
async def test_an_id_may_come_with_what_it_was_copied_with(
    connect: Connect, sandbox: Sandbox, era: str, around: str
) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect(era) as assistant:
        shown = await assistant.call("get_message_batch", message_batch_id=around.format(batch))
    assert shown["id"] == batch


@pytest.mark.parametrize("word", ["latest", "Null", "`undefined`", "``", " ", "..", "a/b"])
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
