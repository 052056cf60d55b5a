"""The contract that a model sees: reviewed as a file, and held to rules that all tools keep."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import Connect, text_of

pytestmark = pytest.mark.anyio

CONTRACT = Path(__file__).parent / "contract.json"


async def contract(connect: Connect, era: str, **settings: Any) -> list[dict[str, Any]]:
    async with connect(era, **settings) as assistant:
        return await listed_by(assistant.client)


async def listed_by(client: Client) -> list[dict[str, Any]]:
    tools = (await client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


async def test_the_contract_is_the_reviewed_one(connect: Connect, era: str) -> None:
    """To accept a change: `uv run python -m tests.tools.test_catalogue`, and review the difference."""
    assert await contract(connect, era) == json.loads(CONTRACT.read_text())


async def test_every_tool_keeps_the_rules(connect: Connect) -> None:
    for tool in await contract(connect, "2026-07-28"):
        hints = tool["annotations"]
        assert set(hints) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert not (hints["readOnlyHint"] and hints["destructiveHint"])
        assert tool["title"] == hints["title"]
        assert tool["inputSchema"]["additionalProperties"] is False
        assert not {"anyOf", "oneOf", "allOf"} & set(tool["inputSchema"])
        assert tool["outputSchema"]["type"] == "object"
        assert '"title"' not in json.dumps([tool["inputSchema"], tool["outputSchema"]])
        assert tool["description"].isascii()
        assert not any(word.isupper() and len(word) > 3 for word in tool["description"].split())


async def test_the_catalogue_that_a_model_reads_is_small(connect: Connect) -> None:
    read = [
        {key: tool[key] for key in ("name", "description", "inputSchema")}
        for tool in await contract(connect, "2026-07-28")
    ]
    assert len(json.dumps(read, separators=(",", ":"))) <= 12_000


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


async def accept() -> None:
    async with Client(create_server(Settings.load())) as client:
        CONTRACT.write_text(json.dumps(await listed_by(client), indent=2) + "\n")


if __name__ == "__main__":
    anyio.run(accept)
