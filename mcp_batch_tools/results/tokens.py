"""Tokens that results say were used, by what is paid for them."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

MOST_TOKENS = 10**12
"""No answer of a model comes near it; a larger number is a mistake and counts as this."""

_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)] | None


class CacheWrites(Struct, gc=False):
    """Tokens written to the cache, by how long they stay."""

    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class Usage(Struct, gc=False):
    """`usage` of a message, with the API's own names; a count that is null is 0."""

    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_input_tokens: _Count = 0
    cache_creation_input_tokens: _Count = 0
    cache_creation: CacheWrites | None = None


@dataclass(slots=True)
class Tokens:
    """Tokens of one model, by what is paid for them."""

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0

    def add_usage(self, usage: Usage) -> None:
        """Add the tokens of one message. Cache writes without a breakdown count as those of 5 minutes."""
        self.input += usage.input_tokens or 0
        self.output += usage.output_tokens or 0
        self.cache_read += usage.cache_read_input_tokens or 0
        written, breakdown = usage.cache_creation_input_tokens or 0, usage.cache_creation
        if breakdown is not None:
            for_an_hour = breakdown.ephemeral_1h_input_tokens or 0
            written = max(written, for_an_hour + (breakdown.ephemeral_5m_input_tokens or 0))
            self.cache_write_1h += for_an_hour
            written -= for_an_hour
        self.cache_write_5m += written
