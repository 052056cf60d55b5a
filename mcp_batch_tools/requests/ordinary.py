"""Ordinary requests, which are nearly all of them: checked by their types while they are parsed, by a C library.

This may only find that all is well. Whatever it does not know it leaves to `validation.py`, which is the rule and says
what is wrong; a test holds the two against each other.
"""

from operator import attrgetter
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from mcp_batch_tools.requests.blocks import block_problems
from mcp_batch_tools.requests.parsing import MOST_LEVELS, canonical, has_each_key_once, levels_inside
from mcp_batch_tools.requests.sizes import MOST_TOKENS, TEXT_ONLY, Size, size_of_contents, tokens_of_text

LONGEST_MODEL = 256
"""Characters of the name of a model."""

_QUOTES_AROUND = 6
"""Of `custom_id`, its value, and `params`: what a request has around its `params`."""


_BYTES_AROUND = len('{"custom_id":"","params":}')
_SHORTEST_MEMBER = len('"model":"x",')
"""Of those in a request of nothing but model, texts and `max_tokens`. The canonical form of such a request is the
shortest there is: one that is longer by less than this cannot have a key twice, which saves looking for it."""
_LEVELS_AROUND = 3
"""`params`, `messages` and a message are around the content of a message."""


class CheckedRequest(Struct, frozen=True, gc=False):
    """A request that passed. `content` is the canonical JSON of its `params`; `size` is that of its input.

    `tools` is what it has of them, None without any.
    """

    custom_id: str
    model: str
    max_tokens: int
    content: bytes
    size: Size
    tools: Any


class _Message(Struct, forbid_unknown_fields=True, gc=False):
    content: str | list[dict[str, Any]]
    role: Literal["user", "assistant"]


class _Params(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    max_tokens: Annotated[int, Meta(ge=1)]
    messages: Annotated[list[_Message], Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1, max_length=LONGEST_MODEL)]
    service_tier: str | UnsetType = UNSET
    system: str | list[dict[str, Any]] | UnsetType = UNSET

    cache_control: dict[str, Any] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    output_config: dict[str, Any] | UnsetType = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    thinking: dict[str, Any] | UnsetType = UNSET
    tool_choice: dict[str, Any] | UnsetType = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET


class _OlderParams(_Params, kw_only=True):
    """With the parameters that newer versions of the API refuse."""

    temperature: int | float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    top_p: int | float | UnsetType = UNSET


_NESTED = ("cache_control", "metadata", "output_config", "stop_sequences", "thinking", "tool_choice", "tools")
_NUMBERS = ("temperature", "top_k", "top_p")
_nested = attrgetter(*_NESTED)
_NONE_NESTED = (UNSET,) * len(_NESTED)


class _Request(Struct, forbid_unknown_fields=True, gc=False):
    custom_id: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
    params: _Params


class _OlderRequest(Struct, forbid_unknown_fields=True, gc=False):
    custom_id: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
    params: _OlderParams


class OrdinaryChecker:
    """Checks ordinary requests of at most `most_tokens`; `strict` is whether the API refuses what is older."""

    def __init__(self, most_tokens: int, *, strict: bool) -> None:
        self._most_tokens = most_tokens
        self._strict = strict
        optional = ("service_tier", *_NESTED, *(() if strict else _NUMBERS))
        self._optional = attrgetter(*optional)
        self._none_given = (UNSET,) * len(optional)
        self._decode = Decoder[_Request | _OlderRequest](_Request if strict else _OlderRequest).decode

    def check(self, raw: bytes) -> CheckedRequest | None:
        """The request, where it is surely right; None where that takes a closer look."""
        try:
            request = self._decode(raw)
            params = request.params
            content = canonical(params)
        except (ValueError, RecursionError):
            return None
        if params.max_tokens > self._most_tokens or not params.model.isprintable():
            return None
        with_blocks = [message for message in params.messages if type(message.content) is not str]
        has_parts = with_blocks or type(params.system) is list
        bare = not has_parts and self._optional(params) == self._none_given
        surplus = len(raw) - len(content) - len(request.custom_id) - _BYTES_AROUND
        if not (bare and surplus < _SHORTEST_MEMBER) and not has_each_key_once(raw, content, _QUOTES_AROUND):
            return None
        if bare or (not has_parts and _nested(params) == _NONE_NESTED):
            size, tools = Size(TEXT_ONLY, min(tokens_of_text(content), MOST_TOKENS)), None
        elif not self._are_right(with_blocks) or _may_be_too_deep(params, content):
            return None
        else:
            size = size_of_contents([message.content for message in with_blocks], content)
            tools = None if params.tools is UNSET else params.tools
        return CheckedRequest(request.custom_id, params.model, params.max_tokens, content, size, tools)

    def _are_right(self, messages: list[_Message]) -> bool:
        for message in messages:
            for block in message.content:
                if any(block_problems(message.role, block, strict=self._strict)):
                    return False
            if not message.content:
                return False
        return True


def _may_be_too_deep(params: _Params, content: bytes) -> bool:
    if content.count(b"[") + content.count(b"{") <= MOST_LEVELS:
        return False
    found = levels_inside([params.system, *(message.content for message in params.messages), *_nested(params)])
    return found + _LEVELS_AROUND > MOST_LEVELS
