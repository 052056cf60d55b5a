"""Adding results up, and checking that they are all the results of a batch."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, field

from mcp_batch_tools.api.models import RequestCounts
from mcp_batch_tools.results.lines import (
    NO_MESSAGE,
    OUTCOMES,
    STOP_REASONS,
    InvalidLine,
    LineFacts,
    decode_line,
    is_blank,
)
from mcp_batch_tools.results.pieces import LineSplitter
from mcp_batch_tools.results.tokens import Group, Tokens, Usage, billed, steps_of

_MOST_ERROR_KINDS = 1000
_MOST_MODELS = 50
_MOST_GROUPS = 500
_MOST_UNKNOWN = 20
_MOST_OTHER_LINES = 100_000
"""As many as a batch can have requests. More lines that no count of the batch covers would only fill the disk."""
_WORD = re.compile("[a-z_]{1,40}", re.ASCII)
_LONGEST_NAME = 100
_LONGEST_MESSAGE = 200
NO_USAGE = Usage()
OTHERS = "others"
"""What is counted together: stop reasons that the API does not document, and kinds of which there are too many."""


@dataclass
class ResultSummary:
    """What the lines seen so far add up to.

    `redact` takes secrets out of the names of models and outcomes and the texts of errors, before they are cut.
    `stop_reasons` are those of the lines that succeeded. Their names, and those of outcomes, can be shown as they are.
    """

    redact: Callable[[str], str] = str
    lines: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    groups: dict[Group, Tokens] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    stop_reasons: Counter[str] = field(default_factory=Counter)
    _models: set[str] = field(default_factory=set)
    _tokens_by_group: dict[tuple[str, bool, int], Tokens] = field(default_factory=dict)

    @property
    def tokens(self) -> dict[str, Tokens]:
        """The tokens of each model."""
        tokens: dict[str, Tokens] = {}
        for group, used in self.groups.items():
            tokens.setdefault(group.model, Tokens()).add(*astuple(used))
        return tokens

    def count(self, line: LineFacts) -> None:
        """Count one line by its outcome, and by its stop reason or error; its tokens are not added."""
        self.lines += 1
        outcome = line.result.type
        if outcome == "succeeded":
            answer = line.result.message
            if answer is not None and (reason := answer.stop_reason):
                self.stop_reasons[reason if reason in STOP_REASONS else OTHERS] += 1
        elif outcome == "errored":
            kind, message = line.error
            cause = (self.redact(kind)[:_LONGEST_NAME], self.redact(message)[:_LONGEST_MESSAGE])
            if cause not in self.errors and len(self.errors) >= _MOST_ERROR_KINDS:
                cause = (OTHERS, "")
            self.errors[cause] += 1
        elif outcome not in OUTCOMES:
            outcome = self.redact(outcome)
            is_word = _WORD.fullmatch(outcome) is not None
            if not is_word or (outcome not in self.outcomes and len(self.outcomes) >= len(OUTCOMES) + _MOST_UNKNOWN):
                outcome = OTHERS
        self.outcomes[outcome] += 1

    @property
    def unknown(self) -> int:
        """How many lines have an outcome that this version does not know."""
        return self.lines - sum(self.outcomes[outcome] for outcome in OUTCOMES)

    def add(self, line: LineFacts) -> None:
        """Count one line, and add what it is billed for to the groups that it belongs to."""
        self.count(line)
        result = line.result
        if result.type == "succeeded":
            answer = result.message or NO_MESSAGE
            usage = answer.usage or NO_USAGE
            in_us = usage.inference_geo == "us"
            searches = 0 if usage.server_tool_use is None else usage.web_searches
            ordinary = usage.iterations is None and answer.stop_reason != "refusal"
            inferences = ((answer.model, usage),) if ordinary else billed(answer.model, usage, answer.stop_reason)
            for model, counts in inferences:
                given, written, for_an_hour, read, output = counts.paid
                group = (model, in_us, steps_of(given + written + for_an_hour + read))
                tokens = self._tokens_by_group.get(group) or self._tokens_of(*group)
                tokens.add(given, written, for_an_hour, read, output, searches)
                searches = 0

    def _tokens_of(self, model: str, in_us: bool, steps: int) -> Tokens:
        name = self.redact(model)[:_LONGEST_NAME]
        if name not in self._models and len(self._models) >= _MOST_MODELS:
            name = OTHERS
        self._models.add(name)
        tokens = self.groups.setdefault(Group(name, in_us, steps), Tokens())
        if len(self._tokens_by_group) < _MOST_GROUPS:
            self._tokens_by_group[model, in_us, steps] = tokens
        return tokens


class ResultValidator:
    """Takes a file in pieces, and checks that it is the whole results of a batch with the counts `expected`.

    A line that is wrong does not end the reading: `problem` says what is wrong with the first one.
    """

    def __init__(self, expected: RequestCounts, redact: Callable[[str], str] = str) -> None:
        self.summary = ResultSummary(redact)
        self.problem: InvalidLine | None = None
        self._expected = expected
        self._total = expected.total
        self._seen: set[int] = set()
        self._number = 0
        self._left_out = 0
        self._splitter = LineSplitter()

    @property
    def rest(self) -> bytes:
        """The line that is not complete yet."""
        return self._splitter.rest

    def feed(self, piece: bytes) -> list[bytes]:
        """The results that are complete now: no blank line, and none that is wrong or was there before.

        Raises:
            InvalidLine: a line is too long to be one, or there are far too many.
        """
        return self._checked(self._splitter.feed(piece))

    def finish(self) -> list[bytes]:
        """The last result, where it has no newline."""
        return self._checked([self.rest] if self.rest else [])

    def verify(self) -> None:
        """Check the whole: what was fed must be all results of the batch and nothing else.

        A result that the counts of the batch lack may be one with an outcome that this version does not know.

        Raises:
            InvalidLine: it is not.
        """
        summary = self.summary
        if self.problem is not None:
            read = f"{summary.lines:,} of the {self._total:,} results can be read"
            raise InvalidLine(f"{self.problem}; {read}")
        missing = 0
        for outcome in OUTCOMES:
            found, expected = summary.outcomes[outcome], getattr(self._expected, outcome)
            missing += expected - found
            if found > expected or missing > summary.unknown:
                raise InvalidLine(f"the file holds {found:,} {outcome} results, and the batch has {expected:,}")

    def _checked(self, lines: list[bytes]) -> list[bytes]:
        summary, seen = self.summary, self._seen
        left_out: set[int] = set()
        for number, raw in enumerate(lines, self._number + 1):
            try:
                line = decode_line(raw, number)
            except InvalidLine as error:
                left_out.add(number)
                if not is_blank(raw):
                    self.problem = self.problem or error
                continue
            # The hash is keyed anew in each process: that two ids of a batch share one by chance or by design is out
            # of the question, and it takes a fourth of the memory.
            identity = hash(line.custom_id)
            if identity in seen:
                left_out.add(number)
                self.problem = self.problem or InvalidLine(f"line {number:,} has a custom_id that was there before")
                continue
            seen.add(identity)
            summary.add(line)
        first = self._number + 1
        self._number += len(lines)
        self._count_others(len(left_out))
        return [line for number, line in enumerate(lines, first) if number not in left_out] if left_out else lines

    def _count_others(self, left_out: int) -> None:
        """Raises `InvalidLine` where lines that no request can have led to come without end."""
        self._left_out += left_out
        excess = self.summary.lines - self.summary.unknown - self._total
        if excess > 0 and self.problem is None:
            self.problem = InvalidLine(f"there are more lines than the {self._total:,} requests of the batch")
        if self._left_out + self.summary.unknown + max(excess, 0) > _MOST_OTHER_LINES:
            raise InvalidLine("there are far more lines than requests")
