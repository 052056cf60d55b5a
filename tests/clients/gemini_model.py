"""Gemini's API as Gemini CLI and google-genai talk to it: the model behind it is an agent without a model."""

import json
import threading
from typing import Any

from tests.clients.endpoint import Answer
from tests.clients.programs.agent import Agent

Part = dict[str, Any]


class ScriptedGemini:
    """Answers each request that offers the server's tools with the agent's next call, and every other one with a word.

    `prefix` is what the client puts before the names of tools.
    """

    def __init__(self, agent: Agent, prefix: str) -> None:
        self.agent = agent
        self.tools: dict[str, str | None] = {}
        self._prefix = prefix
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a request; what is no request for content gets a count of tokens."""
        method = path.rpartition(":")[2]
        if method not in {"generateContent", "streamGenerateContent"}:
            return Answer(json.dumps({"totalTokens": 1}))
        candidate = {"content": {"role": "model", "parts": [self._part(body)]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        answer = json.dumps({"candidates": [candidate], "usageMetadata": usage})
        return Answer(f"data: {answer}\n\n", stream=True) if method.startswith("stream") else Answer(answer)

    def _part(self, body: dict[str, Any]) -> Part:
        declared = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
        offered = {one["name"]: one for one in declared if one["name"].startswith(self._prefix)}
        if not offered:
            return {"text": "ok"}
        with self._lock:
            self.tools |= {name.removeprefix(self._prefix): one.get("description") for name, one in offered.items()}
            call = self.agent.next_call(_newest_result(body["contents"]))
        if call is None:
            return {"text": "The end."}
        name, arguments = self._prefix + call[0], call[1]
        if "wait_for_previous" in _properties(offered[name]):
            arguments = {**arguments, "wait_for_previous": True}
        return {"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2lnbmVk"}


def _properties(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parametersJsonSchema") or function.get("parameters") or {}
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def _newest_result(contents: list[dict[str, Any]]) -> str | None:
    """The newest result of a function, where the newest content holds one."""
    for part in reversed(contents[-1]["parts"]):
        if "functionResponse" in part:
            response = part["functionResponse"]["response"]
            told = response.get("output", response.get("error", response.get("result")))
            # google-genai shows the whole result, text and structured content.
            return told if isinstance(told, str) else "\n".join(block["text"] for block in told["content"])
    return None
