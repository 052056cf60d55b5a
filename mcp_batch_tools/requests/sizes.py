"""How large the input of requests is, by a rule of thumb: for what nobody has counted."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from msgspec import Struct

BYTES_A_TOKEN = 3.0
"""Of text. English has four, so it errs to the dear side."""
TOKENS_AN_IMAGE = 1_600
BYTES_A_TOKEN_OF_DOCUMENTS = 2.0
"""Of a PDF: one that is nothing but text has 3 kB a page, which are 1,500 tokens and more."""
MOST_TOKENS = 1_000_000
"""Of one request, for the models with the longest context; more is refused, and costs nothing."""

_FEES = ("web_search", "web_fetch", "code_execution")
_DEEPEST = 5
"""Levels of content inside content in which attachments are looked for."""
_BASE64 = 0.75
_SCALARS = frozenset({str, int, float, bool})

Written = Literal["", "5m", "1h"]


class Kind(NamedTuple):
    """What requests must have in common to be estimated together: attachments, and the cache they may write to."""

    attached: bool
    written: Written


TEXT_ONLY = Kind(attached=False, written="")


class Size(Struct, frozen=True, gc=False):
    """Tokens of the input of one request; where it may write to a cache, all of them at most are written."""

    kind: Kind
    tokens: float


@dataclass(slots=True)
class ModelPlan:
    """What is asked of one model: sums of `max_tokens`, and of the tokens of input by kind, see `size_of_input`.

    `fees` says whether a tool may be used that costs more than tokens.
    """

    requests: int = 0
    max_tokens: int = 0
    tokens: dict[Kind, float] = field(default_factory=lambda: defaultdict(float))
    fees: bool = False

    def add(self, max_tokens: int, size: Size, tools: Any) -> None:
        """Count one request, and the `tools` of its `params`, if it has any."""
        self.requests += 1
        self.max_tokens += max_tokens
        self.tokens[size.kind] += size.tokens
        if tools is not None and not self.fees:
            self.fees = _has_fees(tools)


def is_text_only(params: dict[str, Any]) -> bool:
    """Whether there is nothing but text in it: messages that are a string, and parameters that have no parts."""
    return all(
        all(isinstance(message["content"], str) for message in value) if name == "messages" else type(value) in _SCALARS
        for name, value in params.items()
    )


def size_of_input(params: dict[str, Any], content: bytes) -> Size:
    """The size of one request; `content` is the canonical JSON of its `params`."""
    if is_text_only(params):
        return Size(TEXT_ONLY, tokens_of_text(len(content)))
    return size_of_contents([message["content"] for message in params["messages"]], content)


def size_of_contents(contents: list[Any], content: bytes) -> Size:
    """The size of one request, of whose messages these are the contents; those that are a mere string may be left out.

    `content` is the canonical JSON of all its `params`.
    """
    text = len(content)  # with the few bytes of the other parameters
    attached = 0.0
    for blocks in contents:
        if isinstance(blocks, list):
            taken, tokens = _attached(blocks, 0)
            text -= taken
            attached += tokens
    written: Written = ""
    # Quotes inside a text are escaped, so this finds only a key or a whole string.
    if b'"cache_control"' in content:
        written = "1h" if b'"1h"' in content else "5m"
    return Size(Kind(attached > 0, written), min(text / BYTES_A_TOKEN + attached, MOST_TOKENS))


def tokens_of_text(length: int) -> float:
    """What is in so many bytes of JSON that hold nothing but text."""
    return min(length / BYTES_A_TOKEN, MOST_TOKENS)


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
            elif source.get("type") == "base64":
                tokens += size * _BASE64 / BYTES_A_TOKEN_OF_DOCUMENTS
            elif source.get("type") in {"url", "file"}:
                tokens += MOST_TOKENS  # nothing is known of it
        for inner in (source, block):  # a document of blocks, the result of a tool
            if isinstance(inner, dict) and isinstance(inner.get("content"), list):
                more, of_more = _attached(inner["content"], level + 1)
                taken += more
                tokens += of_more
    return taken, tokens


def _has_fees(tools: Any) -> bool:
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return any(isinstance(kind, str) and kind.startswith(_FEES) for kind in kinds)
