"""Who decides about an act that costs, destroys or stops something: the policy, the host's approval, or the person.

A client that says that it can ask may close the question itself, or never show it. What comes back then is no decision:
the assistant is given a code, puts the question to the user in the conversation, and calls again with the code after a
yes. The host's approval of that second call is the gate, as it is for a client that says that it cannot ask.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation
from mcp.server.mcpserver.resolve import Elicit

from mcp_batch_tools.settings import SANDBOX_NOTE
from mcp_batch_tools.tools.answered import AnsweredBefore, use_up
from mcp_batch_tools.tools.app import App, Caller
from mcp_batch_tools.tools.arguments import AROUND
from mcp_batch_tools.tools.facts import CancelFacts, CreateFacts, DeleteFacts
from mcp_batch_tools.tools.questions import Question, Subject
from mcp_batch_tools.tools.words.consent import (
    Act,
    CancelChoice,
    CreateChoice,
    DeleteChoice,
    SaveOrDeleteChoice,
    Unseen,
    ask_in_conversation,
    declined_message,
    must_be_asked,
    why_unseen,
)

_TOO_FAST = 0.7
"""Seconds in which nobody reads a question and answers it."""

How = Literal[
    "asked and accepted",
    "confirmed in the conversation",
    "accepted by the client itself",
    "host approval",
    "policy allow",
    "nothing to lose",
    "below the approval threshold",
]
Named = TypeVar("Named", DeleteFacts, CancelFacts, CreateFacts)


@dataclass(frozen=True)
class Granted:
    """The act may happen, and how that was decided: it stands in the receipt.

    `question` is the one that was answered, or confirmed by its code; None where nobody was asked.
    """

    how: How
    save_first: bool = False
    question: Question | None = None


@dataclass(frozen=True)
class Refused:
    """The act must not happen. `question` is the one that was answered; None where nobody was asked.

    `confirmation` is the code that the same call accepts once, where the user can be asked in the conversation.
    """

    reason: Literal["declined", "not_shown", "cannot_ask"]
    message: str
    question: Question | None = None
    confirmation: str | None = None


Decision = Granted | Refused


@dataclass(frozen=True)
class Consent:
    """A question about one act, and what is made of what comes back. `words` makes the question of its facts."""

    app: App
    caller: Caller
    act: Act

    async def decide(
        self, facts: Named | None, words: Callable[[Named], Elicit[Any]], confirmation: str | None
    ) -> Elicit[Any] | Decision:
        """The question where it travels in the answer of the call, else the decision.

        Without `facts` nothing can be lost. `confirmation` is the code that the call holds.
        """
        policy, ability = self.app.settings.destructive, self.caller.ability
        if facts is None:
            return Granted("nothing to lose")
        if policy == "allow":
            return Granted("policy allow")
        if policy == "ask" and ability == "unable":
            return Granted("host approval")
        confirmed = await self._confirmed(facts, confirmation)
        if confirmed is not None:
            return Granted("confirmed in the conversation", question=confirmed)
        question = words(facts)
        if ability != "able":
            return await self._unseen(ability, facts, question)
        return await self._put(facts, question)

    async def _put(self, facts: Named, question: Elicit[Any]) -> Elicit[Any] | Decision:
        app, caller = self.app, self.caller
        subject: Subject = self.act, facts.subject, caller.name
        if caller.question is not None and caller.sealed:
            app.unanswered.put(caller.question, subject)
        if not caller.answered and app.unanswered.left_lying(subject, app.now()):
            return await self._unseen("silence", facts, question)
        put = caller.ask(asdict(facts))
        if app.settings.sandbox:
            question = Elicit(f"{question.message} {SANDBOX_NOTE}", question.schema)
        if caller.sealed:
            app.unanswered.put(put, subject)
            caller.put = question
            if not caller.fills_in_nothing(question):
                return question
            app.unanswered.answered(put)
            return await self._unseen("no form", facts, question)
        with app.unanswered.waiting(put, subject, app.now):
            outcome = await caller.elicit(question, app.question_seconds)
            if outcome != "silence":
                app.unanswered.answered(put)
        return await self._judged(outcome, put, facts, question)

    async def decision(self, outcome: object, kind: type[Named]) -> Decision:
        """What the outcome of the resolver comes to: it is the decision already, or an answer to its question."""
        match outcome:
            case AcceptedElicitation(data=Granted() | Refused() as decision):
                return decision
        question, put = self.caller.question, self.caller.put
        if question is None or put is None:
            raise TypeError(f"no outcome of a question: {outcome!r}")
        self.app.unanswered.answered(question)
        return await self._judged(outcome, question, kind(**question.facts), put)

    async def _judged(
        self, outcome: object, question: Question, facts: DeleteFacts | CancelFacts | CreateFacts, put: Elicit[Any]
    ) -> Decision:
        match outcome:
            case "error" | "no form" | "silence" as unseen:
                return await self._unseen(unseen, facts, put)
        seconds = (self.app.now() - question.asked_at) / 1000
        judged = judge(outcome, seconds, may_approve=self.app.settings.destructive == "ask")
        match judged:
            case "closed" | "accepted":
                return await self._unseen(judged, facts, put, seconds)
            case "declined" | "dismissed" | "kept":
                return Refused("declined", declined_message(judged), question)
            case (how, save_first):
                return Granted(how, save_first, question)

    async def _unseen(
        self,
        unseen: Unseen,
        facts: DeleteFacts | CancelFacts | CreateFacts,
        question: Elicit[Any],
        seconds: float | None = None,
    ) -> Refused:
        """No person has decided: the way to one who can, where the policy leaves it open. Raises `LedgerError`."""
        app, caller = self.app, self.caller
        reason: Literal["cannot_ask", "not_shown"] = "cannot_ask" if unseen in {"unable", "unknown"} else "not_shown"
        why = why_unseen(unseen, seconds)
        code = await self._code(facts, why) if app.settings.destructive == "ask" else None
        if code is None:
            message = must_be_asked(why, app.settings.destructive)
        else:
            message = ask_in_conversation(self.act, why, question.message)
        return Refused(reason, message, caller.question, code)

    async def _confirmed(self, facts: Named, code: str | None) -> Question | None:
        """The question that this code stands for, where it is one to the very same act; any other counts as no code."""
        app = self.app
        if code is None or app.settings.destructive != "ask" or not app.remembers:
            return None
        from mcp_batch_tools.ledger.confirmations import open_confirmation

        confirmation = await app.ledger.read(
            lambda transaction: open_confirmation(
                transaction, code.strip(AROUND), app.now(), scope=app.settings.credential_scope, act=self.act
            )
        )
        if confirmation is None or not type(facts)(**confirmation.facts).covers(facts):
            return None
        return Question(confirmation.id, confirmation.time, confirmation.facts)

    async def _code(self, facts: DeleteFacts | CancelFacts | CreateFacts, why: str) -> str:
        from mcp_batch_tools.ledger.confirmations import give_confirmation

        app, client = self.app, self.caller.name
        scope = app.settings.credential_scope
        return await app.ledger.write(
            lambda transaction: give_confirmation(
                transaction, asdict(facts), app.now(), scope=scope, act=self.act, client=client, unseen=why
            )
        )

    async def refuse(self, decision: Decision) -> AnsweredBefore | None:
        """Use up the answer that led to this decision, where nothing is done on it."""
        match decision:
            case Granted():
                return await use_up(self.app, decision.question, self.act, "granted")
            case Refused(reason="declined"):
                return await use_up(self.app, decision.question, self.act, "refused")
            case Refused():
                return await use_up(self.app, decision.question, self.act, "unseen")


def judge(
    outcome: object, seconds: float, *, may_approve: bool
) -> Literal["closed", "accepted", "declined", "dismissed", "kept"] | tuple[How, bool]:
    """What an answer that came after so many seconds comes to: how the act was granted, and whether to save first.

    Whatever is not plainly a consent is a refusal. Nobody reads a question in less than 0.7 s: an answer that comes
    sooner is the client's own. Its consent counts as the host's approval where the policy leaves approval to the host
    (`may_approve`).
    """
    fast = seconds < _TOO_FAST
    match outcome:
        case AcceptedElicitation(
            data=DeleteChoice(choice="delete")
            | SaveOrDeleteChoice(choice="delete" | "save, then delete")
            | CancelChoice(choice="stop it")
            | CreateChoice(choice="create") as data
        ):
            save_first = data.choice == "save, then delete"
            if not fast:
                return "asked and accepted", save_first
            return ("accepted by the client itself", save_first) if may_approve else "accepted"
        case _ if fast:
            return "closed"
        case AcceptedElicitation(data=DeleteChoice() | SaveOrDeleteChoice() | CancelChoice() | CreateChoice()):
            return "kept"
        case DeclinedElicitation():
            return "declined"
        case CancelledElicitation():
            return "dismissed"
        case _:
            raise TypeError(f"no outcome of a question: {outcome!r}")


def can_be_asked(app: App, caller: Caller) -> bool:
    """Whether a question would be put; what only a question needs can be left out where it would not."""
    policy, ability = app.settings.destructive, caller.ability
    return policy != "allow" and (ability == "able" or (policy == "ask" and ability == "unknown"))


def facts_named(question: Question | None, kind: type[Named]) -> Named | None:
    """The facts of a question, or None where there is none."""
    return None if question is None else kind(**question.facts)
