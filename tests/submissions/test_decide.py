"""What a call does with each part of a plan: a table.

History, a line an attempt: id, content and copy, state, then what differs. `r2` is round 2 of the duplicates of its
plan, `plan=Q` another plan's (else P), `of=R` a retry of the batch R, `at=5` when it was sent by the API's clock, and
`hopeless` says that waiting will not tell what became of it.
"""

from typing import Any

import pytest

from mcp_batch_tools.submissions.decide import Blocked, Decision, Done, Mode, Send, decide
from mcp_batch_tools.submissions.states import Attempt
from tests.support.attempts import MINUTE, attempt

PLAIN, DUPLICATE, RETRY, RETRY_AGAIN = "", "duplicate", "retry", "retry duplicate"

CASES: dict[str, tuple[str, str, str, str]] = {
    # what it shows: (parts, mode, history, decisions)
    "new content is sent": ("A B", PLAIN, "", "send 1 | send 1"),
    "new content is sent also where a duplicate is allowed": ("A B", DUPLICATE, "", "send 1 | send 1"),
    "what was created is not sent again": ("A", PLAIN, "x A1 created", "done x"),
    "what was found in the list is not sent again": ("A", PLAIN, "x A1 created found", "done x"),
    "the newest copy is told": ("A", PLAIN, "x A1 created / y A2 created r1", "done y"),
    "the newest copy is the highest, not the last that was claimed": (
        "A", PLAIN, "x A2 created / y A1 created", "done x"),
    "only its own content counts": ("A", PLAIN, "x B1 created", "send 1"),
    # not created, abandoned, forgotten
    "what was not created is sent under the same number": ("A", PLAIN, "x A1 not_created", "send 1"),
    "what was abandoned frees its number": ("A", PLAIN, "x A1 abandoned", "send 1"),
    "what was abandoned does not count as created": ("A", DUPLICATE, "x A1 abandoned", "send 1"),
    "an abandoned one does not hide the one that followed": ("A", PLAIN, "x A1 abandoned / y A1 created", "done y"),
    "forgotten content is sent again, with a higher copy": ("A", PLAIN, "x A1 forgotten", "send 2"),
    "forgotten content that may be sent again is no duplicate": ("A", DUPLICATE, "x A1 forgotten", "send 2"),
    "forgotten content that was sent again is known": ("A", PLAIN, "x A1 forgotten / y A2 created", "done y"),
    "copies go on from the highest, never from a count": (
        "A", DUPLICATE, "x A1 not_created / y A4 created", "send 5 r1"),
    # interrupted, changed
    "what is missing of an interrupted plan is sent": ("A B", PLAIN, "x A1 created", "done x | send 1"),
    "an interrupted plan is completed, also where a duplicate is allowed": (
        "A B", DUPLICATE, "x A1 created / y B1 not_created", "done x | send 1"),
    "of a file that changed in one part only that part is sent": (
        "A C", PLAIN, "x A1 created / y B1 created", "done x | send 1"),
    "a part that another file shares was sent with that file": (
        "A B", PLAIN, "x A1 created plan=Q", "done x | send 1"),
    # being sent, lost
    "what another is sending is not sent": ("A", PLAIN, "x A1 claimed", "blocked x"),
    "what another is sending is not sent, whatever is allowed": ("A", DUPLICATE, "x A1 claimed", "blocked x"),
    "a lost answer is waited for": ("A", PLAIN, "x A1 sent", "blocked x"),
    "a lost answer is waited for as long as it may be told, whatever is allowed": (
        "A", DUPLICATE, "x A1 sent", "blocked x"),
    "of two parts only the lost one is waited for": ("A B", PLAIN, "x A1 sent", "blocked x | send 1"),
    "where waiting will not tell, a call that does not say so sends nothing": (
        "A", PLAIN, "x A1 sent hopeless", "blocked x"),
    "where waiting will not tell, the user may say to send again, and the number is free": (
        "A", DUPLICATE, "x A1 sent hopeless", "send 1 abandons x"),
    "sending again what is lost leaves the other parts as they are": (
        "A B", DUPLICATE, "x A1 sent hopeless / y B1 created", "send 1 abandons x | done y"),
    "a lost copy of what was created is waited for": ("A", PLAIN, "x A1 created / y A2 sent r1", "blocked y"),
    "a lost copy of which waiting will not tell does not hide what was created": (
        "A", PLAIN, "x A1 created / y A2 sent r1 hopeless", "done x"),
    "a lost copy that is older than what was created is not waited for": (
        "A", PLAIN, "x A1 sent / y A2 created", "done y"),
    # duplicates
    "a duplicate is sent as the first round": (
        "A B", DUPLICATE, "x A1 created / y B1 created", "send 2 r1 | send 2 r1"),
    "of a round that was interrupted the missing parts are sent": (
        "A B", DUPLICATE, "x A1 created / y B1 created / z A2 created r1", "done z | send 2 r1"),
    "after a complete round the next begins": (
        "A B", DUPLICATE, "x A1 created / y B1 created / z A2 created r1 / w B2 created r1", "send 3 r2 | send 3 r2"),
    "only the last round is completed": (
        "A B", DUPLICATE,
        "x A1 created / y B1 created / z A2 created r1 / w B2 created r1 / v B3 created r2", "send 3 r2 | done v"),
    "a part that another file shares does not count for a round": (
        "A B", DUPLICATE, "x A1 created / y B1 created / z A2 created r1 plan=Q", "send 3 r1 | send 2 r1"),
    "its plain sending does not count for a round": (
        "A", DUPLICATE, "x A1 created plan=Q / y A2 created", "send 3 r1"),
    "a forgotten round does not count": (
        "A", DUPLICATE, "x A1 created / y A2 forgotten r1", "send 3 r1"),
    "a part of a round that was not created is sent in that round": (
        "A B", DUPLICATE, "x A1 created / y B1 created / z A2 created r1 / w B2 not_created r1", "done z | send 2 r1"),
    "a part of a round that is on its way is waited for": (
        "A B", DUPLICATE, "x A1 created / y B1 created / z A2 created r1 / w B2 claimed r1", "done z | blocked w"),
    "a lost part of a round is sent again where waiting will not tell": (
        "A B", DUPLICATE,
        "x A1 created / y B1 created / z A2 created r1 / w B2 sent r1 hopeless", "done z | send 2 r1 abandons w"),
    "a lost copy in another file is waited for before a duplicate": (
        "A", DUPLICATE, "x A1 created / y A2 sent plan=Q", "blocked y"),
    # retries (R was sent at 10)
    "a retry is sent": ("A", RETRY, "", "send 1"),
    "that the same was sent before the batch does not stop its retry": ("A", RETRY, "x A1 created at=5", "send 2"),
    "the batch itself does not stop its retry": ("A", RETRY, "R A1 created at=10", "send 2"),
    "what was sent as it is since then stops a retry": ("A", RETRY, "x A1 created at=20", "done x"),
    "what was sent as it is since then and lost stops a retry": ("A", RETRY, "x A1 sent at=20", "blocked x"),
    "a retry of the same content is left to the selection of requests": (
        "A", RETRY, "x A1 created of=R at=20", "send 2"),
    "a retry of another batch does not stop a retry": ("A", RETRY, "x A1 created of=S at=20", "send 2"),
    "while another retry of the batch is on its way nothing is sent": (
        "A B", RETRY, "x C1 claimed of=R at=20", "blocked x | blocked x"),
    "while another retry of the batch is lost nothing is sent": (
        "A B", RETRY, "x C1 sent of=R at=20", "blocked x | blocked x"),
    "a lost retry of which waiting will not tell is not passed over in silence": (
        "A", RETRY, "x C1 sent of=R at=20 hopeless", "blocked x"),
    "a lost retry of another batch is not waited for": ("A", RETRY, "x C1 sent of=S at=20", "send 1"),
    "a retry that was not created leaves its number": ("A", RETRY, "x A1 not_created of=R at=20", "send 1"),
    "a retry is sent again where the user says so": (
        "A", RETRY_AGAIN, "x A1 created of=R at=20", "send 2 r1"),
    "a lost retry is waited for as long as it may be told": (
        "A", RETRY_AGAIN, "x C1 sent of=R at=20", "blocked x"),
    "a lost retry is given up where the user says so": (
        "A", RETRY_AGAIN, "x C1 sent of=R at=20 hopeless", "send 1 r1 abandons x"),
    "a lost retry is given up once, by the first part that is sent": (
        "A B", RETRY_AGAIN, "x C1 sent of=R at=20 hopeless", "send 1 r1 abandons x | send 1 r1"),
    "the copy of a later part is free once the first part has given it up": (
        "A B", RETRY_AGAIN, "x B1 sent of=R at=20 hopeless", "send 1 r1 abandons x | send 1 r1"),
    "a repeated retry that was interrupted is completed": (
        "A B", RETRY_AGAIN, "x A1 created of=R at=20 r1", "done x | send 1 r1"),
    "a round of duplicates is none of retries": ("A", RETRY_AGAIN, "x A1 created r1 at=20", "send 2 r1"),
}  # fmt: skip


def history_of(lines: str) -> tuple[list[Attempt], frozenset[str]]:
    attempts, hopeless = [], set()
    for line in filter(None, map(str.strip, lines.split("/"))):
        name, content, state, *others = line.split()
        facts: dict[str, Any] = {"state": state, "fingerprint": content[0], "copy": int(content[1:])}
        for other in others:
            match other.split("="):
                case ["found"]:
                    facts["evidence"] = "found"
                case ["hopeless"]:
                    hopeless.add(name)
                case ["plan", plan]:
                    facts["plan_fingerprint"] = plan
                case ["of", batch]:
                    facts |= {"retry_of": batch, "seq": 1}
                case ["at", minutes]:
                    facts["api_claimed"] = facts["time"] = int(minutes) * MINUTE
                case [number]:
                    facts["round"] = int(number.removeprefix("r"))
        attempts.append(attempt(name, **facts))
    return attempts, frozenset(hopeless)


def in_words(decision: Decision) -> str:
    match decision:
        case Send(copy, round_number, abandons):
            words = [f"send {copy}", f"r{round_number}" if round_number else ""]
            words += ["abandons", *(given_up.id for given_up in abandons)] if abandons else []
            return " ".join(filter(None, words))
        case Done(known):
            return f"done {known.id}"
        case Blocked(unknown):
            return f"blocked {unknown.id}"


@pytest.mark.parametrize(("parts", "mode", "history", "expected"), CASES.values(), ids=CASES)
def test_each_part_is_decided_by_what_was_sent_before(parts: str, mode: str, history: str, expected: str) -> None:
    attempts, hopeless = history_of(history)
    wanted = Mode(
        "P",
        allow_duplicate="duplicate" in mode,
        retry_of="R" if "retry" in mode else None,
        retried_at=10 * MINUTE if "retry" in mode else None,
        hopeless=hopeless,
    )
    assert " | ".join(map(in_words, decide(parts.split(), attempts, wanted))) == expected


def test_what_was_sent_since_is_told_by_the_clock_of_the_api_and_not_by_that_of_a_machine() -> None:
    day = 24 * 60 * MINUTE
    since = attempt("x", state="created", api_claimed=20 * MINUTE, time=20 * MINUTE - day)
    before = attempt("x", state="created", api_claimed=5 * MINUTE, time=5 * MINUTE + day)
    mode = Mode("P", retry_of="R", retried_at=10 * MINUTE)
    assert decide(["A"], [since], mode) == [Done(since)]
    assert decide(["A"], [before], mode) == [Send(2)]


def test_where_nobody_knows_when_the_retried_batch_was_sent_all_of_the_same_content_counts() -> None:
    created = attempt("x", state="created", api_claimed=5 * MINUTE)
    assert decide(["A"], [created], Mode("P", retry_of="R")) == [Done(created)]
