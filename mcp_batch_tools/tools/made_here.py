"""What this installation knows of batches that it created, for those who only look."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.tools.app import App

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.database import Transaction
    from mcp_batch_tools.submissions.states import Attempt

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


async def batches_labelled(app: App, label: str) -> set[str]:
    """The ids of the batches that were created here with this label.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not app.remembers:
        return set()
    from mcp_batch_tools.submissions import store

    scope = await app.scope()
    await reconcile_open(app, scope)
    return await app.ledger.read(lambda transaction: store.batches_labelled(transaction, scope, label))


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
