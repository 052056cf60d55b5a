"""What requests use and cost. The prices are typed in from the API's price page of autumn 2026."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from zlib import crc32

_PRICES: dict[str, tuple[str, str, str]] = {
    "claude-fable-5-2": ("4", "20", "0.10"),
    "claude-mythos-5-2": ("4", "20", "0.10"),
    "claude-fable-5-1": ("5", "25", "0.125"),
    "claude-opus-5-5": ("2", "10", "0.10"),
    "claude-opus-5": ("2.50", "12.50", "0.25"),
    "claude-opus-4-8": ("2.50", "12.50", "0.25"),
    "claude-opus-4-7": ("2.50", "12.50", "0.25"),
    "claude-opus-4-6": ("2.50", "12.50", "0.25"),
    "claude-opus-4-5": ("2.50", "12.50", "0.25"),
    "claude-sonnet-5-5": ("1", "5", "0.05"),
    "claude-sonnet-5": ("1", "5", "0.10"),
    "claude-haiku-5-5": ("0.05", "0.25", "0.005"),
    "claude-haiku-4-5": ("0.50", "2.50", "0.05"),
}
"""USD per million tokens in a batch: input, output, and read from the cache."""
_LONG_PROMPT, _TIMES_LONG = 100_000, 5
"""Longer prompts of Haiku 5.5 cost five times as much."""
_WRITTEN_5M, _WRITTEN_1H = Decimal("1.25"), 2
_IN_US = Decimal("1.1")
_BEFORE_REGIONS = ("claude-opus-4-5", "claude-haiku-4-5")
_SMALL_IMAGES = (*_BEFORE_REGIONS, "claude-opus-4-6", "claude-sonnet-4-6")
_A_SEARCH = Decimal(10) / 1000
_PAGE_BYTES, _PAGE_TOKENS = 3000, 1500
_LINKED_TOKENS = 40_000
_COUNTED = ("system", "messages", "tools", "output_config")


class Input(NamedTuple):
    """The input of one request in tokens, by what is paid for them, and what else decides about its price."""

    given: int = 51
    written_5m: int = 0
    written_1h: int = 0
    read: int = 0
    geo: str | None = None
    web_searches: int = 0

    def usage(self) -> dict[str, object]:
        """The part of the `usage` of a message that tells it."""
        searches = {"web_search_requests": self.web_searches, "web_fetch_requests": 0}
        return {
            "input_tokens": self.given,
            "cache_creation_input_tokens": self.written_5m + self.written_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
            "inference_geo": self.geo,
            "server_tool_use": searches if self.web_searches else None,
        }


def input_tokens(params: Mapping[str, Any]) -> int:
    """Tokens of input: four characters of text a token, images and documents by rules of the sandbox's own."""
    held = 0

    def text_of(value: Any) -> Any:
        nonlocal held
        if isinstance(value, list):
            return [text_of(one) for one in value]
        if not isinstance(value, dict):
            return value
        source = value.get("source")
        if isinstance(source, dict) and source.get("type") in {"base64", "url", "file"}:
            data = str(source.get("data") or "")
            if value.get("type") == "image":
                most = 1_600 if str(params.get("model")).startswith(_SMALL_IMAGES) else 4_784
                held += min(most, 50 + crc32(repr(source).encode()) % 10_000)
            else:
                held += (len(data) * 3 // 4 // _PAGE_BYTES + 1) * _PAGE_TOKENS if data else _LINKED_TOKENS
            return value | {"source": {}}
        return {name: text_of(one) for name, one in value.items()}

    counted = text_of({name: params[name] for name in _COUNTED if name in params})
    return len(json.dumps(counted)) // 4 + 1 + held


def input_of(params: Mapping[str, Any], custom_id: str) -> Input:
    """The input of a request. What may be cached is written, read, or neither, as chance and the custom id have it."""
    tokens = input_tokens(params)
    tools = params.get("tools") or ()
    searches = sum(str(tool.get("type")).startswith("web_search") for tool in tools if isinstance(tool, dict))
    spelled = json.dumps(params)
    cached = '"cache_control":' in spelled and crc32(custom_id.encode()) % 3
    geo = params.get("inference_geo")
    if cached == 1:
        return Input(0, 0, 0, tokens, geo, searches)
    if cached == 2:
        for_an_hour = tokens if '"1h"' in spelled else 0
        return Input(0, tokens - for_an_hour, for_an_hour, 0, geo, searches)
    return Input(tokens, geo=geo, web_searches=searches)


def cost_of(message: Mapping[str, Any]) -> Decimal:
    """USD for one message of the results.

    Raises:
        KeyError: the sandbox has no price for its model.
    """
    usage = message["usage"]
    entries = usage.get("iterations") or [usage]
    if message.get("stop_reason") == "refusal" and not any(entry["output_tokens"] for entry in entries):
        return Decimal(0)
    cost = Decimal(0)
    for entry in entries:
        model = entry.get("model") or message["model"]
        of_input, of_output, of_read = (Decimal(price) for price in _PRICES[model])
        written = entry["cache_creation"]
        short, long = written["ephemeral_5m_input_tokens"], written["ephemeral_1h_input_tokens"]
        given, read = entry["input_tokens"], entry["cache_read_input_tokens"]
        dollars = of_input * (given + _WRITTEN_5M * short + _WRITTEN_1H * long)
        dollars += of_read * read + of_output * entry["output_tokens"]
        if model == "claude-haiku-5-5" and given + short + long + read > _LONG_PROMPT:
            dollars *= _TIMES_LONG
        if usage.get("inference_geo") == "us" and not model.startswith(_BEFORE_REGIONS):
            dollars *= _IN_US
        cost += dollars / 1_000_000
    return cost + ((usage.get("server_tool_use") or {}).get("web_search_requests") or 0) * _A_SEARCH
