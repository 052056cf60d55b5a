"""Agents without a model, in clients as their users have them, are told to delete a batch.

They read what their client shows them of the newest answer, and make the first of its `next_steps`.
"""

import pytest

from tests.clients.known_clients import CLIENTS
from tests.clients.programs.agent import facts_in
from tests.clients.world import World
from tests.conftest import KEY
from tests.support.upstream import held

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.anyio]

CLOSING = [(name, how) for name, client in CLIENTS.items() for how in client.closes]


@pytest.mark.parametrize("save_to", [None, "r.jsonl"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_told_to_delete_a_running_batch_it_arrives(world: World, client: str, save_to: str | None) -> None:
    batch = world.running_batch()
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
    batch = world.running_batch()
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
    batch = world.running_batch() if status == "in_progress" else world.sandbox.add_batch(3, key=KEY)
    report = world.tell(client, batch, closes=closes, confirms=False)
    assert [one["id"] for one in await held(world.sandbox)] == [batch], report
    assert world.acts() == []
    assert '"not_shown"' in report.shown[-1]


@pytest.mark.parametrize(("client", "closes"), CLOSING)
async def test_where_a_person_must_be_asked_no_code_leads_on(world: World, client: str, closes: str) -> None:
    world.server["args"] += ["--destructive", "require"]
    batch = world.sandbox.add_batch(3, key=KEY)
    report = world.tell(client, batch, closes=closes)
    assert [one["id"] for one in await held(world.sandbox)] == [batch], report
    assert report.names == ["delete_message_batch"]
    assert '"not_shown"' in report.shown[-1]
