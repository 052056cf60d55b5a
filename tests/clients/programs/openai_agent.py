"""openai-agents' runner with a model class of our own. It has no way to answer a question."""

import asyncio
import json

from agent import Task, tell
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

TASK = Task.given()
AGENT = TASK.agent()
TOOLS: dict[str, str | None] = {}


class Scripted(Model):
    async def get_response(self, system_instructions, input, model_settings, tools, *args, **kwargs):  # noqa: A002
        TOOLS.update({tool.name: tool.description for tool in tools})
        newest = input[-1] if isinstance(input, list) else {}
        output = newest.get("output")
        shown = output if isinstance(output, str) or output is None else json.dumps(output)
        if isinstance(output, list):
            shown = "\n".join(block["text"] for block in output)
        call = AGENT.next_call(shown)
        return ModelResponse(output=[_call(call) if call else _end()], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def _call(call):
    name, arguments = call
    return ResponseFunctionToolCall(
        type="function_call", call_id=f"call_{len(AGENT.calls)}", name=name, arguments=json.dumps(arguments)
    )


def _end():
    text = ResponseOutputText(type="output_text", text="The end.", annotations=[])
    return ResponseOutputMessage(id="end", type="message", role="assistant", status="completed", content=[text])


async def main() -> None:
    set_tracing_disabled(True)
    async with MCPServerStdio(params=TASK.server) as server:
        await Runner.run(Agent(name="deleter", model=Scripted(), mcp_servers=[server]), "Delete it.", max_turns=30)
    tell(AGENT.report(asked=[], tools=TOOLS))


asyncio.run(main())
