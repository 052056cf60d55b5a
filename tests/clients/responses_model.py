"""The Responses API as Codex talks to it: the model behind it is an agent without a model."""

import json
import secrets
import threading
from typing import Any

from tests.clients.endpoint import Answer
from tests.clients.programs.agent import Agent

Item = dict[str, Any]


class ScriptedResponses:
    """Answers each request with the agent's next call, once it has searched for the server's tools.

    `namespace` is what the client puts the tools of the server into. Codex shows its model none of them before that.
    """

    def __init__(self, agent: Agent, namespace: str) -> None:
        self.agent = agent
        self.tools: dict[str, str | None] = {}
        self._namespace = namespace
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a request, as a stream."""
        with self._lock:
            item = self._item(body["input"])
        response = {"id": _new("resp"), "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": response},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {**response, "output": [item]}},
        ]
        return Answer("".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events), stream=True)

    def _item(self, given: list[Item]) -> Item:
        """The one item that answers what was given."""
        newest = given[-1]
        if newest["type"] == "tool_search_output":
            found = next(one for one in newest["tools"] if one["name"] == self._namespace)
            self.tools = {tool["name"]: tool["description"] for tool in found["tools"]}
        elif not self.tools:
            return {
                "type": "tool_search_call", "call_id": _new("call"), "status": "completed", "execution": "client",
                "arguments": {"query": "message batch", "limit": 20},
            }  # fmt: skip
        call = self.agent.next_call(_result(newest))
        if call is None:
            text = {"type": "output_text", "text": "The end.", "annotations": []}
            return {"type": "message", "role": "assistant", "id": _new("msg"), "content": [text]}
        return {
            "type": "function_call", "call_id": _new("call"), "namespace": self._namespace, "name": call[0],
            "arguments": json.dumps(call[1]),
        }  # fmt: skip


def _result(item: Item) -> str | None:
    """The text of a tool's result, where this item is one."""
    if item["type"] != "function_call_output":
        return None
    output = item["output"]
    return output if isinstance(output, str) else "\n".join(part.get("text", "") for part in output)


def _new(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"
