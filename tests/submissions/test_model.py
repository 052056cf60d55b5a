"""Sending once under everything that can happen at once: thousands of schedules of the model, each from a seed.

`TEST_SEED` gives other schedules and `TEST_ROUNDS` more of them. What breaks is named with its schedule, and
`Schedule(name, …)` runs that one again.
"""

import pytest

from tests.submissions.model.ledger import ARROWS
from tests.submissions.model.rules import HARMLESS, WITHOUT
from tests.submissions.model.schedule import run
from tests.support.seeds import rounds, seed

SHARES = 4
SCHEDULES = 300
"""Of each share; a hundred take about a second."""
HOLES, UNTIL_FOUND = "2026", 4000
"""Schedules in which the model must find what goes wrong without a rule. The rarest hole takes some 900 of these."""


@pytest.mark.random
@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_paid_for_twice_and_nothing_untrue_is_written_down(share: int) -> None:
    print(f"to repeat this: TEST_SEED={seed()}")
    reached, broken = run(f"{seed()}-{share}", rounds(SCHEDULES))
    print(dict(reached))
    assert broken is None


def test_the_schedules_lead_to_all_that_can_happen() -> None:
    reached, _ = run(HOLES, 150)
    rare = {("abandoned", "created"), ("not_created", "created")}
    missing = {f"{before or 'new'} -> {after}" for before, after in ARROWS - rare} - set(reached)
    assert not missing
    assert min(reached[f"evidence {word}"] for word in ("answered", "found", "sole", "confirmed")) > 5
    assert min(reached[word] for word in ("wrong batch", "paid twice", "left open")) > 5


@pytest.mark.slow
@pytest.mark.parametrize("rule", WITHOUT)
def test_without_this_rule_the_model_finds_the_hole(rule: str) -> None:
    _, broken = run(HOLES, UNTIL_FOUND, WITHOUT[rule])
    print(broken)
    assert broken is not None


@pytest.mark.slow
@pytest.mark.parametrize("rule", HARMLESS)
def test_without_this_rule_others_close_the_hole(rule: str) -> None:
    _, broken = run(HOLES, SCHEDULES, HARMLESS[rule])
    assert broken is None
