"""Sending once under everything that can happen at once: thousands of schedules of the model, each from a seed.

`MCP_BATCH_TOOLS_TEST_SEED` gives other schedules and `MCP_BATCH_TOOLS_TEST_SCHEDULES` another number of them. What
breaks is named with its schedule, which `Schedule(name, …)` runs again.
"""

import os

import pytest

from tests.submissions.model.ledger import ARROWS
from tests.submissions.model.rules import HARMLESS, WITHOUT
from tests.submissions.model.schedule import run

SEED = os.environ.get("MCP_BATCH_TOOLS_TEST_SEED", "2026")
SCHEDULES = int(os.environ.get("MCP_BATCH_TOOLS_TEST_SCHEDULES", "1200"))
SHARES = 4
UNTIL_FOUND = 4000
"""Schedules in which the model must find what goes wrong without a rule."""


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_paid_for_twice_and_nothing_untrue_is_written_down(share: int) -> None:
    reached, broken = run(f"{SEED}-{share}", SCHEDULES // SHARES)
    print(f"seed {SEED}-{share}: {dict(reached)}")
    assert broken is None


def test_the_schedules_lead_to_all_that_can_happen() -> None:
    reached, _ = run(SEED, 150)
    rare = {("abandoned", "created"), ("not_created", "created")}
    missing = {f"{before or 'new'} -> {after}" for before, after in ARROWS - rare} - set(reached)
    assert not missing
    assert min(reached[f"evidence {word}"] for word in ("answered", "found", "sole", "confirmed")) > 5
    assert min(reached[word] for word in ("wrong batch", "paid twice", "left open")) > 5


@pytest.mark.slow
@pytest.mark.parametrize("rule", WITHOUT)
def test_without_this_rule_the_model_finds_the_hole(rule: str) -> None:
    _, broken = run(SEED, UNTIL_FOUND, WITHOUT[rule])
    print(broken)
    assert broken is not None


@pytest.mark.slow
@pytest.mark.parametrize("rule", HARMLESS)
def test_without_this_rule_others_close_the_hole(rule: str) -> None:
    _, broken = run(SEED, SCHEDULES // SHARES, HARMLESS[rule])
    assert broken is None
