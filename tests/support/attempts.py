"""Attempts for tables of cases, in one word or a line each. Times are minutes of the API's clock."""

from dataclasses import replace
from typing import Any

from mcp_batch_tools.submissions.states import Attempt

MINUTE = 60_000

PLAIN = Attempt(
    id="x",
    version=1,
    state="sent",
    evidence=None,
    time=0,
    scope="workspace",
    plan_fingerprint="P",
    round=0,
    fingerprint="A",
    copy=1,
    part=0,
    parts=1,
    requests=2,
    retry_of=None,
    seq=None,
    label=None,
    estimate_usd=None,
    newest_before=None,
    newest_created_at=None,
    api_claimed=0,
    api_sent=0,
    lease_expires_at=0,
    message_batch_id=None,
    batch_created_at=None,
    refuted=frozenset(),
    models=(),
)
"""The first of one part, claimed and sent at 0, whose answer was lost."""


def attempt(id: str = "x", **differing: Any) -> Attempt:  # noqa: A002
    """An attempt that differs from `PLAIN` in these fields; one that is created has a batch."""
    made = replace(PLAIN, id=id, **differing)
    if made.state == "created" and made.message_batch_id is None:
        made = replace(made, message_batch_id=f"batch-{id}", evidence=made.evidence or "answered", batch_created_at=0)
    if made.state == "claimed":
        made = replace(made, api_sent=None)
    return made
