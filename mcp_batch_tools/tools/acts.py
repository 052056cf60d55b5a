"""What this installation remembers, for the tools: receipts around acts that destroy, and results that were saved."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.results.publishing import sha256_of, size_of
from mcp_batch_tools.tools.app import App, Caller
from mcp_batch_tools.tools.consent import Granted

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.database import Action, Ledger, Outcome, SavedResults

_log = logging.getLogger(__name__)
_one_at_a_time = anyio.CapacityLimiter(1)

Result = TypeVar("Result")


@dataclass
class Act:
    """An act on its way; what is known of it in the end goes into its receipt."""

    request_id: str | None = None


@asynccontextmanager
async def receipt(
    app: App, caller: Caller, action: "Action", batch: MessageBatch, granted: Granted
) -> AsyncIterator[Act]:
    """Write the intent, let the act happen, write the outcome.

    Where it stays unknown what the act has done (no answer, or the call was given up), the receipt stays open.

    Raises:
        LedgerError: the intent could not be written, so the act has not begun.
    """
    counts, name = batch.request_counts.model_dump(), caller.name
    of = (app.settings.origin, action, batch.id)
    number = await in_ledger(lambda: app.ledger.intend(*of, counts, granted.how, name))
    act = Act()
    try:
        yield act
    except BatchError as error:
        if not error.may_have_acted:
            note = f"HTTP {error.status}" if isinstance(error, ApiError | InvalidResponse) else "nothing was sent"
            request_id = error.request_id if isinstance(error, ApiError | InvalidResponse) else None
            await completed(lambda: app.ledger.complete(number, "failed", note=note, request_id=request_id))
        raise

    def done() -> None:
        app.ledger.complete(number, "done", request_id=act.request_id)
        app.ledger.settle(*of, "done", f"by receipt {number}")

    await completed(done)


async def complete_open_receipts(app: App, action: "Action", message_batch_id: str, outcome: "Outcome") -> bool:
    """Whether this installation began this act before without learning its outcome, which is `outcome` as seen now.

    The receipt is completed with it.
    """
    if not app.remembers:
        return False
    of = (app.settings.origin, action, message_batch_id)
    try:
        return bool(await in_ledger(lambda: app.ledger.settle(*of, outcome, "seen by a later call")))
    except LedgerError as error:
        # It stays open. What is being told does not depend on it, and must not turn into an error for it.
        _log.warning("Open receipts in %s cannot be completed: %s", error.path, error)
        return False


async def saved_results(app: App, message_batch_id: str) -> "SavedResults | None":
    """The latest file that the results were saved to and that is still there, as long as it was; a quick look.

    Where the ledger cannot be read, nothing is known to be saved: looking at a batch does not need it.
    """
    try:
        return next(iter(await _still_there(app, message_batch_id)), None)
    except LedgerError as error:
        _log.warning("Which results were saved cannot be read from %s: %s", error.path, error)
        return None


async def verified_results(app: App, message_batch_id: str) -> "SavedResults | None":
    """The same, but read to its end: the file holds what was saved, to the byte.

    Raises:
        LedgerError: the ledger cannot be read, so nothing must be destroyed either.
    """
    for saved in await _still_there(app, message_batch_id):
        if await anyio.to_thread.run_sync(sha256_of, Path(saved.path)) == saved.sha256:
            return saved
    return None


async def _still_there(app: App, message_batch_id: str) -> "list[SavedResults]":
    if not app.remembers:
        return []

    def look() -> "list[SavedResults]":
        ledger: Ledger = app.ledger
        return [saved for saved in ledger.saved(message_batch_id) if size_of(Path(saved.path)) == saved.bytes]

    return await in_ledger(look)


async def in_ledger(work: Callable[[], Result]) -> Result:
    """Run what may wait for another server's write in a thread, one at a time: it is one connection."""
    return await anyio.to_thread.run_sync(work, limiter=_one_at_a_time)


async def completed(work: Callable[[], Any]) -> None:
    """Write an outcome. The act has happened and its answer must not be lost to this; the receipt says "unknown"."""
    try:
        await in_ledger(work)
    except LedgerError as error:
        _log.error("The outcome of an act could not be written to %s: %s", error.path, error)
