"""Pieces of a download: several at once, and the lines in them."""

from collections.abc import AsyncIterator, Callable
from io import BytesIO

from mcp_batch_tools.api.errors import InvalidResponse, NoResponse
from mcp_batch_tools.results.lines import InvalidLine

LONGEST_LINE = 32 * 1024 * 1024
"""Bytes. The longest answer of a model is a few of them; a stream without line breaks must not fill the memory."""

_LONGEST = 1.0
"""Seconds that a group may take: on a slow line its size alone would hide for long how far it has come."""


async def batched(
    pieces: AsyncIterator[bytes], size: int, now: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[list[bytes]]:
    """Pieces in groups of at least `size` bytes, or of those of a second by `now`; the last one of what is left.

    What arrived before a break comes before it.

    Raises:
        NoResponse, InvalidResponse: as `pieces`.
    """
    batch: list[bytes] = []
    length, start = 0, now()
    try:
        async for piece in pieces:
            batch.append(piece)
            length += len(piece)
            if length >= size or now() - start >= _LONGEST:
                yield batch
                batch, length, start = [], 0, now()
    except (NoResponse, InvalidResponse):
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class LineSplitter:
    """Takes a file in pieces of any size and gives out its lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    @property
    def rest(self) -> bytes:
        """What came after the last line break."""
        return b"".join(self._parts)

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now, with their line breaks.

        Raises:
            InvalidLine: one is too long to be one.
        """
        lines = BytesIO(piece).readlines()  # several times as fast as split
        if lines:
            self._parts.append(lines[0])
            self._length += len(lines[0])
            if lines[0].endswith(b"\n"):
                lines[0] = self.rest
                self._parts = [] if lines[-1].endswith(b"\n") else [lines.pop()]
                self._length = sum(map(len, self._parts))
            else:
                lines = []
        if self._length > LONGEST_LINE:
            raise InvalidLine(f"a line is longer than {LONGEST_LINE:,} bytes")
        return lines
