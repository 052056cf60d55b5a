"""What a client and a server said to each other, as `recorder.py` wrote it down."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESERVED = "io.modelcontextprotocol/"
"""What the keys begin with that a request of 2026-07-28 carries for the protocol."""


@dataclass(frozen=True)
class Wire:
    """The messages of both sides, in order."""

    of_client: list[dict[str, Any]]
    of_server: list[dict[str, Any]]

    @property
    def client(self) -> dict[str, Any]:
        """What the client says of itself: `protocolVersion`, `clientInfo` and `capabilities`."""
        call = self._requests("tools/call")[0]
        said = {key.removeprefix(RESERVED): value for key, value in call.get("_meta", {}).items()}
        if "protocolVersion" in said:
            return {**said, "capabilities": said["clientCapabilities"]}
        return self._requests("initialize")[0]

    @property
    def arguments(self) -> list[dict[str, Any]]:
        """The arguments of each call of a tool."""
        return [call["arguments"] for call in self._requests("tools/call")]

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of the calls."""
        return [message["result"] for message in self.of_server if "content" in message.get("result", {})]

    @property
    def canceled(self) -> int:
        """How many calls the client gave up on, and said so."""
        return len(self._requests("notifications/cancelled"))

    def _requests(self, method: str) -> list[dict[str, Any]]:
        return [message["params"] for message in self.of_client if message.get("method") == method]


def wire_from(file: Path) -> Wire:
    """Read what a recorder wrote."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return Wire(
        [line["message"] for line in lines if line["from"] == "client"],
        [line["message"] for line in lines if line["from"] == "server"],
    )
