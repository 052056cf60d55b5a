"""Agents without a model, in clients as their users have them, are told to delete a batch.

They read what their client shows them of the newest answer, and make the first of its `next_steps`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcp_batch_tools.sandbox import Sandbox
from tests.clients.command_lines import claude_code, gemini_cli
from tests.clients.programs.agent import Task, facts_in
from tests.clients.running import Report, Run, node_program, python_program, server_at
from tests.conftest import KEY
from tests.support.serving import served
from tests.support.upstream import held

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.anyio]


@dataclass(frozen=True)
class Client:
    """A client, and what is known of it. `closes` are the ways in which it can close a question by itself."""

    run: Run
    closes: tuple[str, ...] = ("decline", "cancel")


CLIENTS = {
    "pydantic-ai": Client(python_program("pydantic-ai", "pydantic_agent.py")),
    "openai-agents": Client(python_program("openai-agents", "openai_agent.py"), closes=()),
    "langchain": Client(python_program("langchain", "langchain_agent.py")),
    "fastmcp": Client(python_program("fastmcp", "fastmcp_client.py")),
    "typescript, 2025-11-25": Client(node_program("typescript", "typescript_client.mjs", "legacy")),
    "typescript, 2026-07-28": Client(node_program("typescript", "typescript_client.mjs", "auto")),
    "claude-code": Client(claude_code, closes=("itself",)),
    "gemini-cli": Client(gemini_cli, closes=()),
}
CLOSING = [(name, how) for name, client in CLIENTS.items() for how in client.closes]


class World:
    """A sandbox on a port, and a folder for the server's files and the client's home."""

    def __init__(self, sandbox: Sandbox, address: str, folder: Path) -> None:
        self.sandbox = sandbox
        self.address = address
        self.folder = folder

    def tell(
        self, client: str, batch: str, *, save_to: str | None = None, confirms: bool = True, closes: str | None = None
    ) -> Report:
        """Have an agent in this client delete a batch."""
        arguments = {"message_batch_id": batch} | ({} if save_to is None else {"save_results_to": save_to})
        first = ("delete_message_batch", arguments)
        task = Task(server_at(self.address, self.folder), first, confirms, closes)
        return CLIENTS[client].run(task, self.folder / "home")

    def acts(self) -> list[str]:
        """What the API was told to do, in order."""
        return [one.method for one in self.sandbox.received if one.method != "GET"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    sandbox = Sandbox(canceling_seconds=2, retry_after=1)
    with served(sandbox) as address:
        yield World(sandbox, address, tmp_path)


def running_batch(sandbox: Sandbox) -> str:
    """A batch half of whose results would be lost with it, once it has been canceled."""
    return sandbox.add_batch(10, key=KEY, status="in_progress", age=300, processing_seconds=600)


@pytest.mark.parametrize("save_to", [None, "r.jsonl"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_told_to_delete_a_running_batch_it_arrives(world: World, client: str, save_to: str | None) -> None:
    batch = running_batch(world.sandbox)
    report = world.tell(client, batch, save_to=save_to)
    assert await held(world.sandbox) == [], report
    assert world.acts() == ["POST", "DELETE"]
    assert report.beginnings == 1
    last = facts_in(report.shown[-1])
    assert last is not None
    assert last["type"] == "message_batch_deleted"
    if save_to is not None:
        assert (world.folder / "results" / save_to).read_bytes().count(b"\n") == 10


@pytest.mark.parametrize(("client", "closes"), CLOSING)
async def test_where_it_closes_every_question_itself_it_arrives_through_the_confirmation(
    world: World, client: str, closes: str
) -> None:
    batch = running_batch(world.sandbox)
    report = world.tell(client, batch, closes=closes)
    assert await held(world.sandbox) == [], report
    assert world.acts() == ["POST", "DELETE"]
    confirmed = [tool for tool, arguments in report.calls if "confirmation" in arguments]
    assert confirmed == ["cancel_message_batch", "delete_message_batch"]
    assert sum('"not_shown"' in shown for shown in report.shown) == 2


@pytest.mark.parametrize("status", ["in_progress", "ended"])
@pytest.mark.parametrize(("client", "closes"), CLOSING)
async def test_whoever_does_not_make_the_second_call_leaves_the_batch_as_it_is(
    world: World, client: str, closes: str, status: str
) -> None:
    batch = running_batch(world.sandbox) if status == "in_progress" else world.sandbox.add_batch(3, key=KEY)
    report = world.tell(client, batch, closes=closes, confirms=False)
    assert [one["id"] for one in await held(world.sandbox)] == [batch], report
    assert world.acts() == []
    assert '"not_shown"' in report.shown[-1]
