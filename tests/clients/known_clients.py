"""The clients that are run here, and what is known of each; `test_known_clients.py` holds it against them."""

from dataclasses import dataclass
from typing import Literal

from tests.clients.running import Run, node_program, python_program
from tests.clients.scripted import claude_code, codex, gemini_cli, google_genai


@dataclass(frozen=True)
class Client:
    """A client.

    `shows` is which part of an answer its model reads; `era` the protocol version it chooses; `closes` the ways in
    which it can close a question by itself; `adds` the arguments that it has its model give besides those of a tool;
    `loads` says that its model sees only names of tools until it asks for one; `gives_up_after` how many seconds a
    call may take, where the client has a bound that a wait of ours could meet.
    """

    run: Run
    shows: Literal["text", "structured content", "both"] = "text"
    era: str = "2026-07-28"
    closes: tuple[str, ...] = ("decline", "cancel")
    adds: frozenset[str] = frozenset()
    loads: bool = False
    gives_up_after: int | None = None


CLIENTS = {
    "pydantic-ai": Client(python_program("pydantic-ai", "pydantic_agent.py"), shows="structured content"),
    "openai-agents": Client(python_program("openai-agents", "openai_agent.py"), closes=(), gives_up_after=5),
    "langchain": Client(python_program("langchain", "langchain_agent.py"), era="2025-11-25"),
    "fastmcp": Client(python_program("fastmcp", "fastmcp_client.py")),
    "typescript, 2025-11-25": Client(node_program("typescript", "typescript_client.mjs", "legacy"), era="2025-11-25"),
    "typescript, 2026-07-28": Client(node_program("typescript", "typescript_client.mjs", "auto")),
    "claude-code": Client(claude_code, shows="structured content", closes=("itself",), loads=True),
    "codex": Client(codex, shows="structured content", era="2025-06-18", closes=("itself",)),
    "google-genai": Client(google_genai, shows="both", era="2025-11-25"),
    "gemini-cli": Client(gemini_cli, era="2025-06-18", closes=(), adds=frozenset({"wait_for_previous"})),
}
