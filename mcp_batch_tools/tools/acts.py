"""What this installation remembers, for the tools: receipts around acts that destroy, and results that were saved."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.clock import from_milliseconds, milliseconds
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.results.publishing import sha256_of, size_of
from mcp_batch_tools.tools.answered import use
from mcp_batch_tools.tools.app import App, Caller
from mcp_batch_tools.tools.consent import Granted

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.database import Transaction
    from mcp_batch_tools.ledger.receipts import Action, Outcome
    from mcp_batch_tools.ledger.saved_files import SavedFile

_log = logging.getLogger(__name__)


@dataclass
class Act:
    """An act on its way; what is known of it in the end goes into its receipt."""

    request_id: str | None = None


@asynccontextmanager
async def receipt(
    app: App, caller: Caller, action: "Action", batch: MessageBatch, granted: Granted
) -> AsyncIterator[Act]:
    """Write the intent and use up the consent, let the act happen, write the outcome.

    Where it stays unknown what the act has done (no answer, or the call was given up), the receipt stays open.

    Raises:
        LedgerError: the intent could not be written, so the act has not begun, and the consent is not used up.
        AlreadyAnswered: the consent was used before, so the act has not begun.
    """
    from mcp_batch_tools.ledger.receipts import (
        Intent,
        complete_open_receipts,
        complete_receipt,
        done_at,
        open_receipt,
    )

    intent = Intent(
        scope=await app.scope_to_write(),
        action=action,
        message_batch_id=batch.id,
        batch_created_at=milliseconds(batch.created_at),
        request_counts=batch.request_counts.model_dump(),
        consent=granted.how,
        client=caller.name,
    )

    def begin(transaction: "Transaction") -> str:
        receipt_id = open_receipt(transaction, intent, app.now())
        if granted.question is not None:
            use(transaction, granted.question, action, "granted", app.now(), receipt_id)
        return receipt_id

    receipt_id = await app.ledger.write(begin)
    act = Act()
    try:
        yield act
    except BatchError as error:
        if not error.may_have_acted:
            answered = error if isinstance(error, ApiError | InvalidResponse) else None
            note = f"HTTP {answered.status}" if answered else "nothing was sent"
            request_id = answered.request_id if answered else None

            def failed(transaction: "Transaction") -> None:
                complete_receipt(transaction, receipt_id, "failed", app.now(), note=note, request_id=request_id)

            await _written(app, failed)
        raise

    def done(transaction: "Transaction") -> None:
        if action == "delete" and done_at(transaction, intent.scope, action, batch.id) is not None:
            # Another call has deleted it while this one repeated a delete whose answer was lost.
            complete_receipt(transaction, receipt_id, "failed", app.now(), note="another call did it")
            return
        complete_receipt(transaction, receipt_id, "done", app.now(), request_id=act.request_id)
        complete_open_receipts(transaction, intent, "done", app.now(), done_by=receipt_id)

    await _written(app, done)


async def complete_open_receipts(app: App, action: "Action", message_batch_id: str, outcome: "Outcome") -> bool:
    """Whether this installation began this act before without learning its outcome, which is `outcome` as seen now.

    The receipt is completed with it.
    """
    if not app.remembers:
        return False
    from mcp_batch_tools.ledger import receipts

    try:
        scope = await app.scope()
        intent = receipts.Intent(scope, action, message_batch_id, 0, {}, "", None)
        return await app.ledger.write(
            lambda transaction: receipts.complete_open_receipts(transaction, intent, outcome, app.now())
        )
    except LedgerError as error:
        # It stays open. What is being told does not depend on it, and must not turn into an error for it.
        _log.warning("Open receipts cannot be completed: %s", error)
        return False


async def deleted_here(app: App, message_batch_id: str) -> datetime | None:
    """When this installation deleted a batch; None where its receipts do not say that it did, or cannot be read."""
    if not app.remembers:
        return None
    from mcp_batch_tools.ledger.receipts import done_at

    try:
        scope = await app.scope()
        time = await app.ledger.read(lambda transaction: done_at(transaction, scope, "delete", message_batch_id))
    except LedgerError as error:
        _log.warning("Receipts cannot be read: %s", error)
        return None
    return None if time is None else from_milliseconds(time)


async def saved_results(app: App, message_batch_id: str) -> "SavedFile | None":
    """The latest file that the results were saved to and that is still there, as long as it was; a quick look.

    Where the ledger cannot be read, nothing is known to be saved: looking at a batch does not need it.
    """
    try:
        return next(iter(await _still_there(app, message_batch_id)), None)
    except LedgerError as error:
        _log.warning("Which results were saved cannot be read: %s", error)
        return None


async def verified_results(app: App, message_batch_id: str, sha256: str | None = None) -> "SavedFile | None":
    """The latest file that holds all results to the byte, as its hash shows: it is read to its end.

    With `sha256` only a file of that very content counts.

    Raises:
        LedgerError: the ledger cannot be read, so nothing must be destroyed either.
    """
    for saved in await _still_there(app, message_batch_id):
        if sha256 not in {None, saved.sha256}:
            continue
        if await anyio.to_thread.run_sync(sha256_of, Path(saved.path)) == saved.sha256:
            return saved
    return None


async def _still_there(app: App, message_batch_id: str) -> "list[SavedFile]":
    if not app.remembers:
        return []
    from mcp_batch_tools.ledger.saved_files import saved_files

    saved = await app.ledger.read(lambda transaction: saved_files(transaction, message_batch_id))
    return [file for file in saved if size_of(Path(file.path)) == file.bytes]


async def _written(app: App, work: "Callable[[Transaction], Any]") -> None:
    """Write an outcome. The act has happened and its answer must not be lost to this; the receipt says "unknown"."""
    with anyio.CancelScope(shield=True):
        try:
            await app.ledger.write(work)
        except LedgerError as error:
            _log.error("The outcome of an act could not be written: %s", error)
