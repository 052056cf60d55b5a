"""Questions on their way to the person and back.

From 2026-07-28 on a question travels in the answer of a call, and the client calls again with the answer and a sealed
state. Our codec puts the question into the envelope of that state: which one it was, when it was asked, and the facts
that it named. So whoever receives the answer, this process or another one that shares the keys, knows what it is for.
Before, a question is asked and answered within one call, and its facts never leave the process.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState, RequestStateSecurity

OPEN_SECONDS = 600.0
"""How long an answer is accepted: about as long as a person may take to look something up."""
UNANSWERED_AFTER = 5 * 60 * 1000
"""Milliseconds after which a question without an answer counts as one that nobody sees."""
_UNANSWERED_FOR = 10 * 60 * 1000
_ENVELOPE_VERSION = 1
_MOST_KEPT = 4
"""What was worked out for a create of a million requests takes some 20 MB."""

Work = TypeVar("Work")


@dataclass(frozen=True)
class Question:
    """A question that was put to the person: its id, when it was asked (milliseconds), and what it named.

    `facts` are plain JSON. The words of the question are made of them alone, and a consent holds for them alone.
    """

    id: str
    asked_at: int
    facts: Mapping[str, Any]

    @classmethod
    def new(cls, facts: Mapping[str, Any], now: int) -> "Question":
        """A question that is asked now, with an id that nobody can guess."""
        return cls(secrets.token_urlsafe(16), now, facts)


current: ContextVar[Question | None] = ContextVar("question", default=None)
"""The question that this call comes back with, or the one that it is about to ask."""


class QuestionCodec:
    """Seals the current question together with the state that the SDK keeps for itself; see `RequestStateCodec`."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._sealed = AESGCMRequestStateCodec(keys)

    def seal(self, payload: bytes) -> str:
        """The token that the client sends back with an answer."""
        question = current.get()
        named = question and [question.id, question.asked_at, dict(question.facts)]
        envelope = {"v": _ENVELOPE_VERSION, "question": named, "state": payload.decode()}
        return self._sealed.seal(json.dumps(envelope).encode())

    def unseal(self, token: str) -> bytes:
        """What the SDK sealed; the question becomes the current one of this call.

        Raises:
            InvalidRequestState: the token was not made by this server or one that shares its keys and its version.
        """
        envelope = json.loads(self._sealed.unseal(token))
        if envelope["v"] != _ENVELOPE_VERSION:
            raise InvalidRequestState("envelope of another version")
        named = envelope["question"]
        current.set(named and Question(*named))
        state: str = envelope["state"]
        return state.encode()


def state_security(keys: Sequence[bytes] | None) -> RequestStateSecurity:
    """How the state of open questions is sealed: by shared `keys` of 32 bytes or more, else by one of this process."""
    return RequestStateSecurity(codec=QuestionCodec(keys or [os.urandom(32)]), ttl=OPEN_SECONDS)


class OpenQuestions:
    """What was worked out for questions that are not answered yet, so that an answer need not work it out again.

    It holds the newest few, and each for as long as an answer to it is accepted. Losing one costs time, nothing else.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, object]] = {}

    def keep(self, question: Question, work: object) -> None:
        """Keep this until the question is answered."""
        self._kept[question.id] = (question.asked_at, work)
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def kept(self, question: Question, kind: type[Work], now: int) -> Work | None:
        """What was kept for this question, or None where it is not there any more. `now` is in milliseconds."""
        for old in [key for key, (asked_at, _) in self._kept.items() if now - asked_at > OPEN_SECONDS * 1000]:
            del self._kept[old]
        _, work = self._kept.get(question.id, (0, None))
        return work if isinstance(work, kind) else None

    def drop(self, question_id: str) -> None:
        """The question is answered."""
        self._kept.pop(question_id, None)


Subject = tuple[str, str, str | None]
"""An act, what it is about, and the client that calls."""


class UnansweredQuestions:
    """Questions of this process that have no answer yet: whether the client leaves them lying.

    A question that a person may be reading is never given up for another call on the same subject.
    """

    def __init__(self) -> None:
        self._put: dict[str, tuple[Subject, float, float]] = {}

    def put(self, question: Question, subject: Subject) -> None:
        """A question is out, in the answer of a call: nobody will say that it is not shown."""
        since = question.asked_at + UNANSWERED_AFTER
        self._keep(question, subject, since, since + _UNANSWERED_FOR)

    @contextmanager
    def waiting(self, question: Question, subject: Subject, now: Callable[[], int]) -> Iterator[None]:
        """Wait in the middle of a call for the answer, which `answered` notes.

        A call that is given up meanwhile leaves the question lying, and so does one that has waited in vain.
        """
        self._keep(question, subject, inf, inf)
        try:
            yield
        finally:
            if question.id in self._put:
                self._keep(question, subject, now(), now() + _UNANSWERED_FOR)

    def answered(self, question: Question) -> None:
        """The question has its answer."""
        self._put.pop(question.id, None)

    def left_lying(self, subject: Subject, now: int) -> bool:
        """Whether questions about this were not answered lately, and none is open that a person may be reading."""
        self._put = {key: kept for key, kept in self._put.items() if kept[2] >= now}
        since = [since for about, since, _ in self._put.values() if about == subject]
        return bool(since) and max(since) <= now

    def _keep(self, question: Question, subject: Subject, since: float, until: float) -> None:
        self._put[question.id] = subject, since, until
