"""What `create_message_batch` answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from mcp_batch_tools.api.untrusted import quote_name
from mcp_batch_tools.pricing.estimates import Estimate
from mcp_batch_tools.requests.sizes import BYTES_A_TOKEN, BYTES_A_TOKEN_OF_DOCUMENTS, TOKENS_AN_IMAGE
from mcp_batch_tools.tools.answers import NextStep, requests
from mcp_batch_tools.tools.settling import Candidate

Reason = Literal["too_expensive", "already_created", "unknown_outcome", "failed", "declined", "cannot_ask"]


class CreatedBatch(BaseModel):
    """One batch of a submission: `part` of `parts`, counted from 1."""

    id: str
    part: int
    requests: int


class ModelCost(BaseModel):
    """What the requests of one model will use at most."""

    model: str
    requests: int
    input_tokens: int = Field(description="Estimated.")
    most_output_tokens: int = Field(description="Upper bound, from max_tokens.")
    max_cost_usd: float | None = Field(None, description="Of both. Absent where the price is unknown.")


class Costs(BaseModel):
    """The price before anything is sent."""

    models: list[ModelCost]
    max_cost_usd: float | None = Field(None, description="Absent where a price is unknown.")
    prices_of: str
    input_tokens_by: str


class Estimated(BaseModel):
    """The answer of a dry run."""

    type: Literal["message_batch_estimate"]
    message: str
    requests: int
    batches: int
    estimate: Costs


class Created(BaseModel):
    """Everything was sent, once."""

    type: Literal["message_batch_created"]
    message: str
    batches: list[CreatedBatch]
    label: str | None = None
    estimate: Costs
    next_steps: list[NextStep]


class NotCreated(BaseModel):
    """Not everything was sent, and what to do."""

    type: Literal["message_batch_not_created"]
    reason: Reason
    message: str
    batches: list[CreatedBatch] = Field(description="Created so far, by this call or an earlier one.")
    candidates: list[Candidate] | None = None
    estimate: Costs | None = None
    next_steps: list[NextStep]


class CreateAnswer(RootModel[Annotated[Estimated | Created | NotCreated, Field(discriminator="type")]]):
    """The answer of `create_message_batch`."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})


def not_created(
    costs: Costs | None,
    reason: Reason,
    message: str,
    batches: list[CreatedBatch],
    *,
    candidates: list[Candidate] | None = None,
    steps: list[NextStep] | None = None,
) -> NotCreated:
    """Why not everything was sent."""
    return NotCreated(
        type="message_batch_not_created",
        reason=reason,
        message=message,
        batches=batches,
        candidates=candidates,
        estimate=costs,
        next_steps=steps or [],
    )


def costs_of(cost: Estimate) -> Costs:
    """The estimate as it is told."""
    rule = (
        f"a rule of thumb ({BYTES_A_TOKEN:.0f} bytes of text or {BYTES_A_TOKEN_OF_DOCUMENTS:.0f} of a PDF a token, "
        f"{TOKENS_AN_IMAGE:,} tokens an image), since the API counted none"
    )
    return Costs(
        models=[
            ModelCost(
                model=quote_name(model.model),
                requests=model.requests,
                input_tokens=model.input_tokens,
                most_output_tokens=model.most_output_tokens,
                max_cost_usd=None if model.max_cost_usd is None else round(float(model.max_cost_usd), 4),
            )
            for model in cost.models
        ],
        max_cost_usd=None if cost.max_cost_usd is None else round(float(cost.max_cost_usd), 4),
        prices_of=cost.prices_of,
        input_tokens_by=f"the API's count of {requests(cost.counted)}" if cost.counted else rule,
    )


def most_in_words(cost: Estimate) -> str:
    """`2.5000 USD if every answer is as long as max_tokens allows, by the prices of 2026-09-20`."""
    if cost.max_cost_usd is None:
        unlisted = ", ".join(quote_name(model.model) for model in cost.models if model.max_cost_usd is None)
        return f"the cost is unknown, since the prices of {cost.prices_of} do not list {unlisted}"
    fees = ", without the fees and results of server tools," if cost.fees else ""
    return (
        f"{cost.max_cost_usd:,.4f} USD{fees} if every answer is as long as max_tokens allows, by the prices of "
        f"{cost.prices_of}"
    )
