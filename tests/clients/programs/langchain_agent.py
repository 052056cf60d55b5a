"""langchain's agent over `get_tools()`, which starts a server process for each call, with a model class of our own."""

import asyncio

from agent import Task, tell
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitResult

TASK = Task.given()
AGENT = TASK.agent()
TOOLS: dict[str, str | None] = {}
ASKED: list[str] = []


class Scripted(BaseChatModel):
    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        functions = [convert_to_openai_tool(tool)["function"] for tool in tools]
        TOOLS.update({function["name"]: function.get("description") for function in functions})
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        newest = messages[-1]
        shown = newest.text if isinstance(newest, ToolMessage) else None
        call = AGENT.next_call(shown)
        made = [{"name": call[0], "args": call[1], "id": f"call_{len(AGENT.calls)}"}] if call else []
        return ChatResult(generations=[ChatGeneration(message=AIMessage("" if made else "The end.", tool_calls=made))])


async def close(context, params, callback_context):
    ASKED.append(params.message)
    return ElicitResult(action=TASK.closes)


async def main() -> None:
    client = MultiServerMCPClient(
        {"batches": {"transport": "stdio", **TASK.server}},
        callbacks=Callbacks(on_elicitation=close if TASK.closes else None),
    )
    running = create_agent(Scripted(), await client.get_tools())
    await running.ainvoke({"messages": [("user", "Delete it.")]}, {"recursion_limit": 60})
    tell(AGENT.report(asked=ASKED, tools=TOOLS))


asyncio.run(main())
