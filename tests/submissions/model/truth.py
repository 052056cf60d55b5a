"""What must never happen, by the truth that only the model knows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mcp_batch_tools.ledger.database import Row
from mcp_batch_tools.submissions.match import Listed, within_window
from mcp_batch_tools.submissions.states import CLOCK_OFF, Attempt
from tests.submissions.model.ledger import Violation
from tests.submissions.model.world import LATEST_SEEN, Batch, Post, World


@dataclass(frozen=True)
class Call:
    """What a claim rested on: the requests it pays for, and the state in which the call saw each earlier attempt.

    `number` is its copy, or the seq of a retry, and `numbers` are those that the call saw as created.
    """

    paid: frozenset[str]
    custom_ids: frozenset[str]
    number: int
    seen: Mapping[str, str]
    numbers: frozenset[int]
    again: bool
    abandons: frozenset[str]


class Truth:
    """Holds every change of the ledger, and every act of the API, against each other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.calls: dict[str, Call] = {}
        self.posted: dict[str, Post] = {}
        self.abandoned: set[str] = set()
        self.rows: dict[str, Row] = {}
        self.made: dict[str, Batch] = {}
        self.reached: Counter[str] = Counter()

    def row_changed(self, before: Row | None, row: Row) -> None:
        """A transaction has changed a row."""
        self.rows[row["id"]] = row
        self.reached[f"{before['state'] if before else 'new'} -> {row['state']}"] += 1
        batch_id, made = row["message_batch_id"], self.made.get(row["id"])
        if row["state"] == "not_created" and made is not None:
            raise Violation(f"{row['id']} is not_created, but has made {made.id}")
        if row["state"] == "abandoned":
            self._check_abandoned(row)
        if batch_id is None:
            return
        self.reached[f"evidence {row['evidence']}"] += 1
        maker = self._world.by_id(batch_id).made_by
        if maker != row["id"]:
            self.reached["wrong batch"] += 1
            if row["evidence"] in {"answered", "confirmed"} or maker is not None:
                raise Violation(f"{row['id']} is {row['evidence']} as {batch_id}, which {maker} has made")

    def _check_abandoned(self, row: Row) -> None:
        self.abandoned.add(row["id"])
        post = self.posted.get(row["id"])
        if post is not None and row["api_sent"] is not None and self._world.now < post.posted + LATEST_SEEN:
            raise Violation(f"{row['id']} is abandoned, though waiting would tell")

    def acted(self, post: Post) -> None:
        """The API has created a batch for an attempt."""
        assert post.batch is not None
        paid = self.calls[post.attempt_id].paid
        earlier = [attempt_id for attempt_id in self.made if self.calls[attempt_id].paid & paid]
        self.made[post.attempt_id] = post.batch
        row = self.rows[post.attempt_id]
        if row["state"] == "not_created":
            raise Violation(f"{row['id']} is not_created, and makes {post.batch.id}")
        for attempt_id in earlier:
            self.reached["paid twice"] += 1
            self._check_pair(attempt_id, post.attempt_id)

    def answered(self, attempt_id: str, batch: Batch) -> None:
        """The answer has arrived, and was written down."""
        row = self.rows[attempt_id]
        if (row["evidence"], row["message_batch_id"]) != ("answered", batch.id):
            raise Violation(f"{attempt_id} is {row['state']} after its answer, which named {batch.id}")

    def _check_pair(self, one: str, other: str) -> None:
        """Two batches for the same requests: one was given up, or a caller saw the other and asked again."""
        if {one, other} & self.abandoned:
            return
        if self._asked_again(one, other) or self._asked_again(other, one):
            return
        raise Violation(f"{one} and {other} were both paid for, and nobody has asked for it")

    def _asked_again(self, attempt_id: str, other: str) -> bool:
        """Whether the call saw the other one, or its number as another's who turned out not to have made a batch."""
        call, number = self.calls[attempt_id], self.calls[other].number
        seen = call.seen.get(other)
        again = call.again and (seen == "created" or (number in call.numbers and number < call.number))
        return again or seen == "forgotten"

    def at_rest(self, attempts: list[Attempt]) -> None:
        """Everybody has stopped, all is listed, all results were read, and everything was reconciled."""
        owned = {attempt.message_batch_id for attempt in attempts}
        for attempt in attempts:
            if attempt.state == "claimed":
                raise Violation(f"{attempt.id} is claimed for ever")
            if attempt.state == "created":
                batch = self._world.by_id(attempt.message_batch_id or "")
                if batch.made_by != attempt.id and not batch.deleted:
                    raise Violation(f"{attempt.id} is {attempt.evidence} as {batch.id}, which is not its own, for ever")
            if attempt.state == "sent":
                self._check_left_open(attempt, attempts, owned)

    def _check_left_open(self, attempt: Attempt, attempts: list[Attempt], owned: set[str | None]) -> None:
        self.reached["left open"] += 1
        if attempt.api_sent is None:
            return
        claimed = None if attempt.api_claimed is None else attempt.api_claimed - CLOCK_OFF
        doubted = replace(attempt, api_claimed=claimed, api_sent=attempt.api_sent + CLOCK_OFF)
        for batch in self._world.batches:
            listed = Listed(batch.id, batch.created, batch.request_counts.total)
            held = any(rival.evidence == "found" and rival.message_batch_id == batch.id for rival in attempts)
            unread = batch.deleted or self.calls[attempt.id].custom_ids.issuperset(batch.custom_ids)
            if unread and within_window(doubted, listed) and (batch.id not in owned or held):
                return
        raise Violation(f"{attempt.id} is open for ever, though nothing fits that may be its own")
