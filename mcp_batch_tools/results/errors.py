"""What can go wrong on the way of results to a file."""

from mcp_batch_tools.errors import Failure


class SaveFailed(Failure):
    """Results could not be saved; the text says why. `partial` is the file that holds what arrived, where any did."""

    def __init__(self, text: str, *, partial: str | None = None) -> None:
        super().__init__(text)
        self.partial = partial
