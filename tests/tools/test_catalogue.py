"""The contract that a model sees: reviewed as a file, and held to rules that all tools keep."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client

from mcp_batch_tools.tools.catalogue import FILE
from mcp_batch_tools.tools.contract import as_text
from tests.conftest import Connect, text_of

pytestmark = pytest.mark.anyio

CHANGING = {"create_message_batch", "cancel_message_batch", "delete_message_batch", "save_message_batch_results"}


async def contract(connect: Connect, era: str, **settings: Any) -> list[dict[str, Any]]:
    async with connect(era, **settings) as assistant:
        return await listed_by(assistant.client)


async def listed_by(client: Client) -> list[dict[str, Any]]:
    tools = (await client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema, itself included."""
    if isinstance(schema, dict):
        yield schema
    for held in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from schemas_in(held)


def test_the_file_of_the_catalogue_is_what_the_functions_give() -> None:
    """To accept a change: `uv run python -m mcp_batch_tools.tools.contract`, and review the difference."""
    assert FILE.read_text("utf-8") == as_text()


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({}, set()),
        ({"destructive": "require"}, set()),
        ({"destructive": "allow"}, set()),
        ({"destructive": "block"}, {"cancel_message_batch", "delete_message_batch"}),
        ({"read_only": True}, CHANGING),
    ],
)
async def test_a_client_of_either_era_is_shown_the_catalogue_without_what_the_policy_hides(
    connect: Connect, era: str, settings: dict[str, Any], hidden: set[str]
) -> None:
    listed = [tool for tool in json.loads(FILE.read_text("utf-8")) if tool["name"] not in hidden]
    assert await contract(connect, era, **settings) == listed


async def test_every_tool_keeps_the_rules(connect: Connect) -> None:
    for tool in await contract(connect, "2026-07-28"):
        hints = tool["annotations"]
        assert set(hints) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert hints["readOnlyHint"] is (tool["name"] not in CHANGING)
        assert hints["destructiveHint"] is (tool["name"] in CHANGING)
        assert hints["openWorldHint"] is True
        assert tool["title"] == hints["title"]
        assert "additionalProperties" not in tool["inputSchema"]
        for argument in tool["inputSchema"]["properties"].values():
            assert argument["description"]
            assert argument["type"] in {"string", "integer", "number", "boolean", "array"}
            assert argument.get("default", 0) is not None
        for schema in schemas_in(tool["inputSchema"]):
            assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)
            assert schema.get("type") != "null"
            assert not isinstance(schema.get("additionalProperties"), bool)  # google-genai then converts no tool at all
        assert tool["outputSchema"]["type"] == "object"
        assert '"title"' not in json.dumps([tool["inputSchema"], tool["outputSchema"]])
        assert tool["description"].isascii()
        assert not any(word.isupper() and len(word) > 3 for word in tool["description"].split())


async def test_the_catalogue_that_a_model_reads_is_small(connect: Connect) -> None:
    read = [
        {key: tool[key] for key in ("name", "description", "inputSchema")}
        for tool in await contract(connect, "2026-07-28")
    ]
    assert len(json.dumps(read, separators=(",", ":"))) <= 7_000


async def test_the_instructions_have_five_lines_at_most(connect: Connect, era: str) -> None:
    async with connect(era) as assistant:
        told = assistant.client.instructions
    assert told is not None
    assert len(told.splitlines()) <= 5
    async with connect(era, sandbox=True) as assistant:
        told = assistant.client.instructions
    assert told is not None
    assert len(told.splitlines()) <= 5
    assert "sandbox" in told


async def test_every_answer_of_the_sandbox_says_so(connect: Connect, era: str) -> None:
    async with connect(era, sandbox=True, api_key=None) as assistant:
        listed = await assistant.client.call_tool("list_message_batches")
        failed = await assistant.client.call_tool("get_message_batch", {"message_batch_id": "msgbatch_none"})
        wrong = await assistant.client.call_tool("get_message_batch", {})
    for result in (listed, failed, wrong):
        assert "This is the sandbox" in text_of(result)
    assert listed.structured_content is not None
    assert listed.structured_content["sandbox"] is True
