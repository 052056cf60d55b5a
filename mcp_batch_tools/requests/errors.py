"""What can be wrong with requests for a new batch."""

from mcp_batch_tools.errors import Failure


class InvalidRequests(Failure):
    """Requests that would fail, or a file of them that cannot be read. `problems` has one sentence for each kind."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
