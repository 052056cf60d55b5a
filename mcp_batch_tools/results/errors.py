"""What can go wrong on the way of results to a file."""

from typing import Literal

from mcp_batch_tools.errors import Failure

SaveProblem = Literal[
    "name_taken",  # another file has the name
    "folder_unwritable",  # no file can be made in the folder
    "write_failed",  # the disk is full, or has another problem
    "replaced",  # another program put a file in the place of the one that was checked
    "not_results",  # what arrived is not the results of the batch
    "interrupted",  # the download broke again and again
    "upstream",  # the API failed; the cause is a `BatchError`
    "parquet_missing",  # the package that writes .parquet is not installed
    "table_unreadable",  # the table that was written cannot be read again
    "being_saved",  # another save writes to the file
    "too_many",  # so many saves are under way that no more are begun
    "too_slow",  # it was not whole when the time was up
    "stopped",  # the server ended before it was whole
]


class SaveFailed(Failure):
    """Results could not be saved whole.

    `path` is the file or folder, `partial` the file that holds what arrived, where anything did; `detail` holds the
    words of the system, or says what is wrong with what arrived.
    """

    def __init__(self, problem: SaveProblem, *, path: str, partial: str | None = None, detail: str = "") -> None:
        super().__init__(f"{path}: {problem} {detail}".rstrip())
        self.problem: SaveProblem = problem
        self.path = path
        self.partial = partial
        self.detail = detail
