"""Nothing is paid for twice where a clock is wrong, a gateway answers, or the workspace is named late."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_batch_tools.sandbox import Clock, Sandbox
from tests.conftest import Connect, SandboxTransport
from tests.support.requests import request, write
from tests.support.transports import Hooked, cut
from tests.support.upstream import creates, held

pytestmark = pytest.mark.anyio

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class OffDate(Hooked):
    """Loses the answer to a create, and tells a time that is `off(requests so far)`."""

    def __init__(self, sandbox: Sandbox, off: Callable[[int], timedelta]) -> None:
        super().__init__(sandbox, after=cut)
        self._off = off
        self.requests = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        date = parsedate_to_datetime(response.headers["date"]) + self._off(self.requests)
        response.headers["date"] = format_datetime(date, usegmt=True)
        self.requests += 1
        return response


@pytest.mark.parametrize(
    "off", [2 * MINUTE, -2 * MINUTE, 2 * HOUR, -2 * HOUR, DAY, -DAY], ids=lambda off: f"{off.total_seconds():+.0f} s"
)
async def test_a_date_that_is_off_does_not_make_a_lost_batch_absent(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, off: timedelta
) -> None:
    name = write(requests_dir, [request("a")])
    async with connect(transport=OffDate(sandbox, lambda _: off)) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        for seconds in (0, 4400, 4400):
            clock.advance(seconds)
            await assistant.call("create_message_batch", requests_file=name)
    assert creates(sandbox) == 1


@pytest.mark.parametrize("later", [timedelta(0), DAY])
async def test_a_date_that_jumps_after_the_claim_does_not_make_a_lost_batch_absent(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, later: timedelta
) -> None:
    name = write(requests_dir, [request("a")])
    transport = OffDate(sandbox, lambda requests: -DAY if requests < 2 else later)
    async with connect(transport=transport) as assistant:
        await assistant.call("create_message_batch", requests_file=name)
        await assistant.call("create_message_batch", requests_file=name)
    assert creates(sandbox) == 1


@pytest.mark.parametrize("date", ["Wed, 25 Nov 2026 20:05:24 +99999999999999", "x" * 5000, "99999999999999999999"])
async def test_a_date_that_is_none_is_no_date(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, date: str
) -> None:
    class Dated(SandboxTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            response.headers["date"] = date
            return response

    async with connect(transport=Dated(sandbox)) as assistant:
        made = await assistant.call("create_message_batch", requests=[request("a")])
    assert made["type"] == "message_batch_created"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "upstream_timeout"), (400, "None"), (499, "client_closed_request"), (409, "conflict_error")],
)
async def test_a_refusal_that_the_api_does_not_document_is_a_lost_answer(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path, status: int, kind: str
) -> None:
    name = write(requests_dir, [request("a")])

    class Gateway(SandboxTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if request.method == "POST" and request.url.path.endswith("/batches"):
                error = {"type": kind, "message": "litellm.Timeout"}
                return httpx2.Response(status, json={"type": "error", "error": error})
            return response

    async with connect(transport=Gateway(sandbox)) as assistant:
        first = await assistant.call("create_message_batch", requests_file=name)
        clock.advance(4400)
        again = await assistant.call("create_message_batch", requests_file=name)
    assert first["type"] == "message_batch_created"
    assert again["reason"] == "already_created"
    assert len(await held(sandbox)) == 1


async def test_a_workspace_that_is_named_while_another_server_looks_is_the_same_for_both(
    connect: Connect, sandbox: Sandbox, clock: Clock, requests_dir: Path
) -> None:
    name = write(requests_dir, [request("a")])
    looking, go_on = anyio.Event(), anyio.Event()

    class Nameless(SandboxTransport):
        """Hides the workspace, and holds the list before the claim."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            response.headers.pop("anthropic-workspace-id", None)
            if request.url.query == b"limit=1":
                looking.set()
                await go_on.wait()
            return response

    answers = []
    async with connect(transport=Nameless(sandbox)) as first, connect() as second, anyio.create_task_group() as both:

        async def send() -> None:
            answers.append(await first.call("create_message_batch", requests_file=name))

        both.start_soon(send)
        await looking.wait()
        made = await second.call("create_message_batch", requests_file=name)
        go_on.set()
    assert made["type"] == "message_batch_created"
    assert answers[0]["reason"] in {"unknown_outcome", "already_created"}
    assert creates(sandbox) == 1
