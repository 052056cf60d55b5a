"""What a model costs in a batch: rates by kind of token, dearer ones for long prompts, and what a region adds."""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mcp_batch_tools.requests.sizes import version_of
from mcp_batch_tools.results.tokens import PROMPT_STEP, Group, Tokens

WEB_SEARCH = Decimal(10) / 1000
"""USD a search; batches have no other price for it."""
IN_US = Decimal("1.1")
"""What tokens of all kinds cost times as much with `inference_geo: "us"`."""
_REGIONS_SINCE = (4, 6)
"""The first version of the models that can be kept in a region; older ones ignore it."""
_MILLION = 1_000_000
_DATED = re.compile(r"-(20\d{6}|latest)$")

Rate = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class Rates(BaseModel):
    """USD per million tokens in a batch, for prompts of more than `above` tokens, since the day `from`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: date = Field(date.min, alias="from")
    above: int = Field(0, ge=0, multiple_of=PROMPT_STEP)
    input: Rate
    output: Rate
    cache_read: Rate
    cache_write_5m: Rate
    cache_write_1h: Rate

    def cost(self, tokens: Tokens) -> Decimal:
        """USD for these tokens, without any searches."""
        sums = (
            self.input * tokens.input,
            self.output * tokens.output,
            self.cache_read * tokens.cache_read,
            self.cache_write_5m * tokens.cache_write_5m,
            self.cache_write_1h * tokens.cache_write_1h,
        )
        return sum(sums, Decimal(0)) / _MILLION


def cost_of(group: Group, tokens: Tokens, rates: Sequence[Rates]) -> Decimal:
    """USD for what inferences of one group used; of the `rates` of its model, those for its prompts count."""
    reached = [rate for rate in rates if rate.above < group.steps * PROMPT_STEP]
    rate = max(reached or rates[:1], key=lambda rate: rate.above)
    times = IN_US if group.in_us and version_of(group.model) >= _REGIONS_SINCE else 1
    return rate.cost(tokens) * times + tokens.web_searches * WEB_SEARCH


def without_date(model: str) -> str:
    """The name of a model without the date of its snapshot."""
    return _DATED.sub("", model)
