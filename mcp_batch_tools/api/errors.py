"""What can go wrong in a call to the Message Batches API.

BatchError            a call to the API failed
├── NotConfigured       there are no credentials; nothing was sent
├── UnusableSetup       the configured address, proxy or certificates cannot be used; nothing was sent
├── ApiError            the API answered, with an error
├── NoResponse          no whole answer arrived: the network, TLS, a proxy, a time-out
└── InvalidResponse     an answer arrived that is not what the API promises

Each carries the `endpoint` it happened at; those that saw an answer carry its `status` and `request_id`.
"""

from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from mcp_batch_tools.errors import Failure

Operation = Literal["create", "retrieve", "list", "cancel", "delete", "results", "count_tokens"]
SetupProblem = Literal["address", "proxy", "socks", "certificates"]
Reason = Literal["name", "connect", "tls", "proxy", "timeout", "cut"]
ResponseProblem = Literal[
    "schema",  # a field is missing or not what it must be; `detail` says which
    "other_batch",  # it is about another batch than the one asked for
    "other_part",  # it is another part of the results than the one asked for
    "other_line",  # a line of results came again, and differs
    "compression",  # it cannot be unpacked
    "framing",  # its pieces do not fit together
    "too_long",  # it is longer than any answer can be
    "length",  # not as many bytes arrived as were promised; `detail` says how many
    "not_results",  # a line is not what a line of results must be; `detail` says why
]

_REFUSED_ON_THE_WAY = frozenset({401, 403, 407, 413, 429})
_FAILED_INSIDE = frozenset({"api_error", "timeout_error", "overloaded_error"})
_CHANGES: frozenset[Operation] = frozenset({"create", "cancel", "delete"})


@dataclass(eq=False, kw_only=True)
class BatchError(Failure):
    """Any failure of a call to the Message Batches API."""

    endpoint: Operation
    earlier_try_may_have_acted: bool = field(default=False, init=False)

    @property
    def may_have_acted(self) -> bool:
        """Whether the call may have taken effect although it failed, by this try or an earlier one."""
        return self.earlier_try_may_have_acted or self._this_try_may_have_acted()

    def _this_try_may_have_acted(self) -> bool:
        return False


class NotConfigured(BatchError):
    """Neither an API key nor an auth token is set, so nothing was sent."""

    def __str__(self) -> str:
        return f"{self.endpoint}: no credentials"


@dataclass(eq=False)
class UnusableSetup(BatchError):
    """What is configured cannot be used to connect, so nothing was sent. `detail` says why, without passwords."""

    problem: SetupProblem
    _: KW_ONLY
    detail: str

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.problem}: {self.detail}"


@dataclass(eq=False)
class ApiError(BatchError):
    """The API answered with an error.

    `status` is the HTTP status; `type` and `message` come from the error envelope (`type` is "" where there was none);
    `error_code` is `details.error_code`; `retry_after` is in seconds; `should_retry` is the `x-should-retry` header;
    `names_batch` says whether the message names the batch that the request was about.
    """

    message: str
    _: KW_ONLY
    status: int
    type: str = ""
    request_id: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    error_code: str | None = None
    names_batch: bool = False

    def __str__(self) -> str:
        return f"{self.endpoint}: HTTP {self.status} {self.type}: {self.message}"

    @property
    def gone(self) -> bool:
        """Whether the API itself says that there is no such batch.

        A 404 that does not name the batch says something else: that there is no such address, for example.
        """
        return self.status == 404 and self.type == "not_found_error" and self.names_batch

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


@dataclass(eq=False)
class NoResponse(BatchError):
    """No whole answer arrived. `reason` says why; `sent` is false only where no byte of the request can have left."""

    reason: Reason
    _: KW_ONLY
    sent: bool

    def __str__(self) -> str:
        return f"{self.endpoint}: no answer: {self.reason}"

    def _this_try_may_have_acted(self) -> bool:
        return self.sent and self.endpoint in _CHANGES


@dataclass(eq=False)
class InvalidResponse(BatchError):
    """An answer with a success status whose body is not what the API promises."""

    problem: ResponseProblem
    _: KW_ONLY
    status: int = 200
    request_id: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.endpoint}: HTTP {self.status}: {self.problem} {self.detail}".rstrip()

    def _this_try_may_have_acted(self) -> bool:
        return self.endpoint in _CHANGES
