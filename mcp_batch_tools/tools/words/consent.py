"""What the person reads when asked and can choose, and what the model is told of the answer.

Each question is made of its facts alone, so that it reads the same whenever it is made of them again.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from mcp.server.mcpserver.resolve import Elicit
from pydantic import BaseModel, Field

from mcp_batch_tools.api.models import RESULTS_LAST
from mcp_batch_tools.api.untrusted import quote_untrusted
from mcp_batch_tools.clock import from_milliseconds
from mcp_batch_tools.pricing.amounts import format_usd
from mcp_batch_tools.tools.facts import CancelFacts, CreateFacts, DeleteFacts

Act = Literal["delete", "cancel", "create"]
Unseen = Literal["closed", "accepted", "no form", "error", "silence", "unable", "unknown"]
"""Why no person can have answered a question."""


class DeleteChoice(BaseModel):
    """What the person fills in when asked about a delete that loses no result, as all are saved."""

    choice: Literal["delete", "keep"] = Field(
        title="Your choice", description="delete: the batch and its results are gone for good. keep: nothing changes."
    )


class SaveOrDeleteChoice(BaseModel):
    """What the person fills in when asked about a delete of results that have not been saved."""

    choice: Literal["delete", "keep", "save, then delete"] = Field(
        title="Your choice",
        description="delete: the batch and its results are gone for good. keep: nothing changes. save, then delete: "
        "it is deleted after all results have been saved to a file here and checked.",
    )


class CancelChoice(BaseModel):
    """What the person fills in when asked about a cancellation."""

    choice: Literal["stop it", "keep running"] = Field(
        title="Your choice",
        description="stop it: requests that have not finished are stopped. keep running: nothing changes.",
    )


class CreateChoice(BaseModel):
    """What the person fills in when asked about spending."""

    choice: Literal["create", "do not create"] = Field(
        title="Your choice", description="create: the requests are sent and billed. do not create: nothing is sent."
    )


def delete_question(facts: DeleteFacts) -> Elicit[DeleteChoice | SaveOrDeleteChoice]:
    """The question before a batch is deleted."""
    succeeded, errored, total = facts.counts["succeeded"], facts.counts["errored"], sum(facts.counts.values())
    results = [f"{succeeded:,} succeeded result{'' if succeeded == 1 else 's'}"]
    if errored:
        results.append(f"{errored:,} error{'' if errored == 1 else 's'}")
    one = succeeded + errored == 1
    created_at = datetime.fromtimestamp(facts.created_at, UTC)
    batch = (
        f"Delete {facts.message_batch_id} for good? {' and '.join(results)} (created {format_date(created_at)}, "
        f"{total:,} request{'' if total == 1 else 's'})"
    )
    until = f"would otherwise last until {format_date(created_at + RESULTS_LAST)}."
    if facts.saved_to is not None:
        saved = f"{'is' if one else 'are'} saved here, in {quote_untrusted(facts.saved_to)}, and"
        return Elicit(f"{batch} {saved} {until}", DeleteChoice)
    if facts.save_to is not None:
        first = f"will first be saved to {quote_untrusted(facts.save_to)}; only if that succeeds is the batch deleted."
        return Elicit(f"{batch} {first} {'It' if one else 'They'} {until}", DeleteChoice)
    return Elicit(f"{batch} {'was' if one else 'were'} never saved here and {until}", SaveOrDeleteChoice)


def cancel_question(facts: CancelFacts) -> Elicit[CancelChoice]:
    """The question before a batch is canceled. Counts can move while it runs, so it names only their sum."""
    total, created_at = facts.total, datetime.fromtimestamp(facts.created_at, UTC)
    return Elicit(
        f"Stop {facts.message_batch_id}? Up to {total:,} request{'' if total == 1 else 's'} still "
        f"run{'s' if total == 1 else ''} (created {format_date(created_at)}). Those that have finished stay in its "
        "results, and are billed; the others are stopped and have no result.",
        CancelChoice,
    )


def create_question(facts: CreateFacts) -> Elicit[CreateChoice]:
    """The question before requests are sent that may cost more than is spent without asking."""
    cost = "What they cost is unknown, since a model has no known price"
    if facts.max_cost_usd is not None:
        cost = f"They cost {priced(Decimal(facts.max_cost_usd), facts.prices_of, facts.not_included)}"
    before = ""
    if facts.sent_on is not None:
        sent_on = format_date(from_milliseconds(facts.sent_on))
        before = f" Requests among them were already sent on {sent_on} as {facts.sent_as}; this pays again."
    return Elicit(
        f"Create a batch of {facts.requests:,} request{'' if facts.requests == 1 else 's'}? {cost}.{before}",
        CreateChoice,
    )


def priced(most: Decimal, prices_of: str, not_included: Sequence[str]) -> str:
    """`2.50 USD if every answer is as long as max_tokens allows, by the prices of genai-prices 0.2.3`."""
    adding = f", and without what {' and '.join(not_included)} may add" if not_included else ""
    return f"{format_usd(most)} if every answer is as long as max_tokens allows, by the prices of {prices_of}{adding}"


def why_unseen(unseen: Unseen, seconds: float | None) -> str:
    """Why no person can have answered a question; `seconds` is how long an answer took, where one came."""
    fast = f"after {max(seconds or 0, 0):.2f} s, before anybody could read it"
    return {
        "closed": f"the client closed the question {fast}",
        "accepted": f"the client accepted the question itself {fast}",
        "no form": "the client accepted the question without filling in its form",
        "error": "the client answered the question with an error",
        "silence": "the client has left the question without an answer",
        "unable": "this client cannot ask",
        "unknown": "it is unknown whether this client can ask",
    }[unseen]


def ask_in_conversation(act: Act, why: str, question: str) -> str:
    """What to do where nobody has seen the question: the assistant puts it, and comes back with a code after a yes."""
    return (
        f'Nothing was {_DONE[act]}: {why}. The question was: "{question}" Put it to the user in the conversation, and '
        "wait for the answer. Only after a clear yes, make the call in next_steps, which has the same arguments and a "
        "confirmation; that works once, within 10 minutes. Without a yes, do nothing."
    )


def must_be_asked(why: str, policy: str) -> str:
    """Why nothing is done where the person must be asked and cannot be."""
    return (
        f"Nothing was changed: the person must be asked first (--destructive {policy}), and {why}. {_STOP} The user "
        "can connect a client that shows such questions, or change that option."
    )


def declined_message(how: Literal["declined", "dismissed", "kept"]) -> str:
    """The person did not consent; `how` is what they did instead."""
    did = {"declined": "declined", "dismissed": "dismissed the question", "kept": "chose to leave it as it is"}[how]
    return f"Nothing was changed: the person was asked and {did}. {_STOP}"


_DONE: Mapping[Act, str] = {"delete": "deleted", "cancel": "canceled", "create": "sent"}
_STOP = "Do not retry, and do not work around it."
_BEFORE = "This question was answered before"
_ANEW = "Call again, and the person is asked anew."

DELETE_CHANGED = (
    "Nothing was deleted: the batch has changed since the question was asked. Call again, and the person is asked "
    "about it as it is now."
)
CANCEL_CHANGED = (
    "Nothing was canceled: the batch has changed since the question was asked. Call again, and the person is asked "
    "about it as it is now."
)
UNSEEN_BEFORE = f"Nothing was changed: {_BEFORE.lower()}, but not by a person who could read it. {_ANEW}"
OUTCOME_UNKNOWN = f"{_BEFORE}, and what came of it is not known yet."
CANCELED_BEFORE = f"{_BEFORE}, and the cancellation was requested then. Nothing more was sent."


def create_changed_message(changed: Literal["requests", "price", "sent"]) -> str:
    """Why a consent to a create does not hold any more."""
    match changed:
        case "requests":
            what = "the requests have changed"
        case "price":
            what = "their price has changed"
        case "sent":
            what = "the same requests were sent by another call"
    return f"Nothing was sent: {what} since the question was asked. {_ANEW}"


def nothing_done_message(act: Act) -> str:
    """The first answer was a yes, and nothing could be done on it."""
    return f"{_BEFORE}, and nothing was {_DONE[act]} then. {_ANEW}"


def created_before_message(ids: list[str], parts: int) -> str:
    """What was created on the first answer, a yes, of so many batches."""
    if len(ids) == parts:
        return f"Created as {', '.join(ids)}. {_BEFORE}, and nothing more was sent."
    if not ids:
        return nothing_done_message("create")
    return f"{_BEFORE}, and {len(ids)} of {parts} batches were created then. Nothing more was sent. {_ANEW}"


def format_date(time: datetime) -> str:
    """A day for a sentence, in UTC: `3 Nov 2026`."""
    utc = time.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y}"
