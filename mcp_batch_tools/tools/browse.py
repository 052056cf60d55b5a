"""Looking at batches: `list_message_batches` and `get_message_batch`."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import AfterValidator, BaseModel, Field

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.models import (
    MESSAGE_BATCH_ID_PATTERN,
    MessageBatch,
    MessageBatchId,
    ProcessingStatus,
    RequestCounts,
)
from mcp_batch_tools.tools.acts import saved_results
from mcp_batch_tools.tools.answers import (
    Client,
    NextStep,
    Time,
    WaitSeconds,
    answer,
    cancel_step,
    delete_step,
    moment,
    outcomes,
    read_step,
    requests,
    save_step,
    wait_step,
)
from mcp_batch_tools.tools.settling import batches_labelled, submissions_known
from mcp_batch_tools.untrusted import as_data, as_name

_UPSTREAM_PAGE = 1000
_MOST_PAGES = 5
"""Upstream pages that one call scans: 5,000 batches, a few seconds."""

_NONE = "There are no batches in this workspace."

Looked = TypeVar("Looked")


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Row(BaseModel):
    """One batch in a list. `outcomes` holds the counts that are not zero."""

    id: str
    processing_status: str
    created_at: Time
    ended_at: Time | None = None
    results_until: Time | None = Field(None, description="Absent while there are no results to read.")
    requests: int
    outcomes: dict[str, int]
    label: str | None = None


class MessageBatchList(BaseModel):
    """The answer of `list_message_batches`."""

    message: str
    batches: list[Row]
    next_cursor: str | None = None


class MessageBatchDetails(BaseModel):
    """The answer of `get_message_batch`: the batch, until when its results last, and what can be done now."""

    id: str
    processing_status: str
    message: str
    possible_actions: list[NextStep]
    request_counts: RequestCounts
    created_at: Time
    expires_at: Time | None = None
    cancel_initiated_at: Time | None = None
    ended_at: Time | None = None
    archived_at: Time | None = None
    results_until: Time | None = Field(None, description="Absent where there are no results to read.")
    waited_seconds: int | None = None
    results_saved_to: str | None = Field(None, description="File here that holds all results.")
    cost_usd: float | None = Field(None, description="What the saved results cost.")
    label: str | None = None
    estimate_usd: float | None = Field(None, description="The most that it could cost, as estimated before.")
    retry_of: str | None = None


async def list_message_batches(
    client: Client,
    context: Context[Any, Any],
    status: Annotated[ProcessingStatus | None, Field(description="Only batches with this status.")] = None,
    created_after: Annotated[
        Moment | None, Field(description="Only batches created at or after this time (ISO 8601; UTC if no zone).")
    ] = None,
    created_before: Annotated[Moment | None, Field(description="Only batches created before this time.")] = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    label: Annotated[str | None, Field(description="Only batches created here with this label.")] = None,
    cursor: Annotated[
        str | None,
        Field(pattern=MESSAGE_BATCH_ID_PATTERN, description="next_cursor of the previous answer, same filters."),
    ] = None,
) -> Annotated[CallToolResult, MessageBatchList]:
    """List Message Batches of this workspace, newest first, one short row each."""
    filtered = not (status is None and created_after is None and created_before is None and label is None)
    labelled = None if label is None else await batches_labelled(context, client, label)
    rows: list[Row] = []
    scanned = 0
    more = True
    for _ in range(_MOST_PAGES):
        page = await client.list(limit=_UPSTREAM_PAGE if filtered else limit, after_id=cursor)
        more = bool(page.data) and page.has_more
        for number, batch in enumerate(page.data, start=1):
            if created_after is not None and batch.created_at < created_after:
                more = False  # newest first: all that follow are older still
                break
            cursor = batch.id
            scanned += 1
            if (status is None or batch.processing_status == status) and (
                (created_before is None or batch.created_at < created_before)
                and (labelled is None or batch.id in labelled)
            ):
                rows.append(_row(batch, client.now()))
                if len(rows) == limit:
                    more = more or number < len(page.data)
                    break
        if not more or len(rows) == limit:
            break
    made_here = await submissions_known(context, client, [row.id for row in rows])
    for row in rows:
        row.label = made_here[row.id].label if row.id in made_here else None
    stopped_early = more and len(rows) < limit
    if stopped_early:
        message = f"Stopped after looking at {scanned:,} batches, of which {len(rows)} fit; there are older ones."
    elif rows:
        message = f"{len(rows)} batch{'' if len(rows) == 1 else 'es'}, newest first."
    else:
        message = "No batch fits." if filtered else "There are no older batches." if cursor else _NONE
    if more:
        message += " Call again with cursor set to next_cursor for the next ones."
    return answer(MessageBatchList(message=message, batches=rows, next_cursor=cursor if more else None))


async def get_message_batch(
    message_batch_id: MessageBatchId, client: Client, context: Context[Any, Any], wait_seconds: WaitSeconds = 0
) -> Annotated[CallToolResult, MessageBatchDetails]:
    """Look at one Message Batch: status, request counts, until when its results last, what can be done with it now.

    With wait_seconds it waits for the batch to end; running out of time is no error, call it again then.
    """
    batch, waited = await wait_for_end(client, message_batch_id, wait_seconds, context)
    shown = details(batch, client.now(), waited if wait_seconds else None)
    made_here = (await submissions_known(context, client, [batch.id])).get(batch.id)
    if made_here is not None:
        shown.label, shown.estimate_usd, shown.retry_of = made_here.label, made_here.estimate_usd, made_here.retry_of
    saved = await saved_results(context, batch.id) if batch.ended else None
    if saved is not None:
        shown.results_saved_to = saved.path
        shown.cost_usd = None if saved.cost_usd is None else float(saved.cost_usd)
    return answer(shown)


async def wait_for_end(
    client: BatchClient, message_batch_id: str, seconds: float, context: Context[Any, Any]
) -> tuple[MessageBatch, float]:
    """The batch once it has ended or the time is up, and the seconds waited; progress is reported as elapsed time."""
    looks: AsyncIterator[tuple[MessageBatch, float]] = client.watch(message_batch_id, seconds)
    async for batch, elapsed in looks:
        if seconds:
            said = f"{as_name(batch.processing_status)} after {elapsed:.0f} s"
            await context.report_progress(min(elapsed, seconds), seconds, said)
    return batch, elapsed


def details(batch: MessageBatch, now: datetime, waited: float | None) -> MessageBatchDetails:
    """A batch with what can be done with it now."""
    total = requests(batch.request_counts.total)
    after = f" after waiting {waited:.0f} s" if waited is not None else ""
    readable = batch.readable(now)
    match batch.processing_status:
        case "in_progress":
            message = (
                f"Still in progress{after}: {total}, created {moment(batch.created_at)}. How many have finished is not "
                "known before the end."
            )
            steps = [wait_step(batch.id), cancel_step(batch.id)]
        case "canceling":
            since = f" since {moment(batch.cancel_initiated_at)}" if batch.cancel_initiated_at else ""
            message = f"Being canceled{since}, not ended yet{after}: {total}. Wait; do not cancel it again."
            steps = [wait_step(batch.id)]
        case "ended" if readable:
            message = f"Ended: {outcomes(batch)}. Results can be read until {moment(batch.results_until)}."
            steps = [read_step(batch.id), save_step(batch.id), delete_step(batch.id)]
        case "ended":
            message = f"Ended and archived: {outcomes(batch)}. Its results are gone; the record can be deleted."
            steps = [delete_step(batch.id)]
        case _:
            message = (
                f"This version does not know the status {as_data(batch.processing_status)}; it counts as not ended."
            )
            steps = [wait_step(batch.id)]
    return MessageBatchDetails(
        **{name: getattr(batch, name) for name in MessageBatch.model_fields.keys() & MessageBatchDetails.model_fields},
        message=message,
        possible_actions=steps,
        results_until=batch.results_until if readable else None,
        waited_seconds=None if waited is None else round(waited),
    )


def _row(batch: MessageBatch, now: datetime) -> Row:
    counts = batch.request_counts.model_dump(exclude={"processing"}, exclude_defaults=True)
    return Row(
        id=batch.id,
        processing_status=batch.processing_status,
        created_at=batch.created_at,
        ended_at=batch.ended_at,
        results_until=batch.results_until if batch.readable(now) else None,
        requests=batch.request_counts.total,
        outcomes=counts,
    )
