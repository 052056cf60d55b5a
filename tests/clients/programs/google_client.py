"""google-genai, which calls the tools of an MCP session for its model. Arguments: the task, and where the model is."""

import asyncio
import sys

from agent import Task, tell
from google import genai
from google.genai.types import HttpOptions
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.types import ElicitResult


async def main() -> None:
    task = Task.given()

    async def close(context, params):
        return ElicitResult(action=task.closes)

    model = genai.Client(api_key="of-a-scripted-model", http_options=HttpOptions(base_url=sys.argv[2]))
    async with (
        stdio_client(StdioServerParameters(**task.server)) as streams,
        ClientSession(*streams, elicitation_callback=close if task.closes else None) as session,
    ):
        await session.initialize()
        # A config as an object would be copied deeply, which a session cannot be.
        config = {"tools": [session], "automatic_function_calling": {"maximum_remote_calls": 30}}
        await model.aio.models.generate_content(model="gemini-2.5-pro", contents="Delete the batch.", config=config)
    tell({})


asyncio.run(main())
