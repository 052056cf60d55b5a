"""Pieces of a download, several at once."""

from collections.abc import AsyncIterator

from mcp_batch_tools.api.errors import InvalidResponse, NoResponse


async def batched(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[list[bytes]]:
    """Pieces in groups of at least `size` bytes, the last one of what is left.

    What arrived before a break comes before it.

    Raises:
        NoResponse, InvalidResponse: as `pieces`.
    """
    batch: list[bytes] = []
    length = 0
    try:
        async for piece in pieces:
            batch.append(piece)
            length += len(piece)
            if length >= size:
                yield batch
                batch, length = [], 0
    except (NoResponse, InvalidResponse):
        if batch:
            yield batch
        raise
    if batch:
        yield batch
