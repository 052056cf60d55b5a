"""Reading results a page at a time, from a saved file or from the API, no further than the page needs."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import anyio.to_thread

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.results.lines import InvalidLine, LineSplitter, ResultLine, ResultSummary, parse

MOST_SCANNED = 256 * 1024 * 1024
"""Bytes that one page is looked for in."""
LONGEST_SCAN = 30.0
"""Seconds of the same."""

_BLOCK = 1024 * 1024


@dataclass
class Scan:
    """What a look through results found. `next_offset` is where the next line begins; None at the end of the file."""

    tally: ResultSummary = field(default_factory=ResultSummary)
    unreadable: int = 0
    next_offset: int | None = None
    stopped_early: bool = False


@asynccontextmanager
async def saved_pieces(path: Path, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """A saved file, .jsonl or .jsonl.gz, from an offset in what it holds."""

    async def pieces(file: BinaryIO) -> AsyncIterator[bytes]:
        await anyio.to_thread.run_sync(file.seek, offset)
        while piece := await anyio.to_thread.run_sync(file.read, _BLOCK):
            yield piece

    with path.open("rb") as plain:
        if path.suffix == ".gz":
            with gzip.open(plain) as unpacked:
                yield pieces(cast(BinaryIO, unpacked))
        else:
            yield pieces(plain)


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
    wanted: Callable[[ResultLine], bool],
    now: Callable[[], float],
    enough: Callable[[], bool] = lambda: False,
) -> Scan:
    """Look through lines until there is `enough`, the page can take no more, or the end; or until it takes too long.

    `wanted` is asked about each line in turn, and returns False for one that does not fit the page any more; the next
    page begins with it.

    Raises:
        InvalidLine: a line is too long to be one.
    """
    found, splitter = Scan(), LineSplitter()
    start, seen = now(), 0
    async for piece in pieces:
        for line in splitter.feed(piece):
            if not _take(found, line, wanted):
                found.next_offset = offset
                return found
            offset += len(line) + 1
            seen += len(line) + 1
            found.stopped_early = seen > MOST_SCANNED
            if found.stopped_early or enough():
                found.next_offset = offset
                return found
        if now() - start > LONGEST_SCAN:
            found.next_offset, found.stopped_early = offset, True
            return found
    if splitter.rest and not _take(found, splitter.rest, wanted):
        found.next_offset = offset
    return found


def _take(found: Scan, line: bytes, wanted: Callable[[ResultLine], bool]) -> bool:
    try:
        parsed = parse(line, 0)
    except InvalidLine:
        found.unreadable += 1
        return True
    if not wanted(parsed):
        return False
    found.tally.add(parsed)
    return True
