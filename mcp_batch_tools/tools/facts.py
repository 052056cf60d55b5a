"""What a question names: the facts that its words are made of, and that a consent holds for."""

from dataclasses import dataclass

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

    def describes(self, batch: MessageBatch) -> bool:
        """Whether the batch is still as it was named."""
        return (self.message_batch_id, self.created_at, self.total) == (*_identity(batch), batch.request_counts.total)


@dataclass(frozen=True)
class CreateFacts:
    """What a question about a create names: the plan, its price, and when its content was sent before.

    `parts` batches are to be created. `max_cost_usd` is a decimal number, or None where a price is unknown. `sent_on`
    is in milliseconds, and belongs to the batch `sent_as`.
    """

    plan_fingerprint: str
    requests: int
    parts: int
    max_cost_usd: str | None
    prices_of: str
    input_tokens_by: str
    sent_on: int | None = None
    sent_as: str | None = None


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
