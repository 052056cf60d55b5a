"""Tokens that results say were used, by what is paid for them."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

MOST_TOKENS = 10**12
"""No answer of a model comes near it; a larger number is a mistake and counts as this."""

PROMPT_STEP = 10_000
"""Prompts are told apart by their length in steps of so many tokens, since some models have a price for long ones."""
_MOST_STEPS = 1_000_000 // PROMPT_STEP + 1

_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)] | None


class CacheWrites(Struct, gc=False):
    """Tokens written to the cache, by how long they stay."""

    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class ServerToolUse(Struct, gc=False):
    """What server tools did that costs something beside tokens."""

    web_search_requests: _Count = 0


class TokenCounts(Struct, gc=False):
    """The counts of one inference, with the API's own names; one that is null is 0."""

    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_input_tokens: _Count = 0
    cache_creation_input_tokens: _Count = 0
    cache_creation: CacheWrites | None = None

    @property
    def paid(self) -> tuple[int, int, int, int, int]:
        """Input, cache writes for 5 minutes and for an hour, cache reads, and output.

        Cache writes without a breakdown are for 5 minutes.
        """
        written, breakdown, for_an_hour = self.cache_creation_input_tokens or 0, self.cache_creation, 0
        if breakdown is not None:
            for_an_hour = breakdown.ephemeral_1h_input_tokens or 0
            written = max(written - for_an_hour, breakdown.ephemeral_5m_input_tokens or 0)
        read, output = self.cache_read_input_tokens or 0, self.output_tokens or 0
        return self.input_tokens or 0, written, for_an_hour, read, output


class Iteration(TokenCounts, gc=False):
    """An entry of `usage.iterations`; one without a `model` was made by the model of the message."""

    model: str | None = None


class Usage(TokenCounts, gc=False):
    """`usage` of a message. Where it has `iterations`, their sum is billed, and the counts beside them are not."""

    inference_geo: str | None = None
    server_tool_use: ServerToolUse | None = None
    iterations: list[Iteration] | None = None

    @property
    def web_searches(self) -> int:
        """Searches of the web that are paid for."""
        return 0 if self.server_tool_use is None else self.server_tool_use.web_search_requests or 0


class Group(NamedTuple):
    """Inferences at one rate: by one model, in the US only or anywhere, with prompts of the same length.

    `steps` is that length in tokens, divided by `PROMPT_STEP` and rounded up.
    """

    model: str
    in_us: bool
    steps: int


@dataclass(slots=True)
class Tokens:
    """Tokens by what is paid for them, and searches of the web, which are paid for beside."""

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0
    web_searches: int = 0

    def add(self, given: int, written: int, for_an_hour: int, read: int, output: int, web_searches: int = 0) -> None:
        """Add what was used, in the order of the fields."""
        self.input += given
        self.cache_write_5m += written
        self.cache_write_1h += for_an_hour
        self.cache_read += read
        self.output += output
        self.web_searches += web_searches


def billed(model: str, usage: Usage, stop_reason: str | None) -> list[tuple[str, TokenCounts]]:
    """The inferences that one message is billed for, each with its model.

    There are none where it was refused before any output.
    """
    counts: list[tuple[str, TokenCounts]] = [(model, usage)]
    if usage.iterations:
        counts = [(entry.model or model, entry) for entry in usage.iterations]
    if stop_reason == "refusal" and not any(one.output_tokens for one in (usage, *(one for _, one in counts))):
        return []
    return counts


def steps_of(prompt: int) -> int:
    """The length of a prompt, as `Group` has it."""
    return min(-(-prompt // PROMPT_STEP), _MOST_STEPS)
