"""What a batch will cost, before it is created: input by counted tokens, output at most what `max_tokens` allows."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anyio

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.pricing.prices import Prices
from mcp_batch_tools.requests.fingerprint import canonical
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.requests.sizes import Size, Written, size_of_input
from mcp_batch_tools.results.tokens import Tokens

_MOST_COUNTED = 3
"""Requests of each kind that the API is asked to count."""


@dataclass(frozen=True)
class ModelEstimate:
    """The requests for one model: `input_tokens` are estimated, `most_output_tokens` are an upper bound.

    `max_cost_usd` is what both cost in USD if everything that may be written to a cache is; None without a price.
    """

    model: str
    requests: int
    input_tokens: int
    most_output_tokens: int
    max_cost_usd: Decimal | None


@dataclass(frozen=True)
class Estimate:
    """What a plan costs, by model.

    `counted` is the number of requests whose tokens the API counted; 0 means that only a rule of thumb was used.
    `prices_of` is the date of the price list. `fees` says whether tools may be used that cost more than their tokens;
    these fees are not included.
    """

    models: list[ModelEstimate]
    counted: int
    prices_of: str
    fees: bool

    @property
    def max_cost_usd(self) -> Decimal | None:
        """USD if every answer is as long as `max_tokens` allows; None where the price of a model is not known."""
        costs = [model.max_cost_usd for model in self.models]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))


async def estimate(client: BatchClient, plan: Plan, prices: Prices) -> Estimate:
    """Estimate the cost of a plan: by a rule of thumb, corrected by the API's free counting of the tokens of a sample.

    Requests with attachments and those without are corrected apart, for each model, by the largest factor that the
    sample shows. Where the API counts nothing, the rule stands as it is.
    """
    corrections: dict[tuple[str, bool], list[float]] = defaultdict(list)

    async def count(model: str, params: dict[str, object], size: Size) -> None:
        try:
            found = await client.count_tokens(params)
        except BatchError:
            return  # an estimate does not need it, and says by what it was made
        corrections[model, size.kind.attached].append(found / size.tokens)

    async with anyio.create_task_group() as counting:
        for model, params, size in _to_count(plan.sample):
            counting.start_soon(count, model, params, size)
    models = []
    for model, part in plan.models.items():
        written: Counter[Written] = Counter()
        for kind, by_rule in part.tokens.items():
            written[kind.written] += round(by_rule * max(corrections[model, kind.attached], default=1))
        tokens = Tokens(written[""], written["5m"], written["1h"], output=part.max_tokens)
        cost = prices.cost(model, tokens)
        models.append(ModelEstimate(model, part.requests, written.total(), part.max_tokens, cost))
    counted = sum(map(len, corrections.values()))
    return Estimate(models, counted, prices.date, any(part.fees for part in plan.models.values()))


def _to_count(sample: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], Size]]:
    """A few requests of each kind: a small one, a large one, and one from between."""
    groups: dict[tuple[str, bool], list[tuple[str, dict[str, Any], Size]]] = defaultdict(list)
    for params in sample:
        size = size_of_input(params, canonical(params))
        groups[params["model"], size.kind.attached].append((params["model"], params, size))
    chosen = []
    for group in groups.values():
        group.sort(key=lambda one: one[2].tokens)
        places = {round(at * (len(group) - 1) / (_MOST_COUNTED - 1)) for at in range(_MOST_COUNTED)}
        chosen += [group[place] for place in sorted(places)]
    return chosen
