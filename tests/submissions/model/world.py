"""The API as it truly is, and the time. Times are milliseconds of its clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from mcp_batch_tools.clock import from_milliseconds

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
START = 1_795_000_000_000
SIZE = 2
"""Requests of every batch: what fits by its size must be told apart by the rest."""
LATEST_ACT = 58 * MINUTE
LATEST_SEEN = 69 * MINUTE
"""After the last piece: 60 minutes for lists and late work, 10 for the answer; the rest is for the hand-over and for
clocks of the API that differ by seconds."""
OWN_ANSWER = 10 * MINUTE
EXPIRES_AFTER = 24 * HOUR


@dataclass
class Counts:
    total: int = SIZE


@dataclass
class Batch:
    """A batch, with who made it in truth: the id of an attempt, or None for one made elsewhere."""

    id: str
    created: int
    workspace: str
    custom_ids: tuple[str, ...]
    made_by: str | None
    listed_from: int
    ended: bool = False
    deleted: bool = False
    request_counts: Counts = field(default_factory=Counts)
    request_id: str | None = None

    @property
    def created_at(self) -> datetime:
        return from_milliseconds(self.created)

    def readable(self, now: datetime) -> bool:
        return self.ended and not self.deleted


@dataclass
class Page:
    data: Sequence[Batch]
    has_more: bool
    api_time: datetime | None


@dataclass
class Post:
    """A create whose last piece has left. `answers_at` is None where the answer is lost on its way."""

    attempt_id: str
    workspace: str
    custom_ids: tuple[str, ...]
    posted: int
    acts_at: int | None
    listed_from: int
    answers_at: int | None
    garbled: bool
    batch: Batch | None = None

    @property
    def refused(self) -> bool:
        return self.acts_at is None


class World:
    """What the API does with what reaches it."""

    def __init__(self, dice: Random, *, lag: float, lose: float, late: float, undated: float) -> None:
        self.now = START
        self.batches: list[Batch] = []
        self.posts: list[Post] = []
        self.on_act: Callable[[Post], None] = lambda post: None
        self._dice = dice
        self._lag, self._lose, self._late, self._undated = lag, lose, late, undated

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, so that creates act whose time has come."""
        self.now += milliseconds
        due = sorted(
            (post for post in self.posts if post.acts_at is not None and post.acts_at <= self.now),
            key=lambda post: post.acts_at or 0,
        )
        for post in due:
            self.posts.remove(post)
            created = post.acts_at or 0
            post.batch = self._add(post.workspace, post.custom_ids, post.attempt_id, created, post.listed_from)
            self.on_act(post)

    def post(self, attempt_id: str, workspace: str, custom_ids: tuple[str, ...]) -> Post:
        """The last piece of a create arrives; whether and when it acts is open."""
        dice, now = self._dice, self.now
        refused = dice.random() < 0.08
        acts_at = now + self._delay(dice.random() < self._late)
        answers_at: int | None = (now if refused else acts_at) + dice.choice((0, 50, SECOND, 9 * SECOND))
        if dice.random() < self._lose:
            answers_at = None
        seen = acts_at + (dice.choice((0, SECOND, MINUTE, HOUR)) if dice.random() < self._lag else 0)
        post = Post(
            attempt_id,
            workspace,
            custom_ids,
            posted=now,
            acts_at=None if refused else acts_at,
            listed_from=min(seen, now + LATEST_SEEN),
            answers_at=answers_at,
            garbled=dice.random() < 0.1,
        )
        self.posts.append(post)
        self.pass_time(0)
        return post

    def _delay(self, late: bool) -> int:
        if late:
            return self._dice.randrange(OWN_ANSWER, LATEST_ACT)
        return self._dice.choice((0, 0, 30, 2 * SECOND, MINUTE, OWN_ANSWER - SECOND))

    def add_elsewhere(self, workspace: str, custom_ids: tuple[str, ...] = ("elsewhere",)) -> Batch:
        """A batch of the same size that nobody of ours made."""
        seen = self.now + (self._dice.randrange(HOUR) if self._dice.random() < self._lag else 0)
        return self._add(workspace, custom_ids, None, self.now, seen)

    def _add(
        self, workspace: str, custom_ids: tuple[str, ...], made_by: str | None, created: int, listed_from: int
    ) -> Batch:
        batch = Batch(f"b{len(self.batches)}", created, workspace, custom_ids, made_by, listed_from)
        self.batches.append(batch)
        return batch

    def listed(self, workspace: str) -> list[Batch]:
        """What a list shows now, newest first."""
        shown = [
            batch
            for batch in self.batches
            if batch.workspace == workspace and batch.listed_from <= self.now and not batch.deleted
        ]
        return sorted(shown, key=lambda batch: batch.created)[::-1]  # of one moment, in the order of creation

    def date(self) -> datetime | None:
        """The `Date` of an answer: whole seconds, from one of several machines, or none at all."""
        if self._undated and self._dice.random() < self._undated:
            return None
        skewed = self.now + self._dice.choice((-20, 0, 0, 20)) * SECOND
        return from_milliseconds(skewed - skewed % SECOND)

    def end_batches(self) -> None:
        """Let all that exists end, so that its results can be read."""
        for batch in self.batches:
            batch.ended = True

    def by_id(self, batch_id: str) -> Batch:
        """The batch of this id, deleted ones too."""
        return self.batches[int(batch_id[1:])]
