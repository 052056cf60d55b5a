"""What a server of the model has: a machine with clocks, a client, and the ledger, each use of which takes steps.

Between two steps anything may happen.
"""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar

from mcp_batch_tools.api.errors import NoResponse
from mcp_batch_tools.clock import from_milliseconds
from mcp_batch_tools.ledger.database import Transaction
from tests.submissions.model.ledger import Ledger
from tests.submissions.model.rules import Rules
from tests.submissions.model.world import DAY, Page, World

Result = TypeVar("Result")
PAGE = 2
_FAILING = 0.02


class Step:
    """A moment at which any other caller may act, the time may pass, and this one may be killed."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Machine:
    """The clocks of a server, which are off and may jump, or stand still with the machine."""

    def __init__(self, world: World, off: int) -> None:
        self._world = world
        self.off = off
        self.slept = 0
        self.asleep_until = 0
        self.disturbed: str | None = None

    def wall(self) -> int:
        return self._world.now + self.off

    def steady(self) -> int:
        return self._world.now - self.slept

    def sleep(self, milliseconds_: int) -> None:
        """The lid is closed: the wall clock goes on, the other one stands still."""
        if self.disturbed != "jump":
            self.disturbed = "nap"
            self.asleep_until = self._world.now + milliseconds_
            self.slept += milliseconds_

    def jump(self, milliseconds_: int) -> None:
        """Somebody sets the clock. That both clocks fail between list and hand-over is more than is promised."""
        if self.disturbed != "nap":
            self.disturbed = "jump"
            self.off = min(max(self.off + milliseconds_, -DAY), DAY)


class Client:
    """What the real reconciling needs of a `BatchClient`."""

    def __init__(
        self, world: World, machine: Machine, workspace: str, rules: Rules, ledger: "Steps", dice: Random
    ) -> None:
        self._world, self._machine, self._workspace, self._rules = world, machine, workspace, rules
        self._ledger, self._dice = ledger, dice
        self.for_claim = False

    def now(self) -> datetime:
        return from_milliseconds(self._machine.wall())

    def monotonic(self) -> float:
        return self._machine.steady() / 1000

    async def pause(self, seconds: float) -> None:
        self._world.pass_time(round(seconds * 1000))
        await Step()

    async def list(self, *, limit: int, after_id: str | None = None) -> Page:
        """One page. Steps before and after: requests and answers take their time."""
        if not self._rules.list_before_rows:
            self._ledger.keep_rows()
        await Step()
        if self._dice.random() < _FAILING:
            raise NoResponse("timeout", endpoint="list", sent=True)
        workspace = self._workspace if self._rules.one_list_for_each_workspace else "first"
        shown, at = self._world.listed(workspace), 0
        if after_id is not None:
            at = next((number + 1 for number, batch in enumerate(shown) if batch.id == after_id), len(shown))
        page = shown[at : at + PAGE]
        if not self._rules.date_of_first_page:
            await Step()
        date = self._world.date() if self._rules.date_is_the_apis else self.now()
        if date is not None and not self.for_claim:
            date += self._rules.later_by
        await Step()
        return Page(page, has_more=at + PAGE < len(shown) and self._rules.list_to_its_end, api_time=date)

    async def retrieve(self, message_batch_id: str) -> Any:
        await Step()
        return self._world.by_id(message_batch_id)

    @asynccontextmanager
    async def results(self, message_batch_id: str) -> AsyncIterator[Any]:
        await Step()
        batch = self._world.by_id(message_batch_id)
        if not self._rules.results_compared or batch.deleted:
            raise NoResponse("timeout", endpoint="results", sent=True)
        lines = [
            b'{"custom_id": "%s", "result": {"type": "succeeded", "message": {"model": "m"}}}\n' % custom_id.encode()
            for custom_id in batch.custom_ids
        ]

        async def chunks() -> AsyncIterator[bytes]:
            for line in lines:
                yield line

        yield SimpleNamespace(chunks=chunks())


class Steps:
    """The ledger with a step before and after each transaction, as a `Database`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def read(self, work: Callable[[Transaction], Result]) -> Result:
        await Step()
        return self._ledger.run(work, changes=False)

    async def write(self, work: Callable[[Transaction], Result], *, durable: bool = False) -> Result:
        await Step()
        result = self._ledger.run(work, changes=True)
        await Step()
        return result

    def keep_rows(self) -> None:
        """From here on rivals and owners are those of now."""
        self._ledger.keep_rows()
