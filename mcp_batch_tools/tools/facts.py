"""What a question names: the facts that its words are made of, and that a consent holds for."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mcp_batch_tools.api.models import MessageBatch


@dataclass(frozen=True)
class DeleteFacts:
    """What a question about a delete names: the batch, the counts of its requests by state, and its results.

    `created_at` is in seconds since 1970. `saved_to` is a file that holds all results, with its hash; `save_to` is
    where they are saved before the batch is deleted.
    """

    message_batch_id: str
    created_at: int
    counts: dict[str, int]
    saved_to: str | None = None
    saved_sha256: str | None = None
    save_to: str | None = None

    @property
    def subject(self) -> str:
        """What the question is about: the batch."""
        return self.message_batch_id

    def covers(self, now: "DeleteFacts") -> bool:
        """Whether a consent to these facts is one to the facts as they are now: only where nothing has changed."""
        return self == now

    def describes(self, batch: MessageBatch) -> bool:
        """Whether the batch is still as it was named. The counts of one that has ended cannot move."""
        return (self.message_batch_id, self.created_at) == _identity(batch) and (
            self.counts == batch.request_counts.model_dump()
        )


@dataclass(frozen=True)
class CancelFacts:
    """What a question about a cancellation names: the batch, and of its `counts` by state the sum, since they move.

    `created_at` is in seconds since 1970.
    """

    message_batch_id: str
    created_at: int
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All requests of the batch."""
        return sum(self.counts.values())

    @property
    def subject(self) -> str:
        """What the question is about: the batch."""
        return self.message_batch_id

    def covers(self, now: "CancelFacts") -> bool:
        """Whether a consent to these facts is one to the facts as they are now: the same batch of as many requests."""
        named, found = (self.message_batch_id, self.created_at, self.total), (now.message_batch_id, now.created_at)
        return named == (*found, now.total)

    def describes(self, batch: MessageBatch) -> bool:
        """Whether the batch is still as it was named."""
        return (self.message_batch_id, self.created_at, self.total) == (*_identity(batch), batch.request_counts.total)


@dataclass(frozen=True)
class CreateFacts:
    """What a question about a create names: the plan, its price, and when its content was sent before.

    `parts` batches are to be created. `max_cost_usd` is a decimal number, or None where a price is unknown. `sent_on`
    is in milliseconds, and belongs to the batch `sent_as`. `not_included` names what may cost more than that.
    """

    plan_fingerprint: str
    requests: int
    parts: int
    max_cost_usd: str | None
    prices_of: str
    input_tokens_by: str
    sent_on: int | None = None
    sent_as: str | None = None
    not_included: Sequence[str] = ()

    @property
    def subject(self) -> str:
        """What the question is about: the requests, by their fingerprint."""
        return self.plan_fingerprint

    def covers(self, now: "CreateFacts") -> bool:
        """Whether a consent to these facts is one to the facts as they are now.

        It is for the same requests, sent before as the same batch, where they do not cost more, nor an unknown amount
        instead of a known one.
        """
        if (self.plan_fingerprint, self.sent_as) != (now.plan_fingerprint, now.sent_as) or now.parts > self.parts:
            return False
        if self.max_cost_usd is None:
            return True
        return now.max_cost_usd is not None and Decimal(now.max_cost_usd) <= Decimal(self.max_cost_usd)


def _identity(batch: MessageBatch) -> tuple[str, int]:
    return batch.id, int(batch.created_at.timestamp())


def delete_facts(
    batch: MessageBatch, *, saved_to: str | None, saved_sha256: str | None, save_to: str | None
) -> DeleteFacts:
    """What is asked about the delete of this batch."""
    return DeleteFacts(*_identity(batch), batch.request_counts.model_dump(), saved_to, saved_sha256, save_to)


def cancel_facts(batch: MessageBatch) -> CancelFacts:
    """What is asked about the cancellation of this batch."""
    return CancelFacts(*_identity(batch), batch.request_counts.model_dump())
