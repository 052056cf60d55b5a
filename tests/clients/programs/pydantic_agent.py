"""pydantic-ai's agent over its MCP toolset, with a function for a model."""

import asyncio

from agent import Task, tell
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


async def main() -> None:
    task = Task.given()
    agent = task.agent()
    asked: list[str] = []
    tools: dict[str, str | None] = {}

    async def close(message, response_type, params, context):
        asked.append(message)
        return ElicitResult(action=task.closes)

    def answer(messages, info):
        tools.update({tool.name: tool.description for tool in info.function_tools})
        shown = None
        match messages[-1].parts[-1]:
            case ToolReturnPart() as part:
                shown = part.model_response_str()
            case RetryPromptPart() as part:
                shown = part.model_response()
        call = agent.next_call(shown)
        return ModelResponse(parts=[ToolCallPart(*call) if call else TextPart("The end.")])

    toolset = MCPToolset(StdioTransport(**task.server), elicitation_handler=close if task.closes else None)
    async with Agent(FunctionModel(answer), toolsets=[toolset]) as running:
        await running.run("Delete the batch.")
    tell(agent.report(asked=asked, tools=tools))


asyncio.run(main())
