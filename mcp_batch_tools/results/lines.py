"""Checking results line by line as they pass, and adding up what they hold.

A line is `{"custom_id", "result": {"type", …}}`; see the API reference on retrieving batch results.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from pydantic_core import from_json

from mcp_batch_tools.api.models import RequestCounts
from mcp_batch_tools.results.tokens import Tokens

Outcome = Literal["succeeded", "errored", "canceled", "expired"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

LONGEST_LINE = 32 * 1024 * 1024
"""Bytes. The longest answer of a model is a few of them; a stream without line breaks must not fill the memory."""

_MOST_ERROR_KINDS = 1000
_MOST_MODELS = 50
_LONGEST_NAME = 100
_LONGEST_MESSAGE = 200
_MOST_TOKENS = 10**12
OTHERS = "others"
"""What errors and models are counted as where there are too many kinds of them to tell apart."""


class InvalidLine(Exception):
    """A line is not what a line of results must be. The text says which one and why."""


@dataclass(slots=True, eq=False)  # not frozen: that doubles the time it takes to make one
class ResultLine:
    """One line: `result` is the object that holds the outcome's `type`, `raw` the line without its line break."""

    raw: bytes
    custom_id: str
    outcome: Outcome
    result: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        """The message of the model, empty where there is none."""
        return _object(self.result.get("message"))

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of the cause: it stands inside an envelope inside the result."""
        error = _object(self.result.get("error"))
        cause = _object(error.get("error")) or error
        return str(cause.get("type") or "unknown"), str(cause.get("message") or "")

    @property
    def tokens(self) -> Tokens:
        """What was used. Cache writes without a breakdown count as those of 5 minutes."""
        usage = _object(self.message.get("usage"))
        by_time = _object(usage.get("cache_creation"))
        for_an_hour = _count(by_time.get("ephemeral_1h_input_tokens"))
        by_time_in_all = for_an_hour + _count(by_time.get("ephemeral_5m_input_tokens"))
        written = max(_count(usage.get("cache_creation_input_tokens")), by_time_in_all)
        return Tokens(
            input=_count(usage.get("input_tokens")),
            cache_write_5m=written - for_an_hour,
            cache_write_1h=for_an_hour,
            cache_read=_count(usage.get("cache_read_input_tokens")),
            output=_count(usage.get("output_tokens")),
        )

    @property
    def text(self) -> str:
        """The text blocks of the message, one after the other."""
        blocks = self.message.get("content")
        texts = [block.get("text") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
        return "\n".join(text for text in texts if isinstance(text, str))


def parse(line: bytes, number: int) -> ResultLine:
    """Parse one line; `number` counts from 1.

    Raises:
        InvalidLine: it is not JSON, or has no custom id or no outcome that is known.
    """
    try:
        parsed = from_json(line, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        parsed = _parsed_patiently(line, number)
    if not isinstance(parsed, dict):
        raise InvalidLine(f"line {number:,} is no object")
    custom_id, result = parsed.get("custom_id"), parsed.get("result")
    if not isinstance(custom_id, str) or not custom_id:
        raise InvalidLine(f"line {number:,} has no custom_id")
    outcome = result.get("type") if isinstance(result, dict) else None
    if not isinstance(result, dict) or outcome not in OUTCOMES:
        raise InvalidLine(f"line {number:,} has no outcome that is known")
    return ResultLine(line, custom_id, outcome, result)


def _parsed_patiently(line: bytes, number: int) -> Any:
    """The fast parser refuses lone surrogates and deep nesting, which JSON allows."""

    def refuse(_: str) -> NoReturn:
        raise ValueError

    try:
        return json.loads(line.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        raise InvalidLine(f"line {number:,} is not JSON") from None


@dataclass
class ResultSummary:
    """What the lines seen so far add up to."""

    lines: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, Tokens] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, line: ResultLine) -> None:
        """Count one line."""
        self.lines += 1
        self.outcomes[line.outcome] += 1
        if line.outcome == "succeeded":
            model = str(line.message.get("model"))[:_LONGEST_NAME]
            if model not in self.tokens and len(self.tokens) >= _MOST_MODELS:
                model = OTHERS
            self.tokens.setdefault(model, Tokens()).add(line.tokens)
        elif line.outcome == "errored":
            kind, message = line.error
            known = (kind[:_LONGEST_NAME], message[:_LONGEST_MESSAGE])
            if known not in self.errors and len(self.errors) >= _MOST_ERROR_KINDS:
                known = (OTHERS, "")
            self.errors[known] += 1


class LineSplitter:
    """Takes a file in pieces of any size and gives out its lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    @property
    def rest(self) -> bytes:
        """What came after the last line break."""
        return b"".join(self._parts)

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now, without their line breaks.

        Raises:
            InvalidLine: one is too long to be one.
        """
        self._length += len(piece)
        if b"\n" not in piece:
            self._parts.append(piece)
            lines: list[bytes] = []
        else:
            lines = b"".join([*self._parts, piece]).split(b"\n")
            last = lines.pop()
            self._parts, self._length = [last], len(last)
        if self._length > LONGEST_LINE:
            raise InvalidLine(f"a line is longer than {LONGEST_LINE:,} bytes")
        return lines


class ResultValidator:
    """Takes a file in pieces, and checks that it is the whole results of a batch with these counts."""

    def __init__(self, expected: RequestCounts) -> None:
        self.tally = ResultSummary()
        self._expected = expected
        self._seen: set[int] = set()
        self._splitter = LineSplitter()

    @property
    def rest(self) -> bytes:
        """The line that is not complete yet."""
        return self._splitter.rest

    def feed(self, piece: bytes) -> Iterator[ResultLine]:
        """The lines that are complete now.

        Raises:
            InvalidLine: one is not what it must be, its custom id was there before, or there are too many.
        """
        for line in self._splitter.feed(piece):
            yield self._checked(line)

    def finish(self) -> Iterator[ResultLine]:
        """The last line, where it has no newline; then the counts must be those of the batch.

        Raises:
            InvalidLine: they are not.
        """
        if last := self.rest:
            yield self._checked(last)
        for outcome in OUTCOMES:
            found, expected = self.tally.outcomes[outcome], getattr(self._expected, outcome)
            if found != expected:
                raise InvalidLine(f"the file holds {found:,} {outcome} results, and the batch has {expected:,}")

    def _checked(self, line: bytes) -> ResultLine:
        parsed = parse(line, self.tally.lines + 1)
        # The hash is keyed anew in each process: that two ids of a batch share one by chance or by design is out of
        # the question, and it takes a fourth of the memory.
        identity = hash(parsed.custom_id)
        if identity in self._seen:
            raise InvalidLine(f"line {self.tally.lines + 1:,} has a custom_id that was there before")
        self._seen.add(identity)
        self.tally.add(parsed)
        if self.tally.lines > self._expected.total:
            raise InvalidLine(f"there are more lines than the {self._expected.total:,} requests of the batch")
        return parsed


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return min(value, _MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
