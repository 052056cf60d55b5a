"""What a batch costs at most, before it is created: input by counted tokens, output as much as `max_tokens` allows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from decimal import Decimal
from math import ceil
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.pricing.amounts import total
from mcp_batch_tools.pricing.bills import bill_of
from mcp_batch_tools.pricing.prices import Prices
from mcp_batch_tools.requests.fingerprint import canonical
from mcp_batch_tools.requests.plan import Plan
from mcp_batch_tools.requests.sizes import ASCII, MOST_TOKENS, Kind, ModelPlan, SizeSum, size_of_input
from mcp_batch_tools.results.tokens import Group, Tokens, steps_of

_ALIKE = 0.01
"""Requests are alike, and have as many tokens for their size, where they differ by no more than this share."""
_ENOUGH, _AGREEING = 3, 1.25
"""So many counts that differ by no more than this factor tell what the others have."""
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_PAID_AS = {"": "input", "5m": "cache_write_5m", "1h": "cache_write_1h"}


@dataclass(frozen=True)
class ModelEstimate:
    """The requests for one model: tokens of input as estimated, and of output at most.

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
    `prices_of` says where the prices come from. `not_included` names tools and parameters that may cost more, which
    nobody can know before.
    """

    models: list[ModelEstimate]
    counted: int
    prices_of: str
    not_included: list[str]

    @property
    def max_cost_usd(self) -> Decimal | None:
        """USD if every answer is as long as `max_tokens` allows; None where the price of a model is not known."""
        return total(model.max_cost_usd for model in self.models)


class _Counted(NamedTuple):
    """A request of the sample: its size by the rule and as the API counted it, and its `max_tokens`."""

    by_rule: float
    tokens: int
    max_tokens: int


class _Candidate(NamedTuple):
    """A request that may be counted: its size by the rule, and the shares of its text that are no letters, no ASCII."""

    by_rule: float
    shares: tuple[float, ...]
    params: dict[str, Any]

    def differs_from(self, other: "_Candidate") -> bool:
        ours, theirs = (*self.shares, self.by_rule / other.by_rule), (*other.shares, 1.0)
        return any(abs(share - of) > _ALIKE for share, of in zip(ours, theirs, strict=True))


_Counts = Mapping[tuple[str, Kind], list[_Counted]]


async def estimate(client: BatchClient, plan: Plan, prices: Prices, day: date) -> Estimate:
    """Estimate what a plan costs at most, at the prices of a day: by a rule of thumb, corrected by a counted sample.

    Where all requests of a kind were counted, the counts stand. Else their sizes are multiplied by the largest factor
    that the counts show. That makes them smaller only where there are enough counts, and these agree, and nothing is
    attached: what was not counted may be larger than what was.
    """
    counted: dict[tuple[str, Kind], list[_Counted]] = defaultdict(list)

    async def count(model: str, params: dict[str, Any], kind: Kind, by_rule: float) -> None:
        try:
            tokens = await client.count_tokens(params)
        except BatchError:
            return  # an estimate does not need it, and says by what it was made
        counted[model, kind].append(_Counted(by_rule, tokens, params["max_tokens"]))

    async with anyio.create_task_group() as counting:
        for one in _to_count(plan):
            counting.start_soon(count, *one)

    def priced() -> list[ModelEstimate]:
        return [_model_estimate(model, part, counted, prices, day) for model, part in plan.models.items()]

    models = await anyio.to_thread.run_sync(priced)
    adding = {name for part in plan.models.values() for name in part.adding}
    return Estimate(models, sum(map(len, counted.values())), prices.source, sorted(adding))


def _to_count(plan: Plan) -> list[tuple[str, dict[str, Any], Kind, float]]:
    """Of each kind a small request, a large one, one from between, and all that are unlike these and each other."""
    groups: dict[tuple[str, Kind], list[_Candidate]] = defaultdict(list)
    for params in plan.sample:
        model, content = params["model"], canonical(params)
        size = size_of_input(params, content)
        shares = tuple(len(content.translate(None, common)) / len(content) for common in (_LETTERS, ASCII))
        groups[model, size.kind].append(_Candidate(size.tokens(plan.models[model].tokens_an_image), shares, params))
    chosen = []
    for (model, kind), group in groups.items():
        group.sort(key=lambda one: one.by_rule)
        firsts = dict.fromkeys((len(group) - 1, 0, len(group) // 2))
        taken: list[_Candidate] = []
        for one in (*(group[place] for place in firsts), *group):
            if len(taken) < len(firsts) or all(one.differs_from(other) for other in taken):
                taken.append(one)
        chosen += [(model, one.params, kind, one.by_rule) for one in taken]
    return chosen


def _model_estimate(model: str, part: ModelPlan, counted: _Counts, prices: Prices, day: date) -> ModelEstimate:
    used: dict[Group, Tokens] = defaultdict(Tokens)
    for kind in {kind for kind, _ in part.sums}:
        sums = [held for (of, _), held in part.sums.items() if of == kind]
        for tokens, max_tokens, longest in _corrected(
            sums, counted.get((model, kind), []), attached=bool(kind.attached)
        ):
            amount = {_PAID_AS[kind.written]: ceil(tokens), "output": max_tokens}
            used[Group(model, kind.in_us, steps_of(ceil(longest)))].add(*astuple(Tokens(**amount)))
    bill = bill_of(used, prices, day).models[0]
    all_input = bill.tokens.input + bill.tokens.cache_write_5m + bill.tokens.cache_write_1h
    return ModelEstimate(model, part.requests, all_input, bill.tokens.output, bill.cost)


def _corrected(sums: list[SizeSum], counted: list[_Counted], *, attached: bool) -> Iterator[tuple[float, int, float]]:
    """Tokens of input and `max_tokens` of requests that are priced together, and the longest prompt among them."""
    if len(counted) == sum(held.requests for held in sums):
        for one in counted:
            yield one.tokens, one.max_tokens, one.tokens
        return
    factors = [max(one.tokens, 1) / one.by_rule for one in counted] or [1.0]
    factor, spread = max(factors), max(factors) / min(factors)
    if attached or len(factors) < _ENOUGH or spread > _AGREEING:
        factor = max(factor, 1.0)
    else:
        factor *= spread  # what was not counted may be as far above the counted ones as these are apart
    for held in sums:
        yield min(held.tokens * factor, held.requests * MOST_TOKENS), held.max_tokens, held.largest * factor
