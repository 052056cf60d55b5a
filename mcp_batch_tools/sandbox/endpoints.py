"""The endpoints of the Message Batches API, each a function of a call."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from mcp_batch_tools.sandbox.batches import Batch, Request
from mcp_batch_tools.sandbox.billing import input_tokens
from mcp_batch_tools.sandbox.refusals import (
    LARGEST_BODY,
    Refusal,
    already_finished,
    limit_of,
    no_results,
    no_such_batch,
    params_error,
    requests_of,
    still_in_progress,
)
from mcp_batch_tools.sandbox.replies import line

_FAR = 2**63 - 1
_LINES_AT_ONCE = 64


@dataclass(frozen=True)
class Call:
    """A request with a key that is known, on its way to an endpoint."""

    http: HttpRequest
    batches: dict[str, Batch]
    now: Callable[[], datetime]
    new_batch: Callable[[Sequence[Request]], Batch]
    retry_after: int
    ranges: bool

    def shown(self, batch: Batch) -> dict[str, object]:
        """The batch as the API shows it."""
        return batch.as_json(self.now(), str(self.http.base_url).rstrip("/"))

    @property
    def batch(self) -> Batch:
        """The batch that the path names."""
        message_batch_id = self.http.path_params["message_batch_id"]
        if message_batch_id not in self.batches:
            raise no_such_batch(message_batch_id)
        return self.batches[message_batch_id]

    @property
    def version(self) -> str:
        """The `anthropic-version`."""
        return self.http.headers["anthropic-version"]

    @property
    def betas(self) -> set[str]:
        """The members of `anthropic-beta`."""
        return {beta.strip() for beta in self.http.headers.get("anthropic-beta", "").split(",")}


async def unknown(call: Call) -> Response:
    """A path that there is not, or a method that it has not."""
    raise Refusal(404, "Not found") if "anything" in call.http.path_params else Refusal(405, "Method Not Allowed")


async def over_the_limit(call: Call) -> Response:
    """A request over the limit of requests a minute."""
    raise Refusal(429)


async def create(call: Call) -> Response:
    """Keep the requests, and answer with the new batch."""
    body = bytearray()
    async for chunk in call.http.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Refusal(413)
    batch = call.new_batch(requests_of(bytes(body), call.version, call.betas))
    call.batches[batch.id] = batch
    return JSONResponse(call.shown(batch))


async def retrieve(call: Call) -> Response:
    """The batch as it is now, with the polling hint while it runs."""
    batch = call.batch
    response = JSONResponse(call.shown(batch))
    if not batch.ended_at(call.now()):
        response.headers["retry-after"] = str(call.retry_after)
    return response


async def list_batches(call: Call) -> Response:
    """One page, newest first."""
    query = call.http.query_params
    limit = limit_of(query.get("limit"))
    # Newest first; of two that were made at the same moment, the one added last.
    ordered = sorted(call.batches.values(), key=lambda batch: batch.created_at)
    ordered.reverse()
    numbers = {batch.id: number for number, batch in enumerate(ordered)}
    after, before = query.get("after_id"), query.get("before_id")
    for cursor in (after, before):
        if cursor and cursor not in numbers:
            raise no_such_batch(cursor)  # a guess
    if before:
        newer = ordered[: numbers[before]]
        page, more = newer[-limit:], len(newer) > limit
    else:
        older = ordered[numbers[after] + 1 if after else 0 :]
        page, more = older[:limit], len(older) > limit
    return JSONResponse(
        {
            "data": [call.shown(batch) for batch in page],
            "has_more": more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


async def cancel(call: Call) -> Response:
    """Stop a batch that has not ended."""
    batch, now = call.batch, call.now()
    if batch.ended_at(now):
        raise already_finished(batch.id)
    batch.cancel_initiated_at = batch.cancel_initiated_at or now  # again: 200, unchanged; a guess
    return JSONResponse(call.shown(batch))


async def delete(call: Call) -> Response:
    """Remove a batch that has ended."""
    batch = call.batch
    if not batch.ended_at(call.now()):
        raise still_in_progress()
    del call.batches[batch.id]
    return JSONResponse({"id": batch.id, "type": "message_batch_deleted"})


async def results(call: Call) -> Response:
    """Stream the results, made while they are sent."""
    batch, now = call.batch, call.now()
    if not batch.ended_at(now) or batch.archived_at(now):
        raise no_results(batch.id)

    offset = _offset_of(call.http.headers.get("range")) if call.ranges else 0

    async def chunks() -> AsyncIterator[bytes]:
        lines = (
            (line(batch, number) for number in batch.in_result_order())
            if batch.raw_results is None
            else iter(batch.raw_results())
        )
        behind = offset
        while chunk := b"".join(islice(lines, _LINES_AT_ONCE)):
            if behind < len(chunk):
                yield chunk[behind:]
            behind = max(0, behind - len(chunk))
            await asyncio.sleep(0)  # or nobody notices that a client has gone, and no other request gets its turn

    response = StreamingResponse(chunks(), media_type="application/x-jsonl")
    if offset:  # the length is not known, since the lines are made while they are sent
        response.status_code = 206
        response.headers["content-range"] = f"bytes {offset}-{_FAR}/*"
    return response


def _offset_of(header: str | None) -> int:
    """The first byte that a `Range` asks for. That the API knows ranges at all is a guess."""
    wanted = re.fullmatch(r"bytes=(\d+)-", header or "", re.ASCII)
    return int(wanted[1]) if wanted else 0


async def count_tokens(call: Call) -> Response:
    """The tokens that a batch would be billed for."""
    try:
        params = json.loads(await call.http.body())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(params, dict):
        raise Refusal(400, "Input should be a valid dictionary or object to extract fields from")
    wrong = params_error({"max_tokens": 1, **params}, call.version, call.betas)
    if wrong:
        raise Refusal(404 if wrong[0] == "not_found_error" else 400, wrong[1])
    return JSONResponse({"input_tokens": input_tokens(params)})
