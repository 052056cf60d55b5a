"""What can be wrong with requests for a new batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mcp_batch_tools.errors import Failure


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: `kind` in a few words, and the numbers of the `first` few of the `count` that have it.

    `unit` is what the numbers count, `line` or `request`. Without numbers it is a problem of all of them together.
    """

    kind: str
    unit: str = ""
    first: tuple[int, ...] = ()
    count: int = 0

    def __str__(self) -> str:
        if not self.count:
            return self.kind
        if self.count == 1:
            return f"{self.unit} {self.first[0]}: {self.kind}"
        *named, last = map(str, self.first)
        if self.count > len(self.first):
            named, last = [*named, last], f"{self.count - len(self.first)} more"
        return f"{self.unit}s {', '.join(named)} and {last}: {self.kind}"


class InvalidRequests(Failure):
    """Requests that would fail, or a file of them that cannot be read. `problems` has one entry for each kind."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.problems = [Problem(found) if isinstance(found, str) else found for found in problems]
        super().__init__("; ".join(map(str, self.problems)))


class BothGiven(Failure):
    """Requests come inline or from a file; `given` says that both were there, or neither."""

    def __init__(self, given: Literal["both", "neither"]) -> None:
        super().__init__(given)
        self.given: Literal["both", "neither"] = given


class SourceChanged(Failure):
    """The requests in `source` are no longer those that were checked. None of the batch at hand were sent whole."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source
