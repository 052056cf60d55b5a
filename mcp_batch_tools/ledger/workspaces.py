"""Which workspace a key belongs to, as the API said in the header of an answer.

A key is known by `credential`, a digest of it and of the address that it is for.
"""

from mcp_batch_tools.ledger import statements
from mcp_batch_tools.ledger.database import Transaction


def remembered_workspace(transaction: Transaction, credential: str) -> str | None:
    """The workspace that answered this key before, or None."""
    row = transaction.row(statements.WORKSPACE, credential=credential)
    return None if row is None else str(row["workspace"])


def remember_workspace(transaction: Transaction, credential: str, workspace: str) -> None:
    """Remember who answered; what was kept under the key alone until now belongs to the workspace from here on."""
    if remembered_workspace(transaction, credential) != workspace:
        transaction.change(statements.INSERT_WORKSPACE, credential=credential, workspace=workspace)
        transaction.change(statements.ADOPT_RECEIPTS, credential=credential, workspace=workspace)
    transaction.change(statements.ADOPT_SUBMISSIONS, credential=credential, workspace=workspace)
