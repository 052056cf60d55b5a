"""The states of an attempt to create one batch, and how long each thing may take. All times are in milliseconds.

claimed      a sender holds it, and not all of the body has left, so the API cannot have acted
sent         the last piece may have left; the answer is awaited, or was lost
created      the batch is known: see `Evidence`
not_created  surely none
abandoned    never found out, and the user said to send again
forgotten    older than results last; its hashes are dropped

See docs/submissions.md for the arrows between them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["claimed", "sent", "created", "not_created", "abandoned", "forgotten"]
Evidence = Literal["answered", "found", "sole", "confirmed"]
"""How a batch is known: the API answered; it alone fits so far (provisional); it alone fitted until no other could
appear; or its results hold our custom ids and models."""

_MINUTE = 60_000

LEASE_PIECE = 5 * _MINUTE
"""While a piece of the body is on its way. The write timeout of the HTTP client is shorter."""
LEASE_ANSWER = 11 * _MINUTE
"""While the answer is awaited. The HTTP client waits 10."""
LONGEST_HANDOVER = _MINUTE
"""Between writing `sent` and handing over the last piece; after that it is not handed over."""
WINDOW_BEFORE = _MINUTE
"""How much earlier than the claim a batch may seem to be created."""
WINDOW_AFTER = 60 * _MINUTE
"""How late after the sending a batch may be created."""
ABSENT_AFTER = 71 * _MINUTE
"""Of API time, after the sending: 11 for the answer, and 60 for lists that lag and work that comes late."""
CLOCK_OFF = 24 * 60 * _MINUTE
"""How far the clock of a machine may be from that of the API."""
REMEMBERED = 29 * 24 * 60 * _MINUTE
"""Content is known again as long as results last."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to create one batch: `part` of `parts` (from 0), with so many `requests`.

    `copy` numbers attempts at the same content that count, and `seq` those at retrying the same batch. `round` is 0 for
    the plain sending of a plan, and 1 and more for its duplicates. `newest_before` is the newest batch that the list
    showed before; `api_claimed` is the API's time of that list, and `api_sent` the API's time of the last piece.
    `refuted` are batches that fit and turned out to be others'.
    """

    id: str
    version: int
    state: State
    evidence: Evidence | None
    time: int
    scope: str
    plan_fingerprint: str
    round: int
    fingerprint: str
    copy: int
    part: int
    parts: int
    requests: int
    retry_of: str | None
    seq: int | None
    label: str | None
    estimate_usd: str | None
    newest_before: str | None
    newest_created_at: int | None
    api_claimed: int | None
    api_sent: int | None
    lease_expires_at: int
    message_batch_id: str | None
    batch_created_at: int | None
    refuted: frozenset[str]
    models: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Attempt":
        """The attempt that a row of the ledger holds."""
        facts = {key: row[key] for key in row.keys()}  # noqa: SIM118  a row of SQLite iterates over its values
        refuted, models = json.loads(facts.pop("refuted")), json.loads(facts.pop("models"))
        return cls(**facts, refuted=frozenset(refuted), models=tuple(models))

    def lease_is_over(self, now: int) -> bool:
        """Whether its sender has surely stopped, at `now` by the clock of this machine.

        A lease that ends more than its own length from now was written by another clock, and is over.
        """
        longest = LEASE_PIECE if self.state == "claimed" else LEASE_ANSWER
        return not now < self.lease_expires_at <= now + longest

    def waiting_will_not_tell(self, now: int, api_now: int | None) -> bool:
        """Whether it is too late for the list to tell what became of it; `now` is by the clock of this machine."""
        if self.api_sent is None:
            return now >= self.lease_expires_at + WINDOW_AFTER
        if api_now is not None:
            return api_now >= self.api_sent + ABSENT_AFTER
        # The lease may have been written by a clock that is as far off as this one, in the other direction.
        return now >= self.lease_expires_at + WINDOW_AFTER + 2 * CLOCK_OFF
