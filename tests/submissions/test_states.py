"""How long each thing may take, by which clock, and that the documentation says so."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_batch_tools.submissions import states
from mcp_batch_tools.submissions.states import ABSENT_AFTER, CLOCK_OFF, LEASE_ANSWER, LEASE_PIECE, WINDOW_AFTER
from tests.support.attempts import MINUTE, attempt

DOCUMENT = Path(__file__).parents[2] / "docs" / "submissions.md"
NOW = 1_000 * MINUTE


@pytest.mark.parametrize(
    ("state", "ends", "over"),
    [
        ("claimed", NOW + 1, False),
        ("claimed", NOW, True),
        ("claimed", NOW + LEASE_PIECE, False),
        ("claimed", NOW + LEASE_PIECE + 1, True),
        ("sent", NOW + LEASE_PIECE + 1, False),
        ("sent", NOW + LEASE_ANSWER, False),
        ("sent", NOW + LEASE_ANSWER + 1, True),
    ],
)
def test_a_lease_is_over_when_it_ends_and_where_another_clock_must_have_written_it(
    state: str, ends: int, over: bool
) -> None:
    assert attempt(state=state, lease_expires_at=ends).lease_is_over(NOW) == over


@pytest.mark.parametrize(
    ("api_sent", "api_now", "now", "expected"),
    [
        (0, ABSENT_AFTER, 0, True),
        (0, ABSENT_AFTER - 1, NOW * 1000, False),
        # A list without a Date: the clock of this machine, and the one that wrote the lease, may both be off.
        (0, None, WINDOW_AFTER + 2 * CLOCK_OFF, True),
        (0, None, WINDOW_AFTER + 2 * CLOCK_OFF - 1, False),
        # No list can tell anything of what was claimed without a Date.
        (None, NOW, WINDOW_AFTER, True),
        (None, NOW, WINDOW_AFTER - 1, False),
    ],
)
def test_that_waiting_will_not_tell_is_said_by_the_apis_clock(
    api_sent: int | None, api_now: int | None, now: int, expected: bool
) -> None:
    lost = attempt(api_claimed=api_sent, api_sent=api_sent, lease_expires_at=0)
    assert lost.waiting_will_not_tell(now, api_now) == expected


def test_the_documentation_names_each_timeout_as_it_is() -> None:
    """A row of its table: the name of the constant, so many minutes, hours or days, and the reason."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) (minutes?|hours?|days?) \|", DOCUMENT.read_text(), re.MULTILINE)
    said = {
        name: timedelta(**{unit.removesuffix("s") + "s": int(number)}) / timedelta(milliseconds=1)
        for name, number, unit in rows
    }
    timeouts = {name: value for name, value in vars(states).items() if name.isupper() and isinstance(value, int)}
    assert said == {name: value for name, value in timeouts.items() if not name.startswith("_")}


def test_the_documentation_describes_each_state() -> None:
    described = set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert {*states.State.__args__, *states.Evidence.__args__} <= described  # type: ignore[attr-defined]
