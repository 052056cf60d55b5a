"""What the tests share: the server on a sandbox whose clock they move, and a client for each protocol era."""

import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import settings as hypothesis_settings
from mcp import Client
from mcp_types import CallToolResult, TextContent

from mcp_batch_tools.sandbox import Clock, ConnectionCut, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.support.raw import PERSON, Person
from tests.support.seeds import rounds, seed

KEY = "sk-ant-api03-canary-0123456789"
ERAS = {"2025-11-25": "legacy", "2026-07-28": "auto"}


def pytest_configure(config: pytest.Config) -> None:
    """`TEST_SEED=random` draws one seed for all workers; without the variable, chance is the same at every run."""
    if os.environ.get("TEST_SEED") == "random":
        os.environ["TEST_SEED"] = str(random.randrange(10**9))
    fixed = "TEST_SEED" not in os.environ
    hypothesis_settings.register_profile(
        "ours", derandomize=fixed, deadline=None, max_examples=rounds(34), print_blob=True
    )
    hypothesis_settings.load_profile("ours")


def pytest_report_header() -> str:
    return f"seed: TEST_SEED={seed()}"


class SandboxTransport(httpx2.AsyncBaseTransport):
    """The sandbox in this process; a cut connection looks as it does on a wire."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx2.ASGITransport(app=sandbox)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionCut as cut:
            raise httpx2.ReadError(str(cut)) from cut


class Assistant:
    """A client's view of the server: calls tools, and holds text and structured content against each other."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of an answer that is no error; every fact in it is in the text too."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        assert isinstance(result.structured_content, dict)
        told = text_of(result)
        for word in _words(result.structured_content):
            assert word in told, f"{word!r} is in the structured content only"
        return result.structured_content

    async def fail(self, tool: str, **arguments: Any) -> str:
        """The text of an answer that is an error."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, text_of(result)
        return text_of(result)


def text_of(result: CallToolResult) -> str:
    """All text of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def _words(facts: Any) -> list[str]:
    match facts:
        case dict():
            return [word for held in facts.values() for word in _words(held)] + [str(key) for key in facts]
        case list():
            return [word for held in facts for word in _words(held)]
        case str():
            return [json.dumps(facts, ensure_ascii=False)[1:-1]]
        case _:
            return []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(ERAS))
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MCP_BATCH_TOOLS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MCP_BATCH_TOOLS_RESULTS_DIR", str(tmp_path / "results"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def person(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Answers the questions of this test: after a second, unless it says otherwise."""
    monkeypatch.setattr(PERSON, "clock", clock)
    monkeypatch.setattr(PERSON, "seconds", 1.0)
    return PERSON


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox(clock=clock)


Connect = Callable[..., AbstractAsyncContextManager[Assistant]]


@pytest.fixture
def most_requests() -> int:
    """How many requests go into one batch; a test with small files and many parts sets it lower."""
    return 100_000


@pytest.fixture
def connect(sandbox: Sandbox, clock: Clock, most_requests: int) -> Connect:
    """Opens a client to the server: `async with connect(era) as assistant`."""
    most = most_requests

    @asynccontextmanager
    async def open_client(
        era: str = "2026-07-28",
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        most_requests: int = most,
        **settings: Any,
    ) -> AsyncIterator[Assistant]:
        loaded = Settings.load(**{"api_key": KEY, **settings})
        own = None if loaded.sandbox else SandboxTransport(sandbox)
        server = create_server(loaded, transport=transport or own, clock=clock, most_requests=most_requests)
        async with Client(server, mode=ERAS[era]) as client:
            assert client.protocol_version == era
            yield Assistant(client)

    return open_client


@pytest.fixture
def requests_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "requests"
    folder.mkdir()
    monkeypatch.setenv("MCP_BATCH_TOOLS_REQUESTS_DIR", str(folder))
    return folder


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts what runs in the background with SIGINT ignored, and processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
