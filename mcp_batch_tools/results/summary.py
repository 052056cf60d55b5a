"""Adding results up, and checking that they are all the results of a batch."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mcp_batch_tools.api.models import RequestCounts
from mcp_batch_tools.results.lines import NO_MESSAGE, OUTCOMES, InvalidLine, LineFacts, LineSplitter, decode_line
from mcp_batch_tools.results.tokens import Tokens

_MOST_ERROR_KINDS = 1000
_MOST_MODELS = 50
_LONGEST_NAME = 100
_LONGEST_MESSAGE = 200
OTHERS = "others"
"""What errors and models are counted as where there are too many kinds of them to tell apart."""


@dataclass
class ResultSummary:
    """What the lines seen so far add up to.

    `redact` takes secrets out of the names of models and the texts of errors, before they are cut.
    """

    redact: Callable[[str], str] = str
    lines: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, Tokens] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    _tokens_by_model: dict[str, Tokens] = field(default_factory=dict)

    def count(self, line: LineFacts) -> None:
        """Count one line by its outcome, and by its error where it has one; its tokens are not added."""
        self.lines += 1
        outcome = line.result.type
        self.outcomes[outcome] += 1
        if outcome == "errored":
            kind, message = line.error
            cause = (self.redact(kind)[:_LONGEST_NAME], self.redact(message)[:_LONGEST_MESSAGE])
            if cause not in self.errors and len(self.errors) >= _MOST_ERROR_KINDS:
                cause = (OTHERS, "")
            self.errors[cause] += 1

    def add(self, line: LineFacts) -> None:
        """Count one line, and add its tokens to those of the model that answered."""
        self.count(line)
        result = line.result
        if result.type == "succeeded":
            answer = result.message or NO_MESSAGE
            tokens = self._tokens_by_model.get(answer.model) or self._tokens_of(answer.model)
            if usage := answer.usage:
                tokens.add_usage(usage)

    def _tokens_of(self, model: str) -> Tokens:
        name = self.redact(model)[:_LONGEST_NAME]
        if name not in self.tokens and len(self.tokens) >= _MOST_MODELS:
            name = OTHERS
        tokens = self.tokens.setdefault(name, Tokens())
        if len(self._tokens_by_model) < _MOST_MODELS:
            self._tokens_by_model[model] = tokens
        return tokens


class ResultValidator:
    """Takes a file in pieces, and checks that it is the whole results of a batch with the counts `expected`."""

    def __init__(self, expected: RequestCounts, redact: Callable[[str], str] = str) -> None:
        self.summary = ResultSummary(redact)
        self._expected = expected
        self._total = expected.total
        self._seen: set[int] = set()
        self._splitter = LineSplitter()

    @property
    def rest(self) -> bytes:
        """The line that is not complete yet."""
        return self._splitter.rest

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now.

        Raises:
            InvalidLine: one is not what it must be, its custom id was there before, or there are too many.
        """
        lines = self._splitter.feed(piece)
        self._check(lines)
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where it has no newline; then the counts must be those of the batch.

        Raises:
            InvalidLine: they are not.
        """
        last = [self.rest] if self.rest else []
        self._check(last)
        for outcome in OUTCOMES:
            found, expected = self.summary.outcomes[outcome], getattr(self._expected, outcome)
            if found != expected:
                raise InvalidLine(f"the file holds {found:,} {outcome} results, and the batch has {expected:,}")
        return last

    def _check(self, lines: list[bytes]) -> None:
        summary, seen = self.summary, self._seen
        for raw in lines:
            line = decode_line(raw, summary.lines + 1)
            # The hash is keyed anew in each process: that two ids of a batch share one by chance or by design is out
            # of the question, and it takes a fourth of the memory.
            identity = hash(line.custom_id)
            if identity in seen:
                raise InvalidLine(f"line {summary.lines + 1:,} has a custom_id that was there before")
            seen.add(identity)
            summary.add(line)
            if summary.lines > self._total:
                raise InvalidLine(f"there are more lines than the {self._total:,} requests of the batch")
