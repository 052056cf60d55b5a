"""Repeating what failed: whether, after how long, and within which time."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mcp_batch_tools.api.errors import ApiError, BatchError, NoResponse
from mcp_batch_tools.clock import Clock

ATTEMPTS = 3
LONGEST = 30.0
"""Seconds from the first try to the last. A wait that leads past them is reported instead of waited for: the caller
of a tool gives up after a minute."""

Result = TypeVar("Result")


def seconds_until_repeat(error: BatchError, attempt: int) -> float | None:
    """How long to wait before repeating a request that failed, or None where a repeat is of no use.

    `attempt` counts from 1. Whether a repeat is *safe* is the caller's knowledge, see `repeated`.
    """
    backoff = min(0.5 * 2.0 ** (attempt - 1), 8.0) * random.uniform(0.75, 1)  # noqa: S311  jitter is no secret
    match error:
        case NoResponse(reason="tls" | "proxy" | "name"):
            return None
        case NoResponse():
            return backoff
        case ApiError(should_retry=False) | ApiError(spending_limit=True):
            return None
        case ApiError() if error.should_retry or error.status in {408, 409, 429} or error.status >= 500:
            return backoff if error.retry_after is None else error.retry_after
        case _:
            return None


async def repeated(
    attempt: Callable[[], Awaitable[Result]], clock: Clock, safe: Callable[[BatchError], bool] = lambda _: True
) -> Result:
    """What `attempt` returns, repeated where it failed, a repeat is `safe`, and there is time for it.

    An error that is raised in the end knows whether an earlier try may have acted.
    """
    start = clock.monotonic()
    may_have_acted = False
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except BatchError as error:
            error.earlier_try_may_have_acted = may_have_acted
            may_have_acted = error.may_have_acted
            wait = seconds_until_repeat(error, attempts)
            if wait is None or attempts == ATTEMPTS or not safe(error) or clock.monotonic() - start + wait > LONGEST:
                raise
        await clock.sleep(wait)
