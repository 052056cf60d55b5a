"""The body of a create on its way: the next piece is read while the other side takes the one before."""

import asyncio
import gc
from collections.abc import Generator
from threading import Event
from typing import Any, cast

import anyio.to_thread
import pytest

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.ledger.database import Database
from mcp_batch_tools.requests.errors import SourceChanged
from mcp_batch_tools.submissions.upload import Moment, Upload
from tests.support.attempts import attempt

pytestmark = pytest.mark.anyio


async def test_a_piece_that_cannot_be_read_ahead_is_no_news_to_one_who_has_given_up() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    read_ahead = Event()

    def pieces() -> Generator[bytes, None, None]:
        yield b"first"
        yield b"second"
        read_ahead.set()
        raise SourceChanged("the file")

    async def report(_: int) -> None: ...

    client = BatchClient(base_url="http://127.0.0.1", headers=None)
    upload = Upload(client, cast("Database", None), attempt(), Moment.now(client), pieces(), report)
    body = aiter(upload)
    assert await anext(body) == b"first"
    assert await anyio.to_thread.run_sync(read_ahead.wait, 10)
    for _ in range(20):  # what the thread raised reaches the loop
        await anyio.to_thread.run_sync(int)
    await cast("Any", body).aclose()
    del body, upload
    gc.collect()
    assert not complaints


async def test_what_a_body_was_read_from_is_closed_where_it_is_given_up() -> None:
    closed = Event()

    def pieces() -> Generator[bytes, None, None]:
        try:
            yield from (b"first", b"second", b"third", b"fourth")
        finally:
            closed.set()

    async def report(_: int) -> None: ...

    client = BatchClient(base_url="http://127.0.0.1", headers=None)
    upload = Upload(client, cast("Database", None), attempt(), Moment.now(client), pieces(), report)
    assert await anext(aiter(upload)) == b"first"
    await upload.close()
    assert await anyio.to_thread.run_sync(closed.wait, 10)
