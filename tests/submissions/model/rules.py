"""The rules of sending once, each of which can be taken out: the model then finds the hole that it closes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from mcp_batch_tools.ledger import statements
from tests.submissions.model.world import MINUTE

Elapsed = Callable[[int, int], int]


@dataclass(frozen=True)
class Rules:
    """How the callers of a model behave; as it stands, by the rules.

    `instead` replaces statements by others; `without_indexes` are left out of the schema, and `other_indexes` made.
    `elapsed` makes one number of what the wall clock and the monotonic clock say has passed. By `later_by` the Date of
    a list is off where it is reconciled with, and by `claimed_later_by` (milliseconds) where it becomes the time of a
    claim.
    """

    instead: Mapping[str, str] = field(default_factory=dict)
    without_indexes: tuple[str, ...] = ()
    other_indexes: tuple[str, ...] = ()
    elapsed: Elapsed = lambda wall, monotonic: max(wall, monotonic, 0)
    hand_over_in_time: bool = True
    sent_before_last_piece: bool = True
    stop_where_not_marked: bool = True
    date_of_first_page: bool = True
    date_is_the_apis: bool = True
    later_by: timedelta = timedelta(0)
    claimed_later_by: int = 0
    list_to_its_end: bool = True
    one_list_for_each_workspace: bool = True
    list_before_rows: bool = True
    results_compared: bool = True
    only_refusals_refuse: bool = True
    reconcile_before_delete: bool = True
    open_retries_stand_in_the_way: bool = True
    all_hopeless: bool = False


_STATEMENTS = [text for name, text in vars(statements).items() if name.isupper() and isinstance(text, str)]
_ATTEMPTS = (statements.ATTEMPT, statements.OPEN_ATTEMPTS, statements.RIVALS)
_NEXT = {
    "copy": statements.NEXT_COPY,
    "seq": "SELECT coalesce(max(seq), 0) + 1 FROM submissions WHERE scope = :scope AND retry_of = :retry_of",
}
_HELD = "state IN ('claimed', 'sent', 'created', 'forgotten')"


def _replaced(old: str, new: str, *texts: str) -> dict[str, str]:
    """These statements with something else in them."""
    changed = {text: text.replace(old, new) for text in texts if old in text}
    assert changed, old
    return changed


def _only(condition: str, text: str) -> dict[str, str]:
    """A statement that sees less."""
    before, order_by, after = text.partition(" ORDER BY")
    return {text: f"{before} AND {condition}{order_by}{after}"}


def _claim_with_next(column: str) -> dict[str, str]:
    """A claim that takes the next free number itself, whatever its caller has seen."""
    columns, values, numbers = statements.CLAIM.partition("VALUES")
    return {statements.CLAIM: columns + values + numbers.replace(f":{column},", f"({_NEXT[column]}),", 1)}


_NO_TIMES = _replaced(
    "newest_before, newest_created_at", "NULL AS newest_before, NULL AS newest_created_at", *_ATTEMPTS
)
_SENT_EARLIER = _replaced("api_sent,", f"api_sent - {50 * MINUTE} AS api_sent,", *_ATTEMPTS)

WITHOUT: dict[str, Rules] = {
    # the database
    "one row for each content and copy": Rules(without_indexes=("submissions_once",)),
    "one row for each number of a retry": Rules(without_indexes=("submissions_retried_once",)),
    "a copy goes on from what its caller has seen": Rules(instead=_claim_with_next("copy")),
    "a seq goes on from what its caller has seen": Rules(instead=_claim_with_next("seq")),
    "the number of a retry is used once, whatever came of it": Rules(
        without_indexes=("submissions_retried_once",),
        other_indexes=(f"CREATE UNIQUE INDEX held_once ON submissions (scope, retry_of, seq) WHERE {_HELD}",),
    ),
    "retries that are open stand in the way": Rules(open_retries_stand_in_the_way=False),
    "a change names the state that it comes from": Rules(
        instead=_replaced("AND state = :from_state", "", statements.NOT_CREATED)
    ),
    "a reconcile names the version that it read": Rules(
        instead=_replaced("version = version + 1", "version = version", *_STATEMENTS)
    ),
    # the sender
    "only what is claimed is marked as sent": Rules(
        instead=_replaced(" AND state = 'claimed'", "", statements.MARK_SENT)
    ),
    "no row changed: stop": Rules(stop_where_not_marked=False),
    "sent is written before the last piece": Rules(sent_before_last_piece=False),
    "the last piece is handed over within a minute": Rules(hand_over_in_time=False),
    "what went by is the larger of both clocks, and not the wall clock's": Rules(elapsed=lambda wall, _: max(wall, 0)),
    "what went by is the larger of both clocks, and not the monotonic clock's": Rules(elapsed=lambda _, steady: steady),
    "only a refusal in the API's own words is one": Rules(only_refusals_refuse=False),
    # answers
    "an answer counts from any state": Rules(instead=_only("state = 'sent'", statements.ANSWERED)),
    "an answer takes the next copy": Rules(instead=_only("1 = 0", statements.COPY_TAKEN)),
    # time
    "time is the API's": Rules(date_is_the_apis=False),
    "now is the Date of the first page": Rules(date_of_first_page=False),
    "absent after 71 minutes, not after 11": Rules(later_by=timedelta(minutes=60)),
    "the window begins a minute before the claim": Rules(claimed_later_by=MINUTE),
    "the window ends an hour after the sending, not 10 minutes": Rules(
        instead=_SENT_EARLIER, later_by=timedelta(minutes=-50)
    ),
    "a batch is given up only once waiting will not tell": Rules(all_hopeless=True),
    # the list
    "the list is read to its end": Rules(list_to_its_end=False),
    "only a list of its workspace counts": Rules(one_list_for_each_workspace=False),
    "first the list, then the rows": Rules(list_before_rows=False),
    "what was deleted here counts as listed": Rules(instead=_only("1 = 0", statements.DELETED_SINCE)),
    "a lease says how long a sender may be at work": Rules(
        instead={
            **_replaced("lease_expires_at = :lease_expires_at", "lease_expires_at = 0", statements.RENEW_LEASE),
            **_replaced("lease_expires_at = :lease_expires_at", "lease_expires_at = 0", statements.MARK_SENT),
            **_replaced(":lease_expires_at,", "0,", statements.CLAIM),
        }
    ),
    # what else fits
    "rivals stand against a find": Rules(instead=_only("1 = 0", statements.RIVALS)),
    "rivals that were sent count": Rules(instead=_only("state <> 'sent'", statements.RIVALS)),
    "rivals that were abandoned count": Rules(instead=_only("state <> 'abandoned'", statements.RIVALS)),
    "rivals that found another count": Rules(instead=_only("evidence IS NULL", statements.RIVALS)),
    "rivals without the API's time count": Rules(instead=_only("api_claimed IS NOT NULL", statements.RIVALS)),
    "a batch belongs to one row": Rules(
        instead=_only("1 = 0", statements.OWNED), without_indexes=("submissions_by_batch",)
    ),
    # what was found
    "what was found is provisional": Rules(instead=_replaced("= 'found'", "= 'confirmed'", statements.FOUND)),
    "what was found is looked at again": Rules(instead=_only("state <> 'created'", statements.OPEN_ATTEMPTS)),
    "what alone fitted is held against its results": Rules(
        instead=_only("coalesce(evidence, '') <> 'sole'", statements.OPEN_ATTEMPTS)
    ),
    "results are compared": Rules(results_compared=False),
    "what was refuted is remembered": Rules(
        instead=_replaced("refuted = :refuted", "refuted = '[]'", statements.DOUBTED)
    ),
}
"""What the model is without each rule."""

HARMLESS: dict[str, Rules] = {
    "rivals that are being sent count": Rules(instead=_only("state <> 'claimed'", statements.RIVALS)),
    "an answer takes its batch from who found it": Rules(instead=_only("1 = 0", statements.RELEASE_BATCH)),
    "a delete reconciles first": Rules(reconcile_before_delete=False),
    "what is not newer than the newest before does not fit": Rules(instead=_NO_TIMES),
}
"""Rules without which the model finds nothing, as others close the same hole.

A rival that is still being sent after the list was read has made nothing that is in it. What an answer names is never
held by another row, as long as rivals count. The receipt of a delete counts as listed. What is older than the newest
batch before is mostly outside the window, or owned.
"""
