"""What can be wrong with a file of rates."""

from typing import Literal

from mcp_batch_tools.errors import Failure


class InvalidPrices(Failure):
    """The file of rates at `path` cannot be read, is not one, or has the form of an earlier version.

    `detail` says why, and where in it; for the earlier form, it is one of its models in the present form.
    """

    def __init__(self, problem: Literal["unreadable", "invalid", "old_form"], *, path: str, detail: str) -> None:
        super().__init__(f"{path}: {problem}: {detail}")
        self.problem: Literal["unreadable", "invalid", "old_form"] = problem
        self.path = path
        self.detail = detail
