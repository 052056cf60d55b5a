"""What a tool works with: the parts of the server that live as long as it does, and the client that called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult
from pydantic import ValidationError

from mcp_batch_tools.clock import Clock, milliseconds
from mcp_batch_tools.settings import Settings
from mcp_batch_tools.tools.answers import WAIT
from mcp_batch_tools.tools.questions import UNANSWERED_AFTER, OpenQuestions, Question, UnansweredQuestions, current

if TYPE_CHECKING:
    from mcp_batch_tools.api.client import BatchClient
    from mcp_batch_tools.ledger.database import Database, Transaction
    from mcp_batch_tools.results.saving import Saves

ToolContext = Context[Any, Any]
"""The SDK's context of a call. It is untyped, so tools get `App` and `Caller` instead."""
_LONGEST_NAME = 100

Ability = Literal["able", "unable", "unknown"]
"""Whether a client can put a form to the person."""

INPUT_REQUIRED = "2026-07-28"
"""From this protocol version on, questions travel in the answer of a call; before, as a request of the server."""


@dataclass(frozen=True)
class App:
    """What lives as long as the server runs."""

    settings: Settings
    clock: Clock
    most_requests: int
    """The most that go into one batch."""
    open_client: Callable[[], "BatchClient"] = field(repr=False)
    tasks: TaskGroup = field(repr=False)
    """What goes on when a call is over; it is stopped when the server ends."""
    open_questions: OpenQuestions = field(default_factory=OpenQuestions, repr=False)
    unanswered: UnansweredQuestions = field(default_factory=UnansweredQuestions, repr=False)
    gave_up_waiting: set[str | None] = field(default_factory=set, repr=False)
    """Names of clients that have canceled a call that waited."""
    question_seconds: float = UNANSWERED_AFTER / 1000
    """How long the answer to a question is waited for in the middle of a call."""

    @cached_property
    def client(self) -> "BatchClient":
        """Made by the first call: its import would delay the start of a server."""
        return self.open_client()

    @cached_property
    def saves(self) -> "Saves":
        """The saves under way."""
        from mcp_batch_tools.results.saving import Saves

        return Saves(self.tasks, self.clock)

    @cached_property
    def _remembered(self) -> set[str]:
        """Workspaces that this process has written to the ledger."""
        return set()

    @cached_property
    def ledger(self) -> "Database":
        """Opened by the first act: to make it would delay the start of a server, and leave a trace of a mere look."""
        from mcp_batch_tools.ledger.database import Database

        return Database(self.settings.ledger_folder, self.settings.redact)

    @property
    def remembers(self) -> bool:
        """Whether this installation has a ledger already; looking something up must not make one."""
        try:
            return self.settings.ledger_folder.exists()
        except OSError:
            return True  # it cannot even be looked at: whoever opens it says why

    def now(self) -> int:
        """The time of day by this machine, in milliseconds."""
        return milliseconds(self.clock.now())

    async def scope(self) -> str:
        """Whose batches these are: the workspace that answers, or a digest of the key where answers name none.

        Where nothing has answered this key yet, the API is asked once.

        Raises:
            BatchError: it did not answer.
            LedgerError: the ledger cannot be read.
        """
        if self.client.workspace is None and self.remembers:
            remembered = await self.ledger.read(self._remembered_workspace)
            if remembered is not None:
                return remembered
        if not self.client.answered:
            await self.client.list(limit=1)
        return self.client.workspace or self.settings.credential_scope

    def _remembered_workspace(self, transaction: "Transaction") -> str | None:
        from mcp_batch_tools.ledger.workspaces import remembered_workspace

        return remembered_workspace(transaction, self.settings.credential_scope)

    async def scope_to_write(self) -> str:
        """The scope, remembered in the ledger, which is made where it is missing. Raises as `scope`."""
        scope, credential = await self.scope(), self.settings.credential_scope
        if scope not in {credential, *self._remembered}:
            from mcp_batch_tools.ledger.workspaces import remember_workspace

            await self.ledger.write(lambda transaction: remember_workspace(transaction, credential, scope))
            self._remembered.add(scope)
        return scope

    async def close(self) -> None:
        """Close what was opened."""
        if "ledger" in vars(self):
            self.ledger.close()
        if "client" in vars(self):
            await self.client.close()


class Caller:
    """The client on the other side of one call: its name, what it can do and was asked, and how to tell it more.

    `question` is what this call comes back with, or has put to the person; None where nobody was asked. `put` is its
    form, where that travels in the answer of the call.
    """

    def __init__(self, context: ToolContext, app: App) -> None:
        self._context = context
        self._app = app
        self.question: Question | None = current.get() if context.request_state is not None else None
        self.put: Elicit[Any] | None = None

    def ask(self, facts: Mapping[str, Any]) -> Question:
        """The question that is put to the person, about these facts. The one that the call came back with stays."""
        if self.question is None:
            self.question = Question.new(facts, self._app.now())
        current.set(self.question)
        return self.question

    @property
    def sealed(self) -> bool:
        """Whether a question travels in the answer of the call; before that era it is put in the middle of a call."""
        return (self._context.protocol_version or "") >= INPUT_REQUIRED

    @property
    def answered(self) -> bool:
        """Whether the call brings answers to the question that it comes back with."""
        return self.question is not None and bool(self._context.input_responses)

    def fills_in_nothing(self, question: Elicit[Any]) -> bool:
        """Whether an answer that the call brings is none: not to a form, or an accept whose form is not filled in."""
        return self.answered and not all(
            isinstance(answer, ElicitResult) and (answer.action != "accept" or _fits(question, answer.content))
            for answer in (self._context.input_responses or {}).values()
        )

    async def elicit(self, question: Elicit[Any], seconds: float) -> object:
        """Put a question in the middle of the call, as before 2026-07-28; returns the SDK's outcome of it.

        Where there is none it returns a text instead: `error` where the client answered with one, `no form` where what
        it accepted is not filled in, `silence` where nothing came in so many seconds.
        """
        with anyio.move_on_after(seconds):
            try:
                return await self._context.elicit(question.message, question.schema)
            except MCPError:
                return "error"
            except ValueError:
                return "no form"
        return "silence"

    @property
    def name(self) -> str | None:
        """Name and version, as it says itself; up to 100 characters, without secrets."""
        params = self._context.session.client_params
        if params is None:
            return None
        return self._app.settings.redact(f"{params.client_info.name} {params.client_info.version}")[:_LONGEST_NAME]

    @property
    def ability(self) -> Ability:
        """Whether it can put a form to the person.

        A call that comes back with an answer was asked before: if its client says now that it cannot ask, nothing is
        known.
        """
        capabilities = self._context.client_capabilities
        if capabilities is None:
            return "unknown"
        elicitation = capabilities.elicitation
        if elicitation is None or (elicitation.form is None and elicitation.url is not None):
            return "unknown" if self._context.input_responses or self._context.request_state else "unable"
        if not self.sealed and not self._context.session.can_send_request:
            return "unknown"  # it could ask, but no question reaches it
        return "able"

    @property
    def patience(self) -> int:
        """How many seconds of waiting are worth offering: few to a client that has given up on a wait before."""
        return 4 if self.name in self._app.gave_up_waiting else WAIT

    def gave_up(self) -> None:
        """Note that the client has canceled a call that waited."""
        self._app.gave_up_waiting.add(self.name)

    async def report_progress(self, progress: float, total: float | None, message: str) -> None:
        """Tell how far the call has come."""
        await self._context.report_progress(progress, total, message)


def _fits(question: Elicit[Any], content: object) -> bool:
    try:
        question.schema.model_validate(content)
    except ValidationError:
        return False
    return True


def app_of(context: ToolContext) -> App:
    """The server's parts, from the SDK's context of a call."""
    app: App = context.request_context.lifespan_context
    return app


async def _app(context: ToolContext) -> App:
    return app_of(context)


async def _caller(context: ToolContext, app: Annotated[App, Resolve(_app)]) -> Caller:
    return Caller(context, app)


AppDep = Annotated[App, Resolve(_app)]
"""The server's parts as a parameter that the model does not see."""
CallerDep = Annotated[Caller, Resolve(_caller)]
"""The client of this call as a parameter that the model does not see."""
