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
from mcp_batch_tools.results.lines import InvalidLine, LineFacts, LineSplitter, decode_line
from mcp_batch_tools.results.pieces import batched
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
async def saved_pieces(path: Path, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """A saved file, .jsonl or .jsonl.gz, from an offset in what it holds."""

    async def pieces(file: BinaryIO) -> AsyncIterator[bytes]:
        await anyio.to_thread.run_sync(file.seek, offset)
        while piece := await anyio.to_thread.run_sync(file.read, _READ):
            yield piece

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield pieces(cast(BinaryIO, file))


@asynccontextmanager
async def api_pieces(client: BatchClient, message_batch_id: str, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """The results as the API sends them, from an offset on; what comes before is passed over where it must be."""
    async with client.results(message_batch_id, offset=offset) as stream:

        async def pieces() -> AsyncIterator[bytes]:
            behind = offset - stream.start
            async for piece in stream.chunks:
                if behind >= len(piece):
                    behind -= len(piece)
                    continue
                yield piece[behind:]
                behind = 0

        yield pieces()


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
        InvalidLine: a line is too long to be one.
    """
    scanner = _Scanner(offset, accept, full, Scan(ResultSummary(redact)))
    start = now()
    async for batch in batched(pieces, _AT_ONCE):
        if await anyio.to_thread.run_sync(scanner.feed, batch):
            return scanner.found
        if now() - start > LONGEST_SCAN:
            scanner.stop(early=True)
            return scanner.found
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
            self.found.unreadable += 1
            return True
        if not self.accept(line, raw):
            return False
        self.found.summary.count(line)
        return True
