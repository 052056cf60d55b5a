"""Answers to questions, each of which counts once: a no as well as a yes."""

from dataclasses import dataclass
from typing import Literal

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Transaction
from mcp_batch_tools.ledger.receipts import Outcome

Decision = Literal["granted", "refused", "unseen"]
"""A yes, a no, or an answer that no person can have given."""


@dataclass(frozen=True)
class UsedConsent:
    """An answer that was given before, to a question about `act`.

    `receipt_id` and `outcome` belong to the delete or cancel that it led to; without a receipt there was none, and
    without an outcome nobody knows yet. What a create led to stands in `submissions`.
    """

    act: str
    decision: Decision
    receipt_id: str | None
    outcome: Outcome | None


def use_consent(
    transaction: Transaction, question_id: str, act: str, decision: Decision, now: int, receipt_id: str | None = None
) -> UsedConsent | None:
    """Use up the answer to a question; returns what came of an earlier answer, in which case nothing is changed.

    `receipt_id` is the intent of this transaction, where the answer leads to one.
    """
    used = transaction.row(
        statements.INSERT_CONSENT, id=question_id, time=now, act=act, decision=decision, receipt_id=receipt_id
    )
    return used_consent(transaction, question_id) if used is None else None


def used_consent(transaction: Transaction, question_id: str) -> UsedConsent | None:
    """What became of an earlier answer to this question, or None where it is the first."""
    row = transaction.row(statements.CONSENT, id=question_id)
    return None if row is None else UsedConsent(row["act"], row["decision"], row["receipt_id"], row["outcome"])
