"""What can be wrong with a price list."""

from typing import Literal

from mcp_batch_tools.errors import Failure


class InvalidPrices(Failure):
    """The price list at `path` cannot be read, or is not one. `detail` says why, and where in it."""

    def __init__(self, problem: Literal["unreadable", "invalid"], *, path: str, detail: str) -> None:
        super().__init__(f"{path}: {problem}: {detail}")
        self.problem: Literal["unreadable", "invalid"] = problem
        self.path = path
        self.detail = detail
