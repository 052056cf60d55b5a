"""Finding custom ids that are there twice."""

from array import array
from collections.abc import Iterator
from contextlib import suppress

from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.parsing import InvalidRequest, parse
from mcp_batch_tools.requests.sources import Source

_TABLES = 256
_PAIRS_NAMED = 3


class CustomIds:
    """Finds ids that are there twice, at 8 bytes for each: their hashes.

    They are spread over tables that are small enough to make a set of one after the other. The hash is keyed anew in
    each process: that two ids share one by chance or by design is out of the question.
    """

    def __init__(self) -> None:
        self._tables = [array("q") for _ in range(_TABLES)]

    def add(self, custom_id: str) -> None:
        """Note the id of one request."""
        identity = hash(custom_id)
        self._tables[identity % _TABLES].append(identity)

    def duplicates(self, source: Source) -> str | None:
        """The problem that ids are there twice, with the first few pairs; for them `source` is read once more."""
        twice: set[int] = set()
        surplus = 0
        for table in self._tables:
            once: set[int] = set()
            for identity in table if len(set(table)) < len(table) else ():
                (twice if identity in once else once).add(identity)
            surplus += len(table) - len(set(table))
        if not twice:
            return None
        pairs = []
        with suppress(InvalidRequests):  # told already
            for first, second in _pairs(source, twice):
                pairs.append(f"{source.unit}s {first} and {second}")
                if len(pairs) == _PAIRS_NAMED:
                    break
        if surplus > len(pairs):
            pairs.append(f"{surplus - len(pairs)} more")
        return f"duplicate `custom_id`: {', '.join(pairs)}"


def _pairs(source: Source, twice: set[int]) -> Iterator[tuple[int, int]]:
    numbers: dict[int, int] = {}
    for number, raw in source.open():
        try:
            request = parse(raw)
        except InvalidRequest:
            continue
        custom_id = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(custom_id, str) or hash(custom_id) not in twice:
            continue
        first = numbers.setdefault(hash(custom_id), number)
        if first != number:
            yield first, number
