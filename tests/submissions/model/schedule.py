"""Schedules: everything that happens is thrown by dice from a seed, so that a schedule can be run again."""

from collections import Counter
from collections.abc import Coroutine
from contextlib import closing
from random import Random
from typing import Any

from mcp_batch_tools.ledger.database import Transaction
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.states import Attempt
from tests.submissions.model.caller import Caller
from tests.submissions.model.ledger import Ledger, Violation
from tests.submissions.model.machine import Machine
from tests.submissions.model.rules import Rules
from tests.submissions.model.truth import Truth
from tests.submissions.model.wishes import PLANS, Habits
from tests.submissions.model.world import DAY, HOUR, MINUTE, SECOND, World

EVENTS = 160
WORKSPACES = ("first", "first", "first", "second")


class Steady(Random):
    """Dice that let nothing fail: no chance is ever high enough, and the first choice is taken."""

    def random(self) -> float:
        return 1.0

    def getrandbits(self, k: int, /) -> int:
        return 0


class Schedule:
    """One run of a few callers on one ledger."""

    def __init__(self, seed: str, ledger: Ledger, rules: Rules) -> None:
        self._dice = dice = Random(seed)
        self._world = World(
            dice, lag=self._some(0.3), lose=self._some(0.3), late=self._some(0.15), undated=self._some(0.05)
        )
        self.truth = Truth(self._world)
        self._world.on_act = self.truth.acted
        self._ledger, self._rules = ledger, rules
        ledger.clear(self.truth.row_changed)
        self._habits = Habits(
            plans=dice.choice((tuple(PLANS), ("A",), ("A", "A, corrected"))),
            weights=dice.choice(((10, 4, 4, 1), (10, 0, 1, 0), (1, 10, 1, 0))),
            again=dice.choice((0.1, 0.3, 0.7)),
        )
        clocks_off = dice.choice((0, 0, 5 * MINUTE, DAY))
        self._callers = [self._caller(clocks_off) for _ in range(dice.randint(2, 4))]
        self._lives: list[Coroutine[Any, Any, None]] = [caller.live() for caller in self._callers]
        self._trouble = {
            "kill": self._some(2.0),
            "nap": self._some(2.0),
            "jump": self._some(1.0),
            "elsewhere": self._some(2.0),
            "end": 2.0,
            "a month": dice.choice((0.0, 0.0, 0.5)),
        }

    def _some(self, often: float) -> float:
        return self._dice.choice((0.0, often, 2 * often))

    def _caller(self, clocks_off: int) -> Caller:
        off = self._dice.randint(-clocks_off, clocks_off) if self._dice.random() < 0.7 else 0
        workspace = self._dice.choice(WORKSPACES)
        return self._server(self._world, Machine(self._world, off), workspace, self._dice)

    def _server(self, world: World, machine: Machine, workspace: str, dice: Random) -> Caller:
        return Caller(world, self._ledger, self.truth, machine, workspace, self._rules, dice, self._habits)

    def run(self) -> None:
        """Throw the dice, then let everything come to rest and look at what is left."""
        weights = {"step": 70.0, "seconds": 8.0, "minutes": 6.0, "an hour": 2.0, **self._trouble}
        try:
            for event in self._dice.choices(list(weights), list(weights.values()), k=EVENTS):
                self._happen(event)
        finally:
            for life in self._lives:
                life.close()
        self._come_to_rest()

    def _happen(self, event: str) -> None:
        dice, world = self._dice, self._world
        number = dice.randrange(len(self._callers))
        machine = self._callers[number].machine
        match event:
            case "step":
                for _ in range(dice.choice((1, 1, 2, 5, 12))):
                    if machine.asleep_until <= world.now:
                        self._lives[number].send(None)
            case "seconds":
                world.pass_time(dice.randrange(30 * SECOND))
            case "minutes":
                world.pass_time(dice.randrange(12 * MINUTE))
            case "an hour":
                world.pass_time(dice.choice((55 * MINUTE, 71 * MINUTE, 75 * MINUTE)))
            case "a month":
                world.pass_time(30 * DAY)
                for other in range(len(self._callers)):
                    self._kill(other)
            case "kill":
                self._kill(number)
            case "nap":
                machine.sleep(dice.choice((2 * MINUTE, 12 * MINUTE, 80 * MINUTE, 160 * MINUTE)))
            case "jump":
                machine.jump(dice.choice((-DAY, -HOUR, HOUR, DAY)))
            case "elsewhere":
                world.add_elsewhere(self._callers[number].workspace)
            case "end":
                world.end_batches()

    def _kill(self, number: int) -> None:
        """The process is gone, and another one takes its place on the machine."""
        self._lives[number].close()
        self._lives[number] = self._callers[number].live()

    def _come_to_rest(self) -> None:
        world = self._world
        quiet = World(Steady(), lag=0, lose=0, late=0, undated=0)
        quiet.batches = world.batches
        # Clocks that were set forward have made leases and times of sending late.
        for waiting in (3 * HOUR, 0, 9 * DAY, 0):
            world.pass_time(waiting)
            world.end_batches()
            quiet.now = world.now
            for workspace in ("first", "second"):
                finish(self._server(quiet, Machine(quiet, 0), workspace, Steady()).reconcile())
        self.truth.at_rest(self._ledger.run(_all_attempts, changes=False))


def finish(work: Coroutine[Any, Any, Any]) -> None:
    """Do all steps of some work, while nothing else happens."""
    try:
        while True:
            work.send(None)
    except StopIteration:
        pass


def _all_attempts(transaction: Transaction) -> list[Attempt]:
    ids = [row["id"] for row in transaction.rows("SELECT id FROM submissions")]
    return [found for attempt_id in ids if (found := store.attempt_by_id(transaction, attempt_id)) is not None]


def run(seed: str, schedules: int, rules: Rules | None = None, *, first: int = 0) -> tuple[Counter[str], str | None]:
    """Run so many schedules, up to one that breaks a promise: what was reached, and what broke, with its seed.

    `first` is the number of the first of them.
    """
    rules = rules or Rules()
    reached: Counter[str] = Counter()
    with closing(Ledger(rules.instead, rules.without_indexes, rules.other_indexes)) as ledger:
        for number in range(first, first + schedules):
            name = f"{seed}/{number}"
            schedule = Schedule(name, ledger, rules)
            try:
                schedule.run()
            except Violation as violation:
                return reached, f"schedule {name}: {violation}"
            reached += schedule.truth.reached
    return reached, None
