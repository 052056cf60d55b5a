"""What the tests of sending share."""

import functools

import pytest

from mcp_batch_tools.requests.plan import build_plan


@pytest.fixture
def two_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two requests at most, so that a small file has many parts."""
    monkeypatch.setattr(
        "mcp_batch_tools.tools.create_message_batch.build_plan", functools.partial(build_plan, most_requests=2)
    )
