"""What can go wrong: the base class, and what several rooms share. Each room has errors of its own.

Failure
├── BatchError            `api`: a call to the API failed
│   ├── NotConfigured       there are no credentials
│   ├── UnusableSetup       the configured address, proxy or certificates cannot be used
│   ├── ApiError            the API answered with an error
│   ├── NoResponse          no whole answer arrived
│   └── InvalidResponse     an answer arrived that is not what the API promises
├── LedgerError           `ledger`: what this installation remembers cannot be written or read
├── PathNotAllowed        a file must not be written, or cannot be read, where that was asked for
├── InvalidPrices         `pricing`: a price list cannot be used
├── InvalidRequests       `requests`: requests for a new batch would fail
├── BothGiven             `requests`: they were given twice, or not at all
├── SourceChanged         `requests`: they are no longer those that were checked
├── UploadStalled         `submissions`: sending them stood still
├── NothingToRetry        `submissions`: no request of a batch is worth sending again
├── RetryOfMissing        `submissions`: it is not said of which batch requests are to be sent again
├── RetryUnreadable       `submissions`: the results of the batch to retry cannot be read
└── SaveFailed            `results`: results could not be saved whole

An error says what is known, in facts: codes, names, numbers, and the words of others. It holds no sentence of ours,
since what to say also depends on the act that failed; see `tools/words`. Whatever else is raised is a bug.
"""

from typing import Literal

Purpose = Literal["save_results", "read_requests"]
PathProblem = Literal[
    "outside",  # it leads out of the folder, also by way of a link
    "missing",  # there is no such file
    "suffix",  # its name does not end in one of `suffixes`
    "too_long",  # its name is longer than a file system takes
    "too_deep",  # it has too many folders in it
    "invisible",  # it holds characters that cannot be seen
    "not_a_file",  # a folder, a device or the like has that name
    "foreign",  # it is a path of another operating system
    "url",  # it is a URL of something that is not on this computer
    "variable",  # it starts with a variable, which nobody fills in
    "device",  # Windows keeps a name in it for a device
    "unusable",  # the system refuses it; `detail` says why
]


class Failure(Exception):
    """Something that can go wrong, and that the model or the user is told about."""


class PathNotAllowed(Failure):
    """A path that is not allowed. Nothing was written or read.

    `folder` is where files may be, `suffixes` how their names may end; `detail` holds the words of the system.
    `instead` is a plain name in `folder` that can be used, where one was looked for and found.
    """

    def __init__(
        self,
        problem: PathProblem,
        *,
        purpose: Purpose,
        folder: str,
        suffixes: tuple[str, ...] = (),
        detail: str = "",
        instead: str | None = None,
    ) -> None:
        super().__init__(f"{purpose}: {problem} {detail}".rstrip())
        self.problem: PathProblem = problem
        self.purpose: Purpose = purpose
        self.folder = folder
        self.suffixes = suffixes
        self.detail = detail
        self.instead = instead
