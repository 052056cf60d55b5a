"""What can go wrong with what this installation remembers."""

from mcp_batch_tools.errors import Failure


class LedgerError(Failure):
    """The ledger at `path` cannot be written or read; the text says why, in the words of the system."""

    def __init__(self, text: str, *, path: str) -> None:
        super().__init__(text)
        self.path = path
