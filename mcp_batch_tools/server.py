"""`create_server`: the only place where the parts meet. There is no server at module level."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptResult

from mcp_batch_tools import __version__
from mcp_batch_tools.clock import Clock, SystemClock
from mcp_batch_tools.settings import SANDBOX_NOTE, Settings
from mcp_batch_tools.tools.app import App
from mcp_batch_tools.tools.catalogue import catalogue
from mcp_batch_tools.tools.questions import UNANSWERED_AFTER, state_security

if TYPE_CHECKING:
    from mcp_batch_tools.api.client import BatchClient

_ABOUT = "Manages Anthropic Message Batches. A batch goes from in_progress, or canceling, to ended."
_DELETING = """\
Only an ended batch can be deleted, and its results go with it, for good.
To delete one, call delete_message_batch: it checks the status, and its next_steps lead to the delete.
Follow next_steps to finish the task; possible_actions are optional. Never cancel or delete any other batch."""
_READING = "This server deletes and cancels nothing."

_TOO_EARLY = (
    "This request came before the handshake. Send initialize first; with protocol version 2026-07-28, send its _meta "
    "with each request."
)


class _Server(MCPServer[App]):
    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[App, Any] | None = None
    ) -> GetPromptResult:
        """Refuse: there are none. The SDK would log a traceback."""
        raise MCPError(INVALID_PARAMS, "This server has no prompts.")


async def _explain_early_calls(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Name what is missing where the SDK says only "Invalid request parameters" to a call before the handshake."""
    try:
        return await call_next(ctx)
    except MCPError as error:
        if (error.error.code, error.error.data) == (INVALID_PARAMS, ""):
            raise MCPError(INVALID_PARAMS, _TOO_EARLY) from error
        raise


def create_server(
    settings: Settings,
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
    stall_seconds: float = 15,
    most_requests: int = 100_000,
    state_keys: Sequence[bytes] | None = None,
    question_seconds: float = UNANSWERED_AFTER / 1000,
) -> MCPServer[App]:
    """Build the server.

    `state_keys` (of 32 bytes or more) are shared by servers that take each other's open questions; the first one seals.
    `transport`, `clock`, `stall_seconds` (see `BatchClient`), `most_requests` (in one batch) and `question_seconds`
    (see `App`) are the test seams.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncIterator[App]:
        def open_client() -> "BatchClient":
            return client_of(settings, transport=transport, clock=clock, stall_seconds=stall_seconds)

        tasks = anyio.create_task_group()
        app = App(
            settings, clock or SystemClock(), most_requests, open_client, tasks, question_seconds=question_seconds
        )
        try:
            async with tasks:
                try:
                    yield app
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            await app.close()

    return _Server(
        "mcp-batch-tools",
        title="Message Batches" + (" (sandbox)" if settings.sandbox else ""),
        version=__version__,
        instructions=_instructions(settings),
        tools=catalogue(settings),
        lifespan=lifespan,
        middleware=[_explain_early_calls],
        request_state_security=state_security(state_keys),
    )


def _instructions(settings: Settings) -> str:
    may_delete = not settings.read_only and settings.destructive != "block"
    lines = [_ABOUT, _DELETING if may_delete else _READING]
    return "\n".join([*lines, SANDBOX_NOTE] if settings.sandbox else lines)


def client_of(
    settings: Settings,
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
    stall_seconds: float = 15,
) -> "BatchClient":
    """The API client that these settings describe; with no credentials each call raises `NotConfigured`."""
    from mcp_batch_tools.api.client import BatchClient

    headers = {"anthropic-version": settings.anthropic_version}
    base_url = settings.base_url
    if settings.sandbox:
        headers["x-api-key"] = _SANDBOX_KEY
        base_url = "http://sandbox.invalid"
        transport = transport or _sandbox_transport()
    elif settings.api_key:
        headers["x-api-key"] = settings.api_key.get_secret_value()
    elif settings.auth_token:
        headers["authorization"] = f"Bearer {settings.auth_token.get_secret_value()}"
    return BatchClient(
        base_url=base_url,
        headers=headers if settings.key_source else None,
        transport=transport,
        clock=clock,
        redact=settings.redact,
        stall_seconds=stall_seconds,
    )


_SANDBOX_KEY = "sandbox"


def _sandbox_transport() -> httpx2.AsyncBaseTransport:
    from mcp_batch_tools.sandbox import Sandbox

    sandbox = Sandbox(processing_seconds=6, canceling_seconds=2, retry_after=1)
    sandbox.seed(_SANDBOX_KEY)
    return httpx2.ASGITransport(app=sandbox)
