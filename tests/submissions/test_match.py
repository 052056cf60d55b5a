"""Which batch a lost attempt made: a table. Times are minutes of the API's clock.

The attempt x has 2 requests; its claim saw the newest batch `n` of -5 at 0, and its last piece left at 10. So what it
made was created between -1 and 70, and would be listed by 81.

A batch is `a@3`: its id and when it was created, with 2 requests; `a@3*5` has 5. A rival is an attempt of 2 requests:
`y sent 0 10` was claimed at 0 and sent at 10, `y claimed 0` was not sent yet, `y found 0 10 a` holds a
provisionally. `y sent ?5` was claimed and sent at 5 by the clock of its machine, and the API told no time.
"""

from dataclasses import replace
from typing import Any

import pytest

from mcp_batch_tools.submissions.match import Absent, Found, Listed, Listing, Ours, Unclear, Verdict, match
from mcp_batch_tools.submissions.states import Attempt
from tests.support.attempts import MINUTE, attempt

X = attempt(
    "x",
    api_claimed=0,
    api_sent=10 * MINUTE,
    newest_before="n",
    newest_created_at=-5 * MINUTE,
    refuted=frozenset({"refuted"}),
)
LATE, EARLY, UNDATED = 81.0, 80.99, None
TIMELESS: dict[str, Any] = {"api_claimed": None, "api_sent": None}

CASES: dict[str, tuple[str, float | None, dict[str, Any], str]] = {
    # what it shows: (the list newest first, its Date, what else is so, verdict)
    "the only one that fits": ("a@3 n@-5", EARLY, {}, "found a"),
    "the only one that fits, long after": ("a@3 n@-5", LATE, {}, "found a"),
    "several fit": ("b@4 a@3 n@-5", LATE, {}, "unclear b a"),
    "none fits yet": ("n@-5", EARLY, {}, "unclear"),
    "none fits, and it would be listed": ("n@-5", LATE, {}, "absent"),
    "none fits, in a list without a Date": ("n@-5", UNDATED, {}, "unclear"),
    "one fits, in a list without a Date": ("a@3 n@-5", UNDATED, {}, "found a"),
    "an empty list, read to its end": ("", LATE, {"ended": True}, "absent"),
    # the window
    "a minute before the claim": ("a@-1 n@-5", LATE, {}, "found a"),
    "by its time before the claim, though the list shows it above": ("a@-1.01 n@-5", LATE, {}, "unclear a"),
    "before the claim, where the newest before is gone": ("a@-1.01", LATE, {"ended": True}, "absent"),
    "an hour after the sending": ("a@70 n@-5", LATE, {}, "found a"),
    "more than an hour after the sending, so the Date may be wrong": ("a@70.01 n@-5", LATE, {}, "unclear a"),
    "more than a day and an hour after the sending": ("a@1510.01 n@-5", LATE, {}, "absent"),
    "of another size": ("a@3*5 n@-5", LATE, {}, "absent"),
    "of another size beside one that fits": ("b@4*5 a@3 n@-5", LATE, {}, "found a"),
    "the newest before is none of it": ("n@-0.5", LATE, {}, "absent"),
    "older than the newest before": ("a@-0.5", LATE, {"newest_created_at": 0, "ended": True}, "absent"),
    "as old as the newest before, which is not listed any more": (
        "a@0", LATE, {"newest_created_at": 0, "ended": True}, "found a"),
    "listed after the newest before": ("n@3 a@3", LATE, {"newest_created_at": 0}, "absent"),
    "the first of its workspace": (
        "a@3", LATE, {"newest_before": None, "newest_created_at": None, "ended": True}, "found a"),
    # how far the list was read
    "the list was not read far enough for an absence": ("b@90*5", LATE, {"ended": False}, "unclear"),
    "the list was not read far enough to know that no other fits": ("a@3", LATE, {"ended": False}, "unclear a"),
    "the list was read beyond the window": ("c@-2*5", LATE, {"ended": False}, "absent"),
    "the list was read to the edge of the window": ("c@-1*5", LATE, {"ended": False}, "unclear"),
    "the list was read to the newest before": ("n@-5", LATE, {"ended": False}, "absent"),
    # without the API's time of the claim
    "nothing is absent without the time of the claim": ("n@-5", LATE, TIMELESS, "unclear"),
    "nothing fits without the time of the claim": ("a@3 n@-5", LATE, TIMELESS, "unclear"),
    # refuted and owned
    "a refuted one does not fit": ("refuted@3 n@-5", LATE, {}, "absent"),
    "a refuted one does not stand beside the one that fits": ("refuted@4 a@3 n@-5", LATE, {}, "found a"),
    "what belongs to another attempt does not fit": ("a@3 n@-5", LATE, {"owned": ["a"]}, "absent"),
    "what belongs to another attempt does not stand beside the one that fits": (
        "b@4 a@3 n@-5", LATE, {"owned": ["b"]}, "found a"),
    # deleted by this installation
    "one that was deleted here counts as listed": ("n@-5", LATE, {"deleted": "a@3"}, "found a"),
    "one that was deleted here makes another unclear": ("b@4 n@-5", LATE, {"deleted": "a@3"}, "unclear a b"),
    "a deletion on its way is counted once": ("a@3 n@-5", LATE, {"deleted": "a@3"}, "found a"),
    "one of another size that was deleted here": ("n@-5", LATE, {"deleted": "a@3*5"}, "absent"),
    "one that was deleted here and is another's": ("n@-5", LATE, {"deleted": "a@3", "owned": ["a"]}, "absent"),
    # rivals
    "a rival that was sent may have made it": ("a@3 n@-5", LATE, {"rivals": ["y sent 0 10"]}, "unclear a"),
    "a rival that is being sent may make it": ("a@3 n@-5", LATE, {"rivals": ["y claimed 0"]}, "unclear a"),
    "a rival that was abandoned may have made it": ("a@3 n@-5", LATE, {"rivals": ["y abandoned 0 10"]}, "unclear a"),
    "a rival that holds another one provisionally may have made it": (
        "b@4 a@3 n@-5", LATE, {"rivals": ["y found 0 10 b"], "owned": ["b"]}, "unclear a"),
    "a rival that was claimed after it cannot have made it": ("a@3 n@-5", LATE, {"rivals": ["y sent 5 15"]}, "found a"),
    "a rival that was sent long before it cannot have made it": (
        "a@3 n@-5", LATE, {"rivals": ["y sent -70 -60"]}, "found a"),
    "a rival that has refuted it cannot have made it": (
        "a@3 n@-5", LATE, {"rivals": ["y sent 0 10 not-a"]}, "found a"),
    "a rival without the API's time may have made it": (
        "a@3 n@-5", LATE, {"rivals": ["y sent ?"]}, "unclear a"),
    "a rival without the API's time is bounded by a clock that may be a day off": (
        "a@3 n@-5", LATE, {"rivals": ["y sent ?1443.1"]}, "found a"),
    "a rival without the API's time may have been sent long before by its clock": (
        "a@3 n@-5", LATE, {"rivals": ["y sent ?-1497"]}, "unclear a"),
    "a rival without the API's time cannot have been sent an hour and a day before": (
        "a@3 n@-5", LATE, {"rivals": ["y sent ?-1497.1"]}, "found a"),
    "a rival without the API's time that is being sent may make it at any time": (
        "a@3 n@-5", LATE, {"rivals": ["y claimed ?-9000"]}, "unclear a"),
    "a rival without the API's time that has refuted it cannot have made it": (
        "a@3 n@-5", LATE, {"rivals": ["y sent ? not-a"]}, "found a"),
    "a rival does not keep an absence from being told": ("n@-5", LATE, {"rivals": ["y sent 0 10"]}, "absent"),
    "what fits and is held provisionally by a rival keeps an absence from being told": (
        "b@4 n@-5", LATE, {"rivals": ["y found 0 10 b"], "owned": ["b"]}, "unclear"),
    "what a rival holds provisionally and does not fit keeps nothing": (
        "b@90 n@-5", LATE, {"rivals": ["y found 80 85 b"], "owned": ["b"]}, "absent"),
}  # fmt: skip


def batches_of(words: str) -> list[Listed]:
    batches = []
    for word in words.split():
        name, _, rest = word.partition("@")
        minutes, _, size = rest.partition("*")
        batches.append(Listed(name, round(float(minutes) * MINUTE), int(size or 2)))
    return batches


def rival_of(words: str) -> Attempt:
    name, state, claimed, *others = words.split()
    facts: dict[str, Any] = {"state": state}
    if claimed.startswith("?"):
        by_its_clock = round(float(claimed[1:] or 0) * MINUTE)
        facts |= {**TIMELESS, "time": by_its_clock, "lease_expires_at": by_its_clock}
    else:
        facts["api_claimed"] = int(claimed) * MINUTE
    if others and not others[0].startswith("not-") and facts["api_claimed"] is not None:
        facts["api_sent"] = int(others.pop(0)) * MINUTE
    if state == "found":
        facts |= {"state": "created", "evidence": "found", "message_batch_id": others[0]}
    elif others:
        facts["refuted"] = frozenset({others[0].removeprefix("not-")})
    return attempt(name, **facts)


def in_words(verdict: Verdict) -> str:
    match verdict:
        case Found(batch):
            return f"found {batch.id}"
        case Absent():
            return "absent"
        case Unclear(candidates):
            return " ".join(["unclear", *(batch.id for batch in candidates)])


@pytest.mark.parametrize(("batches", "date", "so", "expected"), CASES.values(), ids=CASES)
def test_what_became_of_an_attempt_is_told_by_the_list(
    batches: str, date: float | None, so: dict[str, Any], expected: str
) -> None:
    facts = dict(so)
    ours = Ours(rivals=[rival_of(words) for words in facts.pop("rivals", [])], owned=facts.pop("owned", []))
    listing = Listing(
        batches_of(batches),
        reached_end=facts.pop("ended", False),
        now=None if date is None else round(date * MINUTE),
        deleted=batches_of(facts.pop("deleted", "")),
    )
    lost = replace(X, **facts)
    assert in_words(match(lost, listing, ours)) == expected


def test_an_attempt_that_found_its_batch_is_matched_as_if_it_had_not() -> None:
    found = attempt("x", state="created", evidence="found", message_batch_id="a", api_claimed=0, api_sent=10 * MINUTE)
    nobody = Ours(rivals=[], owned=[])
    assert match(found, Listing(batches_of("a@3"), reached_end=True, now=0), nobody) == Found(batches_of("a@3")[0])
    two = batches_of("b@4 a@3")
    assert match(found, Listing(two, reached_end=True, now=0), nobody) == Unclear(tuple(two))
