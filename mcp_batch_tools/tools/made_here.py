"""What this installation knows of batches that it created, for those who only look."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.tools.app import App

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.database import Transaction
    from mcp_batch_tools.submissions.states import Attempt

_MOST_LABELS = 1000
"""Labels that are looked through for another spelling."""
_log = logging.getLogger(__name__)


async def attempts_of_batches(app: App, message_batch_ids: Sequence[str]) -> "dict[str, Attempt]":
    """The attempts that these batches came from, by id; nothing where the ledger cannot be read: looking needs none."""
    if not app.remembers:
        return {}
    from mcp_batch_tools.submissions import store

    def read(transaction: "Transaction", scope: str) -> "dict[str, Attempt]":
        found = ((batch, store.attempt_of_batch(transaction, scope, batch)) for batch in message_batch_ids)
        return {batch: attempt for batch, attempt in found if attempt is not None}

    try:
        scope = await app.scope()
        await reconcile_open(app, scope)
        return await app.ledger.read(partial(read, scope=scope))
    except (LedgerError, BatchError) as error:
        _log.warning("What was created here cannot be told: %s", error)
        return {}


@dataclass(frozen=True)
class Labelled:
    """The `batches` that were created here with a label.

    `taken_as` is the label in the only other spelling that is known, where only that one is. Where none is, `known`
    holds the labels of the newest creates.
    """

    batches: frozenset[str] = frozenset()
    taken_as: str | None = None
    known: Sequence[str] | None = None


async def batches_labelled(app: App, label: str) -> Labelled:
    """The batches that were created here with this label, in whatever case and with whatever signs it is written.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not app.remembers:
        return Labelled(known=[])
    from mcp_batch_tools.submissions import store

    def read(transaction: "Transaction") -> Labelled:
        batches = frozenset(store.batches_labelled(transaction, scope, label))
        if batches:
            return Labelled(batches)
        known = store.labels(transaction, scope, _MOST_LABELS)
        if label in known:
            return Labelled()  # it is not known yet which batches these are
        alike = [other for other in known if _letters(other) == _letters(label)]
        if len(alike) != 1:
            return Labelled(known=alike or known)
        return Labelled(frozenset(store.batches_labelled(transaction, scope, alike[0])), taken_as=alike[0])

    scope = await app.scope()
    await reconcile_open(app, scope)
    return await app.ledger.read(read)


def _letters(label: str) -> str:
    return "".join(letter for letter in label.casefold() if letter.isalnum()) or label


async def reconcile_open(app: App, scope: str) -> None:
    """Find out what became of creates whose answer was lost, where there are any. Raises `BatchError`."""
    from mcp_batch_tools.submissions import store
    from mcp_batch_tools.submissions.reconcile import reconcile

    if await app.ledger.read(lambda transaction: store.open_attempts(transaction, scope)):
        await reconcile(app.client, app.ledger, scope)


async def reconcile_before_delete(app: App) -> None:
    """Find out what became of lost creates while their batches can be seen; what fails stays open, and is logged.

    The receipt of the delete counts as well, so nothing depends on it.
    """
    try:
        if app.remembers:
            await reconcile_open(app, await app.scope())
    except (LedgerError, BatchError) as error:
        _log.warning("What was created here cannot be told: %s", error)
