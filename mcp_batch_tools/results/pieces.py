"""Pieces of a download put together to larger ones."""

from collections.abc import AsyncIterator

from mcp_batch_tools.api.errors import InvalidResponse, NoResponse


async def blocks(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least `size`; the last may be shorter. What arrived before a break comes first.

    Raises:
        NoResponse, InvalidResponse: as `chunks`.
    """
    gathered: list[bytes] = []
    length = 0
    broken: Exception | None = None
    try:
        async for chunk in chunks:
            gathered.append(chunk)
            length += len(chunk)
            if length >= size:
                yield b"".join(gathered)
                gathered, length = [], 0
    except (NoResponse, InvalidResponse) as error:
        broken = error
    if gathered:
        yield b"".join(gathered)
    if broken:
        raise broken
