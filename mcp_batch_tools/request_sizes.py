"""How large the input of a request is, by a rule of thumb: for what nobody has counted."""

from dataclasses import dataclass
from typing import Any

BYTES_A_TOKEN = 3.0
"""Of text. English has four, so it errs to the dear side."""
TOKENS_AN_IMAGE = 1_600
TOKENS_A_DOCUMENT = 4_600
"""Of a page: its text and its picture. A document by URL or file id counts as one page, as nothing more is known."""
BYTES_A_TOKEN_OF_DOCUMENTS = 15
"""Of a PDF; most have 50 to 100 kB a page."""

_DEEPEST = 5
"""Levels of content inside content in which attachments are looked for."""
_BASE64 = 0.75


@dataclass(slots=True)
class Size:
    """Tokens of one request: of its input in all, and how many of them at most are written to a cache."""

    tokens: float
    cache_write_5m: bool
    cache_write_1h: bool


def size_of_input(params: dict[str, Any], content: bytes) -> Size:
    """The size of one request; `content` is the canonical JSON of `params`."""
    text = len(content)  # with the few bytes of the other parameters
    extra = 0.0
    for message in params["messages"]:
        if isinstance(message["content"], list):
            taken, tokens = _attached(message["content"], 0)
            text -= taken
            extra += tokens
    # Quotes inside a text are escaped, so this finds only a key or a whole string.
    cached = b'"cache_control"' in content
    hour = cached and b'"1h"' in content
    return Size(text / BYTES_A_TOKEN + extra, cached and not hour, hour)


@dataclass(slots=True)
class ModelPlan:
    """What is asked of one model.

    `max_tokens` is a sum. The others are tokens of input by `size_of_input`: of requests that write to no cache, and of
    those that may write all of theirs to one that is kept for five minutes, or for an hour.
    """

    requests: int = 0
    max_tokens: int = 0
    plain: float = 0
    cache_write_5m: float = 0
    cache_write_1h: float = 0

    def add(self, params: dict[str, Any], content: bytes) -> None:
        """Count one request; `content` is the canonical JSON of its `params`."""
        self.requests += 1
        self.max_tokens += params["max_tokens"]
        size = size_of_input(params, content)
        if size.cache_write_1h:
            self.cache_write_1h += size.tokens
        elif size.cache_write_5m:
            self.cache_write_5m += size.tokens
        else:
            self.plain += size.tokens


def _attached(content: list[Any], level: int) -> tuple[int, float]:
    """Bytes of JSON that are no text, and the tokens of what they hold."""
    taken, tokens = 0, 0.0
    for block in content:
        if not isinstance(block, dict) or level > _DEEPEST:
            continue
        source = block.get("source")
        if isinstance(source, dict):
            data = source.get("data")
            size = len(data) if source.get("type") == "base64" and isinstance(data, str) else 0
            taken += size
            if block.get("type") == "image":
                tokens += TOKENS_AN_IMAGE
            elif source.get("type") in {"base64", "url", "file"}:
                tokens += max(TOKENS_A_DOCUMENT, size * _BASE64 / BYTES_A_TOKEN_OF_DOCUMENTS)
        for inner in (source, block):  # a document of blocks, the result of a tool
            if isinstance(inner, dict) and isinstance(inner.get("content"), list):
                more, of_more = _attached(inner["content"], level + 1)
                taken += more
                tokens += of_more
    return taken, tokens
