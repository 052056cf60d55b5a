"""A batch and its states, all derived from a clock: nothing runs in the background."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from math import gcd
from typing import Literal, overload

from mcp_batch_tools.sandbox.billing import Input

Outcome = Literal["succeeded", "errored", "canceled", "expired"]
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "errored", "canceled", "expired")

_SHORT = Input()
EXPIRES_AFTER = timedelta(hours=24)
ARCHIVED_AFTER = timedelta(days=29)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as far as its result depends on it: what it will come to if nothing stops it before."""

    custom_id: str
    model: str
    outcome: Outcome = "succeeded"
    error: tuple[str, str] | None = None
    """Type and message of the error that an errored request comes to."""
    stop_reason: str = "end_turn"
    input: Input = _SHORT
    text_characters: int = 120
    max_tokens: int = 128_000


class GeneratedRequests(Sequence[Request]):
    """Any number of requests in no memory: `counts` of each outcome, their results `text_characters` long."""

    def __init__(self, counts: dict[Outcome, int], *, model: str, text_characters: int) -> None:
        self._outcomes = list(counts)
        self._bounds = list(accumulate(counts.values()))
        self._model = model
        self._text_characters = text_characters

    def __len__(self) -> int:
        return self._bounds[-1] if self._bounds else 0

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Request]: ...
    def __getitem__(self, index: int | slice) -> Request | Sequence[Request]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        outcome = next(outcome for outcome, bound in zip(self._outcomes, self._bounds, strict=True) if index < bound)
        return Request(f"request-{index + 1}", self._model, outcome, text_characters=self._text_characters)


@dataclass
class Batch:
    """One batch. `processing_seconds` is how long it takes when it is left alone."""

    id: str
    requests: Sequence[Request]
    created_at: datetime
    processing_seconds: float
    canceling_seconds: float
    cancel_initiated_at: datetime | None = None
    raw_results: Callable[[], Iterable[bytes]] | None = None

    @property
    def _finish(self) -> datetime:
        return self.created_at + timedelta(seconds=self.processing_seconds)

    @property
    def expires_at(self) -> datetime:
        """When what has not been processed expires."""
        return self.created_at + EXPIRES_AFTER

    @property
    def _end(self) -> datetime:
        if self.cancel_initiated_at is not None:
            return min(self.cancel_initiated_at + timedelta(seconds=self.canceling_seconds), self.expires_at)
        return min(self._finish, self.expires_at)

    def ended_at(self, now: datetime) -> datetime | None:
        """When it ended, where it has."""
        return self._end if now >= self._end else None

    def archived_at(self, now: datetime) -> datetime | None:
        """When its results were removed, where they have been."""
        archived = self.created_at + ARCHIVED_AFTER
        return archived if now >= archived else None

    def status(self, now: datetime) -> str:
        """`in_progress`, `canceling` or `ended`."""
        if self.ended_at(now):
            return "ended"
        return "canceling" if self.cancel_initiated_at else "in_progress"

    def outcome(self, index: int) -> Outcome:
        """What a request came to, once the batch has ended: they are processed evenly, in their order."""
        share = (index + 1) / len(self.requests)
        processed = self.created_at + timedelta(seconds=self.processing_seconds * share)
        if self.cancel_initiated_at is not None and processed > self.cancel_initiated_at:
            return "canceled" if self._end < self.expires_at else "expired"
        return "expired" if processed > self.expires_at else self.requests[index].outcome

    def counts(self, now: datetime) -> dict[str, int]:
        """Requests by state. The outcomes stay 0 until the whole batch has ended, as they do at the API."""
        counts: dict[str, int] = dict.fromkeys(("processing", *OUTCOMES), 0)
        if not self.ended_at(now):
            counts["processing"] = len(self.requests)
            return counts
        if self._counted is None:
            self._counted = counts
            for index in range(len(self.requests)):
                counts[self.outcome(index)] += 1
        return dict(self._counted)

    _counted: dict[str, int] | None = None

    def as_json(self, now: datetime, base_url: str) -> dict[str, object]:
        """The MessageBatch object: all ten keys, in the API's order."""
        ended = self.ended_at(now)
        readable = ended is not None and self.archived_at(now) is None
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status(now),
            "request_counts": self.counts(now),
            "ended_at": _text(ended),
            "created_at": _text(self.created_at),
            "expires_at": _text(self.expires_at),
            "archived_at": _text(self.archived_at(now)),
            "cancel_initiated_at": _text(self.cancel_initiated_at),
            "results_url": f"{base_url}/v1/messages/batches/{self.id}/results" if readable else None,
        }

    def in_result_order(self) -> Iterator[int]:
        """The numbers of all requests in an order that is not theirs, as results come."""
        total = len(self.requests)
        step = next(step for step in (7, 11, 13, 17, 19, 23, 29, 31, 1) if gcd(step, total) == 1)
        return (-number * step % total for number in range(1, total + 1))  # the first one last


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="microseconds")
