"""Parts of what is to be sent, each of them one batch: what they are, how they are filled, and their bodies."""

import hashlib
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from mcp_batch_tools.requests.errors import SourceChanged
from mcp_batch_tools.requests.fingerprint import fingerprint
from mcp_batch_tools.requests.sources import Source

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
"""Of the body of one create."""
PIECE = 1024 * 1024
"""Bytes of a body that are sent at a time."""
_HASHED = 256 * 1024
"""Bytes that are hashed at a time: few enough to be in the processor's cache still."""

_OPENING, _CLOSING = b'{"requests":[', b"]}"
ENVELOPE = len(_OPENING) + len(_CLOSING)
"""Bytes of a body around its requests."""

Hashes = bytes  # a name that the field `bytes` does not hide


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one batch: `requests` from index `first`, counted from 0.

    `bytes` and `sha256` (in hex) are those of the requests as they are sent, with a comma between two. `hashes` are
    what is kept of the requests in order, and `fingerprint` is of all of them in any order, see `fingerprint.py`.
    """

    first: int
    requests: int
    bytes: int
    sha256: str
    hashes: Hashes
    fingerprint: str


def body_length(part: Part) -> int:
    """Bytes of the body of the create."""
    return part.bytes + ENVELOPE


def body(source: Source, part: Part, *, piece: int = PIECE) -> Generator[bytes, None, None]:
    """The body of the create for one part, in pieces of at most `piece` bytes.

    Never more than `body_length`, and only all of it where the requests are still those that were checked.

    Raises:
        SourceChanged: they are others now. What was given out by then is not JSON.
    """
    digest, left = hashlib.sha256(), part.bytes
    opening = _OPENING
    pending: list[bytes] = []
    size = 0
    with closing(source.open()) as requests:
        for _, raw in islice(requests, part.first, part.first + part.requests):
            pending.append(raw)
            size += len(raw) + 1
            if size > left + 1:  # the first one has no comma before it
                break
            if size >= piece:
                content = b",".join(pending)
                digest.update(content)
                yield from _in_pieces(opening + content, piece)
                left -= len(content)
                opening, pending, size = b"", [b""], 0  # what follows begins with a comma
    content = b",".join(pending) if size else b""
    digest.update(content)
    if digest.hexdigest() != part.sha256:
        raise SourceChanged(source.name)
    yield from _in_pieces(opening + content + _CLOSING, piece)


def _in_pieces(data: bytes, most: int) -> Iterator[bytes]:
    for start in range(0, len(data), most):
        yield data[start : start + most]


class Parts:
    """Fills one batch after the other, and hashes what goes into it by a thread of `hashing`."""

    def __init__(self, most_requests: int, most_bytes: int, hashing: ThreadPoolExecutor) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes - ENVELOPE
        self._hashing = hashing
        self._hashed: Future[None] | None = None
        self._done: list[Part] = []
        self._first = 0
        self._begin()

    def add(self, raw: bytes, kept: bytes) -> None:
        """Add the next request; `kept` is its `request_digest`."""
        added = len(raw) + 1  # with the comma before it
        if self._requests and (self._requests == self._most_requests or self._bytes + added > self._most_bytes):
            self._end()
        self._requests += 1
        self._bytes += added if self._requests > 1 else added - 1
        self._pending.append(raw)
        self._hashes += kept
        self._waiting += added
        if self._waiting >= _HASHED:
            self._hash()

    def finish(self) -> list[Part]:
        """The parts."""
        if self._requests:
            self._end()
        return self._done

    def _begin(self) -> None:
        self._requests = self._bytes = self._waiting = 0
        self._pending: list[bytes] = []
        self._digest, self._hashes = hashlib.sha256(), bytearray()

    def _hash(self) -> None:
        content = b",".join(self._pending)
        self._pending, self._waiting = [b""], 0  # what follows begins with a comma
        if self._hashed is not None:
            self._hashed.result()  # one piece waits at most
        self._hashed = self._hashing.submit(self._digest.update, content)

    def _end(self) -> None:
        if self._waiting:
            self._hash()
        if self._hashed is not None:
            self._hashed.result()
        hashes = bytes(self._hashes)
        self._done.append(
            Part(self._first, self._requests, self._bytes, self._digest.hexdigest(), hashes, fingerprint(hashes))
        )
        self._first += self._requests
        self._begin()
