"""fastmcp's client: no agent of its own, so a loop stands in for it, which reads the text of a result."""

import asyncio

from agent import Task, tell
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport


async def main() -> None:
    task = Task.given()
    agent = task.agent()
    asked: list[str] = []

    async def close(message, response_type, params, context):
        asked.append(message)
        return ElicitResult(action=task.closes)

    transport = StdioTransport(**task.server)
    async with Client(transport, elicitation_handler=close if task.closes else None) as client:
        tools = await client.list_tools()
        shown = None
        while call := agent.next_call(shown):
            result = await client.call_tool(*call, raise_on_error=False)
            shown = "\n".join(block.text for block in result.content)
    tell(agent.report(asked=asked, tools={tool.name: tool.description for tool in tools}))


asyncio.run(main())
