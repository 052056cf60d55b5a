"""Pieces of a download, several at once."""

from collections.abc import AsyncIterator, Callable

from mcp_batch_tools.api.errors import InvalidResponse, NoResponse

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
