"""Which batch an attempt made whose answer was lost: the whole of reconciling, without any I/O.

All times are in milliseconds, by the clock of the API.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mcp_batch_tools.submissions.states import ABSENT_AFTER, CLOCK_OFF, WINDOW_AFTER, WINDOW_BEFORE, Attempt


@dataclass(frozen=True)
class Listed:
    """A batch as the list shows it, or as a receipt of its deletion remembers it."""

    id: str
    created_at: int
    requests: int


@dataclass(frozen=True)
class Listing:
    """The list of batches, newest first, as far as it was read. `now` is the API's time of its first page.

    `deleted` are batches that this installation deleted, which a list does not show any more.
    """

    batches: Sequence[Listed]
    reached_end: bool
    now: int | None
    deleted: Sequence[Listed] = ()

    def covers(self, attempt: Attempt) -> bool:
        """Whether every batch that the attempt can have made would be in it."""
        if self.reached_end or any(batch.id == attempt.newest_before for batch in self.batches):
            return True
        earliest = _earliest(attempt)
        return bool(self.batches) and earliest is not None and self.batches[-1].created_at < earliest


@dataclass(frozen=True)
class Ours:
    """What else the ledger knows: attempts of the same size that are not known for good, and batches that are taken."""

    rivals: Collection[Attempt]
    owned: Collection[str]


@dataclass(frozen=True)
class Found:
    """One batch fits, and nothing else of ours can have made it."""

    batch: Listed


@dataclass(frozen=True)
class Absent:
    """Surely no batch was made."""


@dataclass(frozen=True)
class Unclear:
    """It cannot be told now. `candidates` are the batches that fit."""

    candidates: tuple[Listed, ...]


Verdict = Found | Absent | Unclear


def match(attempt: Attempt, listing: Listing, ours: Ours) -> Verdict:
    """What became of a sent attempt whose sender has stopped; also asked again of one whose batch was `found`."""
    fitting = _fitting(attempt, listing)
    unowned = [batch for batch in fitting if batch.id not in ours.owned]
    if not listing.covers(attempt):
        return Unclear(tuple(unowned))
    if len(unowned) == 1 and not any(may_have_made(rival, unowned[0]) for rival in ours.rivals):
        return Found(unowned[0])
    near = [batch for batch in _near(attempt, listing) if batch.id not in ours.owned]
    if not unowned and near:
        return Unclear(tuple(near))
    held = {rival.message_batch_id for rival in ours.rivals if rival.evidence == "found"}
    if not unowned and not any(batch.id in held for batch in fitting) and is_past(attempt, listing.now):
        return Absent()
    return Unclear(tuple(unowned))


def within_window(attempt: Attempt, batch: Listed) -> bool:
    """Whether the attempt can have made the batch, by its size and time."""
    earliest = _earliest(attempt)
    if earliest is None or batch.requests != attempt.requests or batch.id in attempt.refuted:
        return False
    if batch.id == attempt.newest_before or batch.created_at < (attempt.newest_created_at or 0):
        return False
    return earliest <= batch.created_at and (
        attempt.api_sent is None or batch.created_at <= attempt.api_sent + WINDOW_AFTER
    )


def may_have_made(rival: Attempt, batch: Listed) -> bool:
    """Whether a batch may be a rival's, whose time is bounded by its machine's clock where the API told none."""
    if rival.api_claimed is not None:
        return within_window(rival, batch)
    if batch.requests != rival.requests or batch.id in rival.refuted or batch.created_at < rival.time - CLOCK_OFF:
        return False
    return rival.state == "claimed" or batch.created_at <= rival.lease_expires_at + WINDOW_AFTER + CLOCK_OFF


def is_past(attempt: Attempt, api_now: int | None) -> bool:
    """Whether it is so late that its batch would be in the list. Without the API's time nothing is."""
    return api_now is not None and attempt.api_sent is not None and api_now >= attempt.api_sent + ABSENT_AFTER


def _newer(attempt: Attempt, listing: Listing) -> list[Listed]:
    """What the list shows above the newest batch that there was before."""
    newer = []
    for batch in listing.batches:
        if batch.id == attempt.newest_before:
            break
        newer.append(batch)
    return newer


def _near(attempt: Attempt, listing: Listing) -> list[Listed]:
    """Batches that would fit if the `Date` that the claim went by was wrong by up to a day.

    A gateway or a cache can tell a wrong one, and nothing may be called absent for it.
    """
    earliest = _earliest(attempt)
    if earliest is None:
        return []
    shown = attempt.newest_before is None or any(batch.id == attempt.newest_before for batch in listing.batches)
    since = max(attempt.newest_created_at or 0, earliest - CLOCK_OFF if shown else earliest)
    until = (earliest if attempt.api_sent is None else attempt.api_sent) + WINDOW_AFTER + CLOCK_OFF
    return [
        batch
        for batch in _newer(attempt, listing)
        if batch.requests == attempt.requests and batch.id not in attempt.refuted and since <= batch.created_at <= until
    ]


def _fitting(attempt: Attempt, listing: Listing) -> list[Listed]:
    newer = _newer(attempt, listing)
    known = {batch.id: batch for batch in [*listing.deleted, *newer]}  # a deletion under way is in both
    return [batch for batch in known.values() if within_window(attempt, batch)]


def _earliest(attempt: Attempt) -> int | None:
    return None if attempt.api_claimed is None else attempt.api_claimed - WINDOW_BEFORE
