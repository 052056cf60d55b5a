"""Listing batches: `list_message_batches`."""

from datetime import datetime
from typing import Annotated

from mcp_types import CallToolResult
from pydantic import AwareDatetime, Field

from mcp_batch_tools.api.models import MESSAGE_BATCH_ID_PATTERN, MessageBatch, ProcessingStatus
from mcp_batch_tools.api.untrusted import quote_untrusted
from mcp_batch_tools.tools.answers import Answer, Time, answer
from mcp_batch_tools.tools.app import AppDep
from mcp_batch_tools.tools.made_here import attempts_of_batches, batches_labelled
from mcp_batch_tools.tools.words.guidance import NO_TIME_BETWEEN, list_message, unknown_label_message

_UPSTREAM_PAGE = 1000
_MOST_PAGES = 5
"""Upstream pages that one call scans: 5,000 batches, a few seconds."""


class Row(Answer):
    """One batch in a list. `outcomes` holds the counts that are not zero."""

    id: str
    processing_status: str
    created_at: Time
    ended_at: Time | None = None
    results_until: Time | None = Field(None, description="Absent while there are no results to read.")
    requests: int
    outcomes: dict[str, int]
    label: str | None = None


class MessageBatchList(Answer):
    """The answer of `list_message_batches`."""

    message: str
    batches: list[Row]
    next_cursor: str | None = None


async def list_message_batches(
    app: AppDep,
    status: Annotated[ProcessingStatus | None, Field(description="Only batches with this status.")] = None,
    created_after: Annotated[
        AwareDatetime | None,
        Field(description="Only batches created at or after this time (ISO 8601; UTC if no zone)."),
    ] = None,
    created_before: Annotated[AwareDatetime | None, Field(description="Only batches created before this time.")] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="The most batches to show.")] = 20,
    label: Annotated[str | None, Field(description="Only batches created here with this label.")] = None,
    cursor: Annotated[
        str | None,
        Field(pattern=MESSAGE_BATCH_ID_PATTERN, description="next_cursor of the previous answer, same filters."),
    ] = None,
) -> Annotated[CallToolResult, MessageBatchList]:
    """List Message Batches of this workspace, newest first, one short row each."""
    if created_after is not None and created_before is not None and created_after >= created_before:
        return answer(MessageBatchList(message=NO_TIME_BETWEEN, batches=[]))
    filtered = not (status is None and created_after is None and created_before is None and label is None)
    labelled = None if label is None else await batches_labelled(app, label)
    if labelled is not None and labelled.known is not None:
        return answer(MessageBatchList(message=unknown_label_message(labelled.known), batches=[]))
    rows: list[Row] = []
    first_page = cursor is None
    seen = {cursor}
    more, stuck = True, False
    for _ in range(_MOST_PAGES):
        page = await app.client.list(limit=_UPSTREAM_PAGE if filtered else limit, after_id=cursor)
        # An upstream whose cursor does not move on would be listed again and again.
        stuck = page.has_more and (not page.data or page.data[-1].id in seen)
        more = page.has_more and not stuck
        for number, batch in enumerate(page.data, start=1):
            if created_after is not None and batch.created_at < created_after:
                more = stuck = False  # newest first: all that follow are older still
                break
            if batch.id in seen:
                continue
            cursor = batch.id
            seen.add(cursor)
            if (status is None or batch.processing_status == status) and (
                (created_before is None or batch.created_at < created_before)
                and (labelled is None or batch.id in labelled.batches)
            ):
                rows.append(_row(batch, app.client.now()))
                if len(rows) == limit:
                    more = more or number < len(page.data)
                    break
        if not more or len(rows) == limit:
            break
    made_here = await attempts_of_batches(app, [row.id for row in rows])
    for row in rows:
        row.label = made_here[row.id].label if row.id in made_here else None
    message = list_message(
        len(rows),
        len(seen) - 1,
        more=more,
        stopped_early=more and len(rows) < limit,
        filtered=filtered,
        first_page=first_page,
        stuck=stuck,
    )
    if labelled is not None and labelled.taken_as is not None:
        message += f" label was taken as {quote_untrusted(labelled.taken_as)}."
    return answer(MessageBatchList(message=message, batches=rows, next_cursor=cursor if more else None))


def _row(batch: MessageBatch, now: datetime) -> Row:
    counts = batch.request_counts.model_dump(exclude={"processing"}, exclude_defaults=True)
    return Row(
        id=batch.id,
        processing_status=batch.processing_status,
        created_at=batch.created_at,
        ended_at=batch.ended_at,
        results_until=batch.results_until if batch.readable else None,
        requests=batch.request_counts.total,
        outcomes=counts,
    )
