"""A client of its own making: JSON-RPC as it is on the wire, with any capabilities and any answer to a question."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import httpx2
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.jsonrpc import jsonrpc_message_adapter

from mcp_batch_tools.sandbox import Clock

INFO = {"name": "raw-client", "version": "7.1"}

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]
"""From the parameters of a question to what is sent back: `{"result": …}`, `{"error": …}`, or None to leave instead."""


class Person:
    """Whoever answers the questions: takes `seconds` for each, by the clock of the test."""

    def __init__(self) -> None:
        self.clock: Clock | None = None
        self.seconds = 1.0

    def reads(self) -> None:
        """Let the time pass that a question takes."""
        if self.clock is not None:
            self.clock.advance(self.seconds)


PERSON = Person()
"""The one of this test: its clock is set for each."""


class RawClient(Protocol):
    """What the tests need of a client."""

    asked: list[dict[str, Any]]

    async def call(self, tool: str, arguments: dict[str, Any], answer: Answer) -> dict[str, Any] | None:
        """Call a tool, answer its question where there is one; the whole JSON-RPC answer, None where it left before."""


@dataclass(frozen=True)
class Pending:
    """A question of 2026-07-28 that waits for its answer, which can be given as often as one likes."""

    tool: str
    arguments: dict[str, Any]
    questions: dict[str, Any]
    state: str

    @property
    def message(self) -> str:
        """What the person reads."""
        (question,) = self.questions.values()
        return str(question["params"]["message"])

    def answered(self, choice: str | None) -> dict[str, Any]:
        """The parameters of the call that comes back with this choice; None declines."""
        said = {"action": "decline"} if choice is None else {"action": "accept", "content": {"choice": choice}}
        return {
            "name": self.tool,
            "arguments": self.arguments,
            "inputResponses": dict.fromkeys(self.questions, said),
            "requestState": self.state,
        }


class Asking(Protocol):
    """A client of 2026-07-28 that is asked, and answers when it likes."""

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer."""


async def question_of(client: Asking, tool: str, **arguments: Any) -> Pending:
    """Call a tool, up to its question."""
    said = await client.ask("tools/call", {"name": tool, "arguments": arguments})
    assert said["result"]["resultType"] == "input_required", said
    return Pending(tool, arguments, said["result"]["inputRequests"], said["result"]["requestState"])


async def respond(client: Asking, pending: Pending, choice: str | None) -> dict[str, Any]:
    """Answer a question as a person does; the structured content of what the tool answers."""
    PERSON.reads()
    said = await client.ask("tools/call", pending.answered(choice))
    assert not said["result"].get("isError"), said
    facts: dict[str, Any] = said["result"]["structuredContent"]
    return facts


class StreamClient:
    """A client as over stdio."""

    def __init__(self, read: Any, write: Any, era: str, capabilities: dict[str, Any]) -> None:
        self._read = read
        self._write = write
        self._era = era
        self.capabilities = capabilities
        self._number = 0
        self.asked: list[dict[str, Any]] = []

    async def start(self) -> None:
        if self._era == "2025-11-25":
            await self.send(
                "initialize",
                {"protocolVersion": self._era, "capabilities": self.capabilities, "clientInfo": INFO},
            )
            await self.receive()
            await self.notify("notifications/initialized", {})

    async def call(self, tool: str, arguments: dict[str, Any], answer: Answer) -> dict[str, Any] | None:
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        await self.send("tools/call", params)
        while True:
            message = await self.receive()
            if message.get("method") == "elicitation/create":
                said = self._answered(message["params"], answer)
                if said is None:
                    return None
                await self._write.send(SessionMessage(_reply(message["id"], said)))
            elif message.get("result", {}).get("resultType") == "input_required":
                result = message["result"]
                responses = {}
                for key, question in result["inputRequests"].items():
                    said = self._answered(question["params"], answer)
                    if said is None or "error" in said:
                        return None  # in this era a client that fails to ask does not come back
                    responses[key] = said["result"]
                await self.send(
                    "tools/call", {**params, "inputResponses": responses, "requestState": result["requestState"]}
                )
            elif "method" not in message:
                return message

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        await self.send(method, params)
        return await self.receive()

    def _answered(self, asked: dict[str, Any], answer: Answer) -> dict[str, Any] | None:
        self.asked.append(asked)
        PERSON.reads()
        return answer(asked)

    async def ask_at_once(
        self, *params: dict[str, Any], each: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        """Calls that are all sent before the first answer is read; their answers in the order of the calls.

        `each` is called as soon as an answer has come.
        """
        PERSON.reads()
        first = self._number + 1
        for one in params:
            await self.send("tools/call", one)
        answers = {}
        for _ in params:
            message = await self.receive()
            each()
            answers[message["id"]] = message
        return [answers[first + number] for number in range(len(params))]

    async def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; its id."""
        self._number += 1
        if self._era == "2026-07-28":
            params = {**params, "_meta": _meta(self.capabilities)}
        request = JSONRPCRequest(jsonrpc="2.0", id=self._number, method=method, params=params)
        await self._write.send(SessionMessage(request))
        return self._number

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        await self._write.send(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=method, params=params)))

    async def receive(self) -> dict[str, Any]:
        """The next message of the server."""
        with anyio.fail_after(20):
            received = await self._read.receive()
        assert isinstance(received, SessionMessage)
        message: dict[str, Any] = received.message.model_dump(mode="json", by_alias=True, exclude_none=True)
        return message


def _meta(capabilities: dict[str, Any]) -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": INFO,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }


def _reply(number: Any, said: dict[str, Any]) -> JSONRPCResponse | JSONRPCError:
    reply = jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", "id": number, **said})
    assert isinstance(reply, JSONRPCResponse | JSONRPCError)
    return reply


@asynccontextmanager
async def over_streams(server: MCPServer[Any], era: str, capabilities: dict[str, Any]) -> AsyncIterator[StreamClient]:
    """A client as over stdio."""
    async with InMemoryTransport(server) as (read, write):
        client = StreamClient(read, write, era, capabilities)
        await client.start()
        yield client


class _Stateless:
    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self.asked: list[dict[str, Any]] = []

    async def call(self, tool: str, arguments: dict[str, Any], answer: Answer) -> dict[str, Any] | None:
        return await self._post("tools/call", {"name": tool, "arguments": arguments}, "2025-11-25")

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request of 2026-07-28, by a client that can ask, and its answer."""
        return await self._post(method, {**params, "_meta": _meta({"elicitation": {}})}, "2026-07-28")

    async def _post(self, method: str, params: dict[str, Any], era: str) -> dict[str, Any]:
        headers = {"mcp-protocol-version": era, "mcp-method": method, "mcp-name": params["name"]}
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        said: dict[str, Any] = (await self._http.post("/mcp", json=request, headers=headers)).json()
        return said


@asynccontextmanager
async def over_stateless_http(server: MCPServer[Any]) -> AsyncIterator[_Stateless]:
    """Clients over HTTP to a server that keeps no session, and so knows nothing of those of 2025-11-25."""
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    headers = {"accept": "application/json, text/event-stream", "host": "127.0.0.1:8000"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000", headers=headers
        ) as http,
    ):
        yield _Stateless(http)
