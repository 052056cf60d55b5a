"""Putting what is wrong with many requests into few entries."""

from mcp_batch_tools.requests.errors import Problem

_NUMBERS = 3
_KINDS_LISTED = 20
_KINDS_KEPT = 1000


class Problems:
    """What is wrong, grouped by kind, with the numbers of the first few requests that have it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[int]]] = {}
        self._plain: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._kinds or self._plain)

    def add(self, kind: str, number: int) -> None:
        """Count that request `number` has this problem. Each kind must be told in one go for a request."""
        if kind not in self._kinds and len(self._kinds) >= _KINDS_KEPT:
            kind = "something else is wrong"
        count, first = self._kinds.get(kind, (0, []))
        if len(first) < _NUMBERS:
            first.append(number)
        self._kinds[kind] = count + 1, first

    def add_general(self, kind: str) -> None:
        """A problem of the whole, not of one request."""
        self._plain.append(Problem(kind))

    def listed(self, unit: str) -> list[Problem]:
        """One for each kind, as many as anybody would read; `unit` is what the numbers count."""
        found = [Problem(kind, unit, tuple(first), count) for kind, (count, first) in self._kinds.items()]
        others = len(found) - _KINDS_LISTED
        if others > 0:
            found[_KINDS_LISTED:] = [Problem(f"and {others} other {'kind' if others == 1 else 'kinds'} of problems")]
        return self._plain + found
