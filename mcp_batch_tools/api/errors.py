"""What can go wrong in a call to the Message Batches API.

* BatchError          a call to the API failed
  - NotConfigured     there are no credentials; nothing was sent
  - UnusableSetup          the configured address, proxy or certificates cannot be used; nothing was sent
  - ApiError          the API answered, with an error
  - NoResponse          no answer arrived: the network, TLS, a proxy, a time-out
  - InvalidResponse         an answer arrived that is not what the API promises

Each carries the `endpoint` it happened at; those that saw an answer carry its `status` and `request_id`.
"""

from collections.abc import Callable
from typing import Literal

from mcp_batch_tools.errors import Failure

Operation = Literal["create", "retrieve", "list", "cancel", "delete", "results", "count_tokens"]
Reason = Literal["name", "connect", "tls", "proxy", "timeout", "cut"]

_REFUSED_ON_THE_WAY = frozenset({401, 403, 407, 413, 429})
_FAILED_INSIDE = frozenset({"api_error", "timeout_error", "overloaded_error"})
_CHANGES: frozenset[Operation] = frozenset({"create", "cancel", "delete"})


class BatchError(Failure):
    """Any failure of a call to the Message Batches API."""

    def __init__(self, text: str, *, endpoint: Operation) -> None:
        super().__init__(text)
        self.endpoint: Operation = endpoint
        self.earlier_try_may_have_acted = False

    @property
    def may_have_acted(self) -> bool:
        """Whether the call may have taken effect although it failed, by this try or an earlier one."""
        return self.earlier_try_may_have_acted or self._this_try_may_have_acted()

    def redact(self, redact: Callable[[str], str]) -> None:
        """Take secrets out of every text of this error. It must happen before a text is cut anywhere."""
        self.args = tuple(redact(text) if isinstance(text, str) else text for text in self.args)
        for name, value in vars(self).items():
            if isinstance(value, str):
                setattr(self, name, redact(value))

    def _this_try_may_have_acted(self) -> bool:
        return False


class NotConfigured(BatchError):
    """Neither an API key nor an auth token is set, so nothing was sent."""


class UnusableSetup(BatchError):
    """What is configured cannot be used to connect: the address, a proxy, the certificates. Nothing was sent."""

    def __init__(self, text: str, *, endpoint: Operation) -> None:
        super().__init__(f"{endpoint}: {text}", endpoint=endpoint)
        self.text = text


class ApiError(BatchError):
    """The API answered with an error.

    `status` is the HTTP status; `type` and `message` come from the error envelope (`type` is "" where there was none);
    `error_code` is `details.error_code`; `retry_after` is in seconds; `should_retry` is the `x-should-retry` header.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: Operation,
        status: int,
        type: str = "",  # noqa: A002  the API's own name for it
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        error_code: str | None = None,
    ) -> None:
        super().__init__(f"{endpoint}: HTTP {status} {type}: {message}", endpoint=endpoint)
        self.message = message
        self.status = status
        self.type = type
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.error_code = error_code

    @property
    def gone(self) -> bool:
        """Whether the API itself says that there is no such batch; a 404 of something in between does not."""
        return self.status == 404 and self.type == "not_found_error"

    @property
    def spending_limit(self) -> bool:
        """Whether a spending limit is reached, which no waiting helps."""
        return self.status == 429 and (self.error_code or "").endswith("spend_limit_reached")

    def _this_try_may_have_acted(self) -> bool:
        # A 5xx or 408 can come from a server that acted and then failed to say so; any other status is a refusal. But
        # what is not in the words of the API can come from anything between, and a create cannot be repeated.
        if self.endpoint == "create" and (
            self.type in _FAILED_INSIDE or (not self.type and self.status not in _REFUSED_ON_THE_WAY)
        ):
            return True
        return self.endpoint in _CHANGES and (self.status >= 500 or self.status == 408)


class NoResponse(BatchError):
    """No whole answer arrived. `reason` says why; `sent` is false only where no byte of the request can have left."""

    def __init__(self, text: str, *, endpoint: Operation, reason: Reason, sent: bool) -> None:
        super().__init__(f"{endpoint}: no answer: {text}", endpoint=endpoint)
        self.reason: Reason = reason
        self.sent = sent

    def _this_try_may_have_acted(self) -> bool:
        return self.sent and self.endpoint in _CHANGES


class InvalidResponse(BatchError):
    """An answer with a success status whose body is not what the API promises."""

    def __init__(self, text: str, *, endpoint: Operation, status: int, request_id: str | None) -> None:
        super().__init__(f"{endpoint}: HTTP {status}: {text}", endpoint=endpoint)
        self.text = text
        self.status = status
        self.request_id = request_id

    def _this_try_may_have_acted(self) -> bool:
        return self.endpoint in _CHANGES
