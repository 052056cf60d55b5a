"""How far a list was read when it changes while it is being read."""

from typing import cast

import pytest

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.submissions.reconcile import reconcile
from tests.submissions.model.ledger import Ledger
from tests.submissions.model.machine import Client, Machine, Steps
from tests.submissions.model.rules import Rules
from tests.submissions.model.schedule import Steady, finish
from tests.submissions.model.world import MINUTE, START, Page, World
from tests.submissions.test_store import Store


class Disturbed(Client):
    """Something happens to the list before each page after the first."""

    def __init__(self, world: World, ledger: Ledger, disturbance: str) -> None:
        super().__init__(world, Machine(world, 0), "w", Rules(), Steps(ledger), Steady())
        self._disturbance, self._all = disturbance, world

    async def list(self, *, limit: int, after_id: str | None = None) -> Page:
        if after_id is not None and self._disturbance == "the batch that the cursor names is deleted":
            self._all.by_id(after_id).deleted = True
        if self._disturbance == "every page is the first":
            after_id = None
        return await super().list(limit=limit, after_id=after_id)


@pytest.mark.parametrize(
    ("disturbance", "state"),
    [
        ("none", "not_created"),
        ("the batch that the cursor names is deleted", "sent"),
        ("every page is the first", "sent"),
    ],
)
def test_only_what_was_read_to_its_end_shows_that_a_batch_is_absent(
    ledger: Ledger, disturbance: str, state: str
) -> None:
    store = Store(ledger)
    lost = store.sent("A", api_claimed=START - 10 * MINUTE, custom_id="elsewhere")
    world = World(Steady(), lag=0, lose=0, late=0, undated=0)
    for _ in range(4):
        world.pass_time(26 * 60 * MINUTE)
        world.add_elsewhere("w")
    client = Disturbed(world, ledger, disturbance)
    finish(reconcile(cast("BatchClient", client), cast("Database", Steps(ledger)), "w"))
    assert store.now(lost).state == state
