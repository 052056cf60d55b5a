"""What the database holds of sending once: who may claim, and which change of state may follow on which."""

from collections.abc import Callable
from typing import Any

import pytest

from mcp_batch_tools.ledger.receipts import Intent, complete_receipt, open_receipt
from mcp_batch_tools.ledger.workspaces import remember_workspace
from mcp_batch_tools.requests.fingerprint import request_digest
from mcp_batch_tools.submissions import store
from mcp_batch_tools.submissions.match import Absent, Found, Listed, Listing, Unclear, Verdict
from mcp_batch_tools.submissions.states import ABSENT_AFTER, LEASE_ANSWER, LEASE_PIECE, REMEMBERED, Attempt
from tests.submissions.model.ledger import Ledger
from tests.support.attempts import MINUTE

NOW = 1_795_000_000_000
LATE = NOW + ABSENT_AFTER
B, OTHER = Listed("b", NOW + MINUTE, 2), Listed("other", NOW + 2 * MINUTE, 2)


class Store:
    """The functions of the store on one database, each in a transaction of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def run(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._ledger.run(lambda transaction: work(transaction, *arguments, **named), changes=True)

    def claim(self, fingerprint: str = "A", copy: int = 1, custom_id: str = "a", **differing: Any) -> Attempt | None:
        wanted: dict[str, Any] = {
            "scope": "w",
            "plan_fingerprint": "P",
            "round": 0,
            "part": 0,
            "parts": 1,
            "requests": 2,
            "retry_of": None,
            "seq": None,
            "label": None,
            "estimate_usd": None,
            "consent": "host approval",
            "consent_id": None,
            "client": None,
            "newest_before": None,
            "newest_created_at": None,
            "api_claimed": NOW,
            "lease_expires_at": NOW + LEASE_PIECE,
            "models": ["m"],
            "hashes": request_digest(custom_id, fingerprint.encode()),
        }
        claim = store.Claim(fingerprint=fingerprint, copy=copy, **{**wanted, **differing})
        attempt: Attempt | None = self.run(store.claim, claim, NOW)
        return attempt

    def claimed(self, *arguments: Any, **differing: Any) -> Attempt:
        attempt = self.claim(*arguments, **differing)
        assert attempt is not None
        return attempt

    def sent(self, *arguments: Any, **differing: Any) -> Attempt:
        attempt = self.claimed(*arguments, **differing)
        assert self.run(store.mark_sent, attempt, NOW, NOW + LEASE_ANSWER)
        return self.now(attempt)

    def created(self, *arguments: Any, batch: Listed = B, **differing: Any) -> Attempt:
        attempt = self.sent(*arguments, **differing)
        self.run(store.answered, attempt, batch, NOW, request_id=None)
        return self.now(attempt)

    def found(self, *arguments: Any, batch: Listed = B, **differing: Any) -> Attempt:
        attempt = self.sent(*arguments, **differing)
        assert self.reconcile(attempt, batch) == Found(batch)
        return self.now(attempt)

    def abandoned(self, *arguments: Any, **differing: Any) -> Attempt:
        attempt = self.sent(*arguments, **differing)
        assert self.run(store.abandon, attempt, NOW)
        return self.now(attempt)

    def not_created(self, *arguments: Any, **differing: Any) -> Attempt:
        attempt = self.claimed(*arguments, **differing)
        assert self.run(store.not_created, attempt, NOW, "refused")
        return self.now(attempt)

    def forgotten(self, *arguments: Any, **differing: Any) -> Attempt:
        attempt = self.created(*arguments, **differing)
        self.run(store.forget_old, "w", NOW + REMEMBERED + 10 * MINUTE)
        return self.now(attempt)

    def reconcile(self, attempt: Attempt, *batches: Listed, at: int | None = NOW, ended: bool = True) -> Verdict:
        here = NOW if at is None else max(at, NOW)
        verdict: Verdict = self.run(store.reconcile_attempt, attempt, Listing(batches, ended, at), here)
        return verdict

    def now(self, attempt: Attempt) -> Attempt:
        current: Attempt = self.run(store.attempt_by_id, attempt.id)
        return current


@pytest.fixture
def ledger(ledger: Ledger) -> Store:
    return Store(ledger)


def state_of(attempt: Attempt) -> tuple[str, str | None, str | None]:
    return attempt.state, attempt.evidence, attempt.message_batch_id


# claims


@pytest.mark.parametrize("held", ["claimed", "sent", "created", "found", "forgotten"])
def test_content_is_claimed_once_under_each_number(ledger: Store, held: str) -> None:
    getattr(ledger, held)("A", 1)
    assert ledger.claim("A", 1) is None
    assert ledger.claim("A", 2) is not None
    assert ledger.claim("B", 1) is not None
    assert ledger.claim("A", 1, scope="another") is not None


@pytest.mark.parametrize("freed", ["not_created", "abandoned"])
def test_what_is_surely_not_created_or_given_up_frees_its_copy(ledger: Store, freed: str) -> None:
    getattr(ledger, freed)("A", 1)
    assert ledger.claim("A", 1) is not None


@pytest.mark.parametrize("ended", ["not_created", "abandoned", "forgotten"])
def test_the_number_of_a_retry_is_used_once_whatever_came_of_it(ledger: Store, ended: str) -> None:
    """Who selected requests before that number was taken has not seen what followed on it."""
    getattr(ledger, ended)("A", retry_of="R", seq=1)
    assert ledger.claim("B", retry_of="R", seq=1) is None
    assert ledger.claim("B", retry_of="R", seq=2) is not None


def test_a_batch_is_retried_once_under_each_number_whatever_is_sent_of_it(ledger: Store) -> None:
    ledger.claimed("A", retry_of="R", seq=1)
    assert ledger.claim("B", retry_of="R", seq=1) is None
    assert ledger.claim("B", retry_of="R", seq=2) is not None
    assert ledger.claim("C", retry_of="S", seq=1) is not None


def test_a_consent_is_used_once_for_each_part_also_where_nothing_came_of_it(ledger: Store) -> None:
    ledger.not_created("A", consent_id="q", part=0)
    assert ledger.claim("A", consent_id="q", part=0) is None
    second = ledger.claimed("B", consent_id="q", part=1)
    assert ledger.run(store.attempts_of_consent, "q")[1] == second


def test_a_claim_keeps_what_its_caller_has_seen(ledger: Store) -> None:
    made = ledger.claimed(newest_before="n", newest_created_at=NOW - 5, label="l", models=["m", "n"])
    assert (made.state, made.version, made.newest_before, made.newest_created_at) == ("claimed", 1, "n", NOW - 5)
    assert (made.api_claimed, made.api_sent, made.refuted, made.models) == (NOW, None, frozenset(), ("m", "n"))


# the sender


def test_what_another_has_ended_is_neither_renewed_nor_handed_over(ledger: Store) -> None:
    attempt = ledger.claimed()
    assert ledger.run(store.renew_lease, attempt, NOW + 1)
    assert ledger.run(store.not_created, ledger.now(attempt), NOW, "the sender stopped", unchanged=True)
    assert not ledger.run(store.renew_lease, attempt, NOW + 2)
    assert not ledger.run(store.mark_sent, attempt, NOW, NOW + LEASE_ANSWER)
    assert ledger.now(attempt).state == "not_created"


def test_a_lease_that_was_renewed_meanwhile_is_not_ended(ledger: Store) -> None:
    attempt = ledger.claimed()
    assert ledger.run(store.renew_lease, attempt, NOW + 1)
    assert not ledger.run(store.not_created, attempt, NOW, "the sender stopped", unchanged=True)
    assert ledger.now(attempt).state == "claimed"


def test_what_was_sent_meanwhile_is_not_taken_for_claimed(ledger: Store) -> None:
    attempt = ledger.claimed()
    assert ledger.run(store.mark_sent, attempt, NOW, NOW + LEASE_ANSWER)
    assert not ledger.run(store.not_created, attempt, NOW, "cut while sending")
    assert ledger.now(attempt).state == "sent"


def test_a_sender_that_stops_ends_its_lease(ledger: Store) -> None:
    attempt = ledger.sent()
    assert not attempt.lease_is_over(NOW)
    ledger.run(store.sender_stopped, attempt, NOW)
    assert ledger.now(attempt).lease_is_over(NOW)


# reconciling


def test_what_is_found_is_provisional_until_no_second_one_can_appear(ledger: Store) -> None:
    attempt = ledger.sent()
    assert ledger.reconcile(attempt, B, at=LATE - 1) == Found(B)
    found = ledger.now(attempt)
    assert state_of(found) == ("created", "found", "b")
    ledger.reconcile(found, B, at=LATE - 1)
    assert ledger.now(attempt).evidence == "found"
    ledger.reconcile(found, B, at=LATE)
    assert ledger.now(attempt).evidence == "sole"


def test_what_was_found_is_doubted_once_a_second_one_fits(ledger: Store) -> None:
    found = ledger.found()
    assert ledger.reconcile(found, OTHER, B) == Unclear((OTHER, B))
    assert state_of(ledger.now(found)) == ("sent", None, None)


def test_what_was_found_is_doubted_where_only_another_one_fits_by_now(ledger: Store) -> None:
    found = ledger.found()
    assert ledger.reconcile(found, OTHER) == Found(OTHER)
    assert state_of(ledger.now(found)) == ("sent", None, None)


def test_what_was_found_is_not_doubted_by_a_list_that_shows_no_other(ledger: Store) -> None:
    found = ledger.found()
    for batches in ((B,), ()):
        ledger.reconcile(found, *batches, ended=False)
        assert ledger.now(found) == found


def test_what_is_absent_is_not_created(ledger: Store) -> None:
    attempt = ledger.sent()
    assert ledger.reconcile(attempt, at=LATE) == Absent()
    assert ledger.now(attempt).state == "not_created"


def test_what_was_changed_since_it_was_read_is_left_alone(ledger: Store) -> None:
    attempt = ledger.sent()
    ledger.run(store.sender_stopped, attempt, NOW)
    for batches in ((B,), ()):
        assert ledger.reconcile(attempt, *batches, at=LATE) == Unclear(())
    assert not ledger.run(store.abandon, attempt, NOW)
    assert ledger.run(store.conclude, attempt, B, ours=True, now=NOW).state == "sent"
    assert ledger.run(store.conclude, attempt, B, ours=False, now=NOW).refuted == frozenset()


def test_a_batch_belongs_to_one_attempt(ledger: Store) -> None:
    ledger.created("A")
    attempt = ledger.sent("B")
    assert ledger.reconcile(attempt, B, at=LATE) == Absent()


def test_a_rival_keeps_a_batch_from_being_found(ledger: Store) -> None:
    one, two = ledger.sent("A"), ledger.sent("B")
    assert ledger.reconcile(one, B) == ledger.reconcile(two, B) == Unclear((B,))
    assert ledger.now(one).state == "sent"


def test_a_batch_that_is_held_provisionally_keeps_another_attempt_from_being_called_absent(ledger: Store) -> None:
    ledger.found("A")
    attempt = ledger.sent("B")
    assert ledger.reconcile(attempt, B, at=LATE) == Unclear(())
    assert ledger.now(attempt).state == "sent"


@pytest.mark.parametrize(("outcome", "verdict"), [("done", Found(B)), (None, Found(B)), ("failed", Absent())])
def test_what_this_installation_deleted_counts_as_listed(ledger: Store, outcome: Any, verdict: Verdict) -> None:
    attempt = ledger.sent()
    intent = Intent("w", "delete", "b", B.created_at, {"succeeded": 1, "expired": 1}, "asked and accepted", None)
    receipt = ledger.run(open_receipt, intent, NOW - 23 * 60 * MINUTE)  # by a clock that is almost a day late
    if outcome is not None:
        ledger.run(complete_receipt, receipt, outcome, NOW)
    assert ledger.reconcile(attempt, at=LATE) == verdict


# what the results tell


def test_results_of_ours_confirm_what_was_found_and_those_of_another_refute_it(ledger: Store) -> None:
    found = ledger.found()
    assert state_of(ledger.run(store.conclude, found, B, ours=True, now=NOW)) == ("created", "confirmed", "b")
    other = ledger.found("C", batch=OTHER)
    refuted = ledger.run(store.conclude, other, OTHER, ours=False, now=NOW)
    assert (*state_of(refuted), refuted.refuted) == ("sent", None, None, {"other"})
    assert ledger.reconcile(refuted, OTHER, at=LATE) == Absent()


def test_candidates_are_told_apart_by_their_results(ledger: Store) -> None:
    attempt = ledger.sent()
    assert ledger.reconcile(attempt, OTHER, B) == Unclear((OTHER, B))
    refuted = ledger.run(store.conclude, attempt, OTHER, ours=False, now=NOW)
    assert (refuted.state, refuted.refuted) == ("sent", {"other"})
    assert state_of(ledger.run(store.conclude, refuted, B, ours=True, now=NOW)) == ("created", "confirmed", "b")


def test_results_cannot_tell_a_file_from_its_correction_with_the_same_custom_ids(ledger: Store) -> None:
    first = ledger.sent("A", custom_id="a")
    corrected = ledger.sent("A, corrected", custom_id="a")
    for attempt in (first, corrected):
        assert ledger.run(store.conclude, attempt, B, ours=True, now=NOW).state == "sent"
    assert ledger.reconcile(corrected, B, at=LATE) == Unclear((B,))


def test_results_tell_attempts_with_other_custom_ids_apart(ledger: Store) -> None:
    ledger.sent("A", custom_id="a")
    other = ledger.sent("B", custom_id="b")
    assert ledger.run(store.conclude, other, B, ours=True, now=NOW).state == "created"


def test_a_batch_that_alone_fitted_is_still_refuted_by_its_results(ledger: Store) -> None:
    found = ledger.found()
    ledger.reconcile(found, B, at=LATE)
    sole = ledger.now(found)
    assert sole.evidence == "sole"
    assert ledger.run(store.open_attempts, "w") == [sole]
    assert ledger.run(store.conclude, sole, B, ours=False, now=NOW).state == "sent"


def test_a_batch_that_alone_fitted_is_confirmed_by_its_results(ledger: Store) -> None:
    found = ledger.found()
    ledger.reconcile(found, B, at=LATE)
    confirmed = ledger.run(store.conclude, ledger.now(found), B, ours=True, now=NOW)
    assert state_of(confirmed) == ("created", "confirmed", "b")
    assert ledger.run(store.open_attempts, "w") == []


# answers


@pytest.mark.parametrize("state", ["sent", "found", "not_created", "abandoned"])
def test_an_answer_is_the_truth_whatever_others_have_made_of_the_attempt(ledger: Store, state: str) -> None:
    attempt = getattr(ledger, state)()
    ledger.run(store.answered, attempt, OTHER, NOW, request_id="req")
    assert state_of(ledger.now(attempt)) == ("created", "answered", "other")


@pytest.mark.parametrize("evidence", ["found", "sole", "confirmed"])
def test_an_answer_takes_its_batch_from_an_attempt_that_did_not_get_it_by_an_answer(
    ledger: Store, evidence: str
) -> None:
    holder = ledger.found("A")
    if evidence == "sole":
        ledger.reconcile(holder, B, at=LATE)
    if evidence == "confirmed":
        ledger.run(store.conclude, holder, B, ours=True, now=NOW)
    assert ledger.now(holder).evidence == evidence
    attempt = ledger.sent("B")
    ledger.run(store.answered, attempt, B, NOW, request_id=None)
    assert state_of(ledger.now(attempt)) == ("created", "answered", "b")
    assert state_of(ledger.now(holder)) == ("sent", None, None)


def test_an_answer_takes_the_next_free_copy_where_its_own_is_taken(ledger: Store) -> None:
    late = ledger.abandoned("A", 1, retry_of="R", seq=1)
    ledger.created("A", 1, retry_of="R", seq=2)
    ledger.created("A", 2, retry_of="R", seq=3, batch=Listed("third", NOW, 2))
    ledger.run(store.answered, late, OTHER, NOW, request_id=None)
    assert (ledger.now(late).copy, ledger.now(late).seq) == (3, 1)


def test_an_answer_counts_in_the_workspace_that_the_attempt_belongs_to_by_now(ledger: Store) -> None:
    attempt = ledger.sent("A", scope="digest of the key")
    ledger.run(remember_workspace, "digest of the key", "w")
    holder = ledger.sent("B", custom_id="b")
    ledger.run(store.conclude, holder, B, ours=True, now=NOW)
    ledger.run(store.answered, attempt, B, NOW, request_id=None)
    assert state_of(ledger.now(attempt)) == ("created", "answered", "b")
    assert ledger.now(holder).state == "sent"


# ends


def test_what_is_older_than_results_last_is_forgotten_and_keeps_its_number_and_its_batch(ledger: Store) -> None:
    made = ledger.created()
    ledger.run(store.forget_old, "w", B.created_at + REMEMBERED)
    assert ledger.now(made).state == "created"
    assert ledger.run(store.hashes_of, "w", ["b", "unknown"]) == ledger.run(store.attempt_hashes, made) != b""
    ledger.run(store.forget_old, "w", B.created_at + REMEMBERED + 1)
    assert state_of(ledger.now(made)) == ("forgotten", "answered", "b")
    assert ledger.run(store.hashes_of, "w", ["b"]) == ledger.run(store.attempt_hashes, made) == b""


def test_only_what_is_not_known_for_good_is_open(ledger: Store) -> None:
    ledger.created("A")
    ledger.not_created("B")
    ledger.abandoned("C")
    found = ledger.found("D", batch=Listed("late", NOW + 50 * MINUTE, 3), requests=3)
    still = [found, ledger.claimed("E", requests=4), ledger.sent("F", requests=5)]
    ledger.claimed("G", scope="another")
    assert {attempt.id for attempt in ledger.run(store.open_attempts, "w")} == {attempt.id for attempt in still}


def test_attempts_are_looked_up_by_content_by_what_they_retry_by_batch_and_by_label(ledger: Store) -> None:
    plain = ledger.created("A", label="l")
    retry = ledger.sent("B", retry_of="R", seq=1, label="l")
    ledger.created("A", scope="another", label="l")
    assert ledger.run(store.attempts_of_content, "w", ["B", "A", "A"]) == sorted(
        [plain, retry], key=lambda attempt: attempt.id
    )
    assert ledger.run(store.attempts_of_retries, "w", "R") == [retry]
    assert ledger.run(store.attempt_of_batch, "w", "b") == plain
    assert ledger.run(store.attempt_of_batch, "w", "unknown") is None
    assert ledger.run(store.batches_labelled, "w", "l") == {"b"}


# workspaces


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"fingerprint": "B", "retry_of": "R", "seq": 1}, {"retry_of": "R", "seq": 1}),
        ({"fingerprint": "B"}, {"batch": B}),
    ],
    ids=["the same content", "the same number of a retry", "the same batch"],
)
def test_what_is_known_under_the_key_joins_its_workspace_where_nothing_stands_against_it(
    ledger: Store, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    ledger.created(**{"batch": OTHER, **theirs})
    conflicting = ledger.created(**{"batch": B, **ours}, scope="digest of the key")
    joining = ledger.created("C", scope="digest of the key", batch=Listed("c", NOW, 2))
    ledger.run(remember_workspace, "digest of the key", "w")
    assert ledger.now(joining).scope == "w"
    assert ledger.now(conflicting).scope == "digest of the key"
