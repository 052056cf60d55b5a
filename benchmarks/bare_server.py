"""The rival: a bare `MCPServer` whose one tool makes the same two requests, with no check, retry or receipt."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.server.mcpserver import Context, MCPServer


@asynccontextmanager
async def _lifespan(_: MCPServer[httpx2.AsyncClient]) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2026-10-21"}
    async with httpx2.AsyncClient(base_url=os.environ["ANTHROPIC_BASE_URL"], headers=headers) as client:
        yield client


server = MCPServer("bare", lifespan=_lifespan)


@server.tool()
async def delete_message_batch(message_batch_id: str, context: Context[Any, Any]) -> dict[str, str]:
    """Delete a batch."""
    client: httpx2.AsyncClient = context.request_context.lifespan_context
    batch = (await client.get(f"/v1/messages/batches/{message_batch_id}")).json()
    if batch["processing_status"] != "ended":
        raise ValueError("not ended")
    deleted: dict[str, str] = (await client.delete(f"/v1/messages/batches/{message_batch_id}")).json()
    return deleted


if __name__ == "__main__":
    server.run("stdio")
