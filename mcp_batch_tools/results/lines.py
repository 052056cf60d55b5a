"""Lines of results: `{"custom_id", "result": {"type", …}}`; see the API reference on retrieving batch results.

A line is read in one of two ways. `decode_line` is for what is counted: it takes the few values that are counted out of
an ordinary line and skips its content. `parse_line` is for what is shown: it parses the whole line. A line that is in
any way unusual is parsed as a whole by both, so that both come to the same outcome.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, get_args

import msgspec
from msgspec import Meta, Struct
from pydantic_core import from_json

from mcp_batch_tools.results.tokens import (
    MOST_TOKENS,
    CacheWrites,
    Iteration,
    ServerToolUse,
    TokenCounts,
    Tokens,
    Usage,
    billed,
)

Outcome = Literal["succeeded", "errored", "canceled", "expired"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Ending = Literal["refused", "cut", "paused"]
Kind = Literal[Outcome, Ending]
"""What results can be asked for by."""
ENDINGS: Mapping[str, Ending] = {
    "refusal": "refused",
    "max_tokens": "cut",
    "model_context_window_exceeded": "cut",
    "pause_turn": "paused",
    "compaction": "paused",
}
"""Results that succeeded, and are yet not the whole answer, by the `stop_reason` that says so."""
STOP_REASONS = frozenset({*ENDINGS, "end_turn", "stop_sequence", "tool_use"})
"""The words that the API documents."""

_BOM = b"\xef\xbb\xbf"
_MOST_DIGITS = 4000
"""Python refuses to make an integer of more than 4,300 digits, which JSON allows."""


class InvalidLine(Exception):
    """A line is not what a line of results must be. The text says which one and why."""


class AnsweredBy(Struct, gc=False):
    """The model that answered, and why it stopped and which tokens it used, where the message tells."""

    model: str
    stop_reason: str | None = None
    usage: Usage | None = None


NO_MESSAGE = AnsweredBy("None")
"""Stands for a message that is missing from a result which says that it succeeded."""


class _Details(Struct, gc=False):
    error_code: str | None = None


class _Cause(Struct, gc=False):
    type: str
    message: str
    details: _Details | None = None


class _ErrorEnvelope(Struct, gc=False):
    error: _Cause


class _Result(Struct, gc=False):
    type: Annotated[str, Meta(min_length=1)]
    message: AnsweredBy | None = None
    error: _ErrorEnvelope | None = None


class LineFacts(Struct, gc=False):
    """What is counted of a line: custom id, outcome, and the model's tokens or the cause of the error."""

    custom_id: Annotated[str, Meta(min_length=1)]
    result: _Result

    @property
    def outcome(self) -> str:
        """How the request ended: an `Outcome`, or a word that this version does not know."""
        return self.result.type

    @property
    def ending(self) -> Ending | None:
        """Why the result is not the whole answer although it succeeded; None where it is, or did not succeed."""
        if self.result.type != "succeeded" or self.result.message is None:
            return None
        return ENDINGS.get(self.result.message.stop_reason or "")

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of the cause of an error."""
        if self.result.error is None:
            return "unknown", ""
        cause = self.result.error.error
        return cause.type or "unknown", cause.message

    @property
    def error_code(self) -> str | None:
        """`details.error_code` of the cause of an error."""
        error = self.result.error if self.result.type == "errored" else None
        details = None if error is None else error.error.details
        return None if details is None else details.error_code


@dataclass(slots=True, eq=False)
class ResultLine:
    """One line with all that it holds: `result` is the object that has the outcome's `type`, known or not."""

    custom_id: str
    outcome: str
    result: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        """The message of the model, empty where there is none."""
        return _object(self.result.get("message"))

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of the cause: it stands inside an envelope inside the result."""
        return str(self._cause.get("type") or "unknown"), str(self._cause.get("message") or "")

    @property
    def _cause(self) -> Mapping[str, Any]:
        error = _object(self.result.get("error"))
        return _object(error.get("error")) or error

    @property
    def usage(self) -> Usage:
        """What the message says was used; what is not a count is 0."""
        told = _object(self.message.get("usage"))
        entries = told.get("iterations")
        return Usage(
            **_token_counts(told),
            inference_geo=_text(told.get("inference_geo")),
            server_tool_use=ServerToolUse(**_counts(ServerToolUse, told.get("server_tool_use"))),
            iterations=[
                Iteration(**_token_counts(_object(entry)), model=_text(_object(entry).get("model")))
                for entry in entries
            ]
            if isinstance(entries, list)
            else None,
        )

    @property
    def tokens(self) -> Tokens:
        """The tokens that are paid for, whichever model used them."""
        tokens = Tokens()
        for _, counts in billed("", self.usage, _text(self.message.get("stop_reason"))):
            tokens.add(*counts.paid)
        return tokens

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The blocks that the content of the message is made of."""
        blocks = self.message.get("content")
        return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []

    @property
    def texts(self) -> list[str]:
        """The text of each text block of the message."""
        return [text for block in self.blocks if isinstance(text := block.get("text"), str)]

    @property
    def facts(self) -> LineFacts:
        """What is counted of it."""
        message, error = None, None
        if self.outcome == "succeeded":
            told = self.message
            message = AnsweredBy(str(told.get("model")), _text(told.get("stop_reason")), self.usage)
        elif self.outcome == "errored":
            details = _Details(_text(_object(self._cause.get("details")).get("error_code")))
            error = _ErrorEnvelope(_Cause(*self.error, details))
        return LineFacts(self.custom_id, _Result(self.outcome, message, error))


_decode = msgspec.json.Decoder(LineFacts).decode


def decode_line(line: bytes, number: int) -> LineFacts:
    """What is counted of one line; `number` counts from 1.

    Raises:
        InvalidLine: it is not JSON, or has no custom id or no outcome.
    """
    try:
        facts = _decode(line)
        if not line.isascii():
            line.decode()  # the decoder does not look at the encoding of what it skips
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return parse_line(line, number).facts
    return facts


def parse_line(line: bytes, number: int) -> ResultLine:
    """Parse one line whole; `number` counts from 1. It may begin with a BOM.

    Raises:
        InvalidLine: it is not JSON, or has no custom id or no outcome.
    """
    line = line.removeprefix(_BOM)
    try:
        parsed = from_json(line, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        parsed = _parsed_patiently(line, number)
    if not isinstance(parsed, dict):
        raise InvalidLine(f"line {number:,} is not an object")
    custom_id, result = parsed.get("custom_id"), parsed.get("result")
    if not isinstance(custom_id, str) or not custom_id:
        raise InvalidLine(f"line {number:,} has no custom_id")
    outcome = result.get("type") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(outcome, str) or not outcome:
        raise InvalidLine(f"line {number:,} has no outcome")
    return ResultLine(custom_id, outcome, result)


def is_blank(line: bytes) -> bool:
    """Whether nothing stands in a line, which is then neither a result nor a mistake."""
    return not line.removeprefix(_BOM).strip()


def _parsed_patiently(line: bytes, number: int) -> Any:
    """The fast parser refuses lone surrogates, deep nesting and long integers, which JSON allows."""

    def refuse(_: str) -> NoReturn:
        raise ValueError

    def integer(digits: str) -> int | float:
        return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)

    try:
        return json.loads(line.decode(), parse_constant=refuse, parse_int=integer)
    except (ValueError, RecursionError):
        raise InvalidLine(f"line {number:,} is not JSON") from None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _token_counts(told: Mapping[str, Any]) -> dict[str, Any]:
    written = CacheWrites(**_counts(CacheWrites, told.get("cache_creation")))
    return {**_counts(TokenCounts, told), "cache_creation": written}


def _counts(kind: type[Struct], told: object) -> dict[str, Any]:
    return {name: _count(_object(told).get(name)) for name in kind.__struct_fields__}


def _count(value: object) -> int:
    return min(value, MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
