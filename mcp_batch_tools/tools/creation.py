"""What `create_message_batch` answers: the facts, and the words for them."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from mcp_batch_tools.api.untrusted import quote_name, quote_untrusted
from mcp_batch_tools.clock import from_milliseconds
from mcp_batch_tools.pricing.amounts import as_number, format_usd
from mcp_batch_tools.pricing.estimates import Estimate
from mcp_batch_tools.requests.sizes import BYTES_A_TOKEN, BYTES_A_TOKEN_OF_DOCUMENTS, TOKENS_A_LARGE_IMAGE
from mcp_batch_tools.submissions.reconcile import Unresolved
from mcp_batch_tools.submissions.states import ABSENT_AFTER, LEASE_ANSWER, Attempt
from mcp_batch_tools.tools.answers import Answer, NextStep, TaggedAnswer, Time, format_time, requests
from mcp_batch_tools.tools.words.consent import priced

Reason = Literal[
    "too_expensive",
    "cost_unknown",
    "already_created",
    "unknown_outcome",
    "failed",
    "declined",
    "not_shown",
    "cannot_ask",
    "changed",
    "answered_before",
]


class CreatedBatch(Answer):
    """One batch of a submission: `part` of `parts`, counted from 1."""

    id: str
    part: int
    requests: int


class Candidate(Answer):
    """A batch that may be the one that was sent."""

    id: str
    created_at: Time
    requests: int


class ModelCost(Answer):
    """What the requests of one model will use at most."""

    model: str
    requests: int
    input_tokens: int = Field(description="Estimated.")
    most_output_tokens: int = Field(description="Upper bound, from max_tokens.")
    max_cost_usd: float | None = Field(None, description="Of both. Absent where the price is unknown.")


class Costs(Answer):
    """The price before anything is sent."""

    models: list[ModelCost]
    max_cost_usd: float | None = Field(None, description="Absent where a price is unknown.")
    prices_of: str
    not_included: list[str] = Field(description="Tools and parameters that may cost more than is known before.")
    input_tokens_by: str


class Estimated(Answer):
    """The answer of a dry run."""

    type: Literal["message_batch_estimate"]
    message: str
    requests: int
    batches: int
    estimate: Costs


class Created(Answer):
    """Everything was sent, once."""

    type: Literal["message_batch_created"]
    message: str
    batches: list[CreatedBatch]
    label: str | None = None
    estimate: Costs
    next_steps: list[NextStep]


class NotCreated(Answer):
    """Not everything was sent, and what to do."""

    type: Literal["message_batch_not_created"]
    reason: Reason
    message: str
    batches: list[CreatedBatch] = Field(description="Created so far, by this call or an earlier one.")
    candidates: list[Candidate] | None = None
    estimate: Costs | None = None
    next_steps: list[NextStep]


class CreateAnswer(TaggedAnswer[Annotated[Estimated | Created | NotCreated, Field(discriminator="type")]]):
    """The answer of `create_message_batch`."""


def not_created(
    costs: Costs | None,
    reason: Reason,
    message: str,
    batches: list[CreatedBatch],
    *,
    unresolved: Unresolved | None = None,
    steps: list[NextStep] | None = None,
) -> NotCreated:
    """Why not everything was sent. `unresolved` is the attempt of which it is not known what became."""
    candidates = None
    if unresolved is not None:
        candidates = [
            Candidate(id=batch.id, created_at=from_milliseconds(batch.created_at), requests=batch.requests)
            for batch in unresolved.candidates
        ]
    return NotCreated(
        type="message_batch_not_created",
        reason=reason,
        message=message,
        batches=batches,
        candidates=candidates,
        estimate=costs,
        next_steps=steps or [],
    )


def created_batches(attempts: Mapping[int, Attempt]) -> list[CreatedBatch]:
    """The batches that are known, by part."""
    return [
        CreatedBatch(id=attempt.message_batch_id or "", part=number + 1, requests=attempt.requests)
        for number, attempt in sorted(attempts.items())
    ]


def costs_of(estimate: Estimate) -> Costs:
    """The estimate as an answer holds it."""
    rule = (
        f"a rule of thumb ({BYTES_A_TOKEN:.0f} bytes of text, 1 beyond ASCII, or {BYTES_A_TOKEN_OF_DOCUMENTS:.0f} "
        f"of a PDF a token, up to {TOKENS_A_LARGE_IMAGE:,} tokens an image), since the API counted none"
    )
    return Costs(
        models=[
            ModelCost(
                model=quote_name(model.model),
                requests=model.requests,
                input_tokens=model.input_tokens,
                most_output_tokens=model.most_output_tokens,
                max_cost_usd=as_number(model.max_cost_usd),
            )
            for model in estimate.models
        ],
        max_cost_usd=as_number(estimate.max_cost_usd),
        prices_of=estimate.prices_of,
        not_included=estimate.not_included,
        input_tokens_by=f"the API's count of {requests(estimate.counted)}" if estimate.counted else rule,
    )


def cost_in_words(estimate: Estimate) -> str:
    """`2.50 USD if every answer is as long as max_tokens allows, by the prices of genai-prices 0.2.3`."""
    if estimate.max_cost_usd is None:
        return f"the cost is unknown, since the prices of {estimate.prices_of} do not list {_unlisted(estimate)}"
    return priced(estimate.max_cost_usd, estimate.prices_of, estimate.not_included)


def _unlisted(estimate: Estimate) -> str:
    return ", ".join(quote_name(model.model) for model in estimate.models if model.max_cost_usd is None)


def inferred(attempts: Mapping[int, Attempt]) -> str:
    """What must be told of batches whose answers were lost."""
    ids = [attempt.message_batch_id or "" for attempt in attempts.values() if attempt.evidence in {"found", "sole"}]
    if not ids:
        return ""
    return (
        f" The API's answer was lost: {', '.join(ids)} was found in the list as the only new batch with as many "
        "requests. Its results will show whether it is the right one."
    )


def already_sent(attempts: Mapping[int, Attempt], state: str, *, use: bool) -> str:
    """Everything was sent before; `state` says where the first batch stands now, and `use` that it is there."""
    first = attempts[min(attempts)]
    ids = list(dict.fromkeys(attempt.message_batch_id or "" for attempt in attempts.values()))
    labelled = f", labeled {quote_untrusted(first.label, most=100)}" if first.label else ""
    which = f" Use {'that batch' if len(ids) == 1 else 'those batches'}." if use else ""
    return (
        f"Nothing was sent: these requests were already sent on {_date(first.time)} as {', '.join(ids)}{labelled}. "
        f"{state}{which} To send them again, and pay again, set allow_duplicate.{inferred(attempts)}"
    )


def already_retried(message_batch_id: str, attempts: Mapping[int, Attempt], state: str, *, use: bool) -> str:
    """Everything that is worth retrying was sent again before."""
    ids = list(dict.fromkeys(attempt.message_batch_id or "" for attempt in attempts.values()))
    which = f" Use {'that batch' if len(ids) == 1 else 'those batches'}." if use else ""
    return (
        f"Nothing was sent: what can be retried of {message_batch_id} was already sent again, as {', '.join(ids)}. "
        f"{state}{which} To retry what failed there, give that batch as retry_of. To send the requests again, and pay "
        f"again, set allow_duplicate.{inferred(attempts)}"
    )


def unknown_outcome(left: Unresolved, now: int, *, hopeless: bool, allow_duplicate: bool) -> str:
    """Why nothing is sent while it is not known what became of an earlier attempt."""
    attempt = left.attempt
    if attempt.lease_is_over(now) is False:
        return (
            "Nothing was sent: these requests are being sent at this moment, by another call or by a server that was "
            f"stopped. {_same_call('In some minutes', allow_duplicate)}"
        )
    if not hopeless:
        return (
            "Nothing was sent: these requests were sent before, and it is not known yet whether a batch was created. "
            f"{_same_call(f'After {told_at(attempt, now)}', allow_duplicate)}"
        )
    if left.candidates:
        which = (
            f"{len(left.candidates)} batches fit"
            if len(left.candidates) > 1
            else "another lost batch may be the one that fits"
        )
        return (
            "Nothing was sent: these requests were sent before, and it cannot be told whether a batch was created, "
            f"since {which}. Show the user the candidates. Only if none of them is the right one, set allow_duplicate: "
            "it sends the requests again, and may pay twice."
        )
    return (
        "Nothing was sent: these requests were sent before, and it cannot be told whether a batch was created, since "
        "this key cannot see it in the list. Only if the user is sure that there is none, set allow_duplicate: it "
        "sends the requests again, and may pay twice."
    )


def lost_answer(left: Unresolved, so_far: str, now: int, *, allow_duplicate: bool) -> str:
    """The answer to this very call was lost."""
    fitting = f" {len(left.candidates)} batches fit." if left.candidates else ""
    return (
        f"It is not known whether the batch was created: the API's answer was lost.{fitting}{so_far} Do not send the "
        f"requests in any other way. {_same_call(f'After {told_at(left.attempt, now)}', allow_duplicate)}"
    )


def being_sent(so_far: str, *, allow_duplicate: bool) -> str:
    """Another call has claimed the same part."""
    return (
        f"Another call is sending the same requests at this moment.{so_far} "
        f"{_same_call('In a minute', allow_duplicate)}"
    )


def told_at(attempt: Attempt, now: int) -> str:
    """When the list will tell for sure what became of an attempt, by the clock of this machine."""
    stopped = min(attempt.lease_expires_at, now + LEASE_ANSWER)
    return format_time(from_milliseconds(stopped + ABSENT_AFTER) + timedelta(minutes=1))


def _same_call(when: str, allow_duplicate: bool) -> str:
    without = ", but without allow_duplicate" if allow_duplicate else ""
    return f"{when}, call this tool again with the same arguments{without}; that cannot pay twice."


def _date(time: int) -> str:
    moment = from_milliseconds(time)
    return f"{moment.day} {moment:%b %Y}"


def not_everything(why: str, so_far: str, *, repeating_helps: bool) -> str:
    """A failure stopped the sending; `why` is told in sentences of its own."""
    again = " Calling this tool again sends only what is missing." if repeating_helps else ""
    return f"Not everything was sent.{so_far} {why}{again}"


def over_the_limit(estimate: Estimate, limit: float) -> tuple[Literal["too_expensive", "cost_unknown"], str] | None:
    """Why the requests could cost more than `limit`, in USD; None where they cannot."""
    most, limited = estimate.max_cost_usd, f"the limit is {format_usd(Decimal(str(limit)))}"
    if most is None:
        return "cost_unknown", (
            f"Nothing was sent: {cost_in_words(estimate)}, and {limited}. The user can give rates for "
            f"{_unlisted(estimate)} in a file (--prices), or allow a create without a limit."
        )
    if most <= Decimal(str(limit)):
        return None
    return "too_expensive", (
        f"Nothing was sent: {cost_in_words(estimate)}, and {limited}. Fewer requests or a smaller max_tokens cost "
        "less; the user can raise the limit."
    )
