"""Saving all results of a batch: `save_message_batch_results`."""

from dataclasses import asdict
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from mcp_types import CallToolResult
from pydantic import Field

from mcp_batch_tools.api.models import MessageBatch, MessageBatchId
from mcp_batch_tools.api.untrusted import quote_name
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.pricing.amounts import format_usd
from mcp_batch_tools.pricing.prices import Prices, load_prices
from mcp_batch_tools.results.download import SavedFile, save_results
from mcp_batch_tools.results.formats import SUFFIXES
from mcp_batch_tools.results.paths import default_results_folder, resolve_output_path
from mcp_batch_tools.results.summary import ResultSummary
from mcp_batch_tools.tools.answers import Answer, NextStep, TaggedAnswer, answer, format_time, wait_step
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep

if TYPE_CHECKING:
    from pathlib import Path

_CENTI_CENT = Decimal("0.0001")

SavePath = Annotated[
    str,
    Field(min_length=1, description="File inside the results folder; its name ends in .jsonl, .jsonl.gz or .parquet."),
]


class ModelTokens(Answer):
    """Tokens of one model, and what they cost; the cost is absent where the list of prices has no such model."""

    model: str
    input: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    output: int
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
    tokens: list[ModelTokens]
    cost_usd: float | None = Field(None, description="Absent where a model has no known price.")
    prices_of: str = Field(description="Date of the list of prices.")


class NotSaved(Answer):
    """There is nothing that could be saved, now or any more."""

    id: str
    type: Literal["message_batch_results_not_saved"]
    processing_status: str
    message: str
    next_steps: list[NextStep]


class SaveAnswer(TaggedAnswer[Annotated[Saved | NotSaved, Field(discriminator="type")]]):
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
    return answer(await save(app, caller, batch, place, overwrite=overwrite))


def unreadable(batch: MessageBatch) -> tuple[str, list[NextStep]]:
    """Why there are no results to read, and what to do."""
    if batch.ended:
        return f"Its results were kept until {format_time(batch.results_until)} and are gone.", []
    return "It has not ended, and results can be read only after the end.", [wait_step(batch.id)]


def place_of(app: App, message_batch_id: str, path: str | None) -> "Path":
    """Where results go. Raises `PathNotAllowed`."""
    settings = app.settings
    name = "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in message_batch_id)
    return resolve_output_path(path, settings.results_dir or default_results_folder(), f"{name}.jsonl", SUFFIXES)


async def save(app: App, caller: Caller, batch: MessageBatch, place: "Path", *, overwrite: bool = False) -> Saved:
    """Save, remember that it was saved, and tell what is in the file.

    Raises:
        SaveFailed, BatchError: as `save_results`.
        InvalidPrices: the list of prices cannot be used; nothing was saved.
    """
    from mcp_batch_tools.ledger.saved_files import SavedFile as RememberedFile
    from mcp_batch_tools.ledger.saved_files import remember_saved_file

    prices = load_prices(app.settings.prices)

    async def report(received: int, length: int | None, lines: int) -> None:
        await caller.report_progress(received, length, f"{lines:,} lines, {received / 1e6:,.0f} MB")

    saved = await save_results(app.client, batch, place, overwrite=overwrite, report=report, redact=app.settings.redact)
    tokens, cost = _priced(saved.summary, prices)
    how = "The same file was there already" if saved.already else "Saved and checked"
    message = f"{how}: {saved.summary.lines:,} results, {saved.bytes:,} bytes. {_cost_in_words(cost, tokens, prices)}"
    cost_usd = None if cost is None else str(cost.quantize(_CENTI_CENT))
    file = RememberedFile(app.now(), batch.id, str(saved.path), saved.bytes, saved.sha256, cost_usd)
    try:
        await app.ledger.write(partial(remember_saved_file, file=file))
    except LedgerError as error:
        message += f" The ledger could not take a note of it ({error}), so a later delete will not know of this file."
    return _saved_answer(batch, saved, message, tokens, cost, prices)


def _saved_answer(
    batch: MessageBatch,
    saved: SavedFile,
    message: str,
    tokens: list[ModelTokens],
    cost: Decimal | None,
    prices: Prices,
) -> Saved:
    return Saved(
        id=batch.id,
        type="message_batch_results_saved",
        message=message,
        path=str(saved.path),
        bytes=saved.bytes,
        sha256=saved.sha256,
        already_saved=saved.already,
        lines=dict(saved.summary.outcomes),
        tokens=tokens,
        cost_usd=None if cost is None else float(cost.quantize(_CENTI_CENT)),
        prices_of=prices.date,
    )


def _priced(summary: ResultSummary, prices: Prices) -> tuple[list[ModelTokens], Decimal | None]:
    """Tokens and cost by model, and the whole cost where every model has a price."""
    rows = []
    whole: Decimal | None = Decimal(0)
    for model, tokens in summary.tokens.items():
        cost = prices.cost(model, tokens)
        whole = None if whole is None or cost is None else whole + cost
        cost_usd = None if cost is None else float(cost.quantize(_CENTI_CENT))
        rows.append(ModelTokens(model=quote_name(model), **asdict(tokens), cost_usd=cost_usd))
    return rows, whole


def _cost_in_words(cost: Decimal | None, tokens: list[ModelTokens], prices: Prices) -> str:
    if cost is not None:
        return f"They cost {format_usd(cost)} by the prices of {prices.date}, server tools not included."
    unlisted = [row.model for row in tokens if row.cost_usd is None]
    unknown = ", ".join(unlisted[:3]) + (f" and {len(unlisted) - 3} more" if len(unlisted) > 3 else "")
    return f"What they cost is unknown: the prices of {prices.date} do not list {unknown}."
