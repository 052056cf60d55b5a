"""What is known of each client is so, as the messages between it and the server say."""

import json
import sys
from pathlib import Path

import pytest

from tests.clients import recorder
from tests.clients.known_clients import CLIENTS
from tests.clients.programs.agent import facts_in
from tests.clients.wire import Wire, wire_from
from tests.clients.world import World
from tests.conftest import KEY

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.anyio]

CATALOGUE = Path(recorder.__file__).parents[2] / "mcp_batch_tools" / "tools" / "catalogue.json"


def recorded(world: World, client: str, batch: str) -> tuple[Wire, list[str], dict[str, str | None]]:
    """The messages of a conversation, what its agent was shown, and the tools as its model got them."""
    server = world.server
    world.server = {
        **server,
        "command": sys.executable,
        "args": [recorder.__file__, str(world.folder / "wire.jsonl"), server["command"], *server["args"]],
    }
    report = world.tell(client, batch)
    return wire_from(world.folder / "wire.jsonl"), report.shown, report.tools


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_is_known_of_a_client_is_so(world: World, name: str) -> None:
    client = CLIENTS[name]
    wire, shown, tools = recorded(world, name, world.sandbox.add_batch(3, key=KEY, status="in_progress"))
    assert wire.client["protocolVersion"] == client.era, wire.client
    assert ("elicitation" in wire.client["capabilities"]) is ("itself" in client.closes)
    offered = {tool["name"]: tool["description"] for tool in json.loads(CATALOGUE.read_text())}
    assert tools == {name: offered[name] for name in (tools if client.loads else offered)}
    known = {"message_batch_id", "goal", "wait_seconds", "confirmation"}
    assert {argument for given in wire.arguments for argument in given} - known == client.adds
    assert len(shown) == len(wire.results)
    for seen, result in zip(shown, wire.results, strict=True):
        text = result["content"][0]["text"]
        assert (text in seen) is (client.shows != "structured content"), seen  # one client puts marks around it
        assert facts_in(seen) == result["structuredContent"]


@pytest.mark.parametrize("canceling_seconds", [22])
@pytest.mark.parametrize("name", CLIENTS)
async def test_a_cancellation_that_outlasts_a_wait_stops_nobody(world: World, name: str) -> None:
    client = CLIENTS[name]
    wire, shown, _ = recorded(world, name, world.sandbox.add_batch(3, key=KEY, status="in_progress"))
    assert '"message_batch_deleted"' in shown[-1]
    waits = [given["wait_seconds"] for given in wire.arguments if "wait_seconds" in given]
    if client.gives_up_after is None:
        assert set(waits) == {20}  # one or two, by how long the client took to come to it
        assert wire.canceled == 0
    else:
        assert waits[0] == 20
        assert set(waits[1:]) == {4}
        assert wire.canceled == 1
