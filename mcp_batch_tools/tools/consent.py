"""Who decides on an act that destroys: the policy, and the question that is put to the person.

Nothing is destroyed unless one of these holds: the person was asked and chose it, the policy says that nobody need be
asked, nothing can be lost, or the client declares that it cannot ask, so that the approval of destructive tools by
the host is the gate. What a client can do may be unknown; that is never taken for "need not be asked".
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, DeclinedElicitation
from mcp.server.mcpserver.resolve import Elicit
from pydantic import BaseModel, Field

from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.api.untrusted import quote_untrusted
from mcp_batch_tools.clock import from_milliseconds
from mcp_batch_tools.settings import SANDBOX_NOTE
from mcp_batch_tools.submissions.states import Attempt
from mcp_batch_tools.tools.app import App, Caller

How = Literal["asked and accepted", "host approval", "policy allow", "nothing to lose", "below the approval threshold"]


class DeleteChoice(BaseModel):
    """What the person fills in when asked about a delete."""

    choice: Literal["delete", "keep"] = Field(
        title="Your choice", description="delete: the batch and its results are gone for good. keep: nothing changes."
    )


class DeleteSavedChoice(DeleteChoice):
    """The same, where the question said that the results are saved: the consent rests on that."""


class SaveOrDeleteChoice(BaseModel):
    """The same, where the results have not been saved."""

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


@dataclass(frozen=True)
class Granted:
    """The act may happen, and how that was decided: it stands in the receipt."""

    how: How
    save_first: bool = False
    because_saved: bool = False


@dataclass(frozen=True)
class Refused:
    """The act must not happen."""

    reason: Literal["declined", "cannot_ask"]
    message: str


Decision = Granted | Refused

_STOP = "Do not retry, and do not work around it."


def can_be_asked(app: App, caller: Caller) -> bool:
    """Whether a question would be put to the person; what only a question needs can be left out where it would not."""
    return app.settings.destructive != "allow" and caller.ability == "able"


def decision_or_question(app: App, caller: Caller, question: Elicit[Any] | None) -> Elicit[Any] | Decision:
    """The question where the person must be asked, else the decision. `question` is None where nothing can be lost."""
    settings, policy = app.settings, app.settings.destructive
    if question is None:
        return Granted("nothing to lose")
    if policy == "allow":
        return Granted("policy allow")
    ability = caller.ability
    if ability == "able":
        return Elicit(f"{question.message} {SANDBOX_NOTE}", question.schema) if settings.sandbox else question
    if policy == "ask" and ability == "unable":
        return Granted("host approval")
    client = "this client cannot ask" if ability == "unable" else "it is unknown whether this client can ask"
    return Refused(
        "cannot_ask",
        f"Nothing was changed: the person must be asked first (--destructive {policy}), and {client}. {_STOP} "
        "The user can connect a client that supports elicitation, or change that option.",
    )


def decision_from(outcome: object) -> Decision:
    """What the answer to a question comes to. Whatever is not plainly a consent is a refusal."""
    match outcome:
        case AcceptedElicitation(data=Granted() | Refused() as decision):
            return decision
        case AcceptedElicitation(data=DeleteSavedChoice(choice="delete")):
            return Granted("asked and accepted", because_saved=True)
        case AcceptedElicitation(
            data=DeleteChoice(choice="delete")
            | SaveOrDeleteChoice(choice="delete")
            | CancelChoice(choice="stop it")
            | CreateChoice(choice="create")
        ):
            return Granted("asked and accepted")
        case AcceptedElicitation(data=SaveOrDeleteChoice(choice="save, then delete")):
            return Granted("asked and accepted", save_first=True)
        case AcceptedElicitation(data=DeleteChoice() | SaveOrDeleteChoice() | CancelChoice() | CreateChoice()):
            said = "chose to leave it as it is"
        case DeclinedElicitation():
            said = "declined"
        case CancelledElicitation():
            said = "dismissed the question"
        case _:
            raise TypeError(f"no outcome of a question: {outcome!r}")
    return Refused("declined", f"Nothing was changed: the person was asked and {said}. {_STOP}")


def delete_question(
    batch: MessageBatch, *, saved_to: str | None, save_to: str | None
) -> Elicit[DeleteChoice | SaveOrDeleteChoice] | None:
    """The question before a batch is deleted, or None where it holds nothing that could be lost.

    `saved_to` is the unchanged file that holds its results already; `save_to` is where they will be saved first. The
    question depends on nothing that changes once a batch has ended: an answer counts only for the very question asked.
    """
    counts = batch.request_counts
    if batch.archived_at is not None or counts.hold_nothing:
        return None
    told = [f"{counts.succeeded:,} succeeded result{'' if counts.succeeded == 1 else 's'}"]
    if counts.errored:
        told.append(f"{counts.errored:,} error{'' if counts.errored == 1 else 's'}")
    were = "was" if counts.succeeded + counts.errored == 1 else "were"
    what = (
        f"Delete {batch.id} for good? {' and '.join(told)} (created {format_date(batch.created_at)}, "
        f"{counts.total:,} request{'' if counts.total == 1 else 's'})"
    )
    until = f"would otherwise last until {format_date(batch.results_until)}."
    if saved_to is not None:
        return Elicit(
            f"{what} {'is' if were == 'was' else 'are'} saved here, in {quote_untrusted(saved_to)}, and {until}",
            DeleteSavedChoice,
        )
    if save_to is not None:
        first = f"will first be saved to {quote_untrusted(save_to)}; only if that succeeds is the batch deleted. They"
        return Elicit(f"{what} {first} {until}", DeleteChoice)
    return Elicit(f"{what} {were} never saved here and {until}", SaveOrDeleteChoice)


def cancel_question(batch: MessageBatch) -> Elicit[CancelChoice]:
    """The question before a batch is canceled. Counts can move while it runs, so it names only their sum."""
    total = batch.request_counts.total
    return Elicit(
        f"Stop {batch.id}? Up to {total:,} request{'' if total == 1 else 's'} still run{'s' if total == 1 else ''} "
        f"(created {format_date(batch.created_at)}). Those that have finished stay in its results, and are billed; "
        "the others are stopped and have no result.",
        CancelChoice,
    )


def create_question(
    requests: int, max_cost_usd: Decimal | None, prices_of: str, sent_again: Attempt | None
) -> Elicit[CreateChoice]:
    """The question before requests are sent that may cost more than is spent without asking."""
    cost = (
        f"They cost {max_cost_usd:,.2f} USD if every answer is as long as max_tokens allows, by the prices of "
        f"{prices_of}"
        if max_cost_usd is not None
        else "What they cost is unknown, since a model has no known price"
    )
    before = ""
    if sent_again is not None:
        sent_on = format_date(from_milliseconds(sent_again.time))
        before = (
            f" Requests among them were already sent on {sent_on} as {sent_again.message_batch_id}; this pays again."
        )
    return Elicit(
        f"Create a batch of {requests:,} request{'' if requests == 1 else 's'}? {cost}.{before}", CreateChoice
    )


def format_date(time: datetime) -> str:
    """A day for a sentence, in UTC: `3 Nov 2026`."""
    utc = time.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y}"
