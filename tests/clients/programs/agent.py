"""An agent without a model. It needs nothing but Python, since it runs in the environment of every client."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

Call = tuple[str, dict[str, Any]]

MOST_CALLS = 20
MOST_BEGINNINGS = 4


@dataclass
class Agent:
    """Begins with `first`; then reads the newest tool result alone, and makes the first call of its `next_steps`.

    A result in which it finds no JSON, as when the client gave up on the call, makes it begin anew. With `confirms`
    false it never makes a call that holds a confirmation, as if no user had said yes. `shown` are the texts that the
    client has shown it.
    """

    first: Call
    confirms: bool = True
    calls: list[Call] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    beginnings: int = 0

    def next_call(self, shown: str | None) -> Call | None:
        """The next call, or None at the end; `shown` is the newest tool result, None at the beginning."""
        if shown is not None:
            self.shown.append(shown)
        call = self._decide(shown)
        if call is None or len(self.calls) == MOST_CALLS:
            return None
        self.calls.append(call)
        return call

    def _decide(self, shown: str | None) -> Call | None:
        facts = None if shown is None else facts_in(shown)
        if facts is None:
            self.beginnings += 1
            return self.first if self.beginnings <= MOST_BEGINNINGS else None
        steps = facts.get("next_steps") or []
        if not steps or (not self.confirms and "confirmation" in steps[0]["arguments"]):
            return None
        return steps[0]["tool"], steps[0]["arguments"]

    def report(self, **more: Any) -> dict[str, Any]:
        """What a program tells the test at its end."""
        return {"calls": self.calls, "shown": self.shown, "beginnings": self.beginnings, **more}


def facts_in(shown: str) -> dict[str, Any] | None:
    """The first JSON object in a text, or None."""
    start = shown.find("{")
    while start >= 0:
        try:
            facts, _ = json.JSONDecoder().raw_decode(shown, start)
        except ValueError:
            start = shown.find("{", start + 1)
        else:
            return facts if isinstance(facts, dict) else None
    return None


@dataclass(frozen=True)
class Task:
    """What the test tells a program, as JSON in its only argument.

    `server` has `command`, `args` and `env`; `closes` is how the client answers every question at once, `decline` or
    `cancel`, or None where it does not say that it can ask.
    """

    server: dict[str, Any]
    first: Call
    confirms: bool
    closes: str | None

    @classmethod
    def given(cls) -> "Task":
        """The task of this program."""
        return cls(**json.loads(sys.argv[1]))

    def agent(self) -> Agent:
        """The agent that is to do it."""
        tool, arguments = self.first
        return Agent((tool, arguments), self.confirms)


def tell(report: dict[str, Any]) -> None:
    """Hand a report to the test: the last line of standard output."""
    print(json.dumps(report))
