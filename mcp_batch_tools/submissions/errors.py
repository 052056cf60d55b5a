"""What can stand against sending requests."""

from mcp_batch_tools.errors import Failure


class UploadStalled(Failure):
    """A body was not handed over in time, so the last piece of it was kept back; nothing was created by it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the upload stood still for {seconds:.0f} s")
        self.seconds = seconds


class NothingToRetry(Failure):
    """No request of the source is worth sending again: none expired, was canceled or failed on the server's side."""

    def __init__(self, message_batch_id: str) -> None:
        super().__init__(f"nothing of {message_batch_id} is to be retried")
        self.message_batch_id = message_batch_id


class RetryUnreadable(Failure):
    """The results of the batch that is to be retried cannot be read, since it is still running or they are gone."""

    def __init__(self, message_batch_id: str, *, ended: bool) -> None:
        super().__init__(f"the results of {message_batch_id} cannot be read")
        self.message_batch_id = message_batch_id
        self.ended = ended
