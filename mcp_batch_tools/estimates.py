"""What a batch will cost, before it is created: input by counted tokens, output at most what `max_tokens` allows."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

import anyio

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import BatchError
from mcp_batch_tools.pricing import Prices, Tokens
from mcp_batch_tools.request_hashes import canonical
from mcp_batch_tools.request_sizes import size_of_input
from mcp_batch_tools.requests_file import Plan

_MOST_COUNTED = 3
"""Requests of each model that the API is asked to count."""


@dataclass(frozen=True)
class ModelEstimate:
    """One model: `input_tokens` estimated, `most_output_tokens` an upper bound.

    `most_usd` is what both cost, where all that can be written to a cache is; None without a price.
    """

    model: str
    requests: int
    input_tokens: int
    most_output_tokens: int
    most_usd: Decimal | None


@dataclass(frozen=True)
class Estimate:
    """All models. `counted` is the number of requests that the API counted; 0 means that a rule of thumb was used."""

    models: list[ModelEstimate]
    counted: int
    prices_of: str

    @property
    def most_usd(self) -> Decimal | None:
        """What the batch costs if every answer is as long as `max_tokens` allows; None where a model has no price."""
        costs = [model.most_usd for model in self.models]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))


async def estimate(client: BatchClient, plan: Plan, prices: Prices) -> Estimate:
    """Estimate a plan by a rule of thumb, corrected by the API's free token counting of a sample where it gives any."""
    sampled: dict[str, list[dict[str, object]]] = defaultdict(list)
    for params in plan.sample:
        model = params.get("model")
        if isinstance(model, str) and len(sampled[model]) < _MOST_COUNTED:
            sampled[model].append(params)
    tokens: dict[str, int] = defaultdict(int)
    by_rule: dict[str, float] = defaultdict(float)
    counted = 0

    async def count(model: str, params: dict[str, object]) -> None:
        nonlocal counted
        try:
            found = await client.count_tokens(params)
        except BatchError:
            return  # an estimate does not need it, and says by what it was made
        counted += 1
        tokens[model] += found
        by_rule[model] += size_of_input(params, canonical(params)).tokens

    async with anyio.create_task_group() as counting:
        for model, chosen in sampled.items():
            for params in chosen:
                counting.start_soon(count, model, params)
    models = []
    for model, part in plan.models.items():
        correction = tokens[model] / by_rule[model] if by_rule[model] else 1
        most = Tokens(
            input=round(part.plain * correction),
            cache_write_5m=round(part.cache_write_5m * correction),
            cache_write_1h=round(part.cache_write_1h * correction),
            output=part.max_tokens,
        )
        input_tokens = most.input + most.cache_write_5m + most.cache_write_1h
        models.append(ModelEstimate(model, part.requests, input_tokens, part.max_tokens, prices.cost(model, most)))
    return Estimate(models, counted, prices.date)
