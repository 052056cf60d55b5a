"""Requests for new batches: read as a stream, checked all of them, and cut into as few batches as they fit into.

Nothing here grows with the size of the file but 24 bytes for each request: 8 by which a `custom_id` that is there twice
is found, and 16 by which the request is known again.
"""

import hashlib
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.fingerprint import canonical, custom_id_and_params, fingerprint, request_digest
from mcp_batch_tools.requests.sizes import ModelPlan
from mcp_batch_tools.requests.sources import LONGEST, TOO_LONG, FileSource, InlineSource, Source
from mcp_batch_tools.requests.validation import InvalidRequest, Problems, RequestChecker, parse

__all__ = [
    "MOST_BYTES",
    "MOST_REQUESTS",
    "FileSource",
    "InlineSource",
    "ModelPlan",
    "Part",
    "Plan",
    "Source",
    "body",
    "body_length",
    "build_plan",
]

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
"""Of the body of one create."""

_OPENING, _CLOSING = b'{"requests":[', b"]}"
_ENVELOPE = len(_OPENING) + len(_CLOSING)
_PIECE = 1024 * 1024
_SAMPLE = 20
_SAMPLE_BYTES = 2 * 1024 * 1024
_PAIRS_NAMED = 3
_TABLES = 256


Hashes = bytes  # a name that the field `bytes` does not hide


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one batch: `requests` from index `first`, counted from 0.

    `bytes` and `sha256` (in hex) are those of the requests as they are sent, with a comma between two. `hashes` are
    those of the requests in order and `fingerprint` is that of all of them, see `request_hashes`.
    """

    first: int
    requests: int
    bytes: int
    sha256: str
    hashes: Hashes
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests that passed. `bytes` is the sum over the parts; `fingerprint` is the same for the same parts.

    `sample` holds the `params` of up to 20 requests, at most 2 MiB in all, for counting tokens; it is the same for the
    same requests.
    """

    requests: int
    bytes: int
    fingerprint: str
    models: dict[str, ModelPlan]
    parts: list[Part]
    sample: list[dict[str, Any]]


def build_plan(
    source: Source,
    *,
    anthropic_version: str,
    betas: Collection[str] = (),
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> Plan:
    """Read all requests, check them, and plan batches of at most `most_requests`, with bodies of at most `most_bytes`.

    Raises:
        InvalidRequests: with everything that is wrong with them, up to where they can be read.
    """
    problems = Problems()
    checker = RequestChecker(anthropic_version, betas)
    longest = min(LONGEST, most_bytes - _ENVELOPE)
    parts, ids, sample = _Parts(most_requests, most_bytes), _CustomIds(), _Sample()
    models: dict[str, ModelPlan] = {}
    try:
        for number, raw in source.open():
            if raw is TOO_LONG or len(raw) > longest:
                problems.add(f"it is longer than {longest:,} bytes", number)
                continue
            try:
                request = parse(raw)
            except InvalidRequest as error:
                problems.add(str(error), number)
                continue
            found = set(checker.problems(request))
            if isinstance(request, dict) and isinstance(request.get("custom_id"), str):
                ids.add(request["custom_id"])
            if found:
                for kind in sorted(found):
                    problems.add(kind, number)
                continue
            params = request["params"]
            try:
                content = canonical(params)
            except RecursionError:
                problems.add("it is nested too deeply", number)
                continue
            models.setdefault(params["model"], ModelPlan()).add(params, content)
            parts.add(raw, request_digest(request["custom_id"], content))
            sample.offer(raw)
    except InvalidRequests as error:
        for problem in error.problems:
            problems.say(problem)
    if twice := ids.twice():
        problems.say(_twice(source, twice, ids.repeated))
    done = parts.finish()
    if not done and not problems:
        problems.say("there are no requests in it")
    if problems:
        raise InvalidRequests(problems.sentences(source.unit))
    return Plan(
        requests=sum(part.requests for part in done),
        bytes=sum(part.bytes for part in done),
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in done).encode()).hexdigest(),
        models=models,
        parts=done,
        sample=sample.params(),
    )


def body_length(part: Part) -> int:
    """Bytes of the body of the create."""
    return part.bytes + _ENVELOPE


def body(source: Source, part: Part) -> Iterator[bytes]:
    """The body of the create for one part, in pieces of up to about 1 MiB.

    Never more than `body_length`, and only all of it where the requests are still those that were checked.

    Raises:
        InvalidRequests: they have changed. What was given out by then is no JSON.
    """
    digest, left = hashlib.sha256(), part.bytes
    opening, comma = _OPENING, b""
    pending: list[bytes] = []
    size = 0
    for _, raw in islice(source.open(), part.first, part.first + part.requests):
        pending += (comma, raw)
        size += len(comma) + len(raw)
        comma = b","
        if size > left:
            break
        if size >= _PIECE:
            piece = b"".join(pending)
            digest.update(piece)
            yield from _in_pieces(opening + piece)
            left -= size
            opening, pending, size = b"", [], 0
    piece = b"".join(pending)
    digest.update(piece)
    if digest.hexdigest() != part.sha256:
        raise InvalidRequests([f"{source.name} changed after it was checked"])
    yield from _in_pieces(opening + piece + _CLOSING)


def _in_pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


class _Parts:
    """Fills one batch after the other, and hashes what goes into it."""

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes - _ENVELOPE
        self._done: list[Part] = []
        self._first = self._requests = self._bytes = 0
        self._pending: list[bytes] = []
        self._waiting = 0
        self._digest = hashlib.sha256()
        self._hashes = bytearray()

    def add(self, raw: bytes, hashed: bytes) -> None:
        added = len(raw) + 1  # with the comma before it
        if self._requests and (self._requests == self._most_requests or self._bytes + added > self._most_bytes):
            self._end()
        if self._requests:
            self._pending.append(b",")
            self._bytes += 1
        self._pending.append(raw)
        self._requests += 1
        self._bytes += len(raw)
        self._hashes += hashed
        self._waiting += added
        if self._waiting >= _PIECE:
            self._hash()

    def finish(self) -> list[Part]:
        """The parts."""
        if self._requests:
            self._end()
        return self._done

    def _hash(self) -> None:
        self._digest.update(b"".join(self._pending))
        self._pending, self._waiting = [], 0

    def _end(self) -> None:
        self._hash()
        hashes = bytes(self._hashes)
        self._done.append(
            Part(self._first, self._requests, self._bytes, self._digest.hexdigest(), hashes, fingerprint(hashes))
        )
        self._first += self._requests
        self._requests = self._bytes = 0
        self._digest, self._hashes = hashlib.sha256(), bytearray()


class _CustomIds:
    """Finds ids that are there twice, at 8 bytes for each: their hashes.

    They are spread over tables that are small enough to make a set of one after the other. The hash is keyed anew in
    each process: that two ids share one by chance or by design is out of the question.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self._tables = [array("q") for _ in range(_TABLES)]

    def add(self, custom_id: str) -> None:
        identity = hash(custom_id)
        self._tables[identity % _TABLES].append(identity)

    def twice(self) -> set[int]:
        """The hashes that are there more than once; `repeated` is how many requests are too many."""
        twice: set[int] = set()
        for table in self._tables:
            once: set[int] = set()
            for identity in table if len(set(table)) < len(table) else ():
                (twice if identity in once else once).add(identity)
            self.repeated += len(table) - len(set(table))
        return twice


class _Sample:
    """A few of the requests, each as likely as the others, but for those that are too large."""

    def __init__(self) -> None:
        self._random = Random(5)  # noqa: S311  nothing secret: the same requests shall give the same sample
        self._seen = 0
        self._raw: list[bytes] = []

    def offer(self, raw: bytes) -> None:
        self._seen += 1
        if self._random.random() * self._seen >= _SAMPLE or len(raw) > _SAMPLE_BYTES:
            return
        if len(self._raw) == _SAMPLE:
            self._raw.pop(self._random.randrange(_SAMPLE))
        self._raw.append(raw)
        while sum(map(len, self._raw)) > _SAMPLE_BYTES:
            self._raw.remove(max(self._raw, key=len))

    def params(self) -> list[dict[str, Any]]:
        return [parse(raw)["params"] for raw in self._raw]


def _twice(source: Source, twice: set[int], repeated: int) -> str:
    """Name the first few pairs, for which the requests are read once more."""
    lines: dict[int, int] = {}
    pairs: list[str] = []
    with suppress(InvalidRequests):  # told already
        for number, raw in source.open():
            known = custom_id_and_params(raw)
            identity = hash(known[0]) if known else None
            if identity is None or identity not in twice:
                continue
            if identity in lines:
                pairs.append(f"{source.unit}s {lines[identity]} and {number}")
                if len(pairs) == _PAIRS_NAMED:
                    break
            lines.setdefault(identity, number)
    if repeated > len(pairs):
        pairs.append(f"{repeated - len(pairs)} more")
    return f"the same `custom_id` is there twice: {', '.join(pairs)}"
