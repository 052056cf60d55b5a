"""An answer counts once, a no as well as a yes.

A consent is used up by the intent to act on it, in the same transaction. A call that comes back with a question that
was answered before is answered with what came of it.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from mcp.server.mcpserver.resolve import Resolve

from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.tools.app import App, AppDep, CallerDep
from mcp_batch_tools.tools.questions import Question

if TYPE_CHECKING:
    from mcp_batch_tools.ledger.consents import Decision, UsedConsent
    from mcp_batch_tools.ledger.database import Transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnsweredBefore:
    """The question was answered before, and what was decided then; `unseen` is an answer that no person gave.

    `begun` says that a yes led to a delete or cancel, and `outcome` what came of it, as far as that is known; the
    batches of a create are in the ledger.
    """

    question: Question
    decision: "Decision"
    begun: bool
    outcome: Literal["done", "failed"] | None

    @classmethod
    def of(cls, question: Question, used: "UsedConsent") -> "AnsweredBefore":
        """What the ledger holds of an answer to this question."""
        return cls(question, used.decision, used.receipt_id is not None, used.outcome)


class AlreadyAnswered(Exception):
    """The question was answered before, so this answer counts for nothing. It never leaves the tools."""

    def __init__(self, earlier: AnsweredBefore) -> None:
        super().__init__(earlier.question.id)
        self.earlier = earlier


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
    transaction: "Transaction",
    question: Question,
    act: str,
    decision: "Decision",
    now: int,
    receipt_id: str | None = None,
) -> None:
    """Use up an answer, in the transaction of the intent `receipt_id` where it leads to one.

    Raises:
        AlreadyAnswered: it was used before. What else is in the transaction is undone.
    """
    from mcp_batch_tools.ledger.consents import use_consent

    used = use_consent(transaction, question.id, act, decision, now, receipt_id)
    if used is not None:
        raise AlreadyAnswered(AnsweredBefore.of(question, used))


async def use_up(app: App, question: Question | None, act: str, decision: "Decision") -> AnsweredBefore | None:
    """Use up an answer that leads to no act; returns what came of an earlier one, where there was one.

    Where the ledger cannot be written, nothing can be done on another answer either.
    """
    if question is None:
        return None
    app.open_questions.drop(question.id)
    try:
        await app.ledger.write(lambda transaction: use(transaction, question, act, decision, app.now()))
    except AlreadyAnswered as error:
        return error.earlier
    except LedgerError as error:
        _log.warning("An answer cannot be written down: %s", error)
    return None
