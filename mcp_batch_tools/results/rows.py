"""Rows of a page of results: what is shown of a line, without secrets, and with the text of strangers between marks."""

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mcp_batch_tools.api.untrusted import Boundary, change_texts, quote_name, quote_untrusted
from mcp_batch_tools.results.lines import (
    OUTCOMES,
    STOP_REASONS,
    Kind,
    LineFacts,
    ResultLine,
    parse_line,
)
from mcp_batch_tools.results.summary import ResultSummary

_MOST_BYTES = 14_000
"""UTF-8 bytes of all rows of a page. A token is at least one byte, so with the groups of errors and what stands around
them the answer is below 25,000 tokens whatever the text is."""
_SHORTER = ((1_000, False), (300, False), (300, True), (60, True), (0, True))
"""What a row alone on its page is cut to until it fits: characters of each text, and whether blocks are left out."""
_MOST_ERROR_KINDS = 5
_MOST_BLOCKS = 8
_LONGEST_ERROR = 500
_LONGEST_NAME = 60
_LONGEST_TOOL_RESULT = 200
_BLOBS = frozenset({"data", "encrypted_content", "encrypted_index", "encrypted_stdout"})
"""Keys of what a tool answers that nobody can read."""
_ERROR_TYPE = re.compile(
    "(invalid_request|authentication|billing|permission|not_found|conflict|rate_limit|timeout|api|overloaded)_error|"
    "request_too_large",
    re.ASCII,
)
"""Words that the API documents are shown as they are; any other is text of a stranger."""


class Row(BaseModel):
    """One result. All of it is data from inside the batch; words that the API documents stand without marks."""

    model_config = ConfigDict(defer_build=True)  # most processes never read a page

    custom_id: str
    outcome: str
    text: str | None = None
    other_blocks: list[str] | None = Field(
        None, description="Content that is not text: kind, what a tool was called with or answered, and size."
    )
    stop_reason: str | None = None
    error: str | None = None


@dataclass
class Page:
    """Rows that fit the question and the size of an answer.

    `redact` takes secrets out of every text before it is cut; `boundary` has the marks that it is shown between.
    """

    _: KW_ONLY
    outcome: Kind | None
    custom_ids: InitVar[Iterable[str] | None]
    limit: int
    max_characters: int
    boundary: Boundary
    redact: Callable[[str], str]
    rows: list[Row] = field(default_factory=list, init=False)

    def __post_init__(self, custom_ids: Iterable[str] | None) -> None:
        self._ids = None if custom_ids is None else set(custom_ids)
        self._bytes = 0

    @property
    def missing(self) -> int:
        """How many of the custom ids asked for have not been found."""
        return len(self._ids or ())

    @property
    def all_found(self) -> bool:
        """Whether results were asked for by their custom ids, and all of them are here."""
        return self._ids is not None and not self._ids

    def accept(self, facts: LineFacts, raw: bytes) -> bool:
        """Take a line where it fits the question; False where there is no room for it. The page must not be full."""
        if (self.outcome and self.outcome != facts.outcome and self.outcome != facts.ending) or (
            self._ids is not None and facts.custom_id not in self._ids
        ):
            return True
        line = parse_line(raw, 0)
        row = self._row(line, self.max_characters)
        size = _size(row)
        for most, bare in _SHORTER:
            if self.rows or size <= _MOST_BYTES:
                break
            row = self._row(line, min(most, self.max_characters), bare=bare)
            size = _size(row)
        if self._bytes + size > _MOST_BYTES:
            return False
        self.rows.append(row)
        self._bytes += size
        if self._ids is not None:
            self._ids.discard(facts.custom_id)
        return True

    def full(self) -> bool:
        """Whether it holds as many rows as were asked for, or all that were asked for by their ids."""
        return len(self.rows) == self.limit or self.all_found

    def _row(self, line: ResultLine, most: int, *, bare: bool = False) -> Row:
        reason = line.message.get("stop_reason")
        others = [block for block in line.blocks if block.get("type") != "text"]
        return Row(
            custom_id=quote_name(self.redact(line.custom_id)),
            outcome=self._word(line.outcome, OUTCOMES),
            text=self._quoted(self._text(line.texts), most) if line.outcome == "succeeded" else None,
            other_blocks=self._other_blocks(others, 0 if bare else _MOST_BLOCKS, most) or None,
            stop_reason=self._word(reason, STOP_REASONS) if isinstance(reason, str) else None,
            error=self._error(*line.error, min(most, _LONGEST_ERROR)) if line.outcome == "errored" else None,
        )

    def _quoted(self, text: str, most: int) -> str:
        return quote_untrusted(self.redact(text), most=most, within=self.boundary)

    def _word(self, word: str, known: Container[str]) -> str:
        return word if word in known else self._quoted(word, _LONGEST_NAME)

    def _text(self, texts: list[str]) -> str:
        clean = [self.redact(text) for text in texts]
        joined = "".join(clean)
        redacted = self.redact(joined)
        # A secret that is spread over blocks must not be shown as two halves.
        return "\n".join(clean) if redacted == joined else redacted

    def _error(self, kind: str, message: str, most: int) -> str:
        if _ERROR_TYPE.fullmatch(kind):
            return f"{kind}: {self._quoted(message, most)}"
        return self._quoted(f"{self.redact(kind)[:_LONGEST_NAME]}: {message}", most)

    def _other_blocks(self, blocks: list[dict[str, Any]], count: int, most: int) -> list[str]:
        """Content that is not text, by kind, name, what it says and size; all but the size between marks."""
        named = []
        for block in blocks[:count]:
            names = (block.get("type"), block.get("name"))
            shown = [self.redact(name)[:_LONGEST_NAME] for name in names if isinstance(name, str)]
            thinking = block.get("thinking")
            if isinstance(thinking, str):
                size = f"{len(thinking):,} characters"
            else:
                size = f"{len(json.dumps(block)):,} bytes"
                shown += self._said(block, most)
            text = " ".join(shown)
            named.append(f"{self._quoted(text, len(text))} ({size})")
        if len(blocks) > count:
            named.append(f"{len(blocks) - count:,} more")
        return named

    def _said(self, block: Mapping[str, Any], most: int) -> list[str]:
        """The input that a tool was called with, or briefly what it answered, as JSON; nothing for other blocks."""
        try:
            if "input" in block:
                said = block["input"]
            elif str(block.get("type")).endswith("tool_result"):
                said, most = _without_blobs(block.get("content")), min(most, _LONGEST_TOOL_RESULT)
            else:
                return []
            text = self.redact(json.dumps(change_texts(said, self.redact), ensure_ascii=False))
        except RecursionError:  # nested more deeply than anybody could read
            return []
        rest = len(text) - most
        return [text[:most] + (f"… ({rest:,} more characters)" if rest > 0 else "")]


def _without_blobs(value: object) -> object:
    match value:
        case dict():
            return {key: _without_blobs(held) for key, held in value.items() if key not in _BLOBS}
        case list():
            return [_without_blobs(member) for member in value]
        case _:
            return value


def grouped_errors(summary: ResultSummary, errored: int, boundary: Boundary) -> str | None:
    """`312 errored: ` and between marks `300 invalid_request_error "max_tokens: …", 12 api_error "…"`.

    `errored` is how many the batch has; where fewer were read, the text says so. None where none was read.
    """
    seen = summary.outcomes["errored"]
    if not seen:
        return None
    groups = summary.errors.most_common()
    parts = [
        f"{count:,} {quote_name(kind)} {quote_untrusted(message, most=80)}".rstrip()
        for (kind, message), count in groups[:_MOST_ERROR_KINDS]
    ]
    if rest := groups[_MOST_ERROR_KINDS:]:
        parts.append(f"{sum(count for _, count in rest):,} of {len(rest):,} other kinds")
    read = f" of the {summary.lines:,} read" if seen < errored else ""
    text = ", ".join(parts)
    return f"{seen:,}{read} errored: {quote_untrusted(text, most=len(text), within=boundary)}"


def _size(row: Row) -> int:
    shown = json.dumps(row.model_dump(exclude_none=True), ensure_ascii=False)
    return len(shown.encode(errors="surrogatepass")) + 8
