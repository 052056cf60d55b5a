"""Answers to questions, each of which counts once: a no as well as a yes."""

from dataclasses import dataclass
from typing import Literal

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Transaction
from mcp_batch_tools.ledger.receipts import Outcome

Decision = Literal["granted", "refused"]


@dataclass(frozen=True)
class UsedConsent:
    """An answer that was given before, to a question about `act`.

    `receipt_id` and `outcome` belong to the act that it led to; without an outcome nobody knows yet.
    """

    act: str
    decision: Decision
    receipt_id: str | None
    outcome: Outcome | None


def use_consent(
    transaction: Transaction, question_id: str, act: str, decision: Decision, now: int, receipt_id: str | None = None
) -> bool:
    """Use up the answer to a question; False where it was used before, in which case nothing is changed."""
    used = transaction.row(
        statements.INSERT_CONSENT, id=question_id, time=now, act=act, decision=decision, receipt_id=receipt_id
    )
    return used is not None


def used_consent(transaction: Transaction, question_id: str) -> UsedConsent | None:
    """What became of an earlier answer to this question, or None where it is the first."""
    row = transaction.row(statements.CONSENT, id=question_id)
    return None if row is None else UsedConsent(row["act"], row["decision"], row["receipt_id"], row["outcome"])
