"""What a batch has cost, by what its results say was used."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import date
from decimal import Decimal

from mcp_batch_tools.pricing.amounts import total
from mcp_batch_tools.pricing.prices import Prices
from mcp_batch_tools.results.tokens import Group, Tokens


@dataclass
class ModelBill:
    """What one model used, and what that cost in USD; None where it has no price."""

    model: str
    tokens: Tokens = field(default_factory=Tokens)
    cost: Decimal | None = Decimal(0)


@dataclass(frozen=True)
class Bill:
    """The cost of a batch, model by model."""

    models: list[ModelBill]

    @property
    def cost(self) -> Decimal | None:
        """USD for all of it; None where a model has no price."""
        return total(model.cost for model in self.models)


def bill_of(groups: Mapping[Group, Tokens], prices: Prices, day: date) -> Bill:
    """The bill of a batch that was created on `day`.

    The rates of that day count, though the requests are worked off up to a day later: they are those that were
    promised before, and results do not say when each request was.
    """
    bills: dict[str, ModelBill] = {}
    for group, tokens in groups.items():
        bill = bills.setdefault(group.model, ModelBill(group.model))
        bill.tokens.add(*astuple(tokens))
        cost = prices.cost(group, tokens, day)
        bill.cost = None if bill.cost is None or cost is None else bill.cost + cost
    return Bill([*bills.values()])
