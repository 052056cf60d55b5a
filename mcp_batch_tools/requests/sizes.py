"""How large the input of requests is, by a rule of thumb: for what nobody has counted."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from msgspec import Struct

BYTES_A_TOKEN = 3.0
"""Of ASCII. English has four, so it errs to the dear side, as it does for all else, where every byte may be a token."""
ASCII = bytes(range(128))
TOKENS_AN_IMAGE = 1_600
"""At most, for models before `_LARGE_IMAGES_SINCE`."""
TOKENS_A_LARGE_IMAGE = 4_784
"""At most, for later ones."""
BYTES_A_TOKEN_OF_DOCUMENTS = 2.0
"""Of a PDF: one that is nothing but text has 3 kB a page, which are 1,500 tokens and more."""
MOST_TOKENS = 1_000_000
"""Of one request, for the models with the longest context; more is refused, and costs nothing."""

_SERVER_TOOLS = ("web_search", "web_fetch", "code_execution", "advisor")
_ADDING = ("compaction", "container", "context_management", "mcp_servers")
"""Parameters by which a request comes to cost something that its size does not tell."""
_LARGE_IMAGES_SINCE = (4, 7)
_BRACKET = 20_000
"""Requests are added up by their size in steps of so many tokens, as a long prompt may be charged at another rate."""
_DEEPEST = 5
"""Levels of content inside content in which attachments are looked for."""
_BASE64 = 0.75
_LAST_PAGE = 1_500
"""Tokens of a page that may have less than its share of the bytes."""

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?![\d.])")
_NEWEST = (99, 0)

Attached = Literal["", "images", "documents"]
Written = Literal["", "5m", "1h"]


def version_of(model: str) -> tuple[int, int]:
    """The version of a model by its name: (4, 6) for `claude-opus-4-6`. A name that does not tell is the newest one."""
    found = _VERSION.match(model)
    return _NEWEST if found is None else (int(found[1]), int(found[2] or 0))


class Kind(NamedTuple):
    """What requests must have in common to be estimated together.

    These are what is attached (documents, also beside images), the cache that may be written to, and the region.
    """

    attached: Attached
    written: Written
    in_us: bool = False


TEXT_ONLY = Kind(attached="", written="")


class Size(Struct, frozen=True, gc=False):
    """The input of one request: tokens of text and documents, and a number of images.

    Where it may write to a cache, all of it at most is written. `adding` names the parameters by which it may come to
    cost more.
    """

    kind: Kind
    text: float
    images: int = 0
    adding: tuple[str, ...] = ()

    def tokens(self, tokens_an_image: int) -> float:
        """All of it, where an image has so many tokens."""
        return min(self.text + self.images * tokens_an_image, MOST_TOKENS)


@dataclass(slots=True)
class SizeSum:
    """Requests of one kind and of about the same size: sums of their tokens of input and of `max_tokens`.

    `largest` is the size of the largest one.
    """

    requests: int = 0
    tokens: float = 0
    max_tokens: int = 0
    largest: float = 0


@dataclass(slots=True)
class ModelPlan:
    """What is asked of one model, by kind and bracket of size.

    `adding` names tools and parameters that cost more than is known before.
    """

    tokens_an_image: int
    sums: dict[tuple[Kind, int], SizeSum] = field(default_factory=lambda: defaultdict(SizeSum))
    adding: set[str] = field(default_factory=set)

    def add(self, max_tokens: int, size: Size, tools: Any) -> None:
        """Count one request, and the `tools` of its `params`, if it has any."""
        tokens = size.tokens(self.tokens_an_image) if size.images else size.text
        held = self.sums[size.kind, int(tokens // _BRACKET)]
        held.requests += 1
        held.tokens += tokens
        held.max_tokens += max_tokens
        if tokens > held.largest:
            held.largest = tokens
        if size.adding:
            self.adding.update(size.adding)
        if tools is not None:
            self.adding.update(_server_tools(tools))

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(held.requests for held in self.sums.values())

    @property
    def max_tokens(self) -> int:
        """The sum of `max_tokens`."""
        return sum(held.max_tokens for held in self.sums.values())


def plan_of(model: str) -> ModelPlan:
    """An empty plan for one model."""
    return ModelPlan(TOKENS_A_LARGE_IMAGE if version_of(model) >= _LARGE_IMAGES_SINCE else TOKENS_AN_IMAGE)


def size_of_input(params: dict[str, Any], content: bytes) -> Size:
    """The size of one request; `content` is the canonical JSON of its `params`."""
    contents = [message["content"] for message in params["messages"]]
    adding = tuple(name for name in _ADDING if params.get(name))
    return size_of_contents(contents, content, in_us=params.get("inference_geo") == "us", adding=adding)


def size_of_contents(contents: list[Any], content: bytes, *, in_us: bool = False, adding: tuple[str, ...] = ()) -> Size:
    """The size of one request, of whose messages these are the `contents`; any that is a mere string may be left out.

    `content` is the canonical JSON of all its `params`.
    """
    found = _Attachments()
    for blocks in contents:
        if isinstance(blocks, list):
            found.look_into(blocks, 0)
    written: Written = ""
    # Quotes inside a text are escaped, so this finds only a key.
    if b'"cache_control":' in content:
        written = "1h" if b'"1h"' in content else "5m"
    attached: Attached = "documents" if found.documents else "images" if found.images else ""
    text = tokens_of_text(content) - found.as_text + found.documents
    return Size(Kind(attached, written, in_us), min(text, MOST_TOKENS), found.images, adding)


def tokens_of_text(content: bytes) -> float:
    """What is in JSON that holds nothing but text."""
    if content.isascii():
        return len(content) / BYTES_A_TOKEN
    others = len(content.translate(None, ASCII))
    return others + (len(content) - others) / BYTES_A_TOKEN


@dataclass(slots=True)
class _Attachments:
    """What is no text: how many tokens it would be if it were, the number of images, and the tokens of documents."""

    as_text: float = 0
    images: int = 0
    documents: float = 0

    def look_into(self, content: list[Any], level: int) -> None:
        for block in content:
            if not isinstance(block, dict) or level > _DEEPEST:
                continue
            source = block.get("source")
            if isinstance(source, dict):
                data = source.get("data")
                size = 0
                if source.get("type") == "base64" and isinstance(data, str):
                    size = len(data)
                    self.as_text += tokens_of_text(data.encode(errors="replace"))
                if block.get("type") == "image":
                    self.images += 1
                elif source.get("type") == "base64":
                    self.documents += size * _BASE64 / BYTES_A_TOKEN_OF_DOCUMENTS + _LAST_PAGE
                elif source.get("type") in {"url", "file"}:
                    self.documents += MOST_TOKENS  # nothing is known of it
            for inner in (source, block):  # a document of blocks, the result of a tool
                if isinstance(inner, dict) and isinstance(inner.get("content"), list):
                    self.look_into(inner["content"], level + 1)


def _server_tools(tools: Any) -> list[str]:
    """The names of those that the API runs, which have fees or results that are paid for."""
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [name for kind in kinds for name in _SERVER_TOOLS if kind.startswith(name)]
