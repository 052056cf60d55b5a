"""What a call does with each part of a plan, decided from what the ledger knows, without any I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcp_batch_tools.submissions.states import Attempt

_HELD = frozenset({"claimed", "sent", "created", "forgotten"})


@dataclass(frozen=True)
class Mode:
    """How a plan is to be sent.

    With `allow_duplicate`, content that was sent before is sent again. `retry_of` is the batch that the requests are
    retried from, and `retried_at` when it was sent (milliseconds, by the API's clock where that is known; None where
    this installation did not create it).
    `hopeless` are the ids of attempts of which waiting will not tell what became.
    """

    plan_fingerprint: str
    allow_duplicate: bool = False
    retry_of: str | None = None
    retried_at: int | None = None
    hopeless: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Send:
    """Send the part, as this copy of its content and in this round of its plan; `abandons` are given up for it."""

    copy: int
    round: int = 0
    abandons: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Done:
    """The part was sent already, and this is its batch."""

    attempt: Attempt


@dataclass(frozen=True)
class Blocked:
    """It is not known what became of this attempt, so nothing may be sent."""

    attempt: Attempt


Decision = Send | Done | Blocked


def decide(parts: Sequence[str], history: Sequence[Attempt], mode: Mode) -> list[Decision]:
    """One decision for each part, by its fingerprint.

    `history` holds every attempt at the content of the parts and, for a retry, every one that retries the same batch,
    oldest first.
    """
    held = [attempt for attempt in history if attempt.state in _HELD]
    if mode.allow_duplicate and (mode.retry_of is not None or _all_created(parts, held)):
        return _each_abandoned_once(_duplicate(parts, held, mode))
    open_retry = next((attempt for attempt in held if _is_open(attempt) and _retries_the_same(attempt, mode)), None)
    if open_retry is not None:
        return [Blocked(open_retry) for _ in parts]
    return [_plain(fingerprint, held, mode) for fingerprint in parts]


def _plain(fingerprint: str, held: Sequence[Attempt], mode: Mode) -> Decision:
    same = [attempt for attempt in held if attempt.fingerprint == fingerprint]
    relevant = [attempt for attempt in same if attempt.state != "forgotten" and _counts(attempt, mode)]
    created = [attempt for attempt in relevant if attempt.state == "created"]
    unknown = [attempt for attempt in relevant if _is_open(attempt)]
    latest = max(relevant, key=lambda attempt: attempt.copy, default=None)
    if latest is None:
        return _send(same, round=0)
    if created and (latest in created or latest.id in mode.hopeless):
        return Done(max(created, key=lambda attempt: attempt.copy))
    if not created and mode.allow_duplicate and all(attempt.id in mode.hopeless for attempt in unknown):
        return _send(same, round=0, abandons=tuple(unknown))
    return Blocked(latest)


def _duplicate(parts: Sequence[str], held: Sequence[Attempt], mode: Mode) -> list[Decision]:
    """Complete the last round of this plan where some of its parts are missing, else begin the next."""
    rounds = [
        attempt
        for attempt in held
        if attempt.plan_fingerprint == mode.plan_fingerprint
        and attempt.retry_of == mode.retry_of
        and attempt.round > 0
        and attempt.state != "forgotten"
    ]
    last = max((attempt.round for attempt in rounds), default=0)
    sent = {attempt.fingerprint: attempt for attempt in rounds if attempt.round == last}
    if all(fingerprint in sent and sent[fingerprint].state == "created" for fingerprint in parts):
        last, sent = last + 1, {}
    return [_in_round(fingerprint, held, sent.get(fingerprint), max(last, 1), mode) for fingerprint in parts]


def _in_round(
    fingerprint: str, held: Sequence[Attempt], already: Attempt | None, round_number: int, mode: Mode
) -> Decision:
    if already is not None and already.state == "created":
        return Done(already)
    same = [attempt for attempt in held if attempt.fingerprint == fingerprint]
    unknown = [other for other in held if _is_open(other) and (other in same or _retries_the_same(other, mode))]
    waited_for = next((attempt for attempt in unknown if attempt.id not in mode.hopeless), None)
    if waited_for is not None:
        return Blocked(waited_for)
    return _send(same, round=round_number, abandons=tuple(unknown))


def _send(same: Sequence[Attempt], *, round: int, abandons: tuple[Attempt, ...] = ()) -> Send:  # noqa: A002
    given_up = {attempt.id for attempt in abandons}
    highest = max((attempt.copy for attempt in same if attempt.id not in given_up), default=0)
    return Send(highest + 1, round, abandons)


def _each_abandoned_once(decisions: Sequence[Decision]) -> list[Decision]:
    """The first part that is sent gives up what stands against it; a later one could not give it up again."""
    once: list[Decision] = []
    given_up: set[str] = set()
    for decision in decisions:
        if isinstance(decision, Send):
            left = tuple(attempt for attempt in decision.abandons if attempt.id not in given_up)
            given_up |= {attempt.id for attempt in left}
            once.append(replace(decision, abandons=left))
        else:
            once.append(decision)
    return once


def _counts(attempt: Attempt, mode: Mode) -> bool:
    """A retry is stopped only by content that was sent as it is since the batch that it retries."""
    if mode.retry_of is None:
        return True
    sent_at = attempt.time if attempt.api_claimed is None else attempt.api_claimed
    return attempt.retry_of is None and sent_at > (mode.retried_at or 0)


def _all_created(parts: Sequence[str], held: Sequence[Attempt]) -> bool:
    created = {attempt.fingerprint for attempt in held if attempt.state == "created"}
    return all(fingerprint in created for fingerprint in parts)


def _retries_the_same(attempt: Attempt, mode: Mode) -> bool:
    return mode.retry_of is not None and attempt.retry_of == mode.retry_of


def _is_open(attempt: Attempt) -> bool:
    return attempt.state in {"claimed", "sent"}
