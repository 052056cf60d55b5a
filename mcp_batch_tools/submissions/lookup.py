"""What was sent of a plan before, and so what a call does with each of its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.clock import milliseconds
from mcp_batch_tools.ledger.database import Database, Transaction
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.decide import Blocked, Decision, Done, Mode, Send, decide
from mcp_batch_tools.submissions.reconcile import Reconciled, Unresolved
from mcp_batch_tools.submissions.states import REMEMBERED, Attempt

_CLOCK_MAY_BE_OFF = 2 * 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Prior:
    """What to do with each part, and what that rests on: `history` has the earlier attempts, oldest first."""

    decisions: Sequence[Decision]
    history: Sequence[Attempt] = ()
    unresolved: Mapping[str, Unresolved] | None = None

    @classmethod
    def nothing(cls, plan: Plan, *, allow_duplicate: bool, retry_of: str | None) -> "Prior":
        """For an installation that remembers nothing."""
        mode = Mode(plan.fingerprint, allow_duplicate=allow_duplicate, retry_of=retry_of)
        return cls(decide([part.fingerprint for part in plan.parts], [], mode))

    @property
    def blocked(self) -> Unresolved | None:
        """The first attempt that forbids to send anything, or None."""
        for decision in self.decisions:
            if isinstance(decision, Blocked):
                return (self.unresolved or {}).get(decision.attempt.id, Unresolved(decision.attempt))
        return None

    @property
    def done(self) -> dict[int, Attempt]:
        """The parts that are not to be sent, by number from 0."""
        return {n: decision.attempt for n, decision in enumerate(self.decisions) if isinstance(decision, Done)}

    @property
    def sent_again(self) -> Attempt | None:
        """An earlier attempt whose content would be sent, and paid for, once more."""
        copies = {n: decision.copy for n, decision in enumerate(self.decisions) if isinstance(decision, Send)}
        if all(copy == 1 for copy in copies.values()):
            return None
        created = [attempt for attempt in self.history if attempt.state in {"created", "forgotten"}]
        return created[-1] if created else None


async def look_up(
    client: BatchClient,
    database: Database,
    scope: str,
    plan: Plan,
    reconciled: Reconciled,
    *,
    allow_duplicate: bool,
    retry_of: str | None = None,
) -> Prior:
    """Decide about each part of a plan, after the open attempts were reconciled.

    Raises:
        BatchError: the API's time is needed, and it did not answer.
        LedgerError: the ledger cannot be used.
    """
    read = partial(_history, scope=scope, plan=plan, retry_of=retry_of)
    history, retried = await database.read(read)
    now = milliseconds(client.now())
    if any(_may_be_old(attempt, now) for attempt in history):
        page = await client.list(limit=1)
        if page.api_time is not None:
            await database.write(partial(store.forget_old, scope=scope, api_now=milliseconds(page.api_time)))
            history, retried = await database.read(read)
    mode = Mode(
        plan.fingerprint,
        allow_duplicate=allow_duplicate,
        retry_of=retry_of,
        retried_at=_sent_at(retried) if retried else None,
        hopeless=reconciled.hopeless,
    )
    decisions = decide([part.fingerprint for part in plan.parts], history, mode)
    unresolved = {left.attempt.id: left for left in reconciled.unresolved}
    return Prior(decisions, history, unresolved)


def _sent_at(attempt: Attempt) -> int:
    """By the API's clock where that is known: clocks of several machines cannot be compared."""
    return attempt.time if attempt.api_claimed is None else attempt.api_claimed


def _history(
    transaction: Transaction, scope: str, plan: Plan, retry_of: str | None
) -> tuple[list[Attempt], Attempt | None]:
    same = store.attempts_of_content(transaction, scope, [part.fingerprint for part in plan.parts])
    if retry_of is None:
        return same, None
    known = {attempt.id: attempt for attempt in [*same, *store.attempts_of_retries(transaction, scope, retry_of)]}
    history = sorted(known.values(), key=lambda attempt: attempt.id)
    return history, store.attempt_of_batch(transaction, scope, retry_of)


def _may_be_old(attempt: Attempt, now: int) -> bool:
    created_at = attempt.batch_created_at
    return attempt.state == "created" and created_at is not None and created_at < now - REMEMBERED + _CLOCK_MAY_BE_OFF
