"""What the sandbox was asked to do, and what it holds."""

from typing import Any

import httpx2

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import KEY


def acts(sandbox: Sandbox) -> int:
    return sum(received.method in {"DELETE", "POST"} for received in sandbox.received)


def creates(sandbox: Sandbox) -> int:
    return sum(received.method == "POST" and received.path == "/v1/messages/batches" for received in sandbox.received)


async def held(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The batches that the sandbox holds."""
    headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=sandbox), base_url="http://sandbox") as http:
        listed = (await http.get("/v1/messages/batches?limit=1000", headers=headers)).json()
    data: list[dict[str, Any]] = listed["data"]
    return data


async def sizes(sandbox: Sandbox) -> list[int]:
    return sorted(batch["request_counts"]["processing"] for batch in await held(sandbox))
