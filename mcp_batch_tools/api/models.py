"""What the Message Batches API sends, parsed tolerantly: unknown keys pass, unknown statuses are kept as they are.

Source of the shapes: the API reference for Message Batches and recorded answers of 2024 to 2026.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

RESULTS_LAST = timedelta(days=29)
"""How long results can be read, counted from `created_at`, not from the end."""

MESSAGE_BATCH_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:~-]{0,199}$"
"""Loose, since the format of ids may change; strict enough that an id can never be anything else in a path."""

MessageBatchId = Annotated[
    str, Field(pattern=MESSAGE_BATCH_ID_PATTERN, description="Id of the batch, like msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d.")
]

ProcessingStatus = Literal["in_progress", "canceling", "ended"]


def _plausible(time: datetime) -> datetime:
    """Far from the ends of what a `datetime` can hold, so that adding to it, or another zone, cannot fail."""
    if not 1970 <= time.year <= 2999:
        raise ValueError("Input should be a time between 1970 and 2999")
    return time


Timestamp = Annotated[AwareDatetime, AfterValidator(_plausible)]


class FromApi(BaseModel):
    """What every answer of the API has in common."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    _request_id: str | None = PrivateAttr(None)
    _api_time: datetime | None = PrivateAttr(None)
    _retry_after: float | None = PrivateAttr(None)

    @property
    def request_id(self) -> str | None:
        """The id of the request that this came with, by which Anthropic's support finds it."""
        return self._request_id

    @property
    def api_time(self) -> datetime | None:
        """The time of day by the API's clock, from the `Date` of the answer; None where it has none."""
        return self._api_time

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the API wants to be asked again; None where it does not say."""
        return self._retry_after


class RequestCounts(FromApi):
    """Requests of a batch by state. The four outcomes usually stay 0 until the whole batch has ended."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    _as_promised: bool = PrivateAttr(False)

    @model_validator(mode="wrap")
    @classmethod
    def _remember_what_came(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        counts = handler(data)
        counts._as_promised = isinstance(data, dict) and data.keys() == cls.model_fields.keys()
        return counts

    @property
    def hold_nothing(self) -> bool:
        """Whether no request came to anything: all were canceled or have expired, and no count is unknown."""
        return self._as_promised and 0 < self.total == self.canceled + self.expired

    @property
    def total(self) -> int:
        """All requests of the batch."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class MessageBatch(FromApi):
    """One batch. `processing_status` is a `ProcessingStatus`, or a word that this version does not know."""

    id: str = Field(pattern=MESSAGE_BATCH_ID_PATTERN)
    type: Literal["message_batch"] = "message_batch"
    processing_status: str = Field(max_length=1000)
    request_counts: RequestCounts
    created_at: Timestamp
    expires_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    cancel_initiated_at: Timestamp | None = None
    archived_at: Timestamp | None = None
    results_url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether processing is over. A status that this version does not know counts as not ended."""
        return self.processing_status == "ended"

    @property
    def readable(self) -> bool:
        """Whether its results can be read: it has ended, and the API does not say that they are archived.

        No clock decides it: a wrong one would give up results that are still there.
        """
        return self.ended and self.archived_at is None

    @property
    def results_until(self) -> datetime:
        """When the results stop being readable."""
        return self.created_at + RESULTS_LAST


class MessageBatchPage(FromApi):
    """One page of `list`, newest first. `has_more` speaks of the direction asked for."""

    data: list[MessageBatch]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class DeletedMessageBatch(FromApi):
    """What the API answers to a delete."""

    id: str = Field(pattern=MESSAGE_BATCH_ID_PATTERN)
    type: Literal["message_batch_deleted"]


class CountedTokens(FromApi):
    """What the API answers to counting tokens."""

    input_tokens: int = Field(ge=0)
