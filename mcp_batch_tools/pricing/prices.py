"""What tokens cost, by a list of prices that carries its date. A model that is not on the list has no price.

Source of the built-in list: the price page of Anthropic's documentation on the date in `prices.json`.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.results.tokens import Tokens

BUILT_IN = Path(__file__).with_name("prices.json")

_MILLION = Decimal(1_000_000)
_DATED = re.compile(r"-20\d{6}$")


Price = Annotated[Decimal, Field(ge=0, le=1_000_000)]
Day = Annotated[str, AfterValidator(lambda text: date.fromisoformat(text).isoformat())]


class _TimesInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cache_write_5m: Decimal = Field(Decimal("1.25"), ge=0, le=1000)
    cache_write_1h: Decimal = Field(Decimal(2), ge=0, le=1000)
    cache_read: Decimal = Field(Decimal("0.1"), ge=0, le=1000)


class Prices(BaseModel):
    """A list of prices: USD per million tokens at the batch rate, input and output, by model without its date."""

    model_config = ConfigDict(extra="forbid")

    date: Day
    unit: str | None = None
    models: Mapping[str, tuple[Price, Price]]
    times_input: _TimesInput = Field(default_factory=lambda: _TimesInput.model_validate({}))

    def cost(self, model: str, tokens: Tokens) -> Decimal | None:
        """USD, or None for a model that is not listed. Server tools, such as web search, are not included."""
        prices = self.models.get(model) or self.models.get(_DATED.sub("", model))
        if prices is None:
            return None
        of_input, of_output = prices
        times = self.times_input
        weighted = (
            tokens.input
            + tokens.cache_write_5m * times.cache_write_5m
            + tokens.cache_write_1h * times.cache_write_1h
            + tokens.cache_read * times.cache_read
        )
        return (weighted * of_input + tokens.output * of_output) / _MILLION


@cache
def load_prices(path: Path | None) -> Prices:
    """The list in this file, or the built-in one.

    Raises:
        InvalidPrices: the file cannot be read, or is no list of prices.
    """
    try:
        return Prices.model_validate_json((path or BUILT_IN).read_bytes())
    except OSError as error:
        raise InvalidPrices("unreadable", path=str(path), detail=error.strerror or str(error)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPrices("invalid", path=str(path), detail=f"{where}: {first['msg']}") from error
