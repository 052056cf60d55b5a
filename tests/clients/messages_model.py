"""The Messages API as Claude Code talks to it: the model behind it is an agent without a model."""

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.clients.endpoint import Answer
from tests.clients.programs.agent import Agent, Call

Block = dict[str, Any]
ZERO = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


LOADER = "ToolSearch"
"""Claude Code shows its model only the names of MCP tools; this tool of its own loads the rest."""


class ScriptedModel:
    """Answers each request that offers tools with the agent's next call, and every other one with a word."""

    def __init__(self, agent: Agent, prefix: str) -> None:
        self.agent = agent
        self.tools: dict[str, str | None] = {}
        self._prefix = prefix
        self._waiting: Call | None = None
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a request; what is no request for a message gets a count of tokens."""
        if path != "/v1/messages":
            return Answer(json.dumps({"input_tokens": 1}))
        block = self._content(body)
        if not body.get("stream"):
            return Answer(json.dumps(_message(block, body["model"])))
        events = _events(block, body["model"])
        return Answer(
            "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events), stream=True
        )

    def _content(self, body: dict[str, Any]) -> Block:
        """The one block that answers a request."""
        offered = {tool["name"]: tool for tool in body.get("tools", ())}
        if LOADER not in offered:
            return {"type": "text", "text": "ok"}
        with self._lock:
            call = self._waiting or self.agent.next_call(_newest_result(body["messages"]))
            self._waiting = None
            if call is None:
                return {"type": "text", "text": "The end."}
            name = self._prefix + call[0]
            if name not in offered:
                self._waiting = call
                return _use(LOADER, {"query": f"select:{name}", "max_results": 5})
            self.tools[call[0]] = offered[name].get("description")
        return _use(name, call[1])


def _use(name: str, arguments: dict[str, Any]) -> Block:
    return {"type": "tool_use", "id": f"toolu_{secrets.token_hex(8)}", "name": name, "input": arguments}


def _newest_result(messages: Sequence[dict[str, Any]]) -> str | None:
    """The text of the newest tool result, where the newest messages hold one."""
    for message in reversed(messages):
        if message["role"] == "assistant":
            return None
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in reversed(blocks):
            if block["type"] == "tool_result":
                content = block.get("content", "")
                return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return None


def _message(block: Block, model: str) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [block],
        "stop_reason": "tool_use" if block["type"] == "tool_use" else "end_turn", "stop_sequence": None, "usage": ZERO,
    }  # fmt: skip


def _events(block: Block, model: str) -> Iterator[Block]:
    whole = _message(block, model)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    if block["type"] == "tool_use":
        empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    yield {"type": "content_block_start", "index": 0, "content_block": empty}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta", "usage": ZERO,
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
    }  # fmt: skip
    yield {"type": "message_stop"}
