"""Who decides on an act that destroys or costs: the policy, or the person, and that an answer counts once.

Nothing is done unless one of these holds: the person was asked and chose it, the policy says that nobody need be
asked, nothing can be lost, or the client declares that it cannot ask, so that the approval of destructive tools by
the host is the gate. What a client can do may be unknown; that is never taken for "need not be asked".

A consent holds for what its question named, and is used up by the intent to act on it, in the same transaction; a no
is used up as well. A call that comes back with a question that was answered before is answered with what came of it.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation
from mcp.server.mcpserver.resolve import Elicit, Resolve

from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.settings import SANDBOX_NOTE
from mcp_batch_tools.tools.app import App, AppDep, Caller, CallerDep
from mcp_batch_tools.tools.facts import CancelFacts, CreateFacts, DeleteFacts
from mcp_batch_tools.tools.questions import Question
from mcp_batch_tools.tools.words.consent import (
    CancelChoice,
    CreateChoice,
    DeleteChoice,
    SaveOrDeleteChoice,
    cannot_ask_message,
    declined_message,
)

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.consents import UsedConsent
    from mcp_batch_tools.ledger.database import Transaction

_log = logging.getLogger(__name__)

How = Literal["asked and accepted", "host approval", "policy allow", "nothing to lose", "below the approval threshold"]
Kind = Literal["granted", "refused"]
Named = TypeVar("Named", DeleteFacts, CancelFacts, CreateFacts)


@dataclass(frozen=True)
class Granted:
    """The act may happen, and how that was decided: it stands in the receipt.

    `question` is the one that was answered; None where nobody was asked.
    """

    how: How
    save_first: bool = False
    question: Question | None = None


@dataclass(frozen=True)
class Refused:
    """The act must not happen. `question` is the one that was answered; None where nobody was asked."""

    reason: Literal["declined", "cannot_ask"]
    message: str
    question: Question | None = None


Decision = Granted | Refused


@dataclass(frozen=True)
class AnsweredBefore:
    """The question was answered before, with a yes where `granted`.

    `begun` says that the yes led to a delete or cancel, and `outcome` what came of it, as far as that is known; the
    batches of a create are in the ledger.
    """

    question: Question
    granted: bool
    begun: bool
    outcome: Literal["done", "failed"] | None

    @classmethod
    def of(cls, question: Question, used: "UsedConsent") -> "AnsweredBefore":
        """What the ledger holds of an answer to this question."""
        return cls(question, used.decision == "granted", used.receipt_id is not None, used.outcome)


class AlreadyAnswered(Exception):
    """The question was answered before, so this answer counts for nothing. It never leaves the tools."""

    def __init__(self, earlier: AnsweredBefore) -> None:
        super().__init__(earlier.question.id)
        self.earlier = earlier


def can_be_asked(app: App, caller: Caller) -> bool:
    """Whether a question would be put to the person; what only a question needs can be left out where it would not."""
    return app.settings.destructive != "allow" and caller.ability == "able"


def decision_or_question(
    app: App, caller: Caller, facts: Named | None, words: Callable[[Named], Elicit[Any]]
) -> Elicit[Any] | Decision:
    """The question where the person must be asked, else the decision. Without facts nothing can be lost."""
    settings, policy = app.settings, app.settings.destructive
    if facts is None:
        return Granted("nothing to lose")
    if policy == "allow":
        return Granted("policy allow")
    ability = caller.ability
    if ability == "able":
        caller.ask(asdict(facts))
        question = words(facts)
        return Elicit(f"{question.message} {SANDBOX_NOTE}", question.schema) if settings.sandbox else question
    if policy == "ask" and ability == "unable":
        return Granted("host approval")
    return Refused("cannot_ask", cannot_ask_message(policy, known=ability == "unable"))


def decision_from(outcome: object, caller: Caller) -> Decision:
    """What the answer to a question comes to. Whatever is not plainly a consent is a refusal."""
    match outcome:
        case AcceptedElicitation(data=Granted() | Refused() as decision):
            return decision
        case AcceptedElicitation(
            data=DeleteChoice(choice="delete")
            | SaveOrDeleteChoice(choice="delete")
            | CancelChoice(choice="stop it")
            | CreateChoice(choice="create")
        ):
            return Granted("asked and accepted", question=caller.question)
        case AcceptedElicitation(data=SaveOrDeleteChoice(choice="save, then delete")):
            return Granted("asked and accepted", save_first=True, question=caller.question)
        case AcceptedElicitation(data=DeleteChoice() | SaveOrDeleteChoice() | CancelChoice() | CreateChoice()):
            answered = "chose to leave it as it is"
        case DeclinedElicitation():
            answered = "declined"
        case CancelledElicitation():
            answered = "dismissed the question"
        case _:
            raise TypeError(f"no outcome of a question: {outcome!r}")
    return Refused("declined", declined_message(answered), caller.question)


def facts_named(question: Question | None, kind: type[Named]) -> Named | None:
    """The facts of a question, or None where there is none."""
    return None if question is None else kind(**question.facts)


async def answer_before(app: App, question: Question | None) -> AnsweredBefore | None:
    """What came of an earlier answer to this question, or None where there was none.

    Raises:
        LedgerError: the ledger cannot be read, so nothing may be done on an answer either.
    """
    if question is None or not app.remembers:
        return None
    from mcp_batch_tools.ledger.consents import used_consent

    used = await app.ledger.read(lambda transaction: used_consent(transaction, question.id))
    return None if used is None else AnsweredBefore.of(question, used)


async def _earlier(app: AppDep, caller: CallerDep) -> AnsweredBefore | None:
    return await answer_before(app, caller.question)


Earlier = Annotated[AnsweredBefore | None, Resolve(_earlier)]
"""An earlier answer to the question that this call comes back with: looked up before anything else is done."""


def use(
    transaction: "Transaction", question: Question, act: str, kind: Kind, now: int, receipt_id: str | None = None
) -> None:
    """Use up an answer, in the transaction of the intent `receipt_id` where it leads to one.

    Raises:
        AlreadyAnswered: it was used before. What else is in the transaction is undone.
    """
    from mcp_batch_tools.ledger.consents import use_consent

    used = use_consent(transaction, question.id, act, kind, now, receipt_id)
    if used is not None:
        raise AlreadyAnswered(AnsweredBefore.of(question, used))


async def use_up(app: App, decision: Decision, act: str) -> AnsweredBefore | None:
    """Use up an answer that leads to no act; returns what came of an earlier one, where there was one.

    Where the ledger cannot be written, nothing can be done on another answer either.
    """
    question = decision.question
    if question is None:
        return None
    app.open_questions.drop(question.id)
    kind: Kind = "granted" if isinstance(decision, Granted) else "refused"
    try:
        await app.ledger.write(lambda transaction: use(transaction, question, act, kind, app.now()))
    except AlreadyAnswered as error:
        return error.earlier
    except LedgerError as error:
        _log.warning("An answer cannot be written down: %s", error)
    return None
