"""What can go wrong: the base class, and what rooms share. Each room has errors of its own.

* Failure
  x BatchError          `api`: a call to the API failed
  x LedgerError         `ledger`: what this installation remembers cannot be written or read
  x PathNotAllowed        a file must not go where it was asked to go
  x InvalidPrices       `pricing`: a list of prices cannot be used
  x InvalidRequests     `requests`: requests for a new batch cannot be sent as they are; nothing was sent
  x SourceChanged       `requests`: a file of requests is no longer what was checked; nothing of this batch was sent
  x SaveFailed     `results`: results could not be saved whole; what there is of them lies aside

None of them says what to do next: that depends on the tool, see `tools/failures.py`. Anything else that is raised is a
bug.
"""


class Failure(Exception):
    """Something that can go wrong, and is told to the model in sentences."""


class PathNotAllowed(Failure):
    """A path that is not allowed; `folder` is where files may be. Nothing was written."""

    def __init__(self, text: str, *, folder: str) -> None:
        super().__init__(text)
        self.folder = folder
