"""Saving all results of a batch: `save_message_batch_results`."""

import logging
from dataclasses import asdict
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import anyio.to_thread
from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MessageBatch, MessageBatchId
from mcp_batch_tools.api.untrusted import quote_name
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.ledger.saved_files import SavedFile as RememberedFile
from mcp_batch_tools.ledger.saved_files import remember_saved_file, saved_files
from mcp_batch_tools.pricing.amounts import as_number, format_usd
from mcp_batch_tools.pricing.bills import Bill, bill_of
from mcp_batch_tools.pricing.prices import Prices, load_prices
from mcp_batch_tools.results.download import Report, SavedFile, save_results
from mcp_batch_tools.results.publishing import size_of, summary_of
from mcp_batch_tools.results.saving import Progress
from mcp_batch_tools.results.summary import ResultValidator
from mcp_batch_tools.tools.answers import Answer, Argument, NextStep, TaggedAnswer, answer, format_time, wait_step
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.places import SavePath, place_of
from mcp_batch_tools.tools.words.guidance import results_in_words, saving_message

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)
_LONGEST_CALL = 50.0
"""Seconds: the most patient clients wait for 60 to 240, and a save goes on without its caller anyway."""


class ModelTokens(Answer):
    """What one model used, and what that cost; the cost is absent where the model has no known price."""

    model: str
    input: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    output: int
    web_searches: int
    cost_usd: float | None = None


class Saved(Answer):
    """All results are in the file, each line checked, and the file is on the disk."""

    id: str
    type: Literal["message_batch_results_saved"]
    message: str
    path: str
    bytes: int
    sha256: str
    already_saved: bool = Field(description="The very same file was there before; nothing was written.")
    lines: dict[str, int] = Field(description="Lines by outcome.")
    stop_reasons: dict[str, int] = Field(description="Lines that succeeded, by stop_reason.")
    tokens: list[ModelTokens]
    cost_usd: float | None = Field(None, description="Absent where a model has no known price.")
    prices_of: str


class Saving(Answer):
    """The results are on their way to the file, and that goes on while nobody waits; next_steps has the same call."""

    id: str
    type: Literal["message_batch_results_saving"]
    message: str
    path: str
    bytes: int = Field(description="So far.")
    total_bytes: int | None = Field(None, description="Absent where the API does not say.")
    lines: int = Field(description="Results so far.")
    total_lines: int
    next_steps: list[NextStep]


class NotSaved(Answer):
    """There is nothing that could be saved, now or any more."""

    id: str
    type: Literal["message_batch_results_not_saved"]
    processing_status: str
    message: str
    next_steps: list[NextStep]


class SaveAnswer(TaggedAnswer[Annotated[Saved | Saving | NotSaved, Field(discriminator="type")]]):
    """The answer of `save_message_batch_results`."""


async def save_message_batch_results(
    message_batch_id: MessageBatchId,
    app: AppDep,
    caller: CallerDep,
    path: SavePath | None = None,
    overwrite: Annotated[bool, Field(description="Replace a file that is there.")] = False,
) -> Annotated[CallToolResult, SaveAnswer]:
    """Save all results of an ended Message Batch to a file, checked line by line, and say what they cost.

    Without path the file is <message_batch_id>.jsonl in the results folder.
    """
    until = app.clock.monotonic() + _LONGEST_CALL
    batch = await app.client.retrieve(message_batch_id)
    if not batch.readable:
        message, steps = unreadable(batch)
        return answer(
            NotSaved(
                id=batch.id,
                type="message_batch_results_not_saved",
                processing_status=batch.processing_status,
                message=message,
                next_steps=steps,
            )
        )
    place = place_of(app, batch.id, path)
    saved = await save(app, caller, batch, place, overwrite=overwrite, until=until)
    if isinstance(saved, Saving):
        saved.next_steps = [_again(batch.id, path, overwrite=overwrite)]
    return answer(saved)


def _again(message_batch_id: str, path: str | None, *, overwrite: bool) -> NextStep:
    """A step that makes a call of this tool once more."""
    arguments: dict[str, Argument] = {"message_batch_id": message_batch_id}
    if path is not None:
        arguments["path"] = path
    if overwrite:
        arguments["overwrite"] = True
    return NextStep(tool="save_message_batch_results", arguments=arguments, why="Waits for the rest of the results.")


def unreadable(batch: MessageBatch) -> tuple[str, list[NextStep]]:
    """Why there are no results to read, and what to do."""
    if batch.ended:
        return f"Its results were kept until {format_time(batch.results_until)} and are gone.", []
    return "It has not ended, and results can be read only after the end.", [wait_step(batch.id)]


async def save(
    app: App,
    caller: Caller,
    batch: MessageBatch,
    place: "Path",
    *,
    overwrite: bool = False,
    until: float | None = None,
) -> Saved | Saving:
    """Save, or join the save of the same results to the same file, for 50 seconds at most or `until` then.

    Saving goes on when the caller is gone. `until` is by the clock.

    Raises:
        SaveFailed, BatchError: as `save_results`; or another save writes to the file, or too many are under way.
        InvalidPrices: the user's rates cannot be used; nothing was saved.
    """
    work = partial(_save, app, batch, place, load_prices(app.settings.prices), overwrite=overwrite)

    async def report(progress: Progress) -> None:
        message = f"{progress.lines:,} line{'' if progress.lines == 1 else 's'}, {progress.bytes / 1e6:,.0f} MB"
        await caller.report_progress(progress.bytes, progress.length, message)

    until = app.clock.monotonic() + _LONGEST_CALL if until is None else until
    saved = await app.saves.saved(batch.id, place, work, report, overwrite=overwrite, until=until)
    if isinstance(saved, Saved):
        return saved
    total = batch.request_counts.total
    return Saving(
        id=batch.id,
        type="message_batch_results_saving",
        message=saving_message(saved.lines, total, saved.bytes),
        path=str(place),
        bytes=saved.bytes,
        total_bytes=saved.length,
        lines=saved.lines,
        total_lines=total,
        next_steps=[],
    )


async def _save(
    app: App, batch: MessageBatch, place: "Path", prices: Prices, report: Report, *, overwrite: bool
) -> Saved:
    """Save, remember that it was saved, and tell what is in the file."""
    saved = before = await _saved_before(app, batch, place)
    prices.prepare()
    if saved is None:
        async with app.saves.turn:
            saved = await save_results(
                app.client, batch, place, overwrite=overwrite, report=report, redact=app.settings.redact
            )
    day = batch.created_at.astimezone(UTC).date()
    bill = await anyio.to_thread.run_sync(bill_of, saved.summary.groups, prices, day)
    how = "The same file was there already" if saved.already else "Saved and checked"
    summary = saved.summary
    results = f"{summary.lines:,} result{'' if summary.lines == 1 else 's'}"
    notes = results_in_words(summary.outcomes["succeeded"], summary.stop_reasons, summary.unknown)
    message = f"{how}: {results}, {saved.bytes:,} bytes.{notes} {_cost_in_words(bill, prices)}"
    if before is None:
        cost_usd = None if bill.cost is None else str(bill.cost)
        file = RememberedFile(
            app.now(), batch.id, str(saved.path), saved.bytes, saved.sha256, cost_usd, summary.stop_reasons
        )
        try:
            await app.ledger.write(partial(remember_saved_file, file=file))
        except LedgerError as error:
            message += f" The ledger could not take a note of it ({error}), so a later delete will not know of it."
    return _saved_answer(batch, saved, message, bill, prices)


async def _saved_before(app: App, batch: MessageBatch, place: "Path") -> SavedFile | None:
    """The file, where these results were saved to it and it has not changed since: it is read and checked again."""
    if not app.remembers or (size := size_of(place)) is None:
        return None
    try:
        files = await app.ledger.read(partial(saved_files, message_batch_id=batch.id))
    except LedgerError as error:
        _log.warning("Which results were saved cannot be read: %s", error)
        return None
    for file in files:
        if file.path == str(place) and file.bytes == size:
            validator = ResultValidator(batch.request_counts, app.settings.redact)
            summary = await anyio.to_thread.run_sync(summary_of, place, file.sha256, validator)
            return None if summary is None else SavedFile(place, size, file.sha256, summary, already=True)
    return None


def _saved_answer(batch: MessageBatch, saved: SavedFile, message: str, bill: Bill, prices: Prices) -> Saved:
    return Saved(
        id=batch.id,
        type="message_batch_results_saved",
        message=message,
        path=str(saved.path),
        bytes=saved.bytes,
        sha256=saved.sha256,
        already_saved=saved.already,
        lines=dict(saved.summary.outcomes),
        stop_reasons=dict(saved.summary.stop_reasons),
        tokens=[
            ModelTokens(model=quote_name(model.model), **asdict(model.tokens), cost_usd=as_number(model.cost))
            for model in bill.models
        ],
        cost_usd=as_number(bill.cost),
        prices_of=prices.source,
    )


def _cost_in_words(bill: Bill, prices: Prices) -> str:
    if bill.cost is not None:
        return f"They cost {format_usd(bill.cost)} by the prices of {prices.source}, of server tools only web searches."
    unlisted = [quote_name(model.model) for model in bill.models if model.cost is None]
    unknown = ", ".join(unlisted[:3]) + (f" and {len(unlisted) - 3} more" if len(unlisted) > 3 else "")
    return f"What they cost is unknown: the prices of {prices.source} do not list {unknown}."
