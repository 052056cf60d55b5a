"""What can stand against sending requests."""

from collections.abc import Sequence

from mcp_batch_tools.errors import Failure


class UploadStalled(Failure):
    """A body was not handed over in time, so the last piece of it was kept back; nothing was created by it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the upload stood still for {seconds:.0f} s")
        self.seconds = seconds


class NothingToRetry(Failure):
    """No request of the source is to be sent again.

    `chosen` are the ways to end that were asked for, empty by default; `others` are those of other results.
    """

    def __init__(self, message_batch_id: str, *, chosen: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        super().__init__(f"nothing of {message_batch_id} is to be retried")
        self.message_batch_id = message_batch_id
        self.chosen = chosen
        self.others = others


class RetryOfMissing(Failure):
    """It was said what of a batch to send again, and not of which."""


class RetryUnreadable(Failure):
    """The results of the batch that is to be retried cannot be read, since it is still running or they are gone."""

    def __init__(self, message_batch_id: str, *, ended: bool) -> None:
        super().__init__(f"the results of {message_batch_id} cannot be read")
        self.message_batch_id = message_batch_id
        self.ended = ended
