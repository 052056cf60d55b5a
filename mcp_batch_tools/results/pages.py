"""Reading results a page at a time, from a saved file or from the API, no further than the page needs."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import anyio.to_thread

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import InvalidResponse
from mcp_batch_tools.results.lines import InvalidLine, LineFacts, decode_line, is_blank
from mcp_batch_tools.results.pieces import LineSplitter, batched
from mcp_batch_tools.results.summary import ResultSummary

MOST_SCANNED = 256 * 1024 * 1024
"""Bytes that one page is looked for in."""
LONGEST_SCAN = 30.0
"""Seconds of the same."""

_AT_ONCE = 256 * 1024
"""Bytes that are looked through at once: enough to be worth a thread, and soon there on a slow line."""
_READ = 1024 * 1024


@dataclass
class Scan:
    """What a look through results found. `next_offset` is where the next line begins; None at the end of the file."""

    summary: ResultSummary
    unreadable: int = 0
    next_offset: int | None = None
    stopped_early: bool = False


@asynccontextmanager
async def pieces_of(
    client: BatchClient, message_batch_id: str, saved: Path | None, offset: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Results from an offset on, of the file `saved` (.jsonl or .jsonl.gz), or else as the API sends them."""
    if saved is None:
        async with client.results(message_batch_id, offset=offset) as stream:
            yield _without_first(stream.chunks, offset - stream.start)
    else:
        with gzip.open(saved) if saved.suffix == ".gz" else saved.open("rb") as file:
            yield _read(cast(BinaryIO, file), offset)


async def _read(file: BinaryIO, offset: int) -> AsyncIterator[bytes]:
    await anyio.to_thread.run_sync(file.seek, offset)
    while piece := await anyio.to_thread.run_sync(file.read, _READ):
        yield piece


async def _without_first(pieces: AsyncIterator[bytes], behind: int) -> AsyncIterator[bytes]:
    """All but the first bytes, which come again where the other side does not go on from an offset."""
    async for piece in pieces:
        if behind < len(piece):
            yield piece[behind:]
        behind = max(behind - len(piece), 0)


async def scan(
    pieces: AsyncIterator[bytes],
    offset: int,
    accept: Callable[[LineFacts, bytes], bool],
    now: Callable[[], float],
    *,
    full: Callable[[], bool] = lambda: False,
    redact: Callable[[str], str] = str,
) -> Scan:
    """Look through lines, in a worker thread, until a page is `full`, the end, or 256 MiB or 30 seconds are over.

    `accept` is called in that thread with each line in turn, as facts and as bytes, and returns False for a line that
    does not fit on the page any more; the next page begins with it. `redact` takes secrets out of the summary.

    Raises:
        InvalidResponse: a line is too long to be one.
    """
    scanner = _Scanner(offset, accept, full, Scan(ResultSummary(redact)))
    start = now()
    try:
        async for batch in batched(pieces, _AT_ONCE):
            if await anyio.to_thread.run_sync(scanner.feed, batch):
                return scanner.found
            if now() - start > LONGEST_SCAN:
                scanner.stop(early=True)
                return scanner.found
    except InvalidLine as error:
        raise InvalidResponse("not_results", endpoint="results", detail=str(error)) from error
    await anyio.to_thread.run_sync(scanner.finish)
    return scanner.found


@dataclass
class _Scanner:
    """Where a scan has come to."""

    offset: int
    accept: Callable[[LineFacts, bytes], bool]
    full: Callable[[], bool]
    found: Scan

    def __post_init__(self) -> None:
        self._splitter = LineSplitter()
        self._end = self.offset + MOST_SCANNED

    def feed(self, pieces: list[bytes]) -> bool:
        """Look through the lines that are complete now; True where the scan is over."""
        for line in chain.from_iterable(map(self._splitter.feed, pieces)):
            if not self._take(line):
                self.stop()
                return True
            self.offset += len(line)
            too_far = self.offset > self._end
            if too_far or self.full():
                self.stop(early=too_far)
                return True
        return False

    def finish(self) -> None:
        """Look at the last line, where it has no newline."""
        if (rest := self._splitter.rest) and not self._take(rest):
            self.stop()

    def stop(self, *, early: bool = False) -> None:
        """The next page begins here."""
        self.found.next_offset, self.found.stopped_early = self.offset, early

    def _take(self, raw: bytes) -> bool:
        try:
            line = decode_line(raw, 0)
        except InvalidLine:
            self.found.unreadable += not is_blank(raw)
            return True
        if not self.accept(line, raw):
            return False
        self.found.summary.count(line)
        return True
