"""Checking requests for what the API refuses, at once or hours later, and putting all of it into few sentences."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from pydantic_core import from_json

MOST_TOKENS = 128_000
"""`max_tokens` that the largest model takes; smaller ones take less, which is theirs to say."""
MOST_TOKENS_EXTENDED = 300_000
EXTENDED_OUTPUT = "output-300k-2026-03-24"
"""The beta under which `MOST_TOKENS_EXTENDED` holds."""

STRICT_SINCE = "2026-10-21"
"""The version of the API from which on some parameters of older ones are refused."""
GONE = ("temperature", "top_p", "top_k")

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z", re.ASCII)
_LONGEST_MODEL = 256
_NUMBERS = 3
_KINDS_LISTED = 20
_KINDS_KEPT = 1000


class InvalidRequest(Exception):
    """A request cannot be read. The text says why."""


class Problems:
    """What is wrong, grouped by kind, with the numbers of the first few requests that have it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[int]]] = {}
        self._plain: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._kinds or self._plain)

    def add(self, kind: str, number: int) -> None:
        """Count that request `number` has this problem. Each kind must be told in one go for a request."""
        if kind not in self._kinds and len(self._kinds) >= _KINDS_KEPT:
            kind = "something else is wrong"
        count, first = self._kinds.get(kind, (0, []))
        if len(first) < _NUMBERS:
            first.append(number)
        self._kinds[kind] = count + 1, first

    def say(self, problem: str) -> None:
        """A problem of the whole."""
        self._plain.append(problem)

    def sentences(self, unit: str) -> list[str]:
        """One for each kind; `unit` is what the numbers count."""
        said = [f"{_numbers(unit, *where)}: {kind}" for kind, where in self._kinds.items()]
        others = len(said) - _KINDS_LISTED
        if others > 0:
            said[_KINDS_LISTED:] = [f"and {others} other {'kind' if others == 1 else 'kinds'} of problems"]
        return self._plain + said


def _numbers(unit: str, count: int, first: list[int]) -> str:
    if count == 1:
        return f"{unit} {first[0]}"
    named = [str(number) for number in first]
    last = f"{count - len(first)} more" if count > len(first) else named.pop()
    return f"{unit}s {', '.join(named)} and {last}"


def parse(raw: bytes) -> Any:
    """Parse the JSON of one request.

    Raises:
        InvalidRequest: it is not JSON.
    """
    try:
        return from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return _parsed_patiently(raw)


def _parsed_patiently(raw: bytes) -> Any:
    """The fast parser refuses lone surrogates and deep nesting, which JSON allows."""

    def refuse(_: str) -> NoReturn:
        raise ValueError

    if b"\0" in raw:
        raise InvalidRequest("there are NUL bytes in it")
    try:
        return json.loads(raw.decode(), parse_constant=refuse)
    except UnicodeDecodeError:
        raise InvalidRequest("it is not UTF-8") from None
    except RecursionError:
        raise InvalidRequest("it is nested too deeply") from None
    except ValueError:
        raise InvalidRequest("it is not JSON") from None


class RequestChecker:
    """Checks requests for one version of the API with these betas."""

    def __init__(self, anthropic_version: str, betas: Collection[str]) -> None:
        self._strict = anthropic_version >= STRICT_SINCE  # versions are dates
        self._most_tokens = MOST_TOKENS_EXTENDED if EXTENDED_OUTPUT in betas else MOST_TOKENS

    def problems(self, request: Any) -> Iterator[str]:
        """The kinds of problems that a parsed request has; the same one may come more than once."""
        if not isinstance(request, dict):
            yield "it is no object"
            return
        if len(request) > 2 or not request.keys() <= {"custom_id", "params"}:
            for key in request.keys() - {"custom_id", "params"}:
                yield f"`{_shown(key)}` does not belong beside `custom_id` and `params`"
        custom_id = request.get("custom_id")
        if "custom_id" not in request:
            yield "`custom_id` is missing"
        elif not isinstance(custom_id, str) or not _CUSTOM_ID.match(custom_id):
            yield "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"
        params = request.get("params")
        if "params" not in request:
            yield "`params` is missing"
        elif not isinstance(params, dict):
            yield "`params` is no object"
        else:
            yield from self._of_params(params)

    def _of_params(self, params: dict[str, Any]) -> Iterator[str]:
        model = params.get("model")
        if "model" not in params:
            yield "`model` is missing"
        elif not isinstance(model, str) or not 0 < len(model) <= _LONGEST_MODEL or not model.isprintable():
            yield "`model` is no name of a model"
        tokens = params.get("max_tokens")
        if "max_tokens" not in params:
            yield "`max_tokens` is missing"
        elif type(tokens) is not int:  # `true` is no number here
            yield "`max_tokens` is no whole number"
        elif tokens < 1:
            yield "`max_tokens` is less than 1"
        elif tokens > MOST_TOKENS_EXTENDED:
            yield f"`max_tokens` is more than {MOST_TOKENS_EXTENDED:,}"
        elif tokens > self._most_tokens:
            yield f"`max_tokens` is more than {MOST_TOKENS:,}, which needs the beta {EXTENDED_OUTPUT}"
        stream = params.get("stream")
        if stream is not None and stream is not False:
            yield "`stream` is not possible in a batch"
        if "speed" in params:
            yield "`speed` is not possible in a batch"
        if self._strict:
            for name in GONE:
                if name in params:
                    yield f"`{name}` is refused by version {STRICT_SINCE} of the API and later ones"
        messages = params.get("messages")
        if "messages" not in params:
            yield "`messages` is missing"
        elif not isinstance(messages, list):
            yield "`messages` is no list"
        elif not messages:
            yield "`messages` is empty"
        else:
            for message in messages:
                yield from self._of_message(message)

    def _of_message(self, message: Any) -> Iterator[str]:
        if not isinstance(message, dict):
            yield "a message is no object"
            return
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            yield "the role of a message is neither `user` nor `assistant`"
        if "content" not in message:
            yield "a message has no `content`"
        elif isinstance(content, list):
            if not content:
                yield "the `content` of a message is empty"
            for block in content:
                yield from self._of_block(role, block)
        elif not isinstance(content, str):
            yield "the `content` of a message is neither a string nor a list of blocks"

    def _of_block(self, role: Any, block: Any) -> Iterator[str]:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str):
            yield "a block of content is no object with a `type`"
        elif kind == "text":
            if not isinstance(block.get("text"), str):
                yield "a text block has no `text`"
            if self._strict and role == "user" and block.get("citations"):
                yield f"`citations` on a text block of the user are refused by version {STRICT_SINCE} and later ones"
        elif kind == "document" and self._strict and role == "assistant":
            yield f"a document in a message of the assistant is refused by version {STRICT_SINCE} and later ones"


def _shown(key: str) -> str:
    """A key of the user's, short and printable."""
    return ascii(key[:40])[1:-1]
