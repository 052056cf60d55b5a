"""Checking requests for what the API refuses, at once or hours later. This is the rule; see `ordinary.py`."""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from mcp_batch_tools.requests.blocks import STRICT_SINCE, block_problems
from mcp_batch_tools.requests.ordinary import LONGEST_MODEL, CheckedRequest, OrdinaryChecker
from mcp_batch_tools.requests.parsing import InvalidRequest, canonical, parse_strictly, shown
from mcp_batch_tools.requests.sizes import size_of_input

MOST_TOKENS = 128_000
"""`max_tokens` that the largest model takes; smaller ones take less, which is theirs to say."""
MOST_TOKENS_EXTENDED = 300_000
EXTENDED_OUTPUT = "output-300k-2026-03-24"
"""The beta under which `MOST_TOKENS_EXTENDED` holds."""

GONE = ("temperature", "top_p", "top_k")

_FOREIGN = (
    ({"custom_id", "url", "body"}, "OpenAI's"),
    ({"recordId", "modelInput"}, "Bedrock's"),
    ({"key", "request"}, "Gemini's"),
    ({"request"}, "Gemini's"),
)
"""Keys by which a line for another service is known."""

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)


class Refused(NamedTuple):
    """A request that did not pass: the kinds of problems that it has, and its id where one can be read."""

    custom_id: str | None
    problems: list[str]


class RequestChecker:
    """Checks requests for one version of the API with these betas.

    `check_ordinary` gives the request where it is surely right, and else None, for `check_strictly` to look at.
    """

    def __init__(self, anthropic_version: str, betas: Collection[str]) -> None:
        self._strict = anthropic_version >= STRICT_SINCE  # versions are dates
        self._most_tokens = MOST_TOKENS_EXTENDED if EXTENDED_OUTPUT in betas else MOST_TOKENS
        self.check_ordinary = OrdinaryChecker(self._most_tokens, strict=self._strict).check

    def check_strictly(self, raw: bytes) -> CheckedRequest | Refused:
        """The request, or everything that is wrong with it."""
        try:
            request = parse_strictly(raw)
        except InvalidRequest as error:
            return Refused(None, [str(error)])
        found = sorted(set(self._of_request(request)))
        custom_id = request.get("custom_id") if isinstance(request, dict) else None
        if found:
            return Refused(custom_id if isinstance(custom_id, str) else None, found)
        params = request["params"]
        content = canonical(params)
        size = size_of_input(params, content)
        return CheckedRequest(
            request["custom_id"], params["model"], params["max_tokens"], content, size, params.get("tools")
        )

    def _of_request(self, request: Any) -> Iterator[str]:
        """The kinds of problems that a parsed request has; the same one may come more than once."""
        if not isinstance(request, dict):
            yield "it is not an object"
            return
        for names, whose in _FOREIGN:
            if names <= request.keys():
                yield f"this is {whose} batch format; here a request is an object of `custom_id` and `params`"
                return
        if len(request) > 2 or not request.keys() <= {"custom_id", "params"}:
            for key in request.keys() - {"custom_id", "params"}:
                yield f"`{shown(key)}` does not belong beside `custom_id` and `params`"
        custom_id = request.get("custom_id")
        if "custom_id" not in request:
            yield "`custom_id` is missing"
        elif not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            yield "`custom_id` is not 1 to 64 letters, digits, `_` and `-`"
        params = request.get("params")
        if "params" not in request:
            yield "`params` is missing"
        elif not isinstance(params, dict):
            yield "`params` is not an object"
        else:
            yield from self._of_params(params)

    def _of_params(self, params: dict[str, Any]) -> Iterator[str]:
        model = params.get("model")
        if "model" not in params:
            yield "`model` is missing"
        elif not _is_model(model):
            yield "`model` is not the name of a model"
        tokens = params.get("max_tokens")
        if "max_tokens" not in params:
            yield "`max_tokens` is missing"
        elif type(tokens) is not int:  # `true` is not a number here
            yield "`max_tokens` is not an integer"
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
            yield "`messages` is not a list"
        else:
            yield from self._of_messages(messages)

    def _of_messages(self, messages: list[Any]) -> Iterator[str]:
        if not messages:
            yield "`messages` is empty"
        for message in messages:
            yield from self._of_message(message)

    def _of_message(self, message: Any) -> Iterator[str]:
        if not isinstance(message, dict):
            yield "a message is not an object"
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
                yield from block_problems(role, block, strict=self._strict)
        elif not isinstance(content, str):
            yield "the `content` of a message is neither a string nor a list of blocks"


def _is_model(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_MODEL and name.isprintable()
