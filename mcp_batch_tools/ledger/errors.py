"""What can go wrong with what this installation remembers."""

from typing import Literal

from mcp_batch_tools.errors import Failure

Reason = Literal["unusable", "busy", "replaced", "other_version", "unsafe_folder"]


class LedgerError(Failure):
    """The ledger at `path` cannot be used, so nothing that must be remembered can be done.

    `reason` is `unusable` (the system says why in `text`), `busy` (another program holds it), `replaced` (another file
    has its name since it was opened, or none), `other_version` (its schema is another one), or `unsafe_folder` (others
    can write to the folder).
    """

    def __init__(self, reason: Reason, *, path: str, text: str = "") -> None:
        super().__init__(f"{path}: {reason}: {text}" if text else f"{path}: {reason}")
        self.reason: Reason = reason
        self.path = path
        self.text = text
